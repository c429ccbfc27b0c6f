//! Podman, with images, containers and networks of these tests alone.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use end_to_end::harness::{binary, print, require, temporary_folder};

use super::{folder, root, succeed};

/// The name of the image of `infra/container/Dockerfile`.
pub(super) const IMAGE: &str = "docker.io/library/image-catalog";

/// The commit that it is labelled with.
pub(super) const COMMIT: &str = "0123456789ab";

/// Podman; `None` if it is missing, or where it would run containers without root, which needs
/// settings of the computer.
pub(super) fn podman(test: &str) -> Option<&'static Podman> {
    static PODMAN: OnceLock<Podman> = OnceLock::new();
    let (program, _) = (require(test, "podman")?, require(test, "runc")?);
    if !rustix::process::geteuid().is_root() {
        print(format!("skipped {test}: only root can run containers"));
        return None;
    }
    Some(PODMAN.get_or_init(|| Podman::start(program)))
}

#[derive(Debug)]
pub(super) struct Podman {
    program: PathBuf,
    folder: PathBuf,
}

impl Podman {
    fn start(program: PathBuf) -> Self {
        // Containers of a run that was killed hold mounts in there.
        let earlier = Self { program, folder: temporary_folder().join("install/podman") };
        if earlier.folder.exists() {
            let _ = earlier.command().args(["rm", "--all", "--force", "--time", "0"]).output();
        }
        let podman = Self { folder: folder("podman"), ..earlier };
        let path = |name: &str| podman.folder.join(name).display().to_string();
        // The limits are those that need no privilege. No service manager is needed.
        let containers = format!(
            "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=1024:1024\"]\n\
             [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\n\
             events_logger = \"file\"\ntmp_dir = {:?}\n\
             [network]\nnetwork_backend = \"netavark\"\nnetwork_config_dir = {:?}\n",
            path("tmp"),
            path("networks"),
        );
        fs::write(podman.folder.join("containers.conf"), containers).unwrap();
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n",
            path("storage"),
            path("run"),
        );
        fs::write(podman.folder.join("storage.conf"), storage).unwrap();
        podman
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("CONTAINERS_CONF", self.folder.join("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.folder.join("storage.conf"))
            .env_remove("DOCKER_HOST");
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> String {
        succeed(self.command().args(arguments))
    }

    /// Builds the image of the Dockerfile, once, but for the first stage: it would compile the
    /// release profile for ten minutes. The base image, which no registry can be asked for here, is
    /// what the program links to.
    pub(super) fn build_image(&self) {
        static BUILT: OnceLock<()> = OnceLock::new();
        BUILT.get_or_init(|| {
            let dockerfile = root().join("infra/container/Dockerfile");
            let dockerfile = fs::read_to_string(dockerfile).unwrap();
            let (_, runtime) = dockerfile.split_once("\nFROM gcr.io/").unwrap();
            let (base, _) = runtime.split_once('\n').unwrap();
            let context = self.folder.join("base");
            copy_libraries(binary(), &context.join("root"));
            let certificates = Path::new("etc/ssl/certs/ca-certificates.crt");
            copy(&Path::new("/").join(certificates), &context.join("root"));
            self.build(&format!("gcr.io/{base}"), &context, "FROM scratch\nCOPY root /\n");

            let context = self.folder.join("program");
            fs::create_dir_all(context.join("out/data")).unwrap();
            fs::copy(binary(), context.join("out/image-catalog")).unwrap();
            let stages = format!("FROM scratch AS build\nCOPY out /out\n\nFROM gcr.io/{runtime}");
            self.build(&format!("{IMAGE}:{}", super::VERSION), &context, &stages);
        });
    }

    /// Builds an image of a program of this computer, and of what it links to.
    pub(super) fn build_image_of(&self, image: &str, program: &Path, instructions: &str) {
        let context = self.folder.join(program.file_name().unwrap());
        copy_libraries(program, &context.join("root"));
        copy(program, &context.join("root"));
        self.build(image, &context, &format!("FROM scratch\nCOPY root /\n{instructions}"));
    }

    fn build(&self, image: &str, context: &Path, dockerfile: &str) {
        fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        let mut build = self.command();
        // Docker's format has health checks.
        build.args(["build", "--format", "docker", "--pull-never", "--tag", image]);
        build.args(["--build-arg", &format!("COMMIT={COMMIT}")]);
        succeed(build.arg(context));
    }
}

/// A container, until this is dropped.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) podman: &'static Podman,
    pub(super) name: String,
}

impl Drop for Container {
    fn drop(&mut self) {
        let mut remove = self.podman.command();
        let _ = remove.args(["rm", "--force", "--time", "0", &self.name]).output();
    }
}

/// Copies the libraries of a program, and the loader, to their paths below a folder.
fn copy_libraries(program: &Path, folder: &Path) {
    let listed = succeed(Command::new("ldd").arg(program));
    let paths: BTreeSet<&str> =
        listed.split_whitespace().filter(|word| word.starts_with('/')).collect();
    assert!(!paths.is_empty(), "{listed}");
    for path in paths {
        copy(Path::new(path), folder);
    }
}

/// Copies a file to its path below a folder.
fn copy(file: &Path, folder: &Path) {
    let target = folder.join(file.strip_prefix("/").unwrap());
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    fs::copy(file, target).unwrap();
}
