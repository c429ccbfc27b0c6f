//! The function `receive-webhook`.

use std::collections::BTreeSet;
use std::time::Instant;

use catalog::Timestamp;
use end_to_end::harness::{print, repository, sample};
use serde_json::json;

use super::payloads::{batch, failed, webhook};
use super::surroundings::Surroundings;

#[tokio::test(flavor = "multi_thread")]
async fn receive_webhook_puts_webhooks_into_the_queue() {
    let test = "receive_webhook_puts_webhooks_into_the_queue";
    let Some(surroundings) = Surroundings::start(test).await else { return };
    let function = surroundings.function("receive-webhook");
    let body = sample("harbor/push-artifact.json");
    let webhook = |authorization| webhook("harbor", authorization, &body);
    let received = || surroundings.received(&surroundings.queue_url);

    let (_, refused) = function.invoke(&webhook("token of nobody")).await;
    let cold = function.started.elapsed();
    assert_eq!(refused["statusCode"], 401);
    assert_eq!(received().len(), 0, "nothing is queued");
    let warm_started = Instant::now();
    let (_, taken) = function.invoke(&webhook("Bearer token of harbor")).await;
    let warm = warm_started.elapsed();
    print(format!(
        "receive-webhook answers {cold:.1?} after its start, and {warm:.1?} once it runs"
    ));
    assert_eq!(taken["statusCode"], 202, "{taken}");
    let [message] = &received()[..] else { panic!("one message") };
    assert_eq!(message["Body"], json!(body));
    let received_at = message["MessageAttributes"]["receivedAt"]["StringValue"].as_str().unwrap();
    let age = Timestamp::now().as_milliseconds()
        - received_at.parse::<Timestamp>().unwrap().as_milliseconds();
    assert!((0..60_000).contains(&age), "{received_at}");
    assert_eq!(message["MessageAttributes"]["subscription"]["StringValue"], "harbor-1");

    // The other function applies the queued message.
    let ingest = surroundings.function("ingest-events");
    let mut delivered = batch(&[("webhook", body.clone())]);
    delivered["Records"][0]["messageAttributes"] =
        json!({ "subscription": { "stringValue": "harbor-1", "dataType": "String" } });
    let (_, response) = ingest.invoke(&delivered).await;
    assert_eq!(failed(&response), BTreeSet::new());
    let registry = catalog::RegistryId::parse("210987654321").unwrap();
    let alpine = catalog::Repository { registry, ..repository("harbor/alpine") };
    let filter = catalog::reader::Filter { tag_status: None, image_status: None };
    let listed = surroundings.store.page(&alpine, &filter, None, 10).await.unwrap();
    assert_eq!(listed.images.len(), 1);

    // The queue is deleted: the response makes the registry retry.
    surroundings.moto.aws(&["sqs", "delete-queue", "--queue-url", &surroundings.queue_url]);
    let (_, failed) = function.invoke(&webhook("Bearer token of harbor")).await;
    assert_eq!(failed["statusCode"], 503, "{failed}");
    let log = format!("{:?}", function.lines());
    assert!(
        !log.contains("token of") && !log.contains("alpine"),
        "neither credentials nor bodies: {log}"
    );
    assert_eq!(function.metrics(&["Status"])["Webhooks"], 1);
}
