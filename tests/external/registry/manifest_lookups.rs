//! Notifications that contain only a tag. The catalog looks up the manifest in the registry.

use std::time::Duration;

use end_to_end::harness::{Catalog, REGISTRY, Store, eventually, proxy};
use serde_json::{Value, json};

use super::setup::Setup;
use super::{REPOSITORY, described};

/// The notification of Quay, which contains only tags.
pub(super) fn pushed_tags(tags: &[&str]) -> String {
    json!({ "repository": REPOSITORY, "updated_tags": tags }).to_string()
}

/// A subscription to a registry that sends the notifications of Quay.
pub(super) fn subscription(registry: &str) -> Value {
    json!([{
        "id": "quay",
        "source": "quay",
        "registryId": REGISTRY,
        "credential": { "bearer": "token" },
        "registryUrl": format!("http://{registry}"),
    }])
}

/// Sends a notification, which the catalog accepts.
pub(super) async fn notify(catalog: &Catalog, body: String) {
    let request = reqwest::Client::new().post(format!("{}/events/quay?token=token", catalog.url));
    let response = request.body(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let report: Value = response.json().await.unwrap();
    assert_eq!(report, json!({ "applied": 1, "ignored": 0, "malformed": [] }));
}

pub(super) async fn a_notification_with_only_a_tag(setup: Setup) {
    let image = setup.image("one", &[100, 2_000]);
    setup.push(&image, "v1", &[]);
    setup.push(&image, "v2", &[]);
    let catalog =
        Catalog::start_subscribed(Store::in_memory().await, &subscription(&setup.registry.address))
            .await;
    // A tag that does not exist any longer adds no image.
    notify(&catalog, pushed_tags(&["v1", "v2", "gone"])).await;
    let tags = ["v1", "v2"].map(str::to_owned).to_vec();
    let expected = [(image.digest.clone(), tags, Some(image.size as i64))];
    eventually("the image", async || described(&catalog.store).await == expected).await;
}

pub(super) async fn a_registry_that_is_unavailable(setup: Setup) {
    let image = setup.image("one", &[100, 2_000]);
    setup.push(&image, "v1", &[]);
    // Nothing listens on this port yet.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let subscriptions = subscription(&address.to_string());
    let store = Store::in_memory().await;
    let catalog = Catalog::start_subscribed(store.clone(), &subscriptions).await;
    notify(&catalog, pushed_tags(&["v1"])).await;
    assert_eq!(described(&store).await, []);
    drop(catalog);

    // Another process retries the lookup, and once more when the registry is available.
    let ingest =
        store.ingest_of(registries::Subscriptions::parse(&subscriptions.to_string()).unwrap());
    let in_a_minute = tokio::time::Instant::now() + Duration::from_mins(1);
    assert_eq!(ingest.retry_pending_lookups(in_a_minute).await.unwrap(), 0);
    let registry = format!("http://{}", setup.registry.address);
    proxy(std::net::TcpListener::bind(address).unwrap(), &registry, |bytes| bytes, |bytes| bytes);
    // One that was tried in vain is tried again after ten seconds.
    let is_completed = async || ingest.retry_pending_lookups(in_a_minute).await.unwrap() == 1;
    eventually("the lookup", is_completed).await;
    assert_eq!(
        described(&store).await,
        [(image.digest.clone(), vec!["v1".to_owned()], Some(image.size as i64))]
    );
    assert_eq!(ingest.retry_pending_lookups(in_a_minute).await.unwrap(), 0, "no lookup is pending");
}
