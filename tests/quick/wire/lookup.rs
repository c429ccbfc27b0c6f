//! Lookups of images by digest or tag, and repositories and images that do not exist.

use catalog::change::Content;
use catalog::{ChangeKind, RegistryId, Repository, RepositoryName, Service};
use end_to_end::harness::{REGISTRY, digest, repository, sample, tag, time};
use serde_json::{Value, json};

use super::{ECR, ECR_PUBLIC, Wire, digests, pushed};

#[tokio::test]
async fn r24_a_repository_that_does_not_exist() {
    let wire = Wire::start().await;
    wire.create("app").await;
    assert_eq!(
        wire.ecr(json!({ "repositoryName": "no/such" })).await.body,
        r#"{"__type":"RepositoryNotFoundException","message":"The repository with name 'no/such' does not exist in the registry with id '123456789012'"}"#
    );
    for target in [ECR, ECR_PUBLIC] {
        for image_ids in [json!(null), json!([{ "imageTag": "v1" }])] {
            let send = async |name: &str, registry: Value| {
                let request = json!({ "repositoryName": name, "registryId": registry, "imageIds": image_ids });
                wire.post(target, request.to_string()).await
            };
            send("no-such", json!(null)).await.assert_no_repository("no-such", REGISTRY);
            send("app/x", json!(null)).await.assert_no_repository("app/x", REGISTRY);
            send("ap", json!(null)).await.assert_no_repository("ap", REGISTRY);
            send("app", json!("210987654321")).await.assert_no_repository("app", "210987654321");
        }
    }
    // It does not exist once it is deleted.
    wire.push("app", time(1), 1, Some("v1")).await;
    wire.apply(&repository("app"), time(2), ChangeKind::RepositoryDeleted).await;
    for image_ids in
        [json!(null), json!([{ "imageTag": "v1" }]), json!([{ "imageDigest": digest(1).as_str() }])]
    {
        let reply = wire.ecr(json!({ "repositoryName": "app", "imageIds": image_ids })).await;
        reply.assert_no_repository("app", REGISTRY);
    }
}

#[tokio::test]
async fn r24_registries_are_apart() {
    let wire = Wire::start().await;
    let elsewhere = Repository {
        service: Service::Ecr,
        registry: RegistryId::parse("210987654321").unwrap(),
        name: RepositoryName::parse("app").unwrap(),
    };
    wire.push("app", time(0), 1, Some("v1")).await;
    wire.apply(&elsewhere, time(0), pushed(2, Some("v1"), Content::default())).await;
    for (registry, number) in [(json!(null), 1), (json!(REGISTRY), 1), (json!("210987654321"), 2)] {
        for image_ids in [json!(null), json!([{ "imageTag": "v1" }])] {
            let request =
                json!({ "repositoryName": "app", "registryId": registry, "imageIds": image_ids });
            let image = wire.ecr(request).await.image();
            assert_eq!(image["imageDigest"], digest(number).as_str());
            let expected = if number == 1 { REGISTRY } else { "210987654321" };
            assert_eq!(image["registryId"], expected);
        }
    }
}

#[tokio::test]
async fn r25_an_image_that_does_not_exist() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    let no_such = format!("sha256:{}", "ab".repeat(32));
    for target in [ECR, ECR_PUBLIC] {
        let send = async |image_id: Value| {
            wire.post(
                target,
                json!({ "repositoryName": "app", "imageIds": [image_id] }).to_string(),
            )
            .await
        };
        send(json!({ "imageTag": "x" })).await.assert_no_image("null", "x");
        send(json!({ "imageTag": "null" })).await.assert_no_image("null", "null");
        send(json!({ "imageDigest": no_such })).await.assert_no_image(&no_such, "null");
        let reply = send(json!({ "imageTag": "x", "imageDigest": no_such })).await;
        reply.assert_no_image(&no_such, "x");
        assert_eq!(
            reply.json["message"],
            "The image with imageId {imageDigest:'sha256:abababababababababababababababababababababababababababababababab', \
             imageTag:'x'} does not exist within the repository with name 'app' in the registry with id '123456789012'"
        );
        // Part of a digest is another digest.
        send(json!({ "imageDigest": "sha256:00" })).await.assert_no_image("sha256:00", "null");
    }
}

#[tokio::test]
async fn r25_deleted_images_and_tags_do_not_exist() {
    let wire = Wire::start().await;
    let app = repository("app");
    wire.push("app", time(0), 1, Some("v1")).await;
    wire.push("app", time(0), 2, Some("v2")).await;
    wire.push("app", time(1), 3, Some("v3")).await;
    wire.apply(&app, time(2), ChangeKind::ImageDeleted { digest: digest(1) }).await;
    wire.apply(&app, time(2), ChangeKind::TagDeleted { tag: tag("v2") }).await;
    let kind = ChangeKind::ImageUntagged { digest: digest(3), tag: tag("v3") };
    wire.apply(&app, time(2), kind).await;
    let send = async |image_id: Value| {
        wire.ecr(json!({ "repositoryName": "app", "imageIds": [image_id] })).await
    };
    for tag in ["v1", "v2", "v3"] {
        send(json!({ "imageTag": tag })).await.assert_no_image("null", tag);
    }
    for number in [1, 3] {
        let digest = digest(number);
        let reply = send(json!({ "imageDigest": digest.as_str() })).await;
        reply.assert_no_image(digest.as_str(), "null");
    }
    assert_eq!(
        send(json!({ "imageDigest": digest(2).as_str() })).await.image().get("imageTags"),
        None
    );
}

#[tokio::test]
async fn r26_the_first_image_not_found_fails_the_request() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    let known = json!({ "imageTag": "v1" });
    let (first, second) = (json!({ "imageTag": "x" }), json!({ "imageTag": "a" }));
    for image_ids in [
        json!([first, known]),
        json!([known, first]),
        json!([known, first, second]),
        json!([first, second, known]),
        json!([known, known, first, { "imageDigest": "sha256:00" }]),
    ] {
        for target in [ECR, ECR_PUBLIC] {
            let request = json!({ "repositoryName": "app", "imageIds": image_ids });
            wire.post(target, request.to_string()).await.assert_no_image("null", "x");
        }
    }
    let mut image_ids = vec![known; 100];
    image_ids[99] = json!({ "imageDigest": "sha256:00" });
    let reply = wire.ecr(json!({ "repositoryName": "app", "imageIds": image_ids })).await;
    reply.assert_no_image("sha256:00", "null");
}

#[tokio::test]
async fn r27_a_tag_and_a_digest_must_fit() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    wire.push("app", time(0), 2, Some("v2")).await;
    wire.push("app", time(1), 3, Some("moved")).await;
    wire.push("app", time(2), 4, Some("moved")).await;
    for target in [ECR, ECR_PUBLIC] {
        let send = async |number: u64, tag: &str| {
            let image_id = json!({ "imageDigest": digest(number).as_str(), "imageTag": tag });
            wire.post(
                target,
                json!({ "repositoryName": "app", "imageIds": [image_id] }).to_string(),
            )
            .await
        };
        assert_eq!(send(1, "v1").await.digests(), digests([1]));
        assert_eq!(send(4, "moved").await.digests(), digests([4]));
        for (number, tag) in
            [(1, "v2"), (2, "v1"), (1, "no-such"), (9, "v1"), (9, "no-such"), (3, "moved")]
        {
            send(number, tag).await.assert_no_image(digest(number).as_str(), tag);
        }
    }
}

#[tokio::test]
async fn r28_images_come_once_in_the_requested_order_with_all_their_tags() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    wire.push("app", time(1), 1, Some("latest")).await;
    wire.push("app", time(2), 2, Some("v2")).await;
    wire.push("app", time(3), 3, None).await;
    let by_digest = |number: u64| json!({ "imageDigest": digest(number).as_str() });
    let by_tag = |tag: &str| json!({ "imageTag": tag });
    let both =
        |number: u64, tag: &str| json!({ "imageDigest": digest(number).as_str(), "imageTag": tag });
    let upper = json!({ "imageDigest": digest(1).as_str().to_uppercase() });
    for target in [ECR, ECR_PUBLIC] {
        for (image_ids, expected) in [
            (json!([by_digest(1), by_digest(2), by_digest(3)]), vec![1, 2, 3]),
            (json!([by_digest(3), by_tag("v2"), by_tag("v1")]), vec![3, 2, 1]),
            (json!([by_tag("v1"), by_tag("v1")]), vec![1]),
            (json!([by_tag("latest"), by_tag("v1"), by_digest(1), upper, both(1, "v1")]), vec![1]),
            (
                json!([by_tag("v2"), by_digest(1), by_digest(2), by_tag("latest"), by_digest(3)]),
                vec![2, 1, 3],
            ),
        ] {
            let request = json!({ "repositoryName": "app", "imageIds": image_ids });
            let reply = wire.post(target, request.to_string()).await;
            assert_eq!(reply.digests(), digests(expected.clone()));
            assert_eq!(reply.next_token(), None);
            for (image, number) in reply.images().iter().zip(expected) {
                let tags = [json!(["latest", "v1"]), json!(["v2"]), json!(null)];
                let given = image.get("imageTags").cloned().unwrap_or_default();
                assert_eq!(given, tags[usize::try_from(number).unwrap() - 1]);
            }
        }
    }
}

#[tokio::test]
async fn r29_a_filter_leaves_out_requested_images() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("tagged")).await;
    wire.push("app", time(0), 2, None).await;
    wire.push("app", time(0), 3, Some("archived")).await;
    wire.apply(&repository("app"), time(1), ChangeKind::ImageArchived { digest: digest(3) }).await;
    let image_ids: Vec<Value> =
        (1..=3).map(|number| json!({ "imageDigest": digest(number).as_str() })).collect();
    let send = async |filter: Value| {
        wire.ecr(json!({ "repositoryName": "app", "imageIds": image_ids, "filter": filter })).await
    };
    for (filter, expected) in [
        (json!(null), vec![1, 2, 3]),
        (json!({}), vec![1, 2, 3]),
        (json!({ "tagStatus": null, "imageStatus": null }), vec![1, 2, 3]),
        (json!({ "imageStatus": "ANY" }), vec![1, 2, 3]),
        (json!({ "imageStatus": "ACTIVE" }), vec![1, 2]),
        (json!({ "imageStatus": "ARCHIVED" }), vec![3]),
        (json!({ "imageStatus": "ACTIVATING" }), vec![]),
        (json!({ "tagStatus": "ANY" }), vec![1, 2, 3]),
        (json!({ "tagStatus": "TAGGED" }), vec![1, 3]),
        (json!({ "tagStatus": "UNTAGGED" }), vec![2]),
        (json!({ "tagStatus": "TAGGED", "imageStatus": "ACTIVE" }), vec![1]),
        (json!({ "tagStatus": "UNTAGGED", "imageStatus": "ARCHIVED" }), vec![]),
    ] {
        assert_eq!(send(filter.clone()).await.digests(), digests(expected), "{filter}");
    }
    // What does not exist is an error, whatever the filter.
    let request = json!({
        "repositoryName": "app", "imageIds": [{ "imageTag": "no-such" }], "filter": { "tagStatus": "UNTAGGED" },
    });
    wire.ecr(request).await.assert_no_image("null", "no-such");
}

#[tokio::test]
async fn r31_tags_have_a_case_and_digests_have_none() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 0xabc, Some("latest")).await;
    wire.push("app", time(1), 2, Some("Latest")).await;
    for target in [ECR, ECR_PUBLIC] {
        let send = async |image_id: Value| {
            wire.post(
                target,
                json!({ "repositoryName": "app", "imageIds": [image_id] }).to_string(),
            )
            .await
        };
        assert_eq!(send(json!({ "imageTag": "latest" })).await.digests(), digests([0xabc]));
        assert_eq!(send(json!({ "imageTag": "Latest" })).await.digests(), digests([2]));
        send(json!({ "imageTag": "LATEST" })).await.assert_no_image("null", "LATEST");
        send(json!({ "imageTag": "lates" })).await.assert_no_image("null", "lates");
        let upper = digest(0xabc).as_str().to_uppercase();
        let mixed = upper.replace("SHA", "sha");
        for written in [&upper, &mixed] {
            assert_eq!(send(json!({ "imageDigest": written })).await.digests(), digests([0xabc]));
            let both = json!({ "imageDigest": written, "imageTag": "latest" });
            assert_eq!(send(both).await.digests(), digests([0xabc]));
        }
    }
}

#[tokio::test]
async fn r31_a_digest_that_was_pushed_in_upper_case_is_stored_in_lower_case() {
    let wire = Wire::start().await;
    let event = sample("aws-ecr/image-action-push.json").replace("us-west-2", "us-east-1");
    let written = "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd1234";
    assert!(event.contains(written));
    let upper = written.replace("abcd", "ABCD").replace("fb", "FB");
    wire.ingest("/events/ecr", event.replace(written, &upper)).await;
    let send = async |image_ids: Value| {
        wire.ecr(json!({ "repositoryName": "my-repository-name", "imageIds": image_ids })).await
    };
    assert_eq!(send(json!(null)).await.digests(), [written]);
    assert_eq!(send(json!([{ "imageDigest": written }])).await.digests(), [written]);
    assert_eq!(send(json!([{ "imageDigest": upper }])).await.digests(), [written]);
    // The same image, not another one.
    wire.ingest("/events/ecr", event).await;
    assert_eq!(send(json!(null)).await.digests(), [written]);
}
