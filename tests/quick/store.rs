//! The table is a function of the set of changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Instant;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use catalog::change::Content;
use catalog::image::Image;
use catalog::reader::{Filter, ImageIdentifier};
use catalog::table::{HISTORY, Item, REPOSITORY, SORT, StoreError};
use catalog::writer::Applied;
use catalog::{Change, ChangeKind, Digest, Repository, Writer};
use end_to_end::harness::{Store, digest, histories, item_bytes, print, repository, tag, time};
use end_to_end::reference::model;
use end_to_end::reference::table::{
    check_histories, check_late_deletion, check_long_histories, expire, push, runtime,
};
use futures_util::future::join_all;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[test]
fn any_order_any_repetition_and_concurrent_writers_give_the_same_table() {
    // An engine runs one request at a time, so each processor has its own.
    let engines = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..engines {
            scope.spawn(|| {
                let runtime = runtime();
                let store = runtime.block_on(Store::in_memory()).at(time(1_000));
                check_histories(&runtime, &store, histories().div_ceil(engines));
            });
        }
    });
    print(format!("{} histories on the embedded engine in {:.1?}", histories(), started.elapsed()));
}

#[test]
fn long_histories_give_the_same_table_whatever_has_expired() {
    let engines = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
    let cases = (histories() / 40).max(engines);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..engines {
            scope.spawn(|| {
                let runtime = runtime();
                let client = runtime.block_on(Store::in_memory()).table.client;
                check_long_histories(&runtime, &client, cases.div_ceil(engines));
            });
        }
    });
    print(format!("{cases} long histories on the embedded engine in {:.1?}", started.elapsed()));
}

/// One image, pushed and deleted under a new tag four thousand times, as builds do.
#[tokio::test]
async fn an_image_takes_four_thousand_tags_one_after_the_other() {
    let store = Store::in_memory().await.at(time(10_000));
    let repository = repository("app");
    let mut changes = Vec::new();
    for cycle in 0..4_000 {
        let name = format!("ci-{cycle}");
        changes.push(push(&repository, 2 * cycle, 1, &name));
        let kind = ChangeKind::ImageUntagged { digest: digest(1), tag: tag(&name) };
        changes.push(Change { repository: repository.clone(), time: time(2 * cycle + 1), kind });
    }
    changes.push(push(&repository, 8_000, 1, "release"));
    // A late event from the middle of that history.
    changes.push(push(&repository, 4_001, 1, "stable"));
    for change in &changes {
        let applied = store.writer.apply(change).await.unwrap();
        assert!(applied.written && !applied.too_late, "{change:?}");
    }
    let found = store.reader.find(&repository, &[by_digest(1)]).await.unwrap().images;
    let expected = model::fold(&changes).unwrap().first().cloned().map(Arc::new);
    assert_eq!(found, [expected]);
    let mut scan =
        store.table.client.scan().table_name(&store.table.name).into_paginator().items().send();
    let mut largest = 0;
    while let Some(item) = scan.next().await {
        largest = largest.max(item_bytes(&item.unwrap()));
    }
    print(format!(
        "4000 cycles of one image on the embedded engine: the largest item has {largest} bytes"
    ));
    assert!(largest < 64 * 1024);
}

fn by_digest(number: u64) -> ImageIdentifier {
    ImageIdentifier { digest: Some(digest(number)), tag: None }
}

/// Long histories of few tags, in which no change arrives later than a dozen newer ones: expired
/// events make no difference.
#[test]
fn old_events_are_dropped_without_a_difference() {
    let runtime = runtime();
    let store = runtime.block_on(Store::in_memory()).at(time(1_000));
    let number = AtomicUsize::new(0);
    let changes = vec(
        prop_oneof![
            8 => (1..=2_u64, Just("latest")).prop_map(|(number, name)| ChangeKind::ImagePushed {
                digest: digest(number),
                tag: Some(tag(name)),
                content: Content::default()
            }),
            2 => (1..=2_u64).prop_map(|number| ChangeKind::ImagePushed {
                digest: digest(number),
                tag: None,
                content: Content::default()
            }),
            2 => (1..=2_u64)
                .prop_map(|number| ChangeKind::ImageUntagged { digest: digest(number), tag: tag("latest") }),
        ],
        96..128_usize,
    );
    let strategy = changes.prop_flat_map(|changes| {
        let delays = vec(0..12_usize, changes.len());
        (Just(changes), delays)
    });
    let configuration = Config {
        cases: histories() / 40,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    };
    let result = TestRunner::new(configuration).run(&strategy, |(kinds, delays)| {
        let repository =
            repository(&format!("long-history-{}", number.fetch_add(1, Ordering::Relaxed)));
        let changes: Vec<Change> = (0_i64..)
            .zip(kinds)
            .map(|(at, kind)| Change { repository: repository.clone(), time: time(at), kind })
            .collect();
        let mut arrivals: Vec<(usize, &Change)> = changes
            .iter()
            .enumerate()
            .map(|(place, change)| (place + delays[place], change))
            .collect();
        arrivals.sort_by_key(|(place, _)| *place);
        runtime.block_on(async {
            for (_, change) in arrivals {
                store.writer.apply(change).await.unwrap();
            }
            store.assert_equals_model(&repository, &changes).await;
        });
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// Sort keys of all items of a repository, and of those that expire.
async fn items(store: &Store, repository: &Repository) -> (Vec<String>, Vec<String>) {
    let scan = store.table.client.scan().table_name(&store.table.name).send().await.unwrap();
    let (mut lasting, mut expiring) = (Vec::new(), Vec::new());
    for item in scan.items() {
        if item["repository"].as_s().unwrap() == &repository.to_string() {
            let sorts = if item.contains_key("expiresAt") { &mut expiring } else { &mut lasting };
            sorts.push(item["sort"].as_s().unwrap().replace(digest(1).as_str(), "<digest>"));
        }
    }
    lasting.sort();
    expiring.sort();
    (lasting, expiring)
}

#[tokio::test]
async fn what_is_left_of_a_deleted_image_expires_and_is_taken_back_by_a_push() {
    let store = Store::in_memory().await;
    let repository = repository("app");
    let apply = async |at, kind| {
        let change = Change { repository: repository.clone(), time: time(at), kind };
        store.writer.apply(&change).await.unwrap();
    };
    store.writer.apply(&push(&repository, 1, 1, "v1")).await.unwrap();
    store.writer.apply(&push(&repository, 2, 1, "v2")).await.unwrap();
    let listed = format!("ACTIVE#{}#1#<digest>", time(1).newest_first());
    let lasting = ["digest#<digest>", "repository", "tag#v1", "tag#v2"];
    assert_eq!(
        items(&store, &repository).await,
        (
            [&[listed.as_str()], &lasting[..]].concat().iter().map(ToString::to_string).collect(),
            vec![]
        )
    );
    apply(3, ChangeKind::ImageDeleted { digest: digest(1) }).await;
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expiring = names(&["digest#<digest>", "tag#v1", "tag#v2"]);
    assert_eq!(items(&store, &repository).await, (names(&["repository"]), expiring));
    store.writer.apply(&push(&repository, 4, 1, "v2")).await.unwrap();
    let listed = format!("ACTIVE#{}#1#<digest>", time(4).newest_first());
    assert_eq!(
        items(&store, &repository).await,
        (names(&[&listed, "digest#<digest>", "repository", "tag#v2"]), names(&["tag#v1"]))
    );
}

#[tokio::test]
async fn an_image_can_have_a_thousand_tags() {
    let store = Store::in_memory().await;
    let repository = repository("app");
    let names: Vec<String> = (0..1000).map(|number| format!("{number:04}")).collect();
    for (at, name) in (0..).zip(&names) {
        store.writer.apply(&push(&repository, at, 1, name)).await.unwrap();
    }
    let by_tag = |name: &String| ImageIdentifier { digest: None, tag: Some(tag(name)) };
    for hundred in names.chunks(100) {
        let identifiers: Vec<_> = hundred.iter().map(by_tag).collect();
        let found = store.reader.find(&repository, &identifiers).await.unwrap().images;
        let has_all = |image: &Option<Arc<Image>>| {
            image.as_ref().is_some_and(|image| image.image_tags.len() == 1000)
        };
        assert!(found.len() == 100 && found.iter().all(has_all));
    }
    let deleted = ChangeKind::ImageDeleted { digest: digest(1) };
    let deleted = Change { repository: repository.clone(), time: time(1000), kind: deleted };
    store.writer.apply(&deleted).await.unwrap();
    let (lasting, expiring) = items(&store, &repository).await;
    assert_eq!((lasting.len(), expiring.len()), (1, 1001), "only the repository itself stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_deletion_of_a_repository_never_hides_what_was_pushed_since() {
    check_late_deletion(&Store::in_memory().await, "the embedded engine", 300, 50).await;
}

#[tokio::test]
async fn an_index_keeps_its_size_when_its_manifest_has_expired() {
    const DAYS_31: i64 = 31 * 24 * 3_600_000;
    let repository = repository("app");
    let pushed = |at: i64, number: u64| {
        let content = match number {
            3 => Content { manifests: Some(vec![digest(1), digest(2)]), ..Content::default() },
            _ => Content { size_in_bytes: Some(1000 * number as i64), ..Content::default() },
        };
        let kind = ChangeKind::ImagePushed { digest: digest(number), tag: None, content };
        Change { repository: repository.clone(), time: time(at), kind }
    };
    for pushed_again in [&[1][..], &[3], &[1, 3], &[3, 1]] {
        let store = Store::in_memory().await;
        let now = Arc::new(AtomicI64::new(0));
        let clock = Arc::clone(&now);
        let writer = Writer::new(store.table.clone(), move || time(clock.load(Ordering::Relaxed)));
        let size_of_index = async || {
            let filter = Filter { tag_status: None, image_status: None };
            let listed = store.page(&repository, &filter, None, 10).await.unwrap().images;
            let listed = listed.into_iter().find(|image| image.image_digest == digest(3)).unwrap();
            let requested = ImageIdentifier { digest: Some(digest(3)), tag: None };
            let found =
                store.reader.find(&repository, &[requested]).await.unwrap().images.remove(0);
            assert_eq!(found.as_deref(), Some(&listed));
            listed.image_size_in_bytes
        };
        for (at, number) in [(1, 1), (2, 2), (3, 3)] {
            writer.apply(&pushed(at, number)).await.unwrap();
        }
        assert_eq!(size_of_index().await, Some(2000));
        let deleted = ChangeKind::ImageDeleted { digest: digest(2) };
        let deleted = Change { repository: repository.clone(), time: time(4), kind: deleted };
        writer.apply(&deleted).await.unwrap();
        assert_eq!(size_of_index().await, Some(2000));

        now.store(DAYS_31, Ordering::Relaxed);
        assert_eq!(expire(&store, time(DAYS_31)).await, [format!("digest#{}", digest(2))]);
        for (at, number) in (DAYS_31..).zip(pushed_again) {
            writer.apply(&pushed(at, *number)).await.unwrap();
            assert_eq!(
                size_of_index().await,
                Some(2000),
                "after {number} of {pushed_again:?} was pushed"
            );
        }
    }
}

/// Many indexes of one manifest, whose size arrives last.
#[tokio::test]
async fn a_size_costs_as_much_as_there_are_indexes() {
    let store = Store::in_memory().await;
    let mut units = Vec::new();
    for (name, indexes) in [("few", 50), ("many", 200)] {
        let repository = repository(name);
        let pushed = |at, number, content| {
            let kind = ChangeKind::ImagePushed { digest: digest(number), tag: None, content };
            Change { repository: repository.clone(), time: time(at), kind }
        };
        let mut changes = Vec::new();
        for number in 2..2 + indexes {
            let manifests = Some(vec![digest(1)]);
            changes.push(pushed(1, number, Content { manifests, ..Content::default() }));
        }
        changes.push(pushed(2, 1, Content { size_in_bytes: Some(5000), ..Content::default() }));
        let mut applied = Applied::default();
        for change in &changes {
            applied = store.writer.apply(change).await.unwrap();
        }
        store.assert_equals_model(&repository, &changes).await;
        units.push((applied.read_units, applied.write_units));
    }
    print(format!(
        "read and write units of a size of a manifest of 50 indexes, and of 200: {units:?}"
    ));
    assert!(units[1].0 < 1000.0 && units[1].0 < 4.4 * units[0].0);
    assert!(units[1].1 < 1200.0);
}

/// Its manifests would take a hundred times as much memory as those of any real one.
#[tokio::test]
async fn an_index_of_many_large_indexes_is_refused() {
    let store = Store::in_memory().await;
    let repository = repository("app");
    let push = |digest: Digest, manifests: Vec<Digest>| {
        let content = Content { manifests: Some(manifests), ..Content::default() };
        let kind = ChangeKind::ImagePushed { digest, tag: None, content };
        Change { repository: repository.clone(), time: time(1), kind }
    };
    let long = |number: u64| Digest::parse(&format!("sha256+x:{number:0>240x}")).unwrap();
    let indexes: Vec<Digest> = (0..36).map(digest).collect();
    for index in &indexes {
        let manifests = push(index.clone(), (0..1_000).map(long).collect());
        store.writer.apply(&manifests).await.unwrap();
    }
    let all = push(digest(99), indexes.clone());
    let refused = store.writer.apply(&all).await.unwrap_err();
    assert!(matches!(refused, StoreError::ItemTooLarge), "{refused:?}");
    store.writer.apply(&push(digest(99), indexes[..4].to_vec())).await.unwrap();
}

/// A late deletion without effect does not make later changes more expensive.
#[tokio::test]
async fn a_deletion_that_came_too_late_costs_no_later_push_anything() {
    const HOUR: i64 = 3_600_000;
    let store = Store::in_memory().await;
    let now = Arc::new(AtomicI64::new(0));
    let clock = Arc::clone(&now);
    let writer = Writer::new(store.table.clone(), move || time(clock.load(Ordering::Relaxed)));
    let repository = repository("app");
    let apply = async |at, kind| {
        now.store(at, Ordering::Relaxed);
        writer
            .apply(&Change { repository: repository.clone(), time: time(at), kind })
            .await
            .unwrap()
    };
    let push = async |at: i64| {
        let tag = Some(tag(&format!("{at:0>100}")));
        apply(at, ChangeKind::ImagePushed { digest: digest(1), tag, content: Content::default() })
            .await
    };
    for cycle in 0..700 {
        let at = cycle * 3 * HOUR;
        push(at).await;
        let lost =
            ChangeKind::ImageUntagged { digest: digest(1), tag: tag(&format!("{at:0>100}")) };
        apply(at + HOUR, lost).await;
    }
    let before = push(2101 * HOUR).await;
    now.store(2102 * HOUR, Ordering::Relaxed);
    let deletion = Change {
        repository: repository.clone(),
        time: time(HOUR),
        kind: ChangeKind::RepositoryDeleted,
    };
    assert!(writer.apply(&deletion).await.unwrap().too_late);
    let after = push(2103 * HOUR).await;
    print(format!(
        "read units of a push before and after a deletion that came too late: {} and {}",
        before.read_units, after.read_units
    ));
    assert!(after.read_units <= before.read_units + 2.0);
}

/// The changes that wait for a repository are written together.
#[tokio::test]
async fn a_change_that_fails_does_not_fail_those_that_wait_with_it() {
    let repository = repository("app");
    let text = |text: String| AttributeValue::S(text);
    let unreadable = Item::from([
        (REPOSITORY.to_owned(), text(repository.to_string())),
        (SORT.to_owned(), text(format!("digest#{}", digest(9)))),
        (HISTORY.to_owned(), AttributeValue::B(Blob::new([0xff]))),
    ]);
    let push = |number| Change {
        repository: repository.clone(),
        time: time(0),
        kind: ChangeKind::ImagePushed {
            digest: digest(number),
            tag: None,
            content: Content::default(),
        },
    };
    let changes: Vec<Change> = (1..=9).map(push).collect();
    for first in 0..changes.len() {
        let store = Store::in_memory().await;
        let put = store.table.client.put_item().table_name(&store.table.name);
        put.set_item(Some(unreadable.clone())).send().await.unwrap();
        let in_order: Vec<&Change> = changes[first..].iter().chain(&changes[..first]).collect();
        let results = join_all(in_order.iter().map(|change| store.writer.apply(change))).await;
        for (change, result) in in_order.into_iter().zip(results) {
            assert_eq!(result.is_ok(), *change != changes[8], "{change:?}: {result:?}");
        }
    }
}
