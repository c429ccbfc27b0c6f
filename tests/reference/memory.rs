//! The items of one repository in memory: the writer's code without a table. The test sets the
//! clock, which determines when items expire.

use std::collections::{BTreeMap, BTreeSet};

use catalog::draft::{Drafted, Item, Loaded, Missing, Owner, Work, draft};
use catalog::history::{Effect, ImageHistory, LATENESS_WINDOW, RepositoryHistory, TagHistory};
use catalog::image::Image;
use catalog::table::TOMBSTONE_LIFETIME;
use catalog::{Change, ChangeKind, Digest, RepositoryDescription, Tag, Timestamp};

/// An item, and its expiry time.
type Stored<T> = (Item<T>, Option<Timestamp>);

/// The items of a repository.
#[derive(Debug, Default)]
pub struct Memory {
    repository: Option<Item<RepositoryHistory>>,
    images: BTreeMap<Digest, Stored<ImageHistory>>,
    tags: BTreeMap<Tag, Stored<TagHistory>>,
    segments: BTreeMap<(Owner, u32), (Vec<u8>, Timestamp)>,
    /// The largest number of items in one write.
    pub largest_write: usize,
}

impl Memory {
    /// Applies changes together, none of which deletes the repository.
    pub fn apply_together(&mut self, changes: &[&Change], now: Timestamp) -> Effect {
        let effect = self.write_until_stable(Work::Changes(changes), now);
        for digest in changes.iter().filter_map(|change| change.sized()) {
            self.update_index_sizes(digest, now);
        }
        effect
    }

    /// Applies a change at a time of the clock.
    pub fn apply(&mut self, change: &Change, now: Timestamp) -> Effect {
        let mut effect = self.apply_together(&[change], now);
        let deletion = self.repository.as_ref().and_then(|item| item.history.deleting);
        if let (ChangeKind::RepositoryDeleted, Some(deletion)) = (&change.kind, deletion) {
            let digests: Vec<Digest> = self.images.keys().cloned().collect();
            for digest in &digests {
                if self.write_until_stable(Work::ApplyRepositoryDeletion(digest), now)
                    == Effect::TooLate
                {
                    effect = Effect::TooLate;
                }
            }
            self.write_until_stable(Work::FinishDeletion(deletion), now);
        }
        effect
    }

    /// What is known of the repository; `None` if it does not exist.
    pub fn description(&self) -> Option<RepositoryDescription> {
        self.repository.as_ref()?.history.description()
    }

    /// Whether the item of a tag expires.
    pub fn expires(&self, tag: &Tag) -> bool {
        self.tags.get(tag).is_some_and(|(item, _)| item.expires)
    }

    /// Removes expired items.
    pub fn expire(&mut self, now: Timestamp) {
        let stays =
            |expires_at: &Option<Timestamp>| expires_at.is_none_or(|expires_at| expires_at > now);
        self.images.retain(|_, (_, expires_at)| stays(expires_at));
        self.tags.retain(|_, (_, expires_at)| stays(expires_at));
        self.segments.retain(|_, (_, expires_at)| *expires_at > now);
    }

    /// The images, in the order of listings; `None` if the repository does not exist.
    pub fn images(&self) -> Option<Vec<Image>> {
        let exists = self.repository.as_ref().is_some_and(|item| item.history.exists());
        let images =
            self.images.iter().filter_map(|(digest, (item, _))| item.history.image(digest));
        let mut images: Vec<Image> = images.collect();
        crate::reference::model::sort(&mut images);
        exists.then_some(images)
    }

    /// The bytes of the largest item, and the number of items.
    pub fn sizes(&self) -> (usize, usize) {
        let segments = self.segments.values().map(|(events, _)| events.len());
        let largest = segments.chain([self.largest_item()]).max();
        let items = self.images.len() + self.tags.len() + self.segments.len();
        (largest.unwrap_or_default(), items)
    }

    /// The bytes of the largest item of an image or tag.
    pub fn largest_item(&self) -> usize {
        fn bytes<T: serde::Serialize>(item: &Item<T>) -> usize {
            catalog::packed::pack(&item.history).len()
        }
        let images = self.images.values().map(|(item, _)| bytes(item));
        let tags = self.tags.values().map(|(item, _)| bytes(item));
        images.chain(tags).max().unwrap_or_default()
    }

    fn update_index_sizes(&mut self, digest: &Digest, now: Timestamp) {
        let mut seen = BTreeSet::from([digest.clone()]);
        let mut waiting = vec![digest.clone()];
        while let Some(manifest) = waiting.pop() {
            let lists = |item: &Item<ImageHistory>| item.history.manifests().contains(&manifest);
            let indexes = self.images.iter().filter(|(_, (item, _))| lists(item));
            let indexes: Vec<Digest> = indexes.map(|(digest, _)| digest.clone()).collect();
            self.write_until_stable(
                Work::UpdateSizes { manifest: &manifest, indexes: &indexes },
                now,
            );
            waiting.extend(indexes.into_iter().filter(|index| seen.insert(index.clone())));
        }
    }

    fn write_until_stable(&mut self, work: Work<'_>, now: Timestamp) -> Effect {
        let mut is_too_late = false;
        loop {
            let mut loaded = Loaded::default();
            let (writes, effects) = loop {
                match draft(&loaded, work, now.minus(LATENESS_WINDOW)) {
                    Ok(drafted) => break drafted,
                    Err(missing) => self.load(missing, &mut loaded),
                }
            };
            is_too_late |= effects.contains(&Effect::TooLate);
            if writes.is_empty() {
                return if is_too_late { Effect::TooLate } else { Effect::Applied };
            }
            let items = writes.images.len() + writes.tags.len() + writes.segments.len();
            self.largest_write = self.largest_write.max(items);
            let expiry = |expires: bool| expires.then(|| now.plus(TOMBSTONE_LIFETIME));
            if let Some(repository) = writes.repository {
                self.repository = Some(item(repository, false));
            }
            for (digest, image, expires) in writes.images {
                self.images.insert(digest, (item(image, expires), expiry(expires)));
            }
            for (tag, history, expires) in writes.tags {
                self.tags.insert(tag, (item(history, expires), expiry(expires)));
            }
            for (owner, segment) in writes.segments {
                let expires_at = segment.until.plus(TOMBSTONE_LIFETIME);
                self.segments.insert((owner, segment.number), (segment.events, expires_at));
            }
            if !writes.unused_tags.is_empty() {
                self.write_until_stable(Work::ExpireTags(&writes.unused_tags), now);
            }
        }
    }

    fn load(&self, missing: Missing, loaded: &mut Loaded) {
        if missing.repository {
            loaded.repository = Some(self.repository.clone());
        }
        for digest in missing.images {
            let item = self.images.get(&digest).map(|(item, _)| item.clone());
            loaded.images.insert(digest, item);
        }
        for tag in missing.tags {
            let item = self.tags.get(&tag).map(|(item, _)| item.clone());
            loaded.tags.insert(tag, item);
        }
        for segment in missing.segments {
            let events = self.segments.get(&segment).map(|(events, _)| events.clone());
            loaded.segments.insert(segment, events);
        }
    }
}

fn item<T>(drafted: Drafted<T>, expires: bool) -> Item<T> {
    let version = drafted.stored.map_or(0, |stored| stored.version);
    Item { history: drafted.now, version: version + 1, expires }
}
