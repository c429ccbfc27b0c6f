//! The repositories of a registry.

use std::collections::{BTreeMap, BTreeSet};

use super::Reader;
use crate::identifier::{RegistryId, Repository, RepositoryName, Service};
use crate::repository::RepositoryDescription;
use crate::table::{self, Item, Partition, Query, StoreError};

/// Repositories of one Query.
const PAGE_SIZE: usize = 1000;

/// Some repositories of a registry.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Repositories {
    pub repositories: BTreeMap<RepositoryName, RepositoryDescription>,
    /// DynamoDB read units.
    pub consumed_capacity: f64,
}

impl Reader {
    /// Lists at most `limit` repositories of a registry in a service, in the order of their names,
    /// those after a name if there is one. Costs what they weigh, however many there are.
    pub async fn list_repositories(
        &self,
        service: Service,
        registry: &RegistryId,
        after: Option<&RepositoryName>,
        limit: usize,
    ) -> Result<Repositories, StoreError> {
        let key = table::registry_partition(service, registry);
        let partition = Partition::Table { key, is_consistent: self.is_consistent };
        let mut query = Query::new(&self.table, partition, table::description_sorts(after));
        let mut listed = Repositories::default();
        while !query.has_ended && listed.repositories.len() < limit {
            listed.add(query.read(Some(limit - listed.repositories.len())).await?)?;
        }
        listed.consumed_capacity = query.consumed_capacity;
        Ok(listed)
    }

    /// Finds repositories of a registry in a service by name.
    pub async fn find_repositories(
        &self,
        service: Service,
        registry: &RegistryId,
        names: &[RepositoryName],
    ) -> Result<Repositories, StoreError> {
        let partition = table::registry_partition(service, registry);
        let mut found = Repositories::default();
        for is_consistent in [self.is_consistent, true] {
            // DynamoDB refuses a key that is there twice.
            let missing: BTreeSet<String> = names
                .iter()
                .filter(|name| !found.repositories.contains_key(*name))
                .map(table::description_sort)
                .collect();
            let (items, capacity) = self.table.get(&partition, missing, is_consistent).await?;
            found.consumed_capacity += capacity;
            found.add(items)?;
        }
        Ok(found)
    }

    /// All repositories of a registry in a service.
    pub async fn repositories(
        &self,
        service: Service,
        registry: &RegistryId,
    ) -> Result<Vec<Repository>, StoreError> {
        let mut repositories: Vec<Repository> = Vec::new();
        loop {
            let after = repositories.last().map(|last| &last.name);
            let page = self.list_repositories(service, registry, after, PAGE_SIZE).await?;
            let is_last = page.repositories.len() < PAGE_SIZE;
            let names = page.repositories.into_keys();
            repositories.extend(names.map(|name| Repository {
                service,
                registry: registry.clone(),
                name,
            }));
            if is_last {
                return Ok(repositories);
            }
        }
    }
}

impl Repositories {
    fn add(&mut self, items: Vec<Item>) -> Result<(), StoreError> {
        for item in items {
            let Some(name) = table::name_of_description_sort(table::sort_of(&item)) else {
                continue;
            };
            self.repositories.insert(name, table::description(&item)?);
        }
        Ok(())
    }
}
