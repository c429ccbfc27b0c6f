//! EventBridge events of Amazon ECR.

use std::collections::BTreeMap;

use catalog::change::Content;
use catalog::image::{FindingsSummary, Scan};
use catalog::{Change, ChangeKind, Repository, Service};
use serde::Deserialize;
use serde_json::Value;

use super::cloud_trail::Record;
use super::{changes, inspector};
use crate::source::{
    Interpreted, MalformedEvent, Meaning, decode, ignored, not_valid, parse, parse_tag,
};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Event {
    detail_type: DetailType,
    source: String,
    pub(super) account: String,
    pub(super) time: String,
    pub(super) region: String,
    pub(super) detail: Value,
}

#[derive(Deserialize)]
enum DetailType {
    #[serde(rename = "ECR Image Action")]
    ImageAction,
    #[serde(rename = "ECR Referrer Action")]
    ReferrerAction,
    #[serde(rename = "ECR Replication Action")]
    ReplicationAction,
    #[serde(rename = "ECR Pull Through Cache Action")]
    PullThroughCacheAction,
    #[serde(rename = "ECR Artifact Action")]
    ArtifactAction,
    #[serde(rename = "ECR Image Scan")]
    ImageScan,
    #[serde(rename = "Inspector2 Scan")]
    InspectorScan,
    #[serde(rename = "Inspector2 Finding")]
    InspectorFinding,
    #[serde(rename = "Inspector2 Coverage")]
    InspectorCoverage,
    #[serde(rename = "AWS API Call via CloudTrail")]
    ApiCall,
    #[serde(rename = "AWS Service Event via CloudTrail")]
    ServiceEvent,
    #[serde(untagged)]
    Other(String),
}

impl DetailType {
    /// Whether the detail is a CloudTrail record.
    fn contains_record(&self) -> bool {
        match self {
            Self::ApiCall | Self::ServiceEvent => true,
            Self::Other(name) => name.ends_with("via CloudTrail"),
            _ => false,
        }
    }
}

impl Event {
    pub(super) fn interpret(self, region: &str) -> Interpreted {
        let label = self.label();
        Interpreted::new(label, self.meaning(region))
    }

    fn label(&self) -> &'static str {
        match self.detail_type {
            DetailType::ImageAction => "ECR Image Action",
            DetailType::ReferrerAction => "ECR Referrer Action",
            DetailType::ReplicationAction => "ECR Replication Action",
            DetailType::PullThroughCacheAction => "ECR Pull Through Cache Action",
            DetailType::ArtifactAction => "ECR Artifact Action",
            DetailType::ImageScan => "ECR Image Scan",
            DetailType::InspectorScan => "Inspector2 Scan",
            DetailType::InspectorFinding => "Inspector2 Finding",
            DetailType::InspectorCoverage => "Inspector2 Coverage",
            DetailType::ApiCall => "AWS API Call via CloudTrail",
            DetailType::ServiceEvent => "AWS Service Event via CloudTrail",
            DetailType::Other(_) => "other",
        }
    }

    /// Its meaning, unless it is about the registry of another account: an account that forwards
    /// its events decides about no other. A record of a call to another account's registry also
    /// comes from there.
    fn meaning(self, region: &str) -> Result<Meaning, MalformedEvent> {
        let account = self.account.clone();
        let meaning = self.meaning_of_detail(region)?;
        let Meaning::Effects(effects) = &meaning else { return Ok(meaning) };
        let registries = effects.iter().map(|effect| &effect.repository().registry);
        match registries.into_iter().find(|registry| registry.as_str() != account) {
            Some(other) => ignored(format!("the registry {other}, of another account")),
            None => Ok(meaning),
        }
    }

    fn meaning_of_detail(self, region: &str) -> Result<Meaning, MalformedEvent> {
        if self.detail_type.contains_record() {
            let record: Record = decode(&self.detail)?;
            return record.meaning(&self.account, region);
        }
        if self.source == inspector::SOURCE && matches!(self.detail_type, DetailType::InspectorScan)
        {
            return inspector::meaning(&self, region);
        }
        if self.source != "aws.ecr" {
            return ignored(format!("the source {}", self.source));
        }
        if self.region != region {
            return ignored(format!("the region {}", self.region));
        }
        match &self.detail_type {
            DetailType::ImageAction | DetailType::ReferrerAction => ImageAction::meaning(&self),
            DetailType::ReplicationAction => {
                Copied::meaning(&self, |copied| copied.result.as_deref())
            }
            DetailType::PullThroughCacheAction => {
                Copied::meaning(&self, |copied| copied.sync_status.as_deref())
            }
            DetailType::ImageScan => ImageScan::meaning(&self),
            // EventBridge lists it among the events of Amazon ECR; its members are not published.
            DetailType::ArtifactAction => ImageAction::meaning(&self)
                .or_else(|error| ignored(format!("it is not as ECR Image Action: {error}"))),
            DetailType::ApiCall | DetailType::ServiceEvent => ignored("a CloudTrail record"),
            DetailType::InspectorScan
            | DetailType::InspectorFinding
            | DetailType::InspectorCoverage => ignored("an event of Amazon Inspector"),
            DetailType::Other(name) => ignored(format!("the detail-type {name}")),
        }
    }

    fn change(&self, repository_name: &str, kind: ChangeKind) -> Result<Change, MalformedEvent> {
        Ok(Change {
            repository: Repository {
                service: Service::Ecr,
                registry: parse("account", &self.account)?,
                name: parse("repository-name", repository_name)?,
            },
            time: parse("time", &self.time)?,
            kind,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ImageAction {
    action_type: String,
    result: Option<String>,
    repository_name: String,
    image_digest: String,
    image_tag: Option<String>,
    manifest_media_type: Option<String>,
    artifact_media_type: Option<String>,
    target_storage_class: Option<String>,
    last_activated_at: Option<String>,
}

impl ImageAction {
    fn meaning(event: &Event) -> Result<Meaning, MalformedEvent> {
        let action: Self = decode(&event.detail)?;
        if action.result.as_deref() != Some("SUCCESS") {
            return ignored("it did not succeed");
        }
        let digest = || parse("image-digest", &action.image_digest);
        let tag = parse_tag("image-tag", action.image_tag.as_deref())?;
        let kind = match (action.action_type.as_str(), tag) {
            ("PUSH", tag) => ChangeKind::ImagePushed {
                digest: digest()?,
                tag,
                content: Content {
                    manifest_media_type: action.manifest_media_type.clone(),
                    artifact_media_type: action.artifact_media_type.clone(),
                    ..Content::default()
                },
            },
            ("DELETE", Some(tag)) => ChangeKind::ImageUntagged { digest: digest()?, tag },
            ("DELETE", None) => ChangeKind::ImageDeleted { digest: digest()? },
            ("UPDATE_STORAGE_CLASS", _) => match action.target_storage_class.as_deref() {
                Some("ARCHIVE") => ChangeKind::ImageArchived { digest: digest()? },
                Some("STANDARD") => ChangeKind::ImageRestored {
                    digest: digest()?,
                    activated_at: match &action.last_activated_at {
                        Some(time) => parse("last-activated-at", time)?,
                        None => parse("time", &event.time)?,
                    },
                },
                other => {
                    return ignored(format!("the storage class {}", other.unwrap_or("of no name")));
                }
            },
            (other, _) => return ignored(format!("the action {other}")),
        };
        changes([event.change(&action.repository_name, kind)?])
    }
}

/// An image that came from another registry.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Copied {
    result: Option<String>,
    sync_status: Option<String>,
    repository_name: String,
    image_digest: Option<String>,
    image_tag: Option<String>,
}

impl Copied {
    fn meaning(
        event: &Event,
        outcome: impl Fn(&Self) -> Option<&str>,
    ) -> Result<Meaning, MalformedEvent> {
        let copied: Self = decode(&event.detail)?;
        if outcome(&copied) != Some("SUCCESS") {
            return ignored("it did not succeed");
        }
        let digest = copied.image_digest.as_deref();
        let kind = ChangeKind::ImagePushed {
            digest: parse("image-digest", digest.unwrap_or_default())?,
            tag: parse_tag("image-tag", copied.image_tag.as_deref())?,
            content: Content::default(),
        };
        changes([event.change(&copied.repository_name, kind)?])
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ImageScan {
    scan_status: String,
    repository_name: String,
    image_digest: String,
    finding_severity_counts: Option<BTreeMap<String, i64>>,
}

impl ImageScan {
    fn meaning(event: &Event) -> Result<Meaning, MalformedEvent> {
        let event_scan: Self = decode(&event.detail)?;
        let counts = event_scan.finding_severity_counts;
        if counts.as_ref().is_some_and(|counts| counts.contains_key("")) {
            return Err(not_valid("finding-severity-counts", "a severity has no name"));
        }
        let scan = match event_scan.scan_status.as_str() {
            "COMPLETE" => Scan::complete(parse("time", &event.time)?, counts),
            // A scan that failed found nothing, and did not complete at the event's time.
            status => Scan {
                findings: counts.filter(|counts| !counts.is_empty()).map(|counts| {
                    FindingsSummary {
                        finding_severity_counts: Some(counts),
                        ..FindingsSummary::default()
                    }
                }),
                ..Scan::with_status(status)
            },
        };
        let digest = parse("image-digest", &event_scan.image_digest)?;
        let kind = ChangeKind::ImageScanned { digest, scan };
        changes([event.change(&event_scan.repository_name, kind)?])
    }
}
