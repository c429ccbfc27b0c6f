//! Manifests: what their bytes tell of an image.
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

/// The media types of manifests that the catalog asks for.
pub(crate) fn accepted() -> String {
    [IMAGE_MEDIA_TYPES, INDEX_MEDIA_TYPES].concat().join(", ")
}

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
