//! Quay: the notification of a push to a repository. It tells which tags were moved, but neither to
//! what nor when; the time is that of its arrival.
//!
//! <https://docs.quay.io/guides/notifications.html>

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{MalformedEvent, Meaning, Origin, Push, decode, ignored, parse};

/// Where quay.io's repositories are.
const HOST: &str = "quay.io";

#[derive(Deserialize)]
struct Event {
    repository: String,
    updated_tags: Option<Tags>,
}

/// A list today, once a map from the tags to what they point at.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tags {
    List(Vec<String>),
    Map(BTreeMap<String, Value>),
}

/// What an event means.
///
/// # Errors
/// It lacks what such an event must have.
pub(super) fn interpret(event: &Value, origin: &Origin) -> Result<Meaning, MalformedEvent> {
    let event: Event = decode(event)?;
    let tags = match event.updated_tags {
        None => return ignored("no push"),
        Some(Tags::List(tags)) => tags,
        Some(Tags::Map(tags)) => tags.into_keys().collect(),
    };
    let mut statements = Vec::new();
    for tag in tags {
        let push = Push {
            name: event.repository.clone(),
            digest: None,
            tag: Some(parse("updated_tags", &tag)?),
            time: origin.received_at,
        };
        statements.extend(origin.push(push, Some(HOST))?);
    }
    Ok(Meaning::Statements(statements))
}
