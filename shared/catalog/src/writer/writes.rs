//! The DynamoDB writes of a draft.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem};
use serde::Serialize;

use crate::draft::{self, Drafted, Owner};
use crate::history::{ImageHistory, SegmentWrite};
use crate::identifier::{Digest, Repository};
use crate::image::Image;
use crate::table::{self, Item, Range, StoreError, TOMBSTONE_LIFETIME, Table};
use crate::time::Timestamp;

/// Writes of one DynamoDB transaction.
const TRANSACTION_WRITES: usize = 100;

/// The writes of one draft.
pub(super) struct Writes {
    table: String,
    repository: Repository,
    partition: String,
    expires_at: AttributeValue,
    /// In one transaction.
    histories: Vec<TransactWriteItem>,
    /// The manifests of an index. If they are too many for one transaction, they are written first.
    manifests: Vec<TransactWriteItem>,
}

impl Writes {
    pub(super) fn new(
        table: &Table,
        repository: &Repository,
        drafted: &draft::Writes,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let mut writes = Self {
            table: table.name.clone(),
            repository: repository.clone(),
            partition: table::partition(repository),
            expires_at: expiry(now),
            histories: Vec::new(),
            manifests: Vec::new(),
        };
        if let Some(history) = &drafted.repository {
            let registry = table::registry_partition(repository.service, &repository.registry);
            let listed_in = Some((table::REPOSITORY_TAG_STATUS, registry));
            writes.put_history(table::REPOSITORY_ITEM.to_owned(), history, listed_in, false)?;
        }
        for (digest, history, expires) in &drafted.images {
            writes.put_image(digest, history, *expires)?;
        }
        for (tag, history, expires) in &drafted.tags {
            writes.put_history(table::tag_sort(tag), history, None, *expires)?;
        }
        for (owner, segment) in &drafted.segments {
            writes.put_segment(owner, segment);
        }
        Ok(writes)
    }

    /// The writes as transactions, in order.
    pub(super) fn transactions(mut self) -> Vec<Vec<TransactWriteItem>> {
        if self.histories.len() + self.manifests.len() <= TRANSACTION_WRITES {
            self.histories.append(&mut self.manifests);
        }
        let mut transactions: Vec<_> =
            self.manifests.chunks(TRANSACTION_WRITES).map(<[_]>::to_vec).collect();
        transactions.push(self.histories);
        transactions.retain(|transaction| !transaction.is_empty());
        transactions
    }

    /// Writes a history, with an attribute, on condition that it has not changed since it was read.
    fn put_history<T: Serialize>(
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
        item.extend(expires.then(|| (table::EXPIRES_AT.to_owned(), self.expires_at.clone())));
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

    /// Writes the history of a digest, and the items that follow from it: the image in listings,
    /// and its manifests.
    fn put_image(
        &mut self,
        digest: &Digest,
        history: &Drafted<ImageHistory>,
        expires: bool,
    ) -> Result<(), StoreError> {
        self.put_history(table::digest_sort(digest), history, None, expires)?;
        let now = history.now.image(digest);
        let before = history.stored.as_ref().and_then(|stored| stored.history.image(digest));
        let (rows_before, mut rows_now) = (rows(before.as_ref()), rows(now.as_ref()));
        for sort in rows_before.keys().filter(|sort| !rows_now.contains_key(*sort)) {
            let key = table::key(&self.partition, sort);
            let delete = Delete::builder().table_name(&self.table).set_key(Some(key)).build();
            self.histories.push(TransactWriteItem::builder().set_delete(delete.ok()).build());
        }
        if before == now {
            rows_now.retain(|sort, _| !rows_before.contains_key(sort));
        }
        for (sort, (image, range)) in rows_now {
            let mut item = self.item(sort, image)?;
            if range != Range::OnceArchived {
                let partition = table::tag_status_partition(&self.repository, image.tag_status());
                item.insert(table::REPOSITORY_TAG_STATUS.to_owned(), table::text(partition));
            }
            let put = self.put(item);
            self.histories.push(put);
        }
        // They are kept while the index is deleted, for its size when it is pushed again.
        let manifests = |history: &ImageHistory, is_deleted: bool| -> BTreeSet<(String, bool)> {
            let sorts =
                history.manifests().iter().map(|manifest| table::manifest_sort(manifest, digest));
            sorts.map(|sort| (sort, is_deleted)).collect()
        };
        let stored = history.stored.as_ref();
        let before =
            stored.map(|stored| manifests(&stored.history, before.is_none())).unwrap_or_default();
        for (sort, expires) in manifests(&history.now, now.is_none()).difference(&before) {
            let mut item = table::key(&self.partition, sort);
            item.extend(expires.then(|| (table::EXPIRES_AT.to_owned(), self.expires_at.clone())));
            let put = self.put(item);
            self.manifests.push(put);
        }
        Ok(())
    }

    /// The history that the segment belongs to has the condition.
    fn put_segment(&mut self, owner: &Owner, segment: &SegmentWrite) {
        let sort = table::segment_sort(&table::owner_sort(owner), segment.number);
        let mut item = table::key(&self.partition, &sort);
        let events = AttributeValue::B(Blob::new(segment.events.clone()));
        item.insert(table::EVENTS.to_owned(), events);
        item.insert(table::EXPIRES_AT.to_owned(), expiry(segment.until));
        let put = self.put(item);
        self.histories.push(put);
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

/// The items of an image in listings, by sort key.
fn rows(image: Option<&Image>) -> BTreeMap<String, (&Image, Range)> {
    let Some(image) = image else { return BTreeMap::new() };
    let once_archived = image.last_archived_at.map(|_| Range::OnceArchived);
    let ranges = [Some(Range::Status(image.image_status)), once_archived];
    let row = |range| (table::image_sort(range, &image.position()), (image, range));
    ranges.into_iter().flatten().map(row).collect()
}

/// The expiry of an item that is of no use after the window of lateness.
fn expiry(time: Timestamp) -> AttributeValue {
    number(time.plus(TOMBSTONE_LIFETIME).as_seconds() + 1)
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
