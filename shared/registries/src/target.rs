//! The registries that the catalog sends requests to, and which of its repositories are theirs.

use catalog::identifier::InvalidIdentifier;
use catalog::{RegistryId, Repository, Service};

use crate::Registry;
use crate::source::Source;
use crate::subscription::{Subscription, Subscriptions, prefixed};

/// A registry that the catalog can be reconciled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryTarget {
    /// The id of its subscription, or the name of Amazon's service, which no subscription has,
    /// followed by a slash and the account if that is not the catalog's own.
    pub id: String,
    pub registry: Registry,
    /// The product of its subscription; `None` without one.
    pub source: Option<Source>,
    pub scope: Scope,
}

/// The repositories of the catalog that a registry can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    pub service: Service,
    pub registry_id: RegistryId,
    /// Precedes the names of its repositories in the catalog, followed by a slash.
    pub repository_prefix: Option<String>,
}

/// The catalog cannot hold a repository of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the catalog cannot hold a repository named '{name}': {rule}")]
pub struct InvalidRepositoryName {
    name: String,
    rule: InvalidIdentifier,
}

impl RegistryTarget {
    /// The registry of an account in one of Amazon's services.
    #[must_use]
    pub fn from_account(service: Service, account: RegistryId) -> Self {
        let registry = Registry::Ecr { service, account: account.clone() };
        let scope = Scope { service, registry_id: account, repository_prefix: None };
        Self { id: service.to_string(), registry, source: None, scope }
    }

    /// The registry of a subscription; `None` without a `registryUrl`, unless its product has one
    /// host.
    #[must_use]
    pub fn from_subscription(subscription: &Subscription) -> Option<Self> {
        Some(Self {
            id: subscription.id.clone(),
            registry: Registry::Oci(subscription.registry_address(subscription.source.host())?),
            source: Some(subscription.source),
            scope: Scope::from_subscription(subscription),
        })
    }

    /// Whether it can return a list of its repositories. Docker Hub and GitHub never do, and Quay
    /// returns no token for its list.
    #[must_use]
    pub fn lists_repositories(&self) -> bool {
        !matches!(self.source, Some(Source::DockerHub | Source::Github | Source::Quay))
    }

    /// The repository in the catalog of a repository in the registry.
    pub fn repository(&self, name: &str) -> Result<Repository, InvalidRepositoryName> {
        self.scope.repository(name)
    }

    /// The name in the registry of a repository in the catalog; `None` if it cannot be there.
    #[must_use]
    pub fn name_of<'a>(&self, repository: &'a Repository) -> Option<&'a str> {
        self.scope.name_of(repository)
    }
}

impl Scope {
    /// Those of a subscription.
    #[must_use]
    pub fn from_subscription(subscription: &Subscription) -> Self {
        Self {
            service: subscription.service.unwrap_or_default(),
            registry_id: subscription.registry_id.clone(),
            repository_prefix: subscription.repository_prefix.clone(),
        }
    }

    fn repository(&self, name: &str) -> Result<Repository, InvalidRepositoryName> {
        let name = prefixed(self.repository_prefix.as_deref(), name);
        match self.service.parse_repository_name(&name) {
            Ok(name) => {
                Ok(Repository { service: self.service, registry: self.registry_id.clone(), name })
            }
            Err(rule) => Err(InvalidRepositoryName { name, rule }),
        }
    }

    /// The name in the registry of a repository in the catalog; `None` if it cannot be there.
    #[must_use]
    pub fn name_of<'a>(&self, repository: &'a Repository) -> Option<&'a str> {
        if repository.service != self.service || repository.registry != self.registry_id {
            return None;
        }
        let name = repository.name.as_str();
        match &self.repository_prefix {
            Some(prefix) => name.strip_prefix(prefix)?.strip_prefix('/'),
            None => Some(name),
        }
    }

    fn prefix_length(&self) -> usize {
        self.repository_prefix.as_ref().map_or(0, String::len)
    }
}

/// All registries of the catalog.
#[derive(Debug, Clone, Default)]
pub struct RegistryTargets {
    pub targets: Vec<RegistryTarget>,
    /// Of subscriptions without an address.
    unreachable: Vec<Scope>,
}

impl RegistryTargets {
    /// The registries of an account in Amazon's services, if there is one, and those of
    /// subscriptions.
    #[must_use]
    pub fn new(account: Option<&RegistryId>, subscriptions: &Subscriptions) -> Self {
        let of_account = |account: &RegistryId| {
            Service::ALL.map(|service| RegistryTarget::from_account(service, account.clone()))
        };
        let targets = account.map(of_account).into_iter().flatten().collect();
        let mut all = Self { targets, unreachable: Vec::new() };
        for subscription in subscriptions.iter() {
            match RegistryTarget::from_subscription(subscription) {
                Some(target) => all.targets.push(target),
                // It is the account's own, or one that has its registry id for itself.
                None if subscription.source == Source::Ecr => {}
                None => all.unreachable.push(Scope::from_subscription(subscription)),
            }
        }
        all
    }

    /// Adds the registries of another account in Amazon's services.
    pub fn add_account(&mut self, account: &RegistryId) {
        for service in Service::ALL {
            let target = RegistryTarget::from_account(service, account.clone());
            self.targets.push(RegistryTarget { id: format!("{service}/{account}"), ..target });
        }
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
        let others = self.targets.iter().filter(|other| other.id != target.id);
        let mut others = others
            .map(|other| &other.scope)
            .chain(&self.unreachable)
            .filter(|scope| scope.name_of(repository).is_some());
        target.name_of(repository).is_some()
            && others.all(|other| other.prefix_length() < target.scope.prefix_length())
    }
}
