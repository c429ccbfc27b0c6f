//! The pending lookups: requests to registries that did not succeed yet, and are retried until they
//! do, or until they expire. What a lookup contains, is for who retries it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::table::{self, PendingItem, StoreError, Table};
use crate::time::Timestamp;

/// The pending lookups of a table.
#[derive(Debug, Clone)]
pub struct PendingLookups {
    table: Table,
}

/// A pending lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingLookup<T> {
    /// A later lookup of the same id replaces an earlier one.
    pub id: String,
    pub lookup: T,
}

impl PendingLookups {
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Keeps a lookup for as long as late events are accepted.
    pub async fn put<T: Serialize>(&self, id: &str, lookup: &T) -> Result<(), StoreError> {
        self.table.put_pending(id, table::to_attribute(lookup)?, Timestamp::now()).await
    }

    /// A page of lookups, those after an id if there is one. An empty page is the end.
    pub async fn list<T: DeserializeOwned>(
        &self,
        after: Option<&str>,
    ) -> Result<Vec<PendingLookup<T>>, StoreError> {
        let items = self.table.list_pending(after).await?;
        items
            .into_iter()
            .map(|PendingItem { id, lookup }| {
                let lookup = table::from_attribute(&id, lookup)?;
                Ok(PendingLookup { id, lookup })
            })
            .collect()
    }

    /// Removes a lookup, unless a later one has replaced it.
    pub async fn remove<T: Serialize>(&self, pending: &PendingLookup<T>) -> Result<(), StoreError> {
        self.table.remove_pending(&pending.id, table::to_attribute(&pending.lookup)?).await
    }
}
