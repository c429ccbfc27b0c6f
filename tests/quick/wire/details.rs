//! The members of an image, and their sources.

use std::collections::BTreeMap;

use catalog::change::Content;
use catalog::image::{FindingsSummary, ImageStatus, Scan};
use catalog::{ChangeKind, Repository, Service};
use end_to_end::harness::{digest, repository, sample, tag, time};
use serde_json::{Value, json};

use super::rows::{Row, put_rows};
use super::{ECR, ECR_PUBLIC, Wire, at, pushed};

/// A repository `app` with one image that has every member.
async fn known_image() -> Wire {
    let wire = Wire::start().await;
    let app = repository("app");
    let content = Content {
        manifest_media_type: Some("application/vnd.oci.image.manifest.v1+json".to_owned()),
        artifact_media_type: Some("application/vnd.oci.image.config.v1+json".to_owned()),
        size_in_bytes: Some(12_345),
        manifests: None,
        subject: Some(digest(7)),
    };
    wire.apply(&app, at("2026-05-15T15:33:03.778Z"), pushed(1, Some("v1"), content)).await;
    wire.push("app", at("2026-05-15T15:33:04Z"), 1, Some("latest")).await;
    let completed_at = at("2026-05-15T15:34:00.5Z");
    let finding_severity_counts =
        Some(BTreeMap::from([("CRITICAL".to_owned(), 10), ("MEDIUM".to_owned(), 9)]));
    let scan = Scan {
        status: Some("COMPLETE".to_owned()),
        description: Some("The scan was completed successfully.".to_owned()),
        findings: Some(FindingsSummary {
            completed_at: Some(completed_at),
            vulnerability_source_updated_at: Some(at("2026-05-15T15:33:59Z")),
            finding_severity_counts,
        }),
    };
    wire.apply(&app, completed_at, ChangeKind::ImageScanned { digest: digest(1), scan }).await;
    wire.apply(&app, at("2026-05-15T15:35:00Z"), ChangeKind::ImagePulled { digest: digest(1) })
        .await;
    wire.apply(&app, at("2026-05-15T15:36:00Z"), ChangeKind::ImageArchived { digest: digest(1) })
        .await;
    let kind =
        ChangeKind::ImageRestored { digest: digest(1), activated_at: at("2026-05-15T15:37:00Z") };
    wire.apply(&app, at("2026-05-15T15:36:30Z"), kind).await;
    wire
}

#[tokio::test]
async fn r37_the_private_service_returns_every_member() {
    let wire = known_image().await;
    let expected = r#"{"imageDetails":[{"registryId":"123456789012","repositoryName":"app","imageDigest":"sha256:0000000000000000000000000000000000000000000000000000000000000001","imagePushedAt":1778859183.778,"imageTags":["latest","v1"],"imageSizeInBytes":12345,"imageManifestMediaType":"application/vnd.oci.image.manifest.v1+json","artifactMediaType":"application/vnd.oci.image.config.v1+json","imageScanStatus":{"status":"COMPLETE","description":"The scan was completed successfully."},"imageScanFindingsSummary":{"imageScanCompletedAt":1778859240.5,"vulnerabilitySourceUpdatedAt":1778859239,"findingSeverityCounts":{"CRITICAL":10,"MEDIUM":9}},"lastRecordedPullTime":1778859300,"subjectManifestDigest":"sha256:0000000000000000000000000000000000000000000000000000000000000007","imageStatus":"ACTIVE","lastArchivedAt":1778859360,"lastActivatedAt":1778859420}]}"#;
    assert_eq!(wire.ecr(json!({ "repositoryName": "app" })).await.body, expected);
    let by_tag = json!({ "repositoryName": "app", "imageIds": [{ "imageTag": "v1" }] });
    assert_eq!(wire.ecr(by_tag).await.body, expected, "looked up by its tag");
}

#[tokio::test]
async fn r37_the_public_service_returns_eight_members() {
    let wire = known_image().await;
    let expected = r#"{"imageDetails":[{"registryId":"123456789012","repositoryName":"app","imageDigest":"sha256:0000000000000000000000000000000000000000000000000000000000000001","imagePushedAt":1778859183.778,"imageTags":["latest","v1"],"imageSizeInBytes":12345,"imageManifestMediaType":"application/vnd.oci.image.manifest.v1+json","artifactMediaType":"application/vnd.oci.image.config.v1+json"}]}"#;
    assert_eq!(wire.ecr_public(json!({ "repositoryName": "app" })).await.body, expected);
    let by_digest =
        json!({ "repositoryName": "app", "imageIds": [{ "imageDigest": digest(1).as_str() }] });
    assert_eq!(wire.ecr_public(by_digest).await.body, expected, "looked up by its digest");
}

#[tokio::test]
async fn r37_tags_are_in_ascending_byte_order() {
    let wire = Wire::start().await;
    let sorted =
        ["-", ".", "1.0", "1.10", "1.9", "10", "9", "B", "Z", "_", "a", "a-", "a.", "aa", "z"];
    for (index, tag) in (0..).zip(sorted.iter().rev()) {
        wire.push("app", time(index), 1, Some(tag)).await;
    }
    for target in [ECR, ECR_PUBLIC] {
        for image_ids in [json!(null), json!([{ "imageTag": "a" }])] {
            let request = json!({ "repositoryName": "app", "imageIds": image_ids });
            let image = wire.post(target, request.to_string()).await.image();
            assert_eq!(image["imageTags"], json!(sorted));
        }
    }
}

#[tokio::test]
async fn r37_an_archived_image_has_its_status() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, None).await;
    wire.apply(&repository("app"), time(1000), ChangeKind::ImageArchived { digest: digest(1) })
        .await;
    let request = json!({ "repositoryName": "app", "filter": { "imageStatus": "ARCHIVED" } });
    let image = wire.ecr(request).await.image();
    assert_eq!(
        (&image["imageStatus"], &image["lastArchivedAt"]),
        (&json!("ARCHIVED"), &json!(1_767_225_601))
    );
    assert_eq!(image.get("lastActivatedAt"), None);
}

#[tokio::test]
async fn r60_the_members_of_a_scan_are_independent() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, None).await;
    let findings = |findings| Scan { findings: Some(findings), ..Scan::default() };
    let described = Scan {
        description: Some("UnsupportedImageError: no packages".to_owned()),
        ..Scan::with_status("UNSUPPORTED_IMAGE")
    };
    let counts = Some(BTreeMap::from([("HIGH".to_owned(), 2)]));
    let none = FindingsSummary::default;
    let states = [
        (Scan::with_status("PENDING"), r#""imageScanStatus":{"status":"PENDING"},"#),
        (
            described,
            r#""imageScanStatus":{"status":"UNSUPPORTED_IMAGE","description":"UnsupportedImageError: no packages"},"#,
        ),
        (
            Scan::complete(time(1500), None),
            r#""imageScanStatus":{"status":"COMPLETE"},"imageScanFindingsSummary":{"imageScanCompletedAt":1767225601.5},"#,
        ),
        (
            Scan { findings: Some(none()), ..Scan::with_status("ACTIVE") },
            r#""imageScanStatus":{"status":"ACTIVE"},"imageScanFindingsSummary":{},"#,
        ),
        (
            findings(FindingsSummary {
                vulnerability_source_updated_at: Some(time(1000)),
                ..none()
            }),
            r#""imageScanFindingsSummary":{"vulnerabilitySourceUpdatedAt":1767225601},"#,
        ),
        (
            findings(FindingsSummary { finding_severity_counts: counts, ..none() }),
            r#""imageScanFindingsSummary":{"findingSeverityCounts":{"HIGH":2}},"#,
        ),
        // Without any, there is no scan any longer.
        (Scan::default(), ""),
    ];
    for (milliseconds, (scan, members)) in (1..).zip(states) {
        let kind = ChangeKind::ImageScanned { digest: digest(1), scan };
        wire.apply(&repository("app"), time(milliseconds), kind).await;
        let expected = format!(
            r#"{{"imageDetails":[{{"registryId":"123456789012","repositoryName":"app","imageDigest":"{}","imagePushedAt":1767225600,{members}"imageStatus":"ACTIVE"}}]}}"#,
            digest(1)
        );
        assert_eq!(wire.ecr(json!({ "repositoryName": "app" })).await.body, expected);
        let by_digest =
            json!({ "repositoryName": "app", "imageIds": [{ "imageDigest": digest(1) }] });
        assert_eq!(wire.ecr(by_digest).await.body, expected, "looked up by its digest");
        let public = wire.ecr_public(json!({ "repositoryName": "app" })).await.body;
        assert!(!public.contains("Scan"), "{public}");
    }
}

#[tokio::test]
async fn r38_the_first_push_since_the_last_deletion_counts() {
    let wire = Wire::start().await;
    let app = repository("app");
    let pushed_at = async || {
        wire.ecr(json!({ "repositoryName": "app" })).await.image()["imagePushedAt"].clone()
    };
    wire.push("app", time(1000), 1, Some("v1")).await;
    assert_eq!(pushed_at().await, json!(1_767_225_601));
    wire.push("app", time(2000), 1, Some("v2")).await;
    wire.push("app", time(3000), 1, Some("v1")).await;
    wire.push("app", time(4000), 1, None).await;
    assert_eq!(pushed_at().await, json!(1_767_225_601), "neither another tag nor a push again");
    wire.apply(&app, time(5000), ChangeKind::ImageArchived { digest: digest(1) }).await;
    let kind = ChangeKind::ImageRestored { digest: digest(1), activated_at: time(6000) };
    wire.apply(&app, time(6000), kind).await;
    assert_eq!(pushed_at().await, json!(1_767_225_601), "nor the archive");
    wire.apply(&app, time(7000), ChangeKind::ImageDeleted { digest: digest(1) }).await;
    wire.push("app", time(8000), 1, Some("v2")).await;
    assert_eq!(pushed_at().await, json!(1_767_225_608), "after a deletion, the new push");
    let kind = ChangeKind::ImageUntagged { digest: digest(1), tag: tag("v2") };
    wire.apply(&app, time(9000), kind).await;
    wire.push("app", time(10_000), 1, None).await;
    assert_eq!(pushed_at().await, json!(1_767_225_610), "also after that of its last tag");
    wire.apply(&app, time(11_000), ChangeKind::RepositoryDeleted).await;
    wire.push("app", time(12_000), 1, None).await;
    assert_eq!(pushed_at().await, json!(1_767_225_612), "and after that of its repository");
}

#[tokio::test]
async fn r39_a_size_is_exact_or_absent() {
    let wire = Wire::start().await;
    for (number, size) in (1..).zip([None, Some(0), Some(1), Some((1 << 53) + 1), Some(i64::MAX)]) {
        let content = Content { size_in_bytes: size, ..Content::default() };
        wire.apply(&repository("app"), time(0), pushed(number, None, content)).await;
        for target in [ECR, ECR_PUBLIC] {
            let image_ids = json!([{ "imageDigest": digest(number).as_str() }]);
            let request = json!({ "repositoryName": "app", "imageIds": image_ids });
            let image = wire.post(target, request.to_string()).await.image();
            assert_eq!(image.get("imageSizeInBytes"), size.map(Value::from).as_ref(), "{size:?}");
        }
    }
}

#[tokio::test]
async fn r39_an_index_is_as_large_as_the_largest_of_its_manifests() {
    let wire = Wire::start().await;
    let app = repository("app");
    let size = async || {
        let request = json!({ "repositoryName": "app", "imageIds": [{ "imageTag": "index" }] });
        wire.ecr(request).await.image().get("imageSizeInBytes").cloned()
    };
    let manifests = Some(vec![digest(1), digest(2), digest(3)]);
    let index = Content { manifests, ..Content::default() };
    wire.apply(&app, time(1), pushed(9, Some("index"), index)).await;
    assert_eq!(size().await, None, "while no manifest is known");
    wire.push("app", time(2), 3, None).await;
    assert_eq!(size().await, None, "nor any size");
    for (number, bytes, largest) in [(1, 100, 100), (2, 300, 300), (3, 200, 300)] {
        let content = Content { size_in_bytes: Some(bytes), ..Content::default() };
        wire.apply(&app, time(3), pushed(number, None, content)).await;
        assert_eq!(size().await, Some(json!(largest)));
    }
}

#[tokio::test]
async fn r39_the_size_of_an_image_is_that_of_its_configuration_and_layers() {
    let wire = Wire::start().await;
    let event = sample("cncf-distribution/v2.8-push-manifest-tagged-with-references.json");
    for service in Service::ALL {
        wire.ingest(&format!("/events/distribution?service={service}"), event.clone()).await;
    }
    for target in [ECR, ECR_PUBLIC] {
        let request =
            json!({ "repositoryName": "team/app", "imageIds": [{ "imageTag": "1.0.0" }] });
        let image = wire.post(target, request.to_string()).await.image();
        assert_eq!(image["imageSizeInBytes"], json!(37 + 3000));
    }
}

#[tokio::test]
async fn r39_an_image_may_have_a_thousand_tags_of_300_characters() {
    let wire = Wire::start().await;
    let tags: Vec<String> = (0..1000).map(|index| format!("{index:0>300}")).collect();
    wire.create("app").await;
    let row =
        Row { number: 1, pushed_at: time(0), status: ImageStatus::Active, tags: tags.clone() };
    for service in Service::ALL {
        let app = Repository { service, ..repository("app") };
        put_rows(wire.store(), &app, std::slice::from_ref(&row)).await;
    }
    // Through the writer fewer tags, but of the same length.
    for (index, tag) in (0..).zip(&tags[..20]) {
        wire.push("pushed", time(index), 1, Some(tag)).await;
    }
    for target in [ECR, ECR_PUBLIC] {
        let listed = wire.post(target, json!({ "repositoryName": "app" }).to_string()).await;
        assert!(listed.image()["imageTags"] == json!(tags));
        for image_ids in [json!(null), json!([{ "imageTag": tags[13] }])] {
            let request = json!({ "repositoryName": "pushed", "imageIds": image_ids });
            let image = wire.post(target, request.to_string()).await.image();
            assert!(image["imageTags"] == json!(tags[..20]));
        }
    }
}
