//! Changes of a repository, and its images at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use catalog::change::Content;
use catalog::image::{Image, ImageStatus, TagStatus};
use catalog::reader::{Filter, ImageIdentifier};
use catalog::{ChangeKind, Digest, Tag, Timestamp};

use crate::harness::{digest, tag};

/// The number of an image that the tests made.
pub fn number(digest: &Digest) -> u64 {
    let (_, hexadecimal) = digest.as_str().rsplit_once(':').unwrap();
    u64::from_str_radix(hexadecimal, 16).unwrap()
}

/// A change of a repository. Images have numbers, see [`digest`].
#[derive(Debug, Clone, Copy)]
pub enum Move {
    /// An image is pushed by its digest.
    Push(u64),
    /// An image is pushed under a tag, which is removed from its previous image.
    Tag(u64, &'static str),
    DeleteTag(&'static str),
    /// An image is deleted, with its tags.
    Delete(u64),
    Archive(u64),
    /// An image is restored from the archive.
    Restore(u64),
}

impl Move {
    pub fn kind(self, time: Timestamp) -> ChangeKind {
        let push = |number, tag| ChangeKind::ImagePushed {
            digest: digest(number),
            tag,
            content: Content::default(),
        };
        match self {
            Self::Push(number) => push(number, None),
            Self::Tag(number, name) => push(number, Some(tag(name))),
            Self::DeleteTag(name) => ChangeKind::TagDeleted { tag: tag(name) },
            Self::Delete(number) => ChangeKind::ImageDeleted { digest: digest(number) },
            Self::Archive(number) => ChangeKind::ImageArchived { digest: digest(number) },
            Self::Restore(number) => {
                ChangeKind::ImageRestored { digest: digest(number), activated_at: time }
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Identifier {
    pub number: Option<u64>,
    pub tag: Option<&'static str>,
}

impl Identifier {
    /// The identifier, as a parameter of the reader.
    pub fn identifier(self) -> ImageIdentifier {
        ImageIdentifier { digest: self.number.map(digest), tag: self.tag.map(tag) }
    }
}

/// An image at a point in time.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub is_archived: bool,
    pub tags: BTreeSet<&'static str>,
}

/// All images of a repository at a point in time, by their numbers.
#[derive(Debug, Clone, Default)]
pub struct State(pub BTreeMap<u64, Seen>);

impl State {
    /// The state after a move.
    pub fn after(&self, done: Move) -> Self {
        let Self(mut images) = self.clone();
        match done {
            Move::Push(number) => drop(images.entry(number).or_default()),
            Move::Tag(number, name) => {
                images.values_mut().for_each(|image| image.tags.retain(|tag| *tag != name));
                images.entry(number).or_default().tags.insert(name);
            }
            Move::DeleteTag(name) => {
                images.values_mut().for_each(|image| image.tags.retain(|tag| *tag != name));
            }
            Move::Delete(number) => drop(images.remove(&number)),
            Move::Archive(number) => images.get_mut(&number).unwrap().is_archived = true,
            Move::Restore(number) => images.get_mut(&number).unwrap().is_archived = false,
        }
        Self(images)
    }

    pub fn has_tag(&self, number: u64, name: &str) -> bool {
        self.0.get(&number).is_some_and(|image| image.tags.contains(name))
    }

    /// The image that has a tag.
    pub fn holder(&self, name: &str) -> Option<u64> {
        self.0.keys().copied().find(|number| self.has_tag(*number, name))
    }

    /// The image with this identifier.
    pub fn find(&self, requested: Identifier) -> Option<u64> {
        let fits = |(number, image): &(&u64, &Seen)| {
            requested.number.is_none_or(|requested| requested == **number)
                && requested.tag.is_none_or(|name| image.tags.contains(name))
        };
        self.0.iter().find(fits).map(|(number, _)| *number)
    }

    /// Whether an image exists and passes a filter.
    pub fn passes(&self, number: u64, filter: &Filter) -> bool {
        self.0.get(&number).is_some_and(|image| {
            let tag_status =
                if image.tags.is_empty() { TagStatus::Untagged } else { TagStatus::Tagged };
            let image_status =
                if image.is_archived { ImageStatus::Archived } else { ImageStatus::Active };
            filter.tag_status.is_none_or(|wanted| wanted == tag_status)
                && filter.image_status.is_none_or(|wanted| wanted == image_status)
        })
    }
}

/// A move, with the times before and after it.
struct Made {
    began_at: Instant,
    /// `None` while the move is in progress.
    ended_at: Option<Instant>,
    /// The state after the move.
    state: Arc<State>,
}

/// All moves in a repository. A move takes effect at one point in time between its begin and its
/// end.
pub struct Timeline(Mutex<Vec<Made>>);

impl Timeline {
    /// A repository without images.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(vec![Made { began_at: now, ended_at: Some(now), state: Arc::default() }]))
    }

    /// A move begins.
    pub fn begin(&self, done: Move) {
        let state = Arc::new(self.latest().after(done));
        self.0.lock().unwrap().push(Made { began_at: Instant::now(), ended_at: None, state });
    }

    /// The move that began has ended.
    pub fn end(&self) {
        self.0.lock().unwrap().last_mut().unwrap().ended_at = Some(Instant::now());
    }

    /// The current state, or the one that is being written.
    pub fn latest(&self) -> Arc<State> {
        Arc::clone(&self.0.lock().unwrap().last().unwrap().state)
    }

    /// All possible states between two points in time.
    pub fn between(&self, begin: Instant, end: Instant) -> Vec<Arc<State>> {
        let mut states = Vec::new();
        for made in self.0.lock().unwrap().iter().rev().skip_while(|made| made.began_at > end) {
            states.push(Arc::clone(&made.state));
            if made.ended_at.is_some_and(|ended_at| ended_at < begin) {
                break;
            }
        }
        states
    }
}

/// Whether an image has only tags that it had in at least one state, and all tags that it had in
/// every state.
pub fn are_its_tags(image: &Image, states: &[Arc<State>]) -> bool {
    let number = number(&image.image_digest);
    let at_some_moment =
        |name: &Tag| states.iter().any(|state| state.has_tag(number, name.as_str()));
    let has = |name: &str| image.image_tags.iter().any(|tag| tag.as_str() == name);
    let mut all_the_time: Option<BTreeSet<&'static str>> = None;
    for state in states {
        let tags = state.0.get(&number).map(|image| image.tags.clone()).unwrap_or_default();
        all_the_time = Some(all_the_time.map_or_else(|| tags.clone(), |others| &others & &tags));
    }
    image.image_tags.iter().all(at_some_moment) && all_the_time.into_iter().flatten().all(has)
}
