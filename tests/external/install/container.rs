//! The container image.

use std::process::Command;

use end_to_end::harness::{
    Ended, REGISTRY, eventually, free_port, push_event, require, tags_of, tools,
};
use http::StatusCode;
use serde_json::{Value, json};

use super::podman::{COMMIT, Container, IMAGE, Podman, podman};
use super::{VERSION, root, succeed};

/// Starts the image as a cluster does: with a read-only root, and without privileges.
fn start(podman: &'static Podman, name: &str, address: &str, options: &[&str]) -> Container {
    let container = Container { podman, name: name.to_owned() };
    let image = format!("{IMAGE}:{VERSION}");
    let listen = format!("IMAGE_CATALOG_LISTEN={address}");
    let mut run = podman.command();
    run.args(["run", "--detach", "--name", name, "--network", "host"]);
    run.args(["--read-only", "--read-only-tmpfs=false", "--cap-drop", "all"]);
    run.args(["--security-opt", "no-new-privileges", "--env", &listen]);
    run.args(["--volume", "install-data:/data", &image]).args(options);
    succeed(&mut run);
    container
}

async fn describe(url: &str, repository: &str) -> Value {
    let request = reqwest::Client::new()
        .post(url)
        .header("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.DescribeImages")
        .json(&json!({ "repositoryName": repository }));
    request.send().await.unwrap().json().await.unwrap()
}

async fn wait_until_healthy(url: &str) {
    let http = reqwest::Client::new();
    eventually("the container to serve", async || {
        http.get(format!("{url}healthz")).send().await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn the_image_serves_without_privileges_and_keeps_its_data() {
    let test = "the_image_serves_without_privileges_and_keeps_its_data";
    let Some(podman) = podman(test) else { return };
    podman.build_image();
    let address = format!("127.0.0.1:{}", free_port());
    let url = format!("http://{address}/");

    let container = start(podman, "install-first", &address, &["--registry", REGISTRY]);
    wait_until_healthy(&url).await;
    podman.run(&["healthcheck", "run", &container.name]);
    let event = push_event("team/app", 1, "v1");
    let response = reqwest::Client::new().post(format!("{url}events/ecr")).json(&event).send();
    assert_eq!(response.await.unwrap().status(), StatusCode::OK);
    let page = describe(&url, "team/app").await;
    assert_eq!(tags_of(&page), ["v1"]);

    let inspect =
        |what: &str| podman.run(&["inspect", "--format", what, &container.name]).trim().to_owned();
    let process = inspect("{{.State.Pid}}");
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("Uid:"), "65532 65532 65532 65532");
    assert_eq!((line("CapEff:"), line("NoNewPrivs:")), ("0000000000000000".into(), "1".into()));

    podman.run(&["stop", &container.name]);
    assert_eq!(inspect("{{.State.ExitCode}}"), "0", "SIGTERM ends it in order");
    drop(container);
    let container = start(podman, "install-second", &address, &[]);
    wait_until_healthy(&url).await;
    assert_eq!(describe(&url, "team/app").await, page, "the volume keeps the data");
    drop(container);
}

#[test]
fn the_image_says_what_it_is_and_when_it_is_unhealthy() {
    let test = "the_image_says_what_it_is_and_when_it_is_unhealthy";
    let Some(podman) = podman(test) else { return };
    podman.build_image();
    let image = format!("{IMAGE}:{VERSION}");
    let inspected = podman.run(&["image", "inspect", &image]);
    let inspected: Value = serde_json::from_str(&inspected).unwrap();
    let configuration = &inspected[0]["Config"];
    let labels = &configuration["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], VERSION);
    assert_eq!(labels["org.opencontainers.image.revision"], COMMIT);
    assert_eq!(labels["org.opencontainers.image.licenses"], "Apache-2.0");
    assert_eq!(configuration["User"], "65532:65532");
    assert_eq!(configuration["Volumes"], json!({ "/data": {} }));
    assert_eq!(configuration["ExposedPorts"], json!({ "5015/tcp": {} }));
    assert_eq!(inspected[0]["Healthcheck"]["Test"], json!(["CMD", "/image-catalog", "health"]));

    let mut unhealthy = podman.command();
    unhealthy.args(["run", "--rm", "--network", "none", &image, "health"]);
    let Ended { code, stderr, .. } = Ended::run(&mut unhealthy);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("http://127.0.0.1:5015/healthz"), "{stderr}");
}

#[test]
fn the_policy_check_fails_nothing_of_the_dockerfile() {
    let test = "the_policy_check_fails_nothing_of_the_dockerfile";
    let Some(checkov) = require(test, tools().join("checkov/bin/checkov")) else { return };
    let mut check = Command::new(checkov);
    check.current_dir(root()).args(["--file", "infra/container/Dockerfile"]);
    check.args(["--framework", "dockerfile", "--output", "json", "--skip-download"]);
    let report: Value = serde_json::from_str(&succeed(&mut check)).unwrap();
    assert_eq!(report["summary"]["failed"], 0, "{report}");
    assert!(report["summary"]["passed"].as_u64() > Some(10), "{report}");
}
