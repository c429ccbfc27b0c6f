//! What happened in a registry, in one vocabulary for all of them.

use std::time::Duration;

use crate::identifier::{Digest, Repository, Tag};
use crate::image::Scan;
use crate::time::Timestamp;

/// Something that happened in a repository.
///
/// The table is a function of the set of changes that were applied to it: their order of arrival,
/// repetitions and concurrent writers make no difference. At equal times, what is taken away goes
/// before what is pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub repository: Repository,
    /// When, by the registry's own clock.
    pub time: Timestamp,
    /// What.
    pub kind: ChangeKind,
}

/// How much later than its arrival the time of an event may be (rule 58).
pub const MAX_CLOCK_LEAD: Duration = Duration::from_secs(5 * 60);

/// 2013-03-20, Docker's first day, in milliseconds since the beginning of 1970. No event is older.
const FIRST_DAY: i64 = 1_363_737_600_000;

/// The time of an event that arrived at another one (rule 58): five minutes after its arrival at
/// the latest, so that no registry's clock prevails for ever; and the arrival where the event has
/// no time, such as Go's zero time.
#[must_use]
pub fn event_time(time: Timestamp, received_at: Timestamp) -> Timestamp {
    if time.as_milliseconds() < FIRST_DAY {
        received_at
    } else {
        time.min(received_at.plus(MAX_CLOCK_LEAD))
    }
}

impl Change {
    /// The change as it counts if it arrived at this time: see [`event_time`].
    #[must_use]
    pub fn received_at(mut self, received_at: Timestamp) -> Self {
        self.time = event_time(self.time, received_at);
        match &mut self.kind {
            ChangeKind::ImageObserved { pushed_at: time, .. }
            | ChangeKind::ImageRestored { activated_at: time, .. }
            | ChangeKind::ImageScanned { scan: Scan { completed_at: time, .. }, .. } => {
                *time = event_time(*time, received_at);
            }
            _ => {}
        }
        self
    }

    /// The manifest whose size the change tells, or what that follows from.
    #[must_use]
    pub fn sized(&self) -> Option<&Digest> {
        match &self.kind {
            ChangeKind::ImagePushed { digest, content, .. }
            | ChangeKind::ImageObserved { digest, content, .. } => {
                (content.size_in_bytes.is_some() || content.manifests.is_some()).then_some(digest)
            }
            _ => None,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// A manifest was put. Its tag, if it has one, moves to it, off the image that had it.
    ImagePushed {
        /// The manifest's digest.
        digest: Digest,
        /// The tag it was put under; absent when it was put by digest.
        tag: Option<Tag>,
        /// What the event tells of the manifest.
        content: Content,
    },
    /// A registry was asked, and has had the image without a break for some time; whatever is known
    /// of that time besides. Its tags are another matter.
    ImageObserved {
        /// Which.
        digest: Digest,
        /// Since when, at most since the time of the change.
        pushed_at: Timestamp,
        /// What the registry tells of the manifest.
        content: Content,
    },
    /// An image was deleted, with all its tags.
    ImageDeleted {
        /// Which.
        digest: Digest,
    },
    /// A tag was removed from an image as Amazon ECR does it: an image that loses its last tag
    /// this way is deleted. If the tag points elsewhere by then, nothing happens.
    ImageUntagged {
        /// The image the tag pointed at.
        digest: Digest,
        /// The tag.
        tag: Tag,
    },
    /// A tag was deleted from whichever image had it; the image stays.
    TagDeleted {
        /// The tag.
        tag: Tag,
    },
    /// The repository was made.
    RepositoryCreated,
    /// The repository was deleted, with every image in it.
    RepositoryDeleted,
    /// A scan of a known image ended.
    ImageScanned {
        /// Which image.
        digest: Digest,
        /// What was found.
        scan: Scan,
    },
    /// A known image was pulled.
    ImagePulled {
        /// Which.
        digest: Digest,
    },
    /// A known image was put into the archive.
    ImageArchived {
        /// Which.
        digest: Digest,
    },
    /// A known image was taken out of the archive.
    ImageRestored {
        /// Which.
        digest: Digest,
        /// When it could be pulled again.
        activated_at: Timestamp,
    },
}

/// What a manifest's bytes determine. Every part may be unknown; what is known is not forgotten for
/// an event that lacks it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// The manifest's own media type.
    pub manifest_media_type: Option<String>,
    /// `artifactType`, or the configuration's media type.
    pub artifact_media_type: Option<String>,
    /// Bytes of configuration and layers together.
    pub size_in_bytes: Option<i64>,
    /// The manifests that an index lists, a thousand at most.
    pub manifests: Option<Vec<Digest>>,
    /// The image that this one is about.
    pub subject: Option<Digest>,
}
