//! The history of a digest in a repository.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::log::{Event, Log, Replay, SegmentWrite};
use super::register::{self, Register};
use crate::change::Content;
use crate::identifier::{Digest, Tag};
use crate::image::{Image, ImageStatus, Scan};
use crate::time::Timestamp;

/// The kind of an event of a tag, for one image. Of one time, events take effect in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TagEventKind {
    /// The tag was removed; an image without tags is deleted.
    Untagged,
    /// The tag was deleted; the image stays.
    TagDeleted,
    /// The tag was pushed to an image of a smaller digest.
    MovedToSmaller,
    /// The image was pushed under the tag.
    Pushed,
    /// A registry has the image under the tag.
    Found,
    /// The tag was pushed to an image of a greater digest.
    MovedToGreater,
}

/// One event of one tag of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagEvent {
    pub time: Timestamp,
    pub kind: TagEventKind,
}

/// One event of an image: a push or a find, with or without a tag, or an event of a tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ImageEvent {
    time: Timestamp,
    kind: TagEventKind,
    tag: Option<Tag>,
    /// Of a find.
    found: Option<Found>,
}

/// What is known of the push of an image that a registry has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Found {
    /// The push time until an event of a push is known.
    pub pushed_at: Timestamp,
    /// A push after this time is not the one that is missing.
    pub found_at: Timestamp,
    /// Whether an event or the product's own API states the push time.
    pub is_stated: bool,
}

/// The push time of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct PushTime {
    time: Timestamp,
    /// If it is assumed: a push up to this time is the one that is missing.
    found_at: Option<Timestamp>,
}

impl ImageEvent {
    /// The first event after a deletion. Of one time, a push comes after the deletion.
    fn first_after_deletion(time: Timestamp) -> Self {
        Self { time, kind: TagEventKind::Pushed, tag: None, found: None }
    }
}

impl Event for ImageEvent {
    fn time(&self) -> Timestamp {
        self.time
    }

    fn bytes(&self) -> usize {
        let found = if self.found.is_some() { 25 } else { 1 };
        12 + found + self.tag.as_ref().map_or(0, |tag| tag.as_str().len())
    }
}

/// Whether a change could be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is part of the history, now or since an earlier time.
    Applied,
    /// The events of its time have expired, so that its effect is not known. It changes nothing.
    TooLate,
}

/// The history of a digest in a repository:
///
/// - registers: what the manifest's bytes determine, the last scan, pull and storage class
/// - a tombstone: the latest deletion; nothing earlier is kept
/// - a grow-only set of events: pushes, and losses of tags, from which its push time and its tags
///   follow
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImageHistory {
    /// The latest deletion of the image or of its repository.
    deleted_at: Option<Timestamp>,
    /// The latest push, also from before the deletion.
    last_pushed_at: Option<Timestamp>,
    events: Log<ImageEvent, Option<PushTime>>,
    /// The time of the last observation, and the push time that the registry returned.
    observed: Option<Register<Timestamp>>,
    manifest_media_type: Option<Register<String>>,
    artifact_media_type: Option<Register<String>>,
    size_in_bytes: Option<Register<i64>>,
    manifests: Option<Register<Vec<Digest>>>,
    /// The last known size of each of these manifests.
    manifest_sizes: Vec<Option<i64>>,
    subject: Option<Register<Digest>>,
    scan: Option<Register<Scan>>,
    pulled_at: Option<Timestamp>,
    archived_at: Option<Timestamp>,
    /// When it was last restored, and when it was available again.
    restored: Option<Register<Timestamp>>,
}

impl ImageHistory {
    /// The latest deletion of the image or of its repository.
    #[must_use]
    pub fn deleted_at(&self) -> Option<Timestamp> {
        self.deleted_at
    }

    /// The latest push, also from before the deletion.
    #[must_use]
    pub fn last_pushed_at(&self) -> Option<Timestamp> {
        self.last_pushed_at
    }

    /// The segments that a change of this time requires and that are not loaded.
    pub(crate) fn missing_segments(&self, time: Timestamp) -> Vec<u32> {
        self.events.missing_segments(time)
    }

    /// Adds the events of a segment; `None` if it has expired.
    pub(crate) fn load(&mut self, number: u32, mut events: Option<BTreeSet<ImageEvent>>) {
        if let (Some(events), Some(deleted_at)) = (&mut events, self.deleted_at) {
            *events = events.split_off(&ImageEvent::first_after_deletion(deleted_at));
        }
        self.events.load(number, events);
    }

    /// The image was pushed, under a tag or by its digest.
    pub fn push(&mut self, time: Timestamp, tag: Option<&Tag>, content: &Content) -> Effect {
        self.last_pushed_at = self.last_pushed_at.max(Some(time));
        self.state_content(time, content);
        self.add(ImageEvent { time, kind: TagEventKind::Pushed, tag: tag.cloned(), found: None })
    }

    /// A registry has the image, under a tag or without.
    pub fn find(
        &mut self,
        time: Timestamp,
        tag: Option<&Tag>,
        found: Found,
        content: &Content,
    ) -> Effect {
        self.last_pushed_at = self.last_pushed_at.max(Some(time));
        self.state_content(time, content);
        let found = Some(Found { pushed_at: found.pushed_at.min(time), ..found });
        self.add(ImageEvent { time, kind: TagEventKind::Found, tag: tag.cloned(), found })
    }

    /// A registry returned the image, which was pushed at `pushed_at`.
    pub fn observe(&mut self, time: Timestamp, pushed_at: Timestamp, content: &Content) {
        self.last_pushed_at = self.last_pushed_at.max(Some(time));
        self.state_content(time, content);
        if self.deleted_at <= Some(time) {
            self.write_observed(time, pushed_at);
        }
    }

    /// Writes that the image existed at a time. The events up to `expired_until` are not known: it
    /// counts for all of that time.
    fn write_observed(&mut self, time: Timestamp, pushed_at: Timestamp) {
        let pushed_at = pushed_at.min(time);
        let time = time.max(self.events.expired_until().map_or(time, |until| until.time));
        let before = self.observed.clone();
        register::write(&mut self.observed, time, Some(pushed_at));
        if self.observed != before {
            self.events.touch();
        }
    }

    /// Writes the registers of what an event contains of the manifest.
    fn state_content(&mut self, time: Timestamp, content: &Content) {
        register::write(&mut self.manifest_media_type, time, content.manifest_media_type.clone());
        register::write(&mut self.artifact_media_type, time, content.artifact_media_type.clone());
        register::write(&mut self.size_in_bytes, time, content.size_in_bytes);
        register::write(&mut self.subject, time, content.subject.clone());
        let known = self.manifests.clone();
        register::write(&mut self.manifests, time, content.manifests.clone());
        if known.map(|known| known.value)
            != self.manifests.as_ref().map(|manifests| manifests.value.clone())
        {
            self.manifest_sizes.clear();
        }
    }

    /// Adds an event of a tag.
    pub fn tag_event(&mut self, tag: &Tag, event: TagEvent) -> Effect {
        let TagEvent { time, kind } = event;
        self.add(ImageEvent { time, kind, tag: Some(tag.clone()), found: None })
    }

    fn add(&mut self, event: ImageEvent) -> Effect {
        if self.deleted_at.is_some_and(|time| event < ImageEvent::first_after_deletion(time)) {
            return Effect::Applied;
        }
        // Before the end of the expired events, a push with a tag still adds a tag that was not
        // lost since, and a move of a tag still removes it. That a tag was removed is known if its
        // push is.
        let is_unknown = match event.kind {
            TagEventKind::Untagged => !self.has_pushed_before(&event),
            _ => event.tag.is_none(),
        };
        if is_unknown && self.events.expired_until().is_some_and(|until| until.is_after(&event)) {
            return self.add_expired(&event);
        }
        self.events.insert(event);
        Effect::Applied
    }

    /// Adds an event from before the end of the expired events. A push or a find without a tag
    /// shows that the image existed. Whether it was deleted since, with its last tag, is not known.
    fn add_expired(&mut self, event: &ImageEvent) -> Effect {
        let pushed_at = match event.kind {
            TagEventKind::Pushed => event.time,
            TagEventKind::Found => event.found.map_or(event.time, |found| found.pushed_at),
            _ => return Effect::TooLate,
        };
        let is_known = self.observed.as_ref().is_some_and(|observed| observed.value == pushed_at);
        if is_known {
            return Effect::Applied;
        }
        if self.events.replay(self.initial_state()).pushed.is_some() {
            return Effect::TooLate;
        }
        self.write_observed(event.time, pushed_at);
        Effect::Applied
    }

    fn has_pushed_before(&self, event: &ImageEvent) -> bool {
        let mut before = self.events.events().range(..event);
        let opens = |kind| matches!(kind, TagEventKind::Pushed | TagEventKind::Found);
        before.any(|before| opens(before.kind) && before.tag == event.tag)
    }

    /// Whether a deletion is from before the end of the expired events, so that the later pushes
    /// are not known.
    pub(crate) fn has_expired(&self, deletion: Timestamp) -> bool {
        let first_left = ImageEvent::first_after_deletion(deletion);
        self.events.expired_until().is_some_and(|until| until.is_after(&first_left))
    }

    /// The image, or its whole repository, was deleted.
    pub fn delete(&mut self, time: Timestamp) -> Effect {
        if self.deleted_at >= Some(time) {
            return Effect::Applied;
        }
        if self.has_expired(time) {
            return Effect::TooLate;
        }
        self.deleted_at = Some(time);
        self.events.remove_before(&ImageEvent::first_after_deletion(time));
        self.observed.take_if(|observed| observed.time < time);
        self.scan.take_if(|scan| scan.time < time);
        self.pulled_at.take_if(|pulled_at| *pulled_at < time);
        self.archived_at.take_if(|archived_at| *archived_at < time);
        self.restored.take_if(|restored| restored.time < time);
        Effect::Applied
    }

    /// The scan of the image changed.
    pub fn scan(&mut self, time: Timestamp, scan: &Scan) {
        if self.deleted_at <= Some(time) {
            register::write(&mut self.scan, time, Some(scan.clone()));
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
            register::write(&mut self.restored, time, Some(activated_at));
        }
    }

    /// The manifests from which the size follows: those of an index without a size of its own.
    #[must_use]
    pub fn manifests(&self) -> &[Digest] {
        match &self.manifests {
            Some(manifests) if self.size_in_bytes.is_none() => &manifests.value,
            _ => &[],
        }
    }

    /// Updates the sizes of the manifests. A size that is no longer known, because the manifest was
    /// deleted and has expired, stays.
    pub(crate) fn update_manifest_sizes(&mut self, size: impl Fn(&Digest) -> Option<i64>) {
        let known = std::mem::take(&mut self.manifest_sizes);
        let sizes: Vec<Option<i64>> = self
            .manifests()
            .iter()
            .enumerate()
            .map(|(place, manifest)| size(manifest).or(known.get(place).copied().flatten()))
            .collect();
        self.manifest_sizes = sizes;
    }

    /// The size, if it is known.
    #[must_use]
    pub fn size_in_bytes(&self) -> Option<i64> {
        let largest = || self.manifest_sizes.iter().copied().flatten().max();
        self.size_in_bytes.as_ref().map_or_else(largest, |size| Some(size.value))
    }

    /// Whether there is anything that a deletion at this time would remove.
    #[must_use]
    pub fn has_anything_before(&self, deletion: Timestamp) -> bool {
        self.deleted_at < Some(deletion)
            && (self.observed.as_ref().is_some_and(|observed| observed.time < deletion)
                || self.events.begins_before(&ImageEvent::first_after_deletion(deletion)))
    }

    /// The image, if it exists.
    #[must_use]
    pub fn image(&self, digest: &Digest) -> Option<Image> {
        let ImageState { pushed, tags, .. } = self.events.replay(self.initial_state());
        let pushed_at = pushed?.time;
        let since_push = |time: Timestamp| time >= pushed_at;
        let archived_at = self.archived_at.filter(|time| since_push(*time));
        let restored = self.restored.as_ref().filter(|restored| since_push(restored.time));
        let value = |register: &Option<Register<String>>| {
            register.as_ref().map(|register| register.value.clone())
        };
        Some(Image {
            image_digest: digest.clone(),
            image_tags: tags.into_keys().collect(),
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
            scan: self
                .scan
                .as_ref()
                .filter(|scan| since_push(scan.time) && !scan.value.is_none())
                .map(|scan| scan.value.clone()),
            last_recorded_pull_time: self.pulled_at.filter(|time| since_push(*time)),
            last_archived_at: archived_at,
            last_activated_at: restored.map(|restored| restored.value),
        })
    }

    /// The segments that are merged when the log is compacted, and that are not loaded.
    pub(crate) fn segments_to_merge(&self) -> Vec<u32> {
        self.events.segments_to_merge(&self.initial_state())
    }

    /// Compacts the log, and returns the segments to write.
    pub(crate) fn compact(&mut self, horizon: Timestamp) -> Vec<SegmentWrite> {
        let mut events = std::mem::take(&mut self.events);
        let segments = events.compact(&self.initial_state(), horizon);
        self.events = events;
        segments
    }

    /// The state before the first event.
    fn initial_state(&self) -> ImageState {
        let deleted_at = self.deleted_at;
        let observed = self.observed.as_ref();
        ImageState {
            deleted_at,
            observed_at: observed.map(|observed| observed.time),
            pushed: observed.map(|observed| {
                PushTime::exact(observed.value.max(deleted_at.unwrap_or(observed.value)))
            }),
            tags: BTreeMap::new(),
        }
    }
}

impl PushTime {
    fn exact(time: Timestamp) -> Self {
        Self { time, found_at: None }
    }

    /// Whether a push at a time is the one that is missing.
    fn misses(self, time: Timestamp) -> bool {
        self.found_at >= Some(time)
    }
}

/// The push time and the tags of an image.
#[derive(Debug, Clone)]
struct ImageState {
    /// The image did not exist then.
    deleted_at: Option<Timestamp>,
    /// Until this time, the image existed, whatever the events say.
    observed_at: Option<Timestamp>,
    pushed: Option<PushTime>,
    /// Each tag with the event by which the image has it.
    tags: BTreeMap<Tag, ImageEvent>,
}

impl ImageState {
    /// The push time by a push or a find alone.
    fn pushed_by(&self, event: &ImageEvent) -> PushTime {
        match event.found {
            None => PushTime::exact(event.time),
            Some(Found { pushed_at, found_at, .. }) => PushTime {
                time: pushed_at.max(self.deleted_at.unwrap_or(pushed_at)),
                found_at: Some(found_at),
            },
        }
    }
}

impl Replay for ImageState {
    type Event = ImageEvent;
    /// `None` if the image does not exist.
    type State = Option<PushTime>;

    fn resume(&mut self, until: Timestamp, pushed: &Option<PushTime>) {
        if Some(until) > self.observed_at {
            // A tag that arrived later shows that the image existed.
            let shown = || self.tags.values().map(|event| self.pushed_by(event)).min();
            self.pushed = pushed.or_else(shown);
        }
    }

    fn apply(&mut self, event: &ImageEvent) {
        let is_unknown = Some(event.time) > self.observed_at;
        match (event.kind, &event.tag) {
            (TagEventKind::Pushed | TagEventKind::Found, tag) => {
                let is_missing = |pushed: PushTime| match event.found {
                    None => pushed.misses(event.time),
                    Some(found) => {
                        found.is_stated
                            && found.pushed_at > pushed.time
                            && pushed.misses(found.pushed_at)
                    }
                };
                if is_unknown && self.pushed.is_none_or(is_missing) {
                    self.pushed = Some(self.pushed_by(event));
                }
                if let Some(tag) = tag {
                    self.tags.insert(tag.clone(), event.clone());
                }
            }
            (TagEventKind::Untagged, Some(tag)) => {
                if self.tags.remove(tag).is_some() && self.tags.is_empty() && is_unknown {
                    self.pushed = None;
                }
            }
            (_, Some(tag)) => drop(self.tags.remove(tag)),
            (_, None) => {}
        }
    }

    fn state(&self) -> Option<PushTime> {
        self.pushed
    }

    fn live(&self) -> BTreeSet<ImageEvent> {
        self.tags.values().cloned().collect()
    }
}
