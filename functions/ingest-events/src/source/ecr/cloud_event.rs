//! CloudEvents that an EventBridge input transformer makes of a push.

use catalog::change::Content;
use catalog::{Change, ChangeKind, Repository, Service};
use serde::Deserialize;

use super::changes;
use crate::source::{MalformedEvent, Meaning, ignored, parse, parse_tag};

#[derive(Deserialize)]
pub(super) struct CloudEvent {
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

impl CloudEvent {
    pub(super) fn meaning(self, region: &str) -> Result<Meaning, MalformedEvent> {
        let mut source = self.source.split(':').skip_while(|part| *part != "ecr").skip(1);
        if let Some(other) = source.next()
            && other != region
        {
            return ignored(format!("the region {other}"));
        }
        if self.kind != "com.amazon.ecr.image.push" {
            return ignored(format!("the type {}", self.kind));
        }
        let data = self.data;
        changes([Change {
            repository: Repository {
                service: Service::Ecr,
                registry: parse("registryId", &data.registry_id)?,
                name: parse("repositoryName", &data.repository_name)?,
            },
            time: parse("time", &self.time)?,
            kind: ChangeKind::ImagePushed {
                digest: parse("imageDigest", &data.image_digest)?,
                tag: parse_tag("imageTag", data.image_tag.as_deref())?,
                content: Content::default(),
            },
        }])
    }
}
