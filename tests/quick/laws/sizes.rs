//! The size of items and of writes.

use std::time::{Duration, Instant};

use catalog::change::Content;
use catalog::history::Effect;
use catalog::{Change, ChangeKind, Timestamp};
use end_to_end::harness::{Random, digest, print, tag, time};
use end_to_end::reference::memory::Memory;
use end_to_end::reference::model;

use super::{DAY, MAX_ITEM_BYTES, change, push};

fn any_change(random: &mut Random, at: Timestamp) -> Change {
    let number = 1 + random.below(10);
    let name = format!("tag-{}", random.below(100));
    let tag = tag(&name);
    match random.below(8) {
        0 => change(at, ChangeKind::ImageUntagged { digest: digest(number), tag }),
        1 => change(at, ChangeKind::TagDeleted { tag }),
        2 => change(at, ChangeKind::ImageDeleted { digest: digest(number) }),
        _ => push(at, number, &name),
    }
}

/// A hundred thousand pushes, moves and deletions of ten images and a hundred tags: within the
/// lateness window, where all are remembered, and within three years.
#[test]
fn no_item_grows_with_the_past() {
    const CYCLES: u32 = 100_000;
    for (name, interval) in
        [("in the window", Duration::from_secs(20)), ("in three years", 3 * 365 * DAY / CYCLES)]
    {
        let started = Instant::now();
        let mut random = Random(1);
        let mut memory = Memory::default();
        let (mut changes, mut largest, mut most) = (Vec::new(), 0, 0);
        for cycle in 0..CYCLES {
            let now = time(0).plus(interval * cycle);
            // Some arrive a little late.
            let at = now.minus(interval * u32::try_from(random.below(3)).unwrap());
            changes.push(any_change(&mut random, at));
            assert_eq!(memory.apply(changes.last().unwrap(), now), Effect::Applied);
            if cycle % 500 == 0 {
                memory.expire(now);
                let (bytes, items) = memory.sizes();
                (largest, most) = (largest.max(bytes), most.max(items));
                assert!(largest <= MAX_ITEM_BYTES, "{largest} bytes after {cycle} cycles {name}");
            }
        }
        assert_eq!(memory.images(), model::fold(&changes), "{name}");
        print(format!(
            "{CYCLES} cycles {name} in memory: the largest item {largest} bytes, {most} items at most, {:.1?}",
            started.elapsed()
        ));
    }
}

/// An image is pushed and deleted under one tag after the other, as builds do. Then an event from
/// the middle of its past arrives.
#[test]
fn an_image_of_many_short_lives_takes_a_late_push() {
    let mut memory = Memory::default();
    let mut changes = Vec::new();
    for cycle in 0..4_000 {
        let at = time(i64::from(cycle) * 1000);
        let name = format!("ci-{cycle}");
        changes.push(push(at, 1, &name));
        changes.push(change(
            at.plus(Duration::from_millis(500)),
            ChangeKind::ImageUntagged { digest: digest(1), tag: tag(&name) },
        ));
        for change in &changes[changes.len() - 2..] {
            assert_eq!(memory.apply(change, change.time), Effect::Applied);
        }
    }
    assert_eq!(memory.images(), Some(Vec::new()));
    let (bytes, items) = memory.sizes();
    print(format!(
        "4000 cycles of one image in memory: the largest of {items} items {bytes} bytes"
    ));
    assert!(bytes <= MAX_ITEM_BYTES);
    changes.push(push(time(2_000_250), 1, "release-1"));
    memory.apply(changes.last().unwrap(), time(4_000_000));
    let images = memory.images();
    assert_eq!(images.as_ref().unwrap()[0].image_pushed_at, time(2_000_000));
    assert_eq!(images, model::fold(&changes));
}

/// A tag is pushed repeatedly to the image that has it already, and then to another one.
#[test]
fn a_thousand_tags_pushed_again_leave_room_for_another_image() {
    let mut memory = Memory::default();
    let mut changes = Vec::new();
    for round in 0..3 {
        for number in 0..1000 {
            changes.push(push(time(round * 1000 + number), 1, &format!("tag-{number}")));
        }
    }
    changes.push(push(time(20_000), 2, "tag-500"));
    for change in &changes {
        assert_eq!(memory.apply(change, change.time), Effect::Applied);
    }
    assert_eq!(memory.images(), model::fold(&changes));
    assert!(memory.sizes().0 <= MAX_ITEM_BYTES);
}

/// An image loses a thousand tags, one after the other, long after they were pushed. Then an
/// earlier deletion arrives, which affects the events of all of them.
#[test]
fn a_late_deletion_of_an_image_of_many_segments_is_one_small_write() {
    let mut memory = Memory::default();
    let mut changes = Vec::new();
    let name = |number: i64| format!("{number:0>200}");
    for number in 0..1000 {
        changes.push(push(time(number), 1, &name(number)));
    }
    for number in 0..1000 {
        // These events fill segments.
        for round in 0..3 {
            changes.push(push(time(100_000 + number * 100 + round), 1, "latest"));
        }
        changes.push(push(time(100_000 + number * 100 + 50), 2, &name(number)));
    }
    for change in &changes {
        assert_eq!(memory.apply(change, change.time), Effect::Applied);
    }
    changes.push(change(time(50_000), ChangeKind::ImageDeleted { digest: digest(1) }));
    memory.apply(changes.last().unwrap(), time(1_000_000));
    assert_eq!(memory.images(), model::fold(&changes));
    print(format!("the largest write of all: {} items", memory.largest_write));
    assert!(memory.largest_write < 50);
}

/// The size of an image with a thousand tags, once and after they were pushed again.
#[test]
fn an_image_weighs_what_its_tags_do_however_often_they_are_pushed() {
    let mut memory = Memory::default();
    let mut sizes = Vec::new();
    for round in 0..3 {
        for number in 0..300 {
            let event = push(time(round * 1000 + number), 1, &format!("{number:0>200}"));
            assert_eq!(memory.apply(&event, event.time), Effect::Applied);
        }
        sizes.push(memory.sizes().0);
    }
    print(format!(
        "bytes of an image of 300 long tags, pushed once, twice, and three times: {sizes:?}"
    ));
    assert!(sizes[2] < sizes[0] + sizes[0] / 4, "not twice");
}

/// Tags so long that few events fit into a segment: an item's entry for a segment is shorter.
#[test]
fn long_tags_make_no_large_items() {
    for length in [128, 300] {
        let mut memory = Memory::default();
        let mut largest = 0;
        for cycle in 0..10_000 {
            let at = time(i64::from(cycle) * 1000);
            let name = format!("{cycle:0>length$}");
            let kind = ChangeKind::ImageUntagged { digest: digest(1), tag: tag(&name) };
            memory.apply(&push(at, 1, &name), at);
            let at = at.plus(Duration::from_millis(500));
            memory.apply(&change(at, kind), at);
            if cycle % 500 == 0 {
                largest = largest.max(memory.largest_item());
            }
        }
        print(format!(
            "10000 cycles of one image under tags of {length} characters: the largest item \
             but for segments has {largest} bytes"
        ));
        assert!(largest <= 12 * 1024);
    }
}

/// Indexes of indexes: a size is propagated to all of them, in any order of pushes.
#[test]
fn a_size_reaches_every_index_above() {
    let listing = |at, number, manifests: &[u64]| {
        let manifests = Some(manifests.iter().map(|manifest| digest(*manifest)).collect());
        let content = Content { manifests, ..Content::default() };
        change(time(at), ChangeKind::ImagePushed { digest: digest(number), tag: None, content })
    };
    let content = Content { size_in_bytes: Some(5000), ..Content::default() };
    let sized = ChangeKind::ImagePushed { digest: digest(1), tag: None, content };
    let mut changes = vec![change(time(1), sized)];
    changes.extend((10..40).map(|number| listing(2, number, &[1])));
    changes.extend((50..60).map(|number| listing(3, number, &[number - 40, number - 30])));
    changes.push(listing(4, 60, &[50, 51, 1]));
    for order in [changes.clone(), changes.iter().rev().cloned().collect()] {
        let mut memory = Memory::default();
        for change in &order {
            memory.apply(change, time(10));
        }
        assert_eq!(memory.images(), model::fold(&changes));
        assert!(
            memory.images().unwrap().iter().all(|image| image.image_size_in_bytes == Some(5000))
        );
    }
}

/// A deletion removes an event of a segment, and a late event of the same size takes its place: the
/// segment changes, and its entry in the item does not.
#[test]
fn a_segment_is_written_also_when_its_item_stays_the_same() {
    let (a, b, c) = ("a".repeat(300), "b".repeat(300), "c".repeat(200));
    let start = |period: u32| time(0).plus(100 * DAY * period);
    let at =
        |period: u32, milliseconds: u64| start(period).plus(Duration::from_millis(milliseconds));
    let lost = |at, name: &str| {
        change(at, ChangeKind::ImageUntagged { digest: digest(1), tag: tag(name) })
    };
    let deleted = |at| change(at, ChangeKind::ImageDeleted { digest: digest(1) });
    let late = start(2).plus(3 * DAY);
    let events = [
        (start(0), push(start(0), 1, &a)),
        (start(0), push(start(0), 1, &c)),
        (at(0, 1), deleted(at(0, 1))),
        (start(1), push(start(1), 1, &b)),
        (at(2, 1), push(at(2, 1), 1, &b)),
        (at(2, 7), lost(at(2, 7), &b)),
        (late, deleted(at(2, 1))),
        (late, lost(at(2, 7), &a)),
        (late, push(at(2, 1), 1, &a)),
    ];
    let mut memory = Memory::default();
    let mut changes = Vec::new();
    for (now, change) in events {
        memory.expire(now);
        assert_eq!(memory.apply(&change, now), Effect::Applied, "{change:?}");
        changes.push(change);
        assert_eq!(memory.images(), model::fold(&changes));
    }
}
