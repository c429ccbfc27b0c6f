//! The writes that turn a draft into items.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem};
use serde::Serialize;

use super::draft::Drafted;
use crate::history::ImageHistory;
use crate::identifier::{Digest, Repository};
use crate::image::Image;
use crate::table::{self, Item, StoreError, Table};

/// The most writes of one DynamoDB transaction.
const TRANSACTION_WRITES: usize = 100;

/// The attribute of a digest's item that holds the sort key of its image in the listing.
pub(super) const LISTED_AS: &str = "listedAs";

/// The writes of one draft.
pub(super) struct Writes {
    table: String,
    repository: Repository,
    partition: String,
    expires_at: i64,
    /// They take effect together, or not at all.
    histories: Vec<TransactWriteItem>,
    /// Which manifests an index lists; if there are too many of them for one transaction, they are
    /// written first.
    manifests: Vec<TransactWriteItem>,
}

impl Writes {
    pub(super) fn new(table: &Table, repository: &Repository, expires_at: i64) -> Self {
        Self {
            table: table.name.clone(),
            repository: repository.clone(),
            partition: table::partition(repository),
            expires_at,
            histories: Vec::new(),
            manifests: Vec::new(),
        }
    }

    /// The writes as transactions, in order.
    pub(super) fn transactions(mut self) -> Vec<Vec<TransactWriteItem>> {
        if self.histories.len() + self.manifests.len() <= TRANSACTION_WRITES {
            self.histories.append(&mut self.manifests);
        }
        let mut transactions: Vec<_> = self.manifests.chunks(TRANSACTION_WRITES).map(<[_]>::to_vec).collect();
        transactions.push(self.histories);
        transactions.retain(|transaction| !transaction.is_empty());
        transactions
    }

    /// Writes a history, and an attribute beside it, on condition that nobody wrote to it since it was read.
    pub(super) fn put_history<T: Serialize>(
        &mut self,
        sort: String,
        history: &Drafted<T>,
        attribute: Option<(&str, String)>,
        expires: bool,
    ) -> Result<(), StoreError> {
        let version = history.stored.as_ref().map(|stored| stored.version);
        let mut item = self.item(sort, &history.now)?;
        item.insert(table::VERSION.to_owned(), number(version.map_or(1, |version| version + 1)));
        item.extend(attribute.map(|(name, value)| (name.to_owned(), table::text(value))));
        item.extend(expires.then(|| (table::EXPIRES_AT.to_owned(), number(self.expires_at))));
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        let put = match version {
            Some(version) => put
                .condition_expression("#version = :version")
                .expression_attribute_names("#version", table::VERSION)
                .expression_attribute_values(":version", number(version)),
            None => put
                .condition_expression("attribute_not_exists(#version)")
                .expression_attribute_names("#version", table::VERSION),
        };
        self.histories.push(TransactWriteItem::builder().set_put(put.build().ok()).build());
        Ok(())
    }

    /// Writes the history of a digest, and what follows from it: its image in the listing, and which
    /// manifests it lists.
    pub(super) fn put_image(
        &mut self,
        digest: &Digest,
        history: &Drafted<ImageHistory>,
    ) -> Result<(), StoreError> {
        let (before, now) = (history.before.image(), history.now.image());
        let listed_before = history.stored.as_ref().and_then(|stored| stored.listed_as.as_deref());
        let listed_now =
            now.as_ref().map(|image| table::image_sort(image.image_status, image.image_pushed_at, digest));
        let listed_as = listed_now.clone().map(|sort| (LISTED_AS, sort));
        self.put_history(table::digest_sort(digest), history, listed_as, now.is_none())?;
        if let Some(sort) = listed_before
            && Some(sort) != listed_now.as_deref()
        {
            let key = table::key(&self.partition, sort);
            let delete = Delete::builder().table_name(&self.table).set_key(Some(key)).build();
            self.histories.push(TransactWriteItem::builder().set_delete(delete.ok()).build());
        }
        if let (Some(image), Some(sort)) = (&now, listed_now)
            && (before.as_ref() != Some(image) || Some(sort.as_str()) != listed_before)
        {
            let mut item = self.item(sort, image)?;
            let partition = table::tag_status_partition(&self.repository, image.tag_status());
            item.insert(table::REPOSITORY_TAG_STATUS.to_owned(), table::text(partition));
            let put = self.put(item);
            self.histories.push(put);
        }
        // They also hold while the index is deleted, so that its size is right should it come back.
        let manifests = |image: Option<&Image>, history: &ImageHistory| -> BTreeSet<(String, bool)> {
            let sorts = history.manifests().iter().map(|manifest| table::manifest_sort(manifest, digest));
            sorts.map(|sort| (sort, image.is_none())).collect()
        };
        let before = manifests(before.as_ref(), &history.before);
        let now = manifests(now.as_ref(), &history.now);
        for (sort, expires) in now.difference(&before) {
            let mut item = table::key(&self.partition, sort);
            item.extend(expires.then(|| (table::EXPIRES_AT.to_owned(), number(self.expires_at))));
            let put = self.put(item);
            self.manifests.push(put);
        }
        Ok(())
    }

    fn item(&self, sort: String, content: &impl Serialize) -> Result<Item, StoreError> {
        match serde_dynamo::to_item(content) {
            Ok(item) => {
                let mut item: Item = item;
                item.extend(table::key(&self.partition, &sort));
                Ok(item)
            }
            Err(error) => Err(StoreError::Item { sort, error: Box::new(error) }),
        }
    }

    fn put(&self, item: Item) -> TransactWriteItem {
        let put = Put::builder().table_name(&self.table).set_item(Some(item)).build();
        TransactWriteItem::builder().set_put(put.ok()).build()
    }
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
