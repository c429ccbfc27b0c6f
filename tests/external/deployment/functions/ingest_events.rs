//! The function `ingest-events`, which takes batches from its queue.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Instant;

use catalog::{Service, Timestamp};
use end_to_end::harness::{
    REGION, REGISTRY, Store, binary, digest, print, repository, sample, temporary_folder,
};
use ingest_events::source::Origin;
use registries::Source;
use serde_json::{Value, json};

use super::payloads::{batch, failed, here, pushed, pushed_index};
use super::surroundings::Surroundings;
use super::{TIMEOUT, items};

#[tokio::test(flavor = "multi_thread")]
async fn ingest_events_applies_batches() {
    let Some(surroundings) = Surroundings::start("ingest_events_applies_batches").await else {
        return;
    };
    let function = surroundings.function("ingest-events");
    let (status, response) = function.invoke(&batch(&[("first", pushed(1))])).await;
    let cold = function.started.elapsed();
    assert_eq!((status, failed(&response)), (200, BTreeSet::new()));

    // More manifests than fit into an item of DynamoDB.
    let too_large = pushed_index(6000);
    let mut malformed: Value = serde_json::from_str(&pushed(2)).unwrap();
    malformed["time"] = json!("yesterday");
    let messages = batch(&[
        ("pushed", pushed(3)),
        ("malformed", malformed.to_string()),
        ("too large", too_large.to_string()),
        ("no JSON", "{".to_owned()),
        ("again", pushed(1)),
        ("ignored", here("scan-resource-change.json").to_string()),
    ]);
    let warm_started = Instant::now();
    let (status, response) = function.invoke(&messages).await;
    let warm = warm_started.elapsed();
    print(format!(
        "ingest-events applies an event {cold:.1?} after its start; a batch of six, once it runs, takes {warm:.1?}"
    ));
    assert_eq!(
        (status, failed(&response)),
        (200, BTreeSet::from(["malformed", "no JSON", "too large"]))
    );
    assert_eq!(listed(&surroundings).await, [digest(1).to_string(), digest(3).to_string()]);

    let applied = function.metrics(&["Type", "Outcome"]);
    assert_eq!(applied["Events"], 1);
    let outcomes: BTreeSet<(String, String)> = function
        .lines()
        .iter()
        .filter(|line| line.get("Type").is_some() && line.get("Outcome").is_some())
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            (text("Type"), text("Outcome"))
        })
        .collect();
    let outcome = |event_type: &str, outcome: &str| (event_type.to_owned(), outcome.to_owned());
    for expected in [
        outcome("ECR Image Action", "Applied"),
        outcome("ECR Image Action", "Malformed"),
        outcome("distribution push", "Malformed"),
        outcome("other", "Ignored"),
    ] {
        assert!(outcomes.contains(&expected), "{expected:?} is not in {outcomes:?}");
    }
    let metrics = function.metrics(&[]);
    // The sample is from 2019.
    assert!(metrics["EventAge"][0].as_f64() > Some(7.0 * 365.0 * 86_400_000.0), "{metrics}");
    assert!(metrics["EventWriteCapacity"][0].as_f64() > Some(0.0), "{metrics}");
    let line = function
        .lines()
        .into_iter()
        .find(|line| line["message"] == "a message was not applied")
        .unwrap();
    assert!(
        line["message_id"].is_string()
            && line["reason"].is_string()
            && line["span"]["requestId"].is_string()
    );
}

/// The digests of the images that the tests push, in their order.
async fn listed(surroundings: &Surroundings) -> Vec<String> {
    let filter = catalog::reader::Filter { tag_status: None, image_status: None };
    let listed = surroundings
        .store
        .page(&repository("my-repository-name"), &filter, None, 100)
        .await
        .unwrap();
    let mut digests: Vec<String> =
        listed.images.iter().map(|image| image.image_digest.to_string()).collect();
    digests.sort();
    digests
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_done_in_time_is_delivered_again_and_nothing_is_half_done() {
    let test = "what_is_not_done_in_time_is_delivered_again_and_nothing_is_half_done";
    let Some(surroundings) = Surroundings::start(test).await else { return };
    let function = surroundings.function("ingest-events");
    let (_, response) = function.invoke(&batch(&[("first", pushed(1))])).await;
    assert_eq!(failed(&response), BTreeSet::new());

    let messages = batch(&[("second", pushed(2)), ("third", pushed(3))]);
    surroundings.wire.is_stalled.store(true, Ordering::Relaxed);
    let started = Instant::now();
    let (status, response) = function.invoke(&messages).await;
    assert_eq!((status, failed(&response)), (200, BTreeSet::from(["second", "third"])));
    assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
    surroundings.wire.is_stalled.store(false, Ordering::Relaxed);

    // Lambda ends a process at its deadline. Each change is applied completely or not at all.
    drop(function);
    let again = surroundings.function("ingest-events");
    let (_, response) = again.invoke(&messages).await;
    assert_eq!(failed(&response), BTreeSet::new());
    let calm = Store::in_memory().await;
    let ingest = calm.ingest();
    let origin = Origin::new(Source::Ecr, repository("any").registry, Timestamp::now());
    for number in 1..=3 {
        ingest.ingest(&origin, pushed(number).as_bytes()).await.unwrap();
    }
    assert_eq!(items(&surroundings.store).await, items(&calm).await);
}

/// After the maximum number of deliveries a message goes to the dead letter queue, with the reason
/// and with everything that is needed to apply it later.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_applied_becomes_a_dead_letter_with_its_reason() {
    let test = "what_cannot_be_applied_becomes_a_dead_letter_with_its_reason";
    let Some(surroundings) = Surroundings::start(test).await else { return };
    let function = surroundings.function("ingest-events");
    let mut malformed: Value = serde_json::from_str(&pushed(2)).unwrap();
    malformed["time"] = json!("yesterday");
    let tried = |times: u32| {
        let mut messages = batch(&[
            ("pushed", pushed(1)),
            ("malformed", malformed.to_string()),
            ("too large", pushed_index(6000).to_string()),
        ]);
        for message in messages["Records"].as_array_mut().unwrap() {
            message["attributes"]["ApproximateReceiveCount"] = json!(times.to_string());
        }
        messages
    };
    let (_, response) = function.invoke(&tried(2)).await;
    assert_eq!(failed(&response), BTreeSet::from(["malformed", "too large"]));
    assert_eq!(surroundings.received(&surroundings.dead_letter_queue_url).len(), 0);

    let (_, response) = function.invoke(&tried(3)).await;
    assert_eq!(failed(&response), BTreeSet::new(), "they are dead letters");
    let mut letters = surroundings.received(&surroundings.dead_letter_queue_url);
    letters.sort_by_key(|letter| letter["Body"].as_str().unwrap().len());
    let [small, large] = &letters[..] else { panic!("two dead letters: {letters:#?}") };
    assert_eq!(small["Body"], json!(malformed.to_string()));
    let attribute =
        |letter: &Value, name: &str| letter["MessageAttributes"][name]["StringValue"].clone();
    let reason = attribute(small, "reason");
    assert!(reason.as_str().unwrap().starts_with("'time' is not valid"), "{reason}");
    assert_eq!(attribute(small, "receivedAt"), "2026-11-22T00:00:00.000000000Z");
    assert_eq!(attribute(large, "subscription"), "registry-1");
    let reason = attribute(large, "reason");
    assert!(reason.as_str().unwrap().ends_with("than one DynamoDB item can hold"), "{reason}");

    // The subscription of a dead letter is added later. Then the dead letter can be applied to the
    // same table.
    let mut unknown = batch(&[("unknown", sample("harbor/push-artifact.json"))]);
    let message = &mut unknown["Records"][0];
    message["attributes"]["ApproximateReceiveCount"] = json!("3");
    message["messageAttributes"] = json!({
        "subscription": { "stringValue": "harbor-2", "dataType": "String" },
        "receivedAt": { "stringValue": "2026-11-21T00:00:00Z", "dataType": "String" },
    });
    let (_, response) = function.invoke(&unknown).await;
    assert_eq!(failed(&response), BTreeSet::new());
    surroundings.moto.aws(&[
        "sqs",
        "send-message",
        "--queue-url",
        &surroundings.dead_letter_queue_url,
        "--message-body",
        "nonsense",
    ]);
    let file = temporary_folder().join("subscriptions.json");
    let list = json!([{
        "id": "harbor-2", "source": "harbor", "registryId": REGISTRY, "credential": { "bearer": "token" },
    }]);
    std::fs::write(&file, list.to_string()).unwrap();
    let replay = || {
        let mut command = Command::new(binary());
        command
            .args(["replay", "--queue", &surroundings.dead_letter_queue_url])
            .args(["--table", &surroundings.store.table.name, "--subscriptions"])
            .arg(&file)
            .env("AWS_ENDPOINT_URL_DYNAMODB", &surroundings.wire.url)
            .env("AWS_ENDPOINT_URL_SQS", &surroundings.moto.url)
            .envs([
                ("AWS_ACCESS_KEY_ID", "key"),
                ("AWS_SECRET_ACCESS_KEY", "secret"),
                ("AWS_REGION", REGION),
            ]);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, stdout) = replay();
    assert_eq!(status, Some(1), "{stdout}");
    assert!(stdout.contains(": the body is not valid JSON: "), "{stdout}");
    assert!(stdout.ends_with("\n1 deliveries applied, 1 not applied\n"), "{stdout}");
    let known = surroundings
        .store
        .reader
        .repositories(Service::Ecr, &repository("any").registry)
        .await
        .unwrap();
    assert!(known.contains(&repository("harbor/alpine")), "{known:?}");

    // If the dead letter queue is deleted, the event queue's own redrive moves the messages.
    surroundings.moto.aws(&[
        "sqs",
        "delete-queue",
        "--queue-url",
        &surroundings.dead_letter_queue_url,
    ]);
    let (_, response) = function.invoke(&tried(3)).await;
    assert_eq!(failed(&response), BTreeSet::from(["malformed", "too large"]));
}
