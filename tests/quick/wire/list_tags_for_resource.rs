//! ListTagsForResource of both services.

use catalog::ChangeKind;
use end_to_end::harness::{repository, time};
use serde_json::{Value, json};

use super::{Reply, Wire};

const LIST_TAGS: &str = "AmazonEC2ContainerRegistry_V20150921.ListTagsForResource";
const PUBLIC: &str = "SpencerFrontendService.ListTagsForResource";
const ARN: &str = "arn:aws:ecr:us-east-1:123456789012:repository/app";
const PUBLIC_ARN: &str = "arn:aws:ecr-public::123456789012:repository/app";

async fn list(wire: &Wire, arn: Value) -> Reply {
    wire.post(LIST_TAGS, json!({ "resourceArn": arn }).to_string()).await
}

/// A record of a call about the repository `app`, at a second.
fn record(service: &str, call: &str, second: u32, request: &Value) -> String {
    json!({
        "eventTime": format!("2026-11-22T10:00:{second:02}Z"),
        "eventSource": format!("{service}.amazonaws.com"),
        "eventName": call,
        "awsRegion": "us-east-1",
        "requestParameters": request,
        "responseElements": null,
        "recipientAccountId": "123456789012",
    })
    .to_string()
}

#[tokio::test]
async fn r66_the_tags_that_calls_have_set_in_any_order() {
    let tag = |key: &str, value: &str| json!({ "key": key, "value": value });
    let created = json!({ "repositoryName": "app", "tags": [tag("a", "1"), tag("b", "1")] });
    let tagged = json!({ "resourceArn": ARN, "tags": [tag("b", "2"), tag("c", "1")] });
    let untagged = json!({ "resourceArn": ARN, "tagKeys": ["a", "d"] });
    let again = json!({ "resourceArn": ARN, "tags": [tag("a", "3")] });
    let events = [
        record("ecr", "CreateRepository", 1, &created),
        record("ecr", "TagResource", 2, &tagged),
        record("ecr", "UntagResource", 3, &untagged),
        record("ecr", "TagResource", 4, &again),
    ];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
        let wire = Wire::start().await;
        for number in order {
            wire.ingest("/events/ecr", events[number].clone()).await;
            wire.ingest("/events/ecr", events[number].clone()).await;
        }
        let reply = list(&wire, json!(ARN)).await;
        assert_eq!(
            reply.body,
            r#"{"tags":[{"Key":"a","Value":"3"},{"Key":"b","Value":"2"},{"Key":"c","Value":"1"}]}"#
        );
        wire.apply(&repository("app"), time(0), ChangeKind::RepositoryDeleted).await;
    }
}

/// More tags than a resource can have do not make the item too large for a deletion.
#[tokio::test]
async fn r48_r66_a_repository_of_too_many_tags_can_be_deleted() {
    let wire = Wire::start().await;
    wire.create("app").await;
    for call in 0..8 {
        let tag = |number: u32| json!({ "key": format!("{call}-{number:0>120}"), "value": "v".repeat(256) });
        let tags: Vec<Value> = (0..100).map(tag).collect();
        let request = json!({ "resourceArn": ARN, "tags": tags });
        wire.ingest("/events/ecr", record("ecr", "TagResource", call, &request)).await;
    }
    let reply = list(&wire, json!(ARN)).await;
    let tags = reply.json["tags"].as_array().unwrap();
    let is_last = |tag: &Value| tag["Key"].as_str().unwrap().starts_with('7');
    assert!(tags.len() == 100 && tags.iter().all(is_last), "{reply:?}");
    let deleted = record("ecr", "DeleteRepository", 9, &json!({ "repositoryName": "app" }));
    wire.ingest("/events/ecr", deleted).await;
    list(&wire, json!(ARN)).await.assert_no_repository("app", "123456789012");
}

#[tokio::test]
async fn r66_each_service_has_the_tags_of_its_own_repositories() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let tags = json!([{ "key": "stack", "value": "dev" }]);
    let request = json!({ "resourceArn": PUBLIC_ARN, "tags": tags });
    wire.ingest("/events/ecr", record("ecr-public", "TagResource", 1, &request)).await;
    assert_eq!(list(&wire, json!(ARN)).await.body, r#"{"tags":[]}"#);
    let public = json!({ "resourceArn": PUBLIC_ARN }).to_string();
    let reply = wire.post(PUBLIC, public).await;
    assert_eq!(reply.body, r#"{"tags":[{"Key":"stack","Value":"dev"}]}"#);
}

#[tokio::test]
async fn r66_a_request_is_validated() {
    let wire = Wire::start().await;
    wire.create("app").await;
    list(&wire, Value::Null).await.assert_violates("resourceArn", "'must not be null'");
    for arn in [
        "",
        "app",
        PUBLIC_ARN,
        "arn:aws:ecr:us-east-1:123456789012:repository/A",
        "arn:aws:ecr:us-east-1:123456789012:registry/app",
        "arn:aws:s3:::app",
    ] {
        list(&wire, json!(arn)).await.assert_violates("resourceArn", "'Invalid ARN'");
    }
    let reply = list(&wire, json!(5)).await;
    reply.assert_serialization("NUMBER_VALUE can not be converted to a String");
    let other = "arn:aws:ecr:us-east-1:123456789012:repository/other";
    list(&wire, json!(other)).await.assert_no_repository("other", "123456789012");
    // This catalog follows another region.
    let elsewhere = "arn:aws:ecr:eu-west-1:123456789012:repository/app";
    list(&wire, json!(elsewhere)).await.assert_no_repository("app", "123456789012");
}

/// An event that is not valid names the member.
#[tokio::test]
async fn r52_r66_malformed_records_change_nothing() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let many: Vec<Value> =
        (0..101).map(|number| json!({ "key": format!("{number}"), "value": "" })).collect();
    for (service, request, reason) in [
        (
            "ecr",
            json!({ "resourceArn": "app", "tags": [] }),
            "'resourceArn' is not valid: it is not the ARN of a repository",
        ),
        (
            "ecr",
            json!({ "resourceArn": PUBLIC_ARN, "tags": [] }),
            "'resourceArn' is not valid: it is of another service",
        ),
        (
            "ecr",
            json!({ "resourceArn": ARN, "tags": [{ "key": "" }] }),
            "'tags' is not valid: an empty key",
        ),
        (
            "ecr",
            json!({ "resourceArn": ARN.replace("east", "west"), "tags": [] }),
            "'resourceArn' is not valid: it is of another region",
        ),
        (
            "ecr",
            json!({ "resourceArn": ARN, "tags": many }),
            "'tags' is not valid: more than 100 tags",
        ),
        (
            "ecr",
            json!({ "resourceArn": ARN, "tags": [{ "key": "k".repeat(129) }] }),
            "'tags' is not valid: longer than 128 characters",
        ),
        (
            "ecr",
            json!({ "resourceArn": ARN, "tags": [{ "key": "k", "value": "v".repeat(257) }] }),
            "'tags' is not valid: longer than 256 characters",
        ),
    ] {
        let event = record(service, "TagResource", 1, &request);
        let url = format!("{}/events/ecr", wire.catalog.url);
        let report = wire.http.post(url).body(event).send().await.unwrap();
        let report: Value = report.json().await.unwrap();
        assert_eq!(report["malformed"], json!([{ "event": 0, "reason": reason }]));
    }
    assert_eq!(list(&wire, json!(ARN)).await.body, r#"{"tags":[]}"#);
}
