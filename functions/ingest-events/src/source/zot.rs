//! zot: CloudEvents, in the structured form that `receive-webhook` gives those which come in binary
//! form.
//!
//! <https://zotregistry.dev/latest/articles/events/>

use std::collections::BTreeMap;

use catalog::change::Content;
use catalog::image::Scan;
use catalog::{Change, ChangeKind, Digest, Timestamp};
use registries::manifest;
use serde::Deserialize;
use serde_json::Value;

use super::{MalformedEvent, Meaning, Origin, Statement, decode, ignored, parse};

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    event_type: String,
    time: String,
    #[serde(default)]
    data: Value,
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

/// What kind of event it is.
pub(super) fn event_type(event: &Value) -> &'static str {
    match event.get("type").and_then(Value::as_str) {
        Some("zotregistry.image.updated") => "zot push",
        Some("zotregistry.image.deleted") => "zot delete",
        Some("zotregistry.image.scanned") => "zot scan",
        Some("zotregistry.repository.created") => "zot repository",
        _ => "other",
    }
}

/// What an event means.
///
/// # Errors
/// It lacks what such an event must have.
pub(super) fn interpret(event: &Value, origin: &Origin) -> Result<Meaning, MalformedEvent> {
    let kind = event_type(event);
    let event: Event = decode(event)?;
    if kind == "other" {
        return ignored(format!("the type {}", event.event_type));
    }
    let time: Timestamp = parse("time", &event.time)?;
    let data: Data = decode(&event.data)?;
    let repository = origin.repository("name", &data.name)?;
    let digest = || parse::<Digest>("digest", data.digest.as_deref().unwrap_or_default());
    let reference = data.reference.as_deref().unwrap_or_default();
    // A tag cannot be a digest: it has no colon.
    let is_digest = reference.contains(':');
    let kind = match kind {
        "zot push" => {
            let digest = digest()?;
            let tag = if is_digest { None } else { Some(parse("reference", reference)?) };
            ChangeKind::ImagePushed { tag, content: data.content(&digest), digest }
        }
        "zot delete" if is_digest || reference.is_empty() => {
            ChangeKind::ImageDeleted { digest: digest()? }
        }
        "zot delete" => ChangeKind::TagDeleted { tag: parse("reference", reference)? },
        "zot scan" => ChangeKind::ImageScanned { digest: digest()?, scan: data.scan(time) },
        _ => ChangeKind::RepositoryCreated,
    };
    Ok(Meaning::Statements(vec![Statement::Change(Change { repository, time, kind })]))
}

impl Data {
    fn content(&self, digest: &Digest) -> Content {
        let told =
            self.manifest.as_ref().and_then(|text| manifest::read(digest, text.as_bytes()).ok());
        let content = told.unwrap_or_default();
        Content {
            manifest_media_type: content.manifest_media_type.or_else(|| self.media_type.clone()),
            ..content
        }
    }

    /// The summary in Amazon ECR's words.
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
        Scan { status: "COMPLETE".to_owned(), finding_severity_counts: counts, completed_at }
    }
}
