//! The items of histories, segments, rows, and descriptions of repositories.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys::{Range, image_sort, partition, tag_status_partition};
use super::{EXPIRES_AT, Item, REPOSITORY_TAG_STATUS, StoreError, VERSION, key, sort_of, text};
use crate::identifier::Repository;
use crate::repository::RepositoryDescription;
use crate::row::Row;
use crate::{draft, packed};

/// The attribute of a history, packed.
pub const HISTORY: &str = "history";

/// The attribute of the description of a repository, packed.
const DESCRIPTION: &str = "description";

/// The attribute of a segment that holds its events.
const EVENTS: &str = "events";

/// The attributes of a row that hold the members of both services, and those of the private one.
pub const IMAGE: &str = "image";
pub const PRIVATE: &str = "private";

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
