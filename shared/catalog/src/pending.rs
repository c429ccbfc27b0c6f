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

impl PendingLookups {
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Keeps a lookup for as long as late events are accepted. Of two with the same id, the one
    /// with the later time is kept.
    pub async fn put<T: Serialize>(
        &self,
        id: &str,
        time: Timestamp,
        lookup: &T,
    ) -> Result<(), StoreError> {
        self.table.put_pending(id, time, table::to_attribute(lookup)?, Timestamp::now()).await
    }

    /// A page of lookups, those after an id if there is one, each with its id. An empty page is the
    /// end. A lookup that cannot be read does not affect the others.
    pub async fn list<T: DeserializeOwned>(
        &self,
        after: Option<&str>,
    ) -> Result<Vec<(String, Result<T, StoreError>)>, StoreError> {
        let items = self.table.list_pending(after).await?;
        let read = |PendingItem { id, lookup }| {
            let lookup = table::from_attribute(&id, lookup);
            (id, lookup)
        };
        Ok(items.into_iter().map(read).collect())
    }

    /// Removes a lookup, unless a later one has replaced it.
    pub async fn remove<T: Serialize>(&self, id: &str, lookup: &T) -> Result<(), StoreError> {
        self.table.remove_pending(id, table::to_attribute(lookup)?).await
    }
}
