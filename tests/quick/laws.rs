//! The laws of histories, in memory, on the code that the writer runs: the state is a function of
//! the set of changes, nothing that exists is lost, and no item grows with the past.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use catalog::change::Content;
use catalog::history::{Effect, LATENESS_WINDOW};
use catalog::{Change, ChangeKind, Timestamp};
use end_to_end::harness::{Random, digest, histories, print, repository, tag, time};
use end_to_end::reference::generators::{Event, any_events, arrivals};
use end_to_end::reference::memory::Memory;
use end_to_end::reference::model;
use proptest::test_runner::{Config, TestRunner};

const DAY: Duration = Duration::from_hours(24);

/// No item is larger, but for the tags that its image has now.
const MAX_ITEM_BYTES: usize = 64 * 1024;

fn check(events: &[Event], periods: usize) {
    let repository = repository("app");
    let mut memory = Memory::default();
    for period in 0..periods {
        for (now, event) in arrivals(events, period) {
            memory.expire(now);
            let effect = memory.apply(&event.change(&repository), now);
            assert_eq!(effect, Effect::Applied, "{event:?} is within the window");
        }
        let so_far: Vec<Change> = events
            .iter()
            .filter(|event| event.period <= period)
            .map(|event| event.change(&repository))
            .collect();
        if !so_far.is_empty() {
            assert_eq!(memory.images(), model::fold(&so_far), "after period {period}");
        }
    }
}

fn check_histories(
    cases: u32,
    (periods, lateness): (usize, Duration),
    check: impl Fn(&[Event], usize) + Sync,
) {
    let started = Instant::now();
    let threads = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let configuration = Config {
                    cases: cases.div_ceil(threads),
                    failure_persistence: None,
                    max_shrink_iters: 4000,
                    ..Config::default()
                };
                let result =
                    TestRunner::new(configuration).run(&any_events(periods, lateness), |events| {
                        check(&events, periods);
                        Ok(())
                    });
                if let Err(failure) = result {
                    panic!("{failure}");
                }
            });
        }
    });
    print(format!(
        "{cases} histories of up to 200 changes, in {periods} periods, in memory: {:.1?}",
        started.elapsed()
    ));
}

#[test]
fn the_state_is_a_function_of_the_set_of_changes() {
    check_histories(histories(), (1, LATENESS_WINDOW), check);
}

#[test]
fn the_state_is_a_function_of_the_set_of_changes_whatever_has_expired() {
    check_histories(histories(), (3, LATENESS_WINDOW), check);
}

/// However late something comes: what exists is there.
fn check_that_nothing_is_lost(events: &[Event], periods: usize) {
    let repository = repository("app");
    let all: Vec<Change> = events.iter().map(|event| event.change(&repository)).collect();
    let possible = model::are_possible(&all);
    let events = events.iter().zip(possible).filter(|(_, is_possible)| *is_possible);
    let events: Vec<Event> = events.map(|(event, _)| event.clone()).collect();
    let mut memory = Memory::default();
    for period in 0..periods {
        for (now, event) in arrivals(&events, period) {
            memory.expire(now);
            memory.apply(&event.change(&repository), now);
        }
    }
    let all: Vec<Change> = events.iter().map(|event| event.change(&repository)).collect();
    let there = memory.images().unwrap_or_default();
    let there: BTreeMap<_, _> = there.iter().map(|image| (&image.image_digest, image)).collect();
    for image in model::fold(&all).unwrap_or_default() {
        let found = there.get(&image.image_digest);
        let has_all = found.is_some_and(|found| found.image_tags.is_superset(&image.image_tags));
        assert!(has_all, "{image:?} is lost, of {there:?}");
    }
}

#[test]
fn nothing_that_exists_is_lost_however_late_events_come() {
    check_histories(histories(), (3, 5 * LATENESS_WINDOW), check_that_nothing_is_lost);
}

fn push(at: Timestamp, number: u64, tag_name: &str) -> Change {
    change(
        at,
        ChangeKind::ImagePushed {
            digest: digest(number),
            tag: Some(tag(tag_name)),
            content: Content::default(),
        },
    )
}

fn change(at: Timestamp, kind: ChangeKind) -> Change {
    Change { repository: repository("app"), time: at, kind }
}

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

/// A hundred thousand pushes, moves and deletions of ten images and a hundred tags: in the window
/// of lateness, where all of it is remembered, and in three years.
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
            // Some come a little late.
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

/// An image that is pushed and deleted under one tag after the other, as builds do; and then an
/// event of the middle of its past arrives.
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

/// What was seen of one tag that comes and goes: it took another tag of the image with it that came
/// late.
#[test]
fn a_late_tag_is_not_lost_for_what_happened_to_another_one() {
    let mut memory = Memory::default();
    let mut changes = Vec::new();
    for cycle in 0..17 {
        let at = time(i64::from(cycle) * 1000);
        changes.push(push(at, 1, "nightly"));
        let kind = ChangeKind::ImageUntagged { digest: digest(1), tag: tag("nightly") };
        changes.push(change(at.plus(Duration::from_millis(500)), kind));
    }
    for change in &changes {
        assert_eq!(memory.apply(change, change.time), Effect::Applied);
    }
    changes.push(push(time(250), 1, "release-1"));
    memory.apply(changes.last().unwrap(), time(20_000));
    assert_eq!(memory.images(), model::fold(&changes));
    assert_eq!(memory.images().unwrap()[0].image_tags.len(), 1);
}

/// A tag that is pushed again and again to the image that has it already, and then to another one.
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

/// Of what is forgotten a deletion takes nothing away, and says so.
#[test]
fn what_comes_too_late_is_said_to_be() {
    let mut memory = Memory::default();
    for cycle in 0..2000 {
        let at = time(0).plus(DAY * cycle / 20);
        for tag_name in ["latest", "stable"] {
            memory.apply(&push(at, u64::from(cycle % 2) + 1, tag_name), at);
        }
    }
    let now = time(0).plus(DAY * 101);
    memory.expire(now);
    let before = memory.images();
    let of_the_first_day = [
        ChangeKind::ImageDeleted { digest: digest(1) },
        ChangeKind::ImageUntagged { digest: digest(2), tag: tag("latest") },
        ChangeKind::TagDeleted { tag: tag("latest") },
    ];
    for kind in of_the_first_day {
        let at = time(0).plus(DAY);
        assert_eq!(memory.apply(&change(at, kind.clone()), now), Effect::TooLate, "{kind:?}");
        assert_eq!(memory.images(), before);
    }
    // A tag that was never seen exists; and what was pushed is where it was pushed to since.
    assert_eq!(memory.apply(&push(time(0).plus(DAY), 1, "release"), now), Effect::Applied);
    assert_eq!(memory.apply(&push(time(0).plus(DAY), 1, "latest"), now), Effect::TooLate);
    let images = memory.images().unwrap();
    let tags = |number: u64| {
        let image = images.iter().find(|image| image.image_digest == digest(number)).unwrap();
        image.image_tags.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        (tags(1), tags(2)),
        (vec!["release".to_owned()], vec!["latest".into(), "stable".into()])
    );
}

/// A thousand tags that an image loses one after the other, long after it got them; and then a
/// deletion of before arrives, which touches the events of all of them.
#[test]
fn a_late_deletion_of_an_image_of_many_segments_is_one_small_write() {
    let mut memory = Memory::default();
    let mut changes = Vec::new();
    let name = |number: i64| format!("{number:0>200}");
    for number in 0..1000 {
        changes.push(push(time(number), 1, &name(number)));
    }
    for number in 0..1000 {
        // Between the losses is what fills segments.
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

/// What a registry said of an image, and what comes so late that what happened since is forgotten.
#[test]
fn an_image_that_a_registry_has_is_not_lost_for_what_is_forgotten() {
    let mut memory = Memory::default();
    // So long that three events of it do not stay in the item.
    let name = "b".repeat(300);
    let kind = ChangeKind::ImageUntagged { digest: digest(4), tag: tag(&name) };
    for event in [push(time(163), 4, &name), change(time(164), kind), push(time(198), 3, &name)] {
        assert_eq!(memory.apply(&event, event.time), Effect::Applied);
    }
    // Deletes nothing, and writes the item again, with an expiry of its own.
    let deleted = time(0).plus(2 * DAY);
    memory.apply(&change(time(0), ChangeKind::RepositoryDeleted), deleted);
    let now = deleted.plus(LATENESS_WINDOW);
    memory.expire(now);
    let pushed_at = time(195);
    let kind =
        ChangeKind::ImageObserved { digest: digest(4), pushed_at, content: Content::default() };
    for later in [Duration::ZERO, 20 * DAY, 100 * DAY] {
        memory.expire(now.plus(later));
        memory.apply(&change(time(195), kind.clone()), now.plus(later));
        let images = memory.images().unwrap();
        let found = images.iter().find(|image| image.image_digest == digest(4));
        assert_eq!(found.map(|image| image.image_pushed_at), Some(pushed_at));
    }
}

/// Tags that are pushed again to the image that has them, and then what is late: all of it is
/// remembered, and the image's item has each tag about once.
#[test]
fn what_was_pushed_again_takes_late_changes() {
    let late = [
        ChangeKind::ImageDeleted { digest: digest(1) },
        ChangeKind::ImageUntagged { digest: digest(1), tag: tag("tag-3") },
        ChangeKind::RepositoryDeleted,
        ChangeKind::ImagePushed { digest: digest(1), tag: None, content: Content::default() },
        ChangeKind::TagDeleted { tag: tag("tag-3") },
    ];
    for kind in late {
        for at in [-10, 5, 10, 103] {
            let mut memory = Memory::default();
            let mut changes = Vec::new();
            for round in 0..3 {
                for number in 0..60 {
                    changes.push(push(time(round * 100 + number), 1, &format!("tag-{number}")));
                }
            }
            for change in &changes {
                assert_eq!(memory.apply(change, change.time), Effect::Applied);
            }
            changes.push(change(time(at), kind.clone()));
            let effect = memory.apply(changes.last().unwrap(), time(1000));
            assert_eq!(effect, Effect::Applied, "{kind:?} at {at}");
            assert_eq!(memory.images(), model::fold(&changes), "{kind:?} at {at}");
        }
    }
}

/// Events that make a segment last longer without adding to it.
#[test]
fn a_segment_lasts_as_long_as_its_checkpoint() {
    let mut memory = Memory::default();
    let mut changes = Vec::new();
    let start = time(0).plus(DAY);
    for number in 0..70_u64 {
        let kind =
            ChangeKind::ImagePushed { digest: digest(1), tag: None, content: Content::default() };
        changes.push(change(time(0).plus(Duration::from_millis(number)), kind));
    }
    for (day, names) in [(0, "a"), (20, "b"), (21, "a"), (21, "b")] {
        for number in 0..60_u64 {
            let at = start.plus(DAY * day + Duration::from_millis(number));
            changes.push(push(at, 1, &format!("{names}-{number:02}")));
        }
    }
    for change in &changes {
        memory.apply(change, change.time);
    }
    let now = start.plus(31 * DAY);
    memory.expire(now);
    let at = start.plus(20 * DAY - Duration::from_micros(1));
    changes.push(change(at, ChangeKind::ImageDeleted { digest: digest(1) }));
    assert_eq!(memory.apply(changes.last().unwrap(), now), Effect::Applied);
    assert_eq!(memory.images(), model::fold(&changes));
}

/// What a thousand tags weigh, once and after they were pushed again.
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

/// Tags so long that few events fit into a segment: what an item says of its segments is not as
/// long.
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

/// A log of months that is read into the catalog, and once more.
#[test]
fn what_happened_long_ago_makes_no_difference_when_it_is_told_again() {
    let mut changes = Vec::new();
    for cycle in 0..200 {
        let at = |minutes: u32| time(0).plus(Duration::from_mins(u64::from(cycle * 60 + minutes)));
        for (number, minutes) in [(1, 0), (2, 20)] {
            let name = format!("ci-{cycle}-{number}");
            let kind = ChangeKind::ImageUntagged { digest: digest(number), tag: tag(&name) };
            changes.push(push(at(minutes), number, &name));
            changes.push(push(at(minutes + 1), number, "latest"));
            changes.push(change(at(minutes + 2), kind));
        }
        let kind = ChangeKind::ImageUntagged { digest: digest(2), tag: tag("latest") };
        changes.push(change(at(50), kind));
    }
    let now = time(0).plus(365 * DAY);
    let mut memory = Memory::default();
    for _ in 0..2 {
        for change in &changes {
            memory.apply(change, now);
            memory.expire(now);
        }
        assert_eq!(memory.images(), model::fold(&changes));
    }
}

/// Indexes of indexes: a size makes its way up, whichever of them is known first.
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

/// A deletion leaves an event of a segment out, and a late event of the same size takes its place:
/// the segment changes, and what the item says of it does not.
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
