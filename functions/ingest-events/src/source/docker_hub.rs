//! Docker Hub: the webhook of a push. It contains the tag, but not the digest.
//!
//! <https://docs.docker.com/docker-hub/repos/manage/webhooks/>

use registries::Source;
use serde::Deserialize;
use serde_json::Value;

use super::{Interpreted, MalformedEvent, Meaning, Origin, Push, effects, parse, parse_seconds};

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

pub(super) fn interpret(event: &Value, origin: &Origin) -> Interpreted {
    const LABEL: &str = "docker-hub push";
    Interpreted::decoded(event, LABEL, |event: Event| {
        Interpreted::new(LABEL, event.meaning(origin))
    })
}

impl Event {
    fn meaning(self, origin: &Origin) -> Result<Meaning, MalformedEvent> {
        let push = Push {
            name: self.repository.repo_name,
            digest: None,
            tag: Some(parse("tag", &self.push_data.tag)?),
            time: parse_seconds("pushed_at", self.push_data.pushed_at)?,
        };
        effects(origin.push(push, Source::DockerHub.host())?)
    }
}
