//! The registry that README follows, with the configuration that it shows.

use std::fs;
use std::process::{Command, Stdio};

use end_to_end::harness::{
    KilledOnDrop, Process, command, folder, free_port, require, wait_until_ready,
};

use super::layout::Layout;
use crate::documentation::{commands, document, has_programs, paste, run, sections};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readme_follows_a_registry() {
    let test = "readme_follows_a_registry";
    let programs = [require(test, "docker-registry"), require(test, "skopeo")];
    let [Some(docker_registry), Some(skopeo)] = programs else { return };
    if !has_programs(test) {
        return;
    }
    let sections = sections(&document("README.md"));
    let (_, blocks) = sections.iter().find(|(name, _)| name == "Follow a registry").unwrap();
    let [configuration] =
        &blocks.iter().filter(|block| block.language == "yaml").collect::<Vec<_>>()[..]
    else {
        panic!("{blocks:?}");
    };
    let folder = folder(test);
    let mut catalog = command(&folder);
    catalog.args(["--data", "data"]);
    let catalog = Process::start(catalog);
    let registry = format!("127.0.0.1:{}", free_port());
    let configuration = configuration.text.replace("127.0.0.1:5000", &registry);
    let configuration = configuration.replace("http://127.0.0.1:5015", &catalog.url);
    fs::write(folder.join("registry.yml"), configuration).unwrap();
    let mut serve = Command::new(docker_registry);
    serve.args(["serve", "registry.yml"]).current_dir(&folder);
    let serve = serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _serving = KilledOnDrop(serve.unwrap());
    wait_until_ready(&format!("http://{registry}/v2/")).await;

    let image = folder.join("image");
    fs::create_dir(&image).unwrap();
    let image = Layout::image(&image, "readme", "amd64", &[1000, 2000]);
    let push = |tag: &str| {
        let skopeo = skopeo.display();
        let address = image.address();
        format!(
            "{skopeo} copy --quiet --insecure-policy --dest-tls-verify=false {address} docker://{registry}/team/app:{tag}"
        )
    };
    paste(&folder, &catalog.url, &push("1.0")).await;
    run(&folder, &catalog.url, &commands(blocks)).await;

    // The last command: what the catalog has missed, it finds.
    let readme = document("README.md");
    let line = readme.lines().find(|line| line.contains("reconcile --from http://127.0.0.1:5000"));
    let options = line.unwrap().trim().strip_prefix("cargo run -- ").unwrap();
    let mut reconcile = command(&folder);
    reconcile.args(["--data", "data"]);
    reconcile.args(options.replace("127.0.0.1:5000", &registry).split(' '));
    let output = reconcile.output().unwrap();
    assert!(output.status.success(), "{}", catalog.log());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed.contains("1 repository reconciled")
            || printed.contains("1 repositories reconciled"),
        "{printed}"
    );
}
