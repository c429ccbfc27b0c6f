//! The error for a request with several errors.

use end_to_end::harness::REGISTRY;
use serde_json::{Value, json};

use super::{DIGEST_CHARACTERS, ECR, NEITHER_TAG_NOR_DIGEST, PRIVATE_NAME, TAG_CHARACTERS, Wire};

#[tokio::test]
async fn r9_target_then_syntax_then_types_then_constraints_then_repository_then_images() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let reply = wire.post("AmazonEC2ContainerRegistry_V20150921.NoSuch", "{").await;
    assert_eq!(reply.body, r#"{"__type":"UnknownOperationException"}"#);
    let reply = wire.post("AmazonEC2ContainerRegistry_V20150921.BatchGetImage", "{").await;
    assert_eq!(reply.json["__type"], "UnsupportedCommandException");
    let reply = wire.post(ECR, r#"{"repositoryName":"A","maxResults":"#).await;
    assert_eq!(reply.json["__type"], "SerializationException", "syntax before constraints");
    // Types before constraints, wherever they are.
    for (member, value) in [
        ("maxResults", json!("x")),
        ("nextToken", json!(5)),
        ("filter", json!([])),
        ("filter", json!({ "imageStatus": 5 })),
        ("imageIds", json!({})),
        ("imageIds", json!([{}, { "imageTag": "a b" }, 5])),
        ("imageIds", json!([{}, { "imageTag": "a b", "imageDigest": 5 }])),
    ] {
        let mut request = json!({ "repositoryName": "A!", "registryId": "x" });
        request[member] = value;
        let reply = wire.ecr(request).await;
        assert_eq!(reply.json["__type"], "SerializationException", "{member}: {reply:?}");
    }
    let reply = wire.ecr(json!({ "repositoryName": "no-such", "maxResults": 0 })).await;
    assert_eq!(
        reply.json["__type"], "InvalidParameterException",
        "constraints before the repository"
    );
    let reply = wire
        .ecr(json!({ "repositoryName": "no-such", "filter": { "tagStatus": "no-such" } }))
        .await;
    assert_eq!(
        reply.json["__type"], "InvalidParameterException",
        "constraints before the repository"
    );
    let reply = wire
        .ecr(json!({ "repositoryName": "no-such", "imageIds": [{ "imageTag": "no-such" }] }))
        .await;
    reply.assert_no_repository("no-such", REGISTRY);
}

#[tokio::test]
async fn r9_constraints_are_checked_in_the_order_of_their_rules() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let mut request = json!({
        "registryId": "1", "imageIds": [], "maxResults": 1001, "nextToken": "",
        "filter": { "tagStatus": "no-such", "imageStatus": "no-such" },
    });
    let steps: [(&str, Value, &str, &str); 14] = [
        ("repositoryName", json!("A"), "repositoryName", "'must not be null'"),
        (
            "repositoryName",
            json!("A!"),
            "repositoryName",
            "'must have length greater than or equal to 2'",
        ),
        ("repositoryName", json!("app"), "repositoryName", PRIVATE_NAME),
        (
            "registryId",
            json!(REGISTRY),
            "registryId",
            "'must satisfy regular expression [0-9]{12}'",
        ),
        (
            "imageIds",
            json!(vec![json!({}); 101]),
            "imageIds",
            "'Member must have length greater than or equal to 1'",
        ),
        (
            "imageIds",
            json!([{ "imageTag": "", "imageDigest": "no-such" }]),
            "imageIds",
            "'Member must have length less than or equal to 100'",
        ),
        (
            "imageIds",
            json!([{ "imageTag": "v1", "imageDigest": "no-such" }]),
            "imageTag",
            "'must have length greater than or equal to 1'",
        ),
        ("imageIds", json!([{}]), "imageDigest", DIGEST_CHARACTERS),
        ("imageIds", json!([{ "imageTag": "v1" }]), "", NEITHER_TAG_NOR_DIGEST),
        (
            "maxResults",
            json!(0),
            "maxResults",
            "'Member must have value less than or equal to 1000'",
        ),
        (
            "maxResults",
            json!(1),
            "maxResults",
            "'Member must have value greater than or equal to 1'",
        ),
        (
            "maxResults",
            json!(null),
            "maxResults",
            "'must not be specified when imageIds is specified'",
        ),
        (
            "nextToken",
            json!(null),
            "nextToken",
            "'must not be specified when imageIds is specified'",
        ),
        (
            "filter",
            json!({ "imageStatus": "no-such" }),
            "filter.tagStatus",
            "'Member must satisfy enum value set: [TAGGED, UNTAGGED, ANY]'",
        ),
    ];
    for (repaired, value, member, constraint) in steps {
        let reply = wire.ecr(request.clone()).await;
        if member.is_empty() {
            reply.assert_invalid(constraint);
        } else {
            reply.assert_violates(member, constraint);
        }
        request[repaired] = value;
    }
    let reply = wire.ecr(request.clone()).await;
    reply.assert_violates(
        "filter.imageStatus",
        "'Member must satisfy enum value set: [ACTIVE, ARCHIVED, ACTIVATING, ANY]'",
    );
    request["filter"] = json!(null);
    wire.ecr(request).await.assert_no_image("null", "v1");

    // Of any two violated constraints the first one is returned.
    let broken = [
        ("repositoryName", json!(null)),
        ("repositoryName", json!("A")),
        ("repositoryName", json!("A!")),
        ("registryId", json!("1")),
        ("imageIds", json!([])),
        ("imageIds", json!(vec![json!({}); 101])),
        ("imageIds", json!([{ "imageTag": "" }])),
        ("imageIds", json!([{ "imageDigest": "" }])),
        ("imageIds", json!([{}])),
        ("maxResults", json!(1001)),
        ("maxResults", json!(0)),
        ("filter", json!({ "tagStatus": "no-such" })),
        ("filter", json!({ "imageStatus": "no-such" })),
    ];
    for (index, (member, value)) in broken.iter().enumerate() {
        let mut request = json!({ "repositoryName": "app" });
        request[member] = value.clone();
        let alone = wire.ecr(request.clone()).await;
        assert_eq!(alone.json["__type"], "InvalidParameterException", "{request}");
        for (other, value) in broken[index + 1..].iter().filter(|(other, _)| other != member) {
            let mut request = request.clone();
            request[other] = value.clone();
            assert_eq!(wire.ecr(request.clone()).await.body, alone.body, "{request}");
        }
    }
}

#[tokio::test]
async fn r9_the_order_of_constraints_is_not_that_of_the_image_ids() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let bad_tag = json!({ "imageTag": "a b" });
    let bad_digest = json!({ "imageDigest": "no-such" });
    for image_ids in [
        json!([bad_tag, bad_digest, {}]),
        json!([bad_digest, {}, bad_tag]),
        json!([{}, bad_digest, bad_tag]),
        json!([{}, bad_tag]),
        json!([bad_digest, bad_tag]),
    ] {
        let reply = wire.ecr(json!({ "repositoryName": "app", "imageIds": image_ids })).await;
        reply.assert_violates("imageTag", TAG_CHARACTERS);
    }
    let reply = wire.ecr(json!({ "repositoryName": "app", "imageIds": [{}, bad_digest] })).await;
    reply.assert_violates("imageDigest", DIGEST_CHARACTERS);
}
