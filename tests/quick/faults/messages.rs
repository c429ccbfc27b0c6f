//! Changes, as events of registries in messages of the queue.

use catalog::change::Content;
use catalog::{Change, ChangeKind, Digest};
use end_to_end::harness::queue::received_message;
use end_to_end::harness::{REGION, REGISTRY};
use ingest_events::batch::ReceivedMessage;
use registries::{Source, Subscriptions};
use serde_json::{Value, json};

pub(crate) const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The subscription of messages of [`Source::Distribution`].
const SUBSCRIPTION: &str = "registry";

/// The subscriptions of the messages.
pub(crate) fn subscriptions() -> Subscriptions {
    let subscription = json!({
        "id": SUBSCRIPTION,
        "source": "distribution",
        "registryId": REGISTRY,
        "credential": { "bearer": "token" },
    });
    Subscriptions::parse(&json!([subscription]).to_string()).unwrap()
}

/// A message with the events of changes.
pub(crate) fn message(id: &str, source: Source, changes: &[Change]) -> ReceivedMessage {
    match source {
        Source::Ecr => text_message(id, &Value::from_iter(changes.iter().map(ecr_event)), None),
        Source::Distribution => {
            let events: Vec<Value> = changes.iter().map(notification).collect();
            text_message(id, &json!({ "events": events }), Some(SUBSCRIPTION))
        }
        other => panic!("no messages of {other:?} are made"),
    }
}

/// A message with any body.
pub(crate) fn text_message(id: &str, body: &Value, subscription: Option<&str>) -> ReceivedMessage {
    let attributes: Vec<_> = subscription.map(|id| ("subscription", id)).into_iter().collect();
    received_message(id, &body.to_string(), &attributes)
}

/// The source that can report a change; if both can, Amazon ECR.
pub(crate) fn source_of(kind: &ChangeKind) -> Source {
    match kind {
        ChangeKind::ImagePushed { content, .. }
            if content.size_in_bytes.is_some() || content.manifests.is_some() =>
        {
            Source::Distribution
        }
        ChangeKind::TagDeleted { .. } | ChangeKind::ImagePulled { .. } => Source::Distribution,
        _ => Source::Ecr,
    }
}

fn ecr_event(change: &Change) -> Value {
    let action = |action: &str, digest: &Digest, members: Value| {
        let mut detail =
            json!({ "result": "SUCCESS", "image-digest": digest, "action-type": action });
        detail.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        ("ECR Image Action", detail)
    };
    let record = |name: &str| {
        let detail = json!({
            "eventSource": "ecr.amazonaws.com",
            "eventName": name,
            "eventTime": change.time,
            "awsRegion": REGION,
            "recipientAccountId": REGISTRY,
            "requestParameters": { "repositoryName": change.repository.name.as_str() },
        });
        ("AWS API Call via CloudTrail", detail)
    };
    let (detail_type, mut detail) = match &change.kind {
        ChangeKind::ImagePushed { digest, tag, content } => {
            assert_eq!(
                (content.size_in_bytes, &content.manifests),
                (None, &None),
                "ECR does not report this"
            );
            let members = json!({
                "image-tag": tag,
                "manifest-media-type": content.manifest_media_type,
                "artifact-media-type": content.artifact_media_type,
            });
            action("PUSH", digest, members)
        }
        ChangeKind::ImageDeleted { digest } => action("DELETE", digest, json!({})),
        ChangeKind::ImageUntagged { digest, tag } => {
            action("DELETE", digest, json!({ "image-tag": tag }))
        }
        ChangeKind::ImageArchived { digest } => {
            action("UPDATE_STORAGE_CLASS", digest, json!({ "target-storage-class": "ARCHIVE" }))
        }
        ChangeKind::ImageRestored { digest, activated_at } => {
            let members =
                json!({ "target-storage-class": "STANDARD", "last-activated-at": activated_at });
            action("UPDATE_STORAGE_CLASS", digest, members)
        }
        ChangeKind::ImageScanned { digest, scan } => {
            let findings = scan.findings.as_ref().unwrap();
            let completed_at = findings.completed_at.unwrap();
            assert_eq!(completed_at, change.time, "the time of the event is that of the end");
            let detail = json!({
                "scan-status": scan.status,
                "image-digest": digest,
                "finding-severity-counts": findings.finding_severity_counts,
            });
            ("ECR Image Scan", detail)
        }
        ChangeKind::RepositoryStated(_) => record("CreateRepository"),
        ChangeKind::RepositoryDeleted => record("DeleteRepository"),
        other => panic!("ECR does not report {other:?}"),
    };
    detail["repository-name"] = json!(change.repository.name.as_str());
    json!({
        "version": "0",
        "id": "13cde686-328b-6117-af20-0e5566167482",
        "detail-type": detail_type,
        "source": "aws.ecr",
        "account": REGISTRY,
        "time": change.time,
        "region": REGION,
        "resources": [],
        "detail": detail,
    })
}

fn notification(change: &Change) -> Value {
    let (action, mut target) = match &change.kind {
        ChangeKind::ImagePushed { digest, tag, content } => ("push", pushed(digest, content, tag)),
        ChangeKind::ImagePulled { digest } => {
            ("pull", json!({ "mediaType": OCI_IMAGE, "digest": digest }))
        }
        ChangeKind::ImageDeleted { digest } => ("delete", json!({ "digest": digest })),
        ChangeKind::TagDeleted { tag } => ("delete", json!({ "tag": tag })),
        other => panic!("distribution does not report {other:?}"),
    };
    target["repository"] = json!(change.repository.name.as_str());
    json!({
        "id": "e3856df2-8785-460e-b9e1-f9ccf5d9df5a",
        "timestamp": change.time,
        "action": action,
        "target": target,
    })
}

fn pushed(digest: &Digest, content: &Content, tag: &Option<catalog::Tag>) -> Value {
    let reference = |media_type: &str, size: i64, digest: &Digest| {
        let size = json!(size);
        json!({ "mediaType": media_type, "size": size, "digest": digest })
    };
    let references: Vec<Value> = match (&content.manifests, content.size_in_bytes) {
        (Some(manifests), None) => {
            manifests.iter().map(|manifest| reference(OCI_IMAGE, 500, manifest)).collect()
        }
        (None, Some(size)) => vec![reference(OCI_CONFIGURATION, size, digest)],
        (None, None) => vec![],
        (Some(_), Some(_)) => panic!("distribution does not report the size of an index"),
    };
    json!({
        "mediaType": content.manifest_media_type,
        "artifactType": content.artifact_media_type,
        "size": 500,
        "digest": digest,
        "tag": tag,
        "references": references,
    })
}
