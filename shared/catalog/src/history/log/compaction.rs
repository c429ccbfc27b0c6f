//! Compaction: moves events from the item into segments, and updates the checkpoints.

use std::collections::BTreeSet;

use super::checkpoint::{Checkpoint, Cut, Segment};
use super::{Event, LoadedSegment, Log, Replay, SegmentWrite};
use crate::packed::pack;
use crate::time::Timestamp;

/// Of the events of an item that are not live. Beyond that, they are moved into a segment.
const MAX_RECENT_BYTES: usize = 640;
/// The newest events stay in the item, so that an event that is a little late needs no segment.
const MIN_RECENT_BYTES: usize = 128;
/// If at least so many of the last segments have at most so many bytes each, they are merged with the
/// next one. An event is written about once for each of these, and once when it leaves the item.
const MERGED: [(usize, u32); 2] = [(14, 8 * 1024), (7, 1024)];
/// A segment of more than twice as many bytes is split into such segments.
const SPLIT_SEGMENT_BYTES: usize = 16 * 1024;

impl<E: Event, S: Clone + PartialEq + Default> Log<E, S> {
    /// Moves events into segments, expires what is older than the horizon, and returns the segments
    /// that have changed. A log without changes stays as it is stored.
    pub(crate) fn compact<R: Replay<Event = E, State = S>>(
        &mut self,
        replay: &R,
        horizon: Timestamp,
    ) -> Vec<SegmentWrite> {
        let original = self.original.take();
        if !std::mem::take(&mut self.is_changed) {
            if let Some(original) = original {
                self.log = *original;
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
            self.expire_before(place);
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

    /// Removes the events before a checkpoint. Its state remains.
    pub(super) fn expire_before(&mut self, place: usize) {
        self.log.checkpoints.drain(..place);
        self.log.checkpoints[0].segment = None;
    }

    fn new_segment(&mut self) -> Option<Segment> {
        let number = self.log.next_segment;
        self.log.next_segment += 1;
        self.loaded.insert(number, LoadedSegment { until: None, events: BTreeSet::new() });
        Some(Segment { number, bytes: 0 })
    }

    /// The segments that are to be merged with the events that are to be moved, and that are not
    /// loaded.
    pub(crate) fn segments_to_merge<R: Replay<Event = E, State = S>>(
        &self,
        replay: &R,
    ) -> Vec<u32> {
        let not_loaded = self.not_loaded(self.first_merged());
        let is_due = !not_loaded.is_empty() && self.is_changed;
        if is_due && self.end_of_moved(replay).is_some() { not_loaded } else { Vec::new() }
    }

    /// The segments from a checkpoint on that are not loaded.
    fn not_loaded(&self, first: usize) -> Vec<u32> {
        self.log.checkpoints[first..]
            .iter()
            .filter_map(|checkpoint| Some(checkpoint.segment?.number))
            .filter(|number| !self.loaded.contains_key(number))
            .collect()
    }

    /// The index of the first checkpoint whose segment is merged with the next one. So the item has
    /// few checkpoints.
    fn first_merged(&self) -> usize {
        let checkpoints = &self.log.checkpoints;
        for (segments, bytes) in MERGED {
            let is_small = |checkpoint: &&Checkpoint<E, S>| {
                checkpoint.segment.is_some_and(|segment| segment.bytes <= bytes)
            };
            let small = checkpoints.iter().rev().take_while(is_small).count();
            if small >= segments {
                return checkpoints.len() - small;
            }
        }
        checkpoints.len()
    }

    /// The position up to which events are to be moved, if the item has too many.
    fn end_of_moved<R: Replay<Event = E, State = S>>(&self, replay: &R) -> Option<Cut<E>> {
        let live = self.replay(replay.clone()).live();
        let idle = self.log.events.iter().filter(|event| !live.contains(*event));
        if idle.map(Event::bytes).sum::<usize>() <= MAX_RECENT_BYTES {
            return None;
        }
        let last = self.log.checkpoints.last().map(|checkpoint| &checkpoint.until);
        let is_recent = |event: &&E| last.is_none_or(|last| !last.is_after(event));
        let mut kept = 0;
        let mut next = None;
        for event in self.log.events.iter().rev().take_while(is_recent) {
            kept += event.bytes();
            if kept > MIN_RECENT_BYTES {
                return Some(Cut::between(event, next));
            }
            next = Some(event);
        }
        None
    }

    fn add_checkpoint<R: Replay<Event = E, State = S>>(&mut self, replay: &R) {
        let Some(until) = self.end_of_moved(replay) else { return };
        let first = self.first_merged();
        if self.not_loaded(first).is_empty() {
            // Nothing refers to the items of these segments any longer. They expire.
            let merged = self.log.checkpoints.split_off(first);
            for segment in merged.into_iter().filter_map(|checkpoint| checkpoint.segment) {
                self.loaded.remove(&segment.number);
            }
        }
        let segment = self.new_segment();
        self.log.checkpoints.push(Checkpoint { until, state: S::default(), segment });
    }

    /// Splits segments that late events made too large.
    fn split_segments(&mut self) {
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
            if bytes > 2 * SPLIT_SEGMENT_BYTES && events.len() > 1 {
                let mut half = 0;
                let middle = events[..events.len() - 1].iter().position(|event| {
                    half += event.bytes();
                    half >= SPLIT_SEGMENT_BYTES
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

    /// Updates the states and the segments of the checkpoints, from the first that is loaded on.
    fn update_segments<R: Replay<Event = E, State = S>>(
        &mut self,
        mut replay: R,
    ) -> Vec<SegmentWrite> {
        let mut writes = Vec::new();
        let first = self.first_loaded();
        let all = std::mem::take(&mut self.log.events);
        let mut events = all.iter().peekable();
        self.replay_base(&mut replay, &mut events);
        let mut live = replay.live();
        for checkpoint in &mut self.log.checkpoints[first..] {
            let mut contents = std::mem::take(&mut live);
            while let Some(event) = events.next_if(|event| checkpoint.until.is_after(event)) {
                replay.apply(event);
                contents.insert(event.clone());
            }
            live = replay.live();
            contents.retain(|event| !live.contains(event));
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
        live.extend(events.cloned());
        self.log.events = live;
        writes
    }
}
