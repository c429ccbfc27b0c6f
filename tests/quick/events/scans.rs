//! The events of scans, basic and enhanced, and those that are no scans of images.

use catalog::{RegistryId, Timestamp};
use end_to_end::harness::{Catalog, REGION, REGISTRY, digest, sample};
use ingest_events::source::{Origin, interpret};
use registries::Source;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::{CatalogClient as _, action, assert_in_any_order, epoch, event, image, push, scan};

fn inspector_sample(name: &str) -> Value {
    serde_json::from_str(&sample(&format!("aws-inspector2/{name}.json"))).unwrap()
}

/// A scan of image 1 by Amazon Inspector, in the repository with this ARN.
fn enhanced(second: u32, repository: &str, counts: Value) -> Value {
    let detail = json!({
        "scan-status": "INITIAL_SCAN_COMPLETE",
        "repository-name": repository,
        "finding-severity-counts": counts,
        "image-digest": digest(1),
        "image-tags": ["v1"],
    });
    let mut event = event("Inspector2 Scan", second, detail);
    event["source"] = json!("aws.inspector2");
    event
}

fn ignored() -> (u16, Value) {
    (200, json!({"applied":0,"ignored":1,"malformed":[]}))
}

#[tokio::test]
async fn r60_a_scan_that_did_not_complete_has_no_completion_time() {
    // The later statement wins as a whole: nothing is left of the scan before it.
    let complete = scan(2, "COMPLETE", json!({ "HIGH": 1 }));
    for (status, counts) in [("FAILED", json!({})), ("UNSUPPORTED_IMAGE", json!(null))] {
        let mut expected = image(1, &["v1"], 1);
        expected["imageScanStatus"] = json!({ "status": status });
        let events = [push(1, 1, "v1"), complete.clone(), scan(3, status, counts)];
        assert_in_any_order(&events, &[expected]).await;
    }
    let mut expected = image(1, &["v1"], 1);
    expected["imageScanStatus"] = json!({ "status": "COMPLETE" });
    expected["imageScanFindingsSummary"] = json!({ "imageScanCompletedAt": epoch(3) });
    assert_in_any_order(&[push(1, 1, "v1"), scan(3, "COMPLETE", json!(null))], &[expected]).await;
}

#[tokio::test]
async fn r60_enhanced_scans_are_of_the_repository_in_their_arn() {
    let arn = format!("arn:aws:ecr:us-east-1:{REGISTRY}:repository/app");
    let counts = json!({ "CRITICAL": 0, "HIGH": 61, "MEDIUM": 62, "UNTRIAGED": 3, "TOTAL": 158 });
    let mut expected = image(1, &["v1"], 1);
    expected["imageScanStatus"] =
        json!({ "status": "ACTIVE", "description": "Continuous scan is selected for image." });
    expected["imageScanFindingsSummary"] = json!({
        "imageScanCompletedAt": epoch(3),
        "findingSeverityCounts": { "HIGH": 61, "MEDIUM": 62 },
    });
    for repository in [&arn, "app"] {
        let events = [push(1, 1, "v1"), enhanced(3, repository, counts.clone())];
        assert_in_any_order(&events, std::slice::from_ref(&expected)).await;
    }

    let catalog = Catalog::start().await;
    catalog.ecr(&push(1, 1, "v1")).await;
    catalog.ecr(&enhanced(3, &arn, counts.clone())).await;
    // The ARN counts, not the envelope, so this is a scan of another account's repository.
    let mut elsewhere = enhanced(4, &arn, json!({}));
    elsewhere["account"] = json!("210987654321");
    assert_eq!(catalog.send("/events/ecr", &elsewhere).await, ignored());
    assert_eq!(catalog.images("app").await, [expected.clone()]);
    for arn in [
        "arn:aws:ecr:eu-central-1:123456789012:repository/app",
        "arn:aws:ecr-public::123456789012:repository/app",
        "arn:aws:ecr-public:us-east-1:123456789012:repository/app",
        "arn:aws:ecr:us-east-1:123456789012:registry",
        "arn:aws:ecr:us-east-1",
    ] {
        let response = catalog.send("/events/ecr", &enhanced(4, arn, json!({}))).await;
        assert_eq!(response, ignored(), "{arn}");
    }
    let mut unknown = enhanced(4, &arn, json!({}));
    unknown["detail"]["scan-status"] = json!("SOMETHING_NEW");
    assert_eq!(catalog.send("/events/ecr", &unknown).await, ignored());
    let mut other_source = enhanced(4, &arn, json!({}));
    other_source["source"] = json!("my.own");
    assert_eq!(catalog.send("/events/ecr", &other_source).await, ignored());
    assert_eq!(catalog.images("app").await, [expected]);
    let (_, report) = catalog.send("/events/ecr", &enhanced(4, &arn, json!({ "HIGH": "1" }))).await;
    assert_eq!(report["malformed"].as_array().unwrap().len(), 1, "{report}");
}

#[tokio::test]
async fn r60_the_published_samples_of_inspector_are_understood() {
    let catalog = Catalog::start().await;
    let scan = inspector_sample("scan-image");
    let mut pushed = push(1, 1, "ubuntu22");
    pushed["account"] = scan["account"].clone();
    pushed["time"] = json!("2023-01-20T23:15:00Z");
    pushed["detail"]["repository-name"] = json!("inspector2");
    pushed["detail"]["image-digest"] = scan["detail"]["image-digest"].clone();
    catalog.ecr(&pushed).await;
    catalog.ecr(&scan).await;
    let request = json!({ "registryId": "111122223333", "repositoryName": "inspector2" });
    let (_, response) = catalog.describe(request).await;
    let image = &response["imageDetails"][0];
    assert_eq!(image["imageScanStatus"]["status"], "ACTIVE");
    assert_eq!(
        image["imageScanFindingsSummary"],
        json!({ "imageScanCompletedAt": 1_674_256_518, "findingSeverityCounts": {} })
    );
    for name in ["scan-function", "finding", "coverage"] {
        let event = inspector_sample(name);
        assert_eq!(catalog.send("/events/ecr", &event).await, ignored(), "{name}");
    }
}

#[tokio::test]
async fn an_artifact_action_is_understood_where_it_is_as_an_image_action() {
    let catalog = Catalog::start().await;
    let artifact = |mut event: Value| {
        event["detail-type"] = json!("ECR Artifact Action");
        event
    };
    catalog.ecr(&artifact(push(1, 1, "v1"))).await;
    catalog.ecr(&artifact(push(2, 2, "v2"))).await;
    catalog.ecr(&artifact(action("DELETE", 3, 2, "v2"))).await;
    assert_eq!(catalog.images("app").await, [image(1, &["v1"], 1)]);
    let mut no_digest = push(4, 4, "v4");
    no_digest["detail"]["image-digest"] = json!("none");
    for event in [no_digest, event("ECR Something", 4, json!({ "artifact": "app" }))] {
        assert_eq!(catalog.send("/events/ecr", &artifact(event)).await, ignored());
    }
    assert_eq!(catalog.images("app").await, [image(1, &["v1"], 1)]);
}

/// The labels of the metric `Events`.
#[test]
fn events_about_scans_and_artifacts_are_counted_by_name() {
    let registry = RegistryId::parse(REGISTRY).unwrap();
    let origin = Origin::new(Source::Ecr, registry, Timestamp::now());
    let label = |event: &Value| interpret(&to_raw_value(event).unwrap(), &origin, REGION).label;
    assert_eq!(label(&inspector_sample("scan-image")), "Inspector2 Scan");
    assert_eq!(label(&inspector_sample("scan-function")), "Inspector2 Scan");
    assert_eq!(label(&inspector_sample("finding")), "Inspector2 Finding");
    assert_eq!(label(&inspector_sample("coverage")), "Inspector2 Coverage");
    assert_eq!(label(&event("ECR Artifact Action", 1, json!({}))), "ECR Artifact Action");
    assert_eq!(label(&event("ECR Something New", 1, json!({}))), "other");
}
