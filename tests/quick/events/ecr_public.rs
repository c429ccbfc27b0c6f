//! CloudTrail records of Amazon ECR Public, and the two services' repositories of one name.

use end_to_end::harness::{Catalog, REGISTRY, digest, sample};
use serde_json::{Value, json};

use super::{CatalogClient as _, cloudtrail, epoch, image, push};

/// A record of Amazon ECR Public, in the envelope of EventBridge.
fn public(name: &str, second: u32, members: Value) -> Value {
    let mut event = cloudtrail(name, second, members);
    event["source"] = json!("aws.ecr-public");
    event["detail"]["eventSource"] = json!("ecr-public.amazonaws.com");
    event
}

fn put_image(second: u32, number: u64, tag: &str) -> Value {
    let id = json!({ "imageDigest": digest(number), "imageTag": tag });
    let image = json!({ "image": { "repositoryName": "app", "imageId": id } });
    public("PutImage", second, json!({ "responseElements": image }))
}

/// The public service's response.
async fn describe(catalog: &Catalog, request: Value) -> (u16, Value) {
    let request = reqwest::Client::new()
        .post(&catalog.url)
        .header("x-amz-target", "SpencerFrontendService.DescribeImages")
        .body(request.to_string());
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn images(catalog: &Catalog, registry: &str, repository: &str) -> Vec<Value> {
    let request = json!({ "registryId": registry, "repositoryName": repository });
    let (status, mut response) = describe(catalog, request).await;
    assert_eq!(status, 200, "{response}");
    response["imageDetails"].take().as_array().unwrap().clone()
}

async fn tags(catalog: &Catalog, registry: &str) -> Vec<Value> {
    images(catalog, registry, "app").await.iter().map(|image| image["imageTags"].clone()).collect()
}

/// CreateRepository and PutImage are AWS's samples. Of the others there is none, so they follow the
/// model of the API.
///
/// <https://docs.aws.amazon.com/AmazonECR/latest/public/logging-using-cloudtrail.html>
#[tokio::test]
async fn r54_every_sample_of_ecr_public_is_understood() {
    let catalog = Catalog::start().await;
    let send = async |name: &str| {
        let event: Value =
            serde_json::from_str(&sample(&format!("aws-ecr-public/{name}.json"))).unwrap();
        let (status, report) = catalog.send("/events/ecr", &event).await;
        assert_eq!(status, 200, "{name}: {report}");
        (report["applied"].as_u64().unwrap(), report["ignored"].as_u64().unwrap())
    };
    assert_eq!(send("cloudtrail-create-repository").await, (1, 0));
    assert_eq!(images(&catalog, REGISTRY, "ecr-tutorial").await, [json!(null); 0]);
    assert_eq!(send("cloudtrail-tag-resource").await, (1, 0));
    assert_eq!(send("cloudtrail-untag-resource").await, (1, 0));

    // The record contains the manifest, so the size is known, also that of an index.
    assert_eq!(send("eventbridge-cloudtrail-put-image-index").await, (1, 0));
    assert_eq!(send("cloudtrail-put-image").await, (1, 0));
    let manifest = json!({
        "registryId": REGISTRY,
        "repositoryName": "testrepo",
        "imageDigest": "sha256:98c8b060c21d9adbb6b8c41b916e95e6307102786973ab93a41e8b86d1fc6d3e",
        "imageTags": ["latest"],
        "imageSizeInBytes": 111_414_544,
        "imagePushedAt": 1_555_346_700,
        "imageManifestMediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "artifactMediaType": "application/vnd.docker.container.image.v1+json",
    });
    let index = json!({
        "registryId": REGISTRY,
        "repositoryName": "testrepo",
        "imageDigest": "sha256:18f511b48b29a498a5881488f5d9daa01eba1b089ff2cc8695de49fc89adfe0c",
        "imageTags": ["1.0"],
        "imageSizeInBytes": 111_414_544,
        "imagePushedAt": 1_555_346_702,
        "imageManifestMediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
    });
    assert_eq!(images(&catalog, REGISTRY, "testrepo").await, [index, manifest.clone()]);

    // One of two deletions failed.
    assert_eq!(send("cloudtrail-batch-delete-image").await, (1, 0));
    assert_eq!(images(&catalog, REGISTRY, "testrepo").await, [manifest]);
    assert_eq!(send("cloudtrail-delete-repository").await, (1, 0));
    let (_, response) = describe(&catalog, json!({ "repositoryName": "ecr-tutorial" })).await;
    assert_eq!(response["__type"], "RepositoryNotFoundException");
}

/// A catalog follows one region, and public registries belong to none.
#[tokio::test]
async fn r54_records_of_ecr_public_count_whatever_their_region() {
    let catalog = Catalog::start().await;
    let mut elsewhere = put_image(1, 1, "v1");
    elsewhere["region"] = json!("us-west-2");
    elsewhere["detail"]["awsRegion"] = json!("us-west-2");
    catalog.ecr(&elsewhere).await;
    catalog.ecr(&put_image(2, 2, "v2")["detail"]).await;
    assert_eq!(tags(&catalog, REGISTRY).await, [json!(["v2"]), json!(["v1"])]);

    let mut private = elsewhere.clone();
    private["detail"]["eventSource"] = json!("ecr.amazonaws.com");
    let ignored = json!({ "applied": 0, "ignored": 1, "malformed": [] });
    assert_eq!(catalog.send("/events/ecr", &private).await, (200, ignored.clone()));
    let mut failed = put_image(3, 3, "v3");
    failed["detail"]["errorCode"] = json!("ImageTagAlreadyExistsException");
    failed["detail"]["responseElements"] = json!(null);
    assert_eq!(catalog.send("/events/ecr", &failed).await, (200, ignored.clone()));
    // Amazon ECR Public has no events but those of CloudTrail.
    let mut action = push(4, 4, "v4");
    action["source"] = json!("aws.ecr-public");
    assert_eq!(catalog.send("/events/ecr", &action).await, (200, ignored));
    assert_eq!(tags(&catalog, REGISTRY).await.len(), 2);
}

/// `docker push` names the registry by its alias, and so does the record.
#[tokio::test]
async fn r54_a_record_with_an_alias_is_of_its_recipient() {
    const OTHER: &str = "210987654321";
    let catalog = Catalog::start().await;
    let with_alias = |second, number, place: &str| {
        let mut record = put_image(second, number, &format!("v{number}"))["detail"].take();
        record["requestParameters"]["registryId"] = json!("j3y4example");
        record["responseElements"]["image"]["registryId"] = json!("j3y4example");
        if !place.is_empty() {
            *record.pointer_mut(place).unwrap() = json!(OTHER);
        }
        record
    };
    catalog.ecr(&with_alias(1, 1, "")).await;
    assert_eq!(tags(&catalog, REGISTRY).await, [json!(["v1"])]);
    catalog.ecr(&with_alias(2, 2, "/requestParameters/registryId")).await;
    catalog.ecr(&with_alias(3, 3, "/responseElements/image/registryId")).await;
    catalog.ecr(&with_alias(4, 4, "/recipientAccountId")).await;
    // Without a recipient, the account of the event.
    let mut without = put_image(5, 5, "v5");
    without["account"] = json!(OTHER);
    without["detail"] = with_alias(5, 5, "");
    without["detail"].as_object_mut().unwrap().remove("recipientAccountId");
    catalog.ecr(&without).await;
    let expected = ["v5", "v4", "v3", "v2"].map(|tag| json!([tag]));
    assert_eq!(tags(&catalog, OTHER).await, expected);

    // In Amazon ECR it is no registry id at all.
    let mut private = with_alias(6, 6, "");
    private["eventSource"] = json!("ecr.amazonaws.com");
    let (status, report) = catalog.send("/events/ecr", &private).await;
    let reason = report["malformed"][0]["reason"].as_str().unwrap_or_default();
    assert!(status == 400 && reason.starts_with("'registryId' is not valid"), "{report}");
}

/// Events of one service change nothing in the other, whatever they delete.
#[tokio::test]
async fn r55_one_name_is_a_repository_in_each_service() {
    let catalog = Catalog::start().await;
    catalog.ecr(&push(1, 1, "v1")).await;
    assert_eq!(
        describe(&catalog, json!({ "repositoryName": "app" })).await,
        (
            400,
            json!({
                "__type": "RepositoryNotFoundException",
                "message": "The repository with name 'app' does not exist in the registry with id '123456789012'",
            })
        ),
        "a private repository is not visible through the public API"
    );
    catalog.ecr(&put_image(2, 1, "v1")).await;
    catalog.ecr(&put_image(3, 2, "latest")).await;
    assert_eq!(catalog.images("app").await, [image(1, &["v1"], 1)]);
    assert_eq!(tags(&catalog, REGISTRY).await, [json!(["latest"]), json!(["v1"])]);
    let by_tag = json!({ "repositoryName": "app", "imageIds": [{ "imageTag": "v1" }] });
    let (_, found) = describe(&catalog, by_tag.clone()).await;
    assert_eq!(found["imageDetails"][0]["imagePushedAt"], epoch(2));
    let (_, found) = catalog.describe(by_tag).await;
    assert_eq!(found["imageDetails"][0]["imagePushedAt"], epoch(1));
    let by_tag = json!({ "repositoryName": "app", "imageIds": [{ "imageTag": "latest" }] });
    let (_, error) = catalog.describe(by_tag).await;
    assert_eq!(error["__type"], "ImageNotFoundException");

    // A tag that moves in the one stays in the other.
    catalog.ecr(&put_image(4, 3, "v1")).await;
    assert_eq!(catalog.images("app").await, [image(1, &["v1"], 1)]);
    catalog.ecr(&public("DeleteRepository", 5, json!({}))).await;
    assert_eq!(catalog.images("app").await, [image(1, &["v1"], 1)]);
    catalog.ecr(&put_image(6, 4, "v4")).await;
    catalog.ecr(&cloudtrail("DeleteRepository", 7, json!({}))).await;
    assert_eq!(catalog.error("app").await, "RepositoryNotFoundException");
    assert_eq!(tags(&catalog, REGISTRY).await, [json!(["v4"])]);
}
