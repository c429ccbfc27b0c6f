//! A grow-only set of events, which are replayed in the order of their times.
//!
//! The state does not depend on the order in which events arrive, because the set does not. But a
//! set that only grows has no bound. So events from before a *checkpoint* are moved from the item
//! into *segments*: items of their own, which expire with the window of lateness. The checkpoint has
//! the state that they lead to. The item keeps the *live* ones among them, whose effect continues,
//! such as a push whose tag is still there. A late event needs the segments from its own time on:
//! they are loaded, the event is inserted, and the log is compacted again.
//!
//! Events from before the oldest segment have expired. An event of that time can add to the state,
//! but remove nothing.

mod checkpoint;
mod compaction;

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::checkpoint::{Checkpoint, Cut, Stored};
use crate::time::Timestamp;

/// An event. Events are ordered by their times; of one time, in the order in which they take effect.
pub(crate) trait Event: Clone + Ord + Serialize + DeserializeOwned {
    fn time(&self) -> Timestamp;
    /// Approximately.
    fn bytes(&self) -> usize;
}

/// Replays events in their order.
pub(crate) trait Replay: Clone {
    type Event: Event;
    type State: Clone + PartialEq + Default;
    /// Sets the state of a checkpoint, after the live events before it were applied.
    fn resume(&mut self, until: Timestamp, state: &Self::State);
    fn apply(&mut self, event: &Self::Event);
    fn state(&self) -> Self::State;
    /// The events that were applied and whose effect continues.
    fn live(&self) -> BTreeSet<Self::Event>;
}

/// A segment to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentWrite {
    pub number: u32,
    pub events: Vec<u8>,
    /// The time of its last event.
    pub until: Timestamp,
}

#[derive(Debug, Clone)]
struct LoadedSegment<E> {
    /// The end of the segment, from which its expiry follows; `None` if it is not stored yet.
    until: Option<Cut<E>>,
    events: BTreeSet<E>,
}

/// A log, as it is stored or while it is changed.
#[derive(Debug, Clone)]
pub(crate) struct Log<E: Ord, S> {
    log: Stored<E, S>,
    /// The segments that were loaded or are new.
    loaded: BTreeMap<u32, LoadedSegment<E>>,
    /// As it is stored.
    original: Option<Box<Stored<E, S>>>,
    is_changed: bool,
}

impl<E: Ord, S> Default for Log<E, S> {
    fn default() -> Self {
        Self { log: Stored::default(), loaded: BTreeMap::new(), original: None, is_changed: false }
    }
}

/// Two logs are equal if what is stored of them is.
impl<E: Ord, S: PartialEq> PartialEq for Log<E, S> {
    fn eq(&self, other: &Self) -> bool {
        self.log == other.log
    }
}

impl<E: Ord, S: Eq> Eq for Log<E, S> {}

impl<E: Event, S: Clone + PartialEq + Default> Log<E, S> {
    /// Whether there may be an event before this one.
    pub(crate) fn begins_before(&self, event: &E) -> bool {
        !self.log.checkpoints.is_empty()
            || self.log.events.first().is_some_and(|first| first < event)
    }

    /// The events of the item and of the segments that are loaded.
    pub(crate) fn events(&self) -> &BTreeSet<E> {
        &self.log.events
    }

    /// The segments that a change at this time needs and that are not loaded.
    pub(crate) fn missing_segments(&self, time: Timestamp) -> Vec<u32> {
        let needed = self.log.checkpoints.iter().filter(|checkpoint| checkpoint.until.time >= time);
        needed
            .filter_map(|checkpoint| Some(checkpoint.segment?.number))
            .filter(|number| !self.loaded.contains_key(number))
            .collect()
    }

    /// Adds the events of a segment; `None` if it has expired.
    pub(crate) fn load(&mut self, number: u32, events: Option<BTreeSet<E>>) {
        self.keep_original();
        let place = self.log.checkpoints.iter().position(|checkpoint| {
            checkpoint.segment.is_some_and(|segment| segment.number == number)
        });
        let Some(place) = place else { return };
        match events {
            Some(events) => {
                self.log.events.extend(events.iter().cloned());
                let until = Some(self.log.checkpoints[place].until.clone());
                self.loaded.insert(number, LoadedSegment { until, events });
            }
            None => {
                // DynamoDB deletes expired items in any order. Older segments are of no use alone.
                for checkpoint in &self.log.checkpoints[..place] {
                    let loaded =
                        checkpoint.segment.and_then(|segment| self.loaded.remove(&segment.number));
                    let kept = self.original.as_ref().map(|before| &before.events);
                    for event in loaded.into_iter().flat_map(|segment| segment.events) {
                        if !kept.is_some_and(|kept| kept.contains(&event)) {
                            self.log.events.remove(&event);
                        }
                    }
                }
                self.expire_before(place);
            }
        }
    }

    /// The end of the events that have expired.
    pub(crate) fn expired_until(&self) -> Option<&Cut<E>> {
        let first = self.log.checkpoints.first()?;
        if first.segment.is_none() { Some(&first.until) } else { None }
    }

    /// Inserts an event, and returns whether it is new. The segments of its time must be loaded.
    pub(crate) fn insert(&mut self, event: E) -> bool {
        if self.log.events.contains(&event) {
            return false;
        }
        self.touch();
        self.log.events.insert(event)
    }

    /// Removes the events before `first`, and their checkpoints. They stay in later segments, because
    /// there may be too many segments for one transaction; who loads a segment ignores them.
    pub(crate) fn remove_before(&mut self, first: &E) {
        self.touch();
        self.log.events = self.log.events.split_off(first);
        for segment in self.loaded.values_mut() {
            segment.events = segment.events.split_off(first);
        }
        self.log.checkpoints.retain(|checkpoint| checkpoint.until.is_after(first));
    }

    /// Has the checkpoints updated.
    pub(crate) fn touch(&mut self) {
        self.keep_original();
        self.is_changed = true;
    }

    fn keep_original(&mut self) {
        if self.original.is_none() {
            self.original = Some(Box::new(self.log.clone()));
        }
    }

    /// The checkpoint before the loaded events.
    fn base(&self) -> Option<&Checkpoint<E, S>> {
        self.log.checkpoints[..self.first_loaded()].last()
    }

    /// The index of the first checkpoint whose segment is loaded.
    fn first_loaded(&self) -> usize {
        let is_loaded = |checkpoint: &Checkpoint<E, S>| {
            checkpoint.segment.is_some_and(|segment| self.loaded.contains_key(&segment.number))
        };
        self.log.checkpoints.iter().position(is_loaded).unwrap_or(self.log.checkpoints.len())
    }

    /// Replays the loaded events, from the checkpoint before them on.
    pub(crate) fn replay<R: Replay<Event = E, State = S>>(&self, mut replay: R) -> R {
        let mut events = self.log.events.iter().peekable();
        self.replay_base(&mut replay, &mut events);
        events.for_each(|event| replay.apply(event));
        replay
    }

    fn replay_base<'a, R: Replay<Event = E, State = S>>(
        &self,
        replay: &mut R,
        events: &mut std::iter::Peekable<impl Iterator<Item = &'a E>>,
    ) where
        E: 'a,
    {
        if let Some(base) = self.base() {
            while let Some(event) = events.next_if(|event| base.until.is_after(event)) {
                replay.apply(event);
            }
            replay.resume(base.until.time, &base.state);
        }
    }
}

impl<E: Event, S: Serialize> Serialize for Log<E, S> {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        self.log.serialize(serializer)
    }
}

impl<'de, E: Event, S: DeserializeOwned> Deserialize<'de> for Log<E, S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let log = Stored::deserialize(deserializer)?;
        Ok(Self { log, loaded: BTreeMap::new(), original: None, is_changed: false })
    }
}
