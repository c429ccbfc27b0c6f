//! Expected and actual listings of a repository.

use catalog::image::Image;
use catalog::{Change, Repository, Timestamp};
use end_to_end::harness::{Process, REGISTRY};
use end_to_end::reference::model;
use serde_json::{Value, json};

/// The expected listing after these changes; `None` if the repository does not exist.
pub(super) fn expected(repository: &Repository, changes: &[Change]) -> Option<Vec<Value>> {
    let images = model::fold(changes)?;
    Some(images.iter().map(|image| detail(repository, image)).collect())
}

/// An image as the private service writes it, with times in milliseconds.
pub(super) fn detail(repository: &Repository, image: &Image) -> Value {
    let milliseconds = |time: Timestamp| json!(time.as_milliseconds());
    let tags = (!image.image_tags.is_empty()).then(|| json!(image.image_tags));
    let scan_status = image.scan.as_ref().map(|scan| json!({ "status": scan.status }));
    let findings = image.scan.as_ref().and_then(|scan| scan.findings.as_ref());
    let scan_summary = findings.map(|findings| {
        json!({
            "imageScanCompletedAt": findings.completed_at.map(milliseconds),
            "findingSeverityCounts": findings.finding_severity_counts
        })
    });
    let members = [
        ("registryId", Some(json!(REGISTRY))),
        ("repositoryName", Some(json!(repository.name.as_str()))),
        ("imageDigest", Some(json!(image.image_digest))),
        ("imageTags", tags),
        ("imageSizeInBytes", image.image_size_in_bytes.map(|size| json!(size))),
        ("imagePushedAt", Some(milliseconds(image.image_pushed_at))),
        ("imageStatus", Some(json!(image.image_status.as_str()))),
        (
            "imageManifestMediaType",
            image.image_manifest_media_type.as_ref().map(|kind| json!(kind)),
        ),
        ("artifactMediaType", image.artifact_media_type.as_ref().map(|kind| json!(kind))),
        ("imageScanStatus", scan_status),
        ("imageScanFindingsSummary", scan_summary),
        ("lastRecordedPullTime", image.last_recorded_pull_time.map(milliseconds)),
        ("lastArchivedAt", image.last_archived_at.map(milliseconds)),
        ("lastActivatedAt", image.last_activated_at.map(milliseconds)),
    ];
    let present = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect())
}

/// All images of a repository, with times in milliseconds; `None` if it does not exist.
pub(super) async fn list(process: &Process, repository: &Repository) -> Option<Vec<Value>> {
    let request = json!({
        "repositoryName": repository.name.as_str(),
        "maxResults": 1000,
        "filter": { "imageStatus": "ANY" }
    });
    match process.describe(request).await {
        Ok(mut page) => {
            let details = page["imageDetails"].as_array_mut().unwrap();
            details.iter_mut().for_each(seconds_to_milliseconds);
            Some(details.clone())
        }
        Err(error) => {
            assert_eq!(error["__type"], "RepositoryNotFoundException", "{error}");
            None
        }
    }
}

pub(super) fn seconds_to_milliseconds(detail: &mut Value) {
    for time in [
        "/imagePushedAt",
        "/lastRecordedPullTime",
        "/lastArchivedAt",
        "/lastActivatedAt",
        "/imageScanFindingsSummary/imageScanCompletedAt",
    ] {
        if let Some(time) = detail.pointer_mut(time) {
            *time = json!((time.as_f64().unwrap() * 1000.0).round() as i64);
        }
    }
}
