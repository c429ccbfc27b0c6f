//! The history of a repository.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Whether a repository exists: three registers, each with the latest time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryHistory {
    /// A time at which it existed; after a deletion, a later one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existed_at: Option<Timestamp>,
    /// The last deletion. The table has no images from before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// A later deletion that is in progress. Writers apply it to every image that they write.
    /// Readers see it image by image, and of the repository itself once it is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting: Option<Timestamp>,
}

impl RepositoryHistory {
    /// A repository exists from its first event on; after a deletion, from a later push or creation
    /// on.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.deleted_at.is_none() || self.existed_at >= self.deleted_at
    }

    /// The last deletion, finished or not. It deletes the images from before.
    #[must_use]
    pub fn removed_until(&self) -> Option<Timestamp> {
        self.deleting.max(self.deleted_at)
    }

    /// The repository existed at this time. No change if it is known to exist, so that a push does
    /// not write the repository's item.
    pub(crate) fn observe(&mut self, time: Timestamp) {
        let removed_until = self.removed_until();
        if self.existed_at.is_none()
            || (self.existed_at < removed_until && Some(time) >= removed_until)
        {
            self.existed_at = Some(time);
        }
    }

    /// The repository was created.
    pub(crate) fn create(&mut self, time: Timestamp) {
        self.existed_at = self.existed_at.max(Some(time));
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
        self.deleting = self.deleting.filter(|deleting| *deleting > time);
    }
}
