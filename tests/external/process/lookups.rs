//! Lookups in registries that respond late, or slowly.

use std::net::TcpListener;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use catalog::Timestamp;
use end_to_end::harness::stand_in::{StandIn, digest_of, image_manifest};
use end_to_end::harness::{Gate, OCI_IMAGE, Process, command, eventually, print, proxy};
use serde_json::{Value, json};

use super::folder;

/// Four mebibytes a minute.
const BYTES_PER_SECOND: f64 = 4.0 * 1024.0 * 1024.0 / 60.0;

/// A registry must not wait for its own response. A whole second is for machines that are busy.
const ACKNOWLEDGED: Duration = Duration::from_secs(1);

fn start(folder: &Path, registry_url: &str) -> Process {
    let mut command = command(folder);
    command.args(["--data", "data", "--registry-url", registry_url]).env("RUST_LOG", "info");
    Process::start(command)
}

/// Sends a distribution registry's notification of a push, without references, and waits
/// for the acknowledgement.
async fn push(process: &Process, registry_url: &str, manifest: &Value) {
    let digest = digest_of(manifest);
    let notification = json!({ "events": [{
        "id": "1",
        "timestamp": Timestamp::now(),
        "action": "push",
        "target": {
            "mediaType": OCI_IMAGE,
            "digest": digest,
            "repository": "team/app",
            "url": format!("{registry_url}/v2/team/app/manifests/{digest}"),
            "tag": "v1",
        },
    }] });
    let started = Instant::now();
    let url = format!("{}/events/distribution", process.url);
    let response = process.http.post(url).json(&notification).send().await.unwrap();
    let acknowledged = started.elapsed();
    assert_eq!(response.status(), 200);
    print(format!("a delivery was acknowledged after {acknowledged:.1?}"));
    assert!(acknowledged < ACKNOWLEDGED, "{acknowledged:?}");
    assert_eq!(process.tags("team/app").await, ["v1"], "it is applied");
}

async fn wait_for_size(process: &Process, size: u64) {
    let request = json!({ "repositoryName": "team/app" });
    eventually("the size", async || {
        let described = process.describe(request.clone()).await.unwrap();
        described["imageDetails"][0]["imageSizeInBytes"] == json!(size)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_outlives_the_process() {
    let manifest = image_manifest(100);
    let registry = StandIn::start("team/app", &[("v1", manifest.clone())]).await;
    let (listener, gate) = (TcpListener::bind("127.0.0.1:0").unwrap(), Gate::default());
    let opened = gate.clone();
    let hold = move |bytes| {
        opened.wait();
        bytes
    };
    let url = proxy(listener, &registry.url, |bytes| bytes, hold);
    let folder = folder("lookups");
    let mut process = start(&folder, &url);
    push(&process, &url, &manifest).await;
    process.child.kill();
    gate.open();
    wait_for_size(&start(&folder, &url), 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_sends_four_mebibytes_a_minute_completes_a_lookup() {
    let mut manifest = image_manifest(100);
    manifest["annotations"] = json!({ "padding": "x".repeat(600_000) });
    let registry = StandIn::start("team/app", &[("v1", manifest.clone())]).await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = |bytes: Vec<u8>| {
        sleep(Duration::from_secs_f64(bytes.len() as f64 / BYTES_PER_SECOND));
        bytes
    };
    let url = proxy(listener, &registry.url, |bytes| bytes, slow);
    let process = start(&folder("slow-registry"), &url);
    push(&process, &url, &manifest).await;
    wait_for_size(&process, 100).await;
}
