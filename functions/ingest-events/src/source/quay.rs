//! Quay: the notification of a push to a repository. It contains the tags that moved, but neither
//! their digests nor the time.
//!
//! <https://docs.quay.io/guides/notifications.html>

use std::collections::BTreeMap;

use registries::Source;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Interpreted, MalformedEvent, Meaning, Origin, Push, check_number, effects, ignored, parse,
};

#[derive(Deserialize)]
struct Event {
    repository: String,
    updated_tags: Option<Tags>,
    pruned_image_count: Option<u64>,
}

/// Quay sends a list. Earlier versions sent a map from tags to image ids.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tags {
    List(Vec<String>),
    Map(BTreeMap<String, Value>),
}

pub(super) fn interpret(event: &Value, origin: &Origin) -> Interpreted {
    const LABEL: &str = "quay push";
    Interpreted::decoded(event, LABEL, |event: Event| {
        Interpreted::new(LABEL, event.meaning(origin))
    })
}

impl Event {
    /// Whether it is what "Send test notification" sends: a push of tags that the repository may
    /// have, at a time at which nobody pushed them.
    ///
    /// <https://github.com/quay/quay/blob/master/notifications/notificationevent.py>
    fn is_test(&self) -> bool {
        let Some(Tags::List(tags)) = &self.updated_tags else { return false };
        tags == &["latest", "foo"] && self.pruned_image_count == Some(3)
    }

    fn meaning(self, origin: &Origin) -> Result<Meaning, MalformedEvent> {
        if self.is_test() {
            return Ok(Meaning::Test);
        }
        let tags = match self.updated_tags {
            None => return ignored("no push"),
            Some(Tags::List(tags)) => tags,
            Some(Tags::Map(tags)) => tags.into_keys().collect(),
        };
        let mut pushes = Vec::new();
        check_number(tags.len())?;
        for tag in tags {
            let push = Push {
                name: self.repository.clone(),
                digest: None,
                tag: Some(parse("updated_tags", &tag)?),
                time: origin.received_at,
            };
            pushes.extend(origin.push(push, Source::Quay.host())?);
        }
        effects(pushes)
    }
}
