//! Notifications of a CNCF distribution registry.

use end_to_end::harness::{Catalog, digest, sample};
use serde_json::{Value, json};

use super::{CatalogClient as _, image, notification, notified_image, orders, push};

fn notified_index(number: u64, manifests: &[u64]) -> Value {
    let references: Vec<Value> = manifests
        .iter()
        .map(|manifest| {
            json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "size": 476,
                "digest": digest(*manifest),
            })
        })
        .collect();
    notification(
        "push",
        json!({
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "size": 645,
            "digest": digest(number),
            "repository": "app",
            "tag": "multi",
            "references": references,
        }),
    )
}

#[tokio::test]
async fn r39_r47_an_index_has_the_size_of_its_largest_manifest_whichever_arrives_first() {
    let events = [
        notified_image(1, 2000),
        notified_image(2, 3000),
        notified_index(3, &[1, 2]),
        notified_index(4, &[3]),
    ];
    for order in orders(&events) {
        let catalog = Catalog::start().await;
        for event in &order {
            catalog.distribution(event.clone()).await;
        }
        let sizes: Vec<Value> = catalog
            .images("app")
            .await
            .iter()
            .map(|image| json!([image["imageDigest"], image["imageSizeInBytes"]]))
            .collect();
        let expected = [(3, 3000), (4, 3000), (1, 2000), (2, 3000)]
            .map(|(number, size)| json!([digest(number), size]));
        assert_eq!(sizes, expected, "{order:#?}");
    }
}

#[tokio::test]
async fn r39_an_index_of_many_manifests_is_applied_as_a_whole() {
    let catalog = Catalog::start().await;
    let manifests: Vec<u64> = (1..=250).collect();
    catalog.distribution(notified_index(1000, &manifests)).await;
    assert_eq!(catalog.images("app").await[0].get("imageSizeInBytes"), None, "unknown, not 0");
    for number in [1, 250] {
        let size = i64::try_from(number).unwrap() * 100;
        catalog.distribution(notified_image(number, size)).await;
        let images = catalog.images("app").await;
        let index =
            images.iter().find(|image| image["imageDigest"] == json!(digest(1000))).unwrap();
        assert_eq!(index["imageSizeInBytes"], json!(size));
    }
}

#[tokio::test]
async fn r52_an_index_of_too_many_manifests_is_reported() {
    let catalog = Catalog::start().await;
    let manifests: Vec<u64> = (1..=1001).collect();
    let response = catalog
        .send(
            "/events/distribution",
            &json!({ "events": [notified_index(0, &manifests), notified_image(1, 10)] }),
        )
        .await;
    let reason = "an image has more tags, or lists more manifests, than one DynamoDB item can hold";
    assert_eq!(
        response,
        (
            200,
            json!({ "applied": 1, "ignored": 0, "malformed": [{ "event": 0, "reason": reason }] })
        )
    );
    let images = catalog.images("app").await;
    assert_eq!(images.len(), 1);
    assert_eq!(images[0]["imageDigest"], json!(digest(1)));
}

#[tokio::test]
async fn r39_a_manifest_can_be_in_many_indexes() {
    let catalog = Catalog::start().await;
    for number in 100..170 {
        catalog.distribution(notified_index(number, &[1])).await;
    }
    catalog.distribution(notified_image(1, 2000)).await;
    let images = catalog.images("app").await;
    assert_eq!(images.iter().filter(|image| image["imageSizeInBytes"] == 2000).count(), 71);
}

#[tokio::test]
async fn r47_distribution_takes_manifests_and_leaves_blobs() {
    let catalog = Catalog::start().await;
    let accepted = async |path: &str| {
        let envelope: Value =
            serde_json::from_str(&sample(&format!("cncf-distribution/{path}.json"))).unwrap();
        let (status, report) = catalog.send("/events/distribution", &envelope).await;
        assert_eq!(status, 200, "{report}");
        (report["applied"].as_u64().unwrap(), report["ignored"].as_u64().unwrap())
    };
    assert_eq!(accepted("v2.8-push-blob").await, (0, 1));
    assert_eq!(accepted("v2.8-mount-blob").await, (0, 1));
    assert_eq!(catalog.error("team/app").await, "RepositoryNotFoundException");
    assert_eq!(accepted("v2.8-push-index-tagged").await, (1, 0));
    assert_eq!(accepted("v2.8-push-index-second-tag").await, (1, 0));
    assert_eq!(accepted("v2.8-push-manifest-by-digest").await, (1, 0));
    assert_eq!(accepted("v2.8-push-manifest-tagged-with-references").await, (1, 0));
    assert_eq!(accepted("v2.8-pull-manifest").await, (1, 0));
    let expected = json!([
        {
            "imageDigest": "sha256:2e2ff5b19d32fad14cca394a51e8d920099312bdb38f36696ba1ac56cb75e43c",
            "imageTags": ["2.0.0", "latest"],
            "imageSizeInBytes": 2040,
            "imagePushedAt": 1_795_306_263.989,
            "imageManifestMediaType": "application/vnd.oci.image.index.v1+json",
            "lastRecordedPullTime": 1_795_306_264.076,
            "imageStatus": "ACTIVE",
        },
        {
            "imageDigest": "sha256:62fbf0db6532e8b043dc9e72ee078370e561bcb9eb8c334dc4e167718be4c554",
            "imageSizeInBytes": 2040,
            "imagePushedAt": 1_795_306_263.771,
            "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactMediaType": "application/vnd.oci.image.config.v1+json",
            "imageStatus": "ACTIVE",
        },
        {
            "imageDigest": "sha256:63d78890b247c12168f02ab19c27a31eddb44299843e33167205b7d8d2faef1f",
            "imageTags": ["1.0.0"],
            "imageSizeInBytes": 3037,
            "imagePushedAt": 1_795_306_263.688,
            "imageManifestMediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "artifactMediaType": "application/vnd.docker.container.image.v1+json",
            "imageStatus": "ACTIVE",
        },
    ]);
    assert_eq!(json!(catalog.images("team/app").await), expected);
    assert_eq!(accepted("v2.8-delete-manifest-digest").await, (1, 0));
    assert_eq!(accepted("v2.8-delete-manifest-tag").await, (1, 0));
    assert_eq!(json!(catalog.images("team/app").await), json!(expected.as_array().unwrap()[..2]));
}

#[tokio::test]
async fn r47_only_what_is_really_pulled_counts_as_pulled() {
    let catalog = Catalog::start().await;
    catalog.distribution(notified_image(1, 2000)).await;
    let pull = |method: &str, user_agent: &str| {
        let mut event = notified_image(1, 2000);
        event["action"] = json!("pull");
        event["request"] = json!({ "method": method, "useragent": user_agent });
        json!({ "events": [event] })
    };
    let own = concat!("image-catalog/", env!("CARGO_PKG_VERSION"));
    for (method, user_agent, applied) in
        [("HEAD", "docker/24.0.7", 0), ("GET", own, 0), ("GET", "docker/24.0.7", 1)]
    {
        let (_, report) = catalog.send("/events/distribution", &pull(method, user_agent)).await;
        assert_eq!(report["applied"], applied, "{method} {user_agent}");
        let pulled = catalog.images("app").await[0].get("lastRecordedPullTime").is_some();
        assert_eq!(pulled, applied == 1, "{method} {user_agent}");
    }
}

#[tokio::test]
async fn r47_notifications_of_version_3_carry_more_members() {
    let catalog = Catalog::start().await;
    let mut event = notified_image(1, 2000);
    let more = json!({
        "artifactType": "application/vnd.example.sbom",
        "annotations": { "org.opencontainers.image.ref.name": "v1" },
        "platform": { "architecture": "amd64", "os": "linux" },
        "urls": ["https://example.com/"],
        "data": "e30=",
        "fromRepository": "other",
    });
    event["target"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    catalog.distribution(event).await;
    let images = catalog.images("app").await;
    assert_eq!(images[0]["artifactMediaType"], "application/vnd.example.sbom");
    assert_eq!(images[0]["imageSizeInBytes"], 2000);
}

#[tokio::test]
async fn r49_distribution_deletes_by_digest_and_by_tag() {
    let catalog = Catalog::start().await;
    catalog.ecr(&push(1, 1, "v1")).await;
    catalog.ecr(&push(2, 2, "v2")).await;
    catalog.distribution(notification("delete", json!({ "repository": "app", "tag": "v1" }))).await;
    assert_eq!(
        catalog.images("app").await,
        [image(2, &["v2"], 2), image(1, &[], 1)],
        "the image stays"
    );
    catalog
        .distribution(notification("delete", json!({ "repository": "app", "digest": digest(2) })))
        .await;
    assert_eq!(catalog.images("app").await, [image(1, &[], 1)]);
}

#[tokio::test]
async fn r52_a_registry_is_not_made_to_repeat_what_cannot_be_applied() {
    let catalog = Catalog::start().await;
    let mut malformed = notified_image(1, 2000);
    malformed["target"]["repository"] = json!("x");
    let delivery = json!({ "events": [malformed, notified_image(2, 2000)] });
    let (status, report) = catalog.send("/events/distribution", &delivery).await;
    assert_eq!(status, 200, "or the registry would send it for ever, and nothing after it");
    assert_eq!(
        report,
        json!({ "applied": 1, "ignored": 0, "malformed": [{
            "event": 0,
            "reason": "'target.repository' is not valid: must have length greater than or equal to 2",
        }] })
    );
    let (status, response) = catalog.send("/events/distribution", &json!({ "event": [] })).await;
    let message =
        "the notification has no list 'events': missing field `events` at line 1 column 12";
    assert_eq!((status, response), (400, json!({ "message": message })));
    let (status, response) =
        catalog.send("/events/distribution?registry=1", &json!({ "events": [] })).await;
    assert_eq!(
        (status, response),
        (400, json!({ "message": "the parameter 'registry' must be 12 digits" }))
    );
}
