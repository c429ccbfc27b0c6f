//! Pushes of images and tags, in any order and any number of times.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use end_to_end::harness::{
    Catalog, InProcess, Store, configuration, digest, operation, print, sample,
};
use image_catalog::aws::dynamodb::Engine;
use serde_json::{Value, json};

use super::{CatalogClient as _, assert_in_any_order, delete, event, image, notified_image, push};

#[tokio::test]
async fn r46_order_and_repetition_make_no_difference() {
    let events = [push(1, 1, "v1"), push(2, 2, "v1"), delete(3, 2, "v1"), push(4, 1, "v2")];
    assert_in_any_order(&events, &[image(1, &["v2"], 1)]).await;
}

#[tokio::test]
async fn r46_at_equal_times_a_push_wins_over_a_delete() {
    assert_in_any_order(&[push(5, 1, "v1"), delete(5, 1, "")], &[image(1, &["v1"], 5)]).await;
    assert_in_any_order(&[push(5, 1, "v1"), delete(5, 1, "v1")], &[image(1, &["v1"], 5)]).await;
}

#[tokio::test]
async fn r47_a_pushed_tag_moves_off_the_image_that_had_it() {
    assert_in_any_order(
        &[push(1, 1, "latest"), push(2, 2, "latest"), push(3, 3, "latest")],
        &[image(3, &["latest"], 3), image(2, &[], 2), image(1, &[], 1)],
    )
    .await;
}

#[tokio::test]
async fn r47_an_absent_and_an_empty_tag_are_no_tag() {
    let catalog = Catalog::start().await;
    let mut without = push(1, 1, "");
    without["detail"].as_object_mut().unwrap().remove("image-tag");
    catalog.ecr(&without).await;
    catalog.ecr(&push(2, 2, "")).await;
    catalog
        .ecr(&serde_json::from_str(&sample("aws-ecr/image-action-push-untagged.json")).unwrap())
        .await;
    assert_eq!(catalog.images("app").await, [image(2, &[], 2), image(1, &[], 1)]);
    let sampled = catalog.images("runbook_sidecar_agent").await;
    assert_eq!(
        sampled,
        [json!({
            "imageDigest": "sha256:778645862e8bba7ad64eabc8f6b51158e47124c12864ed42d7baf744b6329542",
            "imagePushedAt": 1_749_624_224,
            "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactMediaType": "application/vnd.oci.image.config.v1+json",
            "imageStatus": "ACTIVE",
        })]
    );
}

#[tokio::test]
async fn r47_what_did_not_succeed_is_ignored() {
    let catalog = Catalog::start().await;
    let mut failed = push(1, 1, "v1");
    failed["detail"]["result"] = json!("FAILURE");
    let ignored = (200, json!({"applied":0,"ignored":1,"malformed":[]}));
    assert_eq!(catalog.send("/events/ecr", &failed).await, ignored);
    let replication: Value =
        serde_json::from_str(&sample("aws-ecr/replication-action-failed.json")).unwrap();
    assert_eq!(catalog.send("/events/ecr", &replication).await, ignored);
    assert_eq!(catalog.error("app").await, "RepositoryNotFoundException");
}

#[tokio::test]
async fn r47_replication_and_pull_through_cache_bring_images() {
    let catalog = Catalog::start().await;
    let mut replicated: Value =
        serde_json::from_str(&sample("aws-ecr/replication-action-success.json")).unwrap();
    replicated["region"] = json!("us-east-1");
    catalog.ecr(&replicated).await;
    let cached = event(
        "ECR Pull Through Cache Action",
        9,
        json!({
            "rule-version": "1",
            "sync-status": "SUCCESS",
            "ecr-repository-prefix": "docker-hub",
            "repository-name": "docker-hub/alpine",
            "upstream-registry-url": "public.ecr.aws",
            "image-tag": "3.18",
            "image-digest": digest(7),
        }),
    );
    catalog.ecr(&cached).await;
    let tags: Vec<Value> = catalog
        .images("docker-hub/alpine")
        .await
        .iter()
        .map(|image| image["imageTags"].clone())
        .collect();
    assert_eq!(tags, [json!(["3.18"]), json!(["3.17.2"])]);
}

#[tokio::test]
async fn r47_a_later_event_does_not_erase_what_is_known() {
    let mut with = push(1, 1, "v1");
    with["detail"]["manifest-media-type"] = json!("application/vnd.oci.image.manifest.v1+json");
    with["detail"]["artifact-media-type"] = json!("application/vnd.oci.image.config.v1+json");
    let mut expected = image(1, &["v1", "v2"], 1);
    expected["imageManifestMediaType"] = json!("application/vnd.oci.image.manifest.v1+json");
    expected["artifactMediaType"] = json!("application/vnd.oci.image.config.v1+json");
    assert_in_any_order(&[with, push(2, 1, "v2")], &[expected]).await;
}

/// Transactions that were sent, and those of them that were refused.
#[derive(Default)]
struct Transactions {
    sent: AtomicUsize,
    refused: AtomicUsize,
}

/// A client that counts transactions.
fn counting_client(transactions: &Arc<Transactions>) -> aws_sdk_dynamodb::Client {
    let engine = Engine::in_memory().unwrap();
    let transactions = Arc::clone(transactions);
    aws_sdk_dynamodb::Client::new(&configuration(InProcess(move |request: HttpRequest| {
        let is_transaction = operation(&request).0 == "TransactWriteItems";
        let (transactions, called) = (Arc::clone(&transactions), engine.call(request));
        async move {
            let response = called.await;
            let is_refused =
                response.as_ref().is_ok_and(|response| !response.status().is_success());
            transactions.sent.fetch_add(usize::from(is_transaction), Ordering::Relaxed);
            transactions
                .refused
                .fetch_add(usize::from(is_transaction && is_refused), Ordering::Relaxed);
            response
        }
    })))
}

/// As when the jobs of a matrix build push their tags at once: no push is refused, none takes much
/// longer than all of them in sequence, and no transaction is repeated. Those that wait are written
/// together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r46_sixty_four_pushers_to_one_image_end_without_a_refusal() {
    const PUSHERS: usize = 64;
    const ROUNDS: usize = 5;
    let transactions = Arc::<Transactions>::default();
    let store = Store::new(counting_client(&transactions)).await;
    let catalog = Catalog::start_with(store, &"0".repeat(64)).await;
    let http = reqwest::Client::new();
    let push = |repository: &'static str, round: usize, number: usize| {
        let mut event = notified_image(1, 2000);
        event["target"]["repository"] = json!(repository);
        event["target"]["tag"] = json!(format!("r{round}-{number:02}"));
        let body = json!({ "events": [event] }).to_string();
        let request = http.post(format!("{}/events/distribution", catalog.url)).body(body);
        async move {
            let started = Instant::now();
            let response = request.send().await.unwrap();
            let (status, text) = (response.status().as_u16(), response.text().await.unwrap());
            let response = format!("{status} {text}");
            (response, started.elapsed())
        }
    };
    let applied = r#"200 {"applied":1,"ignored":0,"malformed":[]}"#;
    let mut one_by_one = Duration::ZERO;
    let mut latencies = Vec::new();
    let mut others: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..ROUNDS {
        let started = Instant::now();
        for number in 0..PUSHERS {
            assert_eq!(push("alone", round, number).await.0, applied);
        }
        one_by_one = one_by_one.max(started.elapsed());
        let mut pushers = tokio::task::JoinSet::new();
        for number in 0..PUSHERS {
            pushers.spawn(push("app", round, number));
        }
        while let Some(pusher) = pushers.join_next().await {
            let (response, latency) = pusher.unwrap();
            latencies.push(latency);
            if response != applied {
                *others.entry(response).or_default() += 1;
            }
        }
    }
    latencies.sort();
    let (median, slowest) = (latencies[latencies.len() / 2], latencies[latencies.len() - 1]);
    let sent = transactions.sent.load(Ordering::Relaxed);
    print(format!(
        "events: {PUSHERS} pushers to one image, {ROUNDS} rounds: median {median:.0?}, slowest {slowest:.0?}, one by \
         one {one_by_one:.0?} a round; {sent} transactions for {} pushes",
        2 * PUSHERS * ROUNDS
    ));
    assert!(others.is_empty(), "{others:?}");
    let mut tags: Vec<String> = (0..ROUNDS)
        .flat_map(|round| (0..PUSHERS).map(move |number| format!("r{round}-{number:02}")))
        .collect();
    tags.sort();
    assert_eq!(catalog.images("app").await[0]["imageTags"], json!(tags));
    assert_eq!(transactions.refused.load(Ordering::Relaxed), 0);
    let together = sent - PUSHERS * ROUNDS;
    assert!(together < PUSHERS * ROUNDS / 2, "{together} transactions");
    // One second of tolerance for other load.
    let limit = 2 * one_by_one + Duration::from_secs(1);
    assert!(slowest < limit, "{slowest:?} is much more than {one_by_one:?}");
}
