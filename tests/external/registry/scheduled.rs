//! Reconciliation at an interval by the program, which receives no notification.

use std::time::Duration;

use catalog::Timestamp;
use end_to_end::harness::{Process, command, eventually_within};
use serde_json::{Value, json};

use super::REPOSITORY;
use super::setup::Setup;

/// For some reconciliations.
const LIMIT: Duration = Duration::from_secs(30);

/// The status of the only registry.
async fn registry(process: &Process) -> Value {
    let status = process.http.get(format!("{}/status", process.url)).send().await.unwrap();
    let status: Value = status.json().await.unwrap();
    let registries = status["registries"].as_array().unwrap();
    assert_eq!(registries.len(), 1, "{status}");
    registries[0].clone()
}

async fn wait_for_tags(process: &Process, expected: &[&str]) {
    let request = json!({ "repositoryName": REPOSITORY });
    let has_tags = async || {
        process.describe(request.clone()).await.is_ok()
            && process.tags(REPOSITORY).await == expected
    };
    eventually_within(LIMIT, "the tags", has_tags).await;
}

pub(super) async fn a_program_that_reconciles_at_an_interval(setup: Setup) {
    let one = setup.image("one", &[100]);
    setup.push(&one, "v1", &[]);
    let url = setup.registry.url("");
    let start = |interval: &str| {
        let mut command = command(&setup.folder);
        command.args(["--data", "data", "--registry-url", &url, "--reconcile-every", interval]);
        Process::start(command)
    };
    let mut process = start("1s");
    wait_for_tags(&process, &["v1"]).await;
    setup.push(&setup.image("two", &[200]), "v2", &[]);
    wait_for_tags(&process, &["v1", "v2"]).await;
    setup.delete(&one);
    wait_for_tags(&process, &["v2"]).await;
    let without_drift = async || registry(&process).await["lastReconcile"]["drift"] == json!(0);
    eventually_within(LIMIT, "a reconciliation without drift", without_drift).await;
    let state = registry(&process).await;
    assert_eq!(state["id"], json!(url));
    assert_eq!(state["registry"], json!(setup.registry.address));
    let last = &state["lastReconcile"];
    assert_eq!((&last["repositories"], &last["failed"]), (&json!(1), &json!(0)), "{state}");
    process.stop();

    // Another process knows of it, and waits.
    let started = Timestamp::now();
    let process = start("1d");
    let state = registry(&process).await;
    let time = |time: &Value| -> Timestamp { time.as_str().unwrap().parse().unwrap() };
    let last = time(&state["lastReconcile"]["startedAt"]);
    assert!(last < started, "{state}");
    assert_eq!(time(&state["nextReconcile"]), last.plus(Duration::from_hours(24)), "{state}");

    // So does it of one that the command makes.
    let mut reconcile = command(&setup.folder);
    reconcile.args(["reconcile", "--data", "data", "--from", &url]);
    assert!(reconcile.output().unwrap().status.success());
    let state = registry(&process).await;
    assert!(time(&state["lastReconcile"]["startedAt"]) > started, "{state}");
}
