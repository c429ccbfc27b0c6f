//! The registries that the catalog sends requests to, and which of its repositories are theirs.

use catalog::{RegistryId, Repository, RepositoryName};

use crate::Registry;
use crate::source::Source;
use crate::subscription::{Subscription, Subscriptions, prefixed};

/// The id of the Amazon ECR target. No subscription has it.
pub const ECR: &str = "ecr";

/// A registry that the catalog can be reconciled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryTarget {
    /// [`ECR`], or the id of its subscription.
    pub id: String,
    pub registry: Registry,
    /// The registry id of its images in the catalog.
    pub registry_id: RegistryId,
    /// Precedes the names of its repositories in the catalog, followed by a slash.
    pub repository_prefix: Option<String>,
}

/// The catalog cannot hold a repository of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the catalog cannot hold a repository named '{0}'")]
pub struct InvalidRepositoryName(pub String);

impl RegistryTarget {
    /// Amazon ECR's private registry of an account.
    #[must_use]
    pub fn ecr(account: RegistryId) -> Self {
        let registry = Registry::Ecr(account.clone());
        Self { id: ECR.to_owned(), registry, registry_id: account, repository_prefix: None }
    }

    /// The registry of a subscription; `None` without a `registryUrl`.
    #[must_use]
    pub fn from_subscription(subscription: &Subscription) -> Option<Self> {
        Some(Self {
            id: subscription.id.clone(),
            registry: Registry::Oci(subscription.registry_address(None)?),
            registry_id: subscription.registry_id.clone(),
            repository_prefix: subscription.repository_prefix.clone(),
        })
    }

    /// The repository in the catalog of a repository in the registry.
    pub fn repository(&self, name: &str) -> Result<Repository, InvalidRepositoryName> {
        let name = prefixed(self.repository_prefix.as_deref(), name);
        match RepositoryName::parse(&name) {
            Ok(name) => Ok(Repository { registry: self.registry_id.clone(), name }),
            Err(_) => Err(InvalidRepositoryName(name)),
        }
    }

    /// The name in the registry of a repository in the catalog; `None` if it cannot be there.
    #[must_use]
    pub fn name_of<'a>(&self, repository: &'a Repository) -> Option<&'a str> {
        let prefix = self.repository_prefix.as_deref();
        (repository.registry == self.registry_id).then(|| without_prefix(repository, prefix))?
    }
}

/// The name of a repository behind a prefix.
fn without_prefix<'a>(repository: &'a Repository, prefix: Option<&str>) -> Option<&'a str> {
    let name = repository.name.as_str();
    match prefix {
        Some(prefix) => name.strip_prefix(prefix)?.strip_prefix('/'),
        None => Some(name),
    }
}

/// All registries of the catalog.
#[derive(Debug, Clone, Default)]
pub struct RegistryTargets {
    pub targets: Vec<RegistryTarget>,
    /// The registry ids and prefixes of subscriptions without a `registryUrl`.
    unreachable: Vec<(RegistryId, Option<String>)>,
}

impl RegistryTargets {
    /// Amazon ECR's registry of an account, if there is one, and the registries of subscriptions.
    #[must_use]
    pub fn new(account: Option<RegistryId>, subscriptions: &Subscriptions) -> Self {
        let targets = account.map(RegistryTarget::ecr).into_iter().collect();
        let mut all = Self { targets, unreachable: Vec::new() };
        for subscription in subscriptions.iter() {
            match RegistryTarget::from_subscription(subscription) {
                Some(target) => all.targets.push(target),
                // It is the account's own, or one that has its registry id for itself.
                None if subscription.source == Source::Ecr => {}
                None => {
                    let prefix = subscription.repository_prefix.clone();
                    all.unreachable.push((subscription.registry_id.clone(), prefix));
                }
            }
        }
        all
    }

    #[must_use]
    pub fn get(&self, id: &str) -> Option<&RegistryTarget> {
        self.targets.iter().find(|target| target.id == id)
    }

    /// Whether a repository of the catalog can belong to this target only: no other one with the
    /// same or a longer prefix matches. Two subscriptions to one registry are two targets, because
    /// their credentials may allow different repositories.
    #[must_use]
    pub fn is_exclusive(&self, repository: &Repository, target: &RegistryTarget) -> bool {
        let length = |prefix: Option<&str>| prefix.map_or(0, str::len);
        let own = length(target.repository_prefix.as_deref());
        let reachable = self.targets.iter().filter(|other| other.id != target.id);
        let reachable = reachable.map(|other| (&other.registry_id, &other.repository_prefix));
        let unreachable = self.unreachable.iter().map(|(registry, prefix)| (registry, prefix));
        let mut others = reachable
            .chain(unreachable)
            .map(|(registry, prefix)| (registry, prefix.as_deref()))
            .filter(|(registry, prefix)| {
                **registry == repository.registry && without_prefix(repository, *prefix).is_some()
            });
        target.name_of(repository).is_some() && others.all(|(_, prefix)| length(prefix) < own)
    }
}
