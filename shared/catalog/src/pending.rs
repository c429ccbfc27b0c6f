//! The pending lookups: requests to registries that did not succeed yet, and are retried until they
//! do, or until they expire. What a lookup contains, is for who retries it.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::table::{self, Item, StoreError, Table};
use crate::time::Timestamp;

/// Until the second attempt; it doubles with each.
const FIRST_DELAY: Duration = Duration::from_secs(10);

const MAX_DELAY: Duration = Duration::from_hours(1);

/// The pending lookups of a table.
#[derive(Debug, Clone)]
pub struct PendingLookups {
    table: Table,
}

/// A lookup that is pending.
#[derive(Debug, Clone)]
pub struct PendingLookup {
    item: Item,
}

impl PendingLookup {
    #[must_use]
    pub fn id(&self) -> &str {
        table::sort_of(&self.item)
    }

    /// Reads the lookup, which may be of another version of the program.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        table::from_attribute(self.id(), table::pending_lookup(&self.item))
    }

    /// Whether it is to be tried again.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        table::pending_attempts(&self.item).1.is_none_or(|retry_at| retry_at <= now)
    }
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

    /// A page of lookups, those after an id if there is one. An empty page is the end.
    pub async fn list(&self, after: Option<&str>) -> Result<Vec<PendingLookup>, StoreError> {
        let items = self.table.list_pending(after).await?;
        Ok(items.into_iter().map(|item| PendingLookup { item }).collect())
    }

    /// Postpones a lookup that was tried in vain, each time for longer, unless a later one has
    /// replaced it.
    pub async fn postpone(&self, lookup: PendingLookup, now: Timestamp) -> Result<(), StoreError> {
        let (attempts, _) = table::pending_attempts(&lookup.item);
        let delay = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(attempts)).min(MAX_DELAY);
        let attempts = attempts.saturating_add(1);
        self.table.postpone_pending(lookup.item, attempts, now.plus(delay)).await
    }

    /// Removes a lookup, unless a later one has replaced it.
    pub async fn remove<T: Serialize>(&self, id: &str, lookup: &T) -> Result<(), StoreError> {
        self.table.remove_pending(id, table::to_attribute(lookup)?).await
    }
}
