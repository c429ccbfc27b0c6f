//! ListImages of Amazon ECR: pairs of digest and tag.

use catalog::ChangeKind;
use catalog::change::Content;
use end_to_end::harness::{digest, repository, tag, time};
use serde_json::{Value, json};

use super::{ECR, INVALID_TOKEN, PRIVATE_NAME, Reply, Wire};

const LIST_IMAGES: &str = "AmazonEC2ContainerRegistry_V20150921.ListImages";

async fn list(wire: &Wire, body: Value) -> Reply {
    wire.post(LIST_IMAGES, body.to_string()).await
}

/// A pair as the service writes it.
fn pair(number: u64, tag: Option<&str>) -> Value {
    match tag {
        Some(tag) => json!({ "imageDigest": digest(number), "imageTag": tag }),
        None => json!({ "imageDigest": digest(number) }),
    }
}

fn pairs(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json["imageIds"].as_array().unwrap().clone()
}

/// Three tagged images, one with many tags, an untagged and an archived one, the newest first.
async fn listed() -> (Wire, Vec<Value>) {
    let wire = Wire::start().await;
    for (number, tags) in [(1, &["v1"][..]), (2, &[]), (3, &["c", "a", "b", "B"]), (4, &["v4"])] {
        let at = time(i64::try_from(number).unwrap());
        wire.push("app", at, number, None).await;
        for name in tags {
            wire.push("app", at, number, Some(name)).await;
        }
    }
    wire.push("app", time(0), 5, Some("old")).await;
    let kind = ChangeKind::ImageArchived { digest: digest(5) };
    wire.apply(&repository("app"), time(10), kind).await;
    let expected = [
        pair(4, Some("v4")),
        pair(3, Some("B")),
        pair(3, Some("a")),
        pair(3, Some("b")),
        pair(3, Some("c")),
        pair(2, None),
        pair(1, Some("v1")),
    ];
    (wire, expected.to_vec())
}

#[tokio::test]
async fn r63_each_tag_is_a_pair_and_an_untagged_image_its_digest() {
    let (wire, expected) = listed().await;
    let reply = list(&wire, json!({ "repositoryName": "app" })).await;
    assert_eq!(pairs(&reply), expected);
    assert_eq!(reply.next_token(), None);
    let first = format!(r#"{{"imageIds":[{{"imageDigest":"{}","imageTag":"v4"}},"#, digest(4));
    assert!(reply.body.starts_with(&first), "{reply:?}");
}

#[tokio::test]
async fn r63_pages_are_exact_and_end_within_images() {
    let (wire, expected) = listed().await;
    for size in 1..=8 {
        let mut request = json!({ "repositoryName": "app", "maxResults": size });
        let mut all = Vec::new();
        loop {
            let reply = list(&wire, request.clone()).await;
            let page = pairs(&reply);
            let is_last = reply.next_token().is_none();
            assert!(page.len() == size || (is_last && page.len() < size), "{size}: {page:?}");
            all.extend(page);
            let Some(token) = reply.next_token() else { break };
            request["nextToken"] = json!(token);
        }
        assert_eq!(all, expected, "{size}");
    }
}

#[tokio::test]
async fn r63_the_filter_is_that_of_describe_images() {
    let (wire, expected) = listed().await;
    let filtered = async |filter: Value| {
        pairs(&list(&wire, json!({ "repositoryName": "app", "filter": filter })).await)
    };
    let tagged: Vec<_> = expected.iter().filter(|pair| pair.get("imageTag").is_some()).collect();
    assert_eq!(
        filtered(json!({ "tagStatus": "TAGGED" })).await,
        tagged.into_iter().cloned().collect::<Vec<_>>()
    );
    assert_eq!(filtered(json!({ "tagStatus": "UNTAGGED" })).await, [pair(2, None)]);
    let archived = pair(5, Some("old"));
    assert_eq!(
        filtered(json!({ "imageStatus": "ARCHIVED" })).await,
        std::slice::from_ref(&archived)
    );
    let all: Vec<_> = expected.into_iter().chain([archived]).collect();
    assert_eq!(filtered(json!({ "imageStatus": "ANY", "tagStatus": "ANY" })).await, all);
}

/// A page has ended within an image, which changes before the next page is read.
#[tokio::test]
async fn r63_a_page_continues_within_an_image_that_has_changed() {
    for (change, expected) in [
        (ChangeKind::TagDeleted { tag: tag("b") }, vec![pair(3, Some("c")), pair(2, None)]),
        (ChangeKind::ImageDeleted { digest: digest(3) }, vec![pair(2, None)]),
        (
            ChangeKind::ImagePushed {
                digest: digest(3),
                tag: Some(tag("z")),
                content: Content::default(),
            },
            vec![pair(3, Some("b")), pair(3, Some("c")), pair(3, Some("z")), pair(2, None)],
        ),
    ] {
        let (wire, _) = listed().await;
        let first = list(&wire, json!({ "repositoryName": "app", "maxResults": 3 })).await;
        assert_eq!(pairs(&first).last(), Some(&pair(3, Some("a"))));
        wire.apply(&repository("app"), time(20), change.clone()).await;
        let request = json!({ "repositoryName": "app", "nextToken": first.next_token() });
        let rest = pairs(&list(&wire, request).await);
        assert_eq!(rest[..expected.len()], expected, "{change:?}");
        assert_eq!(rest.last(), Some(&pair(1, Some("v1"))));
        assert_eq!(rest.len(), expected.len() + 1, "{change:?}");
    }
}

#[tokio::test]
async fn r63_a_token_belongs_to_its_operation() {
    let (wire, _) = listed().await;
    let request = json!({ "repositoryName": "app", "maxResults": 1 });
    for (from, to) in [(ECR, LIST_IMAGES), (LIST_IMAGES, ECR)] {
        let token = wire.post(from, request.to_string()).await.next_token().unwrap();
        let next = json!({ "repositoryName": "app", "nextToken": token }).to_string();
        wire.post(to, next.clone()).await.assert_invalid(INVALID_TOKEN);
        assert_eq!(wire.post(from, next).await.status, 200);
    }
}

#[tokio::test]
async fn r63_a_request_is_validated_as_those_of_describe_images() {
    let (wire, _) = listed().await;
    let violates = async |body: Value, member: &str, constraint: &str| {
        list(&wire, body).await.assert_violates(member, constraint);
    };
    violates(json!({}), "repositoryName", "'must not be null'").await;
    violates(json!({ "repositoryName": "A!" }), "repositoryName", PRIVATE_NAME).await;
    for (size, constraint) in [
        (0, "'Member must have value greater than or equal to 1'"),
        (1001, "'Member must have value less than or equal to 1000'"),
    ] {
        let body = json!({ "repositoryName": "app", "maxResults": size });
        violates(body, "maxResults", constraint).await;
    }
    let body = json!({ "repositoryName": "app", "filter": { "tagStatus": "NONE" } });
    let values = "'Member must satisfy enum value set: [TAGGED, UNTAGGED, ANY]'";
    violates(body, "filter.tagStatus", values).await;
    let reply = list(&wire, json!({ "repositoryName": 5 })).await;
    reply.assert_error(
        400,
        "SerializationException",
        "NUMBER_VALUE can not be converted to a String",
    );
    let reply = list(&wire, json!({ "repositoryName": "other" })).await;
    reply.assert_error(
        400,
        "RepositoryNotFoundException",
        "The repository with name 'other' does not exist in the registry with id '123456789012'",
    );
    // The public service has no such operation (rule 40).
    let reply = wire.post("SpencerFrontendService.ListImages", r#"{"repositoryName":"app"}"#).await;
    assert_eq!(reply.json["__type"], "UnknownOperationException");
}
