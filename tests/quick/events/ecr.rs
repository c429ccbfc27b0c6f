//! Events that only Amazon ECR and CloudTrail have, and their registries.

use end_to_end::harness::{Catalog, REGISTRY, digest, sample};
use serde_json::{Value, json};

use super::{
    CatalogClient as _, action, assert_in_any_order, cloudtrail, delete, epoch, image,
    notified_image, push, scan,
};

#[tokio::test]
async fn r49_cloudtrail_reports_deletes_and_lifecycle_policies() {
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
    let complete = scan(3, "COMPLETE", json!({ "CRITICAL": 10, "MEDIUM": 9 }));
    let mut expected = image(1, &["v1"], 1);
    expected["imageScanStatus"] = json!({ "status": "COMPLETE" });
    expected["imageScanFindingsSummary"] = json!({ "imageScanCompletedAt": epoch(3), "findingSeverityCounts": { "CRITICAL": 10, "MEDIUM": 9 } });
    let earlier = scan(2, "FAILED", json!(null));
    assert_in_any_order(&[push(1, 1, "v1"), earlier, complete.clone()], &[expected]).await;
    // The scanned image was deleted; the image that was pushed since was not scanned.
    let events = [push(1, 1, "v1"), complete.clone(), delete(4, 1, ""), push(5, 1, "v1")];
    assert_in_any_order(&events, &[image(1, &["v1"], 5)]).await;
    assert_in_any_order(&[complete], &[]).await;
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
    let (_, response) = catalog.describe(request).await;
    assert_eq!(response["imageDetails"].as_array().unwrap().len(), 1);
    assert_eq!(response["imageDetails"][0]["imageDigest"], json!(digest(2)));

    let mut other_region = push(3, 3, "v3");
    other_region["region"] = json!("eu-central-1");
    let response = catalog.send("/events/ecr", &other_region).await;
    assert_eq!(response, (200, json!({"applied":0,"ignored":1,"malformed":[]})));
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

/// A record with neither a registry nor a recipient belongs to the account of its event, or,
/// without an event, to the catalog's own account.
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

/// EventBridge writes the account of an event, and the account that forwards it the rest.
#[tokio::test]
async fn r53_an_event_states_nothing_about_the_registry_of_another_account() {
    const ARN: &str = "arn:aws:ecr:us-east-1:123456789012:repository/app";
    let catalog = Catalog::start().await;
    catalog.ecr(&push(1, 1, "v1")).await;
    let of_this_registry = [
        json!({ "recipientAccountId": REGISTRY }),
        json!({ "requestParameters": { "repositoryName": "app", "registryId": REGISTRY } }),
        json!({ "responseElements": { "repository": { "registryId": REGISTRY } } }),
        json!({ "requestParameters": { "resourceArn": ARN } }),
    ];
    for members in of_this_registry {
        let mut event = cloudtrail("DeleteRepository", 2, members.clone());
        event["account"] = json!("210987654321");
        if members.get("recipientAccountId").is_none() {
            event["detail"]["recipientAccountId"] = json!("210987654321");
        }
        let response = catalog.send("/events/ecr", &event).await;
        let ignored = json!({ "applied": 0, "ignored": 1, "malformed": [] });
        assert_eq!(response, (200, ignored), "{members}");
    }
    assert_eq!(catalog.images("app").await, [image(1, &["v1"], 1)]);
}

#[tokio::test]
async fn every_sample_of_ecr_is_understood() {
    let catalog = Catalog::start().await;
    let outcome = async |name: &str| {
        let mut event: Value =
            serde_json::from_str(&sample(&format!("aws-ecr/{name}.json"))).unwrap();
        // All samples in this catalog's region.
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
    // The digest of the published package is not valid.
    assert_eq!(
        outcome("pull-through-cache-action").await,
        "'image-digest' is not valid: must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"
    );
    // The record of PutImage contains the manifest, and with it the size.
    let images = catalog.images("testrepo").await;
    assert_eq!(images[0]["imageSizeInBytes"], 111_414_544);
    assert_eq!(images[0]["imageTags"], json!(["latest"]));
    let (_, response) =
        catalog.describe(json!({ "registryId": "123456789000", "repositoryName": "node" })).await;
    assert_eq!(response["imageDetails"][0]["imageTags"], json!(["20-alpine3.16"]));
}
