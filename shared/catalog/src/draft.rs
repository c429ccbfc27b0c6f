//! What a change makes of the items of a repository, without a table: a function of the change and
//! of the items that it touches.
//!
//! Which items those are, turns out on the way. A draft that needs one that is not loaded ends with
//! what is [`Missing`]; then that is loaded, and the draft is made anew.

use std::collections::{BTreeMap, BTreeSet};

use crate::change::{Change, ChangeKind};
use crate::history::log::{Event, unpack};
use crate::history::{
    Effect, ImageHistory, Move, RepositoryHistory, SegmentWrite, TagEvent, TagEventKind, TagHistory,
};
use crate::identifier::{Digest, Tag};
use crate::image::Image;
use crate::time::Timestamp;

/// How many tags that no image has any longer are given an expiry in one transaction.
pub(crate) const TAGS_EXPIRED_AT_ONCE: usize = 40;
/// How many indexes are told the size of a manifest in one transaction.
pub(crate) const INDEXES_RESIZED_AT_ONCE: usize = 10;

/// What there is to do in a repository.
#[derive(Debug, Clone, Copy)]
pub enum Work<'a> {
    /// Apply a change. The deletion of a repository is only begun.
    Change(&'a Change),
    /// Let an image follow the deletion of its repository.
    CatchUp(&'a Digest),
    /// Finish the deletion of the repository at this time: no image from before is left.
    FinishDeletion(Timestamp),
    /// Let those of these tags expire that no image has.
    ExpireTags(&'a [Tag]),
    /// Let these indexes know the size of a manifest that they list.
    UpdateSizes {
        /// The manifest.
        manifest: &'a Digest,
        /// The indexes.
        indexes: &'a [Digest],
    },
}

/// Whose segments they are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// Those of an image's log.
    Image(Digest),
    /// Those of a tag's log.
    Tag(Tag),
}

/// What a draft needs that is not loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Missing {
    /// Whether it is the repository's item.
    pub repository: bool,
    /// Items of digests.
    pub images: Vec<Digest>,
    /// Items of tags.
    pub tags: Vec<Tag>,
    /// Segments of logs.
    pub segments: Vec<(Owner, u32)>,
}

/// Items of a repository, each as it is stored, or `None` if the table does not have it.
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
    /// The history.
    pub history: T,
    /// Counts the writes to the item.
    pub version: u64,
    /// Whether it expires.
    pub expires: bool,
}

/// A history as it is stored and as it is to become.
#[derive(Debug, Clone)]
pub struct Drafted<T> {
    /// `None` if the table does not have it.
    pub stored: Option<Item<T>>,
    /// As it is to become.
    pub now: T,
}

impl<T: Clone + Default + PartialEq> Drafted<T> {
    fn new(stored: Option<&Item<T>>) -> Self {
        let now = stored.map(|item| item.history.clone()).unwrap_or_default();
        Self { stored: stored.cloned(), now }
    }

    fn is_changed(&self) -> bool {
        self.stored
            .as_ref()
            .map_or_else(|| self.now != T::default(), |item| item.history != self.now)
    }
}

/// What has to be written.
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
    /// Tags that no image has any longer, and that are too many to expire with the other writes.
    pub left_behind: Vec<Tag>,
}

impl Writes {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.repository.is_none() && self.images.is_empty() && self.tags.is_empty()
    }
}

/// Works out what has to be written so that the table says what it should. What is older than the
/// horizon may be forgotten.
///
/// # Errors
/// What has to be loaded first.
pub fn draft(
    loaded: &Loaded,
    work: Work<'_>,
    horizon: Timestamp,
) -> Result<(Writes, Effect), Missing> {
    let Some(repository) = &loaded.repository else {
        let mut missing = Missing { repository: true, ..Missing::default() };
        match work {
            Work::Change(change) => {
                let (digest, tag) = named_by(&change.kind);
                missing.images.extend(digest.cloned());
                missing.tags.extend(tag.cloned());
            }
            Work::CatchUp(digest) => missing.images.push(digest.clone()),
            Work::ExpireTags(tags) => missing.tags.extend_from_slice(tags),
            Work::UpdateSizes { manifest, indexes } => {
                missing.images.extend([manifest].into_iter().chain(indexes).cloned());
            }
            Work::FinishDeletion(_) => {}
        }
        return Err(missing);
    };
    let mut draft = Draft {
        loaded,
        repository: Drafted::new(repository.as_ref()),
        images: BTreeMap::new(),
        tags: BTreeMap::new(),
        deletion: Effect::Applied,
    };
    let effect = match work {
        Work::Change(change) => draft.apply(change)?,
        Work::CatchUp(digest) => {
            draft.touch(digest, None)?;
            draft.deletion
        }
        Work::FinishDeletion(time) => {
            draft.repository.now.finish_deletion(time);
            Effect::Applied
        }
        Work::ExpireTags(tags) => {
            draft.load_with_targets(tags)?;
            Effect::Applied
        }
        Work::UpdateSizes { manifest, indexes } => {
            draft.tell_size(manifest, indexes)?;
            Effect::Applied
        }
    };
    Ok((draft.finish(horizon)?, effect))
}

/// The digest and the tag that a change is about, whose items it needs first.
fn named_by(kind: &ChangeKind) -> (Option<&Digest>, Option<&Tag>) {
    match kind {
        ChangeKind::ImagePushed { digest, tag, .. } => (Some(digest), tag.as_ref()),
        ChangeKind::TagDeleted { tag } => (None, Some(tag)),
        ChangeKind::ImageObserved { digest, .. }
        | ChangeKind::ImageDeleted { digest }
        | ChangeKind::ImageUntagged { digest, .. }
        | ChangeKind::ImageScanned { digest, .. }
        | ChangeKind::ImagePulled { digest }
        | ChangeKind::ImageArchived { digest }
        | ChangeKind::ImageRestored { digest, .. } => (Some(digest), None),
        ChangeKind::RepositoryCreated | ChangeKind::RepositoryDeleted => (None, None),
    }
}

/// The number of a segment, and its events if it has not expired.
type Segment<E> = (u32, Option<BTreeSet<E>>);

struct Draft<'a> {
    loaded: &'a Loaded,
    repository: Drafted<RepositoryHistory>,
    images: BTreeMap<Digest, Drafted<ImageHistory>>,
    tags: BTreeMap<Tag, Drafted<TagHistory>>,
    /// What the deletion of the repository did to the image that was touched last.
    deletion: Effect,
}

impl Draft<'_> {
    fn apply(&mut self, change: &Change) -> Result<Effect, Missing> {
        let time = change.time;
        let mut effect = Effect::Applied;
        match &change.kind {
            ChangeKind::ImagePushed { digest, tag, content } => {
                let mut tag = tag.as_ref();
                if let Some(name) = tag {
                    effect = self.move_tag(name, &Move { time, digest: Some(digest.clone()) })?;
                    // The tag has been moved since; the push still says that the image was there.
                    tag = tag.filter(|_| effect == Effect::Applied);
                }
                let pushed = self.touch(digest, time)?.push(time, tag, content);
                effect = if pushed == Effect::TooLate { pushed } else { effect };
                self.update_size(digest)?;
            }
            ChangeKind::ImageObserved { digest, pushed_at, content } => {
                self.touch(digest, time)?.observe(time, *pushed_at, content);
                self.update_size(digest)?;
            }
            ChangeKind::ImageDeleted { digest } => effect = self.touch(digest, time)?.delete(time),
            ChangeKind::ImageUntagged { digest, tag } => {
                let event = TagEvent { time, kind: TagEventKind::Untagged };
                effect = self.touch(digest, time)?.tag_event(tag, event);
            }
            ChangeKind::TagDeleted { tag } => {
                effect = self.move_tag(tag, &Move { time, digest: None })?
            }
            ChangeKind::RepositoryCreated => self.repository.now.create(time),
            ChangeKind::RepositoryDeleted => self.repository.now.begin_deletion(time),
            ChangeKind::ImageScanned { digest, scan } => self.touch(digest, None)?.scan(time, scan),
            ChangeKind::ImagePulled { digest } => self.touch(digest, None)?.pull(time),
            ChangeKind::ImageArchived { digest } => self.touch(digest, None)?.archive(time),
            ChangeKind::ImageRestored { digest, activated_at } => {
                self.touch(digest, None)?.restore(time, *activated_at);
            }
        }
        Ok(effect)
    }

    /// Loads items that are not in the draft yet.
    fn load<'a>(
        &mut self,
        digests: impl IntoIterator<Item = &'a Digest>,
        tags: impl IntoIterator<Item = &'a Tag>,
    ) -> Result<(), Missing> {
        let mut missing = Missing::default();
        for digest in digests {
            match self.loaded.images.get(digest) {
                None => missing.images.push(digest.clone()),
                Some(item) => {
                    self.images
                        .entry(digest.clone())
                        .or_insert_with(|| Drafted::new(item.as_ref()));
                }
            }
        }
        for tag in tags {
            match self.loaded.tags.get(tag) {
                None => missing.tags.push(tag.clone()),
                Some(item) => {
                    self.tags.entry(tag.clone()).or_insert_with(|| Drafted::new(item.as_ref()));
                }
            }
        }
        if missing == Missing::default() { Ok(()) } else { Err(missing) }
    }

    /// The events of segments; none of those that have expired.
    fn segments<E: Event>(
        &self,
        owner: &Owner,
        numbers: &[u32],
    ) -> Result<Vec<Segment<E>>, Missing> {
        let (mut found, mut missing) = (Vec::new(), Missing::default());
        for number in numbers {
            let key = (owner.clone(), *number);
            match self.loaded.segments.get(&key) {
                None => missing.segments.push(key),
                Some(bytes) => {
                    found.push((*number, bytes.as_deref().and_then(|bytes| unpack(bytes).ok())));
                }
            }
        }
        if missing.segments.is_empty() { Ok(found) } else { Err(missing) }
    }

    fn load_image_segments(&mut self, digest: &Digest, numbers: &[u32]) -> Result<(), Missing> {
        let segments = self.segments(&Owner::Image(digest.clone()), numbers)?;
        if let Some(image) = self.images.get_mut(digest) {
            segments.into_iter().for_each(|(number, events)| image.now.load(number, events));
        }
        Ok(())
    }

    fn load_tag_segments(&mut self, tag: &Tag, numbers: &[u32]) -> Result<(), Missing> {
        let segments = self.segments(&Owner::Tag(tag.clone()), numbers)?;
        if let Some(history) = self.tags.get_mut(tag) {
            segments.into_iter().for_each(|(number, moves)| history.now.load(number, moves));
        }
        Ok(())
    }

    /// The history of a digest as it is after the last deletion of the repository, ready for an
    /// event of a time, or for what is no event.
    fn touch(
        &mut self,
        digest: &Digest,
        time: impl Into<Option<Timestamp>>,
    ) -> Result<&mut ImageHistory, Missing> {
        self.load([digest], [])?;
        let removed_until = self.repository.now.removed_until();
        let history =
            &mut self.images.entry(digest.clone()).or_insert_with(|| Drafted::new(None)).now;
        let deletion = removed_until.filter(|time| history.deleted_at() < Some(*time));
        // It stays too late for ever: there is no need to load what it would concern.
        let is_too_late = deletion.is_some_and(|time| history.has_forgotten(time));
        let deletion = deletion.filter(|_| !is_too_late);
        let since = deletion.into_iter().chain(time.into()).min();
        let numbers = since.map(|since| history.missing_segments(since)).unwrap_or_default();
        self.load_image_segments(digest, &numbers)?;
        let history =
            &mut self.images.entry(digest.clone()).or_insert_with(|| Drafted::new(None)).now;
        self.deletion = match deletion {
            Some(deletion) => history.delete(deletion),
            None if is_too_late => Effect::TooLate,
            None => Effect::Applied,
        };
        Ok(history)
    }

    /// Moves a tag, and tells the images on both sides of the move.
    fn move_tag(&mut self, tag: &Tag, moved: &Move) -> Result<Effect, Missing> {
        self.load(&moved.digest, [tag])?;
        let history = &mut self.tags.entry(tag.clone()).or_insert_with(|| Drafted::new(None)).now;
        let numbers = history.missing_segments(moved.time);
        self.load_tag_segments(tag, &numbers)?;
        let history = &mut self.tags.entry(tag.clone()).or_insert_with(|| Drafted::new(None)).now;
        if history.has_forgotten(moved) {
            return Ok(Effect::TooLate);
        }
        let neighbours = history.insert(moved);
        // Whether the tag's item may expire depends on the image that has the tag in the end.
        let target = history.target().cloned();
        let previous = neighbours.before.and_then(|before| before.digest);
        self.load(previous.iter().chain(&target), [])?;
        if let Some(previous) = previous
            && let Some(event) = moved.seen_from(&previous)
            // An image that has been gone for so long that its item expired does not come back.
            && self.images.get(&previous).is_some_and(|image| image.stored.is_some())
        {
            self.touch(&previous, event.time)?.tag_event(tag, event);
        }
        if let Some(digest) = &moved.digest
            && let Some(event) = neighbours.after.and_then(|after| after.seen_from(digest))
        {
            self.touch(digest, event.time)?.tag_event(tag, event);
        }
        Ok(Effect::Applied)
    }

    /// Works out the size of an index from its manifests.
    fn update_size(&mut self, digest: &Digest) -> Result<(), Missing> {
        let manifests = self.images.get(digest).map(|image| image.now.manifests().to_vec());
        let manifests = manifests.unwrap_or_default();
        self.load(&manifests, [])?;
        let sizes: BTreeMap<&Digest, i64> = manifests
            .iter()
            .filter_map(|manifest| {
                Some((manifest, self.images.get(manifest)?.now.size_in_bytes()?))
            })
            .collect();
        if let Some(index) = self.images.get_mut(digest) {
            index.now.update_manifest_sizes(|manifest| sizes.get(manifest).copied());
        }
        Ok(())
    }

    /// Lets indexes know the size of one of their manifests.
    fn tell_size(&mut self, manifest: &Digest, indexes: &[Digest]) -> Result<(), Missing> {
        self.load(indexes.iter().chain([manifest]), [])?;
        let size = self.images.get(manifest).and_then(|image| image.now.size_in_bytes());
        for index in indexes {
            if let Some(index) = self.images.get_mut(index) {
                index.now.update_manifest_sizes(|other| size.filter(|_| other == manifest));
            }
        }
        Ok(())
    }

    /// What has to be written so that the table holds what the draft says.
    fn finish(mut self, horizon: Timestamp) -> Result<Writes, Missing> {
        // A repository exists from the first event that is seen of it; after a deletion, from the
        // next push.
        if let Some(pushed_at) =
            self.images.values().filter_map(|image| image.now.last_pushed_at()).max()
        {
            self.repository.now.observe(pushed_at);
        }
        let left_behind = self.load_tags_left_behind()?;
        let mut writes = Writes { left_behind, ..Writes::default() };
        self.extend_segments()?;
        for (digest, mut image) in std::mem::take(&mut self.images) {
            let segments = image.now.close(horizon);
            // A segment is never written without its item, whose version keeps other writers off.
            if image.is_changed() || !segments.is_empty() {
                let owner = Owner::Image(digest.clone());
                writes
                    .segments
                    .extend(segments.into_iter().map(|segment| (owner.clone(), segment)));
                let expires = image.now.image(&digest).is_none();
                writes.images.push((digest.clone(), image.clone(), expires));
            }
            self.images.insert(digest, image);
        }
        for (tag, mut history) in std::mem::take(&mut self.tags) {
            let segments = history.now.close(horizon);
            let target = history.now.target();
            let image = target.and_then(|digest| self.images.get(digest)?.now.image(digest));
            let expires = !image.is_some_and(|image| image.image_tags.contains(&tag));
            let expiry_changes =
                history.stored.as_ref().is_some_and(|stored| stored.expires != expires);
            if history.is_changed() || !segments.is_empty() || expiry_changes {
                let owner = Owner::Tag(tag.clone());
                writes
                    .segments
                    .extend(segments.into_iter().map(|segment| (owner.clone(), segment)));
                writes.tags.push((tag, history, expires));
            }
        }
        if self.repository.is_changed() || self.repository.stored.is_none() {
            writes.repository = Some(self.repository);
        }
        Ok(writes)
    }

    /// Loads the last segments of logs that have too many events for their items.
    fn extend_segments(&mut self) -> Result<(), Missing> {
        let mut missing = Missing::default();
        let images = self.images.iter();
        let images: Vec<(Digest, u32)> = images
            .filter_map(|(digest, image)| Some((digest.clone(), image.now.segment_to_extend()?)))
            .collect();
        for (digest, number) in images {
            if let Err(segments) = self.load_image_segments(&digest, &[number]) {
                missing.segments.extend(segments.segments);
            }
        }
        let tags = self.tags.iter();
        let tags: Vec<(Tag, u32)> = tags
            .filter_map(|(tag, history)| Some((tag.clone(), history.now.segment_to_extend()?)))
            .collect();
        for (tag, number) in tags {
            if let Err(segments) = self.load_tag_segments(&tag, &[number]) {
                missing.segments.extend(segments.segments);
            }
        }
        if missing.segments.is_empty() { Ok(()) } else { Err(missing) }
    }

    /// Loads tags that images of the draft have lost to no other image, so that their items get an
    /// expiry. Returns those that are too many.
    fn load_tags_left_behind(&mut self) -> Result<Vec<Tag>, Missing> {
        let tags = |image: Option<Image>| image.map(|image| image.image_tags).unwrap_or_default();
        let mut left_behind = BTreeSet::new();
        for (digest, image) in &self.images {
            let Some(stored) = &image.stored else { continue };
            let now = tags(image.now.image(digest));
            let before = tags(stored.history.image(digest));
            left_behind.extend(before.into_iter().filter(|tag| !now.contains(tag)));
        }
        let mut left_behind: Vec<Tag> =
            left_behind.into_iter().filter(|tag| !self.tags.contains_key(tag)).collect();
        let later = left_behind.split_off(left_behind.len().min(TAGS_EXPIRED_AT_ONCE));
        self.load_with_targets(&left_behind)?;
        Ok(later)
    }

    /// Loads tags, and the images that they were last moved to.
    fn load_with_targets(&mut self, tags: &[Tag]) -> Result<(), Missing> {
        self.load([], tags)?;
        let targets: Vec<Digest> =
            tags.iter().filter_map(|tag| self.tags.get(tag)?.now.target().cloned()).collect();
        self.load(&targets, [])
    }
}
