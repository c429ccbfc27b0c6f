//! A grow-only set of events, in the order of their times, with checkpoints.
//!
//! A state follows from the events by replaying them in their order. A set that only grows does not
//! depend on the order of arrival, so neither does the state; but it has no bound. So the events
//! from before a *checkpoint* are taken out of the item into *segments*, which are items of their
//! own and expire with the window of lateness. The checkpoint keeps the state that they lead to,
//! and the log keeps those of them whose effect goes on (a push whose tag has not been lost since).
//! A late event needs the segments from its own time on: they are loaded, the event takes its
//! place, and the log is closed again.
//!
//! What is before the oldest segment that is left is forgotten. An event from then can add what
//! exists, and takes nothing away.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Timestamp;

/// Events that weigh more than this, and have no effect by themselves any longer, leave the item.
const MAX_RECENT_BYTES: usize = 768;
/// So many bytes of the newest of them stay, so that an event that is a little late needs no
/// segment.
const KEPT_RECENT_BYTES: usize = 256;
/// Segments are added to up to this size at least.
const MIN_SEGMENT_BYTES: usize = 8 * 1024;

/// An event of a log. The order of events is that of their times, and of one time the one in which
/// they take effect.
pub(crate) trait Event: Clone + Ord + Serialize + DeserializeOwned {
    /// When it happened.
    fn time(&self) -> Timestamp;
    /// How many bytes it takes, about.
    fn bytes(&self) -> usize;
}

/// Replays events in their order.
pub(crate) trait Replay: Clone {
    type Event: Event;
    type State: Clone + PartialEq + Default;
    /// Takes over the state of a checkpoint, once the events from before it that still have an
    /// effect are applied.
    fn resume(&mut self, until: Timestamp, state: &Self::State);
    fn apply(&mut self, event: &Self::Event);
    fn state(&self) -> Self::State;
    /// The events so far whose effect goes on.
    fn open(&self) -> BTreeSet<Self::Event>;
}

/// A place in the order of events, which divides those before it from those after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cut<E> {
    /// Nothing later is before it.
    pub(crate) time: Timestamp,
    /// The last event of this time that is before it; `None` if all are.
    last: Option<E>,
}

impl<E: Event> Cut<E> {
    /// The place between two events.
    fn between(event: &E, next: Option<&E>) -> Self {
        // An event has a name of up to 300 characters, and an item many cuts.
        let last = next.filter(|next| next.time() == event.time()).map(|_| event.clone());
        Self { time: event.time(), last }
    }

    /// Whether an event is before it.
    pub(crate) fn is_after(&self, event: &E) -> bool {
        let includes_time = || self.last.as_ref().is_none_or(|last| event <= last);
        event.time() < self.time || (event.time() == self.time && includes_time())
    }
}

/// The state that all events up to a place in their order lead to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Checkpoint<E, S> {
    until: Cut<E>,
    state: S,
    /// Where the events between the checkpoint before and this one are; nowhere if they are
    /// forgotten.
    segment: Option<Segment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Segment {
    number: u32,
    bytes: u32,
}

/// What is stored of a log in the item that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stored<E: Ord, S> {
    checkpoints: Vec<Checkpoint<E, S>>,
    /// The events since the last checkpoint, and those before it whose effect goes on.
    events: BTreeSet<E>,
    next_segment: u32,
}

impl<E: Ord, S> Default for Stored<E, S> {
    fn default() -> Self {
        Self { checkpoints: Vec::new(), events: BTreeSet::new(), next_segment: 0 }
    }
}

/// A segment to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentWrite {
    /// Which one of its log.
    pub number: u32,
    /// Its events.
    pub events: Vec<u8>,
    /// The time of its last event.
    pub until: Timestamp,
}

/// A segment as it is stored.
#[derive(Debug, Clone)]
struct LoadedSegment<E> {
    /// Where it ends, which says when it expires; `None` if it is not stored yet.
    until: Option<Cut<E>>,
    events: BTreeSet<E>,
}

/// A log, as it is stored or as it is being changed.
#[derive(Debug, Clone)]
pub(crate) struct Log<E: Ord, S> {
    log: Stored<E, S>,
    /// While it is changed: the loaded segments, and the new ones.
    loaded: BTreeMap<u32, LoadedSegment<E>>,
    /// What to go back to if nothing changes.
    before: Option<Box<Stored<E, S>>>,
    is_changed: bool,
}

impl<E: Ord, S> Default for Log<E, S> {
    fn default() -> Self {
        Self { log: Stored::default(), loaded: BTreeMap::new(), before: None, is_changed: false }
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
    pub(crate) fn is_empty(&self) -> bool {
        self.log.events.is_empty() && self.log.checkpoints.is_empty()
    }

    /// Whether there may be an event before this one.
    pub(crate) fn begins_before(&self, event: &E) -> bool {
        !self.log.checkpoints.is_empty()
            || self.log.events.first().is_some_and(|first| first < event)
    }

    /// The events that are loaded, in their order.
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

    /// Adds the events of a segment, which has expired if there are none.
    pub(crate) fn load(&mut self, number: u32, events: Option<BTreeSet<E>>) {
        self.keep_before();
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
                // Older ones may still be there, for they expire in any order; alone they say
                // nothing.
                for checkpoint in &self.log.checkpoints[..place] {
                    let loaded =
                        checkpoint.segment.and_then(|segment| self.loaded.remove(&segment.number));
                    let kept = self.before.as_ref().map(|before| &before.events);
                    for event in loaded.into_iter().flat_map(|segment| segment.events) {
                        if !kept.is_some_and(|kept| kept.contains(&event)) {
                            self.log.events.remove(&event);
                        }
                    }
                }
                self.forget_before(place);
            }
        }
    }

    /// What is before this is forgotten; `None` if nothing is.
    pub(crate) fn forgotten_until(&self) -> Option<&Cut<E>> {
        let first = self.log.checkpoints.first()?;
        if first.segment.is_none() { Some(&first.until) } else { None }
    }

    /// Adds an event; tells whether it is new. The segments of its time must be loaded.
    pub(crate) fn insert(&mut self, event: E) -> bool {
        if self.log.events.contains(&event) {
            return false;
        }
        self.touch();
        self.log.events.insert(event)
    }

    /// Removes all events before the first one that stays, and the checkpoints among them. Those in
    /// later segments stay there, for there may be too many segments for one transaction; whoever
    /// loads a segment leaves them out.
    pub(crate) fn remove_before(&mut self, first: &E) {
        self.touch();
        self.log.events = self.log.events.split_off(first);
        for segment in self.loaded.values_mut() {
            segment.events = segment.events.split_off(first);
        }
        self.log.checkpoints.retain(|checkpoint| checkpoint.until.is_after(first));
    }

    /// Notes that the states of the checkpoints change, or may.
    pub(crate) fn touch(&mut self) {
        self.keep_before();
        self.is_changed = true;
    }

    fn keep_before(&mut self) {
        if self.before.is_none() {
            self.before = Some(Box::new(self.log.clone()));
        }
    }

    /// The checkpoint before the events that are loaded.
    fn base(&self) -> Option<&Checkpoint<E, S>> {
        self.log.checkpoints[..self.first_loaded()].last()
    }

    /// The place of the first checkpoint whose segment is loaded.
    fn first_loaded(&self) -> usize {
        let is_loaded = |checkpoint: &Checkpoint<E, S>| {
            checkpoint.segment.is_some_and(|segment| self.loaded.contains_key(&segment.number))
        };
        self.log.checkpoints.iter().position(is_loaded).unwrap_or(self.log.checkpoints.len())
    }

    /// Replays the events that are loaded, from the checkpoint before them on.
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

    /// Puts events into segments again, forgets what is older than the horizon, and returns the
    /// segments that are not as they are stored. A log that was not changed is as before.
    pub(crate) fn close<R: Replay<Event = E, State = S>>(
        &mut self,
        replay: &R,
        horizon: Timestamp,
    ) -> Vec<SegmentWrite> {
        let before = self.before.take();
        if !std::mem::take(&mut self.is_changed) {
            if let Some(before) = before {
                self.log = *before;
            }
            self.loaded.clear();
            return Vec::new();
        }
        self.add_checkpoint(replay);
        self.split_segments();
        let writes = self.update_segments(replay.clone());
        if let Some(place) =
            self.log.checkpoints.iter().rposition(|checkpoint| checkpoint.until.time < horizon)
        {
            self.forget_before(place);
        }
        self.loaded.clear();
        let numbers: BTreeSet<u32> = self
            .log
            .checkpoints
            .iter()
            .filter_map(|checkpoint| Some(checkpoint.segment?.number))
            .collect();
        writes.into_iter().filter(|write| numbers.contains(&write.number)).collect()
    }

    /// Makes what happened up to a checkpoint the past that is not known.
    fn forget_before(&mut self, place: usize) {
        self.log.checkpoints.drain(..place);
        self.log.checkpoints[0].segment = None;
    }

    fn new_segment(&mut self) -> Option<Segment> {
        let number = self.log.next_segment;
        self.log.next_segment += 1;
        self.loaded.insert(number, LoadedSegment { until: None, events: BTreeSet::new() });
        Some(Segment { number, bytes: 0 })
    }

    /// The number of the last segment, if events are to leave the item and it has room for them:
    /// then it has to be loaded first.
    pub(crate) fn segment_to_extend<R: Replay<Event = E, State = S>>(
        &self,
        replay: &R,
    ) -> Option<u32> {
        if !self.is_changed {
            return None;
        }
        let segment = self.log.checkpoints.last()?.segment?;
        let is_loaded = self.loaded.contains_key(&segment.number);
        let has_room = (segment.bytes as usize) < self.max_segment_bytes();
        (has_room && !is_loaded && self.leaving(replay).is_some()).then_some(segment.number)
    }

    /// Up to where events are to leave the item, if those without an effect by themselves weigh too
    /// much.
    fn leaving<R: Replay<Event = E, State = S>>(&self, replay: &R) -> Option<Cut<E>> {
        let open = self.replay(replay.clone()).open();
        let idle = self.log.events.iter().filter(|event| !open.contains(*event));
        if idle.map(Event::bytes).sum::<usize>() <= MAX_RECENT_BYTES {
            return None;
        }
        let last = self.log.checkpoints.last().map(|checkpoint| &checkpoint.until);
        let is_recent = |event: &&E| last.is_none_or(|last| !last.is_after(event));
        let mut kept = 0;
        let mut next = None;
        for event in self.log.events.iter().rev().take_while(is_recent) {
            kept += event.bytes();
            if kept > KEPT_RECENT_BYTES {
                return Some(Cut::between(event, next));
            }
            next = Some(event);
        }
        None
    }

    /// A segment of this size is not added to. The more there are, the larger they may be: each of
    /// them takes a little of the item.
    fn max_segment_bytes(&self) -> usize {
        (MIN_SEGMENT_BYTES * (1 + self.log.checkpoints.len() / 32)).min(4 * MIN_SEGMENT_BYTES)
    }

    fn add_checkpoint<R: Replay<Event = E, State = S>>(&mut self, replay: &R) {
        let Some(until) = self.leaving(replay) else { return };
        let max_bytes = self.max_segment_bytes();
        let is_loaded = |segment: Segment| self.loaded.contains_key(&segment.number);
        match self.log.checkpoints.last_mut() {
            Some(last)
                if last.segment.is_some_and(|segment| {
                    is_loaded(segment) && (segment.bytes as usize) < max_bytes
                }) =>
            {
                last.until = until;
            }
            _ => {
                let segment = self.new_segment();
                self.log.checkpoints.push(Checkpoint { until, state: S::default(), segment });
            }
        }
    }

    /// Late events make segments larger.
    fn split_segments(&mut self) {
        let max_bytes = self.max_segment_bytes();
        let mut place = self.first_loaded();
        while place < self.log.checkpoints.len() {
            let first =
                place.checked_sub(1).map(|before| self.log.checkpoints[before].until.clone());
            let until = &self.log.checkpoints[place].until;
            let events: Vec<&E> = self
                .log
                .events
                .iter()
                .filter(|event| {
                    first.as_ref().is_none_or(|first| !first.is_after(event))
                        && until.is_after(event)
                })
                .collect();
            let bytes: usize = events.iter().map(|event| event.bytes()).sum();
            if bytes > 2 * max_bytes && events.len() > 1 {
                let mut half = 0;
                let middle = events[..events.len() - 1].iter().position(|event| {
                    half += event.bytes();
                    half >= max_bytes
                });
                let middle = middle.unwrap_or_default();
                let until = Cut::between(events[middle], Some(events[middle + 1]));
                let segment = self.new_segment();
                let checkpoint = Checkpoint { until, state: S::default(), segment };
                self.log.checkpoints.insert(place, checkpoint);
            }
            place += 1;
        }
    }

    /// Works out the checkpoints and the segments from the first one that is loaded.
    fn update_segments<R: Replay<Event = E, State = S>>(
        &mut self,
        mut replay: R,
    ) -> Vec<SegmentWrite> {
        let mut writes = Vec::new();
        let first = self.first_loaded();
        let all = std::mem::take(&mut self.log.events);
        let mut events = all.iter().peekable();
        self.replay_base(&mut replay, &mut events);
        let mut open = replay.open();
        for checkpoint in &mut self.log.checkpoints[first..] {
            let mut contents = std::mem::take(&mut open);
            while let Some(event) = events.next_if(|event| checkpoint.until.is_after(event)) {
                replay.apply(event);
                contents.insert(event.clone());
            }
            open = replay.open();
            contents.retain(|event| !open.contains(event));
            checkpoint.state = replay.state();
            let Some(segment) = &mut checkpoint.segment else { continue };
            let is_stored = self.loaded.get(&segment.number).is_some_and(|loaded| {
                loaded.until.as_ref() == Some(&checkpoint.until) && loaded.events == contents
            });
            if !is_stored {
                let bytes: usize = contents.iter().map(Event::bytes).sum();
                segment.bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                writes.push(SegmentWrite {
                    number: segment.number,
                    events: pack(&contents),
                    until: checkpoint.until.time,
                });
            }
        }
        open.extend(events.cloned());
        self.log.events = open;
        writes
    }
}

/// Reads the events of a segment.
pub(crate) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, postcard::Error> {
    postcard::from_bytes(bytes)
}

#[expect(clippy::unwrap_used, reason = "what is written here has no form that cannot be written")]
fn pack(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap()
}

impl<E: Event, S: Serialize> Serialize for Log<E, S> {
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        serializer.serialize_bytes(&pack(&self.log))
    }
}

impl<'de, E: Event, S: DeserializeOwned> Deserialize<'de> for Log<E, S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("bytes")
            }
            fn visit_bytes<X>(self, bytes: &[u8]) -> Result<Vec<u8>, X> {
                Ok(bytes.to_vec())
            }
            fn visit_byte_buf<X>(self, bytes: Vec<u8>) -> Result<Vec<u8>, X> {
                Ok(bytes)
            }
        }
        let bytes = deserializer.deserialize_byte_buf(Bytes)?;
        let log = unpack(&bytes).map_err(serde::de::Error::custom)?;
        Ok(Self { log, loaded: BTreeMap::new(), before: None, is_changed: false })
    }
}
