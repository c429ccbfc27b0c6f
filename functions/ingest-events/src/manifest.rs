//! Manifests: what their bytes tell of an image, and how they are had from the registry.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/manifest.md>

use std::time::Duration;

use catalog::change::Content;
use catalog::{Change, ChangeKind, Digest};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use serde::Deserialize;
use url::Url;

const IMAGE_MEDIA_TYPES: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const INDEX_MEDIA_TYPES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
/// Docker's first schema: layers without sizes.
const LEGACY_MEDIA_TYPES: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// How the catalog introduces itself to registries, which tell of its own requests, too.
pub(crate) const USER_AGENT: &str = concat!("image-catalog/", env!("CARGO_PKG_VERSION"));

/// How long a registry may take to give a manifest.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a manifest is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestKind {
    /// One image: a configuration and layers.
    Image,
    /// Several manifests, one for each platform.
    Index,
    /// One image, in a form that does not tell its size.
    Legacy,
}

impl ManifestKind {
    /// The kind of a media type; nothing for what is no manifest.
    #[must_use]
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        [
            (Self::Image, IMAGE_MEDIA_TYPES),
            (Self::Index, INDEX_MEDIA_TYPES),
            (Self::Legacy, LEGACY_MEDIA_TYPES),
        ]
        .into_iter()
        .find(|(_, media_types)| media_types.contains(&media_type))
        .map(|(kind, _)| kind)
    }
}

/// Bytes that are not the manifest they are taken for.
#[derive(Debug, thiserror::Error)]
pub enum InvalidManifest {
    /// Not JSON, or a member of the wrong type.
    #[error("the manifest cannot be read: {0}")]
    Form(#[from] serde_json::Error),
    /// They have another digest.
    #[error("the manifest's bytes do not have the digest {0}")]
    Digest(Digest),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: Option<String>,
    digest: Digest,
    size: i64,
}

/// Reads a manifest's bytes, once they are known to be the ones that the digest names.
///
/// # Errors
/// They are not, or cannot be understood.
pub fn read(digest: &Digest, bytes: &[u8]) -> Result<Content, InvalidManifest> {
    if digest_of(digest, bytes).as_ref() != Some(digest) {
        return Err(InvalidManifest::Digest(digest.clone()));
    }
    let manifest: Manifest = serde_json::from_slice(bytes)?;
    let size_in_bytes = manifest.config.as_ref().and_then(|config| {
        let layers = manifest.layers.iter().flatten().map(|layer| layer.size);
        layers.chain([config.size]).try_fold(0, i64::checked_add)
    });
    Ok(Content {
        manifest_media_type: manifest.media_type,
        artifact_media_type: manifest.artifact_type.or(manifest.config.and_then(|config| config.media_type)),
        size_in_bytes,
        manifests: manifest
            .manifests
            .map(|manifests| manifests.into_iter().map(|manifest| manifest.digest).collect()),
        subject: manifest.subject.map(|subject| subject.digest),
    })
}

/// The digest of bytes by the algorithm of another digest; nothing if the algorithm is unknown.
fn digest_of(like: &Digest, bytes: &[u8]) -> Option<Digest> {
    use aws_lc_rs::digest::{SHA256, SHA512, digest};
    let (algorithm, _) = like.as_str().split_once(':')?;
    let hash = match algorithm {
        "sha256" => digest(&SHA256, bytes),
        "sha512" => digest(&SHA512, bytes),
        _ => return None,
    };
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Digest::parse(&format!("{algorithm}:{hash}")).ok()
}

/// Where a manifest can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestLocation {
    encrypted: bool,
    reference: Box<Reference>,
}

impl ManifestLocation {
    /// A location from the address that a notification gives. Of the address only scheme, host and
    /// port are used; nothing if it has none.
    #[must_use]
    pub fn of_url(url: &str, repository: &str, digest: &Digest) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let encrypted = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str()?),
            None => url.host_str()?.to_owned(),
        };
        let reference = Reference::with_digest(host, repository.to_owned(), digest.to_string());
        Some(Self { encrypted, reference: Box::new(reference) })
    }
}

/// The registries that manifests are fetched from.
pub struct Registries {
    encrypted: Client,
    plain: Client,
}

impl std::fmt::Debug for Registries {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Registries")
    }
}

impl Default for Registries {
    fn default() -> Self {
        Self::new()
    }
}

impl Registries {
    /// Clients that ask without credentials.
    #[must_use]
    pub fn new() -> Self {
        let client = |protocol| {
            Client::new(ClientConfig {
                protocol,
                connect_timeout: Some(TIMEOUT),
                read_timeout: Some(TIMEOUT),
                user_agent: USER_AGENT,
                ..ClientConfig::default()
            })
        };
        Self { encrypted: client(ClientProtocol::Https), plain: client(ClientProtocol::Http) }
    }

    /// Adds to a push what its manifest tells. If the manifest cannot be had, the push stays as it
    /// is: an image of unknown size.
    pub async fn complete(&self, mut change: Change, location: &ManifestLocation) -> Change {
        if let ChangeKind::ImagePushed { digest, content, .. } = &mut change.kind {
            match self.fetch(digest, location).await {
                Ok(fetched) => {
                    content.artifact_media_type =
                        content.artifact_media_type.take().or(fetched.artifact_media_type);
                    content.size_in_bytes = fetched.size_in_bytes;
                    content.manifests = fetched.manifests;
                    content.subject = fetched.subject;
                }
                Err(error) => {
                    let manifest = location.reference.whole();
                    tracing::warn!(
                        manifest,
                        error,
                        "the manifest cannot be had, so the image's size stays unknown"
                    );
                }
            }
        }
        change
    }

    async fn fetch(&self, digest: &Digest, location: &ManifestLocation) -> Result<Content, String> {
        let client = if location.encrypted { &self.encrypted } else { &self.plain };
        let media_types = [IMAGE_MEDIA_TYPES, INDEX_MEDIA_TYPES].concat();
        let pull = client.pull_manifest_raw(&location.reference, &RegistryAuth::Anonymous, &media_types);
        let (bytes, _) = tokio::time::timeout(TIMEOUT, pull)
            .await
            .map_err(|_| "the registry took too long".to_owned())?
            .map_err(|error| error.to_string())?;
        read(digest, &bytes).map_err(|error| error.to_string())
    }
}
