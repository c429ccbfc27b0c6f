//! Signed deliveries that somebody sends again.

use std::time::Duration;

use catalog::{Deliveries, Timestamp};
use end_to_end::harness::{Catalog, Store, digest};
use registries::Subscriptions;
use serde_json::{Value, json};

use super::{REGISTRY, images, report, send, signature};

fn subscriptions() -> Value {
    json!([{
        "id": "github", "source": "github", "registryId": REGISTRY,
        "credential": { "hmac": "key" },
    }])
}

/// A push of the tag `latest`.
fn push(number: u64) -> String {
    json!({
        "action": "published",
        "registry_package": { "package_version": {
            "package_url": "ghcr.io/team/app:latest",
            "container_metadata": {
                "tag": { "name": "latest" },
                "manifest": { "digest": digest(number) },
            },
        } },
    })
    .to_string()
}

async fn deliver(catalog: &Catalog, body: &str) -> (u16, Value) {
    let signature = format!("sha256={}", signature("key", body));
    let url = format!("{}/events/github", catalog.url);
    send(&url, &[("x-hub-signature-256", &signature)], body.to_owned()).await
}

#[tokio::test]
async fn a_signed_delivery_that_is_sent_again_changes_nothing() {
    let store = Store::in_memory().await;
    let catalog = Catalog::start_subscribed(store, &subscriptions()).await;
    for number in [1, 2] {
        assert_eq!(deliver(&catalog, &push(number)).await, (200, report(1, 0)));
    }
    let expected = images(&catalog, "team/app").await;
    assert_eq!(expected[0]["imageDigest"], digest(2).as_str());
    assert_eq!(expected[0]["imageTags"], json!(["latest"]));
    for _ in 0..2 {
        assert_eq!(deliver(&catalog, &push(1)).await, (200, report(1, 0)));
        assert_eq!(images(&catalog, "team/app").await, expected);
    }
    // A subscription of another id has the same key.
    let mut renamed = subscriptions();
    renamed[0]["id"] = json!("renamed");
    let renamed = Catalog::start_subscribed(catalog.store.clone(), &renamed).await;
    assert_eq!(deliver(&renamed, &push(1)).await, (200, report(1, 0)));
    assert_eq!(images(&renamed, "team/app").await, expected);
    // A sender may change what is not signed, but not the body.
    let changed = push(1).replace("latest", "stable");
    let signature = format!("sha256={}", signature("key", &push(1)));
    let url = format!("{}/events/github", catalog.url);
    assert_eq!(send(&url, &[("x-hub-signature-256", &signature)], changed).await.0, 401);
}

#[tokio::test]
async fn a_signed_delivery_is_known_when_its_history_is_not_any_longer() {
    let store = Store::in_memory().await;
    let catalog = Catalog::start_subscribed(store.clone(), &subscriptions()).await;
    let body = push(1);
    let parsed = Subscriptions::parse(&subscriptions().to_string()).unwrap();
    let id = parsed.get("github").unwrap().signed_delivery(body.as_bytes()).unwrap();
    let long_ago = Timestamp::now().minus(Duration::from_hours(24 * 31));
    let deliveries = Deliveries::new(store.table);
    let first = deliveries.first_received_at(&id, long_ago).await.unwrap();
    assert_eq!(first, long_ago);
    assert_eq!(deliver(&catalog, &body).await, (200, report(0, 1)));
    assert_eq!(images(&catalog, "team/app").await, "RepositoryNotFoundException");
}
