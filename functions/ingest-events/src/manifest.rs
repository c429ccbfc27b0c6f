//! Manifests: what their bytes tell of an image, and how they are had from the registry.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/manifest.md>

use std::sync::Arc;
use std::time::Duration;

use catalog::Digest;
use catalog::change::Content;
use catalog::table::causes;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use secret::Secret;
use serde::Deserialize;
use subscriptions::Subscriptions;

use crate::question::{Question, RegistryAddress};

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

/// The most bytes of a manifest: what registries take.
///
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests>
const LARGEST_MANIFEST: usize = 4 * 1024 * 1024;

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

/// The registries that manifests are fetched from.
pub struct Registries {
    encrypted: Client,
    plain: Client,
    http: reqwest::Client,
    subscriptions: Arc<Secret<Subscriptions>>,
}

/// What came of a request.
enum Fetched {
    Manifest { bytes: Vec<u8>, digest: String },
    Nothing(String),
}

/// A registry's answer.
#[derive(Debug)]
pub enum Answer {
    /// The manifest is this.
    Manifest(Digest, Box<Content>),
    /// There is no such manifest, or it is not what it is said to be.
    None(String),
}

/// A registry did not answer; it may later.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(String);

impl std::fmt::Debug for Registries {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Registries")
    }
}

impl Registries {
    /// Clients that show the credentials of these subscriptions.
    #[must_use]
    pub fn new(subscriptions: Arc<Secret<Subscriptions>>) -> Self {
        let client = |protocol| {
            Client::new(ClientConfig {
                protocol,
                connect_timeout: Some(TIMEOUT),
                read_timeout: Some(TIMEOUT),
                user_agent: USER_AGENT,
                ..ClientConfig::default()
            })
        };
        Self {
            encrypted: client(ClientProtocol::Https),
            plain: client(ClientProtocol::Http),
            http: reqwest::Client::builder().user_agent(USER_AGENT).build().unwrap_or_default(),
            subscriptions,
        }
    }

    /// Asks for a manifest by its digest, or else by its tag.
    ///
    /// # Errors
    /// The registry does not answer, or not as it should.
    pub async fn ask(&self, question: &Question) -> Result<Answer, NoAnswer> {
        let address = &question.address;
        let (host, name) = (address.host.clone(), question.name.clone());
        let reference = match (&question.digest, &question.tag) {
            (Some(digest), _) => Reference::with_digest(host, name, digest.to_string()),
            (None, Some(tag)) => Reference::with_tag(host, name, tag.to_string()),
            (None, None) => return Ok(Answer::None("neither a digest nor a tag".to_owned())),
        };
        let client = if address.encrypted { &self.encrypted } else { &self.plain };
        let accepted = [IMAGE_MEDIA_TYPES, INDEX_MEDIA_TYPES].concat().join(", ");
        let credential = self.credential(address).await?;
        let fetch = self.fetch(client, address, &reference, &credential, &accepted);
        let (bytes, told) = match tokio::time::timeout(TIMEOUT, fetch).await {
            Err(_) => return Err(NoAnswer("the registry took too long".to_owned())),
            Ok(Err(error)) => return Err(NoAnswer(error)),
            Ok(Ok(Fetched::Nothing(reason))) => return Ok(Answer::None(reason)),
            Ok(Ok(Fetched::Manifest { bytes, digest })) => (bytes, digest),
        };
        let Some(digest) = question.digest.clone().or_else(|| Digest::parse(&told).ok()) else {
            return Err(NoAnswer(format!("the registry answers with the digest '{told}'")));
        };
        match read(&digest, &bytes) {
            Ok(content) => Ok(Answer::Manifest(digest, Box::new(content))),
            Err(error) => Ok(Answer::None(error.to_string())),
        }
    }

    /// Gets a manifest's bytes. The client only finds out what to show; it would read a reply of any size.
    async fn fetch(
        &self,
        client: &Client,
        address: &RegistryAddress,
        reference: &Reference,
        credential: &RegistryAuth,
        accepted: &str,
    ) -> Result<Fetched, String> {
        let token = client
            .auth(reference, credential, RegistryOperation::Pull)
            .await
            .map_err(|error| causes(&error))?;
        let scheme = if address.encrypted { "https" } else { "http" };
        let wanted = reference.digest().or(reference.tag()).unwrap_or_default();
        let url = format!("{scheme}://{}/v2/{}/manifests/{wanted}", address.host, reference.repository());
        let request = self.http.get(url).header("accept", accepted);
        let request = match (token, credential) {
            (Some(token), _) => request.bearer_auth(token),
            (None, RegistryAuth::Basic(username, password)) => request.basic_auth(username, Some(password)),
            (None, _) => request,
        };
        let mut response = request.send().await.map_err(|error| causes(&error))?;
        match response.status().as_u16() {
            200 => {}
            404 => return Ok(Fetched::Nothing("the registry does not know it".to_owned())),
            status => return Err(format!("the registry answers with the status {status}")),
        }
        let digest = response.headers().get("docker-content-digest").and_then(|digest| digest.to_str().ok());
        let digest = digest.unwrap_or_default().to_owned();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| causes(&error))? {
            bytes.extend(chunk);
            if bytes.len() > LARGEST_MANIFEST {
                return Ok(Fetched::Nothing(format!("it is larger than {LARGEST_MANIFEST} bytes")));
            }
        }
        Ok(Fetched::Manifest { bytes, digest })
    }

    /// What the registry wants to be shown. Only the address that a subscription gives ever sees its
    /// credential.
    async fn credential(&self, address: &RegistryAddress) -> Result<RegistryAuth, NoAnswer> {
        let Some(id) = &address.subscription else { return Ok(RegistryAuth::Anonymous) };
        let subscriptions =
            self.subscriptions.value().await.map_err(|error| NoAnswer(format!("no credential: {error}")))?;
        let credential = subscriptions.get(id).and_then(|known| known.registry_credential.as_ref());
        Ok(credential.map_or(RegistryAuth::Anonymous, |credential| {
            RegistryAuth::Basic(credential.username.clone(), credential.password.clone())
        }))
    }
}
