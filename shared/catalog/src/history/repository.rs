//! The history of a repository.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::register::{self, Register};
use crate::repository::{
    Encryption, ImageTagMutability, MAX_TAGS, RepositoryDescription, RepositoryStatement,
};
use crate::time::Timestamp;

/// Whether a repository exists, and what is known of it: registers, of which a deletion removes what
/// is older.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RepositoryHistory {
    /// The first time since the last deletion at which it existed, as far as is known.
    existed_at: Option<Timestamp>,
    /// The last time at which a registry stated that it exists.
    stated_at: Option<Timestamp>,
    /// The last deletion. The table has no images from before.
    deleted_at: Option<Timestamp>,
    /// A later deletion that is in progress. Writers apply it to every image that they write.
    /// Readers see it image by image, and of the repository itself once it is finished.
    pub deleting: Option<Timestamp>,
    created_at: Option<Register<Timestamp>>,
    uri: Option<Register<String>>,
    image_tag_mutability: Option<Register<ImageTagMutability>>,
    scan_on_push: Option<Register<bool>>,
    encryption: Option<Register<Encryption>>,
    /// A register for each resource tag, `None` in that of one that was removed.
    tags: BTreeMap<String, Register<Option<String>>>,
}

impl RepositoryHistory {
    /// A repository exists from its first event on; after a deletion, from a later push or
    /// statement on.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.deleted_at.is_none() || self.existed_at.max(self.stated_at) >= self.deleted_at
    }

    /// What is known of it; `None` if it does not exist.
    #[must_use]
    pub fn description(&self) -> Option<RepositoryDescription> {
        fn value<T: Clone>(register: &Option<Register<T>>) -> Option<T> {
            register.as_ref().map(|register| register.value.clone())
        }
        self.exists().then(|| RepositoryDescription {
            created_at: value(&self.created_at).or(self.existed_at).or(self.stated_at),
            uri: value(&self.uri),
            image_tag_mutability: value(&self.image_tag_mutability),
            scan_on_push: value(&self.scan_on_push),
            encryption: value(&self.encryption),
        })
    }

    /// Its resource tags.
    #[must_use]
    pub fn tags(&self) -> BTreeMap<String, String> {
        let tags = self.tags.iter();
        tags.filter_map(|(key, register)| Some((key.clone(), register.value.clone()?))).collect()
    }

    /// The last deletion, finished or not. It deletes the images from before.
    #[must_use]
    pub fn removed_until(&self) -> Option<Timestamp> {
        self.deleting.max(self.deleted_at)
    }

    /// The repository existed at this time. No change if that is known, so that a push does not
    /// write the repository's item.
    pub(crate) fn observe(&mut self, time: Timestamp) {
        let removed_until = self.removed_until();
        let is_first = || self.existed_at.is_none_or(|existed_at| time < existed_at);
        if Some(time) >= removed_until && (self.existed_at < removed_until || is_first()) {
            self.existed_at = Some(time);
        }
    }

    /// A registry stated that the repository exists, and what it is.
    pub(crate) fn state(&mut self, time: Timestamp, statement: &RepositoryStatement) {
        if Some(time) < self.deleted_at {
            return;
        }
        let RepositoryStatement {
            created_at,
            uri,
            image_tag_mutability,
            scan_on_push,
            encryption,
            tags,
        } = statement;
        if let Some(created_at) = created_at {
            self.observe(*created_at);
        }
        self.observe(time);
        self.stated_at = self.stated_at.max(Some(time));
        register::write(&mut self.created_at, time, *created_at);
        register::write(&mut self.uri, time, uri.clone());
        register::write(&mut self.image_tag_mutability, time, image_tag_mutability.clone());
        register::write(&mut self.scan_on_push, time, *scan_on_push);
        register::write(&mut self.encryption, time, encryption.clone());
        for (key, value) in tags {
            let mut known = self.tags.remove(key);
            register::write(&mut known, time, Some(value.clone()));
            self.tags.extend(known.map(|known| (key.clone(), known)));
        }
        self.drop_oldest_tags();
    }

    /// Keeps the item small enough that a deletion can be written: of more tags than a resource can
    /// have, the latest statements stay, in whatever order they came.
    fn drop_oldest_tags(&mut self) {
        while self.tags.len() > MAX_TAGS {
            let oldest = self.tags.iter().min_by_key(|(key, tag)| (tag.time, *key));
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { return };
            self.tags.remove(&oldest);
        }
    }

    /// The URI of the repository, if it exists.
    pub(crate) fn locate(&mut self, time: Timestamp, uri: &str) {
        if self.exists() && Some(time) >= self.deleted_at {
            register::write(&mut self.uri, time, Some(uri.to_owned()));
        }
    }

    /// The repository was deleted. Its images are to be removed before [`Self::finish_deletion`].
    pub(crate) fn begin_deletion(&mut self, time: Timestamp) {
        if Some(time) > self.deleted_at {
            self.deleting = self.deleting.max(Some(time));
        }
    }

    /// No image from before this deletion is left.
    pub(crate) fn finish_deletion(&mut self, time: Timestamp) {
        self.deleted_at = self.deleted_at.max(Some(time));
        self.deleting.take_if(|deleting| *deleting <= time);
        self.existed_at.take_if(|existed_at| *existed_at < time);
        self.stated_at.take_if(|stated_at| *stated_at < time);
        self.created_at.take_if(|created_at| created_at.time < time);
        self.uri.take_if(|uri| uri.time < time);
        self.image_tag_mutability.take_if(|mutability| mutability.time < time);
        self.scan_on_push.take_if(|scan_on_push| scan_on_push.time < time);
        self.encryption.take_if(|encryption| encryption.time < time);
        self.tags.retain(|_, tag| tag.time >= time);
    }

    /// Removes the tombstones of resource tags that no late event can concern.
    pub(crate) fn compact(&mut self, horizon: Timestamp) {
        self.tags.retain(|_, tag| tag.value.is_some() || tag.time >= horizon);
    }
}
