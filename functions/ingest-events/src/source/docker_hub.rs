//! Docker Hub: its webhook tells of a push of a tag, but not of what was pushed.
//!
//! <https://docs.docker.com/docker-hub/repos/manage/webhooks/>

use serde::Deserialize;
use serde_json::Value;

use super::{MalformedEvent, Meaning, Origin, Push, decode, parse, parse_seconds};

/// Where Docker Hub's repositories are.
const HOST: &str = "registry-1.docker.io";

#[derive(Deserialize)]
struct Event {
    push_data: PushData,
    repository: Repository,
}

#[derive(Deserialize)]
struct PushData {
    pushed_at: f64,
    tag: String,
}

#[derive(Deserialize)]
struct Repository {
    repo_name: String,
}

/// What an event means.
///
/// # Errors
/// It lacks what such an event must have.
pub(super) fn interpret(event: &Value, origin: &Origin) -> Result<Meaning, MalformedEvent> {
    let event: Event = decode(event)?;
    let push = Push {
        name: event.repository.repo_name,
        digest: None,
        tag: Some(parse("tag", &event.push_data.tag)?),
        time: parse_seconds("pushed_at", event.push_data.pushed_at)?,
    };
    Ok(Meaning::Statements(origin.push(push, Some(HOST))?.into_iter().collect()))
}
