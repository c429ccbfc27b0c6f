//! Histories that are applied to a table, of any engine. The table must then equal the model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Instant;

use catalog::change::Content;
use catalog::history::LATENESS_WINDOW;
use catalog::image::{Image, ImageStatus};
use catalog::reader::{Filter, ImageIdentifier};
use catalog::{Change, ChangeKind, Digest, Repository, Timestamp, Writer};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use crate::harness::{Store, digest, print, repository, tag, time};
use crate::reference::generators::{any_events, any_kind, any_time, arrivals, period_start};

const TAGS: [&str; 3] = ["latest", "v1", "v2"];

/// Changes, and the order in which they arrive: each at least once, some again.
#[derive(Debug, Clone)]
struct History {
    changes: Vec<(i64, ChangeKind)>,
    order: Vec<Index>,
    repeated: Vec<Index>,
    writers: usize,
}

fn any_history() -> impl Strategy<Value = History> {
    vec((any_time(), any_kind(TAGS.map(tag).to_vec())), 1..16).prop_flat_map(|changes| {
        let length = changes.len();
        (Just(changes), vec(any::<Index>(), length), vec(any::<Index>(), 0..6), 1..4_usize)
            .prop_map(|(changes, order, repeated, writers)| History {
                changes,
                order,
                repeated,
                writers,
            })
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

/// Makes histories, applies them with concurrent writers, and checks the table against the model.
pub fn check_histories(runtime: &Runtime, store: &Store, cases: u32) {
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
                // As of another process: those of one process take turns.
                let writer = Writer::new(store.table.clone(), || time(1_000));
                let share = share.to_vec();
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

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Long histories with events as late as the window allows, in periods between which everything may
/// expire.
pub fn check_long_histories(runtime: &Runtime, client: &aws_sdk_dynamodb::Client, cases: u32) {
    let number = AtomicUsize::new(0);
    let configuration =
        Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let result = TestRunner::new(configuration).run(&any_events(3, LATENESS_WINDOW), |events| {
        runtime.block_on(async {
            let store = Store::new(client.clone()).await;
            let now = Arc::new(AtomicI64::new(0));
            let clock = Arc::clone(&now);
            let writer = Writer::new(store.table.clone(), move || {
                Timestamp::from_milliseconds(clock.load(Ordering::Relaxed)).unwrap()
            });
            let repository =
                repository(&format!("long-{}", number.fetch_add(1, Ordering::Relaxed)));
            for period in 0..3 {
                for (arrival, event) in arrivals(&events, period) {
                    now.store(arrival.as_milliseconds(), Ordering::Relaxed);
                    writer.apply(&event.change(&repository)).await.unwrap();
                }
                expire(&store, period_start(period + 1)).await;
                let so_far: Vec<Change> = events
                    .iter()
                    .filter(|event| event.period <= period)
                    .map(|event| event.change(&repository))
                    .collect();
                if !so_far.is_empty() {
                    store.assert_equals_model(&repository, &so_far).await;
                }
            }
        });
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

pub fn push(repository: &Repository, at: i64, number: u64, tag_name: &str) -> Change {
    let kind = ChangeKind::ImagePushed {
        digest: digest(number),
        tag: Some(tag(tag_name)),
        content: Content::default(),
    };
    Change { repository: repository.clone(), time: time(at), kind }
}

/// The push time of each listed image.
type Pushed = BTreeMap<Digest, Timestamp>;

/// All images of a repository, this many a page.
pub async fn list(store: &Store, repository: &Repository, page_size: usize) -> Pushed {
    let filter = Filter { tag_status: None, image_status: Some(ImageStatus::Active) };
    let mut images: Vec<Image> = Vec::new();
    loop {
        let after = images.last().map(Image::position);
        let page = store.page(repository, &filter, after.as_ref(), page_size).await.unwrap();
        images.extend(page.images);
        if !page.more {
            return images
                .into_iter()
                .map(|image| (image.image_digest, image.image_pushed_at))
                .collect();
        }
    }
}

/// Repeats an operation until another one is done, and once after. Returns how often.
async fn repeat(is_done: &AtomicBool, mut look: impl AsyncFnMut()) -> usize {
    let mut looks = 0;
    loop {
        let is_last = is_done.load(Ordering::Relaxed);
        look().await;
        looks += 1;
        if is_last {
            return looks;
        }
    }
}

/// A repository was deleted and filled again. The event of the deletion arrives last.
pub async fn check_late_deletion(store: &Store, engine: &str, kept: u64, deleted: u64) {
    const DELETED_AT: i64 = 100_000;
    let repository = repository("app");
    let push_at = |at: i64, number: u64| {
        push(&repository, at + i64::try_from(number).unwrap(), number, &format!("v{number}"))
    };
    let mut changes: Vec<Change> = (1..=kept + deleted).map(|number| push_at(0, number)).collect();
    changes.extend((1..=kept).map(|number| push_at(DELETED_AT, number)));
    for change in &changes {
        store.writer.apply(change).await.unwrap();
    }
    let deletion = Change {
        repository: repository.clone(),
        time: time(DELETED_AT),
        kind: ChangeKind::RepositoryDeleted,
    };

    let stays: Vec<Digest> = (1..=kept).map(digest).collect();
    let by_digest = |digest: &Digest| ImageIdentifier { digest: Some(digest.clone()), tag: None };
    let by_tag = |number| ImageIdentifier { digest: None, tag: Some(tag(&format!("v{number}"))) };
    let requested: Vec<ImageIdentifier> =
        stays.iter().map(by_digest).chain((1..=kept).map(by_tag)).collect();
    let is_done = AtomicBool::new(false);
    let mut passed_by = 0;
    let started = Instant::now();
    let ((), lists, pages, look_ups) = tokio::join!(
        async {
            store.writer.apply(&deletion).await.unwrap();
            is_done.store(true, Ordering::Relaxed);
        },
        repeat(&is_done, async || {
            let listed = list(store, &repository, 1000).await;
            let missing = stays.iter().filter(|digest| !listed.contains_key(digest)).count();
            assert_eq!(missing, 0, "images that are missing in a listing of {}", listed.len());
        }),
        repeat(&is_done, async || {
            let before = list(store, &repository, 1000).await;
            let paged = list(store, &repository, 100).await;
            let after = list(store, &repository, 1000).await;
            for digest in &stays {
                // An image that turns out to be pushed later moves to the front of the listing, and
                // a reader of pages may miss it.
                let is_missing = !paged.contains_key(digest);
                assert!(
                    !is_missing || before[digest] != after[digest],
                    "{digest} is missing in a listing"
                );
                passed_by += usize::from(is_missing);
            }
        }),
        repeat(&is_done, async || {
            for requested in requested.chunks(100) {
                let found = store.reader.find(&repository, requested).await.unwrap().images;
                for (requested, found) in requested.iter().zip(&found) {
                    assert!(found.is_some(), "{requested:?} is not found");
                }
            }
        }),
    );
    print(format!(
        "store: a late deletion of {} images, {kept} of them pushed again, on {engine}: {:.1?}; meanwhile {lists} \
         listings, {pages} page by page, which {passed_by} images passed by, and {look_ups} times all looked up",
        kept + deleted,
        started.elapsed(),
    ));
    changes.push(deletion);
    store.assert_equals_model(&repository, &changes).await;
    assert_eq!(list(store, &repository, 100).await.len(), stays.len());
}

/// Removes items that expire by a time, as DynamoDB does by itself. Returns their sort keys.
pub async fn expire(store: &Store, now: Timestamp) -> Vec<String> {
    let client = &store.table.client;
    let mut items = client.scan().table_name(&store.table.name).into_paginator().items().send();
    let mut expired = Vec::new();
    while let Some(item) = items.next().await {
        let item = item.unwrap();
        let expires_at =
            item.get("expiresAt").map(|seconds| seconds.as_n().unwrap().parse::<i64>().unwrap());
        if expires_at.is_some_and(|expires_at| expires_at * 1000 < now.as_milliseconds()) {
            let delete = client.delete_item().table_name(&store.table.name);
            let delete = delete
                .key("repository", item["repository"].clone())
                .key("sort", item["sort"].clone());
            delete.send().await.unwrap();
            expired.push(item["sort"].as_s().unwrap().clone());
        }
    }
    expired
}
