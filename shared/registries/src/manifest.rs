//! Manifests: what their bytes contain.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/manifest.md>

use catalog::change::Content;
use catalog::image::INDEX_MEDIA_TYPES;
use catalog::{Digest, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::credential::encode_hexadecimal;

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
struct Manifest<'a> {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Layer>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    /// Not decoded, because it may contain anything.
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Layer {
    /// In bytes.
    size: i64,
}

/// <https://github.com/opencontainers/image-spec/blob/main/annotations.md>
#[derive(Deserialize)]
struct Annotations {
    /// When the image was built.
    #[serde(rename = "org.opencontainers.image.created")]
    created: Option<String>,
}

/// What a manifest refers to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: Option<String>,
    pub digest: Digest,
    /// In bytes.
    pub size: i64,
}

/// The manifest, with what it contains of the time of its image.
pub(crate) struct Read {
    pub(crate) content: Content,
    /// The annotation of a manifest or an index.
    pub(crate) created: Option<Timestamp>,
    pub(crate) configuration: Option<Descriptor>,
}

/// Parses the bytes of a manifest after it verified their digest.
pub fn read(digest: &Digest, bytes: &[u8]) -> Result<Content, InvalidManifest> {
    Ok(read_all(digest, bytes)?.content)
}

pub(crate) fn read_all(digest: &Digest, bytes: &[u8]) -> Result<Read, InvalidManifest> {
    if digest_of(digest, bytes).as_ref() != Some(digest) {
        return Err(InvalidManifest::Digest(digest.clone()));
    }
    let manifest: Manifest = serde_json::from_slice(bytes)?;
    let size_in_bytes = manifest.config.as_ref().and_then(|config| {
        let layers = manifest.layers.iter().flatten().map(|layer| layer.size);
        total_size(layers.chain([config.size]))
    });
    let content = Content {
        manifest_media_type: manifest.media_type,
        artifact_media_type: manifest
            .artifact_type
            .or(manifest.config.as_ref().and_then(|config| config.media_type.clone())),
        size_in_bytes,
        manifests: manifest
            .manifests
            .map(|manifests| manifests.into_iter().map(|manifest| manifest.digest).collect()),
        subject: manifest.subject.map(|subject| subject.digest),
    };
    let annotations =
        manifest.annotations.and_then(|all| serde_json::from_str::<Annotations>(all.get()).ok());
    Ok(Read {
        content,
        created: annotations.and_then(|all| all.created?.parse().ok()),
        configuration: manifest.config,
    })
}

/// The sum of sizes in bytes. `None` if one of them is negative, or if the sum is too large.
pub fn total_size(mut sizes: impl Iterator<Item = i64>) -> Option<i64> {
    sizes.try_fold(0_i64, |sum, size| sum.checked_add(size).filter(|_| size >= 0))
}

/// The `created` of an image's configuration. `None` if it is absent or `null`, or if the bytes do
/// not have the digest.
///
/// <https://github.com/opencontainers/image-spec/blob/main/config.md>
pub(crate) fn created(digest: &Digest, configuration: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Configuration {
        created: Option<String>,
    }
    if digest_of(digest, configuration).as_ref() != Some(digest) {
        return None;
    }
    let configuration: Configuration = serde_json::from_slice(configuration).ok()?;
    configuration.created?.parse().ok()
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
    let hash = encode_hexadecimal(hash.as_ref());
    Digest::parse(&format!("{algorithm}:{hash}")).ok()
}
