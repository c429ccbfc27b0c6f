//! Wrong clocks.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use catalog::table::Item;
use catalog::{Change, ChangeKind, Repository, Timestamp, Writer};
use end_to_end::harness::{Random, Store, digest, repository, tag};

use super::{LONG, deliver, faulty_store, ingest, push, push_of_index, push_of_size};
use crate::faults::messages::{message, source_of};

const YEAR: i64 = 365 * 24 * 60 * 60 * 1000;

fn shifted(milliseconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(Timestamp::now().as_milliseconds() + milliseconds).unwrap()
}

fn a_year_behind() -> Timestamp {
    shifted(-YEAR)
}

fn a_year_ahead() -> Timestamp {
    shifted(YEAR)
}

/// Long ago, today, and in the future, in this order.
fn times() -> [Timestamp; 10] {
    [
        "0001-01-02T00:00:00Z".parse().unwrap(),
        "1969-12-31T23:59:59.999999999Z".parse().unwrap(),
        a_year_behind(),
        shifted(-1000),
        shifted(0),
        shifted(1000),
        a_year_ahead(),
        "2106-02-07T06:28:16Z".parse().unwrap(),
        "9999-12-30T00:00:00Z".parse().unwrap(),
        "9999-12-30T22:00:00Z".parse().unwrap(),
    ]
}

fn history(repository: &Repository) -> Vec<Change> {
    let kinds = [
        push_of_index(3, "latest", [1, 2]),
        push_of_size(1, "v1", 100),
        push(2, "v1"),
        ChangeKind::ImageDeleted { digest: digest(2) },
        push_of_size(2, "latest", 200),
        ChangeKind::ImageUntagged { digest: digest(1), tag: tag("v1") },
        push(4, "v1"),
        ChangeKind::ImageDeleted { digest: digest(4) },
        push(1, "v2"),
        push(5, "v2"),
    ];
    let change = |(time, kind)| Change { repository: repository.clone(), time, kind };
    times().into_iter().zip(kinds).map(change).collect()
}

/// All items, with a mark in place of the time at which they expire.
async fn items(store: &Store) -> Vec<Item> {
    let mut items = store.items().await;
    for item in &mut items {
        if let Some(expires_at) = item.get_mut("expiresAt") {
            *expires_at = AttributeValue::Bool(true);
        }
    }
    items
}

#[tokio::test]
async fn the_catalogs_clock_makes_no_difference() {
    let repository = repository("app");
    let changes = history(&repository);
    let mut random = Random(1);
    for order in 0..6 {
        let mut arrivals: Vec<(u64, &Change)> =
            changes.iter().map(|change| (random.next(), change)).collect();
        if order > 0 {
            arrivals.sort_by_key(|(place, _)| *place);
        }
        let mut tables = Vec::new();
        let clocks: [&[fn() -> Timestamp]; 4] = [
            &[Timestamp::now],
            &[a_year_behind],
            &[a_year_ahead],
            &[a_year_behind, a_year_ahead, Timestamp::now],
        ];
        for clocks in clocks {
            let store = Store::in_memory().await;
            for ((_, change), clock) in arrivals.iter().zip(clocks.iter().cycle()) {
                Writer::new(store.table.clone(), *clock).apply(change).await.unwrap();
            }
            store.assert_equals_model(&repository, &changes).await;
            tables.push(items(&store).await);
        }
        for table in &tables[1..] {
            assert_eq!(table, &tables[0], "in order {order}");
        }
    }
}

#[tokio::test]
async fn events_of_any_time_are_applied_as_of_times_that_can_be() {
    let (_, store) = faulty_store(true).await;
    let ingest = ingest(&store);
    let repository = repository("app");
    let changes = history(&repository);
    let received_at = shifted(0);
    let messages = changes.iter().enumerate().rev().map(|(number, change)| {
        let mut message =
            message(&number.to_string(), source_of(&change.kind), std::slice::from_ref(change));
        message.message.received_at = received_at;
        message
    });
    assert_eq!(deliver(&ingest, messages.collect(), LONG).await, BTreeSet::new());
    let bounded: Vec<Change> =
        changes.into_iter().map(|change| change.received_at(received_at)).collect();
    store.assert_equals_model(&repository, &bounded).await;
}
