//! A Query, page by page.

use aws_sdk_dynamodb::types::ReturnConsumedCapacity;

use super::{
    Item, REPOSITORY, REPOSITORY_TAG_STATUS, SORT, StoreError, TAG_STATUS_INDEX, Table, text,
};

/// The items of a partition whose sort keys are in a range, in their order.
#[derive(Debug)]
pub(crate) struct Query {
    table: Table,
    partition: Partition,
    /// The first and the last sort key.
    sorts: (String, String),
    next: Option<Item>,
    /// Whether there are no more items.
    pub(crate) has_ended: bool,
    /// DynamoDB read units that were consumed up to now.
    pub(crate) consumed_capacity: f64,
}

/// Where items are, and how they are read.
#[derive(Debug, Clone)]
pub(crate) enum Partition {
    /// Of the table.
    Table { key: String, is_consistent: bool },
    /// Of the index of tagged and of untagged images.
    Index { key: String },
}

impl Query {
    /// A Query of the sort keys from the first to the last one.
    pub(crate) fn new(table: &Table, partition: Partition, sorts: (String, String)) -> Self {
        let has_ended = sorts.0 > sorts.1;
        let table = table.clone();
        Self { table, partition, sorts, next: None, has_ended, consumed_capacity: 0.0 }
    }

    /// Continues with another range of sort keys.
    pub(crate) fn select(&mut self, sorts: (String, String)) {
        self.has_ended = sorts.0 > sorts.1;
        self.sorts = sorts;
        self.next = None;
    }

    /// Reads at most `limit` items if there is a limit, and at most the megabyte that DynamoDB returns at once. There
    /// may be none although more follow.
    pub(crate) async fn read(&mut self, limit: Option<usize>) -> Result<Vec<Item>, StoreError> {
        if self.has_ended {
            return Ok(Vec::new());
        }
        let (index, attribute, partition, is_consistent) = match &self.partition {
            Partition::Table { key, is_consistent } => (None, REPOSITORY, key, *is_consistent),
            Partition::Index { key } => {
                (Some(TAG_STATUS_INDEX.to_owned()), REPOSITORY_TAG_STATUS, key, false)
            }
        };
        let output = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .set_index_name(index)
            .key_condition_expression("#partition = :partition AND #sort BETWEEN :first AND :last")
            .expression_attribute_names("#partition", attribute)
            .expression_attribute_names("#sort", SORT)
            .expression_attribute_values(":partition", text(partition))
            .expression_attribute_values(":first", text(&self.sorts.0))
            .expression_attribute_values(":last", text(&self.sorts.1))
            .set_limit(limit.map(|limit| i32::try_from(limit).unwrap_or(i32::MAX)))
            .consistent_read(is_consistent)
            .set_exclusive_start_key(self.next.take())
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await?;
        let capacity = output.consumed_capacity.and_then(|capacity| capacity.capacity_units);
        self.consumed_capacity += capacity.unwrap_or_default();
        self.next = output.last_evaluated_key;
        self.has_ended = self.next.is_none();
        Ok(output.items.unwrap_or_default())
    }
}
