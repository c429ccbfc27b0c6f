//! How changes add up to one state, whatever the order in which they arrive.
//!
//! Nothing here forgets what a late change could still need. An image's history holds what happened
//! to its digest since it was last deleted, and a tag's history where it was moved to and when; the
//! state follows from them by replaying events in the order of their own times. At equal times the
//! order is that of [`TagEventKind`]: what takes away goes before a push, and pushes of one tag go by
//! their digests. So a history is a set that only grows, and a state is a function of it.
//!
//! What makes that affordable: a deletion makes everything before it irrelevant, and of one tag of
//! one image no more than [`KEPT_EVENTS`] events are kept. A change that comes later than that many
//! newer ones of the same tag and image can no longer alter when the image was first pushed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::change::Content;
use crate::identifier::{Digest, InvalidIdentifier, Tag};
use crate::image::{Image, ImageStatus, Scan};
use crate::time::{InvalidTimestamp, Timestamp};

/// How many events of one tag of one image, and how many moves of one tag, are kept.
pub const KEPT_EVENTS: usize = 32;

/// A line of a history that is not of the form written here.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEvent {
    /// No space between time and event.
    #[error("neither a time nor an event: {0}")]
    Form(String),
    /// Its time.
    #[error(transparent)]
    Time(#[from] InvalidTimestamp),
    /// Its digest.
    #[error("not a digest: {0}")]
    Digest(#[from] InvalidIdentifier),
}

/// What happened between a tag and one image, seen from the image. The order is the order in which
/// events of one time take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TagEventKind {
    /// The tag was removed, and with the last one the image.
    Untagged,
    /// The tag was deleted; the image stays.
    TagDeleted,
    /// The tag was pushed to an image of a smaller digest.
    MovedToSmaller,
    /// The image was pushed under the tag.
    Pushed,
    /// The tag was pushed to an image of a greater digest.
    MovedToGreater,
}

impl TagEventKind {
    const ALL: [Self; 5] =
        [Self::Untagged, Self::TagDeleted, Self::MovedToSmaller, Self::Pushed, Self::MovedToGreater];

    fn as_str(self) -> &'static str {
        match self {
            Self::Untagged => "untagged",
            Self::TagDeleted => "tag deleted",
            Self::MovedToSmaller => "moved to smaller",
            Self::Pushed => "pushed",
            Self::MovedToGreater => "moved to greater",
        }
    }
}

/// One event of one tag, kept as text: `2026-11-22T00:11:03.989624458Z pushed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TagEvent {
    /// When.
    pub time: Timestamp,
    /// What.
    pub kind: TagEventKind,
}

impl From<TagEvent> for String {
    fn from(event: TagEvent) -> Self {
        format!("{} {}", event.time, event.kind.as_str())
    }
}

impl TryFrom<String> for TagEvent {
    type Error = InvalidEvent;
    fn try_from(text: String) -> Result<Self, InvalidEvent> {
        let (time, word) = text.split_once(' ').ok_or_else(|| InvalidEvent::Form(text.clone()))?;
        let kind = TagEventKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| InvalidEvent::Form(text.clone()))?;
        Ok(Self { time: time.parse()?, kind })
    }
}

/// A fact and when it was stated; of two statements the later one counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stated<T> {
    /// When it was stated.
    pub time: Timestamp,
    /// What was stated.
    pub value: T,
}

/// Keeps the later of two statements; of one time, the greater.
fn state<T: Ord>(known: &mut Option<Stated<T>>, time: Timestamp, value: Option<T>) {
    if let Some(value) = value {
        *known = known.take().max(Some(Stated { time, value }));
    }
}

/// Everything that is known of one digest of one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageHistory {
    /// Whose history it is.
    pub digest: Digest,
    /// The latest deletion of the image or of its repository. Nothing earlier is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// The latest push, also from before the deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_pushed_at: Option<Timestamp>,
    /// Pushes without a tag, in order of time.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    untagged_pushes: BTreeSet<Timestamp>,
    /// What happened between each tag and the image, in order.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<Tag, BTreeSet<TagEvent>>,
    /// When a registry was last asked that had the image, and since when it had it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    observed: Option<Stated<Timestamp>>,
    /// What the events that are no longer kept came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settled: Option<Settled>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest_media_type: Option<Stated<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_media_type: Option<Stated<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size_in_bytes: Option<Stated<i64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifests: Option<Stated<Vec<Digest>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Stated<Digest>>,
    /// The largest size among the manifests of an index, as far as they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_manifest_size: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scan: Option<Stated<Scan>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pulled_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    archived_at: Option<Timestamp>,
    /// When it was last restored, and when it could be pulled again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restored: Option<Stated<Timestamp>>,
}

/// The outcome of events that are no longer kept: up to `until` the image was there since
/// `pushed_at`, or was not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settled {
    until: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pushed_at: Option<Timestamp>,
}

impl ImageHistory {
    /// A digest of which nothing is known.
    #[must_use]
    pub fn new(digest: Digest) -> Self {
        Self {
            digest,
            deleted_at: None,
            last_pushed_at: None,
            untagged_pushes: BTreeSet::new(),
            tags: BTreeMap::new(),
            observed: None,
            settled: None,
            manifest_media_type: None,
            artifact_media_type: None,
            size_in_bytes: None,
            manifests: None,
            subject: None,
            largest_manifest_size: None,
            scan: None,
            pulled_at: None,
            archived_at: None,
            restored: None,
        }
    }

    /// The image was pushed, under a tag or by its digest.
    pub fn push(&mut self, time: Timestamp, tag: Option<&Tag>, content: &Content) {
        self.last_pushed_at = self.last_pushed_at.max(Some(time));
        self.state_content(time, content);
        match tag {
            Some(tag) => self.tag_event(tag, TagEvent { time, kind: TagEventKind::Pushed }),
            None if self.matters(time, TagEventKind::Pushed) => {
                self.untagged_pushes.insert(time);
                if self.untagged_pushes.len() > KEPT_EVENTS
                    && let Some(&oldest) = self.untagged_pushes.first()
                {
                    self.settle(oldest);
                    self.untagged_pushes.remove(&oldest);
                }
            }
            None => {}
        }
    }

    /// A registry has the image, and has had it since `pushed_at`.
    pub fn observe(&mut self, time: Timestamp, pushed_at: Timestamp, content: &Content) {
        self.last_pushed_at = self.last_pushed_at.max(Some(time));
        self.state_content(time, content);
        if self.deleted_at <= Some(time) {
            state(&mut self.observed, time, Some(pushed_at.min(time)));
        }
    }

    /// Notes what an event tells of the manifest.
    pub fn state_content(&mut self, time: Timestamp, content: &Content) {
        state(&mut self.manifest_media_type, time, content.manifest_media_type.clone());
        state(&mut self.artifact_media_type, time, content.artifact_media_type.clone());
        state(&mut self.size_in_bytes, time, content.size_in_bytes);
        state(&mut self.manifests, time, content.manifests.clone());
        state(&mut self.subject, time, content.subject.clone());
    }

    /// Something happened between a tag and this image.
    pub fn tag_event(&mut self, tag: &Tag, event: TagEvent) {
        if !self.matters(event.time, event.kind) {
            return;
        }
        let events = self.tags.entry(tag.clone()).or_default();
        events.insert(event);
        if events.len() > KEPT_EVENTS {
            // What is kept must not begin with the loss of a tag that it does not say the image had.
            let had_tag = events.first().is_some_and(|event| event.kind == TagEventKind::Pushed);
            let loses_it = events.iter().nth(1).is_some_and(|event| event.kind != TagEventKind::Pushed);
            let dropped: Vec<_> =
                events.iter().take(if had_tag && loses_it { 2 } else { 1 }).copied().collect();
            if let Some(last) = dropped.last() {
                self.settle(last.time);
            }
            if let Some(events) = self.tags.get_mut(tag) {
                events.retain(|event| !dropped.contains(event));
            }
        }
    }

    /// The image, or its whole repository, was deleted.
    pub fn delete(&mut self, time: Timestamp) {
        if self.deleted_at >= Some(time) {
            return;
        }
        self.deleted_at = Some(time);
        match &mut self.settled {
            Some(settled) if settled.until > time => {
                // What was pushed when in the settled part is no longer known in detail.
                if settled.pushed_at.is_some_and(|pushed_at| pushed_at <= time) {
                    settled.pushed_at = Some(settled.until);
                }
            }
            settled => *settled = None,
        }
        self.forget(|event| !is_after_deletion(event.time, event.kind, time));
        self.observed.take_if(|observed| observed.time < time);
        self.scan.take_if(|scan| scan.time < time);
        self.pulled_at.take_if(|pulled_at| *pulled_at < time);
        self.archived_at.take_if(|archived_at| *archived_at < time);
        self.restored.take_if(|restored| restored.time < time);
    }

    /// A scan of the image ended.
    pub fn scan(&mut self, time: Timestamp, scan: &Scan) {
        if self.deleted_at <= Some(time) {
            state(&mut self.scan, time, Some(scan.clone()));
        }
    }

    /// The image was pulled.
    pub fn pull(&mut self, time: Timestamp) {
        if self.deleted_at <= Some(time) {
            self.pulled_at = self.pulled_at.max(Some(time));
        }
    }

    /// The image was archived.
    pub fn archive(&mut self, time: Timestamp) {
        if self.deleted_at <= Some(time) {
            self.archived_at = self.archived_at.max(Some(time));
        }
    }

    /// The image was taken out of the archive.
    pub fn restore(&mut self, time: Timestamp, activated_at: Timestamp) {
        if self.deleted_at <= Some(time) {
            state(&mut self.restored, time, Some(activated_at));
        }
    }

    /// The manifests that determine the size of this one: those of an index whose size nobody stated.
    #[must_use]
    pub fn manifests(&self) -> &[Digest] {
        match &self.manifests {
            Some(manifests) if self.size_in_bytes.is_none() => &manifests.value,
            _ => &[],
        }
    }

    /// The size, if it is known.
    #[must_use]
    pub fn size_in_bytes(&self) -> Option<i64> {
        self.size_in_bytes.as_ref().map_or(self.largest_manifest_size, |size| Some(size.value))
    }

    /// Whether anything is kept that a deletion at this time would take away.
    #[must_use]
    pub fn has_anything_before(&self, deletion: Timestamp) -> bool {
        self.deleted_at < Some(deletion)
            && (self.settled.is_some()
                || self.observed.as_ref().is_some_and(|observed| observed.time < deletion)
                || self.events().any(|(time, kind, _)| !is_after_deletion(time, kind, deletion)))
    }

    /// The image as it is listed, if it is in its repository.
    #[must_use]
    pub fn image(&self) -> Option<Image> {
        let (pushed_at, image_tags) = self.replay(None)?;
        let since_push = |time: Timestamp| time >= pushed_at;
        let archived_at = self.archived_at.filter(|time| since_push(*time));
        let restored = self.restored.as_ref().filter(|restored| since_push(restored.time));
        let value = |stated: &Option<Stated<String>>| stated.as_ref().map(|stated| stated.value.clone());
        Some(Image {
            image_digest: self.digest.clone(),
            image_tags: image_tags.into_iter().cloned().collect(),
            image_pushed_at: pushed_at,
            image_size_in_bytes: self.size_in_bytes(),
            image_status: if archived_at > restored.map(|restored| restored.time) {
                ImageStatus::Archived
            } else {
                ImageStatus::Active
            },
            image_manifest_media_type: value(&self.manifest_media_type),
            artifact_media_type: value(&self.artifact_media_type),
            subject_manifest_digest: self.subject.as_ref().map(|subject| subject.value.clone()),
            scan: self.scan.as_ref().filter(|scan| since_push(scan.time)).map(|scan| scan.value.clone()),
            last_recorded_pull_time: self.pulled_at.filter(|time| since_push(*time)),
            last_archived_at: archived_at,
            last_activated_at: restored.map(|restored| restored.value),
        })
    }

    /// Replays the events, up to and with a time if one is given: since when the image is there, and
    /// its tags.
    fn replay(&self, until: Option<Timestamp>) -> Option<(Timestamp, BTreeSet<&Tag>)> {
        let mut events: Vec<_> =
            self.events().filter(|(time, ..)| until.is_none_or(|until| *time <= until)).collect();
        events.sort_unstable();
        let settled = self.settled.as_ref();
        let observed = self.observed.as_ref().filter(|observed| {
            until.is_none_or(|until| observed.time <= until)
                && settled.is_none_or(|settled| settled.until <= observed.time)
        });
        // Up to then it is known whether the image was there, whatever the events say.
        let (known_until, mut pushed_at) = match (observed, settled) {
            // What was deleted was not there before.
            (Some(observed), _) => (Some(observed.time), Some(observed.value).max(self.deleted_at)),
            (None, Some(settled)) => (Some(settled.until), settled.pushed_at),
            (None, None) => (None, None),
        };
        let mut tags = BTreeSet::new();
        for (time, kind, tag) in events {
            match (kind, tag) {
                (TagEventKind::Pushed, tag) => {
                    pushed_at.get_or_insert(time);
                    tags.extend(tag);
                }
                (TagEventKind::Untagged, Some(tag)) => {
                    if tags.remove(tag) && tags.is_empty() && Some(time) > known_until {
                        pushed_at = None;
                    }
                }
                (_, Some(tag)) => {
                    tags.remove(tag);
                }
                (_, None) => {}
            }
        }
        pushed_at.map(|pushed_at| (pushed_at, tags))
    }

    fn events(&self) -> impl Iterator<Item = (Timestamp, TagEventKind, Option<&Tag>)> {
        let untagged = self.untagged_pushes.iter().map(|time| (*time, TagEventKind::Pushed, None));
        let tagged = self
            .tags
            .iter()
            .flat_map(|(tag, events)| events.iter().map(move |event| (event.time, event.kind, Some(tag))));
        untagged.chain(tagged)
    }

    /// Whether an event can still make a difference.
    fn matters(&self, time: Timestamp, kind: TagEventKind) -> bool {
        let settled_without_it =
            self.settled.as_ref().is_some_and(|settled| settled.pushed_at.is_none() && time <= settled.until);
        !settled_without_it
            && self.deleted_at.is_none_or(|deleted_at| is_after_deletion(time, kind, deleted_at))
    }

    /// Notes what everything up to a time came to, before an event of that time is dropped.
    fn settle(&mut self, until: Timestamp) {
        let pushed_at = self.replay(Some(until)).map(|(pushed_at, _)| pushed_at);
        if pushed_at.is_none() {
            self.forget(|event| event.time <= until);
        }
        let until = self.settled.as_ref().map_or(until, |settled| settled.until.max(until));
        self.settled = Some(Settled { until, pushed_at });
    }

    fn forget(&mut self, forgettable: impl Fn(&TagEvent) -> bool) {
        self.untagged_pushes.retain(|&time| !forgettable(&TagEvent { time, kind: TagEventKind::Pushed }));
        self.tags.retain(|_, events| {
            events.retain(|event| !forgettable(event));
            !events.is_empty()
        });
    }
}

/// At equal times a push comes after the deletion.
fn is_after_deletion(time: Timestamp, kind: TagEventKind, deletion: Timestamp) -> bool {
    time > deletion || (time == deletion && kind >= TagEventKind::Pushed)
}

/// A tag was pushed to an image, or deleted; kept as text: the time, and the digest if there is one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Move {
    /// When.
    pub time: Timestamp,
    /// Where to; nowhere if the tag was deleted.
    pub digest: Option<Digest>,
}

impl Move {
    /// What this move is to the image that had the tag before it, if it takes the tag away.
    #[must_use]
    pub fn seen_from(&self, digest: &Digest) -> Option<TagEvent> {
        let kind = match &self.digest {
            None => TagEventKind::TagDeleted,
            Some(to) if to < digest => TagEventKind::MovedToSmaller,
            Some(to) if to > digest => TagEventKind::MovedToGreater,
            Some(_) => return None,
        };
        Some(TagEvent { time: self.time, kind })
    }
}

impl fmt::Display for Move {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.digest {
            Some(digest) => write!(formatter, "{} {digest}", self.time),
            None => write!(formatter, "{} deleted", self.time),
        }
    }
}

impl From<Move> for String {
    fn from(moved: Move) -> Self {
        moved.to_string()
    }
}

impl TryFrom<String> for Move {
    type Error = InvalidEvent;
    fn try_from(text: String) -> Result<Self, InvalidEvent> {
        let (time, target) = text.split_once(' ').ok_or_else(|| InvalidEvent::Form(text.clone()))?;
        let digest = if target == "deleted" { None } else { Some(Digest::from_str(target)?) };
        Ok(Self { time: time.parse()?, digest })
    }
}

/// Where a tag was moved to, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TagHistory {
    /// In order of time; a tag that was pushed to two images at one time is with the greater digest.
    moves: BTreeSet<Move>,
}

impl TagHistory {
    /// Notes a move, and tells which moves are next to it: the one it ends, and the one that ends it.
    pub fn insert(&mut self, moved: &Move) -> (Option<Move>, Option<Move>) {
        let before = self.moves.range(..moved).next_back().cloned();
        let after = self.moves.range(moved..).find(|other| *other != moved).cloned();
        self.moves.insert(moved.clone());
        if self.moves.len() > KEPT_EVENTS {
            self.moves.pop_first();
        }
        (before, after)
    }

    /// The image that the tag was last pushed to, unless the tag was deleted since. Whether it still
    /// has the tag, its own history tells.
    #[must_use]
    pub fn target(&self) -> Option<&Digest> {
        self.moves.last().and_then(|moved| moved.digest.as_ref())
    }
}

/// Whether a repository exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryHistory {
    /// A time at which it is known to have existed; after a deletion, one since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existed_at: Option<Timestamp>,
    /// When it was last deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}

impl RepositoryHistory {
    /// Any event makes a repository known; after a deletion only a later push or creation does.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.deleted_at.is_none() || self.existed_at >= self.deleted_at
    }

    /// The repository was there at this time.
    pub fn observe(&mut self, time: Timestamp) {
        if self.existed_at.is_none() || (!self.exists() && Some(time) >= self.deleted_at) {
            self.existed_at = Some(time);
        }
    }

    /// The repository was created.
    pub fn create(&mut self, time: Timestamp) {
        self.existed_at = self.existed_at.max(Some(time));
    }

    /// The repository was deleted.
    pub fn delete(&mut self, time: Timestamp) {
        self.deleted_at = self.deleted_at.max(Some(time));
    }
}
