//! The DynamoDB table: its definition, every key that is ever made, and what its items hold.
//!
//! Everything of a repository has one partition key, `<registryId>/<repositoryName>`:
//!
//! | sort key | item |
//! | --- | --- |
//! | `repository` | whether the repository exists |
//! | `<imageStatus>#<time>#<kind>#<digest>` | an image as it is listed; the time is counted down, so that the newest is first; the kind is 0 for an index, else 1 |
//! | `ONCE_ARCHIVED#<time>#<kind>#<digest>` | the same of an image that was archived at least once since its push |
//! | `digest#<digest>` | the history of a digest, from which its image follows |
//! | `tag#<tag>` | where a tag was moved to |
//! | `segment#<owner>#<number>` | older events of a history, whose sort key the owner is |
//! | `manifest#<digest>#<index digest>` | an index lists the manifest |
//!
//! In a partition of its own, `questions`, is what registries have yet to be asked: the sort key is
//! the repository and what the question is about. In another one, `format`, is the number of the
//! table's format.
//!
//! The attribute `repositoryTagStatus` is the partition key of the index [`TAG_STATUS_INDEX`].
//! Images listed by their status have it, and the index lists a repository's tagged or untagged
//! ones in the same order; the item `repository` has it, and the index lists a registry's
//! repositories.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement,
    KeyType, KeysAndAttributes, Projection, ProjectionType, ReturnConsumedCapacity,
    ScalarAttributeType, TableStatus, TimeToLiveSpecification,
};
use serde::de::DeserializeOwned;

use crate::change::MAX_CLOCK_LEAD;
use crate::draft::{self, Owner};
use crate::history::LATENESS_WINDOW;
use crate::identifier::{Digest, RegistryId, Repository, Tag};
use crate::image::{ImageStatus, Position, TagStatus};
use crate::time::Timestamp;

/// One item as DynamoDB has it.
pub type Item = HashMap<String, AttributeValue>;

/// Partition key of the table.
pub const REPOSITORY: &str = "repository";
/// Sort key of the table and of its index.
pub const SORT: &str = "sort";
/// Partition key of the index.
pub const REPOSITORY_TAG_STATUS: &str = "repositoryTagStatus";
/// The index of tagged and of untagged images, and of repositories.
pub const TAG_STATUS_INDEX: &str = "tag-status";
/// When DynamoDB may remove an item, in seconds since the beginning of 1970.
pub const EXPIRES_AT: &str = "expiresAt";
/// Counts the writes to an item, so that a writer notices that another one was first.
pub const VERSION: &str = "version";

/// The number of the format of the table's items. A program that meets another one touches nothing.
pub const FORMAT: u64 = 2;

/// The partition key and the sort key of the item that holds the format, and its attribute. No
/// repository's partition has its name: those have a slash.
const FORMAT_ITEM: &str = "format";

/// How long what is left of a deleted image or tag is kept, for events that are late.
pub const TOMBSTONE_LIFETIME: Duration = LATENESS_WINDOW.saturating_add(MAX_CLOCK_LEAD);

/// The most manifests of an index, which are in one item together.
pub(crate) const MAX_MANIFESTS: usize = 1000;

/// The attribute of a segment that holds its events.
pub(crate) const EVENTS: &str = "events";

/// The most keys of one BatchGetItem request.
const BATCH_GET_KEYS: usize = 100;

/// The sort key of the item that says whether the repository exists.
pub(crate) const REPOSITORY_ITEM: &str = "repository";

/// Sort keys of digests begin so.
pub(crate) const DIGEST_PREFIX: &str = "digest#";

/// The partition key of everything in a repository.
pub(crate) fn partition(repository: &Repository) -> String {
    repository.to_string()
}

/// The index's partition key of the repository's images with, or without, tags.
pub(crate) fn tag_status_partition(repository: &Repository, tag_status: TagStatus) -> String {
    format!("{repository}#{}", tag_status.as_str())
}

/// The index's partition key of a registry's repositories.
pub(crate) fn registry_partition(registry: &RegistryId) -> String {
    registry.to_string()
}

/// The images that one Query lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// Those of a status.
    Status(ImageStatus),
    /// Those that were archived at least once since their push, whatever their status is now. An
    /// image that is not active is always one of them.
    OnceArchived,
}

impl Range {
    fn prefix(self) -> &'static str {
        match self {
            Self::Status(status) => status.as_str(),
            Self::OnceArchived => "ONCE_ARCHIVED",
        }
    }
}

/// The sort key of an image in a range.
pub(crate) fn image_sort(range: Range, position: &Position) -> String {
    format!("{}#{}", range.prefix(), listing_order(position))
}

/// Sorts like the listing: the newest first, of one millisecond indexes first, then by digest.
pub(crate) fn listing_order(position: &Position) -> String {
    // A position that a caller brings can have any time.
    let time = Timestamp::from_milliseconds(position.pushed_at_milliseconds)
        .map_or_else(|_| "~".to_owned(), Timestamp::newest_first);
    format!("{time}#{}#{}", u8::from(!position.is_index), position.digest)
}

/// The first and the last sort key that images of a range can have after a position, and up to
/// another one.
pub(crate) fn image_sorts(
    range: Range,
    after: Option<&Position>,
    up_to: Option<&Position>,
) -> (String, String) {
    let prefix = range.prefix();
    // '!' comes before every character that a digest can go on with.
    let first = after.map_or_else(|| format!("{prefix}#"), |after| image_sort(range, after) + "!");
    let last = up_to.map_or_else(|| format!("{prefix}#~"), |up_to| image_sort(range, up_to));
    (first, last)
}

/// The sort key of a digest's history.
pub(crate) fn digest_sort(digest: &Digest) -> String {
    format!("{DIGEST_PREFIX}{digest}")
}

/// The digest that such a sort key names.
pub(crate) fn digest_of_sort(sort: &str) -> Option<Digest> {
    sort.strip_prefix(DIGEST_PREFIX).and_then(|digest| Digest::parse(digest).ok())
}

/// The sort key of the history that segments belong to.
pub(crate) fn owner_sort(owner: &Owner) -> String {
    match owner {
        Owner::Image(digest) => digest_sort(digest),
        Owner::Tag(tag) => tag_sort(tag),
    }
}

/// The sort key of a tag's history.
pub(crate) fn tag_sort(tag: &Tag) -> String {
    format!("tag#{tag}")
}

/// The sort key of a segment of the history with this sort key.
pub(crate) fn segment_sort(owner: &str, number: u32) -> String {
    format!("segment#{owner}#{number}")
}

/// What the sort keys of all indexes that list a manifest begin with.
pub(crate) fn manifest_prefix(manifest: &Digest) -> String {
    format!("manifest#{manifest}#")
}

/// The sort key that says that an index lists a manifest.
pub(crate) fn manifest_sort(manifest: &Digest, index: &Digest) -> String {
    format!("{}{index}", manifest_prefix(manifest))
}

/// The index that such a sort key names.
pub(crate) fn index_of_manifest_sort(sort: &str) -> Option<Digest> {
    sort.rsplit_once('#').and_then(|(_, index)| Digest::parse(index).ok())
}

/// The partition of open questions. No repository's has its name: those have a slash.
#[must_use]
pub fn questions() -> AttributeValue {
    text("questions")
}

/// The key of an open question.
#[must_use]
pub fn question_key(name: &str) -> Item {
    key("questions", name)
}

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

/// The name of the repository that an item is in.
pub(crate) fn repository_name_of(item: &Item) -> Option<&str> {
    let partition = item.get(REPOSITORY)?.as_s().ok()?;
    partition.split_once('/').map(|(_, name)| name)
}

/// Reads an item into what it holds.
pub(crate) fn parse<T: DeserializeOwned>(item: Item) -> Result<T, StoreError> {
    let sort = sort_of(&item).to_owned();
    serde_dynamo::from_item(item).map_err(|error| StoreError::Item { sort, error: Box::new(error) })
}

/// Reads the item of a history.
pub(crate) fn parse_history<T: DeserializeOwned>(item: Item) -> Result<draft::Item<T>, StoreError> {
    let version = item.get(VERSION).and_then(|version| version.as_n().ok()?.parse().ok());
    let expires = item.contains_key(EXPIRES_AT);
    Ok(draft::Item { version: version.unwrap_or_default(), expires, history: parse(item)? })
}

/// Reads the events of a segment.
pub(crate) fn parse_segment(mut item: Item) -> Result<Vec<u8>, StoreError> {
    match item.remove(EVENTS) {
        Some(AttributeValue::B(events)) => Ok(events.into_inner()),
        _ => Err(StoreError::Item {
            sort: sort_of(&item).to_owned(),
            error: "it has no events".into(),
        }),
    }
}

/// Why DynamoDB did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Too many requests for the table's or the account's throughput; worth trying again later.
    #[error("DynamoDB throttles the catalog's requests")]
    Throttled,
    /// Other writers were first, too many times in a row; worth trying again later.
    #[error("other writers kept changing the same images")]
    Contended,
    /// An item would pass DynamoDB's 400 KB: an image has more tags, or lists more manifests, than
    /// fit.
    #[error("an image has more tags, or lists more manifests, than one DynamoDB item can hold")]
    ItemTooLarge,
    /// An item that this version of the catalog cannot read.
    #[error("the item {sort} cannot be read: {error}")]
    Item {
        /// Its sort key.
        sort: String,
        /// What is wrong with it.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The table was made by a program of another version, or by something else.
    #[error(
        "the table has {found}, and this program works with format {FORMAT}; nothing was read or written. Use the \
         version that made the table, or another table, and fill it with `image-catalog reconcile`"
    )]
    Format {
        /// What it has.
        found: String,
    },
    /// Anything else: no connection, no permission, no such table.
    #[error("DynamoDB does not answer as it should: {0}")]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl<E, R> From<SdkError<E, R>> for StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    fn from(error: SdkError<E, R>) -> Self {
        let code =
            error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
        let message =
            error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or_default();
        match code {
            "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "RequestLimitExceeded" => Self::Throttled,
            "TransactionConflictException" => Self::Contended,
            "ValidationException" if message.contains("Item size") => Self::ItemTooLarge,
            _ => Self::Other(causes(&error).into()),
        }
    }
}

/// What an error says, and the causes that the SDK leaves out of its texts. Not the whole answers
/// that its debug output has: those are not for the log.
pub fn causes(error: &dyn std::error::Error) -> String {
    let texts = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    texts.collect::<Vec<_>>().join(": ")
}

/// The table and how to reach it.
#[derive(Debug, Clone)]
pub struct Table {
    /// Sends the requests.
    pub client: Client,
    /// The table's name.
    pub name: String,
}

impl Table {
    /// Creates the table, its index and its expiry where they are missing, and waits until it can
    /// be used.
    ///
    /// # Errors
    /// The table has another format, or what DynamoDB says.
    pub async fn create_if_missing(&self) -> Result<(), StoreError> {
        let created = definition(self.client.create_table().table_name(&self.name)).send().await;
        match created {
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_resource_in_use_exception()) => {}
            result => drop(result?),
        }
        loop {
            let described = self.client.describe_table().table_name(&self.name).send().await?;
            let status = described.table.and_then(|table| table.table_status);
            if status == Some(TableStatus::Active) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // Before anything is changed of a table that may be somebody else's.
        self.claim_format().await?;
        if !self.expires().await? {
            let expiry =
                TimeToLiveSpecification::builder().attribute_name(EXPIRES_AT).enabled(true).build();
            let enabled = self
                .client
                .update_time_to_live()
                .table_name(&self.name)
                .set_time_to_live_specification(expiry.ok())
                .send()
                .await;
            // Another process may have been first, which is refused.
            if let Err(error) = enabled
                && !self.expires().await?
            {
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// For a program that only reads: fails if the table has another format. A table without a
    /// format has nothing in it yet.
    ///
    /// # Errors
    /// Another format, or what DynamoDB says.
    pub async fn check_format(&self) -> Result<(), StoreError> {
        match self.format().await? {
            Some(found) if found != FORMAT.to_string() => {
                Err(StoreError::Format { found: format!("format {found}") })
            }
            _ => Ok(()),
        }
    }

    /// For a program that writes: gives an empty table its format, and fails if it has another one,
    /// or none and is not empty.
    ///
    /// # Errors
    /// Another format, or what DynamoDB says.
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
        match put {
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(())
            }
            result => Ok(result.map(drop)?),
        }
    }

    async fn expires(&self) -> Result<bool, StoreError> {
        let expiry = self.client.describe_time_to_live().table_name(&self.name).send().await?;
        let attribute =
            expiry.time_to_live_description.and_then(|description| description.attribute_name);
        Ok(attribute.as_deref() == Some(EXPIRES_AT))
    }

    /// Asks for all items of a partition whose sort keys begin with a prefix, as they are now.
    pub(crate) fn query_prefix(&self, partition: &str, prefix: &str) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.name)
            .key_condition_expression("#repository = :repository AND begins_with(#sort, :prefix)")
            .expression_attribute_names("#repository", REPOSITORY)
            .expression_attribute_names("#sort", SORT)
            .expression_attribute_values(":repository", text(partition))
            .expression_attribute_values(":prefix", text(prefix))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
    }

    /// Gets items by their sort keys, in any order, missing ones left out; what DynamoDB leaves
    /// unprocessed is asked for again. Also tells the capacity consumed.
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

/// Waits longer each time, up to half a second, a random part of it, and gives up after twenty
/// times.
pub(crate) struct Backoff {
    attempt: u32,
}

impl Backoff {
    const ATTEMPTS: u32 = 20;

    pub(crate) fn new() -> Self {
        Self { attempt: 0 }
    }

    /// Waits; nothing if it is time to give up.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_sort_newest_first_then_indexes_then_by_digest() {
        let position = |time: &str, is_index, digest: &str| Position {
            pushed_at_milliseconds: time.parse::<Timestamp>().expect("a time").as_milliseconds(),
            is_index,
            digest: Digest::parse(digest).expect("a digest"),
        };
        let range = Range::Status(ImageStatus::Active);
        let listed = [
            position("2026-11-22T00:00:00.002Z", false, "sha256:aa"),
            position("2026-11-22T00:00:00.001999999Z", true, "sha256:cc"),
            position("2026-11-22T00:00:00.001Z", false, "sha256:aa"),
            position("2026-11-22T00:00:00.001Z", false, "sha256:aab"),
            position("2026-11-22T00:00:00.001Z", false, "sha256:ab"),
            position("2026-11-22T00:00:00Z", false, "sha256:00"),
        ];
        let sorts = listed.each_ref().map(|position| image_sort(range, position));
        assert!(sorts.is_sorted(), "{sorts:#?}");
        let (first, last) = image_sorts(range, Some(&listed[2]), Some(&listed[4]));
        assert!(first > sorts[2] && first < sorts[3] && last == sorts[4]);
        let (first, last) = image_sorts(range, None, None);
        assert!(first < sorts[0] && last > sorts[5]);
    }

    #[test]
    fn a_manifest_key_names_its_index() {
        let digest = |text| Digest::parse(text).expect("a digest");
        let sort = manifest_sort(&digest("sha256:aa"), &digest("sha512:bb"));
        assert_eq!(index_of_manifest_sort(&sort), Some(digest("sha512:bb")));
    }
}
