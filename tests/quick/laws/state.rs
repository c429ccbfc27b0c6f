//! The state is a function of the set of changes, and nothing that exists is lost.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use catalog::history::{Effect, LATENESS_WINDOW};
use catalog::{Change, ChangeKind, Timestamp};
use end_to_end::harness::{histories, print, repository};
use end_to_end::reference::generators::{Event, any_events, arrivals};
use end_to_end::reference::memory::Memory;
use end_to_end::reference::model;
use proptest::test_runner::{Config, TestRunner};

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

/// Changes that are applied together lead to the same state. A deletion of the repository is always
/// applied alone.
fn check_together(events: &[Event], _: usize) {
    const TOGETHER: usize = 5;
    let repository = repository("app");
    let mut memory = Memory::default();
    let arrivals: Vec<(Timestamp, Change)> = arrivals(events, 0)
        .into_iter()
        .map(|(now, event)| (now, event.change(&repository)))
        .collect();
    let is_deletion = |change: &Change| change.kind == ChangeKind::RepositoryDeleted;
    for together in arrivals.chunk_by(|(_, one), (_, next)| is_deletion(one) == is_deletion(next)) {
        for together in together.chunks(if is_deletion(&together[0].1) { 1 } else { TOGETHER }) {
            // Not after any of them has arrived, so that none is too late.
            let now = together[0].0;
            memory.expire(now);
            let changes: Vec<&Change> = together.iter().map(|(_, change)| change).collect();
            let effect = match changes[..] {
                [change] => memory.apply(change, now),
                _ => memory.apply_together(&changes, now),
            };
            assert_eq!(effect, Effect::Applied, "{changes:?}");
        }
    }
    let all: Vec<Change> = events.iter().map(|event| event.change(&repository)).collect();
    assert_eq!(memory.images(), model::fold(&all));
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
fn changes_that_are_applied_together_lead_to_the_same_state() {
    check_histories(histories(), (1, LATENESS_WINDOW), check_together);
}

#[test]
fn the_state_is_a_function_of_the_set_of_changes_whatever_has_expired() {
    check_histories(histories(), (3, LATENESS_WINDOW), check);
}

/// What is known of a repository that was never deleted is the same as if no event were late. After
/// a deletion, the time of the first push since is not always known.
fn check_description(events: &[Event], _: usize) {
    let repository = repository("app");
    let arrivals: Vec<(Timestamp, Change)> = arrivals(events, 0)
        .into_iter()
        .map(|(now, event)| (now, event.change(&repository)))
        .filter(|(_, change)| change.kind != ChangeKind::RepositoryDeleted)
        .collect();
    let mut memory = Memory::default();
    for (now, change) in &arrivals {
        memory.apply(change, *now);
    }
    let mut changes: Vec<&Change> = arrivals.iter().map(|(_, change)| change).collect();
    changes.sort_by_key(|change| change.time);
    let mut in_order = Memory::default();
    for change in changes {
        in_order.apply(change, change.time);
    }
    assert_eq!(memory.description(), in_order.description());
}

#[test]
fn what_is_known_of_a_repository_is_a_function_of_the_set_of_changes() {
    check_histories(histories(), (1, LATENESS_WINDOW), check_description);
}

/// However late an event arrives, nothing that exists is missing.
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
