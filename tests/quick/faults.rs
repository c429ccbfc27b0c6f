//! What the table holds, and what is read from it, when DynamoDB throttles, fails, answers in part
//! or not at all, and when clocks are off.

mod engine;
mod messages;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsMessage, SqsMessageAttribute};
use aws_sdk_dynamodb::types::AttributeValue;
use catalog::change::Content;
use catalog::image::{Image, Scan};
use catalog::{Change, ChangeKind, Digest, RegistryId, Repository, Timestamp, Writer};
use end_to_end::harness::{
    REGISTRY, Random, Store, digest, histories, print, repository, tag, time,
};
use end_to_end::reference::model::{self, Answers};
use ingest_events::{Ingest, handler};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use subscriptions::Source;
use tokio::task::JoinSet;

use crate::faults::engine::{Fault, FaultyEngine};
use crate::faults::messages::{
    OCI_CONFIGURATION, OCI_IMAGE, OCI_INDEX, batch, message, source_of, subscriptions, text_message,
};

/// How long a batch may take where nothing is to end early.
const LONG: Duration = Duration::from_mins(1);

/// Hands messages to the function; tells the ids of those that it gives back.
async fn deliver(
    ingest: &Ingest,
    messages: Vec<SqsMessage>,
    time_left: Duration,
) -> BTreeSet<String> {
    let registry = RegistryId::parse(REGISTRY).unwrap();
    let deadline = tokio::time::Instant::now() + time_left;
    let response = handler::handle(ingest, &registry, None, batch(messages), deadline).await;
    let failures = response.batch_item_failures;
    let ids: BTreeSet<String> =
        failures.iter().map(|failure| failure.item_identifier.clone()).collect();
    assert_eq!(ids.len(), failures.len(), "no message is named twice");
    ids
}

fn ingest(store: &Store) -> Ingest {
    store.ingest_of(subscriptions())
}

/// An empty table, the engine of which fails when it is told to.
async fn faulty_store(remembers_tokens: bool) -> (FaultyEngine, Store) {
    let engine = FaultyEngine::new(remembers_tokens);
    let store = Store::new(engine.client()).await;
    (engine, store)
}

fn changes(repository: &Repository, kinds: impl IntoIterator<Item = ChangeKind>) -> Vec<Change> {
    let change = |(at, kind)| Change { repository: repository.clone(), time: time(at), kind };
    (1..).zip(kinds).map(change).collect()
}

fn push(number: u64, tag_name: &str) -> ChangeKind {
    ChangeKind::ImagePushed {
        digest: digest(number),
        tag: Some(tag_name).filter(|name| !name.is_empty()).map(tag),
        content: Content::default(),
    }
}

fn push_of_size(number: u64, tag_name: &str, size: i64) -> ChangeKind {
    let content = Content {
        manifest_media_type: Some(OCI_IMAGE.to_owned()),
        artifact_media_type: Some(OCI_CONFIGURATION.to_owned()),
        size_in_bytes: Some(size),
        ..Content::default()
    };
    with_content(push(number, tag_name), content)
}

fn push_of_index(
    number: u64,
    tag_name: &str,
    manifests: impl IntoIterator<Item = u64>,
) -> ChangeKind {
    let content = Content {
        manifest_media_type: Some(OCI_INDEX.to_owned()),
        manifests: Some(manifests.into_iter().map(digest).collect()),
        ..Content::default()
    };
    with_content(push(number, tag_name), content)
}

fn with_content(push: ChangeKind, content: Content) -> ChangeKind {
    match push {
        ChangeKind::ImagePushed { digest, tag, .. } => {
            ChangeKind::ImagePushed { digest, tag, content }
        }
        other => other,
    }
}

/// Messages of some changes each, delivered by a queue to a function whose store fails.
mod queue {
    use super::*;

    /// How many times the queue delivers what is not done before the store recovers.
    const FAULTY_ROUNDS: usize = 3;

    /// Histories are waiting more than they are working, so there are more threads than processors.
    const THREADS: u32 = 8;

    #[derive(Debug, Clone)]
    struct History {
        /// What each message tells.
        messages: Vec<(Source, Vec<(i64, ChangeKind)>)>,
        /// For the order of delivery, the size of batches, repetitions and faults.
        seed: u64,
        /// How many requests of a hundred fail.
        percent: u64,
        /// How long the function may work on a batch while the store fails.
        milliseconds: u64,
        /// How many batches are worked on at the same time.
        functions: usize,
        remembers_tokens: bool,
    }

    fn any_history() -> impl Strategy<Value = History> {
        let any_message = prop_oneof![
            vec((any_time(), ecr_kind()), 1..4).prop_map(|changes| (Source::Ecr, changes)),
            vec((any_time(), notified_kind()), 1..4)
                .prop_map(|changes| (Source::Distribution, changes)),
        ];
        let circumstances = (
            any::<u64>(),
            select(vec![3, 15, 40, 70]),
            select(vec![20, 100, 1000]),
            1..4_usize,
            any::<bool>(),
        );
        (vec(any_message, 1..12), circumstances).prop_map(
            |(messages, (seed, percent, milliseconds, functions, remembers_tokens))| History {
                messages,
                seed,
                percent,
                milliseconds,
                functions,
                remembers_tokens,
            },
        )
    }

    /// Few, so that many changes have the same.
    fn any_time() -> impl Strategy<Value = i64> {
        0..8_i64
    }

    fn any_tag() -> impl Strategy<Value = &'static str> {
        select(vec!["latest", "v1"])
    }

    fn ecr_kind() -> impl Strategy<Value = ChangeKind> {
        let any_digest = || (1..5_u64).prop_map(digest);
        let push = (1..5_u64, prop_oneof![4 => any_tag(), 1 => Just("")], any::<bool>()).prop_map(
            |(number, tag_name, has_media_types)| {
                let media_type = |name: &str| has_media_types.then(|| name.to_owned());
                let content = Content {
                    manifest_media_type: media_type(OCI_IMAGE),
                    artifact_media_type: media_type(OCI_CONFIGURATION),
                    ..Content::default()
                };
                with_content(push(number, tag_name), content)
            },
        );
        prop_oneof![
            8 => push,
            2 => any_digest().prop_map(|digest| ChangeKind::ImageDeleted { digest }),
            3 => (any_digest(), any_tag())
                .prop_map(|(digest, name)| ChangeKind::ImageUntagged { digest, tag: tag(name) }),
            1 => any_digest().prop_map(|digest| ChangeKind::ImageArchived { digest }),
            1 => (any_digest(), any_time()).prop_map(|(digest, at)| ChangeKind::ImageRestored {
                digest,
                activated_at: time(at)
            }),
            1 => (any_digest(), 0..3_i64).prop_map(|(digest, high)| ChangeKind::ImageScanned {
                digest,
                scan: Scan {
                    status: "COMPLETE".to_owned(),
                    finding_severity_counts: Some(BTreeMap::from([("HIGH".to_owned(), high)])),
                    completed_at: time(0),
                },
            }),
            1 => Just(ChangeKind::RepositoryCreated),
            2 => Just(ChangeKind::RepositoryDeleted),
        ]
    }

    /// Digest 4 is an index of 1 to 3, digest 3 one of 1 and 2.
    fn notified_kind() -> impl Strategy<Value = ChangeKind> {
        let tag_or_none = prop_oneof![4 => any_tag(), 1 => Just("")];
        let push =
            (1..5_u64, tag_or_none, 1..4_i64).prop_map(|(number, name, size)| match number {
                4 => push_of_index(number, name, 1..=3),
                3 => push_of_index(number, name, 1..=2),
                _ => push_of_size(number, name, size),
            });
        prop_oneof![
            8 => push,
            2 => (1..5_u64).prop_map(|number| ChangeKind::ImageDeleted { digest: digest(number) }),
            1 => (1..5_u64).prop_map(|number| ChangeKind::ImagePulled { digest: digest(number) }),
            1 => any_tag().prop_map(|name| ChangeKind::TagDeleted { tag: tag(name) }),
        ]
    }

    impl History {
        fn changes(&self, repository: &Repository) -> Vec<Vec<Change>> {
            let change = |(at, kind): &(i64, ChangeKind)| {
                let mut kind = kind.clone();
                if let ChangeKind::ImageScanned { scan, .. } = &mut kind {
                    scan.completed_at = time(*at);
                }
                Change { repository: repository.clone(), time: time(*at), kind }
            };
            self.messages.iter().map(|(_, changes)| changes.iter().map(change).collect()).collect()
        }

        /// Delivers everything until nothing is given back. Tells how many faults there were, and
        /// how many messages were given back.
        async fn play(&self, repository: &Repository) -> (usize, usize) {
            let (engine, store) = faulty_store(self.remembers_tokens).await;
            let changes = self.changes(repository);
            let mut random = Random(self.seed);
            let mut waiting: BTreeMap<String, SqsMessage> = BTreeMap::new();
            for (number, (changes, (source, _))) in changes.iter().zip(&self.messages).enumerate() {
                // The queue may deliver a message twice, whatever became of it the first time.
                for copy in 0..=random.below(4) / 3 {
                    let id = format!("{number} {copy}");
                    waiting.insert(id.clone(), message(&id, *source, changes));
                }
            }
            engine.fail_at_random(Random(random.next()), self.percent);
            let mut given_back = 0;
            for round in 0..=FAULTY_ROUNDS {
                let time_left = if round == FAULTY_ROUNDS {
                    engine.heal();
                    LONG
                } else {
                    Duration::from_millis(self.milliseconds)
                };
                let failed = self.deliver_all(&store, &waiting, &mut random, time_left).await;
                waiting.retain(|id, _| failed.contains(id));
                given_back += waiting.len();
            }
            assert!(waiting.is_empty(), "not applied although nothing fails: {:?}", waiting.keys());
            store.assert_equals_model(repository, &changes.concat()).await;
            (engine.faults(), given_back)
        }

        /// Delivers messages in batches, in any order, and some batches at the same time.
        async fn deliver_all(
            &self,
            store: &Store,
            waiting: &BTreeMap<String, SqsMessage>,
            random: &mut Random,
            time_left: Duration,
        ) -> BTreeSet<String> {
            let mut ordered: Vec<(u64, SqsMessage)> =
                waiting.values().map(|message| (random.next(), message.clone())).collect();
            ordered.sort_by_key(|(place, _)| *place);
            let mut messages = ordered.into_iter().map(|(_, message)| message);
            let mut batches = Vec::new();
            while messages.len() > 0 {
                let size = usize::try_from(1 + random.below(10)).unwrap();
                batches.push(messages.by_ref().take(size).collect::<Vec<_>>());
            }
            let mut functions = JoinSet::new();
            let mut failed = BTreeSet::new();
            for batch in batches {
                if functions.len() == self.functions {
                    failed.extend(functions.join_next().await.unwrap().unwrap());
                }
                let ingest = ingest(store);
                functions.spawn(async move { deliver(&ingest, batch, time_left).await });
            }
            failed.extend(functions.join_all().await.into_iter().flatten());
            failed
        }
    }

    /// What is not given back is done: it does not come again, and in the end nothing is missing.
    #[test]
    fn whatever_fails_what_is_not_given_back_is_applied() {
        let histories = (histories() * 3 / 20).max(1);
        let started = Instant::now();
        let (faults, given_back, number) =
            (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let check = || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let configuration = Config {
                cases: histories.div_ceil(THREADS),
                failure_persistence: None,
                max_shrink_iters: 100,
                ..Config::default()
            };
            let result = TestRunner::new(configuration).run(&any_history(), |history| {
                let name = format!("history-{}", number.fetch_add(1, Ordering::Relaxed));
                let figures = runtime.block_on(history.play(&repository(&name)));
                faults.fetch_add(figures.0, Ordering::Relaxed);
                given_back.fetch_add(figures.1, Ordering::Relaxed);
                Ok(())
            });
            if let Err(failure) = result {
                panic!("{failure}");
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(check);
            }
        });
        let (faults, given_back) = (faults.into_inner(), given_back.into_inner());
        print(format!(
            "faults: {} histories of messages in {:.1?}: {faults} requests failed, {given_back} messages given back",
            number.into_inner(),
            started.elapsed()
        ));
        assert!(faults > 0 && given_back > 0, "something failed");
    }
}

/// One of the batch's repositories cannot be written, or one digest.
mod batches {
    use super::*;

    #[tokio::test]
    async fn just_what_cannot_be_written_is_given_back() {
        let mut tests = JoinSet::new();
        for fault in [
            Fault::ServerError,
            Fault::NotConnected,
            Fault::TimedOut,
            Fault::Throttled,
            Fault::ThroughputExceeded,
            Fault::Cancelled("ConditionalCheckFailed"),
            Fault::Cancelled("ThrottlingError"),
        ] {
            tests.spawn(check(fault, "/broken", "of the broken repository"));
            tests.spawn(check(
                fault,
                digest(66).as_str().to_owned().leak(),
                "of the broken digest",
            ));
        }
        tests.join_all().await;
    }

    /// All requests fail in which there is a certain text, which those of two messages have.
    async fn check(fault: Fault, text: &'static str, broken: &'static str) {
        let (engine, store) = faulty_store(true).await;
        engine.fail(move |request| request.text.contains(text).then_some(fault));
        let ingest = ingest(&store);
        let good: Vec<Vec<Change>> = (0..4)
            .map(|number| {
                let kinds = [push(1, "latest"), push_of_size(2, "latest", 2000), push(3, "v1")];
                changes(&repository(&format!("good-{number}")), kinds)
            })
            .collect();
        let broken_repository = changes(&repository("broken"), [push(4, "v1")]);
        let broken_digest = changes(&repository("digests"), [push(66, "v1"), push(5, "v2")]);
        let mut messages: Vec<SqsMessage> = (0..)
            .zip(&good)
            .flat_map(|(number, changes)| {
                let [one, two, three] = &changes[..] else { panic!("three changes") };
                [
                    message(&format!("{number}: 1"), Source::Ecr, std::slice::from_ref(one)),
                    message(
                        &format!("{number}: 2"),
                        Source::Distribution,
                        std::slice::from_ref(two),
                    ),
                    message(&format!("{number}: 3"), Source::Ecr, std::slice::from_ref(three)),
                ]
            })
            .collect();
        messages.extend([
            message("of the broken repository", Source::Ecr, &broken_repository),
            message("of the broken digest", Source::Ecr, &broken_digest[..1]),
            message("beside the broken digest", Source::Ecr, &broken_digest[1..]),
            text_message("poison", &json!({ "detail-type": "ECR Image Action" }), None),
            text_message("unknown subscription", &json!({ "events": [] }), Some("carrier pigeon")),
        ]);
        let failed = deliver(&ingest, messages.clone(), LONG).await;
        assert_eq!(
            failed,
            BTreeSet::from([broken, "poison", "unknown subscription"].map(str::to_owned))
        );
        engine.heal();
        for changes in &good {
            store.assert_equals_model(&changes[0].repository, changes).await;
        }
        let of_digests =
            if broken == "of the broken digest" { &broken_digest[1..] } else { &broken_digest };
        store.assert_equals_model(&broken_digest[0].repository, of_digests).await;

        messages.retain(|message| failed.contains(message.message_id.as_ref().unwrap()));
        let failed = deliver(&ingest, messages, LONG).await;
        assert_eq!(failed, BTreeSet::from(["poison", "unknown subscription"].map(str::to_owned)));
        store.assert_equals_model(&broken_repository[0].repository, &broken_repository).await;
        store.assert_equals_model(&broken_digest[0].repository, &broken_digest).await;
    }

    /// What a registry is to be asked later is not lost, either.
    #[tokio::test]
    async fn a_question_that_cannot_be_kept_gives_its_message_back() {
        // Nobody listens there.
        let nowhere = format!("http://127.0.0.1:{}/v2/app", end_to_end::harness::free_port());
        let notification = json!({ "events": [{
            "timestamp": time(1),
            "action": "push",
            "target": {
                "mediaType": OCI_IMAGE,
                "digest": digest(1),
                "repository": "app",
                "tag": "v1",
                "url": nowhere,
            },
        }] });
        let message = text_message("push", &notification, Some("registry"));
        let once = ["push".to_owned()];
        for fault in [Fault::ServerError, Fault::Conflict, Fault::Throttled, Fault::AnswerLost] {
            let (engine, store) = faulty_store(true).await;
            let ingest = ingest(&store);
            engine.fail(move |request| (request.operation == "PutItem").then_some(fault));
            assert_eq!(
                deliver(&ingest, vec![message.clone()], LONG).await,
                BTreeSet::from(once.clone())
            );
            assert!(engine.faults() > 0);
            engine.heal();
            assert_eq!(store.answers(&repository("app"), &[]).await.unwrap(), None, "{fault:?}");
            assert_eq!(deliver(&ingest, vec![message.clone()], LONG).await, BTreeSet::new());
            let items =
                store.table.client.scan().table_name(&store.table.name).send().await.unwrap();
            let questions =
                items.items().iter().filter(|item| item.contains_key("question")).count();
            assert_eq!(questions, 1, "{fault:?}");
            let kind = with_content(
                push(1, "v1"),
                Content { manifest_media_type: Some(OCI_IMAGE.to_owned()), ..Content::default() },
            );
            let expected = changes(&repository("app"), [kind]);
            store.assert_equals_model(&repository("app"), &expected).await;
        }
    }
}

/// Each fault alone, for a while.
mod kinds {
    use super::*;

    /// A history in which everything is touched that a change can touch.
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

    fn messages(changes: &[Change]) -> Vec<SqsMessage> {
        let message = |(number, change): (usize, &Change)| {
            message(&number.to_string(), source_of(&change.kind), std::slice::from_ref(change))
        };
        changes.iter().enumerate().map(message).collect()
    }

    /// Whatever the first requests meet, once it is over everything is applied.
    #[tokio::test]
    async fn what_a_fault_kept_from_being_applied_is_applied_after_it() {
        let mut tests = JoinSet::new();
        // A conflict is a fault of writes of one item, of which there are none here.
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
        // A deletion of another repository that comes late has to find the images that are there
        // again.
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
            waiting.retain(|message| failed.contains(message.message_id.as_ref().unwrap()));
            deliveries += 1;
            assert!(deliveries <= first_requests + 1, "{fault:?} comes to an end");
        }
        if !fault.is_part_of_an_answer() {
            assert_eq!(engine.faults(), first_requests, "{fault:?} happened");
        }
        assert!(engine.faults() > 0, "{fault:?} happened");
        store.assert_equals_model(&repository, &changes).await;
        store.assert_equals_model(&deletion[0].repository, &deletion).await;
    }

    /// Whichever request's answer is lost, nothing is given back: a transaction that is sent again,
    /// and meets its own writes, is seen to be done.
    #[tokio::test]
    async fn a_lost_answer_keeps_nothing_from_being_applied() {
        let repository = repository("app");
        let changes = history(&repository);
        for lost in 1.. {
            let (engine, store) = faulty_store(false).await;
            let ingest = ingest(&store);
            let mut number = 0;
            engine.fail(move |_| {
                number += 1;
                (number == lost).then_some(Fault::AnswerLost)
            });
            // One after the other, so that there are always the same requests.
            for message in messages(&changes) {
                assert_eq!(deliver(&ingest, vec![message], LONG).await, BTreeSet::new());
            }
            store.assert_equals_model(&repository, &changes).await;
            if engine.faults() == 0 {
                break;
            }
        }
    }

    /// Whichever request of a listing or a look-up a fault meets, once or from then on, there is
    /// the right answer or an error, never less than the whole.
    #[tokio::test]
    async fn what_is_read_is_right_or_an_error() {
        let (engine, store) = faulty_store(true).await;
        let repository = repository("app");
        let changes = history(&repository);
        for change in &changes {
            store.writer.apply(change).await.unwrap();
        }
        let asked = model::identifiers(&changes);
        let expected = model::answers(&changes, &asked);
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
                    match store.answers(&repository, &asked).await {
                        Ok(answers) => {
                            assert_eq!(answers, expected, "{fault:?} at request {first}")
                        }
                        Err(_) => {
                            assert!(goes_on, "{fault:?} at request {first} alone is an error");
                            assert!(!fault.is_part_of_an_answer(), "{fault:?} is no error");
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
            assert_eq!(errors > 0, !fault.is_part_of_an_answer(), "{fault:?} is an error");
        }
    }
}

/// The function ends at any request.
mod cut_off {
    use super::*;

    #[tokio::test]
    async fn a_push_that_moves_a_tag() {
        let before = [push(1, "latest"), push(1, "v1"), push(2, "v2")];
        let (moved, later) = (push(2, "latest"), push(1, "v2"));
        assert_whole_or_not_at_all("a push that moves a tag", &before, moved, later).await;
    }

    #[tokio::test]
    async fn a_push_of_an_index() {
        let before = [push_of_size(1, "", 100), push_of_size(2, "", 200), push(3, "latest")];
        let (index, later) = (push_of_index(4, "latest", [1, 2, 5]), push_of_size(5, "", 300));
        assert_whole_or_not_at_all("a push of an index", &before, index, later).await;
    }

    /// Of so many manifests that they do not fit into one transaction.
    #[tokio::test]
    async fn a_push_of_a_large_index() {
        let before = [push_of_size(1, "", 100), push_of_size(150, "", 200), push(300, "latest")];
        let (index, later) = (push_of_index(400, "latest", 1..=150), push_of_size(75, "", 300));
        assert_whole_or_not_at_all("a push of an index of 150 manifests", &before, index, later)
            .await;
    }

    #[tokio::test]
    async fn a_push_of_what_an_index_lists() {
        let before = [push_of_index(3, "latest", [1, 2]), push_of_size(1, "", 100)];
        let (manifest, later) = (push_of_size(2, "v1", 200), push_of_index(4, "", [3]));
        let all = changes(&repository("app"), before.into_iter().chain([manifest, later]));
        // The index follows the manifest, in a transaction of its own.
        cut_off_anywhere("a push of what an index lists", &all, false).await;
    }

    #[tokio::test]
    async fn a_deletion_of_an_image() {
        // More tags than expire at once.
        let tags = (0..45).map(|number| push(1, &format!("v{number}")));
        let before: Vec<ChangeKind> = tags.chain([push(2, "latest")]).collect();
        let deletion = ChangeKind::ImageDeleted { digest: digest(1) };
        assert_whole_or_not_at_all("a deletion of an image", &before, deletion, push(1, "v44"))
            .await;
    }

    #[tokio::test]
    async fn a_deletion_of_a_tag_by_which_an_image_goes() {
        let before = [push(1, "v1"), push(2, "latest")];
        let deletion = ChangeKind::ImageUntagged { digest: digest(1), tag: tag("v1") };
        assert_whole_or_not_at_all("a deletion of the last tag", &before, deletion, push(1, ""))
            .await;
    }

    #[tokio::test]
    async fn a_deletion_of_a_repository() {
        let before =
            [push(1, "v1"), push(2, "v2"), push(3, ""), push_of_index(4, "latest", [1, 2])];
        let deletion = ChangeKind::RepositoryDeleted;
        let mut all =
            changes(&repository("app"), before.into_iter().chain([deletion, push(2, "v3")]));
        all.iter_mut().zip(0..).for_each(|(change, at)| change.time = time(at));
        cut_off_anywhere("a deletion of a repository", &all, false).await;
    }

    /// Of one that was known to be there again: images that were pushed again since are there all
    /// the time.
    #[tokio::test]
    async fn a_deletion_of_a_repository_that_comes_late() {
        let before = [push(1, "v1"), push(2, "v2"), push(3, ""), push(4, "v4")];
        let repository = repository("app");
        let mut all = changes(&repository, before);
        let again = changes(&repository, [push(1, "v1"), push(2, "v3"), push(3, "latest")]);
        all.extend(again.into_iter().map(|change| Change { time: time(100), ..change }));
        all.push(Change { time: time(50), kind: ChangeKind::RepositoryDeleted, ..all[0].clone() });
        all.push(Change { time: time(101), kind: push(2, "v4"), ..all[0].clone() });
        cut_off_anywhere("a deletion of a repository that comes late", &all, false).await;
    }

    /// Cuts off a change after each of its requests, the answer to the last one being lost. What is
    /// read then is what it was before the change, or is after it; when the message comes again, it
    /// is what is after it, and so is what follows from a later change.
    async fn assert_whole_or_not_at_all(
        what: &str,
        before: &[ChangeKind],
        kind: ChangeKind,
        later: ChangeKind,
    ) {
        let all = changes(&repository("app"), before.iter().cloned().chain([kind, later]));
        cut_off_anywhere(what, &all, true).await;
    }

    /// Cuts off the last change but one.
    async fn cut_off_anywhere(what: &str, all: &[Change], whole_at_once: bool) {
        let (up_to_change, later) = (&all[..all.len() - 1], &all[all.len() - 1]);
        let (before, change) = (&all[..all.len() - 2], &all[all.len() - 2]);
        let repository = change.repository.clone();
        let asked = model::identifiers(all);
        let states = [model::answers(before, &asked), model::answers(up_to_change, &asked)];
        let message = message("change", source_of(&change.kind), std::slice::from_ref(change));
        let mut cuts = 0;
        for requests in 0.. {
            let (engine, store) = faulty_store(true).await;
            for change in before {
                store.writer.apply(change).await.unwrap();
            }
            let mut number = 0;
            engine.fail(move |_| {
                number += 1;
                match number {
                    number if number < requests => None,
                    number if number == requests => Some(Fault::AnswerLost),
                    _ => Some(Fault::NotConnected),
                }
            });
            let ingest = ingest(&store);
            let failed = deliver(&ingest, vec![message.clone()], LONG).await;
            engine.heal();
            let cut = store.answers(&repository, &asked).await.unwrap();
            assert!(
                states.contains(&cut) || (!whole_at_once && is_between(&states, cut.as_ref())),
                "{what}: the end after {requests} requests leaves {cut:#?}"
            );
            if failed.is_empty() {
                assert_eq!(cut, states[1], "{what} was not given back after {requests} requests");
                break;
            }
            cuts += 1;
            assert_eq!(deliver(&ingest, vec![message.clone()], LONG).await, BTreeSet::new());
            store.assert_equals_model(&repository, up_to_change).await;
            store.writer.apply(later).await.unwrap();
            store.assert_equals_model(&repository, all).await;
        }
        print(format!("faults: {what}: whole or not at all after {cuts} cuts"));
        assert!(cuts > 4, "{what} was cut off");
    }
}

/// Whether each image is as it was before a change or as it is after it, and those that are there
/// before and after are there.
fn is_between([before, after]: &[Option<Answers>; 2], cut: Option<&Answers>) -> bool {
    let images = |answers: Option<&Answers>| -> BTreeMap<Digest, Image> {
        let listed = answers.and_then(|answers| answers.listed.first());
        let images = listed.map(|(_, images)| images.clone()).unwrap_or_default();
        images.into_iter().map(|image| (image.image_digest.clone(), image)).collect()
    };
    let (before, after, cut) = (images(before.as_ref()), images(after.as_ref()), images(cut));
    let is_one_of_two = |(digest, image): (&Digest, &Image)| {
        before.get(digest) == Some(image) || after.get(digest) == Some(image)
    };
    cut.iter().all(is_one_of_two)
        && before
            .keys()
            .filter(|digest| after.contains_key(*digest))
            .all(|digest| cut.contains_key(digest))
}

/// Clocks that are off: the catalog's, and those of registries.
mod clocks {
    use super::*;

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

    /// All items, in order; of those that expire, not when.
    async fn items(store: &Store) -> Vec<HashMap<String, AttributeValue>> {
        let scan = store.table.client.scan().table_name(&store.table.name).send().await.unwrap();
        let mut items = scan.items.unwrap();
        for item in &mut items {
            if let Some(expires_at) = item.get_mut("expiresAt") {
                *expires_at = AttributeValue::Bool(true);
            }
        }
        items.sort_by_key(|item| item["sort"].as_s().unwrap().clone());
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
            let mut attribute = SqsMessageAttribute::default();
            attribute.string_value = Some(received_at.to_string());
            message.message_attributes.insert("receivedAt".to_owned(), attribute);
            message
        });
        assert_eq!(deliver(&ingest, messages.collect(), LONG).await, BTreeSet::new());
        let bounded: Vec<Change> =
            changes.into_iter().map(|change| change.received_at(received_at)).collect();
        store.assert_equals_model(&repository, &bounded).await;
    }
}
