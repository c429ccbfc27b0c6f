//! Whether a repository exists.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Whether a repository exists: three registers, of each of which the greatest time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryHistory {
    /// A time at which it is known to have existed; after a deletion, one since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existed_at: Option<Timestamp>,
    /// When it was last deleted. No image from before is left in the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// A later deletion, whose images are still being removed. Writers apply it to every image that
    /// they touch; readers see it image by image, and the repository itself once it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleting: Option<Timestamp>,
}

impl RepositoryHistory {
    /// Any event makes a repository known; after a deletion only a later push or creation does.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.deleted_at.is_none() || self.existed_at >= self.deleted_at
    }

    /// The latest deletion, done or not: what an image was before it, is gone.
    #[must_use]
    pub fn removed_until(&self) -> Option<Timestamp> {
        self.deleting.max(self.deleted_at)
    }

    /// The repository was there at this time. Changes nothing that is known, so that a push does
    /// not write to its repository.
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
