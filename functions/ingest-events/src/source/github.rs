//! GitHub Packages: the webhooks `package` and `registry_package` of container images. They contain
//! everything but the time.
//!
//! <https://docs.github.com/en/webhooks/webhook-events-and-payloads#registry_package>

use catalog::change::Content;
use catalog::{Change, ChangeKind, Digest};
use registries::manifest::{ManifestKind, total_size};
use serde::Deserialize;
use serde_json::Value;

use super::{Interpreted, MalformedEvent, Meaning, Origin, change, ignored, parse, parse_tag};

#[derive(Deserialize)]
struct Event {
    action: String,
    #[serde(alias = "registry_package")]
    package: Package,
}

#[derive(Deserialize)]
struct Package {
    package_version: Option<PackageVersion>,
}

#[derive(Deserialize)]
struct PackageVersion {
    /// `ghcr.io/OWNER/NAME:TAG`
    package_url: String,
    container_metadata: Option<ContainerMetadata>,
}

#[derive(Deserialize)]
struct ContainerMetadata {
    tag: Option<TagMetadata>,
    manifest: Option<Manifest>,
}

#[derive(Deserialize)]
struct TagMetadata {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Manifest {
    digest: String,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Descriptor {
    media_type: Option<String>,
    size: Option<i64>,
}

pub(super) fn interpret(event: &Value, origin: &Origin) -> Interpreted {
    const LABEL: &str = "github package";
    // GitHub sends a ping when a webhook is created.
    if event.get("zen").is_some() {
        return Interpreted::new(LABEL, Ok(Meaning::Test));
    }
    // A webhook may be of all events.
    if event.get("package").or(event.get("registry_package")).is_none() {
        return Interpreted::new("other", ignored("it is not about a package"));
    }
    Interpreted::decoded(event, LABEL, |event: Event| {
        Interpreted::new(LABEL, event.meaning(origin))
    })
}

impl Event {
    fn meaning(self, origin: &Origin) -> Result<Meaning, MalformedEvent> {
        if !matches!(self.action.as_str(), "published" | "updated") {
            return ignored(format!("the action {}", self.action));
        }
        let Some(version) = self.package.package_version else { return ignored("no version") };
        let Some(ContainerMetadata { tag, manifest: Some(manifest) }) = version.container_metadata
        else {
            return ignored("no container image");
        };
        // The host comes before the name, the tag after it. Names are in lower case, whatever the
        // owner's is.
        let name = version.package_url.split_once('/').map_or("", |(_, name)| name).to_lowercase();
        let name = name.rsplit_once(':').map_or(name.as_str(), |(name, _)| name);
        let digest: Digest = parse("digest", &manifest.digest)?;
        let tag = tag.and_then(|tag| tag.name);
        change(Change {
            repository: origin.repository("package_url", name)?,
            time: origin.received_at,
            kind: ChangeKind::ImagePushed {
                digest,
                tag: parse_tag("tag.name", tag.as_deref())?,
                content: manifest.content(),
            },
        })
    }
}

impl Manifest {
    fn content(&self) -> Content {
        let is_image = self.media_type.as_deref().and_then(ManifestKind::from_media_type)
            == Some(ManifestKind::Image);
        let parts = self.config.iter().chain(self.layers.iter().flatten());
        let sizes: Option<Vec<i64>> = parts.map(|part| part.size).collect();
        let size = sizes.and_then(|sizes| total_size(sizes.into_iter()));
        Content {
            manifest_media_type: self.media_type.clone(),
            artifact_media_type: self.config.as_ref().and_then(|config| config.media_type.clone()),
            size_in_bytes: size.filter(|_| is_image && self.config.is_some()),
            ..Content::default()
        }
    }
}
