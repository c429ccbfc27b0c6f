//! Applies changes. It reads only what a change touches, and lists nothing but a repository that is
//! being deleted.
//!
//! A change is applied by reading the histories it touches, adding it to them, and writing what
//! follows from them in one transaction, on condition that nobody wrote to them since; then all of
//! it again, until there is nothing left to write. The last round thus always sees what other
//! writers did meanwhile, so that two changes which each need to know of the other never miss each
//! other, and a change that was applied before costs reads alone.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, ReturnConsumedCapacity, TransactWriteItem};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::change::{Change, ChangeKind, Content};
use crate::history::{ImageHistory, Move, RepositoryHistory, TagEvent, TagEventKind, TagHistory};
use crate::identifier::{Digest, Repository, Tag};
use crate::image::Image;
use crate::table::{self, Backoff, Item, StoreError, TOMBSTONE_LIFETIME, Table};
use crate::time::Timestamp;

/// The most writes of one DynamoDB transaction.
const TRANSACTION_WRITES: usize = 100;
/// How many tags that nobody has any longer are given an expiry in the transaction that removes them.
const TAGS_RETIRED_AT_ONCE: usize = 40;
/// How many indexes are given a new size in the transaction that makes the size known.
const INDEXES_RESIZED_AT_ONCE: usize = 20;
/// How many images of a deleted repository are removed side by side.
const CONCURRENT_REMOVALS: usize = 8;

/// The attribute of a digest's item that holds the sort key of its image in the listing.
const LISTED_AS: &str = "listedAs";

/// What applying a change did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Applied {
    /// Whether anything was written; not so for a change that was applied before.
    pub written: bool,
    /// DynamoDB write units that were consumed.
    pub write_units: f64,
    /// DynamoDB read units that were consumed.
    pub read_units: f64,
}

/// Applies changes to the table.
#[derive(Debug, Clone)]
pub struct Writer {
    table: Table,
    clock: fn() -> Timestamp,
}

impl Writer {
    /// A writer to this table. The clock only decides when the remains of deleted images expire.
    #[must_use]
    pub fn new(table: Table, clock: fn() -> Timestamp) -> Self {
        Self { table, clock }
    }

    /// Applies a change, wholly or, if it fails, so that it can be applied again.
    ///
    /// # Errors
    /// The store fails, or other writers keep being first.
    pub async fn apply(&self, change: &Change) -> Result<Applied, StoreError> {
        let mut applied = Applied::default();
        self.settle(&change.repository, Work::Change(change), &mut applied).await?;
        if change.kind == ChangeKind::RepositoryDeleted {
            self.remove_images(&change.repository, &mut applied).await?;
        }
        Ok(applied)
    }

    /// Drafts and writes until there is nothing left to write.
    async fn settle(
        &self,
        repository: &Repository,
        work: Work<'_>,
        applied: &mut Applied,
    ) -> Result<(), StoreError> {
        let mut backoff = Backoff::new();
        loop {
            let mut draft = Draft::new(&self.table, repository);
            match work {
                Work::Change(change) => draft.add(change).await?,
                Work::CatchUp(digest) => draft.catch_up(digest).await?,
            }
            let expires_at = (self.clock)().as_seconds() + TOMBSTONE_LIFETIME.as_secs().cast_signed();
            let writes = draft.writes(expires_at).await;
            applied.read_units += draft.read_units;
            let transactions = writes?.transactions();
            if transactions.is_empty() {
                return Ok(());
            }
            match self.transact(transactions).await {
                Ok(units) => {
                    applied.written = true;
                    applied.write_units += units;
                }
                Err(error @ (StoreError::Contended | StoreError::Throttled)) => {
                    backoff.wait().await.ok_or(error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn transact(&self, transactions: Vec<Vec<TransactWriteItem>>) -> Result<f64, StoreError> {
        let mut units = 0.0;
        for writes in transactions {
            units += self.transact_once(writes).await?;
        }
        Ok(units)
    }

    async fn transact_once(&self, writes: Vec<TransactWriteItem>) -> Result<f64, StoreError> {
        let output =
            self.table
                .client
                .transact_write_items()
                .set_transact_items(Some(writes))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map_err(|error| match error.as_service_error() {
                    Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                        let code = |code: &str| {
                            cancelled.cancellation_reasons().iter().any(|reason| reason.code() == Some(code))
                        };
                        if code("ConditionalCheckFailed") || code("TransactionConflict") {
                            StoreError::Contended
                        } else if code("ThrottlingError") || code("ProvisionedThroughputExceeded") {
                            StoreError::Throttled
                        } else if cancelled.cancellation_reasons().iter().any(|reason| {
                            reason.message().is_some_and(|message| message.contains("Item size"))
                        }) {
                            StoreError::ItemTooLarge
                        } else {
                            error.into()
                        }
                    }
                    Some(other) if other.code() == Some("TransactionInProgressException") => {
                        StoreError::Contended
                    }
                    _ => error.into(),
                })?;
        Ok(output.consumed_capacity().iter().filter_map(|capacity| capacity.capacity_units).sum())
    }

    /// Takes every image out of a deleted repository that was there before the deletion, and looks
    /// for pushes since then. The reader hides the images from the moment of the deletion, so this
    /// may take its time, stop half-way and be done again.
    async fn remove_images(&self, repository: &Repository, applied: &mut Applied) -> Result<(), StoreError> {
        let mut draft = Draft::new(&self.table, repository);
        draft.load([], []).await?;
        let Some(deleted_at) = draft.repository_item.now.deleted_at else { return Ok(()) };
        let mut pages = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("#repository = :repository AND begins_with(#sort, :prefix)")
            .expression_attribute_names("#repository", table::REPOSITORY)
            .expression_attribute_names("#sort", table::SORT)
            .expression_attribute_values(":repository", table::text(table::partition(repository)))
            .expression_attribute_values(":prefix", table::text(table::DIGEST_PREFIX))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page?;
            applied.read_units +=
                page.consumed_capacity.and_then(|capacity| capacity.capacity_units).unwrap_or_default();
            let mut touched = Vec::new();
            for item in page.items.unwrap_or_default() {
                let history: ImageHistory = table::parse(item)?;
                if history.has_anything_before(deleted_at) || history.last_pushed_at >= Some(deleted_at) {
                    touched.push(history.digest);
                }
            }
            let removals: Vec<Applied> = stream::iter(touched)
                .map(|digest| async move {
                    let mut applied = Applied::default();
                    self.settle(repository, Work::CatchUp(&digest), &mut applied).await?;
                    Ok::<_, StoreError>(applied)
                })
                .buffer_unordered(CONCURRENT_REMOVALS)
                .try_collect()
                .await?;
            for removal in removals {
                applied.written |= removal.written;
                applied.write_units += removal.write_units;
                applied.read_units += removal.read_units;
            }
        }
        Ok(())
    }
}

/// What there is to do in one repository.
#[derive(Clone, Copy)]
enum Work<'a> {
    /// Add a change to the histories.
    Change(&'a Change),
    /// Let an image follow a deletion of its repository.
    CatchUp(&'a Digest),
}

/// An item as it was read, and as it should become.
#[derive(Debug)]
struct Drafted<T> {
    before: T,
    now: T,
    /// Nothing if the table has no such item.
    stored: Option<Stored>,
}

/// What an item says besides its history.
#[derive(Debug, Default)]
struct Stored {
    version: u64,
    expires: bool,
    /// Of a digest: the sort key of its image in the listing.
    listed_as: Option<String>,
}

impl<T: Clone + DeserializeOwned + PartialEq> Drafted<T> {
    fn missing(empty: T) -> Self {
        Self { now: empty.clone(), before: empty, stored: None }
    }

    fn read(item: Item) -> Result<Self, StoreError> {
        let stored = Stored {
            version: item
                .get(table::VERSION)
                .and_then(|version| version.as_n().ok()?.parse().ok())
                .unwrap_or_default(),
            expires: item.contains_key(table::EXPIRES_AT),
            listed_as: item.get(LISTED_AS).and_then(|sort| sort.as_s().ok().cloned()),
        };
        let before: T = table::parse(item)?;
        Ok(Self { now: before.clone(), before, stored: Some(stored) })
    }

    fn changed(&self) -> bool {
        self.before != self.now
    }
}

/// The items that a change touches, as far as they are loaded, on their way to what they should be.
struct Draft<'a> {
    table: &'a Table,
    repository: &'a Repository,
    partition: String,
    loaded: bool,
    repository_item: Drafted<RepositoryHistory>,
    images: BTreeMap<Digest, Drafted<ImageHistory>>,
    tags: BTreeMap<Tag, Drafted<TagHistory>>,
    /// Images that only follow from others in their size.
    indexes: BTreeSet<Digest>,
    read_units: f64,
}

impl<'a> Draft<'a> {
    fn new(table: &'a Table, repository: &'a Repository) -> Self {
        Self {
            table,
            repository,
            partition: table::partition(repository),
            loaded: false,
            repository_item: Drafted::missing(RepositoryHistory::default()),
            images: BTreeMap::new(),
            tags: BTreeMap::new(),
            indexes: BTreeSet::new(),
            read_units: 0.0,
        }
    }

    /// Adds a change to the histories it touches.
    async fn add(&mut self, change: &Change) -> Result<(), StoreError> {
        let time = change.time;
        match &change.kind {
            ChangeKind::ImagePushed { digest, tag, content } => {
                self.load([digest], tag).await?;
                if let Some(tag) = tag {
                    self.move_tag(tag, &Move { time, digest: Some(digest.clone()) }).await?;
                }
                self.touch(digest).push(time, tag.as_ref(), content);
                self.update_sizes(digest, content).await?;
            }
            ChangeKind::ImageDeleted { digest } => {
                self.load([digest], None).await?;
                self.touch(digest).delete(time);
            }
            ChangeKind::ImageUntagged { digest, tag } => {
                self.load([digest], None).await?;
                self.touch(digest).tag_event(tag, TagEvent { time, kind: TagEventKind::Untagged });
            }
            ChangeKind::TagDeleted { tag } => {
                self.load([], [tag]).await?;
                self.move_tag(tag, &Move { time, digest: None }).await?;
            }
            ChangeKind::RepositoryCreated => {
                self.load([], None).await?;
                self.repository_item.now.create(time);
            }
            ChangeKind::RepositoryDeleted => {
                self.load([], None).await?;
                self.repository_item.now.delete(time);
            }
            ChangeKind::ImageScanned { digest, scan } => {
                self.load([digest], None).await?;
                self.touch(digest).scan(time, scan);
            }
            ChangeKind::ImagePulled { digest } => {
                self.load([digest], None).await?;
                self.touch(digest).pull(time);
            }
            ChangeKind::ImageArchived { digest } => {
                self.load([digest], None).await?;
                self.touch(digest).archive(time);
            }
            ChangeKind::ImageRestored { digest, activated_at } => {
                self.load([digest], None).await?;
                self.touch(digest).restore(time, *activated_at);
            }
        }
        Ok(())
    }

    /// Lets an image follow a deletion of its repository.
    async fn catch_up(&mut self, digest: &Digest) -> Result<(), StoreError> {
        self.load([digest], None).await?;
        self.touch(digest);
        Ok(())
    }

    /// Reads what is not yet loaded of the given items, and the repository's own.
    async fn load(
        &mut self,
        digests: impl IntoIterator<Item = &Digest>,
        tags: impl IntoIterator<Item = &Tag>,
    ) -> Result<(), StoreError> {
        let digests: BTreeMap<String, Digest> = digests
            .into_iter()
            .filter(|digest| !self.images.contains_key(digest))
            .map(|digest| (table::digest_sort(digest), digest.clone()))
            .collect();
        let tags: BTreeMap<String, Tag> = tags
            .into_iter()
            .filter(|tag| !self.tags.contains_key(tag))
            .map(|tag| (table::tag_sort(tag), tag.clone()))
            .collect();
        let repository_item = (!self.loaded).then(|| table::REPOSITORY_ITEM.to_owned());
        let sorts = digests.keys().chain(tags.keys()).cloned().chain(repository_item);
        let (items, read_units) = self.table.get(&self.partition, sorts, true).await?;
        self.read_units += read_units;
        self.loaded = true;
        for item in items {
            let sort = table::sort_of(&item);
            if let Some(digest) = digests.get(sort) {
                self.images.insert(digest.clone(), Drafted::read(item)?);
            } else if let Some(tag) = tags.get(sort) {
                self.tags.insert(tag.clone(), Drafted::read(item)?);
            } else {
                self.repository_item = Drafted::read(item)?;
            }
        }
        for digest in digests.into_values() {
            self.images
                .entry(digest)
                .or_insert_with_key(|digest| Drafted::missing(ImageHistory::new(digest.clone())));
        }
        for tag in tags.into_values() {
            self.tags.entry(tag).or_insert_with(|| Drafted::missing(TagHistory::default()));
        }
        Ok(())
    }

    /// The history of a loaded digest, as it is after the last deletion of the repository.
    fn touch(&mut self, digest: &Digest) -> &mut ImageHistory {
        let history = &mut self
            .images
            .entry(digest.clone())
            .or_insert_with(|| Drafted::missing(ImageHistory::new(digest.clone())))
            .now;
        if let Some(deleted_at) = self.repository_item.now.deleted_at {
            history.delete(deleted_at);
        }
        history
    }

    /// Moves a loaded tag, and tells the images on both sides of the move.
    async fn move_tag(&mut self, tag: &Tag, moved: &Move) -> Result<(), StoreError> {
        let history =
            &mut self.tags.entry(tag.clone()).or_insert_with(|| Drafted::missing(TagHistory::default())).now;
        let (before, after) = history.insert(moved);
        // Whether the tag's item may expire depends on the image that has the tag in the end.
        let target = history.target().cloned();
        let previous = before.and_then(|before| before.digest);
        self.load(previous.iter().chain(&target), None).await?;
        if let Some(previous) = previous
            && let Some(event) = moved.seen_from(&previous)
            // An image that has been gone for so long that its item expired does not come back.
            && self.images.get(&previous).is_some_and(|image| image.stored.is_some())
        {
            self.touch(&previous).tag_event(tag, event);
        }
        if let Some(digest) = &moved.digest
            && let Some(event) = after.and_then(|after| after.seen_from(digest))
        {
            self.touch(digest).tag_event(tag, event);
        }
        Ok(())
    }

    /// Works out the size of a loaded index from its manifests, and of the indexes that list this one.
    async fn update_sizes(&mut self, digest: &Digest, content: &Content) -> Result<(), StoreError> {
        let mut waiting = vec![digest.clone()];
        let mut seen = BTreeSet::from([digest.clone()]);
        while let Some(digest) = waiting.pop() {
            self.load([&digest], None).await?;
            let manifests = self.touch(&digest).manifests().to_vec();
            if !manifests.is_empty() {
                self.load(&manifests, None).await?;
                let size = |manifest| self.images.get(manifest).and_then(|image| image.now.size_in_bytes());
                let largest = manifests.iter().filter_map(size).max();
                self.touch(&digest).largest_manifest_size = largest;
            }
            if content.size_in_bytes.is_some() || content.manifests.is_some() {
                for index in self.indexes_of(&digest).await? {
                    if seen.insert(index.clone()) {
                        self.indexes.insert(index.clone());
                        waiting.push(index);
                    }
                }
            }
        }
        Ok(())
    }

    /// The indexes that list a manifest.
    async fn indexes_of(&mut self, manifest: &Digest) -> Result<Vec<Digest>, StoreError> {
        let mut pages = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("#repository = :repository AND begins_with(#sort, :prefix)")
            .expression_attribute_names("#repository", table::REPOSITORY)
            .expression_attribute_names("#sort", table::SORT)
            .expression_attribute_values(":repository", table::text(self.partition.clone()))
            .expression_attribute_values(":prefix", table::text(table::manifest_prefix(manifest)))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .into_paginator()
            .send();
        let mut indexes = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page?;
            self.read_units += page.consumed_capacity().and_then(|c| c.capacity_units).unwrap_or_default();
            indexes.extend(
                page.items().iter().filter_map(|item| table::index_of_manifest_sort(table::sort_of(item))),
            );
        }
        Ok(indexes)
    }

    /// What has to be written so that the table holds what the draft says; nothing if it does.
    async fn writes(&mut self, expires_at: i64) -> Result<Writes, StoreError> {
        // A repository exists from the first event that is seen of it; after a deletion, from the
        // next push.
        if let Some(pushed_at) = self.images.values().filter_map(|image| image.now.last_pushed_at).max() {
            self.repository_item.now.observe(pushed_at);
        }
        self.load_tags_left_behind().await?;
        let mut writes = Writes::new(self.table, self.repository, expires_at);
        if self.repository_item.changed() || self.repository_item.stored.is_none() {
            writes.put_history(table::REPOSITORY_ITEM.to_owned(), &self.repository_item, None, false)?;
        }
        let mut indexes = 0;
        for (digest, image) in self.images.iter().filter(|(_, image)| image.changed()) {
            indexes += usize::from(self.indexes.contains(digest));
            // More of them follow in the next round.
            if indexes <= INDEXES_RESIZED_AT_ONCE || !self.indexes.contains(digest) {
                writes.put_image(digest, image)?;
            }
        }
        for (tag, history) in &self.tags {
            let image = history.now.target().and_then(|digest| self.images.get(digest)?.now.image());
            let expires = !image.is_some_and(|image| image.image_tags.contains(tag));
            let expiry_changed = history.stored.as_ref().is_some_and(|stored| stored.expires != expires);
            if history.changed() || expiry_changed {
                writes.put_history(table::tag_sort(tag), history, None, expires)?;
            }
        }
        Ok(writes)
    }

    /// Loads tags that images of the draft have lost to nobody, so that their items get an expiry.
    async fn load_tags_left_behind(&mut self) -> Result<(), StoreError> {
        let tags = |history: &ImageHistory| history.image().map(|image| image.image_tags).unwrap_or_default();
        let mut left_behind = BTreeSet::new();
        for image in self.images.values().filter(|image| image.changed()) {
            let now = tags(&image.now);
            left_behind.extend(tags(&image.before).into_iter().filter(|tag| !now.contains(tag)));
        }
        left_behind.retain(|tag| !self.tags.contains_key(tag));
        let left_behind: Vec<Tag> = left_behind.into_iter().take(TAGS_RETIRED_AT_ONCE).collect();
        self.load([], &left_behind).await?;
        let targets: Vec<Digest> =
            left_behind.iter().filter_map(|tag| self.tags.get(tag)?.now.target().cloned()).collect();
        self.load(&targets, None).await
    }
}

/// The writes of one draft.
struct Writes {
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
    fn new(table: &Table, repository: &Repository, expires_at: i64) -> Self {
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
    fn transactions(mut self) -> Vec<Vec<TransactWriteItem>> {
        if self.histories.len() + self.manifests.len() <= TRANSACTION_WRITES {
            self.histories.append(&mut self.manifests);
        }
        let mut transactions: Vec<_> = self.manifests.chunks(TRANSACTION_WRITES).map(<[_]>::to_vec).collect();
        transactions.push(self.histories);
        transactions.retain(|transaction| !transaction.is_empty());
        transactions
    }

    /// Writes a history, on condition that nobody wrote to it since it was read.
    fn put_history<T: Serialize>(
        &mut self,
        sort: String,
        history: &Drafted<T>,
        listed_as: Option<&str>,
        expires: bool,
    ) -> Result<(), StoreError> {
        let version = history.stored.as_ref().map(|stored| stored.version);
        let mut item = self.item(sort, &history.now)?;
        item.insert(table::VERSION.to_owned(), number(version.map_or(1, |version| version + 1)));
        item.extend(listed_as.map(|sort| (LISTED_AS.to_owned(), table::text(sort))));
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
    fn put_image(&mut self, digest: &Digest, history: &Drafted<ImageHistory>) -> Result<(), StoreError> {
        let (before, now) = (history.before.image(), history.now.image());
        let listed_before = history.stored.as_ref().and_then(|stored| stored.listed_as.as_deref());
        let listed_now =
            now.as_ref().map(|image| table::image_sort(image.image_status, image.image_pushed_at, digest));
        self.put_history(table::digest_sort(digest), history, listed_now.as_deref(), now.is_none())?;
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
