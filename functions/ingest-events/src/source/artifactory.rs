//! JFrog Artifactory: the webhooks of the domain `docker`. They contain no time.
//!
//! <https://jfrog.com/help/r/jfrog-platform-administration-documentation/event-types>

use catalog::{Change, ChangeKind, Digest};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Interpreted, MalformedEvent, Meaning, Origin, Push, change, decode, effects, ignored, parse,
};

#[derive(Deserialize)]
struct Event {
    event_type: EventType,
    /// Earlier versions have its members beside `event_type`.
    data: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum EventType {
    Pushed,
    Deleted,
    #[serde(untagged)]
    Other(String),
}

#[derive(Deserialize)]
struct Data {
    repo_key: String,
    name: String,
    sha256: String,
    image_name: String,
    tag: String,
}

pub(super) fn interpret(event: &Value, origin: &Origin) -> Interpreted {
    Interpreted::decoded(event, "artifactory", |Event { event_type, data }| {
        let data = || decode::<Data>(data.as_ref().unwrap_or(event));
        match event_type {
            EventType::Pushed => {
                Interpreted::new("artifactory push", data().and_then(|data| data.pushed(origin)))
            }
            EventType::Deleted => {
                Interpreted::new("artifactory delete", data().and_then(|data| data.deleted(origin)))
            }
            EventType::Other(name) => {
                Interpreted::new("other", ignored(format!("the event_type {name}")))
            }
        }
    })
}

impl Data {
    /// As it is pulled: `host/repo_key/image_name`.
    fn repository_name(&self) -> String {
        format!("{}/{}", self.repo_key, self.image_name)
    }

    /// Whether it has the placeholders that the button "Test" sends.
    fn is_test(&self) -> bool {
        self.repo_key == "sample_repo" && self.sha256 == "sample_checksum"
    }

    fn digest(&self) -> Result<Digest, MalformedEvent> {
        parse("sha256", &format!("sha256:{}", self.sha256))
    }

    fn pushed(&self, origin: &Origin) -> Result<Meaning, MalformedEvent> {
        if self.is_test() {
            return Ok(Meaning::Test);
        }
        let (digest, tag) = (Some(self.digest()?), Some(parse("tag", &self.tag)?));
        if !matches!(self.name.as_str(), "manifest.json" | "list.manifest.json") {
            return ignored(format!("the file {}", self.name));
        }
        let push = Push { name: self.repository_name(), digest, tag, time: origin.received_at };
        effects(origin.push(push, None)?)
    }

    fn deleted(&self, origin: &Origin) -> Result<Meaning, MalformedEvent> {
        if self.is_test() {
            return Ok(Meaning::Test);
        }
        change(Change {
            repository: origin.repository("image_name", &self.repository_name())?,
            time: origin.received_at,
            kind: ChangeKind::ImageUntagged {
                digest: self.digest()?,
                tag: parse("tag", &self.tag)?,
            },
        })
    }
}
