//! Amazon ECR and Amazon ECR Public. Their events come in three envelopes, one file for each:
//! EventBridge events, CloudTrail records, alone or in EventBridge events, and CloudEvents that an
//! input transformer makes of a push. Those of Amazon ECR Public are CloudTrail records only. With
//! enhanced scanning, the events of scans are Amazon Inspector's.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/logging-using-cloudtrail.html>
//! <https://docs.aws.amazon.com/AmazonECR/latest/public/logging-using-cloudtrail.html>

mod cloud_event;
mod cloud_trail;
mod event_bridge;
mod inspector;
mod repository_call;

use catalog::{Change, ChangeKind};
use registries::Registry;
use serde_json::Value;

use self::cloud_event::CloudEvent;
use self::cloud_trail::Record;
use self::event_bridge::Event;
use super::{Effect, Interpreted, MalformedEvent, Meaning, Origin};
use crate::lookup::Lookup;

pub(super) fn interpret(event: &Value, origin: &Origin, region: &str) -> Interpreted {
    let has = |member: &str| event.get(member).is_some();
    if has("detail-type") {
        Interpreted::decoded(event, "EventBridge event", |event: Event| event.interpret(region))
    } else if has("eventSource") && has("eventName") {
        const LABEL: &str = "CloudTrail record";
        Interpreted::decoded(event, LABEL, |record: Record| {
            Interpreted::new(LABEL, record.meaning(origin.registry.as_str(), region))
        })
    } else if has("specversion") {
        const LABEL: &str = "CloudEvent";
        Interpreted::decoded(event, LABEL, |event: CloudEvent| {
            Interpreted::new(LABEL, event.meaning(region))
        })
    } else {
        let error = "neither an EventBridge event ('detail-type'), nor a CloudTrail record \
                     ('eventSource', 'eventName'), nor a CloudEvent ('specversion')";
        Interpreted::new("other", Err(MalformedEvent(error.to_owned())))
    }
}

fn changes(changes: impl IntoIterator<Item = Change>) -> Result<Meaning, MalformedEvent> {
    Ok(Meaning::Effects(changes.into_iter().map(effect).collect()))
}

/// A push without the image's size leads to a lookup.
fn effect(change: Change) -> Effect {
    match change {
        Change { repository, time, kind: ChangeKind::ImagePushed { digest, tag, content } }
            if content.size_in_bytes.is_none() && content.manifests.is_none() =>
        {
            Effect::Lookup(Lookup {
                registry: Registry::Ecr {
                    service: repository.service,
                    account: repository.registry.clone(),
                },
                name: repository.name.as_str().to_owned(),
                repository,
                digest: Some(digest),
                tag,
                manifest_media_type: content.manifest_media_type,
                artifact_media_type: content.artifact_media_type,
                time,
            })
        }
        change => Effect::Change(change),
    }
}
