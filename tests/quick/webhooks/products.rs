//! The payloads in the documentation of each product.

use catalog::Timestamp;
use end_to_end::harness::stand_in::{digest_of, image_manifest};
use end_to_end::harness::{Catalog, REGION, Store, digest, sample, time};
use ingest_events::source::{Effect, Interpreted, Meaning, Origin};
use registries::{Registry, RegistryAddress, Subscriptions};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{
    HARBOR_IMAGE, REGISTRY, catalog, deliver, images, pending_lookups, report, send, signature,
    without_time,
};

/// Sends a sample, as its product would with its token, and expects it to be accepted.
async fn take(catalog: &Catalog, source: &str, file: &str) {
    assert_eq!(deliver(catalog, source, file).await, (200, report(1, 0)), "{file}");
}

#[tokio::test]
async fn harbor() {
    for push in ["harbor/push-artifact.json", "harbor/push-artifact-cloudevents.json"] {
        let catalog = catalog().await;
        take(&catalog, "harbor", push).await;
        let pushed_at = if push.contains("cloudevents") { 1_680_501_886 } else { 1_680_501_893 };
        let mut image = json!({ "imageDigest": HARBOR_IMAGE, "imagePushedAt": pushed_at });
        assert_eq!(images(&catalog, "harbor/alpine").await, json!([image]), "{push}");
        take(&catalog, "harbor", "harbor/pull-artifact.json").await;
        image["lastRecordedPullTime"] = json!(1_680_502_372);
        assert_eq!(images(&catalog, "harbor/alpine").await, json!([image]));
        take(&catalog, "harbor", "harbor/scanning-completed.json").await;
        image["imageScanStatus"] = json!({ "status": "COMPLETE" });
        image["imageScanFindingsSummary"] =
            json!({ "imageScanCompletedAt": 1_680_502_375, "findingSeverityCounts": {} });
        assert_eq!(images(&catalog, "harbor/alpine").await, json!([image]));
        // Another image is deleted; this one stays.
        take(&catalog, "harbor", "harbor/delete-artifact.json").await;
        take(&catalog, "harbor", "harbor/delete-artifact-cloudevents.json").await;
        assert_eq!(images(&catalog, "harbor/alpine").await, json!([image]));
    }
}

#[tokio::test]
async fn r39_a_negative_size_is_no_size() {
    let mut manifest = image_manifest(100);
    manifest["layers"] = json!([{ "digest": digest(1), "size": -1 }]);
    let (media_type, digest) = (&manifest["mediaType"], digest_of(&manifest));
    let zot = json!({
        "type": "zotregistry.image.updated", "time": time(0),
        "data": {
            "name": "zot/app", "reference": "latest", "digest": digest, "mediaType": media_type,
            "manifest": manifest.to_string(),
        },
    });
    let of_github = json!({
        "digest": digest, "media_type": media_type,
        "config": { "size": 100 }, "layers": [{ "size": -1 }],
    });
    let github = json!({
        "action": "published",
        "package": { "package_version": {
            "package_url": "ghcr.io/github/app:latest",
            "container_metadata": { "manifest": of_github },
        } },
    });
    let references = [&manifest["config"], &manifest["layers"][0]];
    let distribution = json!({ "events": [{
        "timestamp": time(0), "action": "push",
        "target": {
            "repository": "distribution/app", "digest": digest, "mediaType": media_type,
            "references": references,
        },
    }] });
    let catalog = catalog().await;
    for (source, event) in [("zot", zot), ("github", github), ("distribution", distribution)] {
        let token = format!("Bearer token of {source}");
        let url = format!("{}/events/{source}", catalog.url);
        let sent = send(&url, &[("authorization", &token)], event.to_string()).await;
        assert_eq!(sent, (200, report(1, 0)), "{source}");
        let listed = images(&catalog, &format!("{source}/app")).await;
        assert_eq!(listed[0]["imageDigest"], digest.as_str(), "{source}");
        assert_eq!(listed[0]["imageSizeInBytes"], Value::Null, "{source}");
    }
}

#[tokio::test]
async fn r60_a_scan_of_harbor_may_lack_members() {
    let report_of = |members: Value| {
        let mut event: Value =
            serde_json::from_str(&sample("harbor/scanning-completed.json")).unwrap();
        event["event_data"]["resources"][0]["digest"] = json!(HARBOR_IMAGE);
        event["event_data"]["resources"][0]["scan_overview"] = json!({ "report": members });
        event
    };
    let completed = json!({ "imageScanCompletedAt": 1_680_502_375, "findingSeverityCounts": {} });
    for (members, status, findings) in [
        (json!({ "scan_status": "Success" }), "COMPLETE", Some(completed)),
        (json!({ "scan_status": "Error" }), "FAILED", None),
        (json!({ "scan_status": "Error", "end_time": "2023-04-03T06:12:55Z" }), "FAILED", None),
    ] {
        let catalog = catalog().await;
        take(&catalog, "harbor", "harbor/push-artifact.json").await;
        let url = format!("{}/events/harbor", catalog.url);
        let header = [("authorization", "token of harbor")];
        let event = report_of(members).to_string();
        assert_eq!(send(&url, &header, event).await, (200, report(1, 0)));
        let image = images(&catalog, "harbor/alpine").await[0].clone();
        assert_eq!(image["imageScanStatus"], json!({ "status": status }));
        assert_eq!(image.get("imageScanFindingsSummary"), findings.as_ref());
    }
}

#[tokio::test]
async fn harbor_deletes_an_image_with_its_tags() {
    let catalog = catalog().await;
    let mut push: Value = serde_json::from_str(&sample("harbor/delete-artifact.json")).unwrap();
    push["type"] = json!("PUSH_ARTIFACT");
    push["occur_at"] = json!(1_680_502_000);
    let url = format!("{}/events/harbor", catalog.url);
    let header = [("authorization", "token of harbor")];
    assert_eq!(send(&url, &header, push.to_string()).await, (200, report(1, 0)));
    assert_eq!(images(&catalog, "harbor/alpine").await[0]["imageTags"], json!(["3.8"]));
    take(&catalog, "harbor", "harbor/delete-artifact.json").await;
    assert_eq!(images(&catalog, "harbor/alpine").await, json!([]));
}

#[tokio::test]
async fn quay_and_docker_hub_send_tags_whose_manifests_are_looked_up() {
    let catalog = catalog().await;
    // The registry is unavailable: the events are accepted, and their lookups stay pending.
    for file in ["quay/repo-push.json", "quay/repo-push-2013-updated-tags-map.json"] {
        take(&catalog, "quay", file).await;
    }
    take(&catalog, "docker-hub", "docker-hub/push.json").await;
    let open = pending_lookups(&catalog).await;
    assert_eq!(
        open,
        [
            "210987654321/devtable/ubuntu#latest",
            "210987654321/dgangaia/test#latest",
            "210987654321/svendowideit/testhook#latest",
        ]
    );
}

/// Private repositories of these products need credentials. They are sent to no other host.
#[test]
fn quay_and_docker_hub_are_looked_up_at_their_own_hosts_with_the_credential_of_the_subscription() {
    for (source, file, host) in [
        ("quay", "quay/repo-push.json", "quay.io"),
        ("docker-hub", "docker-hub/push.json", "registry-1.docker.io"),
    ] {
        let list = json!([{
            "id": "one",
            "source": source,
            "registryId": REGISTRY,
            "credential": { "bearer": "token" },
            "registryCredential": { "username": "robot", "password": "secret" },
        }]);
        let subscriptions = Subscriptions::parse(&list.to_string()).unwrap();
        let origin =
            Origin::from_subscription(subscriptions.get("one").unwrap().clone(), Timestamp::now());
        let event: Box<RawValue> = serde_json::from_str(&sample(file)).unwrap();
        let Interpreted { meaning, .. } = ingest_events::source::interpret(&event, &origin, REGION);
        let Ok(Meaning::Effects(effects)) = meaning else { panic!("{meaning:?}") };
        let Some(Effect::Lookup(lookup)) = effects.first() else { panic!("{effects:?}") };
        let address = RegistryAddress {
            host: host.to_owned(),
            encrypted: true,
            subscription: Some("one".to_owned()),
        };
        assert_eq!(lookup.registry, Registry::Oci(address));
    }
}

#[tokio::test]
async fn github() {
    for file in [
        "github-packages/package-published-docker.json",
        "github-packages/registry_package-published-docker.json",
    ] {
        let catalog = catalog().await;
        take(&catalog, "github", file).await;
        // Configuration and layers of the sample's manifest, added up.
        assert_eq!(
            without_time(images(&catalog, "codertocat/hello-world").await),
            json!([{
                "imageDigest": "sha256:6c62fb45fe66bfb1ea9a66abc38f6a0cc974292b",
                "imageSizeInBytes": 119_433_709,
                "imageManifestMediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "artifactMediaType": "application/vnd.docker.container.image.v1+json",
            }])
        );
    }
}

/// A webhook may be of all events.
#[tokio::test]
async fn events_of_github_that_are_not_about_packages_are_ignored() {
    let catalog = catalog().await;
    let url = format!("{}/events/github", catalog.url);
    let header = [("authorization", "Bearer token of github")];
    for event in [
        json!({ "ref": "refs/heads/main", "commits": [] }),
        json!({ "action": "opened", "issue": { "number": 1 } }),
    ] {
        assert_eq!(send(&url, &header, event.to_string()).await, (200, report(0, 1)), "{event}");
    }
}

/// GitHub's default content type puts the event into a form, and signs the form.
#[tokio::test]
async fn github_sends_forms() {
    let list = json!([{
        "id": "github", "source": "github", "registryId": REGISTRY, "credential": { "hmac": "key" },
    }]);
    let subscribed = Catalog::start_subscribed(Store::in_memory().await, &list).await;
    let open = Catalog::start().await;
    let event = sample("github-packages/package-published-docker.json");
    let form = |event: &str| {
        url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", event).finish()
    };
    let form_type = ("content-type", "application/x-www-form-urlencoded");
    let deliver = async |catalog: &Catalog, content_type, body: String| {
        let signature = format!("sha256={}", signature("key", &body));
        let headers = [content_type, ("x-hub-signature-256", signature.as_str())];
        send(&format!("{}/events/github?registry={REGISTRY}", catalog.url), &headers, body).await
    };
    for catalog in [&subscribed, &open] {
        let ping = form(r#"{"zen":"Keep it logically awesome.","hook_id":1}"#);
        assert_eq!(deliver(catalog, form_type, ping).await, (200, report(0, 1)));
        assert_eq!(deliver(catalog, form_type, form(&event)).await, (200, report(1, 0)));
        let images = images(catalog, "codertocat/hello-world").await;
        assert_eq!(images.as_array().map(Vec::len), Some(1), "{images}");
        for body in ["payload=", "payload=%FF", "payload=1&payload={}", "payload"] {
            let (status, response) = deliver(catalog, form_type, body.to_owned()).await;
            assert_eq!(status, 400, "{body}: {response}");
        }
    }
    // The signature is of the event, not of the form.
    let right = format!("sha256={}", signature("key", &event));
    let url = format!("{}/events/github", subscribed.url);
    let sent = send(&url, &[form_type, ("x-hub-signature-256", &right)], form(&event)).await;
    assert_eq!(sent.0, 401);
    // A header is not signed. It makes no form of a signed JSON text that contains one.
    let forged = json!({ "zen": format!("&{}", form(&event)) }).to_string();
    let catalog = Catalog::start_subscribed(Store::in_memory().await, &list).await;
    assert_eq!(deliver(&catalog, form_type, forged).await, (200, report(0, 1)));
    assert_eq!(images(&catalog, "codertocat/hello-world").await, "RepositoryNotFoundException");
}

/// What the products send when their user tests the webhook.
#[tokio::test]
async fn a_test_of_a_webhook_is_a_success_and_changes_nothing() {
    let catalog = catalog().await;
    for (source, file) in [
        ("quay", "quay/repo-push-test-notification.json"),
        ("artifactory", "jfrog-artifactory/docker-deleted.json"),
    ] {
        assert_eq!(deliver(&catalog, source, file).await, (200, report(0, 1)), "{file}");
    }
    for (source, body) in
        [("github", r#"{"zen":"Keep it logically awesome.","hook_id":1}"#), ("harbor", "")]
    {
        let token = format!("Bearer token of {source}");
        let url = format!("{}/events/{source}", catalog.url);
        let sent = send(&url, &[("authorization", &token)], body).await;
        assert_eq!(sent, (200, report(0, 1)), "{source}");
    }
    let scan = catalog.store.table.client.scan().table_name(&catalog.store.table.name);
    assert_eq!(scan.send().await.unwrap().count, 1, "nothing but the number of the format");
    // A push of the same tags is none.
    let push = json!({ "repository": "mynamespace/repository", "updated_tags": ["latest", "foo"] });
    let url = format!("{}/events/quay?token=token%20of%20quay", catalog.url);
    assert_eq!(send(&url, &[], push.to_string()).await, (200, report(1, 0)));
    assert_eq!(pending_lookups(&catalog).await.len(), 2);
}

#[tokio::test]
async fn artifactory() {
    let catalog = catalog().await;
    take(&catalog, "artifactory", "jfrog-artifactory/docker-pushed.json").await;
    let digest = "sha256:35c4a2c15539c6c1e4e5fa4e554dac323ad0107d8eb5c582d6ff386b383b7dce";
    assert_eq!(
        without_time(images(&catalog, "docker-remote-cache/library/ubuntu").await),
        json!([{ "imageDigest": digest, "imageTags": ["latest"] }])
    );
    let mut deleted: Value =
        serde_json::from_str(&sample("jfrog-artifactory/docker-pushed.json")).unwrap();
    deleted["event_type"] = json!("deleted");
    let url = format!("{}/events/artifactory", catalog.url);
    let header = [("x-jfrog-event-auth", "token of artifactory")];
    // Newer versions send the other members in `data`.
    let deleted = json!({ "domain": "docker", "event_type": "deleted", "data": deleted });
    assert_eq!(send(&url, &header, deleted.to_string()).await, (200, report(1, 0)));
    assert_eq!(images(&catalog, "docker-remote-cache/library/ubuntu").await, json!([]));
    // A checksum that is none.
    let mut wrong = deleted;
    wrong["data"]["sha256"] = json!("sample");
    let (status, response) = send(&url, &header, wrong.to_string()).await;
    assert_eq!(status, 400);
    assert!(response["malformed"][0]["reason"].as_str().unwrap().contains("sha256"), "{response}");
}

#[tokio::test]
async fn zot() {
    let catalog = catalog().await;
    take(&catalog, "zot", "zot/repository-created.json").await;
    assert_eq!(images(&catalog, "golang").await, json!([]));
    take(&catalog, "zot", "zot/image-updated.json").await;
    let mut image = json!({
        "imageDigest": "sha256:7d98b5fd6dd1c7c18a9ef806890d8a5a8549b430a2ebc37362b62d278bb81a73",
        "imageTags": ["latest"],
        "imagePushedAt": 1_767_323_045.678,
        "imageSizeInBytes": 3037,
        "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactMediaType": "application/vnd.oci.image.config.v1+json",
    });
    assert_eq!(images(&catalog, "golang").await, json!([image]));
    take(&catalog, "zot", "zot/image-scanned.json").await;
    image["imageScanStatus"] = json!({ "status": "COMPLETE" });
    image["imageScanFindingsSummary"] = json!({
        "imageScanCompletedAt": 1_767_323_045.678,
        "findingSeverityCounts": { "HIGH": 1, "LOW": 1, "MEDIUM": 1 },
    });
    assert_eq!(images(&catalog, "golang").await, json!([image]));
    let mut deleted: Value = serde_json::from_str(&sample("zot/image-deleted.json")).unwrap();
    let later = json!("2026-01-02T04:00:00Z");
    deleted["headers"]["Ce-Time"] = later.clone();
    let structured = json!({
        "specversion": "1.0", "id": "1", "source": "zotregistry.dev", "type": "zotregistry.image.deleted",
        "time": later, "data": deleted["body"],
    });
    let url = format!("{}/events/zot", catalog.url);
    let header = [("authorization", "Bearer token of zot")];
    assert_eq!(send(&url, &header, structured.to_string()).await, (200, report(1, 0)));
    image.as_object_mut().unwrap().remove("imageTags");
    assert_eq!(images(&catalog, "golang").await, json!([image]), "the tag goes, the image stays");
}

#[tokio::test]
async fn ecr_and_distribution_have_credentials_too() {
    let catalog = catalog().await;
    let mut push: Value =
        serde_json::from_str(&sample("aws-ecr/image-action-push-untagged.json")).unwrap();
    push["region"] = json!("us-east-1");
    push["account"] = json!(REGISTRY);
    let url = format!("{}/events/ecr", catalog.url);
    let header = [("authorization", "Bearer token of ecr")];
    assert_eq!(send(&url, &header, push.to_string()).await, (200, report(1, 0)));
    take(
        &catalog,
        "distribution",
        "cncf-distribution/v2.8-push-manifest-tagged-with-references.json",
    )
    .await;
    assert_eq!(images(&catalog, "team/app").await.as_array().unwrap().len(), 1);
}
