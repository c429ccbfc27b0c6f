//! Comparisons of registries of any size, message by message.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use catalog::change::Content;
use catalog::{Change, ChangeKind, RegistryId};
use end_to_end::harness::{REGISTRY, digest, print, repository};
use reconcile::handler::Message;
use reconcile::{Followed, ToCompare};

use super::{Simulation, minutes, simulated_name};

/// How long the function may take, as `template.yaml` has it.
const TIMEOUT: Duration = Duration::from_secs(300);

/// From the schedule's one message, through a message for each repository; some messages come
/// twice, and two are followed at a time. `REPOSITORIES` and `IMAGES`, of each of them, are set in
/// the environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_of_any_size_is_compared_through_the_queue() {
    let number = |name: &str, otherwise: usize| {
        std::env::var(name).map_or(otherwise, |number| number.parse().unwrap())
    };
    let repositories = number("REPOSITORIES", 300);
    let simulation = Simulation::new(repositories, number("IMAGES", 1)).await;
    let handler = simulation.handler();
    let started = Instant::now();
    simulation.waiting.lock().unwrap().push_back(r#"{"compare":"registries"}"#.to_owned());
    let followed: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let (longest, deliveries) = (Mutex::new(Duration::ZERO), Mutex::new(0_usize));
    let follow = async || {
        loop {
            let Some(body) = simulation.waiting.lock().unwrap().pop_front() else { return };
            let is_repeated = {
                let mut deliveries = deliveries.lock().unwrap();
                *deliveries += 1;
                // What lists the registry is not repeated here, so that what follows can be
                // counted.
                *deliveries % 97 == 0 && body.contains("repository")
            };
            for _ in 0..=usize::from(is_repeated) {
                let started = Instant::now();
                assert!(simulation.deliver(&handler, &body, TIMEOUT).await, "{body}");
                let mut longest = longest.lock().unwrap();
                *longest = started.elapsed().max(*longest);
            }
            *followed.lock().unwrap().entry(body).or_default() += 1;
        }
    };
    follow().await;
    futures_util::join!(follow(), follow());
    let longest = *longest.lock().unwrap();
    let images = simulation.images().await;
    print(format!(
        "{repositories} repositories with {images} images through the queue: {:.0?}, the longest run {longest:.1?}",
        started.elapsed()
    ));
    assert_eq!(images, repositories * simulation.images);
    let followed = followed.into_inner().unwrap();
    assert_eq!(followed.len(), 2 + repositories);
    assert!(followed.values().all(|times| *times == 1), "each repository is one message");
    assert!(longest < TIMEOUT);
}

/// A repository that is larger than one run has time for is put back, and each run finds less to
/// do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_takes_long_is_put_back_until_it_is_done() {
    let simulation = Simulation::new(1, 3000).await;
    let handler = simulation.handler();
    let listed = ToCompare { name: simulated_name(0), prune: true, after: None };
    let message = Message::Repository { from: "ecr".to_owned(), listed: listed.clone() };
    let message = serde_json::to_string(&message).unwrap();
    let mut runs = vec![0];
    let mut put_back = 0;
    simulation.waiting.lock().unwrap().push_back(message.clone());
    while simulation.waiting.lock().unwrap().pop_front().is_some() {
        let is_done = simulation.deliver(&handler, &message, Duration::from_millis(700)).await;
        let images = simulation.images().await;
        assert!(images >= *runs.last().unwrap(), "{runs:?}");
        runs.push(images);
        put_back += simulation.waiting.lock().unwrap().len();
        if !is_done {
            // Where nothing could be done in time, the queue delivers it again.
            simulation.waiting.lock().unwrap().push_back(message.clone());
        }
    }
    assert_eq!(runs.last(), Some(&3000));
    assert!(put_back > 0, "{runs:?}");
    let followed = Followed::ecr(RegistryId::parse(REGISTRY).unwrap());
    assert_eq!(handler.reconcile.compare(&followed, &listed).await.unwrap().differences, []);
}

/// An image that no item has room for is left out, and nothing else.
#[tokio::test]
async fn what_cannot_be_repaired_does_not_keep_the_rest_from_it() {
    let simulation = Simulation::new(1, 0).await;
    let repository = repository(&simulated_name(0));
    let pushed = |number: u64, manifests: Option<Vec<_>>| Change {
        repository: repository.clone(),
        time: minutes(0),
        kind: ChangeKind::ImagePushed {
            digest: digest(number),
            tag: None,
            content: Content { manifests, ..Content::default() },
        },
    };
    let too_many = (100..2000).map(digest).collect();
    let differences = [pushed(1, None), pushed(2, Some(too_many)), pushed(3, None)];
    let mut outcomes = simulation.handler().reconcile.apply(&differences, None).await.unwrap();
    outcomes.sort_by_key(|(place, _)| *place);
    let outcomes: Vec<Option<String>> =
        outcomes.into_iter().map(|(_, outcome)| outcome.err()).collect();
    let reason = catalog::table::StoreError::ItemTooLarge.to_string();
    assert_eq!(outcomes, [None, Some(reason), None]);
    assert_eq!(simulation.images().await, 2);
}

/// A message that the queue does not take is no reason to lose a repository: the one that it came
/// from is delivered again.
#[tokio::test]
async fn what_the_queue_does_not_take_is_sent_again() {
    let simulation = Simulation::new(30, 1).await;
    let handler = simulation.handler();
    let registry = r#"{"compare":"registry","from":"ecr"}"#;
    simulation.is_refusing.store(true, Ordering::Relaxed);
    assert!(!simulation.deliver(&handler, registry, TIMEOUT).await);
    assert!(simulation.deliver(&handler, registry, TIMEOUT).await);
    let names: BTreeSet<String> = simulation.waiting.lock().unwrap().drain(..).collect();
    assert_eq!(names.len(), 30);
}
