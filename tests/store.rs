//! The table is a function of the set of changes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use catalog::change::Content;
use catalog::history::KEPT_EVENTS;
use catalog::image::{Image, Scan};
use catalog::reader::ImageIdentifier;
use catalog::{Change, ChangeKind, Repository};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

use end_to_end::{DynamoDbLocal, Store, digest, histories, print, repository, tag, time};
use tokio::runtime::Runtime;

const TAGS: [&str; 3] = ["latest", "v1", "v2"];
const DIGESTS: u64 = 4;

fn any_digest() -> impl Strategy<Value = u64> {
    1..=DIGESTS
}

/// The manifest of digest 4 is an index of 1 to 3, that of 3 an index of 1 and 2.
fn any_content(number: u64) -> impl Strategy<Value = Content> {
    let manifests = match number {
        4 => Some(vec![digest(1), digest(2), digest(3)]),
        3 => Some(vec![digest(1), digest(2)]),
        _ => None,
    };
    let size = if manifests.is_some() { Just(None).boxed() } else { proptest::option::of(1..5_i64).boxed() };
    let media_type = proptest::option::of(select(vec!["a/a".to_owned(), "b/b".to_owned()]));
    (media_type.clone(), media_type, size, proptest::option::of(Just(manifests))).prop_map(
        |(manifest_media_type, artifact_media_type, size_in_bytes, manifests)| Content {
            manifest_media_type,
            artifact_media_type,
            size_in_bytes,
            manifests: manifests.flatten(),
            subject: None,
        },
    )
}

fn any_kind() -> impl Strategy<Value = ChangeKind> {
    let any_tag = || select(TAGS.to_vec()).prop_map(tag);
    let push = any_digest().prop_flat_map(move |number| {
        (proptest::option::weighted(0.8, any_tag()), any_content(number))
            .prop_map(move |(tag, content)| ChangeKind::ImagePushed { digest: digest(number), tag, content })
    });
    let scan = (any_digest(), 0..3_i64, any_time()).prop_map(|(number, high, at)| ChangeKind::ImageScanned {
        digest: digest(number),
        scan: Scan {
            status: "COMPLETE".to_owned(),
            finding_severity_counts: Some(BTreeMap::from([("HIGH".to_owned(), high)])),
            completed_at: time(at),
        },
    });
    let observed = any_digest().prop_flat_map(|number| {
        (any_time(), any_content(number)).prop_map(move |(at, content)| ChangeKind::ImageObserved {
            digest: digest(number),
            pushed_at: time(at),
            content,
        })
    });
    prop_oneof![
        10 => push,
        2 => observed,
        2 => any_digest().prop_map(|number| ChangeKind::ImageDeleted { digest: digest(number) }),
        4 => (any_digest(), any_tag())
            .prop_map(|(number, tag)| ChangeKind::ImageUntagged { digest: digest(number), tag }),
        2 => any_tag().prop_map(|tag| ChangeKind::TagDeleted { tag }),
        1 => Just(ChangeKind::RepositoryCreated),
        1 => Just(ChangeKind::RepositoryDeleted),
        1 => scan,
        1 => any_digest().prop_map(|number| ChangeKind::ImagePulled { digest: digest(number) }),
        1 => any_digest().prop_map(|number| ChangeKind::ImageArchived { digest: digest(number) }),
        1 => (any_digest(), any_time()).prop_map(|(number, at)| ChangeKind::ImageRestored {
            digest: digest(number),
            activated_at: time(at)
        }),
    ]
}

/// Few, so that many changes have the same.
fn any_time() -> impl Strategy<Value = i64> {
    0..8_i64
}

/// Changes, and the order in which they arrive: each at least once, some again.
#[derive(Debug, Clone)]
struct History {
    changes: Vec<(i64, ChangeKind)>,
    order: Vec<Index>,
    repeated: Vec<Index>,
    writers: usize,
}

fn any_history() -> impl Strategy<Value = History> {
    vec((any_time(), any_kind()), 1..16).prop_flat_map(|changes| {
        let length = changes.len();
        (Just(changes), vec(any::<Index>(), length), vec(any::<Index>(), 0..6), 1..4_usize)
            .prop_map(|(changes, order, repeated, writers)| History { changes, order, repeated, writers })
    })
}

impl History {
    fn changes(&self, repository: &Repository) -> Vec<Change> {
        let change = |(at, kind): &(i64, ChangeKind)| Change {
            repository: repository.clone(),
            time: time(*at),
            kind: kind.clone(),
        };
        self.changes.iter().map(change).collect()
    }

    fn arrivals(&self, changes: &[Change]) -> Vec<Change> {
        let mut arrivals: Vec<Change> =
            self.repeated.iter().map(|index| index.get(changes).clone()).collect();
        for (change, index) in changes.iter().zip(&self.order) {
            arrivals.insert(index.index(arrivals.len() + 1), change.clone());
        }
        arrivals
    }
}

/// Makes histories, lets writers apply them side by side, and holds the table against the model.
fn check_histories(runtime: &Runtime, store: &Store, cases: u32) {
    let number = AtomicUsize::new(0);
    let configuration =
        Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let result = TestRunner::new(configuration).run(&any_history(), |history| {
        let repository = repository(&format!("history-{}", number.fetch_add(1, Ordering::Relaxed)));
        let changes = history.changes(&repository);
        let arrivals = history.arrivals(&changes);
        runtime.block_on(async {
            let mut writers = tokio::task::JoinSet::new();
            for share in arrivals.chunks(arrivals.len().div_ceil(history.writers)) {
                let (writer, share) = (store.writer.clone(), share.to_vec());
                writers.spawn(async move {
                    for change in share {
                        writer.apply(&change).await.unwrap();
                    }
                });
            }
            while let Some(writer) = writers.join_next().await {
                writer.unwrap();
            }
            store.assert_equals_model(&repository, &changes).await;
        });
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn any_order_any_repetition_and_concurrent_writers_give_the_same_table() {
    // An engine does one thing at a time, so each processor has its own.
    let engines = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..engines {
            scope.spawn(|| {
                let runtime = runtime();
                let store = runtime.block_on(Store::in_memory());
                check_histories(&runtime, &store, histories().div_ceil(engines));
            });
        }
    });
    print(format!("{} histories on the embedded engine in {:.1?}", histories(), started.elapsed()));
}

#[test]
fn any_order_any_repetition_and_concurrent_writers_give_the_same_table_on_dynamodb_local() {
    let runtime = runtime();
    let Some(local) = runtime.block_on(DynamoDbLocal::start("the histories on DynamoDB Local")) else {
        return;
    };
    let store = runtime.block_on(Store::new(local.client()));
    let cases = histories() / 20;
    let started = Instant::now();
    check_histories(&runtime, &store, cases);
    print(format!("{cases} histories on DynamoDB Local in {:.1?}", started.elapsed()));
}

fn push(repository: &Repository, at: i64, number: u64, tag_name: &str) -> Change {
    let kind = ChangeKind::ImagePushed {
        digest: digest(number),
        tag: Some(tag(tag_name)),
        content: Content::default(),
    };
    Change { repository: repository.clone(), time: time(at), kind }
}

/// Long histories of few tags, in which no change comes later than a dozen newer ones: what is not
/// kept for ever makes no difference to them.
#[test]
fn old_events_are_dropped_without_a_difference() {
    let runtime = runtime();
    let store = runtime.block_on(Store::in_memory());
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
        3 * KEPT_EVENTS..4 * KEPT_EVENTS,
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
        let repository = repository(&format!("long-history-{}", number.fetch_add(1, Ordering::Relaxed)));
        let changes: Vec<Change> = (0_i64..)
            .zip(kinds)
            .map(|(at, kind)| Change { repository: repository.clone(), time: time(at), kind })
            .collect();
        let mut arrivals: Vec<(usize, &Change)> =
            changes.iter().enumerate().map(|(place, change)| (place + delays[place], change)).collect();
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
    let listed = format!("ACTIVE#{}#<digest>", time(1).newest_first());
    let lasting = ["digest#<digest>", "repository", "tag#v1", "tag#v2"];
    assert_eq!(
        items(&store, &repository).await,
        ([&[listed.as_str()], &lasting[..]].concat().iter().map(ToString::to_string).collect(), vec![])
    );
    apply(3, ChangeKind::ImageDeleted { digest: digest(1) }).await;
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expiring = names(&["digest#<digest>", "tag#v1", "tag#v2"]);
    assert_eq!(items(&store, &repository).await, (names(&["repository"]), expiring));
    store.writer.apply(&push(&repository, 4, 1, "v2")).await.unwrap();
    let listed = format!("ACTIVE#{}#<digest>", time(4).newest_first());
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
        let has_all =
            |image: &Option<Image>| image.as_ref().is_some_and(|image| image.image_tags.len() == 1000);
        assert!(found.len() == 100 && found.iter().all(has_all));
    }
    let deleted = ChangeKind::ImageDeleted { digest: digest(1) };
    let deleted = Change { repository: repository.clone(), time: time(1000), kind: deleted };
    store.writer.apply(&deleted).await.unwrap();
    let (lasting, expiring) = items(&store, &repository).await;
    assert_eq!((lasting.len(), expiring.len()), (1, 1001), "only the repository itself stays");
}
