//! Times in the future, missing times, and times before there were registries.

use end_to_end::harness::queue::apply_batch;
use std::time::Duration;

use catalog::Timestamp;
use end_to_end::harness::{Catalog, REGISTRY, Store, digest};
use registries::Subscriptions;
use serde_json::{Value, json};

use super::{
    CatalogClient as _, action, cloudtrail, delete, event, message, notification, notified_image,
    pages_of_one, push,
};

/// This many minutes ago.
fn ago(minutes: i64) -> Timestamp {
    later(Timestamp::now(), -60_000 * minutes)
}

fn later(time: Timestamp, milliseconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(time.as_milliseconds() + milliseconds).unwrap()
}

/// An event with another time.
fn at(mut event: Value, time: impl ToString) -> Value {
    let time = json!(time.to_string());
    let member = if event.get("timestamp").is_some() { "timestamp" } else { "time" };
    if let Some(recorded) = event.pointer_mut("/detail/eventTime") {
        *recorded = time.clone();
    }
    event[member] = time;
    event
}

/// Delivers an event by the queue, which received it at a time.
async fn deliver(store: &Store, event: &Value, received_at: Timestamp) {
    let is_ecr = event.get("detail").is_some();
    let body = if is_ecr { event.clone() } else { json!({ "events": [event] }) };
    let received_at = received_at.to_string();
    let mut attributes = vec![("receivedAt", received_at.as_str())];
    attributes.extend((!is_ecr).then_some(("subscription", "registry")));
    let batch = vec![message("event", &body, &attributes)];
    let subscriptions = json!([{
        "id": "registry",
        "source": "distribution",
        "registryId": REGISTRY,
        "credential": { "bearer": "token" },
    }]);
    let ingest = store.ingest_of(Subscriptions::parse(&subscriptions.to_string()).unwrap());
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    let failed = apply_batch(&ingest, batch, deadline).await;
    assert!(failed.is_empty(), "{event}");
}

/// The members of an image that are times, in milliseconds.
fn milliseconds(image: &Value, pointer: &str) -> Option<i64> {
    Some((image.pointer(pointer)?.as_f64()? * 1000.0).round() as i64)
}

/// Digest, tags and time of each image of a repository.
async fn pushes(catalog: &Catalog) -> Vec<(Value, Value, i64)> {
    let images = catalog.images("app").await;
    let push = |image: &Value| {
        let tags = image.get("imageTags").cloned().unwrap_or_else(|| json!([]));
        (image["imageDigest"].clone(), tags, milliseconds(image, "/imagePushedAt").unwrap())
    };
    images.iter().map(push).collect()
}

async fn catalog_to_deliver_to() -> Catalog {
    Catalog::start_with(Store::in_memory().await, &"0".repeat(64)).await
}

/// The last year that has times in every time zone.
const FUTURE: &str = "9998-12-31T23:59:59Z";
const FIVE_MINUTES: i64 = 5 * 60_000;

#[tokio::test]
async fn r58_a_push_of_the_future_gives_way_to_one_that_arrives_later() {
    let notified = |number| {
        let mut event = notified_image(number, 2000);
        event["target"]["tag"] = json!("latest");
        event
    };
    let events: [fn(u64) -> Value; 2] = [|number| push(0, number, "latest"), notified];
    for event in events {
        let catalog = catalog_to_deliver_to().await;
        let (then, now) = (ago(20), ago(0));
        let ahead = at(event(1), FUTURE);
        deliver(&catalog.store, &ahead, then).await;
        let counted = later(then, FIVE_MINUTES).as_milliseconds();
        assert_eq!(pushes(&catalog).await, [(json!(digest(1)), json!(["latest"]), counted)]);
        deliver(&catalog.store, &at(event(2), now), now).await;
        // Delivered again, as queues do.
        deliver(&catalog.store, &ahead, then).await;
        let expected = [
            (json!(digest(2)), json!(["latest"]), now.as_milliseconds()),
            (json!(digest(1)), json!([]), counted),
        ];
        assert_eq!(pushes(&catalog).await, expected);
        assert_eq!(pages_of_one(&catalog, "app").await[0], digest(2).as_str());
    }
}

#[tokio::test]
async fn r58_a_deletion_of_the_future_does_not_ban_an_image_or_a_tag() {
    let notified = |target: Value| notification("delete", target);
    for deletion in [
        delete(0, 1, ""),
        delete(0, 1, "latest"),
        notified(json!({ "repository": "app", "digest": digest(1) })),
        notified(json!({ "repository": "app", "tag": "latest" })),
    ] {
        let catalog = catalog_to_deliver_to().await;
        deliver(&catalog.store, &at(push(0, 1, "latest"), ago(30)), ago(30)).await;
        deliver(&catalog.store, &at(deletion.clone(), FUTURE), ago(20)).await;
        let tagged = json!({ "repositoryName": "app", "imageIds": [{ "imageTag": "latest" }] });
        assert_eq!(catalog.describe(tagged.clone()).await.1["__type"], "ImageNotFoundException");
        deliver(&catalog.store, &at(push(0, 1, "latest"), ago(0)), ago(0)).await;
        let (status, response) = catalog.describe(tagged).await;
        assert_eq!(status, 200, "{deletion}: {response}");
        assert_eq!(response["imageDetails"][0]["imageDigest"], json!(digest(1)));
    }
}

#[tokio::test]
async fn r58_a_repository_that_was_deleted_in_the_future_can_be_filled_again() {
    let catalog = catalog_to_deliver_to().await;
    deliver(&catalog.store, &at(push(0, 1, "v1"), ago(30)), ago(30)).await;
    deliver(&catalog.store, &at(cloudtrail("DeleteRepository", 0, json!({})), FUTURE), ago(20))
        .await;
    assert_eq!(catalog.error("app").await, "RepositoryNotFoundException");
    let now = ago(0);
    deliver(&catalog.store, &at(push(0, 2, "v2"), now), now).await;
    assert_eq!(pushes(&catalog).await, [(json!(digest(2)), json!(["v2"]), now.as_milliseconds())]);
}

#[tokio::test]
async fn r58_what_is_stated_of_the_future_gives_way_to_what_arrives_later() {
    let catalog = catalog_to_deliver_to().await;
    deliver(&catalog.store, &at(push(0, 1, "v1"), ago(30)), ago(30)).await;
    let scan = |status: &str| {
        let detail = json!({
            "scan-status": status,
            "repository-name": "app",
            "finding-severity-counts": {},
            "image-digest": digest(1),
            "image-tags": [],
        });
        event("ECR Image Scan", 0, detail)
    };
    let storage_class = |class: &str| {
        let mut event = action("UPDATE_STORAGE_CLASS", 0, 1, "");
        event["detail"]["target-storage-class"] = json!(class);
        event
    };
    let mut restored = storage_class("STANDARD");
    restored["detail"]["last-activated-at"] = json!(FUTURE);
    let mut pulled = notified_image(1, 2000);
    pulled["action"] = json!("pull");
    let then = ago(20);
    for event in [scan("COMPLETE"), restored, pulled] {
        deliver(&catalog.store, &at(event, FUTURE), then).await;
    }
    let counted = Some(later(then, FIVE_MINUTES).as_milliseconds());
    let image = catalog.images("app").await.remove(0);
    assert_eq!(milliseconds(&image, "/imageScanFindingsSummary/imageScanCompletedAt"), counted);
    assert_eq!(milliseconds(&image, "/lastActivatedAt"), counted);
    assert_eq!(milliseconds(&image, "/lastRecordedPullTime"), counted);
    for event in [scan("FAILED"), storage_class("ARCHIVE")] {
        deliver(&catalog.store, &at(event, ago(0)), ago(0)).await;
    }
    let image = catalog.images("app").await.remove(0);
    assert_eq!(image["imageScanStatus"]["status"], "FAILED");
    assert_eq!(image["imageStatus"], "ARCHIVED");
}

/// Go's zero time, and the beginning of 1970, count as missing.
#[tokio::test]
async fn r58_an_event_without_a_time_counts_from_its_arrival() {
    let catalog = catalog_to_deliver_to().await;
    let notified = |number, time: &str| {
        let mut event = notified_image(number, 2000);
        event["target"]["tag"] = json!("latest");
        at(event, time)
    };
    let (honest, zero, unix) = (ago(10), ago(8), ago(6));
    deliver(&catalog.store, &notified(1, &honest.to_string()), honest).await;
    let pushed = |number: u64, tags: &[&str], time: Timestamp| {
        (json!(digest(number)), json!(tags), time.as_milliseconds())
    };
    deliver(&catalog.store, &notified(2, "0001-01-01T00:00:00Z"), zero).await;
    assert_eq!(pushes(&catalog).await, [pushed(2, &["latest"], zero), pushed(1, &[], honest)]);
    deliver(&catalog.store, &notified(3, "1970-01-01T00:00:00Z"), unix).await;
    let expected = [pushed(3, &["latest"], unix), pushed(2, &[], zero), pushed(1, &[], honest)];
    assert_eq!(pushes(&catalog).await, expected);
    assert_eq!(pages_of_one(&catalog, "app").await[0], digest(3).as_str());
}

#[tokio::test]
async fn r58_no_time_is_before_dockers_first_day() {
    let catalog = catalog_to_deliver_to().await;
    let arrived = ago(10);
    deliver(&catalog.store, &at(push(0, 1, ""), "2013-03-19T23:59:59.999Z"), arrived).await;
    deliver(&catalog.store, &at(push(0, 2, ""), "2013-03-20T00:00:00Z"), arrived).await;
    let expected = [
        (json!(digest(1)), json!([]), arrived.as_milliseconds()),
        (json!(digest(2)), json!([]), 1_363_737_600_000),
    ];
    assert_eq!(pushes(&catalog).await, expected);
}

#[tokio::test]
async fn r58_a_clock_may_be_five_minutes_ahead() {
    let arrived = ago(10);
    for (ahead, counted) in
        [(4 * 60_000, 4 * 60_000), (FIVE_MINUTES, FIVE_MINUTES), (6 * 60_000, FIVE_MINUTES)]
    {
        let catalog = catalog_to_deliver_to().await;
        deliver(&catalog.store, &at(push(0, 1, ""), later(arrived, ahead)), arrived).await;
        let counted = later(arrived, counted).as_milliseconds();
        assert_eq!(pushes(&catalog).await, [(json!(digest(1)), json!([]), counted)], "{ahead} ms");
    }
}
