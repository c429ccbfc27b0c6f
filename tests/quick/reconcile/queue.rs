//! Reconciliation of registries of any size, message by message.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use catalog::change::Content;
use catalog::{Change, ChangeKind, RegistryId, Service};
use end_to_end::harness::stand_in::{StandIn, image_manifest};
use end_to_end::harness::{REGISTRY, digest, print, repository};
use reconcile::ReconcileJob;
use reconcile::job::{Jobs, Message};
use registries::{Registries, RegistryTarget, Subscriptions};
use secret::Secret;
use serde_json::json;

use super::{Simulation, listed, minutes, simulated_name};

/// The function's timeout in `template.yaml`.
const TIMEOUT: Duration = Duration::from_secs(300);

/// From the schedule's one message, through a message for each repository. Some messages are
/// delivered twice, and two are processed at a time. `REPOSITORIES`, and `IMAGES` per repository,
/// are set in the environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_of_any_size_is_reconciled_through_the_queue() {
    let number = |name: &str, otherwise: usize| {
        std::env::var(name).map_or(otherwise, |number| number.parse().unwrap())
    };
    let repositories = number("REPOSITORIES", 300);
    let simulation = Simulation::new(repositories, number("IMAGES", 1)).await;
    let jobs = simulation.jobs();
    let started = Instant::now();
    simulation.waiting.lock().unwrap().push_back(r#"{"reconcile":"registries"}"#.to_owned());
    let processed: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let (longest, deliveries) = (Mutex::new(Duration::ZERO), Mutex::new(0_usize));
    let process = async || {
        loop {
            let Some(body) = simulation.waiting.lock().unwrap().pop_front() else { return };
            let is_repeated = {
                let mut deliveries = deliveries.lock().unwrap();
                *deliveries += 1;
                // The message that lists the registry is not repeated here, so that the messages of
                // repositories can be counted.
                *deliveries % 97 == 0 && body.contains("repository")
            };
            for _ in 0..=usize::from(is_repeated) {
                let started = Instant::now();
                assert!(simulation.deliver(&jobs, &body, TIMEOUT).await, "{body}");
                let mut longest = longest.lock().unwrap();
                *longest = started.elapsed().max(*longest);
            }
            *processed.lock().unwrap().entry(body).or_default() += 1;
        }
    };
    process().await;
    futures_util::join!(process(), process());
    let longest = *longest.lock().unwrap();
    let images = simulation.images().await;
    print(format!(
        "{repositories} repositories with {images} images through the queue: {:.0?}, the longest run {longest:.1?}",
        started.elapsed()
    ));
    assert_eq!(images, repositories * simulation.images);
    let processed = processed.into_inner().unwrap();
    assert_eq!(processed.len(), 2 + repositories);
    assert!(processed.values().all(|times| *times == 1), "each repository is one message");
    assert!(longest < TIMEOUT);
}

/// A repository that takes longer than one run is sent to the queue again, and each run has less to
/// do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_takes_long_is_put_back_until_it_is_done() {
    let simulation = Simulation::new(1, 3000).await;
    let jobs = simulation.jobs();
    let listed = ReconcileJob { name: simulated_name(0), prune: true, after: None };
    let message = Message::Repository { from: "ecr".to_owned(), job: listed.clone() };
    let message = serde_json::to_string(&message).unwrap();
    let mut runs = vec![0];
    let mut put_back = 0;
    simulation.waiting.lock().unwrap().push_back(message.clone());
    while simulation.waiting.lock().unwrap().pop_front().is_some() {
        let is_done = simulation.deliver(&jobs, &message, Duration::from_millis(700)).await;
        let images = simulation.images().await;
        assert!(images >= *runs.last().unwrap(), "{runs:?}");
        runs.push(images);
        put_back += simulation.waiting.lock().unwrap().len();
        if !is_done {
            // If nothing could be done in time, the queue delivers the message again.
            simulation.waiting.lock().unwrap().push_back(message.clone());
        }
    }
    assert_eq!(runs.last(), Some(&3000));
    assert!(put_back > 0, "{runs:?}");
    let target = RegistryTarget::from_account(Service::Ecr, RegistryId::parse(REGISTRY).unwrap());
    assert_eq!(jobs.reconcile.find_drift(&target, &listed).await.unwrap().changes, []);
}

/// As many runs as a repository of 100,000 tags takes, each of which sends the message of the next
/// one: more than Lambda allows a function unless it has `RecursiveLoop: Allow`. `TAGS` is set in
/// the environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_with_many_tags_is_reconciled_in_a_hundred_runs() {
    const RUNS: usize = 100;
    let tags: usize = std::env::var("TAGS").map_or(1000, |tags| tags.parse().unwrap());
    let names: Vec<String> = (0..tags).map(|number| format!("v{number:06}")).collect();
    let manifests: Vec<_> = (1..).map(image_manifest).zip(&names).collect();
    let manifests: Vec<_> =
        manifests.into_iter().map(|(manifest, name)| (name.as_str(), manifest)).collect();
    let registry = StandIn::start("team/app", &manifests).await;
    let simulation = Simulation::new(0, 0).await;
    let subscription = json!({
        "id": "mirror", "source": "distribution", "registryId": REGISTRY,
        "credential": { "bearer": "token" }, "registryUrl": registry.url,
    });
    let subscriptions = Subscriptions::parse(&json!([subscription]).to_string()).unwrap();
    let subscriptions = Arc::new(Secret::known(subscriptions));
    let mut jobs = Jobs { subscriptions: Arc::clone(&subscriptions), ..simulation.jobs() };
    jobs.reconcile.registries = Registries::new(subscriptions, None);
    jobs.reconcile.max_tags = tags / RUNS;
    let started = Instant::now();
    let first = r#"{"reconcile":"repository","from":"mirror","name":"team/app","prune":false}"#;
    let mut next = Some(first.to_owned());
    let (mut runs, mut longest) = (0, Duration::ZERO);
    while let Some(body) = next {
        let started = Instant::now();
        assert!(simulation.deliver(&jobs, &body, TIMEOUT).await, "{body}");
        longest = started.elapsed().max(longest);
        runs += 1;
        next = simulation.waiting.lock().unwrap().pop_front();
        assert!(simulation.waiting.lock().unwrap().is_empty(), "a run sends one message");
    }
    print(format!(
        "a repository with {tags} tags in {runs} runs: {:.0?}, the longest {longest:.1?}",
        started.elapsed()
    ));
    assert!((RUNS..=RUNS + 1).contains(&runs), "{runs} runs");
    let images = listed(&simulation.store, &repository("team/app")).await.unwrap();
    let found: BTreeSet<String> =
        images.iter().flat_map(|image| &image.image_tags).map(ToString::to_string).collect();
    assert!(found.iter().eq(&names), "{} tags", found.len());
}

/// Only the image that does not fit into an item is left out.
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
    let mut outcomes = simulation.jobs().reconcile.apply(&differences, None).await.unwrap();
    outcomes.sort_by_key(|(place, _)| *place);
    let outcomes: Vec<Option<String>> = outcomes
        .into_iter()
        .map(|(_, outcome)| outcome.err().map(|error| error.to_string()))
        .collect();
    let reason = catalog::table::StoreError::ItemTooLarge.to_string();
    assert_eq!(outcomes, [None, Some(reason), None]);
    assert_eq!(simulation.images().await, 2);
}

/// If the queue refuses a message, no repository is lost: the message that caused it is delivered
/// again.
#[tokio::test]
async fn what_the_queue_refuses_is_delivered_again() {
    let simulation = Simulation::new(30, 1).await;
    let jobs = simulation.jobs();
    let registry = r#"{"reconcile":"registry","from":"ecr"}"#;
    simulation.is_refusing.store(true, Ordering::Relaxed);
    assert!(!simulation.deliver(&jobs, registry, TIMEOUT).await);
    assert!(simulation.deliver(&jobs, registry, TIMEOUT).await);
    let names: BTreeSet<String> = simulation.waiting.lock().unwrap().drain(..).collect();
    assert_eq!(names.len(), 30);
}
