//! The items of the last reconciliations.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{Item, Partition, Query, StoreError, Table, key};

/// The partition key of the last reconciliations, and the attribute that contains one. Their sort
/// keys are the ids of the registries. No repository's partition has this name: those have a slash.
const RECONCILIATIONS: &str = "reconciliations";
const LAST: &str = "last";

/// The reconciliation in an item.
pub(crate) fn reconciliation(mut item: Item) -> Option<AttributeValue> {
    item.remove(LAST)
}

impl Table {
    /// Writes the last reconciliation with a registry.
    pub(crate) async fn put_reconciliation(
        &self,
        registry: &str,
        last: AttributeValue,
    ) -> Result<(), StoreError> {
        let put = self.client.put_item().table_name(&self.name);
        put.set_item(Some(key(RECONCILIATIONS, registry))).item(LAST, last).send().await?;
        Ok(())
    }

    /// The items of the last reconciliations: at most a megabyte of them.
    pub(crate) async fn list_reconciliations(&self) -> Result<Vec<Item>, StoreError> {
        let partition = Partition::Table { key: RECONCILIATIONS.to_owned(), is_consistent: true };
        // '~' is greater than every character of an id.
        Query::new(self, partition, (" ".to_owned(), "~".to_owned())).read(None).await
    }
}
