//! Every kind of fault, during writes and during reads.

use ingest_events::batch::ReceivedMessage;
use std::collections::BTreeSet;

use catalog::{Change, ChangeKind, Repository};
use end_to_end::harness::{digest, repository, tag, time};
use end_to_end::reference::model;
use registries::Source;
use tokio::task::JoinSet;

use super::{LONG, changes, deliver, faulty_store, ingest, push, push_of_index, push_of_size};
use crate::faults::engine::Fault;
use crate::faults::messages::{message, source_of};

/// A history with every kind of item.
fn history(repository: &Repository) -> Vec<Change> {
    let kinds = [
        push_of_size(1, "v1", 100),
        push_of_size(2, "v2", 200),
        push_of_index(3, "latest", [1, 2]),
        push(4, "v1"),
        push(5, "latest"),
        push(6, ""),
        ChangeKind::ImageDeleted { digest: digest(4) },
        ChangeKind::ImagePulled { digest: digest(2) },
        ChangeKind::ImageArchived { digest: digest(6) },
        ChangeKind::TagDeleted { tag: tag("v2") },
        push_of_index(8, "", [7]),
        push_of_index(9, "", [7]),
        push_of_size(7, "", 700),
    ];
    changes(repository, kinds)
}

fn messages(changes: &[Change]) -> Vec<ReceivedMessage> {
    let message = |(number, change): (usize, &Change)| {
        message(&number.to_string(), source_of(&change.kind), std::slice::from_ref(change))
    };
    changes.iter().enumerate().map(message).collect()
}

/// Whatever faults the first requests have, everything is applied afterwards.
#[tokio::test]
async fn what_a_fault_kept_from_being_applied_is_applied_after_it() {
    let mut tests = JoinSet::new();
    // A conflict is a fault of writes of one item. There are none here.
    for fault in Fault::ALL.into_iter().filter(|fault| *fault != Fault::Conflict) {
        for first_requests in [1, 30] {
            for remembers_tokens in [true, false] {
                tests.spawn(check(fault, first_requests, remembers_tokens));
            }
        }
    }
    tests.join_all().await;
}

async fn check(fault: Fault, first_requests: usize, remembers_tokens: bool) {
    let (engine, store) = faulty_store(remembers_tokens).await;
    let ingest = ingest(&store);
    let repository = repository("app");
    // A late deletion of another repository, which has to look up the images that exist again.
    let mut deletion =
        changes(&super::repository("gone"), [push(1, "v1"), push(2, "v2"), push(3, "v3")]);
    let again = deletion.iter().map(|change| Change { time: time(100), ..change.clone() });
    deletion.extend(again.collect::<Vec<_>>());
    for change in &deletion {
        store.writer.apply(change).await.unwrap();
    }
    deletion.push(Change {
        time: time(50),
        kind: ChangeKind::RepositoryDeleted,
        ..deletion[0].clone()
    });
    let changes = history(&repository);
    let mut waiting = messages(&changes);
    waiting.push(message("deletion", Source::Ecr, &deletion[6..]));
    let mut left = first_requests;
    engine.fail(move |request| {
        let fails = left > 0 && fault.fits(request);
        left -= usize::from(fails);
        fails.then_some(fault)
    });
    let mut deliveries = 0;
    while !waiting.is_empty() {
        let failed = deliver(&ingest, waiting.clone(), LONG).await;
        waiting.retain(|message| failed.contains(&message.id));
        deliveries += 1;
        assert!(deliveries <= first_requests + 1, "{fault:?} comes to an end");
    }
    if !fault.is_partial_success() {
        assert_eq!(engine.faults(), first_requests, "{fault:?} happened");
    }
    assert!(engine.faults() > 0, "{fault:?} happened");
    store.assert_equals_model(&repository, &changes).await;
    store.assert_equals_model(&deletion[0].repository, &deletion).await;
}

/// Whichever response is lost, no message fails: a transaction that is sent again, and conflicts
/// with its own writes, counts as applied.
#[tokio::test]
async fn a_lost_response_keeps_nothing_from_being_applied() {
    let repository = repository("app");
    let changes = history(&repository);
    for lost in 1.. {
        let (engine, store) = faulty_store(false).await;
        let ingest = ingest(&store);
        let mut number = 0;
        engine.fail(move |_| {
            number += 1;
            (number == lost).then_some(Fault::ResponseLost)
        });
        // One after the other, so that the requests are always the same.
        for message in messages(&changes) {
            assert_eq!(deliver(&ingest, vec![message], LONG).await, BTreeSet::new());
        }
        store.assert_equals_model(&repository, &changes).await;
        if engine.faults() == 0 {
            break;
        }
    }
}

/// Whichever request of a listing or lookup has a fault, once or from then on, the response is
/// complete or an error.
#[tokio::test]
async fn what_is_read_is_right_or_an_error() {
    let (engine, store) = faulty_store(true).await;
    let repository = repository("app");
    let changes = history(&repository);
    for change in &changes {
        store.writer.apply(change).await.unwrap();
    }
    let requested = model::identifiers(&changes);
    let expected = model::responses(&changes, &requested);
    for fault in Fault::ALL.into_iter().filter(|fault| fault.is_of_reads()) {
        let (mut happened, mut errors) = (0, 0);
        for goes_on in [false, true] {
            for first in 0.. {
                let (faults, requests) = (engine.faults(), engine.requests());
                let mut number = 0;
                engine.fail(move |_| {
                    number += 1;
                    let fails = number == first + 1 || (goes_on && number > first);
                    fails.then_some(fault)
                });
                match store.responses(&repository, &requested).await {
                    Ok(responses) => {
                        assert_eq!(responses, expected, "{fault:?} at request {first}")
                    }
                    Err(_) => {
                        assert!(goes_on, "{fault:?} at request {first} alone is an error");
                        assert!(!fault.is_partial_success(), "{fault:?} is no error");
                        errors += 1;
                    }
                }
                happened += engine.faults() - faults;
                if engine.requests() - requests <= first {
                    break;
                }
            }
        }
        assert!(happened > 0, "{fault:?} happened");
        assert_eq!(errors > 0, !fault.is_partial_success(), "{fault:?} is an error");
    }
}
