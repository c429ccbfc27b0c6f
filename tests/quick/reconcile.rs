//! What differs between a registry and the catalog, and how all of it is found through a queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use catalog::change::Content;
use catalog::image::{Image, Scan};
use catalog::reader::Filter;
use catalog::table::StoreError;
use catalog::{Change, ChangeKind, RegistryId, Repository, Timestamp};
use end_to_end::harness::stand_in::{StandIn, digest_of, image_manifest, index_manifest};
use end_to_end::harness::{
    InProcess, REGISTRY, Store, configuration, digest, histories, json_response, operation, print,
    repository, tag, time,
};
use end_to_end::reference::model;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use reconcile::handler::{Handler, Message};
use reconcile::observation::{Contents, Observation, ObservedImage};
use reconcile::{Followed, FollowedRegistries, Reconcile, ToCompare, difference};
use registries::{Ecr, Registries, Registry, RegistryAddress};
use secret::Secret;
use serde_json::{Value, json};
use subscriptions::Subscriptions;

/// A time that is far enough from the next one to be told apart.
fn minutes(number: i64) -> catalog::Timestamp {
    time(number * 120_000)
}

fn any_kind() -> impl Strategy<Value = ChangeKind> {
    let any_tag = || select(vec!["latest", "v1", "v2"]).prop_map(tag);
    let any_digest = || (1..4_u64).prop_map(digest);
    let content = Content {
        size_in_bytes: Some(5),
        manifest_media_type: Some("a/a".to_owned()),
        ..Content::default()
    };
    let push = (any_digest(), proptest::option::weighted(0.8, any_tag())).prop_map(
        move |(digest, tag)| ChangeKind::ImagePushed { digest, tag, content: content.clone() },
    );
    prop_oneof![
        12 => push,
        3 => any_digest().prop_map(|digest| ChangeKind::ImageDeleted { digest }),
        3 => (any_digest(), any_tag()).prop_map(|(digest, tag)| ChangeKind::ImageUntagged { digest, tag }),
        2 => any_tag().prop_map(|tag| ChangeKind::TagDeleted { tag }),
        1 => Just(ChangeKind::RepositoryCreated),
        1 => Just(ChangeKind::RepositoryDeleted),
        1 => any_digest().prop_map(|digest| ChangeKind::ImagePulled { digest }),
        1 => any_digest().prop_map(|digest| ChangeKind::ImageArchived { digest }),
        // Their own times are set to those of the changes.
        1 => any_digest().prop_map(|digest| ChangeKind::ImageRestored { digest, activated_at: time(0) }),
        1 => any_digest().prop_map(|digest| ChangeKind::ImageScanned {
            digest,
            scan: Scan { status: "COMPLETE".to_owned(), finding_severity_counts: None, completed_at: time(0) },
        }),
    ]
}

/// What happened in a registry, which of it the catalog was told before the registry was asked, and
/// whether it is told the rest of that later, or never. It was not told of sizes.
#[derive(Debug, Clone)]
struct Past {
    changes: Vec<(i64, ChangeKind, bool)>,
    asked_at: i64,
    is_late: bool,
}

fn any_past() -> impl Strategy<Value = Past> {
    (vec((0..12_i64, any_kind(), any::<bool>()), 1..14), 3..12_i64, any::<bool>())
        .prop_map(|(changes, asked_at, is_late)| Past { changes, asked_at, is_late })
}

fn change(repository: &Repository, at: i64, kind: &ChangeKind) -> Change {
    let time = minutes(at);
    let mut kind = kind.clone();
    match &mut kind {
        ChangeKind::ImageRestored { activated_at, .. } => *activated_at = time,
        ChangeKind::ImageScanned { scan, .. } => scan.completed_at = time,
        _ => {}
    }
    Change { repository: repository.clone(), time, kind }
}

/// What a registry says that has these images, and tells all of them.
fn observe(images: Option<Vec<Image>>, known: &[Image], at: i64) -> Observation {
    let contents = images.map(|images| {
        let mut contents = Contents::default();
        for image in &images {
            let tags = image.image_tags.iter().map(|tag| (tag.clone(), image.image_digest.clone()));
            contents.tags.extend(tags);
            let observed = ObservedImage {
                pushed_at: Some(image.image_pushed_at),
                content: Content {
                    manifest_media_type: image.image_manifest_media_type.clone(),
                    size_in_bytes: image.image_size_in_bytes,
                    ..Content::default()
                },
                pulled_at: image.last_recorded_pull_time,
                archived_at: image.last_archived_at,
                activated_at: image.last_activated_at,
                scan: image.scan.clone(),
            };
            contents.images.insert(image.image_digest.clone(), observed);
        }
        let digests = known.iter().map(|image| image.image_digest.clone());
        contents.gone = digests.filter(|digest| !contents.images.contains_key(digest)).collect();
        contents
    });
    Observation { time: minutes(at), contents }
}

async fn listed(store: &Store, repository: &Repository) -> Option<Vec<Image>> {
    let filter = Filter { tag_status: None, image_status: None };
    Some(store.reader.list(repository, &filter, None, 1_000_000, |_| false).await.ok()?.images)
}

/// However much the catalog was not told: once it was compared, it says what the registry says, and
/// what happened since then, or comes late, is right as if nothing had been lost.
#[test]
fn after_a_comparison_nothing_is_lost_and_nothing_is_wronged() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(Store::in_memory());
    let number = std::sync::atomic::AtomicUsize::new(0);
    let cases = histories();
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
        .run(&any_past(), |past| {
            let repository = repository(&format!("r{}", number.fetch_add(1, Ordering::Relaxed)));
            runtime.block_on(async {
                let (before, since): (Vec<_>, Vec<_>) =
                    past.changes.iter().partition(|(at, ..)| *at <= past.asked_at);
                let change =
                    |(at, kind, _): &&(i64, ChangeKind, bool)| change(&repository, *at, kind);
                for mut told in before.iter().filter(|(.., is_told)| *is_told).map(change) {
                    if let ChangeKind::ImagePushed { content, .. } = &mut told.kind {
                        content.size_in_bytes = None;
                    }
                    store.writer.apply(&told).await.unwrap();
                }
                let there = model::fold(&before.iter().map(change).collect::<Vec<_>>());
                let there = there.filter(|_| !before.is_empty());
                let known = listed(&store, &repository).await;
                let observed =
                    observe(there.clone(), known.as_deref().unwrap_or_default(), past.asked_at);
                let differences = difference::between(&repository, &observed, known.as_deref());
                for difference in &differences {
                    store.writer.apply(difference).await.unwrap();
                }
                let now = listed(&store, &repository).await;
                assert_eq!(now, there, "after {differences:#?}");
                let observed = observe(there, now.as_deref().unwrap_or_default(), past.asked_at);
                assert_eq!(difference::between(&repository, &observed, now.as_deref()), []);

                let late: Vec<_> = if past.is_late { before.clone() } else { Vec::new() };
                for later in since.iter().chain(&late).map(change) {
                    store.writer.apply(&later).await.unwrap();
                }
                let all: Vec<Change> = past.changes.iter().map(|each| change(&each)).collect();
                // Whoever never heard of a repository does not know that it was deleted.
                let listed = listed(&store, &repository).await.unwrap_or_default();
                assert_eq!(listed, model::fold(&all).unwrap_or_default());
            });
            Ok(())
        })
        .unwrap();
}

/// A registry of Amazon ECR's, and a queue, in this process.
struct Simulation {
    store: Store,
    repositories: usize,
    images: usize,
    waiting: Arc<Mutex<VecDeque<String>>>,
    /// Whether the queue refuses one of its next messages.
    is_refusing: Arc<AtomicBool>,
}

fn simulated_name(number: usize) -> String {
    format!("team-{:02}/app-{number:05}", number % 100)
}

impl Simulation {
    async fn new(repositories: usize, images: usize) -> Self {
        let store = Store::in_memory().await;
        Self { store, repositories, images, waiting: Arc::default(), is_refusing: Arc::default() }
    }

    fn ecr(&self) -> Ecr {
        let (repositories, images) = (self.repositories, self.images);
        Ecr::new(&configuration(InProcess(move |request: HttpRequest| async move {
            let (operation, body) = operation(&request);
            let most = usize::try_from(body["maxResults"].as_u64().unwrap()).unwrap();
            let first: usize = body["nextToken"].as_str().map_or(0, |token| token.parse().unwrap());
            let page = |total: usize| (first..total.min(first + most), total > first + most);
            let (mut answer, more) = if operation == "DescribeRepositories" {
                let (numbers, more) = page(repositories);
                let named: Vec<Value> = numbers
                    .map(|number| json!({ "repositoryName": simulated_name(number) }))
                    .collect();
                (json!({ "repositories": named }), more)
            } else {
                let (numbers, more) = page(images);
                let details: Vec<Value> = numbers
                    .map(|number| {
                        json!({
                            "imageDigest": digest(number as u64),
                            "imageTags": [format!("v{number}")],
                            "imageSizeInBytes": 1000 + number,
                            "imagePushedAt": 1_767_225_600 + number,
                        })
                    })
                    .collect();
                (json!({ "imageDetails": details }), more)
            };
            if more {
                answer["nextToken"] = json!((first + most).to_string());
            }
            let mut response = json_response(200, &answer);
            response.headers_mut().insert("date", "Sun, 22 Nov 2026 00:00:00 GMT");
            Ok(response)
        })))
    }

    fn queue(&self) -> aws_sdk_sqs::Client {
        let (waiting, is_refusing) = (Arc::clone(&self.waiting), Arc::clone(&self.is_refusing));
        aws_sdk_sqs::Client::new(&configuration(InProcess(move |request: HttpRequest| {
            let (operation, body) = operation(&request);
            assert_eq!(operation, "SendMessageBatch");
            let entries = body["Entries"].as_array().unwrap();
            assert!((1..=10).contains(&entries.len()));
            let (mut successful, mut failed) = (Vec::new(), Vec::new());
            for entry in entries {
                if is_refusing.swap(false, Ordering::Relaxed) {
                    failed.push(
                        json!({ "Id": entry["Id"], "Code": "InternalError", "SenderFault": false }),
                    );
                    continue;
                }
                waiting
                    .lock()
                    .unwrap()
                    .push_back(entry["MessageBody"].as_str().unwrap().to_owned());
                let sum = "00000000000000000000000000000000";
                successful.push(
                    json!({ "Id": entry["Id"], "MessageId": "message", "MD5OfMessageBody": sum }),
                );
            }
            async move { Ok(json_response(200, &json!({ "Successful": successful, "Failed": failed }))) }
        })))
    }

    fn handler(&self) -> Handler {
        let subscriptions = Arc::new(Secret::known(Subscriptions::default()));
        Handler {
            reconcile: Reconcile {
                reader: self.store.reader.clone(),
                writer: self.store.writer.clone(),
                registries: Registries::new(Arc::clone(&subscriptions), Some(self.ecr())),
                tags_at_once: usize::MAX,
            },
            account: RegistryId::parse(REGISTRY).unwrap(),
            subscriptions,
            client: self.queue(),
            queue_url: "http://queue".to_owned(),
        }
    }

    /// Delivers a message to the function, which has a limited time. Whether it is done.
    async fn deliver(&self, handler: &Handler, body: &str, limit: Duration) -> bool {
        let mut message = SqsMessage::default();
        message.message_id = Some("message".to_owned());
        message.body = Some(body.to_owned());
        let mut batch = SqsEvent::default();
        batch.records = vec![message];
        let response = handler.handle(batch, tokio::time::Instant::now() + limit).await;
        response.batch_item_failures.is_empty()
    }

    async fn images(&self) -> usize {
        let mut images = 0;
        for number in 0..self.repositories {
            let repository = repository(&simulated_name(number));
            images += listed(&self.store, &repository).await.unwrap().len();
        }
        images
    }
}

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

/// A difference is called repaired only if the catalog no longer has it: not where the catalog has
/// no room, and not where something prevails that happened since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_repaired_is_never_called_repaired() {
    let (one, moved, deleted) = (image_manifest(1), image_manifest(2), image_manifest(3));
    let huge = index_manifest(1001);
    let manifests = [
        ("one", one.clone()),
        ("moved", moved.clone()),
        ("deleted", deleted.clone()),
        ("huge", huge.clone()),
    ];
    let registry = StandIn::start("app", &manifests).await;
    let store = Store::in_memory().await;
    let subscriptions = Arc::new(Secret::known(Subscriptions::default()));
    let reconcile = Reconcile {
        reader: store.reader.clone(),
        writer: store.writer.clone(),
        registries: Registries::new(subscriptions, None),
        tags_at_once: usize::MAX,
    };
    let followed = Followed {
        id: "registry".to_owned(),
        registry: Registry::Distribution(RegistryAddress::of_url(&registry.url).unwrap()),
        registry_id: RegistryId::parse(REGISTRY).unwrap(),
        repository_prefix: None,
    };
    let listed = ToCompare { name: "app".to_owned(), prune: true, after: None };
    let comparison = reconcile.compare(&followed, &listed).await.unwrap();
    // The repository, four images, and four tags.
    assert_eq!(comparison.differences.len(), 9, "{:#?}", comparison.differences);

    let repository = repository("app");
    let since = Timestamp::from_milliseconds(Timestamp::now().as_milliseconds() + 2000).unwrap();
    let elsewhere = digest(9);
    for kind in [
        ChangeKind::ImageDeleted { digest: digest_of(&deleted) },
        ChangeKind::ImagePushed {
            digest: elsewhere,
            tag: Some(tag("moved")),
            content: Content::default(),
        },
    ] {
        let change = Change { repository: repository.clone(), time: since, kind };
        store.writer.apply(&change).await.unwrap();
    }
    let repaired = reconcile.repair(&comparison, None).await.unwrap();
    let is_of_huge = |change: &Change| match &change.kind {
        ChangeKind::ImagePushed { digest, tag: None, .. } => *digest == digest_of(&huge),
        _ => false,
    };
    let [(failed, reason)] = &repaired.failed[..] else { panic!("{:#?}", repaired.failed) };
    assert!(is_of_huge(failed), "{failed:#?}");
    assert_eq!(*reason, StoreError::ItemTooLarge.to_string());
    // The image that was deleted, its tag, and the tag that was moved.
    assert_eq!((repaired.superseded, repaired.repaired, repaired.left), (3, 5, 0), "{repaired:#?}");

    // It is found as often as it is looked for.
    let again = reconcile.compare(&followed, &listed).await.unwrap();
    assert_eq!(again.differences.iter().filter(|change| is_of_huge(change)).count(), 1);
    let repaired = reconcile.repair(&again, None).await.unwrap();
    assert_eq!(repaired.failed.len(), 1, "{repaired:#?}");
    assert_eq!(
        repaired.repaired + repaired.superseded,
        again.differences.len() - 1,
        "{repaired:#?}"
    );
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

/// A repository is pruned only where it can be of no other registry.
#[test]
fn a_repository_is_of_the_registry_with_the_longest_prefix() {
    let subscription = |id: &str, registry: &str, prefix: Option<&str>, url: Option<&str>| {
        let mut subscription = json!({
            "id": id, "source": "harbor", "registryId": registry, "credential": { "bearer": "token" },
        });
        let members = subscription.as_object_mut().unwrap();
        members.extend(prefix.map(|prefix| ("repositoryPrefix".to_owned(), json!(prefix))));
        members.extend(url.map(|url| ("registryUrl".to_owned(), json!(url))));
        subscription
    };
    let all = json!([
        subscription("whole", "000000000001", None, Some("https://one.example")),
        subscription("berlin", "000000000001", Some("berlin"), Some("https://two.example")),
        subscription("berlin-again", "000000000001", Some("berlin"), Some("https://two.example")),
        subscription("paris", "000000000001", Some("paris"), Some("https://three.example")),
        subscription(
            "paris-elsewhere",
            "000000000001",
            Some("paris"),
            Some("https://four.example")
        ),
        subscription("vienna", "000000000001", Some("vienna"), Some("https://two.example")),
        subscription("rome", "000000000001", Some("rome"), None),
        subscription("account", REGISTRY, Some("mirror"), Some("https://five.example")),
        json!({ "id": "ecr-1", "source": "ecr", "registryId": REGISTRY, "credential": { "bearer": "token" } }),
    ]);
    let subscriptions = Subscriptions::parse(&all.to_string()).unwrap();
    let all = FollowedRegistries::new(Some(RegistryId::parse(REGISTRY).unwrap()), &subscriptions);
    assert!(all.get("rome").is_none(), "it cannot be asked");
    let owners = |registry: &str, name: &str| -> Vec<&str> {
        let registry = RegistryId::parse(registry).unwrap();
        let repository = Repository { registry, ..repository(name) };
        let owners = all.registries.iter().filter(|followed| all.is_of(&repository, followed));
        owners.map(|followed| followed.id.as_str()).collect()
    };
    assert_eq!(owners("000000000001", "app"), ["whole"]);
    assert_eq!(owners("000000000001", "berliner/app"), ["whole"]);
    assert_eq!(
        owners("000000000001", "berlin/app"),
        [""; 0],
        "each may see what the other does not"
    );
    assert_eq!(owners("000000000001", "vienna/app"), ["vienna"]);
    assert_eq!(owners("000000000001", "paris/app"), [""; 0], "it may be in either");
    assert_eq!(owners("000000000001", "rome/app"), [""; 0], "it is of one that cannot be asked");
    assert_eq!(owners(REGISTRY, "app"), ["ecr"]);
    assert_eq!(owners(REGISTRY, "mirror/app"), ["account"]);
    assert_eq!(owners("000000000002", "app"), [""; 0]);
}
