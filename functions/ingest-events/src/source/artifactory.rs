//! JFrog Artifactory: the webhooks of the domain `docker`. They tell no time; it is that of their
//! arrival.
//!
//! <https://jfrog.com/help/r/jfrog-platform-administration-documentation/event-types>

use catalog::{Change, ChangeKind, Digest};
use serde::Deserialize;
use serde_json::Value;

use super::{MalformedEvent, Meaning, Origin, Push, Statement, decode, ignored, parse};

#[derive(Deserialize)]
struct Event {
    event_type: String,
    /// The rest is in it, or beside `event_type`.
    data: Option<Value>,
}

#[derive(Deserialize)]
struct Data {
    repo_key: String,
    name: String,
    sha256: String,
    image_name: String,
    tag: String,
}

/// What kind of event it is.
pub(super) fn event_type(event: &Value) -> &'static str {
    match event.get("event_type").and_then(Value::as_str) {
        Some("pushed") => "artifactory push",
        Some("deleted") => "artifactory delete",
        _ => "other",
    }
}

/// What an event means.
///
/// # Errors
/// It lacks what such an event must have.
pub(super) fn interpret(event: &Value, origin: &Origin) -> Result<Meaning, MalformedEvent> {
    let kind = event_type(event);
    let Event { event_type, data } = decode(event)?;
    if kind == "other" {
        return ignored(format!("the event_type {event_type}"));
    }
    let data: Data = decode(data.as_ref().unwrap_or(event))?;
    let digest: Digest = parse("sha256", &format!("sha256:{}", data.sha256))?;
    let tag = parse("tag", &data.tag)?;
    // As it is pulled: host/repo_key/image_name.
    let name = format!("{}/{}", data.repo_key, data.image_name);
    let time = origin.received_at;
    let statement = if kind == "artifactory delete" {
        let repository = origin.repository("image_name", &name)?;
        let kind = ChangeKind::ImageUntagged { digest, tag };
        Some(Statement::Change(Change { repository, time, kind }))
    } else {
        if !matches!(data.name.as_str(), "manifest.json" | "list.manifest.json") {
            return ignored(format!("the file {}", data.name));
        }
        origin.push(Push { name, digest: Some(digest), tag: Some(tag), time }, None)?
    };
    Ok(Meaning::Statements(statement.into_iter().collect()))
}
