//! The subscriptions: the registries whose events the catalog accepts, as a JSON list.
//!
//! ```json
//! [{
//!     "id": "harbor-berlin",
//!     "source": "harbor",
//!     "registryId": "210987654321",
//!     "repositoryPrefix": "berlin",
//!     "credential": {"bearer": "…"},
//!     "registryUrl": "https://harbor.example.com",
//!     "registryCredential": {"username": "robot$catalog", "password": "…"}
//! }]
//! ```
//!
//! `docs/sources.md` describes the members.

use std::collections::HashSet;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use catalog::{RegistryId, Repository, Service};
use http::HeaderMap;
use serde::Deserialize;
use url::Url;

use crate::credential::{BasicCredential, Credential, InvalidCredential, encode_hexadecimal};
use crate::oci::{InvalidRegistryUrl, RegistryAddress};
use crate::source::Source;

/// A registry whose events the catalog accepts.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subscription {
    /// Unique among the subscriptions.
    pub id: String,
    pub source: Source,
    /// The registry id of its images in the catalog.
    pub registry_id: RegistryId,
    /// The service that answers for its images; Amazon ECR without it. Amazon's own events contain
    /// theirs.
    pub service: Option<Service>,
    /// Precedes the names of its repositories in the catalog, followed by a slash.
    pub repository_prefix: Option<String>,
    /// Authenticates its webhooks.
    pub credential: Credential,
    /// Where it serves manifests: a scheme, a host and a port.
    pub registry_url: Option<Url>,
    /// Hosts of the registry besides that of its address: of its token service, and of the storage
    /// that it redirects requests for blobs to.
    #[serde(default)]
    pub registry_hosts: Vec<String>,
    /// Authenticates the catalog's requests to it.
    pub registry_credential: Option<BasicCredential>,
}

/// Why a list of subscriptions cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSubscriptions {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("the subscription '{id}': {reason}")]
    Subscription { id: String, reason: InvalidSubscription },
}

/// Why one subscription is not valid.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSubscription {
    #[error("an earlier subscription has the same id")]
    DuplicateId,
    #[error("an id has 1 to 64 letters, digits, '-', '_' and '.'")]
    Id,
    #[error("'{0}' stands for the account's own registry of that service")]
    ReservedId(Service),
    #[error("no repository can begin with '{0}/'")]
    RepositoryPrefix(String),
    /// Without the URL: it may contain a password.
    #[error("its registryUrl is not valid: {0}")]
    RegistryUrl(InvalidRegistryUrl),
    #[error("'{0}' of registryHosts is not a host in lower case, without scheme and port")]
    RegistryHost(String),
    #[error("a subscription to Amazon ECR has no registryUrl")]
    RegistryUrlOfEcr,
    #[error("a subscription to Amazon ECR has no service: its events contain it")]
    ServiceOfEcr,
    #[error(transparent)]
    Credential(#[from] InvalidCredential),
}

/// All subscriptions.
#[derive(Debug, Clone, Default)]
pub struct Subscriptions {
    subscriptions: Vec<Subscription>,
}

impl Subscriptions {
    /// Parses a JSON list of subscriptions.
    pub fn parse(json: &str) -> Result<Self, InvalidSubscriptions> {
        let subscriptions: Vec<Subscription> = serde_json::from_str(json)?;
        let mut ids = HashSet::new();
        for subscription in &subscriptions {
            let id = &subscription.id;
            let checked = if ids.insert(id) {
                subscription.check()
            } else {
                Err(InvalidSubscription::DuplicateId)
            };
            checked
                .map_err(|reason| InvalidSubscriptions::Subscription { id: id.clone(), reason })?;
        }
        Ok(Self { subscriptions })
    }

    pub fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.iter()
    }

    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Subscription> {
        self.subscriptions.iter().find(|subscription| subscription.id == id)
    }

    /// The subscription that a webhook belongs to: of its source, of the id in its address if there
    /// is one, and with the credential that it contains. `token` is that of the address.
    #[must_use]
    pub fn authenticate(
        &self,
        source: Source,
        id: Option<&str>,
        token: Option<&str>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Option<&Subscription> {
        self.candidates(source, id)
            .find(|known| known.credential.authenticates(source, token, headers, body))
    }

    /// Whether there can be such a subscription, as far as that does not depend on the body.
    #[must_use]
    pub fn can_authenticate(
        &self,
        source: Source,
        id: Option<&str>,
        token: Option<&str>,
        headers: &HeaderMap,
    ) -> bool {
        self.candidates(source, id).any(|known| match &known.credential {
            Credential::Hmac(_) => Credential::has_signature(source, headers),
            credential => credential.authenticates(source, token, headers, &[]),
        })
    }

    fn candidates(&self, source: Source, id: Option<&str>) -> impl Iterator<Item = &Subscription> {
        self.subscriptions
            .iter()
            .filter(move |known| known.source == source && id.is_none_or(|id| known.id == id))
    }
}

impl Subscription {
    fn check(&self) -> Result<(), InvalidSubscription> {
        let is_plain =
            |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        if self.id.is_empty() || self.id.len() > 64 || !self.id.chars().all(is_plain) {
            return Err(InvalidSubscription::Id);
        }
        if let Ok(service) = self.id.parse() {
            return Err(InvalidSubscription::ReservedId(service));
        }
        if let Some(prefix) = &self.repository_prefix
            && self
                .service
                .unwrap_or_default()
                .parse_repository_name(&format!("{prefix}/x"))
                .is_err()
        {
            return Err(InvalidSubscription::RepositoryPrefix(prefix.clone()));
        }
        if let Some(url) = &self.registry_url {
            RegistryAddress::from_whole_url(url).map_err(InvalidSubscription::RegistryUrl)?;
        }
        if let Some(host) = self.registry_hosts.iter().find(|host| !is_host(host)) {
            return Err(InvalidSubscription::RegistryHost(host.clone()));
        }
        if self.source == Source::Ecr && self.registry_url.is_some() {
            return Err(InvalidSubscription::RegistryUrlOfEcr);
        }
        if self.source == Source::Ecr && self.service.is_some() {
            return Err(InvalidSubscription::ServiceOfEcr);
        }
        Ok(self.credential.check(self.source)?)
    }

    /// Whether there are no lookups for the sizes of images, because neither the subscription nor the
    /// product has an address. Its events may contain no sizes.
    #[must_use]
    pub fn lacks_registry_url(&self) -> bool {
        let needs_url =
            matches!(self.source, Source::Distribution | Source::Harbor | Source::Artifactory);
        needs_url && self.registry_url.is_none()
    }

    /// Whether its events may change a repository of the catalog. Those of Amazon's services contain
    /// the registry id and the service.
    #[must_use]
    pub fn may_change(&self, repository: &Repository) -> bool {
        let has_prefix = |prefix: &String| {
            let rest = repository.name.as_str().strip_prefix(prefix.as_str());
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        repository.registry == self.registry_id
            && self.repository_prefix.as_ref().is_none_or(has_prefix)
            && (self.source == Source::Ecr
                || repository.service == self.service.unwrap_or_default())
    }

    /// What identifies a delivery, if its credential is a signature, which everybody who has a copy
    /// can send again, also to another subscription with the same key. `None` if the sender shows a
    /// secret each time.
    #[must_use]
    pub fn signed_delivery(&self, body: &[u8]) -> Option<String> {
        let Credential::Hmac(key) = &self.credential else { return None };
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), body);
        // The signature itself would let a reader of the table send the delivery.
        Some(encode_hexadecimal(digest(&SHA256, signature.as_ref()).as_ref()))
    }

    /// The name in the catalog of one of its repositories.
    #[must_use]
    pub fn repository_name(&self, name: &str) -> String {
        prefixed(self.repository_prefix.as_deref(), name)
    }

    /// Where it serves manifests: at `registry_url`, or else at the host of its product. Its registry
    /// credential is sent to this address, to its token service at an allowed host, and to the
    /// product's own API.
    #[must_use]
    pub fn registry_address(&self, host: Option<&'static str>) -> Option<RegistryAddress> {
        let address = match &self.registry_url {
            Some(url) => RegistryAddress::from_url(url)?,
            None => RegistryAddress::from_host(host?),
        };
        Some(RegistryAddress { subscription: Some(self.id.clone()), ..address })
    }
}

fn is_host(host: &str) -> bool {
    Url::parse(&format!("https://{host}/")).is_ok_and(|url| url.host_str() == Some(host))
}

pub(crate) fn prefixed(prefix: Option<&str>, name: &str) -> String {
    prefix.map_or_else(|| name.to_owned(), |prefix| format!("{prefix}/{name}"))
}
