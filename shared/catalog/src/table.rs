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
//! partition `format` contains the number of the table's format. Each signed delivery has a
//! partition, `delivery#<hash of the signature>`, which contains when it was received first.
//!
//! The history of a repository, a digest or a tag is the attribute `history`. An image in a listing
//! is the attributes `image` and `private`; [`crate::row`] has their form.
//!
//! The attribute `repositoryTagStatus` is the partition key of the index [`TAG_STATUS_INDEX`].
//! Images listed by their status have it, and the index lists a repository's tagged or untagged
//! ones in the same order.

mod error;
mod keys;
mod query;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement,
    KeyType, KeysAndAttributes, Projection, ProjectionType, ReturnConsumedCapacity,
    ReturnValuesOnConditionCheckFailure, ScalarAttributeType, TableStatus, TimeToLiveSpecification,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::change::MAX_CLOCK_LEAD;
use crate::draft;
use crate::history::LATENESS_WINDOW;
use crate::identifier::Repository;
use crate::packed;
use crate::repository::RepositoryDescription;
use crate::row::Row;
use crate::time::Timestamp;

pub use self::error::{StoreError, causes};
pub(crate) use self::keys::*;
pub(crate) use self::query::{Partition, Query};

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

/// The format of the table's items. A program does not read or write a table of another format.
pub const FORMAT: u64 = 6;

/// The partition key and the sort key of the item that holds the format, and its attribute. No
/// repository's partition has its name: those have a slash.
const FORMAT_ITEM: &str = "format";

/// The partition key of pending lookups, and the attribute that contains one. No repository's
/// partition has this name: those have a slash.
const PENDING: &str = "pending";
const LOOKUP: &str = "lookup";
/// The time of a pending lookup, in milliseconds since the beginning of 1970.
const LOOKUP_TIME: &str = "time";
/// How often a pending lookup was tried in vain.
const ATTEMPTS: &str = "attempts";
/// When a pending lookup is to be tried again, in milliseconds since the beginning of 1970.
const RETRY_AT: &str = "retryAt";

/// The partition key of a signed delivery begins with this, and has no slash. Each has a partition of
/// its own.
const DELIVERY: &str = "delivery";
/// The attribute of the time at which a delivery was received first.
const RECEIVED_AT: &str = "receivedAt";

/// Pending lookups of one page.
const PENDING_PAGE_SIZE: i32 = 100;

/// How long the items of deleted images and tags are kept, for late events.
pub const TOMBSTONE_LIFETIME: Duration = LATENESS_WINDOW.saturating_add(MAX_CLOCK_LEAD);

/// Manifests of an index, which are in one item.
pub(crate) const MAX_MANIFESTS: usize = 1000;

/// The attribute of a history, packed.
pub const HISTORY: &str = "history";

/// The attribute of the description of a repository, packed.
const DESCRIPTION: &str = "description";

/// The attribute of a segment that holds its events.
const EVENTS: &str = "events";

/// The attributes of a row that hold the members of both services, and those of the private one.
pub const IMAGE: &str = "image";
pub const PRIVATE: &str = "private";

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

/// Not less than the bytes of an item's texts and binaries, which are nearly all of it.
pub(crate) fn approximate_bytes(item: &Item) -> usize {
    let bytes = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        _ => 32,
    };
    item.iter().map(|(name, value)| name.len() + bytes(value)).sum()
}

/// A binary attribute.
fn binary(bytes: Vec<u8>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// An item that cannot be read.
fn invalid(item: &Item, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Item { sort: sort_of(item).to_owned(), error: error.into() }
}

/// Reads a packed attribute.
fn unpack<T: DeserializeOwned>(item: &Item, name: &str) -> Result<T, StoreError> {
    let Some(AttributeValue::B(bytes)) = item.get(name) else {
        return Err(invalid(item, format!("it has no {name}")));
    };
    packed::unpack(bytes.as_ref()).map_err(|error| invalid(item, error))
}

/// The item of a history.
pub(crate) fn history_item(
    partition: &str,
    sort: &str,
    history: &impl Serialize,
    version: u64,
) -> Item {
    let mut item = key(partition, sort);
    item.insert(HISTORY.to_owned(), binary(packed::pack(history)));
    item.insert(VERSION.to_owned(), AttributeValue::N(version.to_string()));
    item
}

/// The history in an item.
pub(crate) fn history<T: DeserializeOwned>(item: &Item) -> Result<T, StoreError> {
    unpack(item, HISTORY)
}

/// The history in an item, with what the next write of the item depends on.
pub(crate) fn stored_history<T: DeserializeOwned>(
    item: &Item,
) -> Result<draft::Item<T>, StoreError> {
    let version = item.get(VERSION).and_then(|version| version.as_n().ok()?.parse().ok());
    let expires = item.contains_key(EXPIRES_AT);
    Ok(draft::Item { version: version.unwrap_or_default(), expires, history: history(item)? })
}

/// The item of the description of a repository.
pub(crate) fn description_item(
    partition: &str,
    sort: &str,
    description: &RepositoryDescription,
) -> Item {
    let mut item = key(partition, sort);
    item.insert(DESCRIPTION.to_owned(), binary(packed::pack(description)));
    item
}

/// The description of a repository in an item.
pub(crate) fn description(item: &Item) -> Result<RepositoryDescription, StoreError> {
    unpack(item, DESCRIPTION)
}

/// The item of a segment.
pub(crate) fn segment_item(partition: &str, sort: &str, events: Vec<u8>) -> Item {
    let mut item = key(partition, sort);
    item.insert(EVENTS.to_owned(), binary(events));
    item
}

/// The events in the item of a segment.
pub(crate) fn segment(mut item: Item) -> Result<Vec<u8>, StoreError> {
    match item.remove(EVENTS) {
        Some(AttributeValue::B(events)) => Ok(events.into_inner()),
        _ => Err(invalid(&item, "it has no events")),
    }
}

/// The item of a row. Those of a status are in the index, too.
pub(crate) fn row_item(repository: &Repository, range: Range, row: &Row) -> Item {
    let mut item = key(&partition(repository), &image_sort(range, &row.order));
    if range != Range::OnceArchived {
        let partition = tag_status_partition(repository, row.tag_status());
        item.insert(REPOSITORY_TAG_STATUS.to_owned(), text(partition));
    }
    item.insert(IMAGE.to_owned(), text(&row.members));
    if let Some(members) = &row.private_members {
        item.insert(PRIVATE.to_owned(), text(members));
    }
    item
}

/// The row in an item.
pub(crate) fn row(mut item: Item) -> Result<Row, StoreError> {
    let order = sort_of(&item).split_once('#').map(|(_, order)| order.to_owned());
    let mut take = |name: &str| match item.remove(name) {
        Some(AttributeValue::S(text)) => Some(text),
        _ => None,
    };
    match (order, take(IMAGE), take(PRIVATE)) {
        (Some(order), Some(members), private_members) => {
            Ok(Row { order, members, private_members })
        }
        _ => Err(invalid(&item, "it is no image")),
    }
}

/// The lookup in the item of a pending one.
pub(crate) fn pending_lookup(item: &Item) -> AttributeValue {
    item.get(LOOKUP).cloned().unwrap_or(AttributeValue::Null(true))
}

/// How often a pending lookup was tried in vain, and when it is to be tried again.
pub(crate) fn pending_attempts(item: &Item) -> (u32, Option<Timestamp>) {
    let number = |name: &str| item.get(name)?.as_n().ok()?.parse::<i64>().ok();
    let attempts = number(ATTEMPTS).and_then(|attempts| u32::try_from(attempts).ok());
    let retry_at = number(RETRY_AT).and_then(|time| Timestamp::from_milliseconds(time).ok());
    (attempts.unwrap_or_default(), retry_at)
}

/// Writes a value as an attribute.
pub(crate) fn to_attribute<T: Serialize>(value: &T) -> Result<AttributeValue, StoreError> {
    serde_dynamo::to_attribute_value(value)
        .map_err(|error| StoreError::Attribute { sort: PENDING.to_owned(), error })
}

/// Reads the attribute of the item with this sort key.
pub(crate) fn from_attribute<T: DeserializeOwned>(
    sort: &str,
    attribute: AttributeValue,
) -> Result<T, StoreError> {
    serde_dynamo::from_attribute_value(attribute)
        .map_err(|error| StoreError::Item { sort: sort.to_owned(), error: Box::new(error) })
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
        loop {
            match self.status().await? {
                Some(TableStatus::Active) => break,
                Some(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                None => self.create().await?,
            }
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

    /// For a program that only reads: fails if the table has another format. A table without a
    /// format is empty.
    pub async fn check_format(&self) -> Result<(), StoreError> {
        match self.format().await? {
            Some(found) if found != FORMAT.to_string() => {
                Err(StoreError::Format { found: format!("format {found}") })
            }
            _ => Ok(()),
        }
    }

    /// For a program that writes: writes the format of an empty table, and fails if the table has
    /// another one.
    pub async fn claim_format(&self) -> Result<(), StoreError> {
        if self.format().await?.is_none() {
            let scanned = self
                .client
                .scan()
                .table_name(&self.name)
                .consistent_read(true)
                .limit(1)
                .send()
                .await?;
            if scanned.items().is_empty() {
                self.put_format().await?;
            } else if self.format().await?.is_none() {
                return Err(StoreError::Format { found: "items and no format".to_owned() });
            }
        }
        self.check_format().await
    }

    async fn format(&self) -> Result<Option<String>, StoreError> {
        let found = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(key(FORMAT_ITEM, FORMAT_ITEM)))
            .consistent_read(true)
            .send()
            .await?;
        Ok(found.item.map(|item| match item.get(FORMAT_ITEM) {
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

    /// Writes a pending lookup, unless there is a later one of this id.
    pub(crate) async fn put_pending(
        &self,
        id: &str,
        time: Timestamp,
        lookup: AttributeValue,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let expires_at = now.as_seconds() + TOMBSTONE_LIFETIME.as_secs().cast_signed();
        let time = AttributeValue::N(time.as_milliseconds().to_string());
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(key(PENDING, id)))
            .item(LOOKUP, lookup)
            .item(LOOKUP_TIME, time.clone())
            .item(EXPIRES_AT, AttributeValue::N(expires_at.to_string()))
            .condition_expression("attribute_not_exists(#time) OR #time <= :time")
            .expression_attribute_names("#time", LOOKUP_TIME)
            .expression_attribute_values(":time", time)
            .send()
            .await;
        unless_condition_failed(put)
    }

    /// A page of the items of pending lookups, those after an id if there is one.
    pub(crate) async fn list_pending(&self, after: Option<&str>) -> Result<Vec<Item>, StoreError> {
        let listed = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("#repository = :pending")
            .expression_attribute_names("#repository", REPOSITORY)
            .expression_attribute_values(":pending", text(PENDING))
            .set_exclusive_start_key(after.map(|id| key(PENDING, id)))
            .consistent_read(true)
            .limit(PENDING_PAGE_SIZE)
            .send()
            .await?;
        Ok(listed.items.unwrap_or_default())
    }

    /// Writes the attempts of a pending lookup if it is still this one.
    pub(crate) async fn postpone_pending(
        &self,
        item: Item,
        attempts: u32,
        retry_at: Timestamp,
    ) -> Result<(), StoreError> {
        let lookup = pending_lookup(&item);
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .item(ATTEMPTS, AttributeValue::N(attempts.to_string()))
            .item(RETRY_AT, AttributeValue::N(retry_at.as_milliseconds().to_string()))
            .condition_expression("#lookup = :lookup")
            .expression_attribute_names("#lookup", LOOKUP)
            .expression_attribute_values(":lookup", lookup)
            .send()
            .await;
        unless_condition_failed(put)
    }

    /// Removes a pending lookup if it is still this one.
    pub(crate) async fn remove_pending(
        &self,
        id: &str,
        lookup: AttributeValue,
    ) -> Result<(), StoreError> {
        let removed = self
            .client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(key(PENDING, id)))
            .condition_expression("#lookup = :lookup")
            .expression_attribute_names("#lookup", LOOKUP)
            .expression_attribute_values(":lookup", lookup)
            .send()
            .await;
        unless_condition_failed(removed)
    }

    /// Writes when a delivery was received, unless that is known. Returns the time that is known.
    pub(crate) async fn put_delivery(
        &self,
        id: &str,
        received_at: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(key(&format!("{DELIVERY}#{id}"), DELIVERY)))
            .item(RECEIVED_AT, AttributeValue::N(received_at.as_milliseconds().to_string()))
            .condition_expression("attribute_not_exists(#sort)")
            .expression_attribute_names("#sort", SORT)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let known = match put {
            Ok(_) => return Ok(received_at),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) => failed.item.clone(),
                _ => return Err(error.into()),
            },
        };
        let known = known.as_ref().and_then(|item| item.get(RECEIVED_AT)?.as_n().ok());
        let known = known.and_then(|time| Timestamp::from_milliseconds(time.parse().ok()?).ok());
        known.ok_or_else(|| StoreError::Item {
            sort: DELIVERY.to_owned(),
            error: "it has no time".into(),
        })
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

    /// Gets the items that exist, in any order. Keys that DynamoDB did not process are requested
    /// again. Also returns the read units.
    pub(crate) async fn get(
        &self,
        partition: &str,
        sorts: impl IntoIterator<Item = String>,
        consistent: bool,
    ) -> Result<(Vec<Item>, f64), StoreError> {
        let mut waiting: Vec<Item> = sorts.into_iter().map(|sort| key(partition, &sort)).collect();
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
