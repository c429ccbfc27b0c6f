//! What the catalog knows of registries.
//!
//! - [`source`]: the products whose events it understands
//! - [`subscription`]: the registries whose events it accepts
//! - [`credential`]: how their webhooks are authenticated
//! - [`target`]: the registries that it sends requests to, and which repositories are theirs
//! - [`oci`]: a client of the OCI distribution API
//! - [`ecr`]: a client of the APIs of Amazon ECR and Amazon ECR Public
//! - [`manifest`]: what the bytes of a manifest contain
//! - [`push_times`]: the push times that some products return in APIs of their own

mod authorization;
pub mod credential;
pub mod ecr;
pub mod manifest;
pub mod oci;
pub mod push_times;
mod resolver;
pub mod source;
pub mod subscription;
pub mod target;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use catalog::change::Content;
use catalog::{Digest, RegistryId, Service, Timestamp};
use jiff::fmt::rfc2822;
use secret::Secret;
use serde::{Deserialize, Serialize};

pub use ecr::EcrClient;
pub use manifest::Descriptor;
pub use oci::{InvalidRegistryUrl, OciClient, RegistryAddress};
pub use source::Source;
pub use subscription::{Subscription, Subscriptions};
pub use target::{RegistryTarget, RegistryTargets, Scope};

/// A registry that the catalog can send requests to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Registry {
    /// It implements the OCI distribution API at this address.
    Oci(RegistryAddress),
    /// An account's registry in one of Amazon's services.
    Ecr { service: Service, account: RegistryId },
}

/// Its host, or the account and the service.
impl fmt::Display for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oci(address) => formatter.write_str(&address.host),
            Self::Ecr { service, account } => write!(formatter, "{service}/{account}"),
        }
    }
}

/// The result of a request for a manifest.
#[derive(Debug)]
pub enum ManifestLookup {
    Found(Box<FoundManifest>),
    NotFound(ManifestNotFound),
}

/// A manifest that a registry returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundManifest {
    pub digest: Digest,
    pub content: Content,
    /// The exact time of its push, which only Amazon's services return.
    pub pushed_at: Option<Timestamp>,
    pub hints: PushHints,
}

/// What other registries return from which the time of a push is assumed (rule 59).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PushHints {
    /// The registry's own time of the response, in whole seconds.
    pub date: Option<Timestamp>,
    /// The header `Last-Modified`.
    pub last_modified: Option<Timestamp>,
    /// The annotation `org.opencontainers.image.created`.
    pub created: Option<Timestamp>,
    /// Where [`OciClient::created`] finds the time at which the image was created.
    pub configuration: Option<Descriptor>,
}

/// Why a registry has no such manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestNotFound {
    #[error("the registry has no such manifest")]
    Unknown,
    #[error("the manifest is larger than {0} bytes")]
    TooLarge(usize),
    #[error(transparent)]
    Invalid(manifest::InvalidManifest),
}

/// The items in a repository.
#[derive(Debug)]
pub struct Listed<T> {
    /// `None` if there is no such repository.
    pub items: Option<Vec<T>>,
    /// The registry's own time at the first response, in whole seconds.
    pub date: Timestamp,
}

/// A registry did not return what was requested. A later request may succeed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryUnavailable {
    #[error("the request failed")]
    Request(#[source] Arc<dyn Error + Send + Sync>),
    #[error("the request timed out")]
    TimedOut,
    #[error("the response has the status {0}")]
    Status(u16),
    #[error("the list of repositories is refused, with the status {0}")]
    ListRefused(u16),
    #[error("the response has no valid digest: '{0}'")]
    InvalidDigest(String),
    #[error("the response is not a list")]
    InvalidList(#[source] Arc<serde_json::Error>),
    #[error("the list is too large")]
    ListTooLarge,
    #[error("the response has no date")]
    NoDate,
    #[error("the response contains no token, or one that is too large")]
    InvalidToken,
    #[error("the registry demands a token of {0}, whose host its subscription does not name")]
    TokenService(String),
    #[error("the registry redirects to {0}, whose host its subscription does not name")]
    Redirected(String),
    #[error("no subscription has a registry at {0}")]
    NotNamed(String),
    #[error("the registry names a page outside of its API")]
    OutsideApi,
    #[error("the subscriptions cannot be read")]
    Credential(#[source] Arc<dyn Error + Send + Sync>),
    #[error("no requests are sent to Amazon's services")]
    NoEcrClient,
    #[error("the request was cancelled")]
    Cancelled,
}

impl RegistryUnavailable {
    fn request(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Request(Arc::new(error))
    }
}

/// Clients of all kinds of registries.
#[derive(Debug)]
pub struct Registries {
    pub oci: OciClient,
    /// `None` where there are no credentials for Amazon's services.
    pub ecr: Option<EcrClient>,
}

impl Registries {
    #[must_use]
    pub fn new(subscriptions: Arc<Secret<Subscriptions>>, ecr: Option<EcrClient>) -> Self {
        Self { oci: OciClient::new(subscriptions), ecr }
    }

    /// Gets a manifest by its digest or, but not from Amazon's services, by a tag.
    pub async fn manifest(
        &self,
        registry: &Registry,
        name: &str,
        reference: &str,
    ) -> Result<ManifestLookup, RegistryUnavailable> {
        match (registry, &self.ecr) {
            (Registry::Oci(address), _) => self.oci.manifest(address, name, reference).await,
            (Registry::Ecr { service, account }, Some(ecr)) => {
                let digest = Digest::parse(reference)
                    .map_err(|_| RegistryUnavailable::InvalidDigest(reference.to_owned()))?;
                ecr.manifest(*service, account, name, &digest).await
            }
            (Registry::Ecr { .. }, None) => Err(RegistryUnavailable::NoEcrClient),
        }
    }

    /// The client of Amazon's services.
    pub fn ecr(&self) -> Result<&EcrClient, RegistryUnavailable> {
        self.ecr.as_ref().ok_or(RegistryUnavailable::NoEcrClient)
    }
}

/// Parses the time of an HTTP header, in whole seconds.
fn parse_http_date(text: &str) -> Option<Timestamp> {
    Timestamp::try_from(rfc2822::parse(text).ok()?.timestamp()).ok()
}
