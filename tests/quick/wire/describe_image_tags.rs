//! DescribeImageTags of Amazon ECR Public: tags with their images.

use catalog::ChangeKind;
use catalog::change::Content;
use end_to_end::harness::{OCI_IMAGE, digest, repository, tag, time};
use serde_json::{Value, json};

use super::{ECR_PUBLIC, INVALID_TOKEN, PUBLIC_NAME, Reply, Wire};

const DESCRIBE_IMAGE_TAGS: &str = "SpencerFrontendService.DescribeImageTags";

async fn describe(wire: &Wire, body: Value) -> Reply {
    wire.post(DESCRIBE_IMAGE_TAGS, body.to_string()).await
}

/// The tags of a page, with the times at which they were moved, in seconds, and their images.
fn details(reply: &Reply) -> Vec<(String, f64, String)> {
    assert_eq!(reply.status, 200, "{reply:?}");
    let details = reply.json["imageTagDetails"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let detail = |detail: &Value| {
        let created_at = detail["createdAt"].as_f64().unwrap();
        (text(&detail["imageTag"]), created_at, text(&detail["imageDetail"]["imageDigest"]))
    };
    details.iter().map(detail).collect()
}

async fn push(wire: &Wire, second: i64, number: u64, name: Option<&str>) {
    wire.push("app", time(second * 1000), number, name).await;
}

/// Image 1 has the tags `v1` and `stable`; `latest` moved from it to image 2; image 3 has no tag.
async fn tagged() -> Wire {
    let wire = Wire::start().await;
    push(&wire, 1, 1, Some("v1")).await;
    push(&wire, 2, 1, Some("latest")).await;
    push(&wire, 3, 2, Some("v2")).await;
    push(&wire, 4, 2, Some("latest")).await;
    push(&wire, 5, 1, Some("stable")).await;
    push(&wire, 6, 3, None).await;
    wire
}

fn expected() -> Vec<(String, f64, String)> {
    let start = time(0).as_milliseconds() / 1000;
    [("latest", 4, 2), ("v2", 3, 2), ("stable", 5, 1), ("v1", 1, 1)]
        .map(|(tag, second, number)| {
            (tag.to_owned(), (start + second) as f64, digest(number).as_str().to_owned())
        })
        .to_vec()
}

#[tokio::test]
async fn r64_a_tag_has_the_time_at_which_it_moved_to_its_image() {
    let wire = tagged().await;
    let reply = describe(&wire, json!({ "repositoryName": "app" })).await;
    assert_eq!(details(&reply), expected());
    assert_eq!(reply.next_token(), None);
}

#[tokio::test]
async fn r64_a_tag_has_every_known_member_of_its_image() {
    let wire = Wire::start().await;
    let content = Content {
        size_in_bytes: Some(5),
        manifest_media_type: Some(OCI_IMAGE.to_owned()),
        artifact_media_type: Some("application/vnd.oci.image.config.v1+json".to_owned()),
        ..Content::default()
    };
    let kind = ChangeKind::ImagePushed { digest: digest(1), tag: Some(tag("v1")), content };
    wire.apply(&repository("app"), time(1500), kind).await;
    let reply = describe(&wire, json!({ "repositoryName": "app" })).await;
    let digest = digest(1);
    assert_eq!(
        reply.body,
        format!(
            r#"{{"imageTagDetails":[{{"imageTag":"v1","createdAt":1767225601.5,"imageDetail":{{"imageDigest":"{digest}","imageSizeInBytes":5,"imagePushedAt":1767225601.5,"imageManifestMediaType":"application/vnd.oci.image.manifest.v1+json","artifactMediaType":"application/vnd.oci.image.config.v1+json"}}}}]}}"#
        )
    );
}

#[tokio::test]
async fn r64_pages_are_exact() {
    let wire = tagged().await;
    for size in 1..=5 {
        let mut request = json!({ "repositoryName": "app", "maxResults": size });
        let mut all = Vec::new();
        loop {
            let reply = describe(&wire, request.clone()).await;
            let page = details(&reply);
            assert!(page.len() == size || reply.next_token().is_none(), "{size}: {page:?}");
            all.extend(page);
            let Some(token) = reply.next_token() else { break };
            request["nextToken"] = json!(token);
        }
        assert_eq!(all, expected(), "{size}");
    }
}

#[tokio::test]
async fn r64_a_request_is_validated_as_those_of_describe_images() {
    let wire = tagged().await;
    let violates = async |body: Value, member: &str, constraint: &str| {
        describe(&wire, body).await.assert_violates(member, constraint);
    };
    violates(json!({}), "repositoryName", "'must not be null'").await;
    violates(json!({ "repositoryName": "a__b" }), "repositoryName", PUBLIC_NAME).await;
    let constraint = "'Member must have value less than or equal to 1000'";
    violates(json!({ "repositoryName": "app", "maxResults": 1001 }), "maxResults", constraint)
        .await;
    let reply = describe(&wire, json!({ "repositoryName": "other" })).await;
    assert_eq!(reply.json["__type"], "RepositoryNotFoundException");
    let request = json!({ "repositoryName": "app", "maxResults": 1 });
    let token = wire.ecr_public(request.clone()).await.next_token().unwrap();
    let next = json!({ "repositoryName": "app", "nextToken": token });
    describe(&wire, next.clone()).await.assert_invalid(INVALID_TOKEN);
    assert_eq!(wire.post(ECR_PUBLIC, next.to_string()).await.status, 200);
    // The private service has no such operation (rule 40).
    let target = "AmazonEC2ContainerRegistry_V20150921.DescribeImageTags";
    assert_eq!(
        wire.post(target, request.to_string()).await.json["__type"],
        "UnknownOperationException"
    );
}
