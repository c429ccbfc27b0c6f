//! CNCF distribution: the notifications of versions 2.8 and 3.
//!
//! Pushes of blobs are not images. An event contains the size of the manifest, but not of the
//! image. That follows from `references`, which a registry sends if `includereferences` is set, or
//! else from the manifest.
//!
//! <https://distribution.github.io/distribution/about/notifications/>

use catalog::change::Content;
use catalog::{Change, ChangeKind, Digest, Tag};
use registries::manifest::{ManifestKind, total_size};
use registries::oci::USER_AGENT;
use registries::{Registry, RegistryAddress};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{
    Effect, Interpreted, MalformedEvent, Meaning, Origin, change, effects, ignored, parse,
    parse_tag,
};
use crate::lookup::Lookup;

#[derive(Deserialize)]
struct Event {
    timestamp: String,
    action: Action,
    target: Target,
    #[serde(default)]
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Push,
    Pull,
    Delete,
    Mount,
    #[serde(untagged)]
    Other(String),
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

pub(super) fn interpret(event: &Value, origin: &Origin) -> Interpreted {
    Interpreted::decoded(event, "distribution", |event: Event| {
        let label = match event.action {
            Action::Push => "distribution push",
            Action::Pull => "distribution pull",
            Action::Delete => "distribution delete",
            Action::Mount => "distribution mount",
            Action::Other(_) => "other",
        };
        Interpreted::new(label, event.meaning(origin))
    })
}

impl Event {
    fn meaning(&self, origin: &Origin) -> Result<Meaning, MalformedEvent> {
        let kind = self.target.media_type.as_deref().and_then(ManifestKind::from_media_type);
        match (&self.action, kind) {
            (Action::Push | Action::Pull, None) => ignored("a blob, not a manifest"),
            (Action::Push, Some(kind)) => self.push(kind, origin),
            (Action::Pull, Some(_)) if self.request.method.as_deref() == Some("HEAD") => {
                ignored("a request for the headers of a manifest")
            }
            (Action::Pull, Some(_)) if self.request.user_agent.as_deref() == Some(USER_AGENT) => {
                ignored("the catalog's own pull of a manifest")
            }
            (Action::Pull, Some(_)) => {
                self.change(origin, ChangeKind::ImagePulled { digest: self.digest()? })
            }
            (Action::Delete, _) => match (&self.target.digest, self.tag()?) {
                (None, Some(tag)) => self.change(origin, ChangeKind::TagDeleted { tag }),
                _ => self.change(origin, ChangeKind::ImageDeleted { digest: self.digest()? }),
            },
            (Action::Mount, _) => ignored("the action mount"),
            (Action::Other(name), _) => ignored(format!("the action {name}")),
        }
    }

    fn push(&self, kind: ManifestKind, origin: &Origin) -> Result<Meaning, MalformedEvent> {
        let (digest, tag, content) = (self.digest()?, self.tag()?, self.target.content(kind)?);
        let is_complete = content.size_in_bytes.is_some() || content.manifests.is_some();
        let own_address =
            || RegistryAddress::from_url(&Url::parse(self.target.url.as_deref()?).ok()?);
        let address = origin.registry_address(None).or_else(own_address).filter(|_| !is_complete);
        let Some(address) = address else {
            return self.change(origin, ChangeKind::ImagePushed { digest, tag, content });
        };
        effects([Effect::Lookup(Lookup {
            repository: origin.repository("target.repository", &self.target.repository)?,
            registry: Registry::Oci(address),
            name: self.target.repository.clone(),
            digest: Some(digest),
            tag,
            manifest_media_type: content.manifest_media_type,
            artifact_media_type: content.artifact_media_type,
            time: parse("timestamp", &self.timestamp)?,
        })])
    }

    fn change(&self, origin: &Origin, kind: ChangeKind) -> Result<Meaning, MalformedEvent> {
        change(Change {
            repository: origin.repository("target.repository", &self.target.repository)?,
            time: parse("timestamp", &self.timestamp)?,
            kind,
        })
    }

    fn digest(&self) -> Result<Digest, MalformedEvent> {
        parse("target.digest", self.target.digest.as_deref().unwrap_or_default())
    }

    fn tag(&self) -> Result<Option<Tag>, MalformedEvent> {
        parse_tag("target.tag", self.target.tag.as_deref())
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
                content.size_in_bytes = total_size(references.iter().map(|part| part.size));
                content.artifact_media_type =
                    content.artifact_media_type.or(configuration.media_type.clone());
            }
        }
        Ok(content)
    }
}
