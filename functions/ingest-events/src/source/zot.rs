//! zot: CloudEvents. `receive-webhook` converts those in binary form to the structured form.
//!
//! <https://zotregistry.dev/latest/articles/events/>

use std::collections::BTreeMap;

use catalog::change::Content;
use catalog::image::Scan;
use catalog::{Change, ChangeKind, Digest, RepositoryStatement, Timestamp};
use registries::manifest;
use serde::Deserialize;
use serde_json::Value;

use super::{Interpreted, MalformedEvent, Meaning, Origin, change, decode, ignored, parse};

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    event_type: EventType,
    time: String,
    #[serde(default)]
    data: Value,
}

#[derive(Deserialize)]
enum EventType {
    #[serde(rename = "zotregistry.image.updated")]
    Push,
    #[serde(rename = "zotregistry.image.deleted")]
    Delete,
    #[serde(rename = "zotregistry.image.scanned")]
    Scan,
    #[serde(rename = "zotregistry.repository.created")]
    Repository,
    #[serde(untagged)]
    Other(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    name: String,
    reference: Option<String>,
    digest: Option<String>,
    media_type: Option<String>,
    manifest: Option<String>,
    summary: Option<BTreeMap<String, Value>>,
}

pub(super) fn interpret(event: &Value, origin: &Origin) -> Interpreted {
    Interpreted::decoded(event, "zot", |event: Event| {
        let label = match event.event_type {
            EventType::Push => "zot push",
            EventType::Delete => "zot delete",
            EventType::Scan => "zot scan",
            EventType::Repository => "zot repository",
            EventType::Other(_) => "other",
        };
        Interpreted::new(label, event.meaning(origin))
    })
}

impl Event {
    fn meaning(self, origin: &Origin) -> Result<Meaning, MalformedEvent> {
        if let EventType::Other(name) = &self.event_type {
            return ignored(format!("the type {name}"));
        }
        let time: Timestamp = parse("time", &self.time)?;
        let data: Data = decode(&self.data)?;
        let repository = origin.repository("name", &data.name)?;
        let digest = || parse::<Digest>("digest", data.digest.as_deref().unwrap_or_default());
        let reference = data.reference.as_deref().unwrap_or_default();
        // A tag has no colon.
        let is_digest = reference.contains(':');
        let kind = match self.event_type {
            EventType::Push => {
                let digest = digest()?;
                let tag = if is_digest { None } else { Some(parse("reference", reference)?) };
                ChangeKind::ImagePushed { tag, content: data.content(&digest), digest }
            }
            EventType::Delete if is_digest || reference.is_empty() => {
                ChangeKind::ImageDeleted { digest: digest()? }
            }
            EventType::Delete => ChangeKind::TagDeleted { tag: parse("reference", reference)? },
            EventType::Scan => {
                ChangeKind::ImageScanned { digest: digest()?, scan: data.scan(time) }
            }
            EventType::Repository | EventType::Other(_) => {
                ChangeKind::RepositoryStated(RepositoryStatement {
                    created_at: Some(time),
                    ..RepositoryStatement::default()
                })
            }
        };
        change(Change { repository, time, kind })
    }
}

impl Data {
    fn content(&self, digest: &Digest) -> Content {
        let content = self
            .manifest
            .as_ref()
            .and_then(|text| manifest::read(digest, text.as_bytes()).ok())
            .unwrap_or_default();
        Content {
            manifest_media_type: content.manifest_media_type.or_else(|| self.media_type.clone()),
            ..content
        }
    }

    /// The summary with Amazon ECR's severities.
    fn scan(&self, completed_at: Timestamp) -> Scan {
        let severities = [
            ("criticalCount", "CRITICAL"),
            ("highCount", "HIGH"),
            ("mediumCount", "MEDIUM"),
            ("lowCount", "LOW"),
            ("unknownCount", "UNDEFINED"),
        ];
        let counts = self.summary.as_ref().map(|summary| {
            severities
                .into_iter()
                .filter_map(|(name, severity)| {
                    Some((severity.to_owned(), summary.get(name)?.as_i64()?))
                })
                .filter(|(_, count)| *count > 0)
                .collect()
        });
        Scan::complete(completed_at, counts)
    }
}
