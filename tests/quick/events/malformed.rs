//! Events that cannot be applied, in batches with valid ones.

use end_to_end::harness::queue::apply_batch;
use std::time::Duration;

use end_to_end::harness::{Catalog, REGISTRY, Store, digest, sample};
use registries::Subscriptions;
use serde_json::{Value, json};

use super::{
    CatalogClient as _, action, cloudtrail, event, image, message, notification, notified_image,
    push,
};

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
async fn r52_of_a_batch_just_the_messages_that_failed_are_delivered_again() {
    let store = Store::in_memory().await;
    let mut malformed = push(3, 3, "v3");
    malformed["time"] = json!("yesterday");
    let batch = vec![
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
        message(
            "reminder",
            &json!({ "source": "image-catalog", "detail-type": "Retry Pending Lookups" }),
            &[],
        ),
    ];
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    let subscription = |id: &str, registry: &str| {
        json!({
            "id": id, "source": "distribution", "registryId": registry, "credential": { "bearer": "token" },
        })
    };
    let subscriptions =
        json!([subscription("registry-1", REGISTRY), subscription("registry-2", "000000000001")]);
    let ingest = store.ingest_of(Subscriptions::parse(&subscriptions.to_string()).unwrap());
    let mut failed = apply_batch(&ingest, batch, deadline).await;
    failed.sort();
    assert_eq!(failed, ["malformed", "no JSON", "unknown subscription"]);
    let catalog = Catalog::start_with(store, &"0".repeat(64)).await;
    let digests: Vec<Value> =
        catalog.images("app").await.iter().map(|image| image["imageDigest"].clone()).collect();
    assert_eq!(digests, [json!(digest(2)), json!(digest(1))]);
    let request = json!({ "registryId": "000000000001", "repositoryName": "app" });
    assert_eq!(catalog.describe(request).await.1["imageDetails"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn r52_the_reason_names_the_member_that_is_not_valid() {
    let catalog = Catalog::start().await;
    let harbor = |name: Value| {
        json!({
            "type": "PUSH_ARTIFACT", "occur_at": 1_767_225_600,
            "event_data": {
                "resources": [{ "digest": digest(1), "tag": "v1" }],
                "repository": { "repo_full_name": name },
            },
        })
    };
    let pattern = "(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*";
    for (query, event, reason) in [
        (
            "",
            harbor(json!(5)),
            "'event_data.repository.repo_full_name' is not valid: invalid type: integer `5`, \
             expected a string"
                .to_owned(),
        ),
        // Amazon ECR Public could never be asked for it (rule 15).
        (
            "?service=ecr-public",
            harbor(json!("team/a__b")),
            format!("'repo_full_name' is not valid: must satisfy regular expression '{pattern}'"),
        ),
    ] {
        let (status, report) = catalog.send(&format!("/events/harbor{query}"), &event).await;
        let malformed = json!([{ "event": 0, "reason": reason }]);
        assert_eq!((status, &report["malformed"]), (400, &malformed));
    }
    let (status, _) = catalog.send("/events/harbor", &harbor(json!("team/a__b"))).await;
    assert_eq!(status, 200);
}
