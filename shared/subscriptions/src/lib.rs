//! Which registries the catalog listens to: a JSON list of subscriptions.
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
//! `source` is one of [`Source`]. `repositoryPrefix`, which may be left out, goes in front of the
//! repositories' names in the catalog. `credential` is what the registry shows with each event:
//! `{"bearer": TOKEN}`, `{"basic": {"username": …, "password": …}}`, or `{"hmac": KEY}`.
//! `registryUrl` is where the catalog asks for what the events do not tell, with
//! `registryCredential` if it needs one.

mod credential;

use std::collections::HashSet;
use std::fmt;

use catalog::{RegistryId, RepositoryName};
use http::HeaderMap;
use serde::Deserialize;
use url::Url;

pub use credential::{BasicCredential, Credential};

/// A product whose events the catalog understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Amazon ECR, through EventBridge.
    Ecr,
    /// CNCF distribution, Docker's `registry`.
    Distribution,
    /// Harbor.
    Harbor,
    /// Quay.
    Quay,
    /// GitHub Packages.
    Github,
    /// Docker Hub.
    DockerHub,
    /// JFrog Artifactory.
    Artifactory,
    /// zot.
    Zot,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Ecr,
        Self::Distribution,
        Self::Harbor,
        Self::Quay,
        Self::Github,
        Self::DockerHub,
        Self::Artifactory,
        Self::Zot,
    ];

    /// Its name in addresses, in messages and in subscriptions.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ecr => "ecr",
            Self::Distribution => "distribution",
            Self::Harbor => "harbor",
            Self::Quay => "quay",
            Self::Github => "github",
            Self::DockerHub => "docker-hub",
            Self::Artifactory => "artifactory",
            Self::Zot => "zot",
        }
    }

    /// The source of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == name)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A registry that the catalog listens to.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subscription {
    /// Its name, unlike that of any other.
    pub id: String,
    /// What kind of registry it is.
    pub source: Source,
    /// The registry id that it has in the catalog.
    pub registry_id: RegistryId,
    /// What goes in front of its repositories' names in the catalog, with a slash between.
    pub repository_prefix: Option<String>,
    /// What it shows with each event.
    pub credential: Credential,
    /// Where it can be asked for manifests.
    pub registry_url: Option<Url>,
    /// What it wants to be shown then.
    pub registry_credential: Option<BasicCredential>,
}

/// What makes a list of subscriptions unusable.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSubscriptions {
    /// Not JSON of the form that is described.
    #[error("{0}")]
    Form(#[from] serde_json::Error),
    /// A subscription that makes no sense.
    #[error("the subscription '{id}': {reason}")]
    Subscription {
        /// Which.
        id: String,
        /// Why.
        reason: String,
    },
}

/// All registries that the catalog listens to.
#[derive(Debug, Clone, Default)]
pub struct Subscriptions {
    subscriptions: Vec<Subscription>,
}

impl Subscriptions {
    /// Reads a list.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse(json: &str) -> Result<Self, InvalidSubscriptions> {
        let subscriptions: Vec<Subscription> = serde_json::from_str(json)?;
        let mut ids = HashSet::new();
        for subscription in &subscriptions {
            let problem = if !ids.insert(&subscription.id) {
                Some("there is another one of this id".to_owned())
            } else {
                subscription.problem()
            };
            if let Some(reason) = problem {
                return Err(InvalidSubscriptions::Subscription {
                    id: subscription.id.clone(),
                    reason,
                });
            }
        }
        Ok(Self { subscriptions })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.subscriptions.iter()
    }

    /// The subscription of this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Subscription> {
        self.subscriptions.iter().find(|subscription| subscription.id == id)
    }

    /// The subscription that an event belongs to: of its source, of the id that its address names
    /// if it names one, and with the credential that it shows. `token` is that of the address.
    #[must_use]
    pub fn authenticate(
        &self,
        source: Source,
        id: Option<&str>,
        token: Option<&str>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Option<&Subscription> {
        self.subscriptions
            .iter()
            .filter(|subscription| subscription.source == source)
            .filter(|subscription| id.is_none_or(|id| subscription.id == id))
            .find(|subscription| subscription.credential.is_shown(source, token, headers, body))
    }
}

impl Subscription {
    /// What is wrong with it.
    fn problem(&self) -> Option<String> {
        let is_plain =
            |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        if self.id.is_empty() || self.id.len() > 64 || !self.id.chars().all(is_plain) {
            return Some("an id has 1 to 64 letters, digits, '-', '_' and '.'".to_owned());
        }
        if self.id == Source::Ecr.as_str() {
            return Some("'ecr' stands for the account's own Amazon ECR".to_owned());
        }
        if let Some(prefix) = &self.repository_prefix
            && RepositoryName::parse(&format!("{prefix}/x")).is_err()
        {
            return Some(format!("no repository can begin with '{prefix}/'"));
        }
        if let Some(url) = &self.registry_url
            && (!matches!(url.scheme(), "http" | "https") || url.host_str().is_none())
        {
            return Some(format!("registryUrl '{url}' is not an address of http or https"));
        }
        if self.source == Source::Ecr && self.registry_url.is_some() {
            return Some("Amazon ECR is not asked at a registryUrl".to_owned());
        }
        self.credential.problem(self.source)
    }

    /// The name of a repository in the catalog.
    #[must_use]
    pub fn repository_name(&self, name: &str) -> String {
        match &self.repository_prefix {
            Some(prefix) => format!("{prefix}/{name}"),
            None => name.to_owned(),
        }
    }
}
