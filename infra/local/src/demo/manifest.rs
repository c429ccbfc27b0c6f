//! Manifests of the sample images. Their digests and sizes follow from their names, so they are the
//! same at every start.

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";

/// A manifest, as a registry stores it.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) text: String,
    pub(super) digest: String,
    pub(super) media_type: &'static str,
    /// What it refers to: a configuration and layers, or manifests.
    pub(super) references: Vec<Descriptor>,
}

/// <https://github.com/opencontainers/image-spec/blob/main/descriptor.md>
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    media_type: &'static str,
    digest: String,
    size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Platform {
    architecture: &'static str,
    os: &'static str,
}

pub(super) const AMD64: Platform = Platform { architecture: "amd64", os: "linux" };
pub(super) const ARM64: Platform = Platform { architecture: "arm64", os: "linux" };
/// Of attestations, as BuildKit lists them.
const UNKNOWN: Platform = Platform { architecture: "unknown", os: "unknown" };

/// The members in the order of their text.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Content<'a> {
    schema_version: u8,
    media_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<&'a Descriptor>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    layers: &'a [Descriptor],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    manifests: &'a [Descriptor],
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Descriptor>,
}

impl Descriptor {
    /// Of a blob whose size is about the given one.
    fn blob(media_type: &'static str, name: &str, size: usize) -> Self {
        let spread = (size / 8).max(1);
        let size = size - spread / 2 + number(name) % spread;
        Self { media_type, digest: digest_of(name), size, platform: None }
    }
}

impl Manifest {
    /// An image with the layers of a base image and its own of about this many megabytes.
    pub(super) fn image(name: &str, base: &str, megabytes: usize) -> Self {
        Self::image_of([OCI_MANIFEST, OCI_CONFIG, OCI_LAYER], name, base, megabytes)
    }

    /// The same with Docker's media types.
    pub(super) fn docker_image(name: &str, base: &str, megabytes: usize) -> Self {
        Self::image_of([DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER], name, base, megabytes)
    }

    fn image_of(
        [media_type, config, layer]: [&'static str; 3],
        name: &str,
        base: &str,
        megabytes: usize,
    ) -> Self {
        let size = megabytes * 1_000_000;
        let references = vec![
            Descriptor::blob(config, &format!("{name} configuration"), 5_200),
            Descriptor::blob(layer, base, 29_000_000),
            Descriptor::blob(layer, &format!("{name} packages"), size * 3 / 4),
            Descriptor::blob(layer, &format!("{name} program"), size / 4),
        ];
        Self::with_layers(media_type, None, references, None)
    }

    /// An index of images, followed by what attests to them.
    pub(super) fn index(images: &[(&Self, Platform)], attestations: &[&Self]) -> Self {
        let images = images.iter().copied();
        let attestations = attestations.iter().map(|attestation| (*attestation, UNKNOWN));
        let references: Vec<Descriptor> = images
            .chain(attestations)
            .map(|(manifest, platform)| Descriptor {
                platform: Some(platform),
                ..manifest.descriptor()
            })
            .collect();
        let content = Content {
            schema_version: 2,
            media_type: OCI_INDEX,
            manifests: &references,
            ..Content::default()
        };
        let text = text(&content);
        Self { digest: digest_of(&text), text, media_type: OCI_INDEX, references }
    }

    /// The provenance and the SBOM that BuildKit adds to an image.
    pub(super) fn attestation(name: &str) -> Self {
        const IN_TOTO: &str = "application/vnd.in-toto+json";
        let references = vec![
            Descriptor::blob(OCI_CONFIG, &format!("{name} configuration"), 240),
            Descriptor::blob(IN_TOTO, &format!("{name} packages"), 61_000),
            Descriptor::blob(IN_TOTO, &format!("{name} provenance"), 7_400),
        ];
        Self::with_layers(OCI_MANIFEST, None, references, None)
    }

    /// A signature of another manifest.
    pub(super) fn signature(of: &Self) -> Self {
        const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
        Self::about(of, BUNDLE, 4_100)
    }

    /// The list of what is in another manifest's image.
    pub(super) fn sbom(of: &Self) -> Self {
        Self::about(of, "application/spdx+json", 186_000)
    }

    fn about(subject: &Self, artifact_type: &'static str, size: usize) -> Self {
        let name = format!("{artifact_type} {}", subject.digest);
        let empty = Descriptor {
            media_type: EMPTY_CONFIG,
            digest: digest_of("{}"),
            size: "{}".len(),
            platform: None,
        };
        let references = vec![empty, Descriptor::blob(artifact_type, &name, size)];
        let subject = Some(subject.descriptor());
        Self::with_layers(OCI_MANIFEST, Some(artifact_type), references, subject)
    }

    /// A Helm chart.
    pub(super) fn chart(name: &str) -> Self {
        const CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
        const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
        let references = vec![
            Descriptor::blob(CONFIG, &format!("{name} configuration"), 410),
            Descriptor::blob(CHART, name, 23_000),
        ];
        Self::with_layers(OCI_MANIFEST, None, references, None)
    }

    fn with_layers(
        media_type: &'static str,
        artifact_type: Option<&'static str>,
        references: Vec<Descriptor>,
        subject: Option<Descriptor>,
    ) -> Self {
        let text = text(&Content {
            schema_version: 2,
            media_type,
            artifact_type,
            config: references.first(),
            layers: references.get(1..).unwrap_or_default(),
            manifests: &[],
            subject,
        });
        Self { digest: digest_of(&text), text, media_type, references }
    }

    fn descriptor(&self) -> Descriptor {
        let (digest, size) = (self.digest.clone(), self.text.len());
        Descriptor { media_type: self.media_type, digest, size, platform: None }
    }
}

fn text(content: &Content<'_>) -> String {
    serde_json::to_string(content).unwrap_or_default()
}

fn digest_of(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    let hexadecimal: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hexadecimal}")
}

/// A number that looks random, and is always the same for a name.
pub(super) fn number(name: &str) -> usize {
    let hash = digest(&SHA256, name.as_bytes());
    hash.as_ref().iter().take(3).fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// The abbreviated id of a commit.
pub(super) fn commit(name: &str) -> String {
    digest_of(name).chars().skip("sha256:".len()).take(7).collect()
}
