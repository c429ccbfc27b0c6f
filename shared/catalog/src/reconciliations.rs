//! The last reconciliation with each registry. What is kept of one, is for who reconciles.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::table::{self, StoreError, Table};

/// The last reconciliations of a table. They outlive the process that made them.
#[derive(Debug, Clone)]
pub struct Reconciliations {
    table: Table,
}

impl Reconciliations {
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Keeps the last reconciliation with a registry.
    pub async fn put<T: Serialize>(&self, registry: &str, last: &T) -> Result<(), StoreError> {
        self.table.put_reconciliation(registry, table::to_attribute(last)?).await
    }

    /// The last reconciliation with each registry. Those that cannot be read, because another
    /// version of the program made them, are left out.
    pub async fn list<T: DeserializeOwned>(&self) -> Result<BTreeMap<String, T>, StoreError> {
        let items = self.table.list_reconciliations().await?;
        let read = |item| {
            let registry = table::sort_of(&item).to_owned();
            let last = table::reconciliation(item)?;
            Some((registry.clone(), table::from_attribute(&registry, last).ok()?))
        };
        Ok(items.into_iter().filter_map(read).collect())
    }
}
