//! The writes of a change: a function of the change and of the items that it concerns, without a
//! table.
//!
//! Which items those are is not known in advance. A draft that requires an item which is not
//! loaded ends with what is [`Missing`]. Then it is loaded, and the draft starts again.

mod items;

use std::collections::{BTreeMap, BTreeSet};

use crate::change::{Change, ChangeKind};
use crate::history::log::Event;
use crate::history::{
    Effect, Found, ImageHistory, Move, RepositoryHistory, TagEvent, TagEventKind, TagHistory,
};
use crate::identifier::{Digest, Tag};
use crate::image::Image;
use crate::packed::unpack;
use crate::time::Timestamp;

pub use self::items::{Drafted, Item, Loaded, Missing, Owner, Writes};

/// Tags without an image that expire in one transaction.
pub(crate) const MAX_EXPIRED_TAGS: usize = 40;
/// Indexes whose size is updated in one transaction.
pub(crate) const MAX_RESIZED_INDEXES: usize = 10;

/// A unit of work in a repository.
#[derive(Debug, Clone, Copy)]
pub enum Work<'a> {
    /// Apply changes. The deletion of a repository is only begun.
    Changes(&'a [&'a Change]),
    /// Apply the deletion of the repository to an image.
    ApplyRepositoryDeletion(&'a Digest),
    /// Finish a deletion of the repository, after all images from before were removed.
    FinishDeletion(Timestamp),
    /// Let those of the tags expire that no image has.
    ExpireTags(&'a [Tag]),
    /// Update the size of a manifest in the indexes that list it.
    UpdateSizes { manifest: &'a Digest, indexes: &'a [Digest] },
}

/// Returns the writes of a unit of work, and the effect of each change. Segments that are older than
/// the horizon expire.
pub fn draft(
    loaded: &Loaded,
    work: Work<'_>,
    horizon: Timestamp,
) -> Result<(Writes, Vec<Effect>), Missing> {
    let Some(repository) = &loaded.repository else {
        let mut missing = Missing { repository: true, ..Missing::default() };
        match work {
            Work::Changes(changes) => {
                for (digest, tag) in changes.iter().map(|change| named_by(&change.kind)) {
                    missing.images.extend(digest.cloned());
                    missing.tags.extend(tag.cloned());
                }
            }
            Work::ApplyRepositoryDeletion(digest) => missing.images.push(digest.clone()),
            Work::ExpireTags(tags) => missing.tags.extend_from_slice(tags),
            Work::UpdateSizes { manifest, indexes } => {
                missing.images.extend([manifest].into_iter().chain(indexes).cloned());
            }
            Work::FinishDeletion(_) => {}
        }
        return Err(missing.without(loaded));
    };
    let mut draft = Draft {
        loaded,
        repository: Drafted::new(repository.as_ref()),
        images: BTreeMap::new(),
        tags: BTreeMap::new(),
        deletion: Effect::Applied,
    };
    let mut effects = Vec::new();
    match work {
        Work::Changes(changes) => {
            let mut missing = Missing::default();
            for change in changes {
                match draft.apply(change) {
                    Ok(effect) => effects.push(effect),
                    // What the others lack is loaded at the same time.
                    Err(more) => missing.extend(more),
                }
            }
            if missing != Missing::default() {
                return Err(missing);
            }
        }
        Work::ApplyRepositoryDeletion(digest) => {
            draft.touch(digest, None)?;
            effects.push(draft.deletion);
        }
        Work::FinishDeletion(time) => draft.repository.now.finish_deletion(time),
        Work::ExpireTags(tags) => draft.load_with_targets(tags)?,
        Work::UpdateSizes { manifest, indexes } => draft.update_index_sizes(manifest, indexes)?,
    }
    Ok((draft.finish(horizon)?, effects))
}

/// The digest and the tag of a change.
fn named_by(kind: &ChangeKind) -> (Option<&Digest>, Option<&Tag>) {
    match kind {
        ChangeKind::ImagePushed { digest, tag, .. }
        | ChangeKind::ImageFound { digest, tag, .. } => (Some(digest), tag.as_ref()),
        ChangeKind::TagDeleted { tag } => (None, Some(tag)),
        ChangeKind::ImageObserved { digest, .. }
        | ChangeKind::ImageDeleted { digest }
        | ChangeKind::ImageUntagged { digest, .. }
        | ChangeKind::ImageScanned { digest, .. }
        | ChangeKind::ImagePulled { digest }
        | ChangeKind::ImageArchived { digest }
        | ChangeKind::ImageRestored { digest, .. } => (Some(digest), None),
        ChangeKind::RepositoryStated(_)
        | ChangeKind::RepositoryLocated { .. }
        | ChangeKind::RepositoryDeleted => (None, None),
    }
}

/// The number of a segment, and its events unless it has expired.
type Segment<E> = (u32, Option<BTreeSet<E>>);

struct Draft<'a> {
    loaded: &'a Loaded,
    repository: Drafted<RepositoryHistory>,
    images: BTreeMap<Digest, Drafted<ImageHistory>>,
    tags: BTreeMap<Tag, Drafted<TagHistory>>,
    /// The effect of the repository's deletion on the last image of [`Draft::touch`].
    deletion: Effect,
}

impl Draft<'_> {
    fn apply(&mut self, change: &Change) -> Result<Effect, Missing> {
        let time = change.time;
        let mut effect = Effect::Applied;
        match &change.kind {
            ChangeKind::ImagePushed { digest, tag, content } => {
                self.repository.now.observe(time);
                let (tag, moved) = self.move_tag_to(digest, tag.as_ref(), time)?;
                let pushed = self.touch(digest, time)?.push(time, tag, content);
                effect = if pushed == Effect::TooLate { pushed } else { moved };
                self.update_size(digest)?;
            }
            ChangeKind::ImageFound { digest, tag, pushed_at, found_at, is_stated, content } => {
                let (tag, moved) = self.move_tag_to(digest, tag.as_ref(), time)?;
                self.repository.now.observe(time.min(*pushed_at));
                let found =
                    Found { pushed_at: *pushed_at, found_at: *found_at, is_stated: *is_stated };
                let found = self.touch(digest, time)?.find(time, tag, found, content);
                effect = if found == Effect::TooLate { found } else { moved };
                self.update_size(digest)?;
            }
            ChangeKind::ImageObserved { digest, pushed_at, content } => {
                self.repository.now.observe(time.min(*pushed_at));
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
            ChangeKind::RepositoryStated(statement) => {
                self.repository.now.state(time, statement);
            }
            ChangeKind::RepositoryLocated { uri } => self.repository.now.locate(time, uri),
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

    /// The events of segments, without those that have expired.
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

    /// The history of a digest after the last deletion of the repository, with the segments that an
    /// event of a time requires.
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
        // A deletion that is too late requires no segments.
        let is_too_late = deletion.is_some_and(|time| history.has_expired(time));
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

    /// Moves a tag, if there is one, to an image. Returns it unless it has been moved since: the
    /// image exists nevertheless.
    fn move_tag_to<'a>(
        &mut self,
        digest: &Digest,
        tag: Option<&'a Tag>,
        time: Timestamp,
    ) -> Result<(Option<&'a Tag>, Effect), Missing> {
        let Some(name) = tag else { return Ok((None, Effect::Applied)) };
        let effect = self.move_tag(name, &Move { time, digest: Some(digest.clone()) })?;
        Ok((tag.filter(|_| effect == Effect::Applied), effect))
    }

    /// Moves a tag, and adds the events of the images before and after the move.
    fn move_tag(&mut self, tag: &Tag, moved: &Move) -> Result<Effect, Missing> {
        self.load(&moved.digest, [tag])?;
        let history = &mut self.tags.entry(tag.clone()).or_insert_with(|| Drafted::new(None)).now;
        let numbers = history.missing_segments(moved.time);
        self.load_tag_segments(tag, &numbers)?;
        let history = &mut self.tags.entry(tag.clone()).or_insert_with(|| Drafted::new(None)).now;
        if history.has_expired(moved) {
            // Whether the tag's item expires depends on the image that has the tag.
            let target = history.target().cloned();
            self.load(&target, [])?;
            return Ok(Effect::TooLate);
        }
        let neighbours = history.insert(moved);
        let target = history.target().cloned();
        let previous = neighbours.before.and_then(|before| before.digest);
        self.load(previous.iter().chain(&target), [])?;
        if let Some(previous) = previous
            && let Some(event) = moved.event_for(&previous)
            // An image whose item has expired is not restored.
            && self
                .images
                .get(&previous)
                .is_some_and(|image| image.stored.is_some() || image.is_changed())
        {
            self.touch(&previous, event.time)?.tag_event(tag, event);
        }
        if let Some(digest) = &moved.digest
            && let Some(event) = neighbours.after.and_then(|after| after.event_for(digest))
        {
            self.touch(digest, event.time)?.tag_event(tag, event);
        }
        Ok(Effect::Applied)
    }

    /// Updates the size of an index from its manifests.
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

    /// Updates the size of a manifest in indexes.
    fn update_index_sizes(&mut self, manifest: &Digest, indexes: &[Digest]) -> Result<(), Missing> {
        self.load(indexes.iter().chain([manifest]), [])?;
        let size = self.images.get(manifest).and_then(|image| image.now.size_in_bytes());
        for index in indexes {
            if let Some(index) = self.images.get_mut(index) {
                index.now.update_manifest_sizes(|other| size.filter(|_| other == manifest));
            }
        }
        Ok(())
    }

    /// The writes of the draft.
    fn finish(mut self, horizon: Timestamp) -> Result<Writes, Missing> {
        // A repository exists from its first push on; after a deletion, from the next one.
        for time in self.images.values().filter_map(|image| image.now.last_pushed_at()) {
            self.repository.now.observe(time);
        }
        let unused_tags = self.load_unused_tags()?;
        let mut writes = Writes { unused_tags, ..Writes::default() };
        self.load_merged_segments()?;
        for (digest, mut image) in std::mem::take(&mut self.images) {
            let segments = image.now.compact(horizon);
            // A segment is written with its item, whose version is the condition of the
            // transaction.
            if image.is_changed() || !segments.is_empty() {
                let owner = Owner::Image(digest.clone());
                writes
                    .segments
                    .extend(segments.into_iter().map(|segment| (owner.clone(), segment)));
                let shown = image.now.image(&digest);
                let expires = shown.is_none();
                if let Some(shown) = shown {
                    self.repository.now.observe(shown.image_pushed_at);
                }
                writes.images.push((digest.clone(), image.clone(), expires));
            }
            self.images.insert(digest, image);
        }
        for (tag, mut history) in std::mem::take(&mut self.tags) {
            let segments = history.now.compact(horizon);
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
        self.repository.now.compact(horizon);
        if self.repository.is_changed() || self.repository.stored.is_none() {
            writes.repository = Some(self.repository);
        }
        Ok(writes)
    }

    /// Loads the segments that are merged when the logs are compacted.
    fn load_merged_segments(&mut self) -> Result<(), Missing> {
        let mut missing = Missing::default();
        let images = self.images.iter();
        let images: Vec<(Digest, Vec<u32>)> =
            images.map(|(digest, image)| (digest.clone(), image.now.segments_to_merge())).collect();
        for (digest, numbers) in images {
            if let Err(segments) = self.load_image_segments(&digest, &numbers) {
                missing.segments.extend(segments.segments);
            }
        }
        let tags = self.tags.iter();
        let tags: Vec<(Tag, Vec<u32>)> =
            tags.map(|(tag, history)| (tag.clone(), history.now.segments_to_merge())).collect();
        for (tag, numbers) in tags {
            if let Err(segments) = self.load_tag_segments(&tag, &numbers) {
                missing.segments.extend(segments.segments);
            }
        }
        if missing.segments.is_empty() { Ok(()) } else { Err(missing) }
    }

    /// Loads tags that images of the draft have lost to no other image, so that their items expire.
    /// Returns those that are too many for one transaction.
    fn load_unused_tags(&mut self) -> Result<Vec<Tag>, Missing> {
        let tags = |image: Option<Image>| image.map(|image| image.image_tags).unwrap_or_default();
        let mut unused_tags = BTreeSet::new();
        for (digest, image) in &self.images {
            let Some(stored) = &image.stored else { continue };
            let now = tags(image.now.image(digest));
            let before = tags(stored.history.image(digest));
            unused_tags.extend(before.into_iter().filter(|tag| !now.contains(tag)));
        }
        let mut unused_tags: Vec<Tag> =
            unused_tags.into_iter().filter(|tag| !self.tags.contains_key(tag)).collect();
        let later = unused_tags.split_off(unused_tags.len().min(MAX_EXPIRED_TAGS));
        self.load_with_targets(&unused_tags)?;
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
