//! Manifests: what their bytes contain.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/manifest.md>

use catalog::Digest;
use catalog::change::Content;
use catalog::image::INDEX_MEDIA_TYPES;
use serde::Deserialize;

const IMAGE_MEDIA_TYPES: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
/// Docker's first schema: layers without sizes.
const LEGACY_MEDIA_TYPES: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// The `Accept` header of requests for manifests.
pub(crate) fn accepted() -> String {
    [IMAGE_MEDIA_TYPES, INDEX_MEDIA_TYPES].concat().join(", ")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestKind {
    /// A configuration and layers.
    Image,
    /// Manifests, one for each platform.
    Index,
    /// Docker's first schema, which contains no sizes.
    Legacy,
}

impl ManifestKind {
    /// `None` if it is not the media type of a manifest.
    #[must_use]
    pub fn from_media_type(media_type: &str) -> Option<Self> {
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

/// Why bytes are not the manifest of a digest.
#[derive(Debug, thiserror::Error)]
pub enum InvalidManifest {
    #[error("the manifest cannot be read")]
    Json(#[from] serde_json::Error),
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

/// Parses the bytes of a manifest after it verified their digest.
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
        artifact_media_type: manifest
            .artifact_type
            .or(manifest.config.and_then(|config| config.media_type)),
        size_in_bytes,
        manifests: manifest
            .manifests
            .map(|manifests| manifests.into_iter().map(|manifest| manifest.digest).collect()),
        subject: manifest.subject.map(|subject| subject.digest),
    })
}

/// The digest of bytes by the algorithm of another digest; `None` if the algorithm is unknown.
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
