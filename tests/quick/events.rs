//! Events, by rule: from the bytes of a registry to the response of DescribeImages.

mod deletions;
mod distribution;
mod ecr;
mod ecr_public;
mod malformed;
mod order;
mod public_histories;
mod pushes;
mod scans;
mod times;

use end_to_end::harness::queue::received_message;
use end_to_end::harness::{Catalog, REGISTRY, digest};
use ingest_events::batch::ReceivedMessage;
use serde_json::{Value, json};

/// The requests of the tests to a catalog over HTTP.
trait CatalogClient {
    async fn send(&self, path: &str, body: &Value) -> (u16, Value);
    async fn ecr(&self, event: &Value);
    async fn distribution(&self, event: Value);
    async fn describe(&self, request: Value) -> (u16, Value);
    async fn images(&self, repository: &str) -> Vec<Value>;
    async fn error(&self, repository: &str) -> String;
}

impl CatalogClient for Catalog {
    async fn send(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}{path}", self.url);
        let response =
            reqwest::Client::new().post(url).body(body.to_string()).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn ecr(&self, event: &Value) {
        assert_eq!(
            self.send("/events/ecr", event).await,
            (200, json!({"applied":1,"ignored":0,"malformed":[]}))
        );
    }

    async fn distribution(&self, event: Value) {
        let response = self.send("/events/distribution", &json!({ "events": [event] })).await;
        assert_eq!(response, (200, json!({"applied":1,"ignored":0,"malformed":[]})));
    }

    async fn describe(&self, request: Value) -> (u16, Value) {
        let response = reqwest::Client::new()
            .post(&self.url)
            .header("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.DescribeImages")
            .body(request.to_string())
            .send()
            .await
            .unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// All images of a repository, without registry and repository, which are always the same.
    async fn images(&self, repository: &str) -> Vec<Value> {
        let request = json!({ "repositoryName": repository, "filter": { "imageStatus": "ANY" } });
        let (status, mut response) = self.describe(request).await;
        assert_eq!(status, 200, "{response}");
        let mut images = response["imageDetails"].take().as_array().unwrap().clone();
        for image in &mut images {
            let image = image.as_object_mut().unwrap();
            assert_eq!(image.remove("registryId").unwrap(), REGISTRY);
            assert_eq!(image.remove("repositoryName").unwrap(), repository);
        }
        images
    }

    /// The error of a listing.
    async fn error(&self, repository: &str) -> String {
        let (status, response) = self.describe(json!({ "repositoryName": repository })).await;
        assert_eq!(status, 400, "{response}");
        response["__type"].as_str().unwrap().to_owned()
    }
}

/// An EventBridge event at this second of 2026.
fn event(detail_type: &str, second: u32, detail: Value) -> Value {
    json!({
        "version": "0",
        "id": "13cde686-328b-6117-af20-0e5566167482",
        "detail-type": detail_type,
        "source": "aws.ecr",
        "account": REGISTRY,
        "time": format!("2026-01-01T00:00:{second:02}Z"),
        "region": "us-east-1",
        "resources": [],
        "detail": detail,
    })
}

/// A basic scan of image 1.
fn scan(second: u32, status: &str, counts: Value) -> Value {
    let detail = json!({
        "scan-status": status,
        "repository-name": "app",
        "finding-severity-counts": counts,
        "image-digest": digest(1),
        "image-tags": [],
    });
    event("ECR Image Scan", second, detail)
}

fn action(action_type: &str, second: u32, number: u64, tag: &str) -> Value {
    let detail = json!({
        "result": "SUCCESS",
        "repository-name": "app",
        "image-digest": digest(number),
        "action-type": action_type,
        "image-tag": tag,
    });
    event("ECR Image Action", second, detail)
}

fn push(second: u32, number: u64, tag: &str) -> Value {
    action("PUSH", second, number, tag)
}

fn delete(second: u32, number: u64, tag: &str) -> Value {
    action("DELETE", second, number, tag)
}

fn cloudtrail(name: &str, second: u32, members: Value) -> Value {
    let mut record = json!({
        "eventSource": "ecr.amazonaws.com",
        "eventName": name,
        "eventTime": format!("2026-01-01T00:00:{second:02}Z"),
        "awsRegion": "us-east-1",
        "recipientAccountId": REGISTRY,
        "requestParameters": { "repositoryName": "app" },
    });
    record.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    event("AWS API Call via CloudTrail", second, record)
}

/// The seconds since 1970 of a second of 2026.
fn epoch(second: u32) -> u32 {
    1_767_225_600 + second
}

/// Digest, tags and time of an image, with the other members as a push without media types leaves
/// them.
fn image(number: u64, tags: &[&str], second: u32) -> Value {
    let mut image = json!({ "imageDigest": digest(number), "imagePushedAt": epoch(second), "imageStatus": "ACTIVE" });
    if !tags.is_empty() {
        image["imageTags"] = json!(tags);
    }
    image
}

/// All permutations of some events.
fn orders(events: &[Value]) -> Vec<Vec<Value>> {
    if events.is_empty() {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for first in 0..events.len() {
        let mut rest = events.to_vec();
        let first = rest.remove(first);
        all.extend(orders(&rest).into_iter().map(|rest| [vec![first.clone()], rest].concat()));
    }
    all
}

/// Sends events in every order, each order followed by all of them again, and expects the same
/// images.
async fn assert_in_any_order(events: &[Value], expected: &[Value]) {
    for order in orders(events) {
        let catalog = Catalog::start().await;
        for event in order.iter().chain(&order) {
            catalog.ecr(event).await;
        }
        assert_eq!(catalog.images("app").await, expected, "{order:#?}");
    }
}

fn notification(action: &str, target: Value) -> Value {
    json!({
        "id": "e3856df2-8785-460e-b9e1-f9ccf5d9df5a",
        "timestamp": "2026-01-01T00:00:07.123456789Z",
        "action": action,
        "target": target,
    })
}

fn notified_image(number: u64, size: i64) -> Value {
    notification(
        "push",
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "size": 476,
            "digest": digest(number),
            "repository": "app",
            "references": [
                { "mediaType": "application/vnd.oci.image.config.v1+json", "size": 40, "digest": digest(90) },
                { "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": size - 40, "digest": digest(91) },
            ],
        }),
    )
}

fn message(id: &str, body: &Value, attributes: &[(&str, &str)]) -> ReceivedMessage {
    received_message(id, &body.to_string(), attributes)
}

/// The digests of all images of a repository, in pages of one.
async fn pages_of_one(catalog: &Catalog, repository: &str) -> Vec<String> {
    let mut digests = Vec::new();
    let mut request = json!({ "repositoryName": repository, "maxResults": 1 });
    loop {
        let (status, page) = catalog.describe(request.clone()).await;
        assert_eq!(status, 200, "{page}");
        let images = page["imageDetails"].as_array().unwrap();
        assert_eq!(images.len(), 1, "{page}");
        digests.push(images[0]["imageDigest"].as_str().unwrap().to_owned());
        match page.get("nextToken") {
            Some(token) => request["nextToken"] = token.clone(),
            None => return digests,
        }
    }
}
