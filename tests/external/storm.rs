//! A storm: pushers work on a registry while the catalog is killed and the network between the two
//! drops. When it is over, and the catalog was compared with the registry once, it says what the
//! registry says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use catalog::Timestamp;
use end_to_end::harness::{
    DockerRegistry, Notifications as DockerNotifications, OCI_CONFIGURATION, OCI_IMAGE, OCI_INDEX,
    OCI_LAYER, Process, Random, binary, command, folder, free_port, print, require,
};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

/// Not the one that requests are about which name none.
const REGISTRY: &str = "210987654321";

/// Connections go out from 127.0.0.1. So none of them takes the port of a catalog that is being
/// started again, or of a network that is to come back.
const CATALOG: [u8; 4] = [127, 0, 0, 2];
const NETWORK: [u8; 4] = [127, 0, 0, 3];
const PUSHERS: usize = 8;
const REPOSITORIES: usize = 12;
/// Of each repository.
const IMAGES: usize = 24;
const INDEXES: usize = 4;
const TAGS: u64 = 8;
const KILLS: usize = 20;
/// Connections that end in the middle.
const CUTS: usize = 60;
/// Stretches in which connections are refused.
const REFUSALS: usize = 8;
/// How many operations such a stretch lasts.
const REFUSED_OPERATIONS: usize = 60;
/// The pushers wait while the registry holds more notifications than this, so that the catalog is
/// in the storm from beginning to end.
const MOST_PENDING: u64 = 400;

/// How long the registry may take to deliver what it still holds.
const DELIVERY_LIMIT: Duration = Duration::from_mins(3);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How many operations there are, unless `OPERATIONS` in the environment says otherwise.
fn operations() -> usize {
    std::env::var("OPERATIONS").map_or(10_000, |operations| operations.parse().unwrap())
}

/// The figures that are printed are those of one storm alone.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_kills_and_drops_the_catalog_says_what_the_registry_says() {
    kills_and_drops("with references", operations()).await;
}

/// The notifications do not tell what a manifest refers to, so the catalog asks for each, in the
/// storm.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_notifications_do_not_tell_is_found_out_in_spite_of_kills_and_drops() {
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

/// From the middle on the network is gone, and at last the registry is killed, which forgets what
/// it has not told. Of that only images stay unknown that have no tag: registries do not list them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_registry_never_told_is_found_by_comparing() {
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
    /// Indexes only where all is told of the images that they list: what is gone cannot be asked
    /// for.
    async fn start(what: &str, references: bool, indexes: bool) -> Option<Self> {
        require("the storm", "docker-registry")?;
        let seed = std::env::var("SEED").map_or_else(
            |_| Timestamp::now().as_milliseconds().unsigned_abs(),
            |seed| seed.parse().unwrap(),
        );
        print(format!("storm {what}: SEED={seed}"));
        // Building it is not measured.
        binary();
        let folder = folder("storm");
        let catalog = Catalog::start(&folder);
        let proxy = Proxy::start(catalog.address).await;
        let url = format!("http://{}/events/distribution?registry={REGISTRY}", proxy.address);
        let notifications = DockerNotifications { url, references };
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

    /// Lets the pushers work, and what is scheduled happen. Tells what became of the operations.
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
        // It ends by itself, now that nobody wants to know.
        watching.await.unwrap();
        assert_eq!(number, operations);
        let outcomes = outcomes.iter().map(|(outcome, count)| format!("{count} {outcome:?}"));
        outcomes.collect::<Vec<_>>().join(", ")
    }

    /// Compares the catalog with the registry. What that says last.
    async fn reconcile(&self) -> String {
        // Then what the registry says is newer than all that happened in it.
        self.registry.wait_for_another_second().await;
        self.catalog.reconcile(&self.registry)
    }

    /// Image by image, and tag by tag, the catalog says what the registry says; of images without a
    /// tag it may know nothing.
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

/// Something that happens after a number of operations.
#[derive(Debug, Clone, Copy)]
enum Disturbance {
    /// The catalog is killed, and started again.
    Kill,
    /// A connection is cut.
    Cut(Cut),
    /// From now on connections are refused.
    Refuse,
    /// No longer.
    Accept,
}

/// What happens after how many operations.
fn schedule(random: &mut Random, operations: usize) -> BTreeMap<usize, Vec<Disturbance>> {
    let mut schedule: BTreeMap<usize, Vec<Disturbance>> = BTreeMap::new();
    let mut add = |at: usize, disturbance| {
        schedule.entry(at.clamp(1, operations)).or_default().push(disturbance);
    };
    let mut spread = |times: usize| -> Vec<usize> {
        let share = operations / times;
        (0..times).map(|time| time * share + random.below(share.max(1) as u64) as usize).collect()
    };
    spread(KILLS).into_iter().for_each(|at| add(at, Disturbance::Kill));
    for (number, at) in spread(CUTS).into_iter().enumerate() {
        add(at, Disturbance::Cut(if number % 2 == 0 { Cut::Request } else { Cut::Answer }));
    }
    for at in spread(REFUSALS) {
        add(at, Disturbance::Refuse);
        add(at + REFUSED_OPERATIONS, Disturbance::Accept);
    }
    schedule
}

/// A repository of the registry, and what can be pushed to it.
struct Repository {
    name: String,
    /// Images, then indexes of them.
    manifests: Vec<Manifest>,
}

struct Manifest {
    media_type: &'static str,
    text: String,
    digest: String,
    /// What the catalog should say.
    size: i64,
    /// Of one digest, a push and a deletion at the same time could be told of in the wrong order,
    /// and nobody could find out about an untagged image what is right.
    alone: tokio::sync::Mutex<()>,
}

impl Manifest {
    fn new(media_type: &'static str, manifest: &Value, size: i64) -> Self {
        let text = manifest.to_string();
        let digest = sha256(text.as_bytes());
        Self { media_type, text, digest, size, alone: tokio::sync::Mutex::default() }
    }

    fn descriptor(&self) -> Value {
        descriptor(self.media_type, &self.digest, self.text.len())
    }
}

fn descriptor(media_type: &str, digest: &str, size: usize) -> Value {
    json!({ "mediaType": media_type, "digest": digest, "size": size })
}

fn sha256(bytes: &[u8]) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    hash.as_ref().iter().fold("sha256:".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Pushed,
    Deleted,
    /// There was nothing to delete, or the index lists what is not there.
    Refused,
    /// The registry came into its own way.
    Failed,
}

/// Pushes and deletes until enough was done.
struct Pusher {
    registry: Arc<Registry>,
    repositories: Arc<Vec<Repository>>,
    random: Random,
    left: Arc<AtomicUsize>,
    done: mpsc::UnboundedSender<Outcome>,
    backlog: watch::Receiver<u64>,
    is_open: watch::Receiver<bool>,
}

impl Pusher {
    async fn run(mut self) {
        let take = |left: usize| left.checked_sub(1);
        while self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            while *self.backlog.borrow_and_update() > MOST_PENDING && *self.is_open.borrow() {
                self.backlog.changed().await.unwrap();
            }
            let outcome = self.operate().await;
            self.done.send(outcome).unwrap();
        }
    }

    async fn operate(&mut self) -> Outcome {
        let repositories = Arc::clone(&self.repositories);
        // In the first one there is a crowd, and just one tag, so that the pushers get in each
        // other's way: what the notifications say is then not always what came of it.
        let is_crowded = self.random.below(3) == 0;
        let repository =
            if is_crowded { &repositories[0] } else { self.random.one_of(&repositories[1..]) };
        let manifest = self.random.one_of(&repository.manifests);
        let http = &self.registry.server.http;
        let at = |reference: &str| self.registry.manifest_url(repository, reference);
        let kind = self.random.below(10);
        let tag = format!("v{}", self.random.below(if is_crowded { 1 } else { TAGS }));
        let alone = manifest.alone.lock().await;
        let request = match kind {
            0 | 1 => http.delete(at(&manifest.digest)),
            2 => http.put(at(&manifest.digest)),
            _ => http.put(at(&tag)),
        };
        let request = match kind {
            0 | 1 => request,
            _ => request.header("content-type", manifest.media_type).body(manifest.text.clone()),
        };
        let response = request.send().await.unwrap();
        drop(alone);
        match response.status() {
            StatusCode::CREATED => Outcome::Pushed,
            StatusCode::ACCEPTED => Outcome::Deleted,
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Outcome::Refused,
            // Of two that write and remove the files of one tag, one may find them gone.
            StatusCode::INTERNAL_SERVER_ERROR => Outcome::Failed,
            other => panic!("the registry answers {other}: {}", response.text().await.unwrap()),
        }
    }
}

/// Tells how much the registry has yet to deliver.
async fn watch_backlog(registry: Arc<Registry>, pending: watch::Sender<u64>) {
    while pending.send(registry.notifications().await.pending).is_ok() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Digest, tags and size of images.
type Listing = BTreeMap<String, (BTreeSet<String>, Option<i64>)>;

/// The program `image-catalog` on its own data, which is killed when this is dropped.
struct Catalog {
    folder: PathBuf,
    address: SocketAddr,
    process: Process,
}

impl Catalog {
    fn start(folder: &Path) -> Self {
        let address = SocketAddr::from((CATALOG, free_port()));
        let process = Self::serve(folder, address);
        Self { folder: folder.to_owned(), address, process }
    }

    fn command(folder: &Path) -> Command {
        let mut command = command(folder);
        command.args(["--data", "data"]).env("RUST_LOG", "warn");
        command
    }

    fn serve(folder: &Path, address: SocketAddr) -> Process {
        let mut command = Self::command(folder);
        command.args(["--listen", &address.to_string()]);
        Process::start(command)
    }

    fn kill_and_start(&mut self) {
        self.process.child.kill();
        self.process = Self::serve(&self.folder, self.address);
    }

    /// Compares it with the registry, by another process beside the one that serves. What that says
    /// last.
    fn reconcile(&self, registry: &Registry) -> String {
        let mut command = Self::command(&self.folder);
        command.args(["reconcile", "--from", &registry.server.url(""), "--registry", REGISTRY]);
        let output = command.stdout(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{}", self.process.log());
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().last().unwrap().to_owned()
    }

    /// What it says of a repository, page by page.
    async fn listing(&self, repository: &Repository) -> Listing {
        let mut listing = Listing::new();
        let mut token = Value::Null;
        loop {
            let mut request = json!({
                "registryId": REGISTRY,
                "repositoryName": repository.name,
                "maxResults": 7,
                "filter": { "imageStatus": "ANY" },
            });
            if !token.is_null() {
                request["nextToken"] = token;
            }
            let url = format!("http://{}/DescribeImages", self.address);
            let response =
                self.process.http.post(url).body(request.to_string()).send().await.unwrap();
            let success = response.status().is_success();
            let page: Value = response.json().await.unwrap();
            assert!(success, "{}: {page}", repository.name);
            for image in page["imageDetails"].as_array().unwrap() {
                let tags = image["imageTags"].as_array().into_iter().flatten();
                let tags = tags.map(|tag| tag.as_str().unwrap().to_owned()).collect();
                let digest = image["imageDigest"].as_str().unwrap().to_owned();
                let before = listing.insert(digest, (tags, image["imageSizeInBytes"].as_i64()));
                assert!(before.is_none(), "{} lists an image twice", repository.name);
            }
            token = page["nextToken"].clone();
            if token.is_null() {
                return listing;
            }
        }
    }
}

/// Where a connection is cut.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// When half of a request is through.
    Request,
    /// Before its answer is.
    Answer,
}

/// The network between the registry and the catalog.
struct Proxy {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
    cuts: Arc<Mutex<VecDeque<Cut>>>,
    /// How many connections were cut.
    dropped: Arc<AtomicUsize>,
    running: JoinHandle<()>,
}

impl Proxy {
    async fn start(target: SocketAddr) -> Self {
        let address = SocketAddr::from((NETWORK, free_port()));
        let (is_open, mut opened) = watch::channel(true);
        let (cuts, dropped) =
            (Arc::<Mutex<VecDeque<Cut>>>::default(), Arc::<AtomicUsize>::default());
        let (cuts_of_connections, dropped_connections) = (Arc::clone(&cuts), Arc::clone(&dropped));
        let running = tokio::spawn(async move {
            loop {
                opened.wait_for(|is_open| *is_open).await.unwrap();
                let listener = TcpListener::bind(address).await.unwrap();
                let mut connections = JoinSet::new();
                loop {
                    tokio::select! {
                        accepted = listener.accept() => {
                            let (cuts, dropped) =
                                (Arc::clone(&cuts_of_connections), Arc::clone(&dropped_connections));
                            connections.spawn(forward(accepted.unwrap().0, target, cuts, dropped));
                        }
                        Some(_) = connections.join_next() => {}
                        closed = opened.wait_for(|is_open| !*is_open) => {
                            closed.unwrap();
                            break;
                        }
                    }
                }
                // With the listener, every connection ends that is there.
                dropped_connections.fetch_add(connections.len(), Ordering::Relaxed);
            }
        });
        Self { address, is_open, cuts, dropped, running }
    }

    fn cut(&self, cut: Cut) {
        self.cuts.lock().unwrap().push_back(cut);
    }

    /// Nothing is cut or refused any longer.
    fn calm(&mut self) {
        self.cuts.lock().unwrap().clear();
        self.is_open.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Passes on what comes, both ways, until one side ends or the connection is to be cut.
async fn forward(
    mut client: TcpStream,
    target: SocketAddr,
    cuts: Arc<Mutex<VecDeque<Cut>>>,
    dropped: Arc<AtomicUsize>,
) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let (mut request, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let Ok(length @ 1..) = read else { return };
                let cut = cuts.lock().unwrap().pop_front();
                let passed = if let Some(Cut::Request) = cut { length / 2 } else { length };
                if server.write_all(&request[..passed]).await.is_err() {
                    return;
                }
                if let Some(cut) = cut {
                    if let Cut::Answer = cut {
                        // Whatever it is, nobody hears it.
                        let _ = server.read(&mut answer).await;
                    }
                    dropped.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
            read = server.read(&mut answer) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&answer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// What the registry says of its notifications.
#[derive(Debug, Clone, Copy)]
struct Notifications {
    /// Still to be delivered, but for the one that is on its way.
    pending: u64,
    events: u64,
    successes: u64,
    /// Deliveries that were answered with an error, or not at all.
    failures: u64,
}

impl std::fmt::Display for Notifications {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} notifications, {} deliveries of them in vain,",
            self.successes, self.failures
        )
    }
}

/// docker-registry, and what can be pushed to it.
struct Registry {
    server: DockerRegistry,
}

impl Registry {
    async fn kill_and_start(self) -> Self {
        Self { server: self.server.kill_and_start().await }
    }

    fn manifest_url(&self, repository: &Repository, reference: &str) -> String {
        format!("{}/v2/{}/manifests/{reference}", self.server.url(""), repository.name)
    }

    /// Uploads what images consist of. Tells what can be pushed.
    async fn fill(&self, indexes: bool) -> Vec<Repository> {
        let mut repositories = Vec::new();
        for number in 0..REPOSITORIES {
            let name = format!("team-{}/app-{number}", number % 3);
            let configuration =
                json!({ "architecture": "amd64", "os": "linux", "author": name }).to_string();
            self.upload(&name, configuration.as_bytes()).await;
            let mut layers = Vec::new();
            for layer in 0..6 {
                let bytes = vec![b'0' + layer; 100 << layer];
                self.upload(&name, &bytes).await;
                layers.push((sha256(&bytes), bytes.len()));
            }
            let mut manifests: Vec<Manifest> =
                (1..=IMAGES).map(|image| image_of(image, &configuration, &layers)).collect();
            for index in (0..INDEXES).filter(|_| indexes) {
                let images = &manifests[index * 3..index * 3 + 3];
                let manifest = json!({
                    "schemaVersion": 2,
                    "mediaType": OCI_INDEX,
                    "manifests": images.iter().map(Manifest::descriptor).collect::<Vec<_>>(),
                });
                let size = images.iter().map(|image| image.size).max().unwrap();
                manifests.push(Manifest::new(OCI_INDEX, &manifest, size));
            }
            repositories.push(Repository { name, manifests });
        }
        repositories
    }

    async fn upload(&self, repository: &str, bytes: &[u8]) {
        let start = self
            .server
            .http
            .post(format!("{}/v2/{repository}/blobs/uploads/", self.server.url("")));
        let started = start.send().await.unwrap().error_for_status().unwrap();
        let location = started.headers()["location"].to_str().unwrap();
        let url = format!("{location}&digest={}", sha256(bytes));
        self.server
            .http
            .put(url)
            .body(bytes.to_vec())
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap();
    }

    async fn notifications(&self) -> Notifications {
        let variables: Value = self
            .server
            .http
            .get(&self.server.debug_url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let metrics = &variables["registry"]["notifications"]["endpoints"][0]["Metrics"];
        let count =
            |name: &str| metrics[name].as_u64().unwrap_or_else(|| panic!("no {name}: {metrics}"));
        Notifications {
            pending: count("Pending"),
            events: count("Events"),
            successes: count("Successes"),
            failures: count("Failures") + count("Errors"),
        }
    }

    async fn wait_until_delivered(&self) -> Notifications {
        let deadline = Instant::now() + DELIVERY_LIMIT;
        loop {
            let notifications = self.notifications().await;
            // The last one is not pending any longer while it is on its way.
            if notifications.pending == 0 && notifications.successes >= notifications.events {
                return notifications;
            }
            assert!(Instant::now() < deadline, "the registry does not deliver: {notifications:?}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// The registry's clock, as it tells it: in whole seconds.
    async fn date(&self) -> String {
        let response =
            self.server.http.get(format!("{}/v2/", self.server.url(""))).send().await.unwrap();
        response.headers()["date"].to_str().unwrap().to_owned()
    }

    async fn wait_for_another_second(&self) {
        let date = self.date().await;
        while self.date().await == date {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// What it says of a repository. It lists tags; the images that have none are asked for, every
    /// one that was ever there.
    async fn listing(&self, repository: &Repository) -> Listing {
        let mut listing = Listing::new();
        for manifest in &repository.manifests {
            if self.head(repository, &manifest.digest).await.is_some() {
                listing.insert(manifest.digest.clone(), (BTreeSet::new(), Some(manifest.size)));
            }
        }
        let url = format!("{}/v2/{}/tags/list", self.server.url(""), repository.name);
        let tags: Value = self.server.http.get(url).send().await.unwrap().json().await.unwrap();
        for tag in tags["tags"].as_array().into_iter().flatten() {
            let tag = tag.as_str().unwrap();
            // A deletion may have left a tag that points at nothing.
            if let Some(digest) = self.head(repository, tag).await {
                listing.get_mut(&digest).unwrap().0.insert(tag.to_owned());
            }
        }
        listing
    }

    /// The digest of a tag or digest, if the registry has it.
    async fn head(&self, repository: &Repository, reference: &str) -> Option<String> {
        Some(self.server.head(&repository.name, reference).await?.0)
    }
}

/// An image of the layers that are bits of its number, so that each has another size.
fn image_of(number: usize, configuration: &str, layers: &[(String, usize)]) -> Manifest {
    let has_layer = |layer: &usize| number & (1 << layer) != 0;
    let layers: Vec<&(String, usize)> =
        (0..layers.len()).filter(has_layer).map(|layer| &layers[layer]).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "config": descriptor(OCI_CONFIGURATION, &sha256(configuration.as_bytes()), configuration.len()),
        "layers": layers
            .iter()
            .map(|(digest, size)| descriptor(OCI_LAYER, digest, *size))
            .collect::<Vec<_>>(),
    });
    let size = configuration.len() + layers.iter().map(|(_, size)| size).sum::<usize>();
    Manifest::new(OCI_IMAGE, &manifest, i64::try_from(size).unwrap())
}
