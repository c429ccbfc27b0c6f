//! The items of pending lookups, and of signed deliveries.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    EXPIRES_AT, Item, REPOSITORY, SORT, StoreError, TOMBSTONE_LIFETIME, Table, key, text,
    unless_condition_failed,
};
use crate::time::Timestamp;

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

impl Table {
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
}
