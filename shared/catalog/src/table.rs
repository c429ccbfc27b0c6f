//! The DynamoDB table: its definition, its keys and its items. No other module has keys.
//!
//! Everything of a repository has one partition key, `<registryId>/<repositoryName>`, or
//! `ecr-public/<registryId>/<repositoryName>`:
//!
//! | sort key | item |
//! | --- | --- |
//! | `repository` | the history of the repository: whether it exists, and what is known of it |
//! | `<imageStatus>#<time>#<kind>#<digest>` | an image as it is listed; the time is counted down, so that the newest is first; the kind is 0 for an index, else 1 |
//! | `ONCE_ARCHIVED#<time>#<kind>#<digest>` | the same of an image that was archived at least once since its push |
//! | `digest#<digest>` | the history of a digest, from which its image follows |
//! | `tag#<tag>` | where a tag was moved to |
//! | `segment#<owner>#<number>` | older events of a history, whose sort key the owner is |
//! | `manifest#<digest>#<index digest>` | an index lists the manifest |
//!
//! The partition `<registryId>`, or `ecr-public/<registryId>`, contains the descriptions of the
//! registry's repositories; their sort keys are `repository#<repositoryName>`.
//!
//! The partition `pending` contains the pending lookups; their sort keys are their ids. The
//! partition `reconciliations` contains the last reconciliation with each registry, whose id is the
//! sort key. The partition `format` contains the number of the table's format. Each signed delivery
//! has a partition, `delivery#<hash of the signature>`, which contains when it was received first.
//!
//! The history of a repository, a digest or a tag is the attribute `history`. An image in a listing
//! is the attributes `image` and `private`; [`crate::row`] has their form.
//!
//! The attribute `repositoryTagStatus` is the partition key of the index [`TAG_STATUS_INDEX`].
//! Images listed by their status have it, and the index lists a repository's tagged or untagged
//! ones in the same order.

mod error;
mod format;
mod items;
mod keys;
mod pending;
mod query;
mod reconciliations;

use std::collections::HashMap;
use std::time::Duration;

use crate::change::MAX_CLOCK_LEAD;
use crate::history::LATENESS_WINDOW;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement,
    KeyType, KeysAndAttributes, Projection, ProjectionType, ReturnConsumedCapacity,
    ScalarAttributeType, TableStatus, TimeToLiveSpecification,
};

pub use self::error::{StoreError, causes};
pub use self::format::FORMAT;
pub(crate) use self::items::*;
pub use self::items::{HISTORY, IMAGE, PRIVATE};
pub(crate) use self::keys::*;
pub(crate) use self::pending::*;
pub(crate) use self::query::{Partition, Query};
pub(crate) use self::reconciliations::reconciliation;

/// An item of DynamoDB.
pub type Item = HashMap<String, AttributeValue>;

/// Partition key of the table.
pub const REPOSITORY: &str = "repository";
/// Sort key of the table and of its index.
pub const SORT: &str = "sort";
/// Partition key of the index.
pub const REPOSITORY_TAG_STATUS: &str = "repositoryTagStatus";
/// The index of tagged and of untagged images.
pub const TAG_STATUS_INDEX: &str = "tag-status";
/// When DynamoDB may delete an item, in seconds since the beginning of 1970.
pub const EXPIRES_AT: &str = "expiresAt";
/// The number of writes to an item, the condition of the next one.
pub const VERSION: &str = "version";

/// How long the items of deleted images and tags are kept, for late events.
pub const TOMBSTONE_LIFETIME: Duration = LATENESS_WINDOW.saturating_add(MAX_CLOCK_LEAD);

/// Manifests of an index, which are in one item.
pub(crate) const MAX_MANIFESTS: usize = 1000;

/// Keys of one BatchGetItem request.
const BATCH_GET_KEYS: usize = 100;

/// A text attribute.
pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A primary key.
pub(crate) fn key(partition: &str, sort: &str) -> Item {
    Item::from([(REPOSITORY.to_owned(), text(partition)), (SORT.to_owned(), text(sort))])
}

/// The sort key of an item.
pub(crate) fn sort_of(item: &Item) -> &str {
    item.get(SORT).and_then(|sort| sort.as_s().ok()).map_or("", String::as_str)
}

#[derive(Debug, Clone)]
pub struct Table {
    pub client: Client,
    pub name: String,
}

impl Table {
    /// Creates the table, its index and its expiry unless they exist, and waits until it is active.
    /// A table that exists may be used with credentials that only read it.
    pub async fn create_if_missing(&self) -> Result<(), StoreError> {
        // DescribeTable may take long: the embedded engine counts all items.
        if !matches!(self.format().await, Ok(Some(_))) {
            self.create_unless_active().await?;
        }
        // The table may belong to another program.
        match self.claim_format().await {
            Err(StoreError::AccessDenied(_)) => self.check_format().await?,
            claimed => claimed?,
        }
        match self.set_expiry().await {
            // Those who write the table see to it.
            Err(StoreError::AccessDenied(_)) => Ok(()),
            set => set,
        }
    }

    async fn create_unless_active(&self) -> Result<(), StoreError> {
        loop {
            match self.status().await? {
                Some(TableStatus::Active) => return Ok(()),
                Some(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                None => self.create().await?,
            }
        }
    }

    /// `None` if the table does not exist.
    async fn status(&self) -> Result<Option<TableStatus>, StoreError> {
        match self.client.describe_table().table_name(&self.name).send().await {
            Ok(described) => Ok(described.table.and_then(|table| table.table_status)),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DescribeTableError::is_resource_not_found_exception) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Another process may be first.
    async fn create(&self) -> Result<(), StoreError> {
        match definition(self.client.create_table().table_name(&self.name)).send().await {
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(CreateTableError::is_resource_in_use_exception) =>
            {
                Ok(())
            }
            created => Ok(created.map(drop)?),
        }
    }

    async fn set_expiry(&self) -> Result<(), StoreError> {
        if self.expires().await? {
            return Ok(());
        }
        let expiry =
            TimeToLiveSpecification::builder().attribute_name(EXPIRES_AT).enabled(true).build();
        let enabled = self
            .client
            .update_time_to_live()
            .table_name(&self.name)
            .set_time_to_live_specification(expiry.ok())
            .send()
            .await;
        match enabled {
            // DynamoDB refuses it if another process was first.
            Err(error) if !self.expires().await? => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn expires(&self) -> Result<bool, StoreError> {
        let expiry = self.client.describe_time_to_live().table_name(&self.name).send().await?;
        let attribute =
            expiry.time_to_live_description.and_then(|description| description.attribute_name);
        Ok(attribute.as_deref() == Some(EXPIRES_AT))
    }

    /// A consistent Query of all items whose sort keys begin with a prefix.
    pub(crate) fn query_prefix(&self, partition: &str, prefix: &str) -> Query {
        let partition = Partition::Table { key: partition.to_owned(), is_consistent: true };
        // '~' is greater than every character of a name.
        Query::new(self, partition, (prefix.to_owned(), format!("{prefix}~")))
    }

    /// Gets the item with a key, if it exists. Also returns the read units.
    pub(crate) async fn get_item(
        &self,
        key: Item,
        consistent: bool,
    ) -> Result<(Option<Item>, f64), StoreError> {
        let output = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(key))
            .consistent_read(consistent)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await?;
        let capacity = output.consumed_capacity.and_then(|capacity| capacity.capacity_units);
        Ok((output.item, capacity.unwrap_or_default()))
    }

    /// Gets the items that exist, in any order. Keys that DynamoDB did not process are requested
    /// again. Also returns the read units.
    pub(crate) async fn get(
        &self,
        partition: &str,
        sorts: impl IntoIterator<Item = String>,
        consistent: bool,
    ) -> Result<(Vec<Item>, f64), StoreError> {
        let mut waiting: Vec<Item> = sorts.into_iter().map(|sort| key(partition, &sort)).collect();
        if waiting.len() == 1 {
            let (item, capacity) = self.get_item(waiting.remove(0), consistent).await?;
            return Ok((item.into_iter().collect(), capacity));
        }
        let mut found = Vec::with_capacity(waiting.len());
        let mut capacity = 0.0;
        let mut backoff = Backoff::new();
        while !waiting.is_empty() {
            let rest = waiting.split_off(waiting.len().min(BATCH_GET_KEYS));
            let keys = KeysAndAttributes::builder()
                .set_keys(Some(waiting))
                .consistent_read(consistent)
                .build()
                .ok();
            let output = self
                .client
                .batch_get_item()
                .set_request_items(keys.map(|keys| HashMap::from([(self.name.clone(), keys)])))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await?;
            capacity +=
                output.consumed_capacity().iter().filter_map(|c| c.capacity_units).sum::<f64>();
            found.extend(output.responses.unwrap_or_default().into_values().flatten());
            let unprocessed: Vec<Item> = output
                .unprocessed_keys
                .unwrap_or_default()
                .into_values()
                .flat_map(|keys| keys.keys)
                .collect();
            if !unprocessed.is_empty() {
                backoff.wait().await.ok_or(StoreError::Throttled)?;
            }
            waiting = unprocessed;
            waiting.extend(rest);
        }
        Ok((found, capacity))
    }
}

/// The result of a write that is not to happen if its condition fails.
fn unless_condition_failed<T, E, R>(result: Result<T, SdkError<E, R>>) -> Result<(), StoreError>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The table's definition. `template.yaml` deploys the same.
fn definition(
    request: aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder,
) -> aws_sdk_dynamodb::operation::create_table::builders::CreateTableFluentBuilder {
    let attribute = |name: &str| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .ok()
    };
    let keys = |partition: &str| {
        let key = |name: &str, key_type| {
            KeySchemaElement::builder().attribute_name(name).key_type(key_type).build().ok()
        };
        [key(partition, KeyType::Hash), key(SORT, KeyType::Range)].into_iter().flatten().collect()
    };
    let index = GlobalSecondaryIndex::builder()
        .index_name(TAG_STATUS_INDEX)
        .set_key_schema(Some(keys(REPOSITORY_TAG_STATUS)))
        .projection(Projection::builder().projection_type(ProjectionType::All).build())
        .build();
    request
        .set_attribute_definitions(Some(
            [REPOSITORY, SORT, REPOSITORY_TAG_STATUS].into_iter().filter_map(attribute).collect(),
        ))
        .set_key_schema(Some(keys(REPOSITORY)))
        .set_global_secondary_indexes(index.ok().map(|index| vec![index]))
        .billing_mode(BillingMode::PayPerRequest)
}

/// Exponential backoff with jitter, up to half a second, for twenty attempts.
pub(crate) struct Backoff {
    attempt: u32,
}

impl Backoff {
    const ATTEMPTS: u32 = 20;

    pub(crate) fn new() -> Self {
        Self { attempt: 0 }
    }

    /// Waits; `None` after the last attempt.
    pub(crate) async fn wait(&mut self) -> Option<()> {
        if self.attempt == Self::ATTEMPTS {
            return None;
        }
        let longest_milliseconds = (4 << self.attempt.min(7)).min(500);
        self.attempt += 1;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..=longest_milliseconds))).await;
        Some(())
    }
}
