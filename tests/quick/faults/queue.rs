//! Whatever fails, a message that is not delivered again is applied.

use ingest_events::batch::ReceivedMessage;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use catalog::change::Content;
use catalog::image::Scan;
use catalog::{Change, ChangeKind, Repository, RepositoryStatement};
use end_to_end::harness::{Random, Store, digest, histories, print, repository, tag, time};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use registries::Source;
use tokio::task::JoinSet;

use super::{LONG, deliver, faulty_store, ingest, push, push_of_index, push_of_size, with_content};
use crate::faults::messages::{OCI_CONFIGURATION, OCI_IMAGE, message};

/// How often the queue delivers failed messages before the store recovers.
const FAULTY_ROUNDS: usize = 3;

/// Histories mostly wait, so there are more threads than processors.
const THREADS: u32 = 8;

#[derive(Debug, Clone)]
struct History {
    /// The source and the changes of each message.
    messages: Vec<(Source, Vec<(i64, ChangeKind)>)>,
    /// The seed of the order of delivery, of the size of batches, of repetitions and of faults.
    seed: u64,
    /// The percentage of requests that fail.
    percent: u64,
    /// The time limit of a batch while the store fails.
    milliseconds: u64,
    /// The number of concurrent batches.
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

/// Few times, so that many changes have the same time.
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
            scan: Scan::complete(time(0), Some(BTreeMap::from([("HIGH".to_owned(), high)]))),
        }),
        1 => Just(ChangeKind::RepositoryStated(RepositoryStatement::default())),
        2 => Just(ChangeKind::RepositoryDeleted),
    ]
}

/// Digest 4 is an index of 1 to 3, digest 3 one of 1 and 2.
fn notified_kind() -> impl Strategy<Value = ChangeKind> {
    let tag_or_none = prop_oneof![4 => any_tag(), 1 => Just("")];
    let push = (1..5_u64, tag_or_none, 1..4_i64).prop_map(|(number, name, size)| match number {
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
            if let ChangeKind::ImageScanned {
                scan: Scan { findings: Some(findings), .. }, ..
            } = &mut kind
            {
                findings.completed_at = Some(time(*at));
            }
            Change { repository: repository.clone(), time: time(*at), kind }
        };
        self.messages.iter().map(|(_, changes)| changes.iter().map(change).collect()).collect()
    }

    /// Delivers all messages until none fails. Returns the number of faults, and of messages that
    /// were delivered again.
    async fn play(&self, repository: &Repository) -> (usize, usize) {
        let (engine, store) = faulty_store(self.remembers_tokens).await;
        let changes = self.changes(repository);
        let mut random = Random(self.seed);
        let mut waiting: BTreeMap<String, ReceivedMessage> = BTreeMap::new();
        for (number, (changes, (source, _))) in changes.iter().zip(&self.messages).enumerate() {
            // The queue may deliver a message twice, whatever the outcome of the first delivery.
            for copy in 0..=random.below(4) / 3 {
                let id = format!("{number} {copy}");
                waiting.insert(id.clone(), message(&id, *source, changes));
            }
        }
        engine.fail_at_random(Random(random.next()), self.percent);
        let mut redelivered = 0;
        for round in 0..=FAULTY_ROUNDS {
            let time_left = if round == FAULTY_ROUNDS {
                engine.heal();
                LONG
            } else {
                Duration::from_millis(self.milliseconds)
            };
            let failed = self.deliver_all(&store, &waiting, &mut random, time_left).await;
            waiting.retain(|id, _| failed.contains(id));
            redelivered += waiting.len();
        }
        assert!(waiting.is_empty(), "not applied although nothing fails: {:?}", waiting.keys());
        store.assert_equals_model(repository, &changes.concat()).await;
        (engine.faults(), redelivered)
    }

    /// Delivers messages in batches, in any order, and some batches concurrently.
    async fn deliver_all(
        &self,
        store: &Store,
        waiting: &BTreeMap<String, ReceivedMessage>,
        random: &mut Random,
        time_left: Duration,
    ) -> BTreeSet<String> {
        let mut ordered: Vec<(u64, ReceivedMessage)> =
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

/// A message that did not fail is applied: it is not delivered again, and no change is missing at
/// the end.
#[test]
fn whatever_fails_what_is_not_delivered_again_is_applied() {
    let histories = (histories() * 3 / 20).max(1);
    let started = Instant::now();
    let (faults, redelivered, number) =
        (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let check = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
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
            redelivered.fetch_add(figures.1, Ordering::Relaxed);
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
    let (faults, redelivered) = (faults.into_inner(), redelivered.into_inner());
    print(format!(
        "faults: {} histories of messages in {:.1?}: {faults} requests failed, {redelivered} messages given back",
        number.into_inner(),
        started.elapsed()
    ));
    assert!(faults > 0 && redelivered > 0, "something failed");
}
