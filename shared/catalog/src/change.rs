//! Changes: what happened in a registry, the same for all products.

use std::time::Duration;

use crate::identifier::{Digest, Repository, Tag};
use crate::image::{FindingsSummary, Scan};
use crate::repository::RepositoryStatement;
use crate::time::Timestamp;

/// Something that happened in a repository.
///
/// The table is a function of the set of changes that were applied to it. The order in which they
/// arrive, repetitions and concurrent writers make no difference. Of one time, deletions come
/// before pushes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub repository: Repository,
    /// By the registry's own clock.
    pub time: Timestamp,
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

/// A time that a registry returned, if a push can have it: not before Docker's first day, and not
/// after the registry was observed. Reproducible builds create images in 1970, in 1980, or at Go's
/// zero time (rule 59).
#[must_use]
pub fn possible_push_time(time: Timestamp, observed_at: Timestamp) -> Option<Timestamp> {
    (time.as_milliseconds() >= FIRST_DAY && time <= observed_at).then_some(time)
}

impl Change {
    /// The change as it counts if it arrived at this time: see [`event_time`].
    #[must_use]
    pub fn received_at(mut self, received_at: Timestamp) -> Self {
        self.time = event_time(self.time, received_at);
        match &mut self.kind {
            ChangeKind::ImageObserved { pushed_at: time, .. }
            | ChangeKind::ImageFound { pushed_at: time, .. }
            | ChangeKind::ImageRestored { activated_at: time, .. }
            | ChangeKind::RepositoryStated(RepositoryStatement {
                created_at: Some(time), ..
            })
            | ChangeKind::ImageScanned {
                scan: Scan { findings: Some(FindingsSummary { completed_at: Some(time), .. }), .. },
                ..
            } => {
                *time = event_time(*time, received_at);
            }
            _ => {}
        }
        self
    }

    /// The number of manifests that it lists.
    #[must_use]
    pub(crate) fn manifests(&self) -> usize {
        match &self.kind {
            ChangeKind::ImagePushed { content, .. }
            | ChangeKind::ImageObserved { content, .. }
            | ChangeKind::ImageFound { content, .. } => {
                content.manifests.as_ref().map_or(0, Vec::len)
            }
            _ => 0,
        }
    }

    /// The digest of a manifest whose size may follow from the change.
    #[must_use]
    pub fn sized(&self) -> Option<&Digest> {
        match &self.kind {
            ChangeKind::ImagePushed { digest, content, .. }
            | ChangeKind::ImageObserved { digest, content, .. }
            | ChangeKind::ImageFound { digest, content, .. } => {
                (content.size_in_bytes.is_some() || content.manifests.is_some()).then_some(digest)
            }
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// A manifest was pushed. Its tag, if it has one, moves from the image that had it.
    ImagePushed {
        digest: Digest,
        /// `None` for a push by digest.
        tag: Option<Tag>,
        /// As far as the event contains it.
        content: Content,
    },
    /// A registry returned the image, and the exact time of its push. The image has existed since
    /// then, whatever events say of that time. This does not concern its tags.
    ImageObserved {
        digest: Digest,
        /// Not later than the time of the change.
        pushed_at: Timestamp,
        /// As far as the registry returned it.
        content: Content,
    },
    /// A registry that does not return the exact time of a push has the image. Its tag, if it has
    /// one, points to the image. The event of the push is missing, or is still to come (rule 59).
    ImageFound {
        digest: Digest,
        tag: Option<Tag>,
        /// The push time until an event of a push is known. Not later than the time of the change.
        pushed_at: Timestamp,
        /// When the registry returned it. A push after that is not the one that is missing.
        found_at: Timestamp,
        /// Whether the push time is that of an event, or of the product's own API. It replaces one
        /// that comes from less. An event that contains only the tag may be of an earlier push than
        /// that of the image which the tag points to: of several such times the latest counts.
        is_stated: bool,
        /// As far as the registry returned it.
        content: Content,
    },
    /// An image was deleted, with all its tags.
    ImageDeleted { digest: Digest },
    /// A tag was removed from an image as Amazon ECR does it: an image that loses its last tag
    /// this way is deleted. If the tag points elsewhere by then, nothing happens.
    ImageUntagged {
        /// The image that the tag pointed to.
        digest: Digest,
        tag: Tag,
    },
    /// A tag was deleted; its image stays.
    TagDeleted { tag: Tag },
    /// A registry has the repository, of which it states this.
    RepositoryStated(RepositoryStatement),
    /// What `docker pull` takes for the repository, by the address of its registry. That is no
    /// evidence that the repository exists.
    RepositoryLocated { uri: String },
    /// The repository was deleted, with every image in it.
    RepositoryDeleted,
    /// The scan of a known image changed.
    ImageScanned {
        digest: Digest,
        /// All that counts of it from then on.
        scan: Scan,
    },
    /// A known image was pulled.
    ImagePulled { digest: Digest },
    /// A known image was archived.
    ImageArchived { digest: Digest },
    /// A known image was restored from the archive.
    ImageRestored {
        digest: Digest,
        /// When it was available again.
        activated_at: Timestamp,
    },
}

/// What the bytes of a manifest determine. Members may be unknown; an event without a member does
/// not remove it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// The manifest's own media type.
    pub manifest_media_type: Option<String>,
    /// `artifactType`, or the configuration's media type.
    pub artifact_media_type: Option<String>,
    /// Bytes of the configuration and the layers.
    pub size_in_bytes: Option<i64>,
    /// The manifests that an index lists, a thousand at most.
    pub manifests: Option<Vec<Digest>>,
    /// The `subject` of the manifest.
    pub subject: Option<Digest>,
}
