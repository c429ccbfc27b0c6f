//! The format of the items.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{SORT, StoreError, Table, key, unless_condition_failed};

/// The format of the table's items. A program does not read or write a table of another format.
pub const FORMAT: u64 = 6;

/// The partition key and the sort key of the item that holds the format, and its attribute. No
/// repository's partition has its name: those have a slash.
const FORMAT_ITEM: &str = "format";

impl Table {
    /// For a program that only reads: fails if the table has another format. A table without a
    /// format is empty.
    pub async fn check_format(&self) -> Result<(), StoreError> {
        is_this_format(self.format().await?.as_deref())
    }

    /// For a program that writes: writes the format of an empty table, and fails if the table has
    /// another one.
    pub async fn claim_format(&self) -> Result<(), StoreError> {
        let mut found = self.format().await?;
        if found.is_none() {
            let scan = self.client.scan().table_name(&self.name).consistent_read(true).limit(1);
            if scan.send().await?.items().is_empty() {
                self.put_format().await?;
            }
            found = self.format().await?;
            if found.is_none() {
                return Err(StoreError::Format { found: "items and no format".to_owned() });
            }
        }
        is_this_format(found.as_deref())
    }

    pub(super) async fn format(&self) -> Result<Option<String>, StoreError> {
        let (found, _) = self.get_item(key(FORMAT_ITEM, FORMAT_ITEM), true).await?;
        Ok(found.map(|item| match item.get(FORMAT_ITEM) {
            Some(AttributeValue::N(number)) => number.clone(),
            other => format!("{other:?}"),
        }))
    }

    /// Another process may be first.
    async fn put_format(&self) -> Result<(), StoreError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(key(FORMAT_ITEM, FORMAT_ITEM)))
            .item(FORMAT_ITEM, AttributeValue::N(FORMAT.to_string()))
            .condition_expression("attribute_not_exists(#sort)")
            .expression_attribute_names("#sort", SORT)
            .send()
            .await;
        unless_condition_failed(put)
    }
}

fn is_this_format(found: Option<&str>) -> Result<(), StoreError> {
    match found {
        Some(found) if found != FORMAT.to_string() => {
            Err(StoreError::Format { found: format!("format {found}") })
        }
        _ => Ok(()),
    }
}
