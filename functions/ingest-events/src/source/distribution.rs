//! CNCF distribution: notifications of versions 2.8 and 3.
//!
//! <https://distribution.github.io/distribution/about/notifications/>
//!
//! Pushes of blobs are no images. An event has the manifest's size but not the image's; that comes
//! from `references`, which a registry sends if it is told to (`includereferences`), else from the
//! manifest.

use catalog::change::Content;
use catalog::{Change, ChangeKind, Digest, Tag};
use registries::distribution::USER_AGENT;
use registries::manifest::ManifestKind;
use registries::{Registry, RegistryAddress};
use serde::Deserialize;
use serde_json::Value;

use super::{MalformedEvent, Meaning, Origin, Statement, decode, ignored, parse, parse_tag};
use crate::question::Question;

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

/// What kind of event it is.
pub(super) fn event_type(event: &Value) -> &'static str {
    match event.get("action").and_then(Value::as_str) {
        Some("push") => "distribution push",
        Some("pull") => "distribution pull",
        Some("delete") => "distribution delete",
        Some("mount") => "distribution mount",
        _ => "other",
    }
}

/// What an event means.
///
/// # Errors
/// It lacks what such an event must have.
pub(super) fn interpret(event: &Value, origin: &Origin) -> Result<Meaning, MalformedEvent> {
    let event: Event = decode(event)?;
    let target = &event.target;
    let kind = target.media_type.as_deref().and_then(ManifestKind::of_media_type);
    let digest = || -> Result<Digest, MalformedEvent> {
        parse("target.digest", target.digest.as_deref().unwrap_or_default())
    };
    let tag = || -> Result<Option<Tag>, MalformedEvent> {
        parse_tag("target.tag", target.tag.as_deref())
    };
    let change = |kind| -> Result<Change, MalformedEvent> {
        Ok(Change {
            repository: origin.repository("target.repository", &target.repository)?,
            time: parse("timestamp", &event.timestamp)?,
            kind,
        })
    };
    let stated = |kind| Ok(Meaning::Statements(vec![Statement::Change(change(kind)?)]));
    match (event.action.as_str(), kind) {
        ("push" | "pull", None) => ignored("a blob, not a manifest"),
        ("push", Some(kind)) => {
            let (digest, tag, content) = (digest()?, tag()?, target.content(kind)?);
            let is_complete = content.size_in_bytes.is_some() || content.manifests.is_some();
            // Of its own address, only scheme, host and port are used.
            let told = || RegistryAddress::of_url(target.url.as_deref()?);
            let address = origin.registry_address(None).or_else(told).filter(|_| !is_complete);
            let Some(address) = address else {
                return stated(ChangeKind::ImagePushed { digest, tag, content });
            };
            Ok(Meaning::Statements(vec![Statement::Push(Question {
                repository: origin.repository("target.repository", &target.repository)?,
                registry: Registry::Distribution(address),
                name: target.repository.clone(),
                digest: Some(digest),
                tag,
                manifest_media_type: content.manifest_media_type,
                artifact_media_type: content.artifact_media_type,
                time: parse("timestamp", &event.timestamp)?,
            })]))
        }
        ("pull", Some(_)) if event.request.method.as_deref() == Some("HEAD") => {
            ignored("a look whether the manifest is there")
        }
        ("pull", Some(_)) if event.request.user_agent.as_deref() == Some(USER_AGENT) => {
            ignored("the catalog's own pull of a manifest")
        }
        ("pull", Some(_)) => stated(ChangeKind::ImagePulled { digest: digest()? }),
        ("delete", _) => stated(match (&target.digest, tag()?) {
            (None, Some(tag)) => ChangeKind::TagDeleted { tag },
            _ => ChangeKind::ImageDeleted { digest: digest()? },
        }),
        (other, _) => ignored(format!("the action {other}")),
    }
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
                let digest =
                    |manifest: &Reference| parse("target.references.digest", &manifest.digest);
                content.manifests = Some(manifests.iter().map(digest).collect::<Result<_, _>>()?);
            }
            // The configuration comes first, then the layers.
            (ManifestKind::Image, [configuration, ..]) => {
                content.size_in_bytes =
                    references.iter().map(|part| part.size).try_fold(0, i64::checked_add);
                content.artifact_media_type =
                    content.artifact_media_type.or(configuration.media_type.clone());
            }
        }
        Ok(content)
    }
}
