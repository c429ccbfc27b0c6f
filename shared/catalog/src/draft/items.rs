//! The items that a draft reads, and those that it writes.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::history::{ImageHistory, RepositoryHistory, SegmentWrite, TagHistory};
use crate::identifier::{Digest, Tag};
use crate::packed::{pack, unpack};

/// The history that segments belong to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// Those of an image's log.
    Image(Digest),
    /// Those of a tag's log.
    Tag(Tag),
}

/// What a draft requires and is not loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Missing {
    /// The item of the repository.
    pub repository: bool,
    /// Items of digests.
    pub images: Vec<Digest>,
    /// Items of tags.
    pub tags: Vec<Tag>,
    /// Segments of logs.
    pub segments: Vec<(Owner, u32)>,
}

impl Missing {
    pub(super) fn extend(&mut self, other: Self) {
        self.repository |= other.repository;
        self.images.extend(other.images);
        self.tags.extend(other.tags);
        self.segments.extend(other.segments);
    }

    /// Without the items of images and tags that are loaded.
    pub(super) fn without(mut self, loaded: &Loaded) -> Self {
        self.images.retain(|digest| !loaded.images.contains_key(digest));
        self.tags.retain(|tag| !loaded.tags.contains_key(tag));
        self
    }
}

/// Items of a repository, each as it is stored or was last written, or `None` if the table does not
/// have it.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The repository's item, once it is loaded.
    pub repository: Option<Option<Item<RepositoryHistory>>>,
    /// Items of digests.
    pub images: BTreeMap<Digest, Option<Item<ImageHistory>>>,
    /// Items of tags.
    pub tags: BTreeMap<Tag, Option<Item<TagHistory>>>,
    /// The events of segments.
    pub segments: BTreeMap<(Owner, u32), Option<Vec<u8>>>,
}

/// An item of the table: a history, and what is stored beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item<T> {
    pub history: T,
    /// Counts the writes to the item.
    pub version: u64,
    /// Whether it expires.
    pub expires: bool,
}

/// A history as it is stored, and as it is to be written.
#[derive(Debug, Clone)]
pub struct Drafted<T> {
    /// `None` if the table does not have it.
    pub stored: Option<Item<T>>,
    /// As it is to be written.
    pub now: T,
}

impl<T: Clone + Default + PartialEq> Drafted<T> {
    pub(super) fn new(stored: Option<&Item<T>>) -> Self {
        let now = stored.map(|item| item.history.clone()).unwrap_or_default();
        Self { stored: stored.cloned(), now }
    }

    pub(super) fn is_changed(&self) -> bool {
        self.stored
            .as_ref()
            .map_or_else(|| self.now != T::default(), |item| item.history != self.now)
    }
}

impl<T> Drafted<T> {
    /// The version of the item that is written.
    #[must_use]
    pub fn next_version(&self) -> u64 {
        self.stored.as_ref().map_or(1, |stored| stored.version + 1)
    }
}

impl<T: Serialize + DeserializeOwned> Drafted<T> {
    /// The item that is written, as a reader finds it: without what only a change has in memory.
    /// `None` if it cannot be read, which is an error of who reads it.
    fn written(&self, expires: bool) -> Option<Item<T>> {
        let history = unpack(&pack(&self.now)).ok()?;
        Some(Item { history, version: self.next_version(), expires })
    }
}

/// The writes of a draft.
#[derive(Debug, Default)]
pub struct Writes {
    /// The repository's item.
    pub repository: Option<Drafted<RepositoryHistory>>,
    /// Items of digests, and whether they expire.
    pub images: Vec<(Digest, Drafted<ImageHistory>, bool)>,
    /// Items of tags, and whether they expire.
    pub tags: Vec<(Tag, Drafted<TagHistory>, bool)>,
    /// Segments of their logs.
    pub segments: Vec<(Owner, SegmentWrite)>,
    /// Tags that no image has any longer, too many to expire in the same transaction.
    pub unused_tags: Vec<Tag>,
}

impl Writes {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.repository.is_none() && self.images.is_empty() && self.tags.is_empty()
    }

    /// The items of histories that are written, as if they were loaded after that.
    #[must_use]
    pub fn written(&self) -> Loaded {
        let images = self.images.iter().filter_map(|(digest, history, expires)| {
            Some((digest.clone(), Some(history.written(*expires)?)))
        });
        let tags = self.tags.iter().filter_map(|(tag, history, expires)| {
            Some((tag.clone(), Some(history.written(*expires)?)))
        });
        Loaded {
            repository: self.repository.as_ref().and_then(|it| Some(Some(it.written(false)?))),
            images: images.collect(),
            tags: tags.collect(),
            segments: BTreeMap::new(),
        }
    }
}
