//! The checkpoints of a log, and the form in which a log is stored.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Event;
use crate::time::Timestamp;

/// A position in the order of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cut<E> {
    pub(crate) time: Timestamp,
    /// The last event of this time before the position; `None` if all are.
    last: Option<E>,
}

impl<E: Event> Cut<E> {
    /// The position between two events.
    pub(super) fn between(event: &E, next: Option<&E>) -> Self {
        // An event contains up to 300 characters, and an item many positions.
        let last = next.filter(|next| next.time() == event.time()).map(|_| event.clone());
        Self { time: event.time(), last }
    }

    /// Whether an event is before the position.
    pub(crate) fn is_after(&self, event: &E) -> bool {
        let includes_time = || self.last.as_ref().is_none_or(|last| event <= last);
        event.time() < self.time || (event.time() == self.time && includes_time())
    }
}

/// The state that all events up to a position lead to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint<E, S> {
    pub(super) until: Cut<E>,
    pub(super) state: S,
    /// The segment with the events since the checkpoint before; `None` if it has expired.
    pub(super) segment: Option<Segment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) bytes: u32,
}

/// The part of a log that is stored in the item of its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored<E: Ord, S> {
    pub(super) checkpoints: Vec<Checkpoint<E, S>>,
    /// The events since the last checkpoint, and the live ones before it.
    pub(super) events: BTreeSet<E>,
    pub(super) next_segment: u32,
}

impl<E: Ord, S> Default for Stored<E, S> {
    fn default() -> Self {
        Self { checkpoints: Vec::new(), events: BTreeSet::new(), next_segment: 0 }
    }
}
