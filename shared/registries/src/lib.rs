//! Asks registries. One that does not answer in time, or not as it should, may be asked again
//! later; one that does not know what it is asked for has answered.
//!
//! - [`distribution`]: those that speak the OCI distribution API
//! - [`ecr`]: Amazon ECR, by its own API
//! - [`manifest`]: what a manifest's bytes tell

pub mod distribution;
pub mod ecr;
pub mod manifest;

use std::sync::Arc;

use catalog::change::Content;
use catalog::{Digest, RegistryId, Timestamp};
use secret::Secret;
use serde::{Deserialize, Serialize};
use subscriptions::Subscriptions;

pub use distribution::{Distribution, RegistryAddress};
pub use ecr::Ecr;

/// A registry that can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Registry {
    /// It speaks the OCI distribution API at this address.
    Distribution(RegistryAddress),
    /// Amazon ECR's private registry of this account.
    Ecr(RegistryId),
}

/// A registry's answer about a manifest.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The manifest is this.
    Manifest(Digest, Box<Content>),
    /// There is no such manifest, or it is not what it is said to be.
    None(String),
}

/// What a registry has in a repository, and what its clock said before it told.
#[derive(Debug)]
pub struct Listed<T> {
    /// What is listed; nothing if there is no such repository.
    pub things: Option<Vec<T>>,
    /// The registry's own time, in whole seconds; the list is not older.
    pub date: Timestamp,
}

/// A registry did not answer; it may later.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub String);

/// Asks registries of any kind.
#[derive(Debug)]
pub struct Registries {
    /// Asks those that speak the OCI distribution API.
    pub distribution: Distribution,
    /// Asks Amazon ECR; nothing where there is nobody to ask it as.
    pub ecr: Option<Ecr>,
}

impl Registries {
    /// Shows the credentials of these subscriptions.
    #[must_use]
    pub fn new(subscriptions: Arc<Secret<Subscriptions>>, ecr: Option<Ecr>) -> Self {
        Self { distribution: Distribution::new(subscriptions), ecr }
    }

    /// A manifest, by its digest or, but not of Amazon ECR, by a tag.
    ///
    /// # Errors
    /// The registry does not answer, or not as it should.
    pub async fn manifest(
        &self,
        registry: &Registry,
        name: &str,
        reference: &str,
    ) -> Result<Answer, NoAnswer> {
        match (registry, &self.ecr) {
            (Registry::Distribution(address), _) => {
                self.distribution.manifest(address, name, reference).await
            }
            (Registry::Ecr(account), Some(ecr)) => {
                let digest =
                    Digest::parse(reference).map_err(|error| NoAnswer(error.to_string()))?;
                ecr.content(account, name, &digest).await
            }
            (Registry::Ecr(_), None) => Ok(Answer::None("Amazon ECR is not asked here".to_owned())),
        }
    }
}
