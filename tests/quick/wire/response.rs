//! What every response has: a body, headers, times, and no `null`.

use std::collections::BTreeSet;

use catalog::ChangeKind;
use end_to_end::harness::{digest, repository, time};
use reqwest::Method;
use serde_json::json;

use super::{ECR, ECR_PUBLIC, NEITHER_TAG_NOR_DIGEST, Wire, at, digests};

#[tokio::test]
async fn r2_an_empty_repository_has_an_empty_list() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let body = json!({ "repositoryName": "app" });
    assert_eq!(wire.ecr(body.clone()).await.body, r#"{"imageDetails":[]}"#);
    assert_eq!(wire.ecr_public(body).await.body, r#"{"imageDetails":[]}"#);
}

#[tokio::test]
async fn r2_a_repository_whose_images_were_deleted_has_an_empty_list() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    wire.apply(&repository("app"), time(1), ChangeKind::ImageDeleted { digest: digest(1) }).await;
    assert_eq!(wire.ecr(json!({ "repositoryName": "app" })).await.body, r#"{"imageDetails":[]}"#);
}

#[tokio::test]
async fn r3_r5_an_error_has_its_name_in_the_body_and_in_a_header() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let reply =
        wire.ecr(json!({ "repositoryName": "app", "imageIds": [{ "imageTag": "x" }] })).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.header("x-amzn-errortype"), Some("ImageNotFoundException"));
    assert_eq!(reply.header("content-type"), Some("application/x-amz-json-1.1"));
    assert_eq!(
        reply.body,
        r#"{"__type":"ImageNotFoundException","message":"The image with imageId {imageDigest:'null', imageTag:'x'} does not exist within the repository with name 'app' in the registry with id '123456789012'"}"#
    );
}

#[tokio::test]
async fn r4_every_reply_has_a_request_id_of_its_own() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let mut request_ids = BTreeSet::new();
    for _ in 0..20 {
        request_ids.insert(wire.ecr(json!({ "repositoryName": "app" })).await.request_id());
        request_ids.insert(wire.ecr(json!({ "repositoryName": "no-such" })).await.request_id());
        request_ids.insert(wire.post("no-such", "").await.request_id());
        request_ids.insert(wire.send(Method::GET, "/no-such", &[], "").await.request_id());
    }
    assert_eq!(request_ids.len(), 80);
}

#[tokio::test]
async fn r4_a_request_id_is_not_taken_from_the_caller() {
    let wire = Wire::start().await;
    let given = "00000000-0000-4000-8000-000000000000";
    let reply = wire.send(Method::POST, "/", &[("x-amzn-requestid", given)], "").await;
    assert_ne!(reply.request_id(), given);
}

#[tokio::test]
async fn r6_times_are_numbers_of_at_most_three_decimals() {
    let wire = Wire::start().await;
    let times = [
        ("2026-05-15T15:33:03.778Z", "1778859183.778"),
        ("2026-05-15T15:33:03.778999999Z", "1778859183.778"),
        ("2026-05-15T15:33:03.7Z", "1778859183.7"),
        ("2024-01-12T15:02:26Z", "1705071746"),
        ("2024-01-12T16:02:26+01:00", "1705071746"),
        ("1970-01-01T00:00:00.001Z", "0.001"),
        ("1970-01-01T00:00:00Z", "0"),
        ("9999-12-30T21:59:59.999Z", "253402207199.999"),
    ];
    for (number, (pushed_at, written)) in (0..).zip(times) {
        let name = format!("app-{number}");
        wire.push(&name, at(pushed_at), 1, None).await;
        for target in [ECR, ECR_PUBLIC] {
            let reply = wire.post(target, json!({ "repositoryName": name }).to_string()).await;
            let member = reply.body.split(r#""imagePushedAt":"#).nth(1).unwrap();
            assert_eq!(member.split([',', '}']).next(), Some(written), "{pushed_at}");
        }
    }
}

#[tokio::test]
async fn r7_r37_what_is_not_known_is_left_out() {
    let wire = Wire::start().await;
    wire.push("app", at("2026-01-01T00:00:00Z"), 1, None).await;
    let body = json!({ "repositoryName": "app", "maxResults": 1 });
    assert_eq!(
        wire.ecr(body.clone()).await.body,
        r#"{"imageDetails":[{"registryId":"123456789012","repositoryName":"app","imageDigest":"sha256:0000000000000000000000000000000000000000000000000000000000000001","imagePushedAt":1767225600,"imageStatus":"ACTIVE"}]}"#
    );
    assert_eq!(
        wire.ecr_public(body).await.body,
        r#"{"imageDetails":[{"registryId":"123456789012","repositoryName":"app","imageDigest":"sha256:0000000000000000000000000000000000000000000000000000000000000001","imagePushedAt":1767225600}]}"#
    );
}

#[tokio::test]
async fn r7_null_counts_as_absent() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    let nulls = json!({
        "repositoryName": "app", "registryId": null, "imageIds": null, "nextToken": null, "maxResults": null,
        "filter": null, "unknown": null,
    });
    assert_eq!(wire.ecr(nulls.clone()).await.digests(), digests([1]));
    assert_eq!(wire.ecr_public(nulls).await.digests(), digests([1]));
    // Whatever the whitespace.
    let laid_out = "\t{ \"repositoryName\" :\r\n\"app\" , \"maxResults\" : null , \"filter\" : { \"tagStatus\" :\tnull } ,\n\
                    \"imageIds\" : [ { \"imageTag\" : null , \"imageDigest\"\r:\t\"sha256:1\" } , null ] } \n";
    wire.post(ECR, laid_out).await.assert_invalid(NEITHER_TAG_NOR_DIGEST);
    let in_filter =
        json!({ "repositoryName": "app", "filter": { "tagStatus": null, "imageStatus": null } });
    assert_eq!(wire.ecr(in_filter).await.digests(), digests([1]));
    let in_image_ids = json!({ "repositoryName": "app", "maxResults": null, "nextToken": null, "imageIds": [
        { "imageTag": "v1", "imageDigest": null }, { "imageTag": null, "imageDigest": digest(1).as_str() },
    ] });
    assert_eq!(wire.ecr(in_image_ids).await.digests(), digests([1]));
    wire.ecr(json!({ "repositoryName": null }))
        .await
        .assert_violates("repositoryName", "'must not be null'");
    for image_id in
        [json!(null), json!({ "imageTag": null }), json!({ "imageTag": null, "imageDigest": null })]
    {
        let request = json!({ "repositoryName": "app", "imageIds": [image_id] });
        wire.ecr(request).await.assert_invalid(NEITHER_TAG_NOR_DIGEST);
    }
}
