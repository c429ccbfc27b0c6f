//! Constraints of `maxResults` and `filter`.

use end_to_end::harness::{digest, time};
use serde_json::{Value, json};

use super::{ECR, ECR_PUBLIC, Wire, digests};

#[tokio::test]
async fn r21_max_results_is_1_to_1000() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, None).await;
    let send = async |target: &str, max_results: Value| {
        let request = json!({ "repositoryName": "app", "maxResults": max_results });
        wire.post(target, request.to_string()).await
    };
    for target in [ECR, ECR_PUBLIC] {
        for good in [1, 2, 999, 1000] {
            assert_eq!(send(target, json!(good)).await.digests(), digests([1]));
        }
        for small in [0, -1, -1000, i64::from(i32::MIN), i64::from(i32::MIN) - 1, i64::MIN] {
            let reply = send(target, json!(small)).await;
            reply.assert_violates(
                "maxResults",
                "'Member must have value greater than or equal to 1'",
            );
        }
        for large in [
            1001,
            2000,
            i64::from(i32::MAX),
            i64::from(i32::MAX) + 1,
            1 << 32,
            (1 << 32) + 1,
            i64::MAX,
        ] {
            let reply = send(target, json!(large)).await;
            reply.assert_violates(
                "maxResults",
                "'Member must have value less than or equal to 1000'",
            );
        }
    }
}

#[tokio::test]
async fn r21_max_results_beyond_64_bits_is_over_1000() {
    let wire = Wire::start().await;
    wire.create("app").await;
    for (number, constraint) in [
        ("9223372036854775808", "'Member must have value less than or equal to 1000'"),
        ("18446744073709551616", "'Member must have value less than or equal to 1000'"),
        (
            "100000000000000000000000000000000",
            "'Member must have value less than or equal to 1000'",
        ),
        ("-9223372036854775809", "'Member must have value greater than or equal to 1'"),
    ] {
        let body = format!(r#"{{"repositoryName":"app","maxResults":{number}}}"#);
        wire.post(ECR, body).await.assert_violates("maxResults", constraint);
    }
}

#[tokio::test]
async fn r22_image_ids_exclude_paging() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    wire.push("app", time(1), 2, None).await;
    let token = wire.ecr(json!({ "repositoryName": "app", "maxResults": 1 })).await.next_token();
    for target in [ECR, ECR_PUBLIC] {
        let send = async |max_results: Value, next_token: Value| {
            let request = json!({
                "repositoryName": "app", "imageIds": [{ "imageTag": "v1" }],
                "maxResults": max_results, "nextToken": next_token,
            });
            wire.post(target, request.to_string()).await
        };
        let excluded = "'must not be specified when imageIds is specified'";
        send(json!(1), json!(null)).await.assert_violates("maxResults", excluded);
        send(json!(1000), json!("x")).await.assert_violates("maxResults", excluded);
        send(json!(null), json!("x")).await.assert_violates("nextToken", excluded);
        send(json!(null), json!("")).await.assert_violates("nextToken", excluded);
        send(json!(null), json!(token)).await.assert_violates("nextToken", excluded);
        assert_eq!(send(json!(null), json!(null)).await.digests(), digests([1]));
    }
}

#[tokio::test]
async fn r23_filters_are_enumerations() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    let send = async |filter: Value, image_ids: Value| {
        wire.ecr(json!({ "repositoryName": "app", "filter": filter, "imageIds": image_ids })).await
    };
    for image_ids in [json!(null), json!([{ "imageTag": "v1" }])] {
        for bad in
            ["", "tagged", "Tagged", "TAGGED ", "TAGGED,UNTAGGED", "ALL", "NONE", "ACTIVE", "\u{0}"]
        {
            let reply = send(json!({ "tagStatus": bad }), image_ids.clone()).await;
            let words = "'Member must satisfy enum value set: [TAGGED, UNTAGGED, ANY]'";
            reply.assert_violates("filter.tagStatus", words);
        }
        for bad in ["", "active", "ACTIVE ", "ALL", "TAGGED", "ARCHIVE", "DELETED"] {
            let reply = send(json!({ "imageStatus": bad }), image_ids.clone()).await;
            let words = "'Member must satisfy enum value set: [ACTIVE, ARCHIVED, ACTIVATING, ANY]'";
            reply.assert_violates("filter.imageStatus", words);
        }
    }
    let reply = send(json!({ "tagStatus": "x", "imageStatus": "x" }), json!(null)).await;
    let words = "'Member must satisfy enum value set: [TAGGED, UNTAGGED, ANY]'";
    reply.assert_violates("filter.tagStatus", words);
}

#[tokio::test]
async fn r8_r23_the_public_service_ignores_a_filter() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    wire.push("app", time(1), 2, None).await;
    for filter in [
        json!({ "tagStatus": "UNTAGGED" }),
        json!({ "tagStatus": "TAGGED" }),
        json!({ "tagStatus": "no such" }),
        json!({ "imageStatus": "ARCHIVED" }),
        json!({ "imageStatus": 5 }),
        json!("TAGGED"),
        json!([]),
    ] {
        let request = json!({ "repositoryName": "app", "filter": filter });
        assert_eq!(wire.ecr_public(request).await.digests(), digests([2, 1]));
        let image_ids = json!([{ "imageTag": "v1" }, { "imageDigest": digest(2).as_str() }]);
        let request = json!({ "repositoryName": "app", "filter": filter, "imageIds": image_ids });
        assert_eq!(wire.ecr_public(request).await.digests(), digests([1, 2]));
    }
    // A token is valid for every filter, since the filter is not part of the request.
    let request =
        json!({ "repositoryName": "app", "maxResults": 1, "filter": { "tagStatus": "TAGGED" } });
    let token = wire.ecr_public(request).await.next_token();
    let request = json!({ "repositoryName": "app", "nextToken": token });
    assert_eq!(wire.ecr_public(request).await.digests(), digests([1]));
}
