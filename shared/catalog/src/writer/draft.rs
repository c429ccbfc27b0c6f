//! The items that a change touches, on their way to what they should be.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use super::writes::{LISTED_AS, Writes};
use crate::change::{Change, ChangeKind, Content};
use crate::history::{ImageHistory, Move, RepositoryHistory, TagEvent, TagEventKind, TagHistory};
use crate::identifier::{Digest, Repository, Tag};
use crate::table::{self, Item, StoreError, Table};

/// How many tags that nobody has any longer are given an expiry in one transaction.
pub(super) const TAGS_EXPIRED_AT_ONCE: usize = 40;
/// How many indexes are given a new size in the transaction that makes the size known.
const INDEXES_RESIZED_AT_ONCE: usize = 20;

/// An item as it was read, and as it should become.
#[derive(Debug)]
pub(super) struct Drafted<T> {
    pub(super) before: T,
    pub(super) now: T,
    /// Nothing if the table has no such item.
    pub(super) stored: Option<Stored>,
}

/// What an item says besides its history.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) version: u64,
    pub(super) expires: bool,
    /// Of a digest: the sort key of its image in the listing.
    pub(super) listed_as: Option<String>,
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
pub(super) struct Draft<'a> {
    table: &'a Table,
    repository: &'a Repository,
    partition: String,
    loaded: bool,
    pub(super) repository_item: Drafted<RepositoryHistory>,
    images: BTreeMap<Digest, Drafted<ImageHistory>>,
    tags: BTreeMap<Tag, Drafted<TagHistory>>,
    /// Images that only follow from others in their size.
    indexes: BTreeSet<Digest>,
    /// Tags that nobody has any longer, and that are too many to expire with the other writes.
    pub(super) left_behind: Vec<Tag>,
    pub(super) read_units: f64,
}

impl<'a> Draft<'a> {
    pub(super) fn new(table: &'a Table, repository: &'a Repository) -> Self {
        Self {
            table,
            repository,
            partition: table::partition(repository),
            loaded: false,
            repository_item: Drafted::missing(RepositoryHistory::default()),
            images: BTreeMap::new(),
            tags: BTreeMap::new(),
            indexes: BTreeSet::new(),
            left_behind: Vec::new(),
            read_units: 0.0,
        }
    }

    /// Adds a change to the histories it touches.
    pub(super) async fn add(&mut self, change: &Change) -> Result<(), StoreError> {
        let time = change.time;
        match &change.kind {
            ChangeKind::ImagePushed { digest, tag, content } => {
                if content.manifests.as_ref().is_some_and(|manifests| manifests.len() > table::MOST_MANIFESTS)
                {
                    return Err(StoreError::ItemTooLarge);
                }
                self.load([digest], tag).await?;
                if let Some(tag) = tag {
                    self.move_tag(tag, &Move { time, digest: Some(digest.clone()) }).await?;
                }
                self.touch(digest).push(time, tag.as_ref(), content);
                self.update_sizes(digest, content).await?;
            }
            ChangeKind::ImageObserved { digest, pushed_at, content } => {
                self.load([digest], None).await?;
                self.touch(digest).observe(time, *pushed_at, content);
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
    pub(super) async fn catch_up(&mut self, digest: &Digest) -> Result<(), StoreError> {
        self.load([digest], None).await?;
        self.touch(digest);
        Ok(())
    }

    /// Reads what is not yet loaded of the given items, and the repository's own.
    pub(super) async fn load(
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
            .query_prefix(&self.partition, &table::manifest_prefix(manifest))
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
    pub(super) async fn writes(&mut self, expires_at: i64) -> Result<Writes, StoreError> {
        // A repository exists from the first event that is seen of it; after a deletion, from the
        // next push.
        if let Some(pushed_at) = self.images.values().filter_map(|image| image.now.last_pushed_at).max() {
            self.repository_item.now.observe(pushed_at);
        }
        self.load_tags_left_behind().await?;
        let mut writes = Writes::new(self.table, self.repository, expires_at);
        if self.repository_item.changed() || self.repository_item.stored.is_none() {
            let registry = table::registry_partition(&self.repository.registry);
            let listed_in = Some((table::REPOSITORY_TAG_STATUS, registry));
            writes.put_history(table::REPOSITORY_ITEM.to_owned(), &self.repository_item, listed_in, false)?;
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
        let mut left_behind: Vec<Tag> =
            left_behind.into_iter().filter(|tag| !self.tags.contains_key(tag)).collect();
        self.left_behind = left_behind.split_off(left_behind.len().min(TAGS_EXPIRED_AT_ONCE));
        self.load_tags(&left_behind).await
    }

    /// Loads tags, and the images that they were last moved to.
    pub(super) async fn load_tags(&mut self, tags: &[Tag]) -> Result<(), StoreError> {
        self.load([], tags).await?;
        let targets: Vec<Digest> =
            tags.iter().filter_map(|tag| self.tags.get(tag)?.now.target().cloned()).collect();
        self.load(&targets, None).await
    }
}
