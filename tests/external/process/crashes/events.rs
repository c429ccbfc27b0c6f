//! Random events, as registries send them, and their changes.

use catalog::change::Content;
use catalog::image::Scan;
use catalog::{Change, ChangeKind, Digest, Repository, RepositoryStatement, Tag, Timestamp};
use end_to_end::harness::{
    OCI_CONFIGURATION, OCI_IMAGE, OCI_INDEX, OCI_LAYER, REGION, REGISTRY, Random, digest, tag,
};
use serde_json::{Value, json};

use super::super::event_bridge_event;

pub(super) const TAGS: [&str; 4] = ["latest", "v1", "v2", "v3"];

/// Digests 7 and 8 are indexes.
pub(super) const DIGESTS: u64 = 8;

/// An event and its change.
#[derive(Clone)]
pub(super) struct Event {
    pub(super) path: &'static str,
    pub(super) body: Value,
    pub(super) change: Change,
}

pub(super) fn any_digest(random: &mut Random) -> Digest {
    digest(1 + random.below(DIGESTS))
}

pub(super) fn any_tag(random: &mut Random) -> Tag {
    tag(TAGS[usize::try_from(random.below(4)).unwrap()])
}

pub(super) fn ecr_event(
    random: &mut Random,
    repository: &Repository,
    at: Timestamp,
) -> (Value, ChangeKind) {
    let name = repository.name.as_str();
    let (digest, tag) = (any_digest(random), any_tag(random));
    let action = |action: &str, members: Value| {
        let mut detail = json!({
            "result": "SUCCESS",
            "repository-name": name,
            "image-digest": digest,
            "action-type": action
        });
        detail.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        event_bridge_event("ECR Image Action", at, &detail)
    };
    let record = |event: &str| {
        json!({
            "eventSource": "ecr.amazonaws.com",
            "eventName": event,
            "eventTime": at,
            "awsRegion": REGION,
            "recipientAccountId": REGISTRY,
            "requestParameters": { "repositoryName": name }
        })
    };
    match random.below(21) {
        0..10 => {
            let tag = Some(tag).filter(|_| random.below(5) > 0);
            let content = if random.below(2) == 0 {
                Content::default()
            } else {
                Content {
                    manifest_media_type: Some(OCI_IMAGE.to_owned()),
                    artifact_media_type: Some(OCI_CONFIGURATION.to_owned()),
                    ..Content::default()
                }
            };
            let mut members = json!({ "image-tag": tag.as_ref().map_or("", Tag::as_str) });
            if content != Content::default() {
                members["manifest-media-type"] = json!(content.manifest_media_type);
                members["artifact-media-type"] = json!(content.artifact_media_type);
            }
            (
                action("PUSH", members),
                ChangeKind::ImagePushed { digest: digest.clone(), tag, content },
            )
        }
        10..14 => (
            action("DELETE", json!({ "image-tag": tag })),
            ChangeKind::ImageUntagged { digest: digest.clone(), tag },
        ),
        14 | 15 => {
            (action("DELETE", json!({})), ChangeKind::ImageDeleted { digest: digest.clone() })
        }
        16 => (
            action("UPDATE_STORAGE_CLASS", json!({ "target-storage-class": "ARCHIVE" })),
            ChangeKind::ImageArchived { digest: digest.clone() },
        ),
        17 => (
            action("UPDATE_STORAGE_CLASS", json!({ "target-storage-class": "STANDARD" })),
            ChangeKind::ImageRestored { digest: digest.clone(), activated_at: at },
        ),
        18 => {
            let high = i64::try_from(random.below(9)).unwrap();
            let detail = json!({
                "scan-status": "COMPLETE",
                "repository-name": name,
                "image-digest": digest,
                "finding-severity-counts": { "HIGH": high },
                "image-tags": []
            });
            let scan = Scan::complete(at, Some([("HIGH".to_owned(), high)].into()));
            let event = event_bridge_event("ECR Image Scan", at, &detail);
            (event, ChangeKind::ImageScanned { digest: digest.clone(), scan })
        }
        19 => (record("DeleteRepository"), ChangeKind::RepositoryDeleted),
        _ => (
            record("CreateRepository"),
            ChangeKind::RepositoryStated(RepositoryStatement::default()),
        ),
    }
}

pub(super) fn notification(
    random: &mut Random,
    repository: &Repository,
    at: Timestamp,
) -> (Value, ChangeKind) {
    let name = repository.name.as_str();
    let number = 1 + random.below(DIGESTS);
    let (digest, tag) = (digest(number), any_tag(random));
    let notification = |action: &str, target: Value| {
        let mut target = target;
        target["repository"] = json!(name);
        json!({ "events": [{ "timestamp": at, "action": action, "target": target }] })
    };
    let media_type = if number > 6 { OCI_INDEX } else { OCI_IMAGE };
    match random.below(20) {
        0..14 => {
            let tag = Some(tag).filter(|_| random.below(5) > 0);
            let mut content =
                Content { manifest_media_type: Some(media_type.to_owned()), ..Content::default() };
            let mut target = json!({ "mediaType": media_type, "digest": digest, "size": 500 });
            if let Some(tag) = &tag {
                target["tag"] = json!(tag);
            }
            let reference = |media_type: &str, size: u64, digest: &Digest| {
                let mut reference = json!({ "mediaType": media_type, "size": size });
                reference["digest"] = json!(digest);
                reference
            };
            match number {
                7 | 8 => {
                    let manifests = if number == 7 { 1..=3 } else { 4..=5 };
                    let manifests: Vec<Digest> =
                        manifests.map(end_to_end::harness::digest).collect();
                    target["references"] =
                        manifests.iter().map(|digest| reference(OCI_IMAGE, 500, digest)).collect();
                    content.manifests = Some(manifests);
                }
                // Some notifications do not contain the manifest's references.
                _ if random.below(4) > 0 => {
                    target["references"] = json!([
                        reference(OCI_CONFIGURATION, 1_000 * number, &digest),
                        reference(OCI_LAYER, number, &digest)
                    ]);
                    content.artifact_media_type = Some(OCI_CONFIGURATION.to_owned());
                    content.size_in_bytes = i64::try_from(1_001 * number).ok();
                }
                _ => {}
            }
            (notification("push", target), ChangeKind::ImagePushed { digest, tag, content })
        }
        14 | 15 => (
            notification("pull", json!({ "mediaType": media_type, "digest": digest })),
            ChangeKind::ImagePulled { digest },
        ),
        16 | 17 => (
            notification("delete", json!({ "digest": digest })),
            ChangeKind::ImageDeleted { digest },
        ),
        _ => (notification("delete", json!({ "tag": tag })), ChangeKind::TagDeleted { tag }),
    }
}
