//! Amazon ECR: EventBridge events of every detail-type, CloudTrail records, alone or inside
//! EventBridge events, and the CloudEvents that an input transformer makes of a push.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/logging-using-cloudtrail.html>

use std::collections::BTreeMap;

use catalog::change::Content;
use catalog::image::Scan;
use catalog::{Change, ChangeKind, Digest, Repository, Timestamp};
use registries::{Registry, manifest};
use serde::Deserialize;
use serde_json::Value;

use super::{MalformedEvent, Meaning, Origin, Statement, decode, ignored, parse, parse_tag};
use crate::question::Question;

/// What an event means to a catalog of one region.
///
/// # Errors
/// It is not of a known form, or lacks what its form demands.
pub(super) fn interpret(
    event: &Value,
    origin: &Origin,
    region: &str,
) -> Result<Meaning, MalformedEvent> {
    let has = |member: &str| event.get(member).is_some();
    if has("detail-type") {
        interpret_event(decode(event)?, region)
    } else if has("eventSource") && has("eventName") {
        interpret_record(decode(event)?, origin.registry.as_str(), region)
    } else if has("specversion") {
        interpret_cloud_event(decode(event)?, region)
    } else {
        Err(MalformedEvent(
            "neither an EventBridge event ('detail-type'), nor a CloudTrail record ('eventSource', 'eventName'), \
             nor a CloudEvent ('specversion')"
                .to_owned(),
        ))
    }
}

fn changes(changes: impl IntoIterator<Item = Change>) -> Result<Meaning, MalformedEvent> {
    Ok(Meaning::Statements(changes.into_iter().map(statement).collect()))
}

/// A push of which the size is not known leaves that open.
fn statement(change: Change) -> Statement {
    match change {
        Change { repository, time, kind: ChangeKind::ImagePushed { digest, tag, content } }
            if content.size_in_bytes.is_none() && content.manifests.is_none() =>
        {
            Statement::Push(Question {
                registry: Registry::Ecr(repository.registry.clone()),
                name: repository.name.as_str().to_owned(),
                repository,
                digest: Some(digest),
                tag,
                manifest_media_type: content.manifest_media_type,
                artifact_media_type: content.artifact_media_type,
                time,
            })
        }
        change => Statement::Change(change),
    }
}

/// What kind of event it is, in Amazon's words.
pub(super) fn event_type(event: &Value) -> &'static str {
    let detail_type = event.get("detail-type").and_then(Value::as_str);
    if let Some(known) = DETAIL_TYPES.into_iter().find(|known| detail_type == Some(known)) {
        known
    } else if event.get("eventName").is_some() {
        "CloudTrail record"
    } else if event.get("specversion").is_some() {
        "CloudEvent"
    } else {
        "other"
    }
}

const DETAIL_TYPES: [&str; 7] = [
    "ECR Image Action",
    "ECR Referrer Action",
    "ECR Replication Action",
    "ECR Pull Through Cache Action",
    "ECR Image Scan",
    "AWS API Call via CloudTrail",
    "AWS Service Event via CloudTrail",
];

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Event {
    detail_type: String,
    source: String,
    account: String,
    time: String,
    region: String,
    detail: Value,
}

fn interpret_event(event: Event, region: &str) -> Result<Meaning, MalformedEvent> {
    if event.detail_type.ends_with("via CloudTrail") {
        return interpret_record(decode(&event.detail)?, &event.account, region);
    }
    if event.source != "aws.ecr" {
        return ignored(format!("the source {}", event.source));
    }
    if event.region != region {
        return ignored(format!("the region {}", event.region));
    }
    match event.detail_type.as_str() {
        "ECR Image Action" | "ECR Referrer Action" => ImageAction::interpret(&event),
        "ECR Replication Action" => Copied::interpret(&event, |copied| copied.result.as_deref()),
        "ECR Pull Through Cache Action" => {
            Copied::interpret(&event, |copied| copied.sync_status.as_deref())
        }
        "ECR Image Scan" => ImageScan::interpret(&event),
        other => ignored(format!("the detail-type {other}")),
    }
}

impl Event {
    fn change(&self, repository_name: &str, kind: ChangeKind) -> Result<Change, MalformedEvent> {
        Ok(Change {
            repository: Repository {
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
    fn interpret(event: &Event) -> Result<Meaning, MalformedEvent> {
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
    fn interpret(
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
    fn interpret(event: &Event) -> Result<Meaning, MalformedEvent> {
        let scan: Self = decode(&event.detail)?;
        let kind = ChangeKind::ImageScanned {
            digest: parse("image-digest", &scan.image_digest)?,
            scan: Scan {
                status: scan.scan_status,
                finding_severity_counts: scan.finding_severity_counts,
                completed_at: parse("time", &event.time)?,
            },
        };
        changes([event.change(&scan.repository_name, kind)?])
    }
}

/// A CloudTrail record, of an API call or of a lifecycle policy's run.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_source: String,
    event_name: String,
    event_time: String,
    aws_region: String,
    error_code: Option<String>,
    recipient_account_id: Option<String>,
    #[serde(default)]
    request_parameters: Value,
    #[serde(default)]
    response_elements: Value,
    #[serde(default)]
    service_event_details: Value,
}

/// What a record means that came to this account.
fn interpret_record(
    record: Record,
    account: &str,
    region: &str,
) -> Result<Meaning, MalformedEvent> {
    if record.event_source != "ecr.amazonaws.com" {
        return ignored(format!("the source {}", record.event_source));
    }
    if record.aws_region != region {
        return ignored(format!("the region {}", record.aws_region));
    }
    if let Some(code) = &record.error_code {
        return ignored(format!("it failed with {code}"));
    }
    let kinds = match record.event_name.as_str() {
        "CreateRepository" => vec![ChangeKind::RepositoryCreated],
        "DeleteRepository" => vec![ChangeKind::RepositoryDeleted],
        "PutImage" => vec![record.put_image()?],
        "BatchDeleteImage" => record.batch_delete_image()?,
        "PolicyExecutionEvent" => record.policy_execution()?,
        other => return ignored(format!("the event {other}")),
    };
    let repository = record.repository(account)?;
    let time: Timestamp = parse("eventTime", &record.event_time)?;
    let change = |kind| Change { repository: repository.clone(), time, kind };
    changes(kinds.into_iter().map(change))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageId {
    image_digest: Option<String>,
    image_tag: Option<String>,
}

/// The images that one run of a lifecycle policy acted on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyExecution {
    lifecycle_event_policy: Option<LifecyclePolicy>,
    lifecycle_event_image_actions: Vec<LifecycleImageAction>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LifecyclePolicy {
    lifecycle_event_rules: Vec<LifecycleRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LifecycleRule {
    rule_priority: i64,
    action: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LifecycleImageAction {
    lifecycle_event_image: LifecycleImage,
    rule_priority: Option<i64>,
}

#[derive(Deserialize)]
struct LifecycleImage {
    digest: String,
}

impl Record {
    /// The first text at one of these places.
    fn text(&self, places: &[&str]) -> Option<&str> {
        let roots =
            [&self.response_elements, &self.request_parameters, &self.service_event_details];
        places.iter().find_map(|place| roots.iter().find_map(|root| root.pointer(place)?.as_str()))
    }

    fn repository(&self, account: &str) -> Result<Repository, MalformedEvent> {
        let name =
            self.text(&["/repository/repositoryName", "/image/repositoryName", "/repositoryName"]);
        let registry = self
            .text(&["/repository/registryId", "/image/registryId", "/registryId"])
            .or(self.recipient_account_id.as_deref());
        Ok(Repository {
            registry: parse("registryId", registry.unwrap_or(account))?,
            name: parse("repositoryName", name.unwrap_or_default())?,
        })
    }

    fn put_image(&self) -> Result<ChangeKind, MalformedEvent> {
        let id = |name: &str| self.text(&[&format!("/image/imageId/{name}")]);
        let digest: Digest = parse("imageDigest", id("imageDigest").unwrap_or_default())?;
        let manifest = self.text(&["/image/imageManifest", "/imageManifest"]);
        let mut content = manifest
            .and_then(|text| manifest::read(&digest, text.as_bytes()).ok())
            .unwrap_or_default();
        let media_type = self.text(&["/image/imageManifestMediaType", "/imageManifestMediaType"]);
        content.manifest_media_type = content.manifest_media_type.or(media_type.map(str::to_owned));
        let tag = id("imageTag").or(self.text(&["/imageTag"]));
        Ok(ChangeKind::ImagePushed { digest, tag: parse_tag("imageTag", tag)?, content })
    }

    /// What was deleted is in the reply. Of an image that was asked for by its digest, the reply
    /// may name the tags, too; it is gone as a whole all the same.
    fn batch_delete_image(&self) -> Result<Vec<ChangeKind>, MalformedEvent> {
        let image_ids = |root: &Value| -> Result<Vec<ImageId>, MalformedEvent> {
            root.get("imageIds").map_or(Ok(Vec::new()), decode)
        };
        let by_digest: Vec<String> = image_ids(&self.request_parameters)?
            .into_iter()
            .filter(|id| id.image_tag.is_none())
            .filter_map(|id| id.image_digest)
            .collect();
        image_ids(&self.response_elements)?
            .into_iter()
            .map(|id| {
                let text = id.image_digest.unwrap_or_default();
                let digest = parse("imageDigest", &text)?;
                Ok(match parse_tag("imageTag", id.image_tag.as_deref())? {
                    Some(tag) if !by_digest.contains(&text) => {
                        ChangeKind::ImageUntagged { digest, tag }
                    }
                    _ => ChangeKind::ImageDeleted { digest },
                })
            })
            .collect()
    }

    fn policy_execution(&self) -> Result<Vec<ChangeKind>, MalformedEvent> {
        let execution: PolicyExecution = decode(&self.service_event_details)?;
        let rules = execution
            .lifecycle_event_policy
            .map(|policy| policy.lifecycle_event_rules)
            .unwrap_or_default();
        let expires = |action: &&LifecycleImageAction| {
            let rule = rules.iter().find(|rule| Some(rule.rule_priority) == action.rule_priority);
            rule.and_then(|rule| rule.action.as_deref())
                .is_none_or(|action| action.eq_ignore_ascii_case("expire"))
        };
        execution
            .lifecycle_event_image_actions
            .iter()
            .filter(expires)
            .map(|action| {
                Ok(ChangeKind::ImageDeleted {
                    digest: parse("digest", &action.lifecycle_event_image.digest)?,
                })
            })
            .collect()
    }
}

#[derive(Deserialize)]
struct CloudEvent {
    #[serde(rename = "type")]
    kind: String,
    source: String,
    time: String,
    data: CloudEventData,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CloudEventData {
    registry_id: String,
    repository_name: String,
    image_digest: String,
    image_tag: Option<String>,
}

fn interpret_cloud_event(event: CloudEvent, region: &str) -> Result<Meaning, MalformedEvent> {
    let mut source = event.source.split(':').skip_while(|part| *part != "ecr").skip(1);
    if let Some(other) = source.next()
        && other != region
    {
        return ignored(format!("the region {other}"));
    }
    if event.kind != "com.amazon.ecr.image.push" {
        return ignored(format!("the type {}", event.kind));
    }
    let data = event.data;
    changes([Change {
        repository: Repository {
            registry: parse("registryId", &data.registry_id)?,
            name: parse("repositoryName", &data.repository_name)?,
        },
        time: parse("time", &event.time)?,
        kind: ChangeKind::ImagePushed {
            digest: parse("imageDigest", &data.image_digest)?,
            tag: parse_tag("imageTag", data.image_tag.as_deref())?,
            content: Content::default(),
        },
    }])
}
