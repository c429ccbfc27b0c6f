//! CNCF distribution: notifications of versions 2.8 and 3.
//!
//! <https://distribution.github.io/distribution/about/notifications/>
//!
//! Pushes of blobs are no images. An event has the manifest's size but not the image's; that comes
//! from `references`, which a registry sends if it is told to (`includereferences`), else from the
//! manifest.

use catalog::change::Content;
use catalog::{Change, ChangeKind, Digest, RegistryId, Repository, Tag};
use serde::Deserialize;
use serde_json::Value;

use crate::ingest::{MalformedEvent, Meaning, parse};
use crate::manifest::{ManifestKind, ManifestLocation, USER_AGENT};

#[derive(Deserialize)]
struct Event {
    timestamp: String,
    action: String,
    target: Target,
    #[serde(default)]
    request: Request,
}

#[derive(Default, Deserialize)]
struct Request {
    method: Option<String>,
    #[serde(rename = "useragent")]
    user_agent: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    repository: String,
    media_type: Option<String>,
    artifact_type: Option<String>,
    digest: Option<String>,
    tag: Option<String>,
    url: Option<String>,
    references: Option<Vec<Reference>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    media_type: Option<String>,
    size: i64,
    digest: String,
}

/// What kind of event it is, for the metrics: one of a few, whatever the event says.
pub(crate) fn event_type(event: &Value) -> &'static str {
    match event.get("action").and_then(Value::as_str) {
        Some("push") => "distribution push",
        Some("pull") => "distribution pull",
        Some("delete") => "distribution delete",
        Some("mount") => "distribution mount",
        _ => "other",
    }
}

/// What an event means, for the registry id that its registry stands for.
///
/// # Errors
/// It lacks what such an event must have.
pub fn interpret(event: &Value, registry: &RegistryId) -> Result<Meaning, MalformedEvent> {
    let event = Event::deserialize(event).map_err(|error| MalformedEvent(error.to_string()))?;
    let target = &event.target;
    let kind = target.media_type.as_deref().and_then(ManifestKind::of_media_type);
    let digest = || -> Result<Digest, MalformedEvent> {
        parse("target.digest", target.digest.as_deref().unwrap_or_default())
    };
    let tag = || -> Result<Option<Tag>, MalformedEvent> {
        target.tag.as_deref().filter(|tag| !tag.is_empty()).map(|tag| parse("target.tag", tag)).transpose()
    };
    let change = |kind| -> Result<Change, MalformedEvent> {
        Ok(Change {
            repository: Repository {
                registry: registry.clone(),
                name: parse("target.repository", &target.repository)?,
            },
            time: parse("timestamp", &event.timestamp)?,
            kind,
        })
    };
    let meaning = match (event.action.as_str(), kind) {
        ("push" | "pull", None) => Meaning::Ignored("a blob, not a manifest".to_owned()),
        ("push", Some(kind)) => {
            let content = target.content(kind)?;
            let is_complete = content.size_in_bytes.is_some() || content.manifests.is_some();
            let digest = digest()?;
            let location = target.url.as_deref().and_then(|url| {
                ManifestLocation::of_url(url, &target.repository, &digest).filter(|_| !is_complete)
            });
            let change = change(ChangeKind::ImagePushed { digest, tag: tag()?, content })?;
            match location {
                Some(location) => Meaning::Incomplete(Box::new(change), location),
                None => Meaning::Changes(vec![change]),
            }
        }
        ("pull", Some(_)) if event.request.method.as_deref() == Some("HEAD") => {
            Meaning::Ignored("a look whether the manifest is there".to_owned())
        }
        ("pull", Some(_)) if event.request.user_agent.as_deref() == Some(USER_AGENT) => {
            Meaning::Ignored("the catalog's own pull of a manifest".to_owned())
        }
        ("pull", Some(_)) => Meaning::Changes(vec![change(ChangeKind::ImagePulled { digest: digest()? })?]),
        ("delete", _) => {
            let kind = match (&target.digest, tag()?) {
                (None, Some(tag)) => ChangeKind::TagDeleted { tag },
                _ => ChangeKind::ImageDeleted { digest: digest()? },
            };
            Meaning::Changes(vec![change(kind)?])
        }
        (other, _) => Meaning::Ignored(format!("the action {other}")),
    };
    Ok(meaning)
}

impl Target {
    fn content(&self, kind: ManifestKind) -> Result<Content, MalformedEvent> {
        let mut content = Content {
            manifest_media_type: self.media_type.clone(),
            artifact_media_type: self.artifact_type.clone(),
            ..Content::default()
        };
        let references = self.references.as_deref().unwrap_or_default();
        match (kind, references) {
            (_, []) | (ManifestKind::Legacy, _) => {}
            (ManifestKind::Index, manifests) => {
                let digest = |manifest: &Reference| parse("target.references.digest", &manifest.digest);
                content.manifests = Some(manifests.iter().map(digest).collect::<Result<_, _>>()?);
            }
            // The configuration comes first, then the layers.
            (ManifestKind::Image, [configuration, ..]) => {
                content.size_in_bytes = references.iter().map(|part| part.size).try_fold(0, i64::checked_add);
                content.artifact_media_type =
                    content.artifact_media_type.or(configuration.media_type.clone());
            }
        }
        Ok(content)
    }
}
