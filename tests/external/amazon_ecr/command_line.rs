//! `image-catalog reconcile --from ecr`, and a serving process with lookups in Amazon ECR.

use std::process::{Command, Output};

use end_to_end::harness::{Process, REGISTRY, binary, command, eventually, folder, require};
use serde_json::{Value, json};

use super::REPOSITORIES;
use super::lookups::pushed;
use super::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_reconciles_with_amazon_ecr() {
    let Some(server) = Server::start("the_command_line", 1000.0) else { return };
    let folder = folder("ecr");
    let data = folder.join("data").display().to_string();
    let run = |program: &str, arguments: &[&str]| -> Output {
        let mut command = Command::new(program);
        command.args(arguments).env("AWS_ENDPOINT_URL_ECR", &server.moto.url).envs([
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("RUST_LOG", "warn"),
        ]);
        command.output().unwrap()
    };
    let binary = binary().display().to_string();
    let ended = |code, more: &[&str]| {
        let arguments = [&["reconcile", "--from", "ecr", "--data", &data], more].concat();
        let output = run(&binary, &arguments);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    let reconcile = |more: &[&str]| {
        let (output, log) = ended(0, more);
        assert_eq!(log, "", "no progress bar without a terminal");
        output
    };
    let two = ["--repository", "team/app-00", "--repository", "team/app-01"];
    let filled = reconcile(&two);
    assert!(
        filled.ends_with("\n2 repositories reconciled, 1530 differences repaired\n"),
        "{filled}"
    );
    assert_eq!(reconcile(&two), "2 repositories reconciled, 0 differences repaired\n");

    // A deleted repository is removed only with `--prune`.
    server
        .client()
        .delete_repository()
        .repository_name("team/app-01")
        .force(true)
        .send()
        .await
        .unwrap();
    let kept = format!(
        "kept: {REGISTRY}/team/app-01: the registry does not have it; --prune deletes it\n2 \
         repositories reconciled, 0 differences repaired, 1 repositories kept\n"
    );
    assert_eq!(ended(1, &two).0, kept);
    let deleted = format!("{REGISTRY}/team/app-01: the repository was deleted\n");
    let (pruned, _) = ended(2, &[&two[..], &["--prune", "--dry-run"]].concat());
    assert_eq!(pruned, format!("{deleted}2 repositories reconciled, 1 differences found\n"));
    let pruned = reconcile(&[&two[..], &["--prune"]].concat());
    assert_eq!(pruned, format!("{deleted}2 repositories reconciled, 1 differences repaired\n"));
    let (nobody, _) = ended(1, &[&two[..], &["--prune"]].concat());
    assert!(nobody.contains("failed: team/app-01: neither the registry nor"), "{nobody}");

    // The serving process looks up manifests with `--ecr-lookups`.
    let mut serving = command(&folder);
    serving.args(["--in-memory", "--ecr-lookups"]).env("AWS_ENDPOINT_URL_ECR", &server.moto.url);
    serving.envs([("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
    let serving = Process::start(serving);
    let url = serving.url.clone();
    let there = server.everything().await;
    let (digest, image) = there["team/app-00"].first_key_value().unwrap();
    let post = async |path: &str, body: String| -> Value {
        let request = reqwest::Client::new().post(format!("{url}{path}")).body(body);
        let target = "AmazonEC2ContainerRegistry_V20150921.DescribeImages";
        let posted = request.header("x-amz-target", target).send().await.unwrap();
        posted.error_for_status().unwrap().json().await.unwrap()
    };
    post("/events/ecr", pushed("team/app-00", digest, None)).await;
    // The lookup is completed after the acknowledgement.
    eventually("the size", async || {
        let request = json!({ "repositoryName": "team/app-00" }).to_string();
        let described = post("/DescribeImages", request).await;
        described["imageDetails"][0]["imageSizeInBytes"] == json!(image.size.unwrap())
    })
    .await;
    drop(serving);

    // A terminal shows the progress.
    let command = format!("{binary} reconcile --from ecr --dry-run --data {data}");
    let Some(script) = require("the_command_line", "script") else { return };
    let seen = run(
        &script.display().to_string(),
        &["--quiet", "--return", "--command", &command, "/dev/null"],
    );
    let seen = String::from_utf8(seen.stdout).unwrap();
    assert!(
        seen.contains(&format!("/{REPOSITORIES} ")) || seen.contains(" of 49 repositories"),
        "{seen}"
    );
}
