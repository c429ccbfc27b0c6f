//! Where a tag was moved to, and when.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::image::{TagEvent, TagEventKind};
use super::log::{Event, Log, Replay, SegmentWrite};
use crate::identifier::Digest;
use crate::time::Timestamp;

/// A tag was pushed to an image, or deleted. Of one time the deletion comes first, then pushes by
/// their digests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Move {
    /// When.
    pub time: Timestamp,
    /// The image that it was pushed to; `None` if the tag was deleted.
    pub digest: Option<Digest>,
}

impl Event for Move {
    fn time(&self) -> Timestamp {
        self.time
    }

    fn bytes(&self) -> usize {
        10 + self.digest.as_ref().map_or(0, Digest::packed_bytes)
    }
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

/// The moves of a tag: a last-write-wins register that also knows its earlier values, so that the
/// images on both sides of a late move can be told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TagHistory {
    #[serde(rename = "log")]
    moves: Log<Move, ()>,
}

/// The moves before and after a move.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Neighbours {
    /// The move that it ends.
    pub before: Option<Move>,
    /// The move that ends it.
    pub after: Option<Move>,
}

impl TagHistory {
    /// The segments that a move at this time needs and that are not loaded.
    pub(crate) fn missing_segments(&self, time: Timestamp) -> Vec<u32> {
        self.moves.missing_segments(time)
    }

    /// Adds the moves of a segment, which has expired if there are none.
    pub(crate) fn load(&mut self, number: u32, moves: Option<BTreeSet<Move>>) {
        self.moves.load(number, moves);
    }

    /// Whether the move comes so late that the moves around it are forgotten. The tag has been
    /// moved since.
    #[must_use]
    pub fn has_forgotten(&self, moved: &Move) -> bool {
        self.moves.forgotten_until().is_some_and(|until| until.is_after(moved))
            && !self.moves.events().contains(moved)
    }

    /// Notes a move.
    pub fn insert(&mut self, moved: &Move) -> Neighbours {
        self.moves.insert(moved.clone());
        let moves = self.moves.events();
        Neighbours {
            before: moves.range(..moved).next_back().cloned(),
            after: moves.range(moved..).find(|other| *other != moved).cloned(),
        }
    }

    /// The image that the tag was last pushed to, unless the tag was deleted since. Whether it
    /// still has the tag, its own history tells.
    #[must_use]
    pub fn target(&self) -> Option<&Digest> {
        self.moves.events().last().and_then(|moved| moved.digest.as_ref())
    }

    pub(crate) fn segment_to_extend(&self) -> Option<u32> {
        self.moves.segment_to_extend(&LastMove::default())
    }

    /// Makes it what is to be stored, and returns the segments to be stored with it.
    pub(crate) fn close(&mut self, horizon: Timestamp) -> Vec<SegmentWrite> {
        self.moves.close(&LastMove::default(), horizon)
    }
}

/// Of the moves so far only the last one has an effect.
#[derive(Debug, Clone, Default)]
struct LastMove(Option<Move>);

impl Replay for LastMove {
    type Event = Move;
    type State = ();

    fn resume(&mut self, _: Timestamp, (): &()) {}

    fn apply(&mut self, event: &Move) {
        self.0 = Some(event.clone());
    }

    fn state(&self) {}

    fn open(&self) -> BTreeSet<Move> {
        self.0.iter().cloned().collect()
    }
}
