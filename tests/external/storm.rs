//! A storm: pushers work on a registry while the catalog is killed and the network between the two
//! drops. Afterwards the catalog is reconciled with the registry once, and must be equal to it.

mod disturbances;
mod process;
mod pushers;
mod registry;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use catalog::Timestamp;
use end_to_end::harness::{
    DockerRegistry, Notifications as DockerNotifications, Random, binary, folder, free_port, print,
    require,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::disturbances::{Disturbance, Proxy, schedule};
use self::process::Catalog;
use self::pushers::{Outcome, Pusher, watch_backlog};
use self::registry::{Registry, Repository};

/// Not the default registry.
const REGISTRY: &str = "210987654321";

/// Outgoing connections use 127.0.0.1, so none of them takes the port of a catalog or network that
/// is being restarted.
const CATALOG: [u8; 4] = [127, 0, 0, 2];
const NETWORK: [u8; 4] = [127, 0, 0, 3];
const PUSHERS: usize = 8;
const REPOSITORIES: usize = 12;

/// Per repository.
const IMAGES: usize = 24;
const INDEXES: usize = 4;
const TAGS: u64 = 8;
const KILLS: usize = 20;

/// Connections that are cut.
const CUTS: usize = 60;

/// Periods in which connections are refused.
const REFUSALS: usize = 8;

/// How many operations such a period lasts.
const REFUSED_OPERATIONS: usize = 60;

/// The pushers wait while the registry has more pending notifications than this, so that the
/// catalog is in the storm from beginning to end.
const MAX_PENDING: u64 = 400;

/// How long the registry may take to deliver pending notifications.
const DELIVERY_LIMIT: Duration = Duration::from_mins(3);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The number of operations, unless it is set by `OPERATIONS` in the environment.
fn operations() -> usize {
    std::env::var("OPERATIONS").map_or(10_000, |operations| operations.parse().unwrap())
}

/// The printed figures are those of one storm alone.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_kills_and_drops_the_catalog_equals_the_registry() {
    kills_and_drops("with references", operations()).await;
}

/// The notifications do not contain a manifest's references, so the catalog looks up each manifest,
/// in the storm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_notifications_do_not_contain_is_looked_up_in_spite_of_kills_and_drops() {
    kills_and_drops("without references", operations() / 5).await;
}

async fn kills_and_drops(what: &str, operations: usize) {
    let _one_at_a_time = ONE_AT_A_TIME.lock().await;
    let references = what == "with references";
    let Some(mut storm) = Storm::start(what, references, references).await else { return };
    let schedule = schedule(&mut storm.random, operations);
    let started = Instant::now();
    let outcomes = storm.rage(operations, schedule).await;
    let raged = started.elapsed();
    storm.proxy.calm();
    let notifications = storm.registry.wait_until_delivered().await;
    let delivered = started.elapsed();
    let reconciled = storm.reconcile().await;
    let dropped = storm.proxy.dropped.load(Ordering::Relaxed);
    print(format!(
        "storm {what}: {operations} operations in {raged:.1?} ({outcomes}), {KILLS} kills, {dropped} connections \
         cut, {REFUSALS} stretches of refused ones; {notifications} delivered in {delivered:.1?}; {reconciled}; \
         {:.1?} altogether",
        started.elapsed(),
    ));
    storm.assert_same(false).await;
    assert_eq!(storm.kills, KILLS, "the catalog was killed");
    assert!(dropped > 0, "the network dropped");
}

/// In the second half the network is down. At the end the registry is killed, and loses its pending
/// notifications. Only images without a tag stay unknown: registries do not list them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_notifications_are_found_by_reconciliation() {
    let what = "with a registry that forgets";
    let operations = operations() / 5;
    let _one_at_a_time = ONE_AT_A_TIME.lock().await;
    let Some(mut storm) = Storm::start(what, true, false).await else { return };
    let schedule = BTreeMap::from([(operations / 2, vec![Disturbance::Refuse])]);
    let started = Instant::now();
    let outcomes = storm.rage(operations, schedule).await;
    let forgotten = storm.registry.notifications().await.pending;
    storm.registry = Arc::new(Arc::into_inner(storm.registry).unwrap().kill_and_start().await);
    storm.proxy.calm();
    let reconciled = storm.reconcile().await;
    print(format!(
        "storm {what}: {operations} operations ({outcomes}); {forgotten} notifications forgotten; {reconciled}; \
         {:.1?} altogether",
        started.elapsed(),
    ));
    assert!(forgotten > 0, "the registry had something to forget");
    storm.assert_same(true).await;
}

/// A registry, a catalog that it notifies, and the network between them.
struct Storm {
    what: String,
    seed: u64,
    random: Random,
    catalog: Catalog,
    proxy: Proxy,
    registry: Arc<Registry>,
    repositories: Arc<Vec<Repository>>,
    kills: usize,
}

impl Storm {
    /// Indexes are pushed only if notifications contain the references to their images: a deleted
    /// manifest cannot be looked up.
    async fn start(what: &str, references: bool, indexes: bool) -> Option<Self> {
        require("the storm", "docker-registry")?;
        let seed = std::env::var("SEED").map_or_else(
            |_| Timestamp::now().as_milliseconds().unsigned_abs(),
            |seed| seed.parse().unwrap(),
        );
        print(format!("storm {what}: SEED={seed}"));
        // The build is not measured.
        binary();
        let folder = folder("storm");
        let port = free_port();
        let catalog = Catalog::start(&folder, format!("http://127.0.0.1:{port}"));
        let proxy = Proxy::start(catalog.address).await;
        let url = format!("http://{}/events/distribution?registry={REGISTRY}", proxy.address);
        let notifications = DockerNotifications { port, url, references };
        let registry =
            Registry { server: DockerRegistry::start("the storm", &folder, &notifications).await? };
        let repositories = Arc::new(registry.fill(indexes).await);
        Some(Self {
            what: what.to_owned(),
            seed,
            random: Random(seed),
            catalog,
            proxy,
            registry: Arc::new(registry),
            repositories,
            kills: 0,
        })
    }

    /// Runs the pushers and the scheduled disturbances. Returns the outcomes of the operations.
    async fn rage(
        &mut self,
        operations: usize,
        mut schedule: BTreeMap<usize, Vec<Disturbance>>,
    ) -> String {
        let (pending, backlog) = watch::channel(0);
        let left = Arc::new(AtomicUsize::new(operations));
        let (done, mut finished) = mpsc::unbounded_channel();
        let mut pushers = JoinSet::new();
        for _ in 0..PUSHERS {
            let pusher = Pusher {
                registry: Arc::clone(&self.registry),
                repositories: Arc::clone(&self.repositories),
                random: Random(self.random.next()),
                left: Arc::clone(&left),
                done: done.clone(),
                backlog: backlog.clone(),
                is_open: self.proxy.is_open.subscribe(),
            };
            pushers.spawn(pusher.run());
        }
        drop((done, backlog));
        let watching = tokio::spawn(watch_backlog(Arc::clone(&self.registry), pending));
        let mut outcomes: BTreeMap<Outcome, usize> = BTreeMap::new();
        let mut number = 0;
        while let Some(outcome) = finished.recv().await {
            *outcomes.entry(outcome).or_default() += 1;
            number += 1;
            for disturbance in schedule.remove(&number).into_iter().flatten() {
                match disturbance {
                    Disturbance::Kill => {
                        self.catalog.kill_and_start();
                        self.kills += 1;
                    }
                    Disturbance::Cut(cut) => self.proxy.cut(cut),
                    Disturbance::Refuse => drop(self.proxy.is_open.send_replace(false)),
                    Disturbance::Accept => drop(self.proxy.is_open.send_replace(true)),
                }
            }
        }
        pushers.join_all().await;
        // It ends by itself when the receivers are dropped.
        watching.await.unwrap();
        assert_eq!(number, operations);
        let outcomes = outcomes.iter().map(|(outcome, count)| format!("{count} {outcome:?}"));
        outcomes.collect::<Vec<_>>().join(", ")
    }

    /// Reconciles the catalog with the registry. Returns the last line of output.
    async fn reconcile(&self) -> String {
        // The time of the listing must be after all changes in the registry.
        self.registry.wait_for_another_second().await;
        self.catalog.reconcile(&self.registry)
    }

    /// The catalog and the registry have the same images and tags. Images without a tag may be
    /// missing.
    async fn assert_same(&self, but_for_untagged: bool) {
        for repository in self.repositories.iter() {
            let mut expected = self.registry.listing(repository).await;
            let listed = self.catalog.listing(repository).await;
            if but_for_untagged {
                expected
                    .retain(|digest, (tags, _)| !tags.is_empty() || listed.contains_key(digest));
            }
            let digests: BTreeSet<&String> = listed.keys().chain(expected.keys()).collect();
            let differing: Vec<_> = digests
                .into_iter()
                .map(|digest| (digest, listed.get(digest), expected.get(digest)))
                .filter(|(_, listed, expected)| listed != expected)
                .collect();
            let place = format!("storm {}: SEED={}: {}", self.what, self.seed, repository.name);
            assert!(differing.is_empty(), "{place}: digests, listed and expected: {differing:#?}");
        }
    }
}

/// Digest, tags and size of images.
type Listing = BTreeMap<String, (BTreeSet<String>, Option<i64>)>;
