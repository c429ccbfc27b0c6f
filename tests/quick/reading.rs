//! Reads a repository while it changes, also from replicas that are late. A read finds and lists
//! what is there from its beginning to its end.

mod moves;
mod run;
mod stale;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use aws_sdk_dynamodb::types::AttributeValue;
use catalog::reader::Filter;
use catalog::table::{Item, REPOSITORY, REPOSITORY_TAG_STATUS, SORT, TAG_STATUS_INDEX};
use catalog::{Change, Repository};
use end_to_end::harness::{Random, Store, digest, repository, time};

use crate::reading::moves::{Asked, Move, State};
use crate::reading::run::{Figures, ONE_AT_A_TIME, Plan, Question, READERS, Wrong, reads, run};
use crate::reading::stale::{MAX_AGE, StaleEngine};

/// Images with greater numbers come and go.
const LASTING: u64 = 100;

fn by_tag(tag: &'static str) -> Asked {
    Asked { number: None, tag: Some(tag) }
}

fn by_digest(number: u64) -> Asked {
    Asked { number: Some(number), tag: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_moves_is_always_found() {
    run(Plan {
        test: "a tag that moves",
        set_up: [1, 2, 3].map(Move::Push).into_iter().chain([Move::Tag(1, "latest")]).collect(),
        next: |moves, _, _| Move::Tag(1 + moves % 3, "latest"),
        question: Question::Find(|_, _| vec![by_tag("latest")]),
        reads: reads(),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_exists_is_always_found_by_its_digest() {
    run(Plan {
        test: "an image by its digest",
        set_up: [1, 2, 3].map(Move::Push).into(),
        next: |moves, state, random| {
            let number = 1 + random.below(3);
            match random.below(8) {
                0 => Move::DeleteTag("latest"),
                1 | 2 => come_and_go(moves, state),
                3 => Move::Tag(number, "v1"),
                4 => Move::Tag(number, "v2"),
                _ => Move::Tag(number, "latest"),
            }
        },
        // The newest as often as all others together.
        question: Question::Find(|state, random| {
            let numbers: Vec<u64> = state.0.keys().copied().collect();
            vec![by_digest(if random.below(2) == 0 {
                *numbers.last().unwrap()
            } else {
                *random.one_of(&numbers)
            })]
        }),
        reads: reads(),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_and_a_tag_that_fit_are_found_together() {
    run(Plan {
        test: "a digest and a tag",
        set_up: vec![Move::Tag(1, "stable"), Move::Push(2), Move::Tag(1, "latest")],
        // `latest` stays for a while, so that many reads begin and end meanwhile.
        next: |moves, _, random| match moves % 12 {
            0 => Move::Tag(1, "latest"),
            4 => Move::Tag(2, "latest"),
            8 => Move::DeleteTag("latest"),
            _ => Move::Tag(1 + random.below(2), "edge"),
        },
        question: Question::Find(|state, random| {
            let number = state.holder("latest").unwrap_or(1);
            vec![match random.below(2) {
                0 => Asked { number: Some(1), tag: Some("stable") },
                _ => Asked { number: Some(number), tag: Some("latest") },
            }]
        }),
        reads: reads(),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_identifiers_none_is_missing() {
    const MOVING: [&str; 3] = ["latest", "edge", "v1"];
    const TAGS: [&str; 6] = ["latest", "edge", "v1", "v1.0", "v1.0.0", "stable"];
    run(Plan {
        test: "several identifiers",
        set_up: (1..).zip(TAGS).map(|(number, name)| Move::Tag(number, name)).collect(),
        next: |_, _, random| Move::Tag(1 + random.below(6), random.one_of::<&str>(&MOVING)),
        question: Question::Find(|_, random| {
            let mut asked: Vec<Asked> = TAGS.map(by_tag).into();
            for number in 1..=4 {
                let place = random.below(asked.len() as u64 + 1).try_into().unwrap();
                asked.insert(place, by_digest(number));
            }
            asked
        }),
        reads: reads() / 5,
    })
    .await;
}

/// Images 1 to 6 get tags and lose them; 7, 8 and 11 keep theirs; 9, 10 and 12 have none. Images 6,
/// 11 and 12 stay in the archive; 1, 3, 5, 7 and 9 are archived and restored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_was_there_all_the_time_is_listed_exactly_once() {
    let set_up = (1..=12).map(|number| match number {
        7 => Move::Tag(number, "v7"),
        8 => Move::Tag(number, "v8"),
        11 => Move::Tag(number, "v11"),
        _ => Move::Push(number),
    });
    run(Plan {
        test: "a listing",
        set_up: set_up.chain([6, 11, 12].map(Move::Archive)).collect(),
        next: |moves, state, random| match random.below(8) {
            0..=3 => {
                let number = *random.one_of(&[1, 3, 5, 7, 9]);
                if state.0[&number].is_archived {
                    Move::Restore(number)
                } else {
                    Move::Archive(number)
                }
            }
            4 | 5 => come_and_go(moves, state),
            _ => Move::Tag(1 + random.below(6), random.one_of::<&str>(&["latest", "edge", "v1"])),
        },
        question: Question::List,
        reads: reads() / 10,
    })
    .await;
}

/// Another image is pushed, or the oldest of three is deleted.
fn come_and_go(moves: u64, state: &State) -> Move {
    let mut passing = state.0.keys().filter(|number| **number > LASTING);
    match (passing.next(), passing.count()) {
        (Some(oldest), 2..) => Move::Delete(*oldest),
        _ => Move::Push(LASTING + 1 + moves),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_exists_is_found() {
    /// After the first push of each.
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
    let asked = match read % 4 {
        0 => by_tag("latest"),
        2 => by_digest(1),
        _ => {
            store.reader.list(repository, &Filter::default(), None, 100, |_| false).await?;
            return Ok(0);
        }
    };
    match &store.reader.find(repository, &[asked.identifier()]).await?.images[..] {
        [Some(_)] => Ok(1),
        other => Err(Wrong::new("not found", (asked, other))),
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
async fn late_replicas_answer_from_the_past_and_catch_up() {
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
    assert!(others > 0, "some answers are late");
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
