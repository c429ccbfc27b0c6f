//! `image-catalog --version`, and the build script that adds the commit.

use std::fs;
use std::path::Path;
use std::process::Command;

use end_to_end::harness::{Ended, binary, require};

use super::{VERSION, folder, root, succeed};

#[test]
fn the_program_prints_its_version() {
    let printed = succeed(Command::new(binary()).arg("--version"));
    assert_eq!(printed, format!("image-catalog {VERSION} (development build)\n"));
}

/// The tags of the image in the commands of a document.
fn image_tags(text: &str) -> Vec<&str> {
    let tags = text.split("image-catalog:").skip(1).map(|rest| {
        let end = rest.find(|each: char| !each.is_ascii_alphanumeric() && each != '.');
        rest[..end.unwrap_or(rest.len())].trim_end_matches('.')
    });
    tags.filter(|tag| tag.starts_with(|first: char| first.is_ascii_digit())).collect()
}

#[test]
fn every_file_with_the_version_has_the_same() {
    for (file, line) in [
        ("CHANGELOG.md", format!("## {VERSION} - ")),
        ("infra/container/Dockerfile", format!("image.version=\"{VERSION}\"")),
        ("infra/compose/compose.yaml", format!("image: image-catalog:{VERSION}\n")),
        ("infra/helm/image-catalog/Chart.yaml", format!("\nversion: {VERSION}\n")),
        ("infra/helm/image-catalog/Chart.yaml", format!("\nappVersion: {VERSION}\n")),
    ] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        assert!(text.contains(&line), "{file} does not contain {line:?}");
    }
    for file in ["docs/install.md", "infra/container/Dockerfile"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let tags = image_tags(&text);
        assert!(!tags.is_empty(), "{file} names no image");
        assert!(tags.iter().all(|tag| *tag == VERSION), "{file}: {tags:?}");
    }
}

/// Cargo builds the release profile for ten minutes. So the script is built and run as cargo does
/// it, without the rest.
#[test]
fn a_release_has_its_commit() {
    let test = "a_release_has_its_commit";
    let (Some(git), Some(rustc)) = (require(test, "git"), require(test, "rustc")) else { return };
    let folder = folder("version");
    let script = folder.join("build-script");
    let source = root().join("infra/local/build.rs");
    succeed(Command::new(rustc).arg("--edition=2024").arg(&source).arg("-o").arg(&script));
    let run = |package: &Path, variables: &[(&str, &str)]| {
        let mut command = Command::new(&script);
        command.current_dir(package).env("CARGO_PKG_VERSION", "1.2.3").env("PROFILE", "release");
        let ended = Ended::run(command.env_remove("IMAGE_CATALOG_COMMIT").envs(variables.to_vec()));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        ended.stdout
    };
    let version = |output: &str| {
        let (_, version) = output.split_once("rustc-env=IMAGE_CATALOG_VERSION=").unwrap();
        version.trim().to_owned()
    };
    let git = |directory: &Path, arguments: &[&str]| {
        let mut command = Command::new(&git);
        command.current_dir(directory).args(["-c", "user.name=a", "-c", "user.email=a@b.example"]);
        succeed(command.args(arguments)).trim().to_owned()
    };

    // Unpacked, inside of this project's own repository.
    let package = folder.join("repository/infra/local");
    fs::create_dir_all(&package).unwrap();
    fs::copy(&source, package.join("build.rs")).unwrap();
    assert_eq!(version(&run(&package, &[])), "1.2.3");
    assert_eq!(version(&run(&package, &[("PATH", "")])), "1.2.3", "without Git");

    let repository = folder.join("repository");
    git(&repository, &["init", "--quiet"]);
    assert_eq!(version(&run(&package, &[])), "1.2.3", "without a commit");
    git(&repository, &["add", "."]);
    git(&repository, &["commit", "--quiet", "--message", "First"]);
    let commit = git(&repository, &["rev-parse", "--short=12", "HEAD"]);
    let output = run(&package, &[]);
    assert_eq!(version(&output), format!("1.2.3 ({commit})"));

    // Cargo runs the script again once a file that it names is newer.
    let log = output.lines().find_map(|line| {
        line.strip_prefix("cargo::rerun-if-changed=").filter(|file| file.ends_with("logs/HEAD"))
    });
    let log = package.join(log.unwrap());
    let before = fs::read_to_string(&log).unwrap();
    git(&repository, &["commit", "--quiet", "--allow-empty", "--message", "Second"]);
    assert_ne!(fs::read_to_string(&log).unwrap(), before);
    let second = git(&repository, &["rev-parse", "--short=12", "HEAD"]);
    assert_eq!(version(&run(&package, &[])), format!("1.2.3 ({second})"));

    git(&repository, &["worktree", "add", "--quiet", "../worktree", &commit]);
    let output = run(&folder.join("worktree/infra/local"), &[]);
    assert_eq!(version(&output), format!("1.2.3 ({commit})"), "in a worktree");
    for file in output.lines().filter_map(|line| line.strip_prefix("cargo::rerun-if-changed=")) {
        let file = folder.join("worktree/infra/local").join(file);
        assert!(file.exists(), "cargo would run it each time without {}", file.display());
    }

    let given = ("IMAGE_CATALOG_COMMIT", "0123456789abcdef");
    assert_eq!(version(&run(&package, &[given])), "1.2.3 (0123456789abcdef)");
    assert_eq!(version(&run(&package, &[("IMAGE_CATALOG_COMMIT", ""), ("PATH", "")])), "1.2.3");
    let debug = ("PROFILE", "debug");
    assert_eq!(version(&run(&package, &[debug])), "1.2.3 (development build)");
    assert!(!run(&package, &[debug]).contains("HEAD"), "each commit would build the tests anew");
    let refused = run(&package, &[("IMAGE_CATALOG_COMMIT", "a\ncargo::rustc-env=B=c")]);
    assert!(refused.contains("cargo::error=") && !refused.contains("\ncargo::rustc-env"));
}
