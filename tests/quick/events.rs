//! Events, by rule: from the bytes that a registry sends to what DescribeImages then answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsEvent, SqsMessage, SqsMessageAttribute};
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use catalog::{RegistryId, Timestamp};
use end_to_end::harness::{
    Catalog, InProcess, OCI_CONFIGURATION, OCI_IMAGE, OCI_INDEX, REGISTRY, Random, Store,
    configuration, digest, operation, print, sample,
};
use image_catalog::engine::Engine;
use serde_json::{Value, json};
use subscriptions::Subscriptions;

/// What the tests say to a catalog over HTTP.
trait Talk {
    async fn send(&self, path: &str, body: &Value) -> (u16, Value);
    async fn ecr(&self, event: &Value);
    async fn distribution(&self, event: Value);
    async fn describe(&self, request: Value) -> (u16, Value);
    async fn images(&self, repository: &str) -> Vec<Value>;
    async fn error(&self, repository: &str) -> String;
}

impl Talk for Catalog {
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
        let answer = self.send("/events/distribution", &json!({ "events": [event] })).await;
        assert_eq!(answer, (200, json!({"applied":1,"ignored":0,"malformed":[]})));
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
        let (status, mut answer) = self.describe(request).await;
        assert_eq!(status, 200, "{answer}");
        let mut images = answer["imageDetails"].take().as_array().unwrap().clone();
        for image in &mut images {
            let image = image.as_object_mut().unwrap();
            assert_eq!(image.remove("registryId").unwrap(), REGISTRY);
            assert_eq!(image.remove("repositoryName").unwrap(), repository);
        }
        images
    }

    /// The error of a listing.
    async fn error(&self, repository: &str) -> String {
        let (status, answer) = self.describe(json!({ "repositoryName": repository })).await;
        assert_eq!(status, 400, "{answer}");
        answer["__type"].as_str().unwrap().to_owned()
    }
}

/// An EventBridge event of this second of 2026.
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

/// Seconds since 1970 of a second of 2026.
fn epoch(second: u32) -> u32 {
    1_767_225_600 + second
}

/// Digest, tags and time of an image, the rest being as a push without media types leaves it.
fn image(number: u64, tags: &[&str], second: u32) -> Value {
    let mut image = json!({ "imageDigest": digest(number), "imagePushedAt": epoch(second), "imageStatus": "ACTIVE" });
    if !tags.is_empty() {
        image["imageTags"] = json!(tags);
    }
    image
}

/// Every order of some events.
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

fn notified_index(number: u64, manifests: &[u64]) -> Value {
    let references: Vec<Value> = manifests
        .iter()
        .map(|manifest| {
            json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "size": 476,
                "digest": digest(*manifest),
            })
        })
        .collect();
    notification(
        "push",
        json!({
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "size": 645,
            "digest": digest(number),
            "repository": "app",
            "tag": "multi",
            "references": references,
        }),
    )
}

#[tokio::test]
async fn r39_r47_an_index_has_the_size_of_its_largest_manifest_whichever_arrives_first() {
    let events = [
        notified_image(1, 2000),
        notified_image(2, 3000),
        notified_index(3, &[1, 2]),
        notified_index(4, &[3]),
    ];
    for order in orders(&events) {
        let catalog = Catalog::start().await;
        for event in &order {
            catalog.distribution(event.clone()).await;
        }
        let sizes: Vec<Value> = catalog
            .images("app")
            .await
            .iter()
            .map(|image| json!([image["imageDigest"], image["imageSizeInBytes"]]))
            .collect();
        let expected = [(3, 3000), (4, 3000), (1, 2000), (2, 3000)]
            .map(|(number, size)| json!([digest(number), size]));
        assert_eq!(sizes, expected, "{order:#?}");
    }
}

#[tokio::test]
async fn r39_an_index_of_many_manifests_is_applied_as_a_whole() {
    let catalog = Catalog::start().await;
    let manifests: Vec<u64> = (1..=250).collect();
    catalog.distribution(notified_index(1000, &manifests)).await;
    assert_eq!(catalog.images("app").await[0].get("imageSizeInBytes"), None, "unknown, not 0");
    for number in [1, 250] {
        let size = i64::try_from(number).unwrap() * 100;
        catalog.distribution(notified_image(number, size)).await;
        let images = catalog.images("app").await;
        let index =
            images.iter().find(|image| image["imageDigest"] == json!(digest(1000))).unwrap();
        assert_eq!(index["imageSizeInBytes"], json!(size));
    }
}

#[tokio::test]
async fn r52_an_index_of_too_many_manifests_is_reported() {
    let catalog = Catalog::start().await;
    let manifests: Vec<u64> = (1..=1001).collect();
    let answer = catalog
        .send(
            "/events/distribution",
            &json!({ "events": [notified_index(0, &manifests), notified_image(1, 10)] }),
        )
        .await;
    let reason = "an image has more tags, or lists more manifests, than one DynamoDB item can hold";
    assert_eq!(
        answer,
        (
            200,
            json!({ "applied": 1, "ignored": 0, "malformed": [{ "event": 0, "reason": reason }] })
        )
    );
    let images = catalog.images("app").await;
    assert_eq!(images.len(), 1);
    assert_eq!(images[0]["imageDigest"], json!(digest(1)));
}

#[tokio::test]
async fn r39_a_manifest_can_be_in_many_indexes() {
    let catalog = Catalog::start().await;
    for number in 100..170 {
        catalog.distribution(notified_index(number, &[1])).await;
    }
    catalog.distribution(notified_image(1, 2000)).await;
    let images = catalog.images("app").await;
    assert_eq!(images.iter().filter(|image| image["imageSizeInBytes"] == 2000).count(), 71);
}

#[tokio::test]
async fn r47_distribution_takes_manifests_and_leaves_blobs() {
    let catalog = Catalog::start().await;
    let accepted = async |path: &str| {
        let envelope: Value =
            serde_json::from_str(&sample(&format!("cncf-distribution/{path}.json"))).unwrap();
        let (status, report) = catalog.send("/events/distribution", &envelope).await;
        assert_eq!(status, 200, "{report}");
        (report["applied"].as_u64().unwrap(), report["ignored"].as_u64().unwrap())
    };
    assert_eq!(accepted("v2.8-push-blob").await, (0, 1));
    assert_eq!(accepted("v2.8-mount-blob").await, (0, 1));
    assert_eq!(catalog.error("team/app").await, "RepositoryNotFoundException");
    assert_eq!(accepted("v2.8-push-index-tagged").await, (1, 0));
    assert_eq!(accepted("v2.8-push-index-second-tag").await, (1, 0));
    assert_eq!(accepted("v2.8-push-manifest-by-digest").await, (1, 0));
    assert_eq!(accepted("v2.8-push-manifest-tagged-with-references").await, (1, 0));
    assert_eq!(accepted("v2.8-pull-manifest").await, (1, 0));
    let expected = json!([
        {
            "imageDigest": "sha256:2e2ff5b19d32fad14cca394a51e8d920099312bdb38f36696ba1ac56cb75e43c",
            "imageTags": ["2.0.0", "latest"],
            "imageSizeInBytes": 2040,
            "imagePushedAt": 1_795_306_263.989,
            "imageManifestMediaType": "application/vnd.oci.image.index.v1+json",
            "lastRecordedPullTime": 1_795_306_264.076,
            "imageStatus": "ACTIVE",
        },
        {
            "imageDigest": "sha256:62fbf0db6532e8b043dc9e72ee078370e561bcb9eb8c334dc4e167718be4c554",
            "imageSizeInBytes": 2040,
            "imagePushedAt": 1_795_306_263.771,
            "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactMediaType": "application/vnd.oci.image.config.v1+json",
            "imageStatus": "ACTIVE",
        },
        {
            "imageDigest": "sha256:63d78890b247c12168f02ab19c27a31eddb44299843e33167205b7d8d2faef1f",
            "imageTags": ["1.0.0"],
            "imageSizeInBytes": 3037,
            "imagePushedAt": 1_795_306_263.688,
            "imageManifestMediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "artifactMediaType": "application/vnd.docker.container.image.v1+json",
            "imageStatus": "ACTIVE",
        },
    ]);
    assert_eq!(json!(catalog.images("team/app").await), expected);
    assert_eq!(accepted("v2.8-delete-manifest-digest").await, (1, 0));
    assert_eq!(accepted("v2.8-delete-manifest-tag").await, (1, 0));
    assert_eq!(json!(catalog.images("team/app").await), json!(expected.as_array().unwrap()[..2]));
}

#[tokio::test]
async fn r47_only_what_is_really_pulled_counts_as_pulled() {
    let catalog = Catalog::start().await;
    catalog.distribution(notified_image(1, 2000)).await;
    let pull = |method: &str, user_agent: &str| {
        let mut event = notified_image(1, 2000);
        event["action"] = json!("pull");
        event["request"] = json!({ "method": method, "useragent": user_agent });
        json!({ "events": [event] })
    };
    let own = concat!("image-catalog/", env!("CARGO_PKG_VERSION"));
    for (method, user_agent, applied) in
        [("HEAD", "docker/24.0.7", 0), ("GET", own, 0), ("GET", "docker/24.0.7", 1)]
    {
        let (_, report) = catalog.send("/events/distribution", &pull(method, user_agent)).await;
        assert_eq!(report["applied"], applied, "{method} {user_agent}");
        let pulled = catalog.images("app").await[0].get("lastRecordedPullTime").is_some();
        assert_eq!(pulled, applied == 1, "{method} {user_agent}");
    }
}

#[tokio::test]
async fn r47_notifications_of_version_3_carry_more_members() {
    let catalog = Catalog::start().await;
    let mut event = notified_image(1, 2000);
    let more = json!({
        "artifactType": "application/vnd.example.sbom",
        "annotations": { "org.opencontainers.image.ref.name": "v1" },
        "platform": { "architecture": "amd64", "os": "linux" },
        "urls": ["https://example.com/"],
        "data": "e30=",
        "fromRepository": "other",
    });
    event["target"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    catalog.distribution(event).await;
    let images = catalog.images("app").await;
    assert_eq!(images[0]["artifactMediaType"], "application/vnd.example.sbom");
    assert_eq!(images[0]["imageSizeInBytes"], 2000);
}

#[tokio::test]
async fn r48_a_repository_exists_from_its_first_event_to_its_deletion() {
    let catalog = Catalog::start().await;
    assert_eq!(catalog.error("app").await, "RepositoryNotFoundException");
    catalog.ecr(&cloudtrail("CreateRepository", 1, json!({}))).await;
    assert_eq!(catalog.images("app").await, [] as [Value; 0], "it exists, without images");
    catalog.ecr(&push(2, 1, "v1")).await;
    catalog.ecr(&cloudtrail("DeleteRepository", 3, json!({}))).await;
    assert_eq!(catalog.error("app").await, "RepositoryNotFoundException");
    let by_tag = json!({ "repositoryName": "app", "imageIds": [{ "imageTag": "v1" }] });
    assert_eq!(catalog.describe(by_tag).await.1["__type"], "RepositoryNotFoundException");
    catalog.ecr(&push(4, 2, "v2")).await;
    assert_eq!(catalog.images("app").await, [image(2, &["v2"], 4)]);
}

#[tokio::test]
async fn r48_a_deletion_takes_earlier_images_in_any_order() {
    let events = [
        push(1, 1, "v1"),
        push(2, 2, "v2"),
        cloudtrail("DeleteRepository", 3, json!({})),
        push(4, 2, "v2"),
    ];
    assert_in_any_order(&events, &[image(2, &["v2"], 4)]).await;
}

#[tokio::test]
async fn r48_a_delete_event_makes_a_repository_known_but_does_not_bring_it_back() {
    let catalog = Catalog::start().await;
    catalog.ecr(&delete(1, 1, "v1")).await;
    assert_eq!(catalog.images("app").await, [] as [Value; 0]);
    catalog.ecr(&cloudtrail("DeleteRepository", 2, json!({}))).await;
    catalog.ecr(&delete(3, 1, "v1")).await;
    assert_eq!(catalog.error("app").await, "RepositoryNotFoundException");
}

#[tokio::test]
async fn r49_an_image_goes_with_its_last_tag_only_if_that_tag_is_removed() {
    let two_tags = [push(1, 1, "v1"), push(2, 1, "v2")];
    let one_removed = [two_tags.to_vec(), vec![delete(3, 1, "v1")]].concat();
    assert_in_any_order(&one_removed, &[image(1, &["v2"], 1)]).await;
    let both_removed = [one_removed.clone(), vec![delete(4, 1, "v2")]].concat();
    assert_in_any_order(&both_removed, &[]).await;
    // Here the last tag is moved away: the image stays, untagged.
    let one_moved = [one_removed, vec![push(4, 2, "v2")]].concat();
    assert_in_any_order(&one_moved, &[image(2, &["v2"], 4), image(1, &[], 1)]).await;
}

#[tokio::test]
async fn r49_a_removed_tag_that_points_elsewhere_by_then_stays() {
    let events = [push(1, 1, "v1"), push(2, 2, "v1"), delete(3, 1, "v1")];
    assert_in_any_order(&events, &[image(2, &["v1"], 2), image(1, &[], 1)]).await;
    let older = [push(1, 1, "v1"), delete(2, 1, "v1"), push(3, 1, "v1")];
    assert_in_any_order(&older, &[image(1, &["v1"], 3)]).await;
}

#[tokio::test]
async fn r49_a_delete_without_a_tag_takes_the_image_and_all_its_tags() {
    let events = [push(1, 1, "v1"), push(2, 1, "v2"), push(3, 2, "v3"), delete(4, 1, "")];
    assert_in_any_order(&events, &[image(2, &["v3"], 3)]).await;
}

#[tokio::test]
async fn r49_distribution_deletes_by_digest_and_by_tag() {
    let catalog = Catalog::start().await;
    catalog.ecr(&push(1, 1, "v1")).await;
    catalog.ecr(&push(2, 2, "v2")).await;
    catalog.distribution(notification("delete", json!({ "repository": "app", "tag": "v1" }))).await;
    assert_eq!(
        catalog.images("app").await,
        [image(2, &["v2"], 2), image(1, &[], 1)],
        "the image stays"
    );
    catalog
        .distribution(notification("delete", json!({ "repository": "app", "digest": digest(2) })))
        .await;
    assert_eq!(catalog.images("app").await, [image(1, &[], 1)]);
}

#[tokio::test]
async fn r49_cloudtrail_tells_of_deletes_and_of_lifecycle_policies() {
    let catalog = Catalog::start().await;
    for (number, tag) in [(1, "v1"), (2, "v2"), (3, "v3"), (3, "v4"), (4, "v5")] {
        catalog.ecr(&push(u32::try_from(number).unwrap(), number, tag)).await;
    }
    let deleted = json!({
        "requestParameters": {
            "repositoryName": "app",
            "imageIds": [{ "imageTag": "v1" }, { "imageDigest": digest(2) }, { "imageTag": "v3" }],
        },
        "responseElements": {
            "imageIds": [
                { "imageDigest": digest(1), "imageTag": "v1" },
                { "imageDigest": digest(2), "imageTag": "v2" },
                { "imageDigest": digest(3), "imageTag": "v3" },
            ],
        },
    });
    catalog.ecr(&cloudtrail("BatchDeleteImage", 10, deleted)).await;
    assert_eq!(catalog.images("app").await, [image(4, &["v5"], 4), image(3, &["v4"], 3)]);
    let executed = json!({
        "requestParameters": null,
        "serviceEventDetails": {
            "repositoryName": "app",
            "lifecycleEventPolicy": { "lifecycleEventRules": [
                { "rulePriority": 1, "action": "expire" },
                { "rulePriority": 2, "action": "transition" },
            ] },
            "lifecycleEventImageActions": [
                { "lifecycleEventImage": { "digest": digest(3), "tagStatus": "Tagged" }, "rulePriority": 1 },
                { "lifecycleEventImage": { "digest": digest(4), "tagStatus": "Tagged" }, "rulePriority": 2 },
            ],
        },
    });
    catalog.ecr(&cloudtrail("PolicyExecutionEvent", 11, executed)).await;
    assert_eq!(catalog.images("app").await, [image(4, &["v5"], 4)]);
}

#[tokio::test]
async fn r50_archive_and_restore() {
    let storage_class = |second: u32, class: &str, more: Value| {
        let mut event = action("UPDATE_STORAGE_CLASS", second, 1, "");
        event["detail"]["target-storage-class"] = json!(class);
        event["detail"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let archive = storage_class(2, "ARCHIVE", json!({}));
    let restore =
        storage_class(3, "STANDARD", json!({ "last-activated-at": "2026-01-01T00:00:02.74Z" }));
    let mut archived = image(1, &["v1"], 1);
    archived["imageStatus"] = json!("ARCHIVED");
    archived["lastArchivedAt"] = json!(epoch(2));
    assert_in_any_order(&[push(1, 1, "v1"), archive.clone()], &[archived]).await;
    let mut restored = image(1, &["v1"], 1);
    restored["lastArchivedAt"] = json!(epoch(2));
    restored["lastActivatedAt"] = json!(f64::from(epoch(2)) + 0.74);
    assert_in_any_order(&[push(1, 1, "v1"), archive, restore], &[restored]).await;
}

#[tokio::test]
async fn r51_a_scan_counts_only_for_a_known_image() {
    let scan = |second, status: &str, counts: Value| {
        let detail = json!({
            "scan-status": status,
            "repository-name": "app",
            "finding-severity-counts": counts,
            "image-digest": digest(1),
            "image-tags": [],
        });
        event("ECR Image Scan", second, detail)
    };
    let complete = scan(3, "COMPLETE", json!({ "CRITICAL": 10, "MEDIUM": 9 }));
    let mut expected = image(1, &["v1"], 1);
    expected["imageScanStatus"] = json!({ "status": "COMPLETE" });
    expected["imageScanFindingsSummary"] = json!({ "imageScanCompletedAt": epoch(3), "findingSeverityCounts": { "CRITICAL": 10, "MEDIUM": 9 } });
    let earlier = scan(2, "FAILED", json!(null));
    assert_in_any_order(&[push(1, 1, "v1"), earlier, complete.clone()], &[expected]).await;
    // The image that was scanned is gone; the one that was pushed since was not scanned.
    let events = [push(1, 1, "v1"), complete.clone(), delete(4, 1, ""), push(5, 1, "v1")];
    assert_in_any_order(&events, &[image(1, &["v1"], 5)]).await;
    assert_in_any_order(&[complete], &[]).await;
}

#[tokio::test]
async fn r52_a_malformed_event_changes_nothing_and_the_others_are_applied() {
    let catalog = Catalog::start().await;
    let mut no_digest = push(2, 2, "v2");
    no_digest["detail"]["image-digest"] = json!("sha256:EXAMPLE");
    let mut no_time = push(3, 3, "v3");
    no_time["time"] = json!("2023-02-29T02:36:48Z");
    let mut no_account = push(4, 4, "v4");
    no_account["account"] = json!("12345");
    let mut no_name = push(5, 5, "v5");
    no_name["detail"].as_object_mut().unwrap().remove("repository-name");
    let (status, report) = catalog
        .send(
            "/events/ecr",
            &json!([
                push(1, 1, "v1"),
                no_digest,
                no_time,
                no_account,
                no_name,
                7,
                push(6, 6, "v6")
            ]),
        )
        .await;
    assert_eq!(status, 400);
    assert_eq!(report["applied"], 2);
    let reasons: Vec<(u64, &str)> = report["malformed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|malformed| {
            (malformed["event"].as_u64().unwrap(), malformed["reason"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        reasons,
        [
            (
                1,
                "'image-digest' is not valid: must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"
            ),
            (
                2,
                "'time' is not valid: not a time of the years 1 to 9999 in RFC 3339: 2023-02-29T02:36:48Z"
            ),
            (3, "'account' is not valid: must have length greater than or equal to 12"),
            (4, "missing field `repository-name`"),
            (
                5,
                "neither an EventBridge event ('detail-type'), nor a CloudTrail record ('eventSource', \
                 'eventName'), nor a CloudEvent ('specversion')"
            ),
        ]
    );
    assert_eq!(catalog.images("app").await, [image(6, &["v6"], 6), image(1, &["v1"], 1)]);
}

#[tokio::test]
async fn r52_a_registry_is_not_made_to_repeat_what_cannot_be_applied() {
    let catalog = Catalog::start().await;
    let mut malformed = notified_image(1, 2000);
    malformed["target"]["repository"] = json!("x");
    let delivery = json!({ "events": [malformed, notified_image(2, 2000)] });
    let (status, report) = catalog.send("/events/distribution", &delivery).await;
    assert_eq!(status, 200, "or the registry would send it for ever, and nothing after it");
    assert_eq!(
        report,
        json!({ "applied": 1, "ignored": 0, "malformed": [{
            "event": 0,
            "reason": "'target.repository' is not valid: must have length greater than or equal to 2",
        }] })
    );
    let (status, answer) = catalog.send("/events/distribution", &json!({ "event": [] })).await;
    assert_eq!(
        (status, answer),
        (400, json!({ "message": "the notification has no list 'events'" }))
    );
    let (status, answer) =
        catalog.send("/events/distribution?registry=1", &json!({ "events": [] })).await;
    assert_eq!(
        (status, answer),
        (400, json!({ "message": "the parameter 'registry' must be 12 digits" }))
    );
}

#[tokio::test]
async fn r52_what_is_unknown_is_accepted_and_ignored() {
    let catalog = Catalog::start().await;
    let ignored = (200, json!({"applied":0,"ignored":1,"malformed":[]}));
    let sampled = serde_json::from_str(&sample("aws-ecr/scan-resource-change.json")).unwrap();
    let mut other_source = push(1, 1, "v1");
    other_source["source"] = json!("my.own");
    for event in [
        sampled,
        other_source,
        event("ECR Something New", 1, json!({})),
        action("SOMETHING_NEW", 1, 1, "v1"),
        cloudtrail("SetRepositoryPolicy", 1, json!({})),
        cloudtrail("DeleteRepository", 1, json!({ "errorCode": "AccessDenied" })),
    ] {
        assert_eq!(catalog.send("/events/ecr", &event).await, ignored, "{event}");
    }
    assert_eq!(catalog.error("app").await, "RepositoryNotFoundException");
    let unknown =
        json!({ "events": [notification("something new", json!({ "repository": "app" }))] });
    assert_eq!(catalog.send("/events/distribution", &unknown).await, ignored);
}

#[tokio::test]
async fn r53_accounts_do_not_see_each_other_and_other_regions_are_ignored() {
    let catalog = Catalog::start().await;
    catalog.ecr(&push(1, 1, "v1")).await;
    let mut other_account = push(2, 2, "v1");
    other_account["account"] = json!("210987654321");
    catalog.ecr(&other_account).await;
    assert_eq!(catalog.images("app").await, [image(1, &["v1"], 1)]);
    let request = json!({ "registryId": "210987654321", "repositoryName": "app" });
    let (_, answer) = catalog.describe(request).await;
    assert_eq!(answer["imageDetails"].as_array().unwrap().len(), 1);
    assert_eq!(answer["imageDetails"][0]["imageDigest"], json!(digest(2)));

    let mut other_region = push(3, 3, "v3");
    other_region["region"] = json!("eu-central-1");
    let answer = catalog.send("/events/ecr", &other_region).await;
    assert_eq!(answer, (200, json!({"applied":0,"ignored":1,"malformed":[]})));
    assert_eq!(catalog.images("app").await, [image(1, &["v1"], 1)]);

    let delivery = json!({ "events": [notified_image(4, 2000)] });
    let (status, _) = catalog.send("/events/distribution?registry=000000000001", &delivery).await;
    assert_eq!(status, 200);
    let request = json!({ "registryId": "000000000001", "repositoryName": "app" });
    assert_eq!(
        catalog.describe(request).await.1["imageDetails"][0]["imageDigest"],
        json!(digest(4))
    );
}

/// A record that names neither a registry nor its recipient is of the account that its event came
/// to, or, without an event around it, of the catalog's own.
#[tokio::test]
async fn r53_a_record_without_an_account_is_of_the_account_that_it_came_to() {
    let catalog = Catalog::start().await;
    let record = |repository: &str| {
        json!({
            "eventSource": "ecr.amazonaws.com",
            "eventName": "CreateRepository",
            "eventTime": "2026-01-01T00:00:00Z",
            "awsRegion": "us-east-1",
            "requestParameters": { "repositoryName": repository },
        })
    };
    catalog.ecr(&record("alone")).await;
    let mut event = push(1, 1, "v1");
    event["account"] = json!("210987654321");
    event["detail-type"] = json!("AWS API Call via CloudTrail");
    event["detail"] = record("inside");
    catalog.ecr(&event).await;
    for (registry, repository) in [(REGISTRY, "alone"), ("210987654321", "inside")] {
        let request = json!({ "registryId": registry, "repositoryName": repository });
        assert_eq!(
            catalog.describe(request).await,
            (200, json!({ "imageDetails": [] })),
            "{repository}"
        );
    }
}

#[tokio::test]
async fn every_sample_of_ecr_is_understood() {
    let catalog = Catalog::start().await;
    let outcome = async |name: &str| {
        let mut event: Value =
            serde_json::from_str(&sample(&format!("aws-ecr/{name}.json"))).unwrap();
        // All samples as if of this catalog's region.
        let region = if event.get("awsRegion").is_some() { "/awsRegion" } else { "/region" };
        for place in [region, "/detail/awsRegion"] {
            if let Some(region) = event.pointer_mut(place) {
                *region = json!("us-east-1");
            }
        }
        let (_, report) = catalog.send("/events/ecr", &event).await;
        match (
            report["applied"].as_u64(),
            report["ignored"].as_u64(),
            report["malformed"][0]["reason"].as_str(),
        ) {
            (Some(1), _, _) => "applied".to_owned(),
            (_, Some(1), _) => "ignored".to_owned(),
            (_, _, Some(reason)) => reason.to_owned(),
            _ => panic!("{report}"),
        }
    };
    for name in [
        "cloudevents-input-transformer",
        "cloudtrail-create-repository",
        "cloudtrail-policy-execution",
        "cloudtrail-put-image",
        "eventbridge-cloudtrail-create-repository",
        "image-action-archive",
        "image-action-delete",
        "image-action-push",
        "image-action-push-media-types",
        "image-action-push-untagged",
        "image-action-restore",
        "image-scan-basic",
        "referrer-action-restore",
        "replication-action-success",
    ] {
        assert_eq!(outcome(name).await, "applied", "{name}");
    }
    for name in ["replication-action-failed", "scan-resource-change"] {
        assert_eq!(outcome(name).await, "ignored", "{name}");
    }
    // Published with a digest that is none.
    assert_eq!(
        outcome("pull-through-cache-action").await,
        "'image-digest' is not valid: must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"
    );
    // The record of PutImage carries the manifest, and with it the size.
    let images = catalog.images("testrepo").await;
    assert_eq!(images[0]["imageSizeInBytes"], 111_414_544);
    assert_eq!(images[0]["imageTags"], json!(["latest"]));
    let (_, answer) =
        catalog.describe(json!({ "registryId": "123456789000", "repositoryName": "node" })).await;
    assert_eq!(answer["imageDetails"][0]["imageTags"], json!(["20-alpine3.16"]));
}

fn message(id: &str, body: &Value, attributes: &[(&str, &str)]) -> SqsMessage {
    let mut message = SqsMessage::default();
    message.message_id = Some(id.to_owned());
    message.body = Some(body.to_string());
    for (name, value) in attributes {
        let mut attribute = SqsMessageAttribute::default();
        attribute.string_value = Some((*value).to_owned());
        message.message_attributes.insert((*name).to_owned(), attribute);
    }
    message
}

#[tokio::test]
async fn r52_of_a_batch_just_the_messages_that_failed_are_given_back() {
    let store = Store::in_memory().await;
    let mut malformed = push(3, 3, "v3");
    malformed["time"] = json!("yesterday");
    let mut batch = SqsEvent::default();
    batch.records = vec![
        message("ecr", &push(1, 1, "v1"), &[]),
        message("malformed", &malformed, &[]),
        message(
            "distribution",
            &json!({ "events": [notified_image(2, 2000)] }),
            &[("subscription", "registry-1")],
        ),
        message(
            "another registry",
            &json!({ "events": [notified_image(4, 2000)] }),
            &[("subscription", "registry-2")],
        ),
        message("unknown subscription", &push(5, 5, "v5"), &[("subscription", "carrier pigeon")]),
        message("no JSON", &Value::Null, &[("subscription", "registry-1")]),
        message("reminder", &json!({ "source": "image-catalog", "detail-type": "Ask Again" }), &[]),
    ];
    let registry = RegistryId::parse(REGISTRY).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    let subscription = |id: &str, registry: &str| {
        json!({
            "id": id, "source": "distribution", "registryId": registry, "credential": { "bearer": "token" },
        })
    };
    let subscriptions =
        json!([subscription("registry-1", REGISTRY), subscription("registry-2", "000000000001")]);
    let ingest = store.ingest_of(Subscriptions::parse(&subscriptions.to_string()).unwrap());
    let response = ingest_events::handler::handle(&ingest, &registry, None, batch, deadline).await;
    let mut failed: Vec<String> =
        response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect();
    failed.sort();
    assert_eq!(failed, ["malformed", "no JSON", "unknown subscription"]);
    let catalog = Catalog::start_with(store, &"0".repeat(64)).await;
    let digests: Vec<Value> =
        catalog.images("app").await.iter().map(|image| image["imageDigest"].clone()).collect();
    assert_eq!(digests, [json!(digest(2)), json!(digest(1))]);
    let request = json!({ "registryId": "000000000001", "repositoryName": "app" });
    assert_eq!(catalog.describe(request).await.1["imageDetails"].as_array().unwrap().len(), 1);
}

/// The digests of all images of a repository, asked for one by one.
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

/// What buildx's push of an image of two platforms with provenance leads Amazon ECR to send: an
/// event for each of two images and of an attestation, by digest, and one for each index, which has
/// a tag. Whoever asks for the newest image wants the index.
#[tokio::test]
async fn r57_of_one_second_the_index_is_the_newest() {
    const REPOSITORIES: usize = 20;
    let mut random = Random(57);
    for tags in [&["latest"][..], &["latest", "v1"]] {
        let catalog = Catalog::start().await;
        let (mut newest, mut in_order) = (0, 0);
        for number in 0..REPOSITORIES {
            let repository = format!("app-{number:02}");
            let mut any_digest = || {
                let parts: [u64; 4] = std::array::from_fn(|_| random.next());
                let digits: String = parts.iter().map(|part| format!("{part:016x}")).collect();
                format!("sha256:{digits}")
            };
            let (mut others, mut indexes) = (Vec::new(), Vec::new());
            let mut events = Vec::new();
            for tag in [&["", "", ""], tags].concat() {
                let digest = any_digest();
                let mut event = push(7, 0, tag);
                event["detail"]["repository-name"] = json!(repository);
                event["detail"]["image-digest"] = json!(digest);
                if tag.is_empty() {
                    event["detail"]["manifest-media-type"] = json!(OCI_IMAGE);
                    event["detail"]["artifact-media-type"] = json!(OCI_CONFIGURATION);
                    others.push(digest);
                } else {
                    event["detail"]["manifest-media-type"] = json!(OCI_INDEX);
                    indexes.push(digest);
                }
                events.push(event);
            }
            while !events.is_empty() {
                let place = usize::try_from(random.below(events.len() as u64)).unwrap();
                catalog.ecr(&events.swap_remove(place)).await;
            }
            let page =
                catalog.describe(json!({ "repositoryName": repository, "maxResults": 1 })).await.1;
            let first = page["imageDetails"][0]["imageDigest"].as_str().unwrap().to_owned();
            newest += usize::from(indexes.contains(&first));
            others.sort();
            indexes.sort();
            in_order += usize::from(
                pages_of_one(&catalog, &repository).await == [indexes, others].concat(),
            );
        }
        assert_eq!(newest, REPOSITORIES, "an index tagged {tags:?} is the newest in so many");
        assert_eq!(in_order, REPOSITORIES, "page by page all are there in order in so many");
    }
}

/// This many minutes ago.
fn ago(minutes: i64) -> Timestamp {
    later(Timestamp::now(), -60_000 * minutes)
}

fn later(time: Timestamp, milliseconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(time.as_milliseconds() + milliseconds).unwrap()
}

/// An event as it is, but of another time.
fn at(mut event: Value, time: impl ToString) -> Value {
    let time = json!(time.to_string());
    let member = if event.get("timestamp").is_some() { "timestamp" } else { "time" };
    if let Some(recorded) = event.pointer_mut("/detail/eventTime") {
        *recorded = time.clone();
    }
    event[member] = time;
    event
}

/// Brings an event through the queue, to which it came at a time.
async fn deliver(store: &Store, event: &Value, received_at: Timestamp) {
    let is_ecr = event.get("detail").is_some();
    let body = if is_ecr { event.clone() } else { json!({ "events": [event] }) };
    let received_at = received_at.to_string();
    let mut attributes = vec![("receivedAt", received_at.as_str())];
    attributes.extend((!is_ecr).then_some(("subscription", "registry")));
    let mut batch = SqsEvent::default();
    batch.records = vec![message("event", &body, &attributes)];
    let subscriptions = json!([{
        "id": "registry",
        "source": "distribution",
        "registryId": REGISTRY,
        "credential": { "bearer": "token" },
    }]);
    let ingest = store.ingest_of(Subscriptions::parse(&subscriptions.to_string()).unwrap());
    let registry = RegistryId::parse(REGISTRY).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    let response = ingest_events::handler::handle(&ingest, &registry, None, batch, deadline).await;
    assert!(response.batch_item_failures.is_empty(), "{event}");
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

/// The last year whose times can be told in every time zone.
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
        // Once more, as queues do.
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
        let (status, answer) = catalog.describe(tagged).await;
        assert_eq!(status, 200, "{deletion}: {answer}");
        assert_eq!(answer["imageDetails"][0]["imageDigest"], json!(digest(1)));
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

/// Go's zero time, and the beginning of 1970, are no times.
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

/// An engine that counts the transactions that it is asked for.
fn counting_client(transactions: &Arc<AtomicUsize>) -> aws_sdk_dynamodb::Client {
    let engine = Engine::in_memory().unwrap();
    let transactions = Arc::clone(transactions);
    aws_sdk_dynamodb::Client::new(&configuration(InProcess(move |request: HttpRequest| {
        let is_transaction = operation(&request).0 == "TransactWriteItems";
        transactions.fetch_add(usize::from(is_transaction), Ordering::Relaxed);
        engine.call(request)
    })))
}

/// As when the jobs of a matrix build push their tags at once: nobody is refused, nobody waits much
/// longer than if all of them came one after the other, and no transaction is done twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r46_sixty_four_pushers_to_one_image_end_without_a_refusal() {
    const PUSHERS: usize = 64;
    const ROUNDS: usize = 5;
    let transactions = Arc::default();
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
            let answer = format!("{status} {text}");
            (answer, started.elapsed())
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
            let (answer, latency) = pusher.unwrap();
            latencies.push(latency);
            if answer != applied {
                *others.entry(answer).or_default() += 1;
            }
        }
    }
    latencies.sort();
    let (median, slowest) = (latencies[latencies.len() / 2], latencies[latencies.len() - 1]);
    let transactions = transactions.load(Ordering::Relaxed);
    print(format!(
        "events: {PUSHERS} pushers to one image, {ROUNDS} rounds: median {median:.0?}, slowest {slowest:.0?}, one by \
         one {one_by_one:.0?} a round; {transactions} transactions for {} pushes",
        2 * PUSHERS * ROUNDS
    ));
    assert!(others.is_empty(), "{others:?}");
    let mut tags: Vec<String> = (0..ROUNDS)
        .flat_map(|round| (0..PUSHERS).map(move |number| format!("r{round}-{number:02}")))
        .collect();
    tags.sort();
    assert_eq!(catalog.images("app").await[0]["imageTags"], json!(tags));
    assert_eq!(transactions, 2 * PUSHERS * ROUNDS);
    // A second for whatever else the machine does.
    let limit = 2 * one_by_one + Duration::from_secs(1);
    assert!(slowest < limit, "{slowest:?} is much more than {one_by_one:?}");
}
