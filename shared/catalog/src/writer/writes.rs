//! The DynamoDB writes of a draft.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem};
use serde::Serialize;

use crate::draft::{self, Drafted, Owner};
use crate::history::{ImageHistory, RepositoryHistory, SegmentWrite};
use crate::identifier::{Digest, Repository};
use crate::image::Image;
use crate::row::Row;
use crate::table::{self, Item, Range, StoreError, TOMBSTONE_LIFETIME, Table};
use crate::time::Timestamp;

/// Writes of one DynamoDB transaction.
const TRANSACTION_WRITES: usize = 100;
/// Of all items of one DynamoDB transaction, 4 MB.
const TRANSACTION_BYTES: usize = 4_000_000;

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
            writes.put_repository(history);
        }
        for (digest, history, expires) in &drafted.images {
            writes.put_image(digest, history, *expires)?;
        }
        for (tag, history, expires) in &drafted.tags {
            writes.put_history(&table::tag_sort(tag), history, *expires);
        }
        for (owner, segment) in &drafted.segments {
            writes.put_segment(owner, segment);
        }
        Ok(writes)
    }

    /// Whether one transaction can have all writes.
    pub(super) fn fit_into_one_transaction(&self) -> bool {
        let items = self.histories.iter().filter_map(|write| write.put.as_ref());
        let bytes: usize = items.map(|put| table::approximate_bytes(put.item())).sum();
        let writes = self.histories.len() + self.manifests.len();
        writes <= TRANSACTION_WRITES && bytes <= TRANSACTION_BYTES
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

    /// Writes a history on condition that it has not changed since it was read.
    fn put_history<T: Serialize>(&mut self, sort: &str, history: &Drafted<T>, expires: bool) {
        let version = history.stored.as_ref().map(|stored| stored.version);
        let next = history.next_version();
        let mut item = table::history_item(&self.partition, sort, &history.now, next);
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
    }

    /// Writes the history of the repository, and its description among those of the registry.
    fn put_repository(&mut self, history: &Drafted<RepositoryHistory>) {
        self.put_history(table::REPOSITORY_ITEM, history, false);
        let Repository { service, registry, name } = &self.repository;
        let (partition, sort) =
            (table::registry_partition(*service, registry), table::description_sort(name));
        let stored = history.stored.as_ref();
        let before = stored.and_then(|stored| stored.history.description());
        let write = match history.now.description() {
            now if now == before => return,
            Some(now) => self.put(table::description_item(&partition, &sort, &now)),
            None => self.delete(table::key(&partition, &sort)),
        };
        self.histories.push(write);
    }

    /// Writes the history of a digest, and the items that follow from it: the image in listings,
    /// and its manifests.
    fn put_image(
        &mut self,
        digest: &Digest,
        history: &Drafted<ImageHistory>,
        expires: bool,
    ) -> Result<(), StoreError> {
        self.put_history(&table::digest_sort(digest), history, expires);
        let now = history.now.image(digest);
        let before = history.stored.as_ref().and_then(|stored| stored.history.image(digest));
        let rows_before = rows(&self.repository, before.as_ref())?;
        let rows_now = rows(&self.repository, now.as_ref())?;
        for sort in rows_before.keys().filter(|sort| !rows_now.contains_key(*sort)) {
            let delete = self.delete(table::key(&self.partition, sort));
            self.histories.push(delete);
        }
        for (sort, row) in rows_now {
            if rows_before.get(&sort) != Some(&row) {
                let put = self.put(row);
                self.histories.push(put);
            }
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
        let mut item = table::segment_item(&self.partition, &sort, segment.events.clone());
        item.insert(table::EXPIRES_AT.to_owned(), expiry(segment.until));
        let put = self.put(item);
        self.histories.push(put);
    }

    fn delete(&self, key: Item) -> TransactWriteItem {
        let delete = Delete::builder().table_name(&self.table).set_key(Some(key)).build();
        TransactWriteItem::builder().set_delete(delete.ok()).build()
    }

    fn put(&self, item: Item) -> TransactWriteItem {
        let put = Put::builder().table_name(&self.table).set_item(Some(item)).build();
        TransactWriteItem::builder().set_put(put.ok()).build()
    }
}

/// The items of an image in listings, by sort key.
fn rows(
    repository: &Repository,
    image: Option<&Image>,
) -> Result<BTreeMap<String, Item>, StoreError> {
    let Some(image) = image else { return Ok(BTreeMap::new()) };
    let row = Row::new(image)?;
    let once_archived = image.last_archived_at.map(|_| Range::OnceArchived);
    let ranges = [Some(Range::Status(image.image_status)), once_archived];
    let items = ranges.into_iter().flatten().map(|range| table::row_item(repository, range, &row));
    Ok(items.map(|item| (table::sort_of(&item).to_owned(), item)).collect())
}

/// The expiry of an item that is of no use after the window of lateness.
fn expiry(time: Timestamp) -> AttributeValue {
    number(time.plus(TOMBSTONE_LIFETIME).as_seconds() + 1)
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
