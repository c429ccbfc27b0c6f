//! Late events.

use std::time::Duration;

use catalog::ChangeKind;
use catalog::change::Content;
use catalog::history::{Effect, LATENESS_WINDOW};
use end_to_end::harness::{digest, tag, time};
use end_to_end::reference::memory::Memory;
use end_to_end::reference::model;

use super::{DAY, change, push};

/// A late push of one tag is applied, whatever events another tag of the same image has.
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

/// A deletion deletes nothing of a forgotten period, and returns [`Effect::TooLate`].
#[test]
fn what_comes_too_late_is_reported() {
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
        assert!(!memory.expires(&tag("latest")), "an image has the tag after {kind:?}");
    }
    // A tag without events is added; a tag that was pushed again since stays where it is.
    assert_eq!(memory.apply(&push(time(0).plus(DAY), 1, "release"), now), Effect::Applied);
    assert_eq!(memory.apply(&push(time(0).plus(DAY), 1, "latest"), now), Effect::TooLate);
    assert!(!memory.expires(&tag("latest")));
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

/// An observation, a find or a push of an image, so late that the changes since then are forgotten.
#[test]
fn an_image_that_a_registry_has_is_not_lost_for_what_is_forgotten() {
    let (digest, content, pushed_at) = (digest(4), Content::default(), time(195));
    let late = [
        ChangeKind::ImagePushed { digest: digest.clone(), tag: None, content: content.clone() },
        ChangeKind::ImageFound {
            digest: digest.clone(),
            tag: None,
            pushed_at,
            found_at: time(0),
            is_stated: false,
            content: content.clone(),
        },
        ChangeKind::ImageObserved { digest: digest.clone(), pushed_at, content },
    ];
    // Too long for three events of it to stay in the item.
    let name = "b".repeat(300);
    let untagged = ChangeKind::ImageUntagged { digest: digest.clone(), tag: tag(&name) };
    let events =
        [push(time(163), 4, &name), change(time(164), untagged), push(time(198), 3, &name)];
    for kind in late {
        let mut memory = Memory::default();
        for event in &events {
            assert_eq!(memory.apply(event, event.time), Effect::Applied);
        }
        // Deletes nothing, but writes the item again, with a new expiry time.
        let deleted = time(0).plus(2 * DAY);
        memory.apply(&change(time(0), ChangeKind::RepositoryDeleted), deleted);
        let now = deleted.plus(LATENESS_WINDOW);
        memory.expire(now);
        for later in [Duration::ZERO, 20 * DAY, 100 * DAY] {
            memory.expire(now.plus(later));
            let effect = memory.apply(&change(time(195), kind.clone()), now.plus(later));
            assert_eq!(effect, Effect::Applied, "{kind:?}");
            let images = memory.images().unwrap();
            let found = images.iter().find(|image| image.image_digest == digest);
            assert_eq!(found.map(|image| image.image_pushed_at), Some(pushed_at), "{kind:?}");
        }
    }
}

/// Tags are pushed again to the image that has them, and then late events arrive: all are
/// remembered, and the image's item contains each tag about once.
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

/// Events that extend the expiry of a segment without adding to it.
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

/// A log of months that is replayed, and once more.
#[test]
fn old_events_make_no_difference_when_they_are_replayed() {
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
