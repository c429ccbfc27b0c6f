//! Webhooks: the real payloads of every product, their effects on the catalog, and their
//! authentication.

mod credentials;
mod hostile;
mod outgoing;
mod pending_lookups;
mod products;
mod replays;
mod slow_registries;

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use catalog::table::Item;
use end_to_end::harness::{Catalog, Store, sample};
use registries::Subscriptions;
use serde_json::{Value, json};

pub(crate) use self::credentials::signature;

const REGISTRY: &str = "210987654321";
const SOURCES: [&str; 8] =
    ["ecr", "distribution", "harbor", "quay", "github", "docker-hub", "artifactory", "zot"];

/// A catalog with a subscription of each kind, all of the registry id [`REGISTRY`], each with a
/// bearer token of its own. No registry is available: nothing listens at their addresses.
async fn catalog() -> Catalog {
    let subscriptions: Vec<Value> = SOURCES
        .iter()
        .map(|source| {
            let mut subscription = json!({
                "id": format!("{source}-1"),
                "source": source,
                "registryId": REGISTRY,
                "credential": { "bearer": format!("token of {source}") },
            });
            if matches!(*source, "quay" | "docker-hub" | "github") {
                subscription["registryUrl"] = json!("http://127.0.0.1:9");
            }
            subscription
        })
        .collect();
    Catalog::start_subscribed(Store::in_memory().await, &json!(subscriptions)).await
}

/// Sends a webhook; returns the status and the response.
pub(crate) async fn send(
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> (u16, Value) {
    let mut request = reqwest::Client::new().post(url).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn deliver(catalog: &Catalog, source: &str, file: &str) -> (u16, Value) {
    let event: Value = serde_json::from_str(&sample(file)).unwrap();
    let token = format!("Bearer token of {source}");
    let mut headers = vec![("authorization", token.as_str())];
    if source == "artifactory" {
        headers = vec![("x-jfrog-event-auth", "token of artifactory")];
    }
    let url = format!("{}/events/{source}", catalog.url);
    // The samples of zot are requests: headers, and the body.
    let Some(sent) = event["headers"].as_object() else {
        return send(&url, &headers, event.to_string()).await;
    };
    headers.extend(sent.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())));
    send(&url, &headers, event["body"].to_string()).await
}

fn report(applied: u64, ignored: u64) -> Value {
    json!({ "applied": applied, "ignored": ignored, "malformed": [] })
}

/// The images of a repository, as the private service returns them.
async fn images(catalog: &Catalog, repository: &str) -> Value {
    let request = json!({ "registryId": REGISTRY, "repositoryName": repository });
    let target = [("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.DescribeImages")];
    let (_, mut response) = send(&catalog.url, &target, request.to_string()).await;
    let Some(images) = response["imageDetails"].as_array_mut() else {
        return response["__type"].take();
    };
    for image in &mut *images {
        let image = image.as_object_mut().unwrap();
        assert_eq!(image.remove("registryId").unwrap(), REGISTRY);
        assert_eq!(image.remove("repositoryName").unwrap(), repository);
        image.remove("imageStatus");
    }
    response["imageDetails"].take()
}

/// The sort keys of pending lookups.
async fn pending_lookups(catalog: &Catalog) -> Vec<String> {
    let items = pending_items(catalog).await;
    items.iter().map(|item| item["sort"].as_s().unwrap().clone()).collect()
}

async fn pending_items(catalog: &Catalog) -> Vec<Item> {
    let table = &catalog.store.table;
    let open = table
        .client
        .query()
        .table_name(&table.name)
        .key_condition_expression("repository = :pending")
        .expression_attribute_values(":pending", AttributeValue::S("pending".to_owned()))
        .send()
        .await
        .unwrap();
    open.items.unwrap()
}

/// Retries the pending lookups, none of which is completed.
async fn retry_in_vain(catalog: &Catalog, subscriptions: &Value) {
    let subscriptions = Subscriptions::parse(&subscriptions.to_string()).unwrap();
    let until = tokio::time::Instant::now() + Duration::from_mins(1);
    let ingest = catalog.store.ingest_of(subscriptions);
    assert_eq!(ingest.retry_pending_lookups(until).await.unwrap(), 0);
}

/// An image without the time of its push, which is the time of its event's arrival.
fn without_time(mut images: Value) -> Value {
    for image in images.as_array_mut().unwrap() {
        assert!(
            image.as_object_mut().unwrap().remove("imagePushedAt").unwrap().as_f64() > Some(1.7e9)
        );
    }
    images
}

const HARBOR_IMAGE: &str =
    "sha256:954b378c375d852eb3c63ab88978f640b4348b01c1b3456a024a81536dafbbf4";
