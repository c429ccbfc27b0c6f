//! The registries that the catalog follows, and which of its repositories are theirs.

use catalog::{RegistryId, Repository, RepositoryName};
use registries::{Registry, RegistryAddress};
use subscriptions::{Source, Subscription, Subscriptions};

use crate::ReconcileError;

/// The name of Amazon ECR among the registries; no subscription has this id.
pub const ECR: &str = "ecr";

/// A registry that the catalog follows, and can ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// [`ECR`], or the id of its subscription.
    pub id: String,
    /// Who is asked.
    pub registry: Registry,
    /// The registry id that it has in the catalog.
    pub registry_id: RegistryId,
    /// What goes in front of its repositories' names in the catalog.
    pub repository_prefix: Option<String>,
}

impl Followed {
    /// Amazon ECR's private registry of an account.
    #[must_use]
    pub fn ecr(account: RegistryId) -> Self {
        let registry = Registry::Ecr(account.clone());
        Self { id: ECR.to_owned(), registry, registry_id: account, repository_prefix: None }
    }

    /// The registry of a subscription; nothing if it does not tell where that is.
    #[must_use]
    pub fn of_subscription(subscription: &Subscription) -> Option<Self> {
        let address = RegistryAddress::of_url(subscription.registry_url.as_ref()?.as_str())?;
        let address = RegistryAddress { subscription: Some(subscription.id.clone()), ..address };
        Some(Self {
            id: subscription.id.clone(),
            registry: Registry::Distribution(address),
            registry_id: subscription.registry_id.clone(),
            repository_prefix: subscription.repository_prefix.clone(),
        })
    }

    /// A repository in the catalog, by its name in the registry.
    ///
    /// # Errors
    /// The catalog can have no repository of this name.
    pub fn repository(&self, name: &str) -> Result<Repository, ReconcileError> {
        let full_name = match &self.repository_prefix {
            Some(prefix) => format!("{prefix}/{name}"),
            None => name.to_owned(),
        };
        match RepositoryName::parse(&full_name) {
            Ok(name) => Ok(Repository { registry: self.registry_id.clone(), name }),
            Err(_) => Err(ReconcileError::Name(full_name)),
        }
    }

    /// A repository's name in the registry; nothing if it cannot be there.
    #[must_use]
    pub fn name_of<'a>(&self, repository: &'a Repository) -> Option<&'a str> {
        let name = repository.name.as_str();
        if repository.registry != self.registry_id {
            return None;
        }
        match &self.repository_prefix {
            Some(prefix) => name.strip_prefix(prefix.as_str())?.strip_prefix('/'),
            None => Some(name),
        }
    }
}

/// Every registry that the catalog follows.
#[derive(Debug, Clone, Default)]
pub struct FollowedRegistries {
    /// Those that can be asked.
    pub registries: Vec<Followed>,
    /// Registry id and prefix of those that cannot.
    silent: Vec<(RegistryId, Option<String>)>,
}

impl FollowedRegistries {
    /// Amazon ECR's registry of an account, if there is one, and those of subscriptions.
    #[must_use]
    pub fn new(account: Option<RegistryId>, subscriptions: &Subscriptions) -> Self {
        let mut all = Self {
            registries: account.map(Followed::ecr).into_iter().collect(),
            silent: Vec::new(),
        };
        for subscription in subscriptions.iter() {
            match Followed::of_subscription(subscription) {
                Some(followed) => all.registries.push(followed),
                // It is the account's own, or one that has its registry id for itself.
                None if subscription.source == Source::Ecr => {}
                None => {
                    let prefix = subscription.repository_prefix.clone();
                    all.silent.push((subscription.registry_id.clone(), prefix));
                }
            }
        }
        all
    }

    /// The registry of this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Followed> {
        self.registries.iter().find(|followed| followed.id == id)
    }

    /// Whether a repository of the catalog can be of this registry and of no other one: none that
    /// fits has a longer prefix, or the same one. Two subscriptions of the same place count as two
    /// registries: each may see what the other one does not.
    #[must_use]
    pub fn is_of(&self, repository: &Repository, followed: &Followed) -> bool {
        let fits = |registry_id: &RegistryId, prefix: Option<&String>| {
            *registry_id == repository.registry
                && prefix.is_none_or(|prefix| {
                    let rest = repository.name.as_str().strip_prefix(prefix.as_str());
                    rest.is_some_and(|rest| rest.starts_with('/'))
                })
        };
        let length = |prefix: Option<&String>| prefix.map_or(0, String::len);
        let own = followed.repository_prefix.as_ref();
        let asked = self.registries.iter().filter(|other| other.id != followed.id);
        let asked = asked.map(|other| (&other.registry_id, other.repository_prefix.as_ref()));
        let silent = self.silent.iter().map(|(registry_id, prefix)| (registry_id, prefix.as_ref()));
        let mut rivals =
            asked.chain(silent).filter(|(registry_id, prefix)| fits(registry_id, *prefix));
        fits(&followed.registry_id, own) && rivals.all(|(_, prefix)| length(prefix) < length(own))
    }
}
