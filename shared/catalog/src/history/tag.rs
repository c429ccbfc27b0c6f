//! The history of a tag.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::image::{TagEvent, TagEventKind};
use super::log::{Event, Log, Replay, SegmentWrite};
use crate::identifier::Digest;
use crate::time::Timestamp;

/// A push of a tag to an image, or its deletion. Of one time the deletion comes first, then pushes
/// by their digests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Move {
    pub time: Timestamp,
    /// The image; `None` for a deletion.
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
    /// The event of the image that loses the tag by this move.
    #[must_use]
    pub fn event_for(&self, digest: &Digest) -> Option<TagEvent> {
        let kind = match &self.digest {
            None => TagEventKind::TagDeleted,
            Some(to) if to < digest => TagEventKind::MovedToSmaller,
            Some(to) if to > digest => TagEventKind::MovedToGreater,
            Some(_) => return None,
        };
        Some(TagEvent { time: self.time, kind })
    }
}

/// The moves of a tag: a last-write-wins register with its earlier values, so that the images
/// before and after a late move are known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TagHistory {
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
    /// The segments that a move of this time requires and that are not loaded.
    pub(crate) fn missing_segments(&self, time: Timestamp) -> Vec<u32> {
        self.moves.missing_segments(time)
    }

    /// Adds the moves of a segment; `None` if it has expired.
    pub(crate) fn load(&mut self, number: u32, moves: Option<BTreeSet<Move>>) {
        self.moves.load(number, moves);
    }

    /// Whether a move is from before the end of the expired moves. The tag has been moved since.
    #[must_use]
    pub fn has_expired(&self, moved: &Move) -> bool {
        self.moves.expired_until().is_some_and(|until| until.is_after(moved))
            && !self.moves.events().contains(moved)
    }

    /// Inserts a move, and returns its neighbours.
    pub fn insert(&mut self, moved: &Move) -> Neighbours {
        self.moves.insert(moved.clone());
        let moves = self.moves.events();
        Neighbours {
            before: moves.range(..moved).next_back().cloned(),
            after: moves.range(moved..).find(|other| *other != moved).cloned(),
        }
    }

    /// The image that the tag was last pushed to, unless the tag was deleted since. The history of
    /// the image decides whether it still has the tag.
    #[must_use]
    pub fn target(&self) -> Option<&Digest> {
        self.last_move().and_then(|moved| moved.digest.as_ref())
    }

    /// The last push of the tag, or its deletion.
    #[must_use]
    pub fn last_move(&self) -> Option<&Move> {
        self.moves.events().last()
    }

    /// The segments that are merged when the log is compacted, and that are not loaded.
    pub(crate) fn segments_to_merge(&self) -> Vec<u32> {
        self.moves.segments_to_merge(&LastMove::default())
    }

    /// Compacts the log, and returns the segments to write.
    pub(crate) fn compact(&mut self, horizon: Timestamp) -> Vec<SegmentWrite> {
        self.moves.compact(&LastMove::default(), horizon)
    }
}

/// Only the last move is live.
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

    fn live(&self) -> BTreeSet<Move> {
        self.0.iter().cloned().collect()
    }
}
