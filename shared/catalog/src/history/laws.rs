//! The laws of the histories, as properties: whatever the order in which changes are applied, and
//! however often each, the state is the same.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::register::{self, Register};
use super::tag::Neighbours;
use super::{Found, ImageHistory, Move, RepositoryHistory, TagEvent, TagEventKind, TagHistory};
use crate::change::Content;
use crate::identifier::{Digest, Tag};
use crate::image::{Image, Scan};
use crate::packed::unpack;
use crate::repository::RepositoryStatement;
use crate::time::Timestamp;

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(1_767_225_600_000 + milliseconds).expect("a time")
}

fn digest(number: u8) -> Digest {
    Digest::parse(&format!("sha256:{number:064x}")).expect("a digest")
}

fn tag(number: u8) -> Tag {
    Tag::parse(&format!("tag-{number}")).expect("a tag")
}

/// The same elements in another order, some of them twice.
fn shuffled_with_duplicates<T: Clone>(elements: &[T], picks: &[Index]) -> Vec<T> {
    let mut left = elements.to_vec();
    let mut shuffled = Vec::new();
    for pick in picks.iter().cycle().take(2 * elements.len()) {
        if left.is_empty() {
            break;
        }
        let index = pick.index(left.len());
        shuffled.push(if index % 3 == 0 { left[index].clone() } else { left.remove(index) });
    }
    shuffled.extend(left);
    shuffled
}

#[derive(Debug, Clone)]
enum ImageChange {
    Push(Option<u8>, Option<i64>),
    Observe(i64),
    Find(Option<u8>, i64, i64, bool),
    Event(u8, TagEventKind),
    Delete,
    Scan(u8),
    Pull,
    Archive,
    Restore,
}

impl ImageChange {
    fn apply(&self, history: &mut ImageHistory, time: Timestamp) {
        let sized = |size_in_bytes| Content { size_in_bytes, ..Content::default() };
        match *self {
            Self::Push(number, size) => {
                history.push(time, number.map(tag).as_ref(), &sized(size));
            }
            Self::Observe(ago) => {
                let pushed_at = Timestamp::from_milliseconds(time.as_milliseconds() - ago);
                history.observe(time, pushed_at.expect("a time"), &sized(None));
            }
            Self::Find(number, ago, later, is_stated) => {
                let from = |milliseconds| {
                    Timestamp::from_milliseconds(time.as_milliseconds() + milliseconds)
                        .expect("a time")
                };
                let found = Found { pushed_at: from(-ago), found_at: from(later), is_stated };
                history.find(time, number.map(tag).as_ref(), found, &sized(None));
            }
            Self::Event(number, kind) => {
                history.tag_event(&tag(number), TagEvent { time, kind });
            }
            Self::Delete => {
                history.delete(time);
            }
            Self::Scan(number) => {
                // The first states that there is none.
                let scan = match number {
                    0 => Scan::default(),
                    1 => Scan::complete(time, None),
                    _ => Scan::with_status("PENDING"),
                };
                history.scan(time, &scan);
            }
            Self::Pull => history.pull(time),
            Self::Archive => history.archive(time),
            Self::Restore => history.restore(time, time),
        }
    }
}

fn image_change() -> impl Strategy<Value = (i64, ImageChange)> {
    let kind = prop_oneof![
        Just(TagEventKind::Untagged),
        Just(TagEventKind::TagDeleted),
        Just(TagEventKind::MovedToSmaller),
        Just(TagEventKind::MovedToGreater),
    ];
    let change = prop_oneof![
        4 => (any::<Option<bool>>(), proptest::option::of(0..3_i64))
            .prop_map(|(tag, size)| ImageChange::Push(tag.map(u8::from), size)),
        1 => (0..10_i64).prop_map(ImageChange::Observe),
        2 => (any::<Option<bool>>(), 0..10_i64, 0..4_i64, any::<bool>()).prop_map(
            |(tag, ago, later, is_stated)| {
                ImageChange::Find(tag.map(u8::from), ago, later, is_stated)
            }
        ),
        3 => (0..2_u8, kind).prop_map(|(tag, kind)| ImageChange::Event(tag, kind)),
        1 => Just(ImageChange::Delete),
        1 => (0..3_u8).prop_map(ImageChange::Scan),
        1 => Just(ImageChange::Pull),
        1 => Just(ImageChange::Archive),
        1 => Just(ImageChange::Restore),
    ];
    (0..8_i64, change)
}

fn image(changes: &[(i64, ImageChange)]) -> Option<Image> {
    let mut history = ImageHistory::default();
    for (time, change) in changes {
        change.apply(&mut history, at(*time));
    }
    history.image(&digest(1))
}

fn repository_statement() -> impl Strategy<Value = Option<RepositoryStatement>> {
    let text = || proptest::option::of((0..3_u8).prop_map(|number| number.to_string()));
    let tag = ((0..2_u8).prop_map(|number| format!("key-{number}")), text());
    let statement = (0..6_i64, text(), proptest::option::of(any::<bool>()), tag).prop_map(
        |(created_at, uri, scan_on_push, tag)| RepositoryStatement {
            created_at: Some(at(created_at)),
            uri,
            scan_on_push,
            tags: BTreeMap::from([tag]),
            ..RepositoryStatement::default()
        },
    );
    proptest::option::weighted(0.7, statement)
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let moved = (0..200_i64, proptest::option::of(0..4_u8));
    let moved =
        moved.prop_map(|(time, number)| Move { time: at(time), digest: number.map(digest) });
    proptest::collection::vec(moved, 1..40)
}

/// A tag's history with its segments, as the table stores them.
#[derive(Default)]
struct StoredTag {
    history: TagHistory,
    segments: BTreeMap<u32, Vec<u8>>,
}

impl StoredTag {
    fn insert(&mut self, moved: &Move) -> Neighbours {
        for number in self.history.missing_segments(moved.time) {
            self.load(number);
        }
        let neighbours = self.history.insert(moved);
        for number in self.history.segments_to_merge() {
            self.load(number);
        }
        for segment in self.history.compact(at(-1)) {
            self.segments.insert(segment.number, segment.events);
        }
        neighbours
    }

    fn load(&mut self, number: u32) {
        let events = self.segments.get(&number).and_then(|events| unpack(events).ok());
        self.history.load(number, Some(events.expect("no segment expires here")));
    }
}

proptest! {
    #[test]
    fn registers_are_commutative_and_idempotent(
        writes in proptest::collection::vec((0..4_i64, 0..4_u8), 1..10),
        picks in proptest::collection::vec(any::<Index>(), 1..20),
    ) {
        let written = |writes: &[(i64, u8)]| {
            let mut register: Option<Register<u8>> = None;
            for (time, value) in writes {
                register::write(&mut register, at(*time), Some(*value));
            }
            register
        };
        prop_assert_eq!(written(&writes), written(&shuffled_with_duplicates(&writes, &picks)));
    }

    #[test]
    fn images_are_commutative_and_idempotent(
        changes in proptest::collection::vec(image_change(), 1..12),
        picks in proptest::collection::vec(any::<Index>(), 1..24),
    ) {
        prop_assert_eq!(image(&changes), image(&shuffled_with_duplicates(&changes, &picks)));
    }

    #[test]
    fn repositories_are_commutative_and_idempotent(
        changes in proptest::collection::vec((0..6_i64, repository_statement()), 1..10),
        picks in proptest::collection::vec(any::<Index>(), 1..20),
    ) {
        // `None` is a deletion.
        let known = |changes: &[(i64, Option<RepositoryStatement>)]| {
            let mut history = RepositoryHistory::default();
            for (time, statement) in changes {
                if let Some(statement) = statement {
                    history.state(at(*time), statement);
                } else {
                    history.begin_deletion(at(*time));
                    history.finish_deletion(at(*time));
                }
            }
            (history.description(), history.tags())
        };
        prop_assert_eq!(known(&changes), known(&shuffled_with_duplicates(&changes, &picks)));
    }

    /// Compaction does not change the state: a tag's history with segments has the target, and the
    /// neighbours of each move, that the set of its moves has.
    #[test]
    fn compacted_tags_equal_the_set_of_their_moves(
        moves in moves(),
        picks in proptest::collection::vec(any::<Index>(), 1..40),
    ) {
        let mut set = TagHistory::default();
        let mut stored = StoredTag::default();
        for moved in shuffled_with_duplicates(&moves, &picks) {
            prop_assert_eq!(set.insert(&moved), stored.insert(&moved));
            prop_assert_eq!(set.target(), stored.history.target());
        }
    }
}
