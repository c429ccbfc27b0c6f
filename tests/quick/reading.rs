//! Reads a repository while it changes, also from late replicas. A read finds and lists everything
//! that exists from its begin to its end.

mod beside_writes;
mod kept;
mod stale;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use catalog::reader::Filter;
use catalog::table::{Item, REPOSITORY, REPOSITORY_TAG_STATUS, SORT, TAG_STATUS_INDEX};
use catalog::{Change, Repository};
use end_to_end::harness::{Random, Store, digest, folder, repository, time};
use end_to_end::reference::reading::moves::Move;
use end_to_end::reference::reading::run::{
    Figures, MAX_AGE, MAX_LATENESS, ONE_AT_A_TIME, Plan, READERS, Wrong, reads, run_on,
};
use end_to_end::reference::reading::{self, by_digest, by_tag};
use image_catalog::aws::dynamodb::Engine;

use self::stale::StaleEngine;

/// Runs a test on each engine, one after the other. Prints all figures, and then fails if there
/// are errors.
async fn run(plan: Plan) {
    let _one_at_a_time = ONE_AT_A_TIME.lock().await;
    let embedded = Store::in_memory().await;
    let mut errors = run_on("embedded engine", embedded, Duration::ZERO, &plan).await;
    let file = folder("reading").join("database");
    let in_file = Store::new(Engine::open(&file).unwrap().client()).await;
    errors.extend(run_on("embedded engine in a file", in_file, Duration::ZERO, &plan).await);
    let late = Store::new(StaleEngine::new(Random(1)).client()).await;
    errors.extend(run_on("late replicas", late, MAX_LATENESS, &plan).await);
    assert!(errors.is_empty(), "{errors:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_moves_is_always_found() {
    run(reading::a_tag_that_moves_is_always_found()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_exists_is_always_found_by_its_digest() {
    run(reading::an_image_that_exists_is_always_found_by_its_digest()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_and_a_tag_that_fit_are_found_together() {
    run(reading::a_digest_and_a_tag_that_fit_are_found_together()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_identifiers_none_is_missing() {
    run(reading::of_several_identifiers_none_is_missing()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_existed_all_the_time_is_listed_exactly_once() {
    run(reading::an_image_that_existed_all_the_time_is_listed_exactly_once()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_exists_is_found() {
    /// After the first push of each image.
    const READS_OF_ONE: usize = 10;
    let _one_at_a_time = ONE_AT_A_TIME.lock().await;
    let store = Arc::new(Store::new(StaleEngine::new(Random(1)).client()).await);
    let repositories = Arc::new(AtomicUsize::new(0));
    let wanted = reads().div_ceil(READS_OF_ONE);
    let started = Instant::now();
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (store, repositories) = (Arc::clone(&store), Arc::clone(&repositories));
            tokio::spawn(async move {
                let mut figures = Figures::default();
                loop {
                    let number = repositories.fetch_add(1, Ordering::Relaxed);
                    if number >= wanted {
                        break figures;
                    }
                    let repository = repository(&format!("app-{number}"));
                    let kind = Move::Tag(1, "latest").kind(time(1));
                    let change = Change { repository: repository.clone(), time: time(1), kind };
                    store.writer.apply(&change).await.unwrap();
                    for read in 0..READS_OF_ONE {
                        figures.add(read_new(&store, &repository, read).await);
                    }
                }
            })
        })
        .collect();
    let mut figures = Figures::default();
    for reader in readers {
        figures.merge(reader.await.unwrap());
    }
    let errors = figures.print("a new repository", "late replicas", wanted, started.elapsed());
    assert!(errors.is_empty(), "{errors:#?}");
}

/// Finds the image by its tag or its digest, or lists the repository. The list may lack the image,
/// because a late replica does not have it yet.
async fn read_new(store: &Store, repository: &Repository, read: usize) -> Result<usize, Wrong> {
    let requested = match read % 4 {
        0 => by_tag("latest"),
        2 => by_digest(1),
        _ => {
            store.page(repository, &Filter::default(), None, 100).await?;
            return Ok(0);
        }
    };
    match &store.reader.find(repository, &[requested.identifier()]).await?.images[..] {
        [Some(_)] => Ok(1),
        other => Err(Wrong::new("not found", (requested, other))),
    }
}

/// All items with a partition key of the table or of an index, two on a page.
async fn query(store: &Store, index: Option<&str>, partition: &str, consistent: bool) -> Vec<Item> {
    let attribute = if index.is_some() { REPOSITORY_TAG_STATUS } else { REPOSITORY };
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let query = store.table.client.query().table_name(&store.table.name);
    let query = query
        .set_index_name(index.map(str::to_owned))
        .key_condition_expression("#partition = :partition AND #sort BETWEEN :first AND :last")
        .expression_attribute_names("#partition", attribute)
        .expression_attribute_names("#sort", SORT)
        .expression_attribute_values(":partition", text(partition))
        .expression_attribute_values(":first", text("!"))
        .expression_attribute_values(":last", text("~"))
        .consistent_read(consistent);
    query.into_paginator().page_size(2).items().send().collect::<Result<_, _>>().await.unwrap()
}

/// The test of [`StaleEngine`] itself.
#[tokio::test]
async fn late_replicas_return_old_versions_and_catch_up() {
    let store = Store::new(StaleEngine::new(Random(1)).client()).await;
    let repository = repository("app");
    let moves = [
        Move::Push(1),
        Move::Tag(2, "latest"),
        Move::Push(3),
        Move::Tag(1, "latest"),
        Move::Delete(3),
    ];
    for (done, at) in moves.into_iter().zip(1..) {
        let change =
            Change { repository: repository.clone(), time: time(at), kind: done.kind(time(at)) };
        store.writer.apply(&change).await.unwrap();
    }
    let written_at = Instant::now();
    let partition = repository.to_string();
    let now = query(&store, None, &partition, true).await;
    let mut others = 0;
    while written_at.elapsed() <= MAX_AGE {
        assert_eq!(
            query(&store, None, &partition, true).await,
            now,
            "a consistent read is not late"
        );
        others += usize::from(query(&store, None, &partition, false).await != now);
    }
    assert!(others > 0, "some responses are late");
    assert_eq!(query(&store, None, &partition, false).await, now);
    let indexed = |item: &&Item| item.contains_key(REPOSITORY_TAG_STATUS);
    for item in now.iter().filter(indexed) {
        let value = &item[REPOSITORY_TAG_STATUS];
        let same: Vec<Item> = now
            .iter()
            .filter(|other| other.get(REPOSITORY_TAG_STATUS) == Some(value))
            .cloned()
            .collect();
        let partition = value.as_s().unwrap();
        assert_eq!(query(&store, Some(TAG_STATUS_INDEX), partition, false).await, same);
    }
    let image =
        store.reader.find(&repository, &[by_tag("latest").identifier()]).await.unwrap().images;
    assert_eq!(image[0].as_ref().unwrap().image_digest, digest(1));
}
