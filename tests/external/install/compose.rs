//! A registry and the catalog with Docker Compose, of which Podman runs the containers.

use std::fs;
use std::process::{Command, Stdio};

use end_to_end::harness::{
    Ended, KilledOnDrop, eventually, free_port, print, require, tools, wait_until_ready,
};
use serde_json::{Value, json};

use super::podman::{IMAGE, podman};
use super::{VERSION, folder, root, succeed};

/// What is started is stopped and removed once this is dropped.
struct Project<'a> {
    compose: &'a dyn Fn() -> Command,
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        let _ = (self.compose)().args(["down", "--volumes", "--timeout", "1"]).output();
    }
}

#[tokio::test]
async fn a_push_to_the_registry_is_listed() {
    let test = "a_push_to_the_registry_is_listed";
    let (Some(podman), Some(program), Some(registry), Some(_), Some(_)) = (
        podman(test),
        require(test, tools().join("compose/bin/docker-compose")),
        require(test, "docker-registry"),
        require(test, "/usr/lib/podman/netavark"),
        require(test, "/usr/lib/podman/aardvark-dns"),
    ) else {
        return;
    };
    podman.build_image();
    // The image of the registry that Compose would pull has this version, too.
    let image = "docker.io/library/registry:2.8.3";
    podman.build_image_of(
        image,
        &registry,
        &format!(
            "ENTRYPOINT [{registry:?}, \"serve\"]\nCMD [\"/etc/docker/registry/config.yml\"]\n"
        ),
    );

    let folder = folder("compose");
    let socket = format!("unix://{}", folder.join("podman").display());
    let log = fs::File::create(folder.join("podman-log")).unwrap();
    let mut service = podman.command();
    service.args(["system", "service", "--time", "0", &socket]).stderr(log).stdout(Stdio::null());
    let _service = KilledOnDrop(service.spawn().unwrap());
    let (catalog_port, registry_port) = (free_port().to_string(), free_port().to_string());
    let compose = || {
        let mut command = Command::new(&program);
        command.args(["--project-name", "install", "--file"]);
        command.arg(root().join("infra/compose/compose.yaml"));
        command.envs([
            ("DOCKER_HOST", socket.as_str()),
            ("IMAGE_CATALOG_TOKEN", "0123456789abcdef"),
            ("IMAGE_CATALOG_PORT", &catalog_port),
            ("REGISTRY_PORT", &registry_port),
        ]);
        command
    };
    eventually("Podman to listen", async || folder.join("podman").exists()).await;
    let project = Project { compose: &compose };
    succeed(compose().args(["up", "--detach", "--no-build", "--pull", "never"]));
    let url = format!("http://127.0.0.1:{catalog_port}/");
    wait_until_ready(&format!("{url}healthz")).await;
    wait_until_ready(&format!("http://127.0.0.1:{registry_port}/v2/")).await;

    let digest_file = folder.join("digest");
    let destination = format!("docker://127.0.0.1:{registry_port}/team/app:v1");
    let mut push = podman.command();
    push.args(["push", "--quiet", "--tls-verify=false", "--digestfile"]).arg(&digest_file);
    succeed(push.args([&format!("{IMAGE}:{VERSION}"), &destination]));
    let digest = fs::read_to_string(digest_file).unwrap();

    let http = reqwest::Client::new();
    let describe = async || -> Value {
        let request = http
            .post(&url)
            .header("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.DescribeImages")
            .json(&json!({ "repositoryName": "team/app" }));
        request.send().await.unwrap().json().await.unwrap()
    };
    eventually("the push to be listed", async || describe().await["imageDetails"].is_array()).await;
    let page = describe().await;
    let image = &page["imageDetails"][0];
    assert_eq!(image["imageDigest"], digest.trim(), "{page}");
    assert_eq!(image["imageTags"], json!(["v1"]), "{page}");
    assert!(image["imageSizeInBytes"].as_u64() > Some(1_000_000), "{page}");

    let events = http.post(format!("{url}events/distribution")).json(&json!({ "events": [] }));
    let status = events.send().await.unwrap().status();
    assert_eq!(status, http::StatusCode::UNAUTHORIZED, "events need the token");
    // What docs/install.md says to do about images from before.
    let mut reconcile = compose();
    reconcile.args(["exec", "-T", "catalog", "/image-catalog", "reconcile", "--from", "registry"]);
    reconcile.args(["--subscriptions", "/etc/image-catalog/subscriptions.json"]);
    let Ended { code, stdout: reconciled, stderr: log } = Ended::run(&mut reconcile);
    assert_eq!(code, Some(0), "{reconciled}{log}");
    assert!(reconciled.contains("1 repositories reconciled"), "{reconciled}");
    assert!(!log.contains("other users may read"), "{log}");
    drop(project);
    print("compose: a push to the registry is listed, with its size");
}

#[test]
fn it_does_not_start_without_a_token() {
    let test = "it_does_not_start_without_a_token";
    let Some(program) = require(test, tools().join("compose/bin/docker-compose")) else { return };
    let mut config = Command::new(program);
    config.args(["--env-file", "/dev/null", "--file"]);
    config.arg(root().join("infra/compose/compose.yaml")).arg("config");
    let output = config.env_remove("IMAGE_CATALOG_TOKEN").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(error.contains("IMAGE_CATALOG_TOKEN is missing"), "{error}");
}
