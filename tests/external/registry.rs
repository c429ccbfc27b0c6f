//! A registry that notifies the catalog: Debian's docker-registry, which skopeo pushes to, deletes
//! from and pulls from. Every test runs twice: with notifications that list what a manifest refers
//! to, and without, where the catalog asks the registry for the manifest.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use catalog::reader::Filter;
use catalog::{Change, ChangeKind, RegistryId, Timestamp};
use describe_images::page_token::Keyring;
use end_to_end::harness::{
    Catalog, DOCKER_CONFIGURATION, DOCKER_IMAGE, DOCKER_LIST, DockerRegistry, Notifications,
    OCI_CONFIGURATION, OCI_IMAGE, OCI_INDEX, OCI_LAYER, REGISTRY, Store, binary, digest, folder,
    print, proxy, repository, require, tag,
};
use reconcile::{Followed, FollowedRegistries, Reconcile, ToCompare};
use registries::{Registries, RegistryAddress};
use secret::Secret;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, MutexGuard};

/// How soon after the client returned the catalog has to know.
const LIMIT: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(2);
const REPOSITORY: &str = "team/app";

/// The figures that are printed are those of one catalog and one registry alone.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

macro_rules! with_and_without_references {
    ($($test:ident),* $(,)?) => {
        mod with_references {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    if let Some(setup) = super::Setup::start(stringify!($test), true).await {
                        super::$test(setup).await;
                    }
                }
            )*
        }

        mod without_references {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    if let Some(setup) = super::Setup::start(stringify!($test), false).await {
                        super::$test(setup).await;
                    }
                }
            )*
        }
    };
}

with_and_without_references!(
    an_oci_image,
    a_docker_image,
    an_index,
    a_docker_list,
    a_second_tag,
    a_tag_that_moves,
    a_deletion_by_digest,
    what_happened_while_the_catalog_was_down,
    pulls,
    a_push_of_which_only_the_tag_is_told,
    a_registry_that_does_not_answer,
    a_catalog_that_heard_nothing,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_images_from_before_the_catalog() {
    if let Some(setup) = Setup::start("two_thousand_images_from_before_the_catalog", true).await {
        two_thousand_images_from_before(setup).await;
    }
}

async fn an_oci_image(setup: Setup) {
    let image = setup.image("one", &[100, 2_000]);
    let push = setup.push(&image, "v1", &[]);
    let listed = setup.expect("an OCI image", &push, &[image.detail(&["v1"])]).await;
    assert_pushed_during(&listed, &image, &push);
    setup.assert_equals_registry().await;
}

async fn a_docker_image(setup: Setup) {
    let mut image = setup.image("one", &[100, 2_000]);
    let push = setup.push(&image, "v1", &["--format", "v2s2"]);
    // skopeo writes the manifest anew; configuration and layers stay what they are.
    image.digest = push.digest.clone();
    image.media_type = DOCKER_IMAGE;
    image.configuration_media_type = Some(DOCKER_CONFIGURATION);
    let listed = setup.expect("a Docker image", &push, &[image.detail(&["v1"])]).await;
    assert_pushed_during(&listed, &image, &push);
    setup.assert_equals_registry().await;
}

async fn an_index(setup: Setup) {
    let images = setup.images_of_platforms();
    let index = setup.index("all", &images);
    let push = setup.push(&index, "v1", &["--all"]);
    let mut expected: Vec<Value> = images.iter().map(|image| image.detail(&[])).collect();
    expected.push(index.detail(&["v1"]));
    let listed = setup.expect("an OCI index", &push, &expected).await;
    for image in images.iter().chain([&index]) {
        assert_pushed_during(&listed, image, &push);
    }
    setup.assert_equals_registry().await;
}

async fn a_docker_list(setup: Setup) {
    let mut images = setup.images_of_platforms();
    let mut list = setup.index("all", &images);
    let push = setup.push(&list, "v1", &["--all", "--format", "v2s2"]);
    // skopeo writes all manifests anew; those of the images are in the list, in order.
    list.digest = push.digest.clone();
    list.media_type = DOCKER_LIST;
    let manifest = manifest_of(&setup.registry, &list.digest).await;
    assert_eq!(manifest["manifests"].as_array().unwrap().len(), images.len());
    for (image, descriptor) in images.iter_mut().zip(manifest["manifests"].as_array().unwrap()) {
        image.digest = descriptor["digest"].as_str().unwrap().to_owned();
        image.media_type = DOCKER_IMAGE;
        image.configuration_media_type = Some(DOCKER_CONFIGURATION);
    }
    let mut expected: Vec<Value> = images.iter().map(|image| image.detail(&[])).collect();
    expected.push(list.detail(&["v1"]));
    setup.expect("a Docker manifest list", &push, &expected).await;
    setup.assert_equals_registry().await;
}

async fn a_second_tag(setup: Setup) {
    let image = setup.image("one", &[100]);
    let first = setup.push(&image, "v1", &[]);
    setup.expect("an OCI image", &first, &[image.detail(&["v1"])]).await;
    let second = setup.push(&image, "latest", &[]);
    let listed = setup.expect("a second tag", &second, &[image.detail(&["latest", "v1"])]).await;
    // The first push of the digest counts.
    assert_pushed_during(&listed, &image, &first);
    setup.assert_equals_registry().await;
}

async fn a_tag_that_moves(setup: Setup) {
    let (one, two) = (setup.image("one", &[100]), setup.image("two", &[200, 300]));
    let push = setup.push(&one, "latest", &[]);
    setup.expect("an OCI image", &push, &[one.detail(&["latest"])]).await;
    let push = setup.push(&two, "latest", &[]);
    let listed =
        setup.expect("a tag that moves", &push, &[one.detail(&[]), two.detail(&["latest"])]).await;
    assert_pushed_during(&listed, &two, &push);
    let push = setup.push(&one, "latest", &[]);
    setup.expect("a tag that moves back", &push, &[one.detail(&["latest"]), two.detail(&[])]).await;
    setup.assert_equals_registry().await;
}

async fn a_deletion_by_digest(setup: Setup) {
    let (one, two) = (setup.image("one", &[100]), setup.image("two", &[200, 300]));
    setup.push(&one, "v1", &[]);
    setup.push(&one, "latest", &[]);
    let push = setup.push(&two, "v2", &[]);
    let both = [one.detail(&["latest", "v1"]), two.detail(&["v2"])];
    setup.expect("two images", &push, &both).await;

    let deletion = setup.delete(&one);
    setup.expect("a deletion", &deletion, &[two.detail(&["v2"])]).await;
    assert_eq!(
        setup.registry.head(REPOSITORY, &one.digest).await,
        None,
        "the registry has it no longer, either"
    );
    setup.assert_equals_registry().await;

    let again = setup.push(&one, "v1", &[]);
    let listed = setup
        .expect("a push after a deletion", &again, &[one.detail(&["v1"]), two.detail(&["v2"])])
        .await;
    assert_pushed_during(&listed, &one, &again);
    setup.assert_equals_registry().await;
}

async fn what_happened_while_the_catalog_was_down(mut setup: Setup) {
    let (one, two, three) =
        (setup.image("one", &[100]), setup.image("two", &[200]), setup.image("three", &[300]));
    let push = setup.push(&one, "v1", &[]);
    setup.expect("an OCI image", &push, &[one.detail(&["v1"])]).await;

    setup.catalog.stop().await;
    setup.push(&two, "v2", &[]);
    setup.push(&three, "v1", &[]);
    setup.delete(&one);
    let table = &setup.catalog.store.reader;
    let known = table
        .list(&repository(REPOSITORY), &Filter::default(), None, 1000, |_| false)
        .await
        .unwrap();
    let known: Vec<&str> = known.images.iter().map(|image| image.image_digest.as_str()).collect();
    assert_eq!(known, [one.digest.as_str()], "the catalog was really down");

    let from = now();
    setup.catalog.start().await;
    let back = Done::since(from);
    let expected = [two.detail(&["v2"]), three.detail(&["v1"])];
    setup.expect("the return of the catalog to what it missed", &back, &expected).await;
    setup.assert_equals_registry().await;
}

/// The notification of Quay, which names tags alone.
fn pushed_tags(tags: &[&str]) -> String {
    json!({ "repository": REPOSITORY, "updated_tags": tags }).to_string()
}

/// A subscription to a registry that sends the notifications of Quay.
fn subscription(registry: &str) -> Value {
    json!([{
        "id": "quay",
        "source": "quay",
        "registryId": REGISTRY,
        "credential": { "bearer": "token" },
        "registryUrl": format!("http://{registry}"),
    }])
}

/// Sends a notification, which the catalog takes.
async fn notify(catalog: &Catalog, body: String) {
    let request = reqwest::Client::new().post(format!("{}/events/quay?token=token", catalog.url));
    let response = request.body(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let report: Value = response.json().await.unwrap();
    assert_eq!(report, json!({ "applied": 1, "ignored": 0, "malformed": [] }));
}

/// Digest, tags and size of each image; nothing where the repository is not known.
async fn described(store: &Store) -> Vec<(String, Vec<String>, Option<i64>)> {
    let filter = Filter { tag_status: None, image_status: None };
    let mut images = Vec::new();
    loop {
        let after = images.last().map(catalog::Image::position);
        let page = store
            .reader
            .list(&repository(REPOSITORY), &filter, after.as_ref(), 1000, |_| false)
            .await;
        let Ok(page) = page else { return Vec::new() };
        images.extend(page.images);
        if !page.more {
            break;
        }
    }
    let described = images.into_iter().map(|image| {
        let tags = image.image_tags.iter().map(ToString::to_string).collect();
        (image.image_digest.to_string(), tags, image.image_size_in_bytes)
    });
    described.collect()
}

async fn a_push_of_which_only_the_tag_is_told(setup: Setup) {
    let image = setup.image("one", &[100, 2_000]);
    setup.push(&image, "v1", &[]);
    setup.push(&image, "v2", &[]);
    let catalog =
        Catalog::start_subscribed(Store::in_memory().await, &subscription(&setup.registry.address))
            .await;
    // What is not there any longer is no image.
    notify(&catalog, pushed_tags(&["v1", "v2", "gone"])).await;
    let tags = ["v1", "v2"].map(str::to_owned).to_vec();
    assert_eq!(
        described(&catalog.store).await,
        [(image.digest.clone(), tags, Some(image.size as i64))]
    );
}

async fn a_registry_that_does_not_answer(setup: Setup) {
    let image = setup.image("one", &[100, 2_000]);
    setup.push(&image, "v1", &[]);
    // Nobody listens there yet.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let subscriptions = subscription(&address.to_string());
    let store = Store::in_memory().await;
    let catalog = Catalog::start_subscribed(store.clone(), &subscriptions).await;
    notify(&catalog, pushed_tags(&["v1"])).await;
    assert_eq!(described(&store).await, []);
    drop(catalog);

    // Another process asks again, and once more when the registry is there.
    let ingest =
        store.ingest_of(subscriptions::Subscriptions::parse(&subscriptions.to_string()).unwrap());
    let in_a_minute = tokio::time::Instant::now() + Duration::from_mins(1);
    assert_eq!(ingest.settle_questions(in_a_minute).await.unwrap(), 0);
    let registry = format!("http://{}", setup.registry.address);
    proxy(std::net::TcpListener::bind(address).unwrap(), &registry, |bytes| bytes, |bytes| bytes);
    assert_eq!(ingest.settle_questions(in_a_minute).await.unwrap(), 1);
    assert_eq!(
        described(&store).await,
        [(image.digest.clone(), vec!["v1".to_owned()], Some(image.size as i64))]
    );
    assert_eq!(
        ingest.settle_questions(in_a_minute).await.unwrap(),
        0,
        "nothing is open any longer"
    );
}

/// The registry, as one that is followed.
fn followed(setup: &Setup) -> Followed {
    let address = RegistryAddress::of_url(&format!("http://{}", setup.registry.address)).unwrap();
    Followed {
        id: "registry".to_owned(),
        registry: registries::Registry::Distribution(address),
        registry_id: RegistryId::parse(REGISTRY).unwrap(),
        repository_prefix: None,
    }
}

/// Compares a store, so many tags at once.
fn reconcile(store: &Store, tags_at_once: usize) -> Reconcile {
    let subscriptions = Arc::new(Secret::known(subscriptions::Subscriptions::default()));
    Reconcile {
        reader: store.reader.clone(),
        writer: store.writer.clone(),
        registries: Registries::new(subscriptions, None),
        tags_at_once,
    }
}

/// What differs, which is repaired unless this is a dry run.
async fn differences(setup: &Setup, store: &Store, is_dry_run: bool) -> Vec<ChangeKind> {
    differences_by(setup, store, is_dry_run, usize::MAX).await
}

/// The same, so many tags at once.
async fn differences_by(
    setup: &Setup,
    store: &Store,
    is_dry_run: bool,
    tags_at_once: usize,
) -> Vec<ChangeKind> {
    let reconcile = reconcile(store, tags_at_once);
    let mut rest = Some(ToCompare { name: REPOSITORY.to_owned(), prune: false, after: None });
    let mut all = Vec::new();
    while let Some(listed) = rest {
        let compared = reconcile.compare(&followed(setup), &listed).await.unwrap();
        if !is_dry_run {
            let repaired = reconcile.repair(&compared, None).await.unwrap();
            assert_eq!(repaired.repaired + repaired.superseded, compared.differences.len());
        }
        all.extend(compared.differences.into_iter().map(|change| change.kind));
        rest = compared.rest;
    }
    all
}

/// What is described, in the order of the digests.
async fn by_digest(store: &Store) -> Vec<(String, Vec<String>, Option<i64>)> {
    let mut described = described(store).await;
    described.sort();
    described
}

/// The catalog that the registry notifies says what is right.
async fn a_catalog_that_heard_nothing(setup: Setup) {
    let (one, two) = (setup.image("one", &[100]), setup.image("two", &[200, 300]));
    setup.push(&one, "v1", &[]);
    setup.push(&one, "latest", &[]);
    setup.push(&two, "old", &[]);
    let images = setup.images_of_platforms();
    let push = setup.push(&setup.index("all", &images), "multi", &["--all"]);
    let listed = setup.images_after(&push, 6).await;
    assert_eq!(listed, 6);

    // It is filled, once.
    let store = Store::in_memory().await;
    let mut all = FollowedRegistries::default();
    all.registries.push(followed(&setup));
    // One that the registry does not have goes; not so one that it lists, whatever else it says.
    let gone = Change {
        repository: repository("team/gone"),
        time: Timestamp::from_milliseconds(now() - 60_000).unwrap(),
        kind: ChangeKind::RepositoryCreated,
    };
    store.writer.apply(&gone).await.unwrap();
    let comparing = reconcile(&store, usize::MAX);
    let listed = comparing.repositories(&all, &followed(&setup)).await.unwrap();
    let to_compare = |name: &str, prune| ToCompare { name: name.to_owned(), prune, after: None };
    assert_eq!(listed, [to_compare(REPOSITORY, false), to_compare("team/gone", true)]);
    let unknown =
        comparing.compare(&followed(&setup), &to_compare("team/gone", false)).await.unwrap();
    assert_eq!(unknown.differences, [], "it is left as it is unless it is to be pruned");
    let unknown = comparing.compare(&followed(&setup), &listed[1]).await.unwrap();
    assert_eq!(comparing.repair(&unknown, None).await.unwrap().repaired, 1);
    assert_eq!(
        comparing.repositories(&all, &followed(&setup)).await.unwrap(),
        [to_compare(REPOSITORY, false)]
    );
    let dry = differences(&setup, &store, true).await;
    assert_eq!(by_digest(&store).await, [], "a dry run changes nothing");
    assert_eq!(differences(&setup, &store, false).await, dry);
    assert_eq!(by_digest(&store).await, by_digest(&setup.catalog.store).await);
    assert_eq!(differences(&setup, &store, false).await, []);

    // A push, a tag that moves, and a deletion that it does not hear of.
    tokio::time::sleep_until(setup.next_second()).await;
    let three = setup.image("three", &[7]);
    setup.push(&three, "v3", &[]);
    setup.push(&three, "latest", &[]);
    let deletion = setup.delete(&two);
    assert_eq!(setup.images_after(&deletion, 6).await, 6);
    tokio::time::sleep_until(setup.next_second()).await;
    let dry = differences(&setup, &store, true).await;
    assert_eq!(dry.len(), 4, "{dry:#?}");
    assert_eq!(differences(&setup, &store, false).await, dry);
    assert_eq!(by_digest(&store).await, by_digest(&setup.catalog.store).await);
    assert_eq!(differences(&setup, &store, false).await, []);

    // What happens after the registry was asked is not undone, although the registry knows nothing
    // of it.
    let before = by_digest(&store).await.len();
    let pushed = Change {
        repository: repository(REPOSITORY),
        time: Timestamp::from_milliseconds(now() + 60_000).unwrap(),
        kind: ChangeKind::ImagePushed {
            digest: digest(1),
            tag: Some(tag("newer")),
            content: catalog::change::Content::default(),
        },
    };
    store.writer.apply(&pushed).await.unwrap();
    differences(&setup, &store, false).await;
    let after = by_digest(&store).await;
    assert_eq!(after.len(), before + 1);
    assert!(after.iter().any(|(_, tags, _)| tags.contains(&"newer".to_owned())));

    // The same from the command line, which names what differs.
    let run = |options: &[&str]| {
        let mut command = Command::new(binary());
        command
            .arg("reconcile")
            .args(["--from", &format!("http://{}", setup.registry.address)])
            .args(options);
        let output = command.arg("--data").arg(setup.folder.join("data")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let dry = run(&["--dry-run"]);
    assert!(
        dry.contains(&format!("{REGISTRY}/{REPOSITORY}: the tag v3 points at {}\n", three.digest)),
        "{dry}"
    );
    assert!(dry.ends_with("1 repositories compared, 11 differences found\n"), "{dry}");
    assert_eq!(run(&[]), dry.replace("found", "repaired"));
    assert_eq!(
        run(&["--repository", REPOSITORY]),
        "1 repositories compared, 0 differences repaired\n"
    );
}

async fn two_thousand_images_from_before(setup: Setup) {
    const IMAGES: usize = 2000;
    let image = setup.image("one", &[100]);
    setup.push(&image, "t0", &[]);
    // The same configuration and layers, but each another manifest.
    let url =
        format!("http://{}/v2/{REPOSITORY}/manifests/{}", setup.registry.address, image.digest);
    let manifest = setup.registry.http.get(url).header("accept", OCI_IMAGE).send().await.unwrap();
    let manifest: Value = manifest.error_for_status().unwrap().json().await.unwrap();
    let size = Some(i64::try_from(image.size).unwrap());
    let mut expected = vec![(image.digest.clone(), vec!["t0".to_owned()], size)];
    for number in 1..IMAGES {
        let mut manifest = manifest.clone();
        manifest["annotations"] = json!({ "number": number.to_string() });
        let tag = format!("t{number}");
        let url = format!("http://{}/v2/{REPOSITORY}/manifests/{tag}", setup.registry.address);
        let put = setup
            .registry
            .http
            .put(url)
            .header("content-type", OCI_IMAGE)
            .body(manifest.to_string());
        let put = put.send().await.unwrap().error_for_status().unwrap();
        let digest = put.headers()["docker-content-digest"].to_str().unwrap().to_owned();
        expected.push((digest, vec![tag], size));
    }
    expected.sort();
    let store = Store::in_memory().await;
    let started = Instant::now();
    differences(&setup, &store, false).await;
    let filled = started.elapsed();
    assert_eq!(by_digest(&store).await, expected);
    let started = Instant::now();
    assert_eq!(differences(&setup, &store, false).await, []);
    print(format!(
        "{IMAGES} images: filled in {filled:.1?}, compared again in {:.1?}",
        started.elapsed()
    ));

    // The same, bit by bit.
    let store = Store::in_memory().await;
    assert_eq!(differences_by(&setup, &store, false, 300).await.len(), 1 + 2 * IMAGES);
    assert_eq!(by_digest(&store).await, expected);
    assert_eq!(differences_by(&setup, &store, false, 300).await, []);
    // Of what the registry does not have, each bit finds its own: a tag before all others, one
    // after them, one that is elsewhere, and an image without a tag.
    let observed =
        |kind| Change { repository: repository(REPOSITORY), time: Timestamp::now(), kind };
    let pushed = |number: u64, tag_name: Option<&str>| ChangeKind::ImagePushed {
        digest: digest(number),
        tag: tag_name.map(tag),
        content: catalog::change::Content { size_in_bytes: Some(1), ..Default::default() },
    };
    for kind in
        [pushed(1, Some("0")), pushed(2, Some("z")), pushed(3, Some("t1500")), pushed(4, None)]
    {
        store.writer.apply(&observed(kind)).await.unwrap();
    }
    // Its clock is behind by up to a second.
    tokio::time::sleep_until(setup.next_second()).await;
    let differing = differences_by(&setup, &store, false, 300).await;
    assert_eq!(by_digest(&store).await, expected, "{differing:#?}");
    assert_eq!(differing.len(), 5, "four images are gone, and a tag is elsewhere: {differing:#?}");
}

async fn pulls(setup: Setup) {
    let (one, two) = (setup.image("one", &[100]), setup.image("two", &[200]));
    setup.push(&one, "v1", &[]);
    let push = setup.push(&two, "v2", &[]);
    setup.expect("two images", &push, &[one.detail(&["v1"]), two.detail(&["v2"])]).await;

    let pull = setup.pull("v1");
    let pulled_at = |listed: &[Value], image: &Layout| {
        milliseconds(&find(listed, image)["lastRecordedPullTime"])
    };
    let listed = setup
        .poll("a pull", &pull, async || {
            let listed = setup.catalog.describe().await;
            match pulled_at(&listed, &one) {
                Some(time) if pull.during.contains(&time) => Ok(listed),
                other => {
                    Err(format!("lastRecordedPullTime is {other:?}, not one of {:?}", pull.during))
                }
            }
        })
        .await;
    // The registry notifies in order: whatever the catalog itself asked of it is known by now.
    assert_eq!(pulled_at(&listed, &two), None, "nobody has pulled the other image");
}

/// A registry, the catalog that it notifies, and a folder for both.
struct Setup {
    name: String,
    registry: DockerRegistry,
    catalog: StoppableCatalog,
    folder: PathBuf,
    skopeo: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

/// Something that was done, and when.
struct Done {
    /// The digest of what was pushed, as skopeo tells it.
    digest: String,
    /// In milliseconds since the beginning of 1970.
    during: RangeInclusive<i64>,
    returned: Instant,
}

impl Done {
    /// Just now.
    fn since(from: i64) -> Self {
        let returned = Instant::now();
        Self { digest: String::new(), during: from..=now(), returned }
    }
}

impl Setup {
    async fn start(test: &str, references: bool) -> Option<Self> {
        let skopeo = require(test, "skopeo")?;
        let turn = ONE_AT_A_TIME.lock().await;
        let mode = if references { "with references" } else { "without references" };
        let folder = folder(&format!("registry/{mode}/{test}"));
        let mut catalog = StoppableCatalog::new().await;
        catalog.start().await;
        let url = format!("http://{}/events/distribution?registry={REGISTRY}", catalog.address);
        let registry =
            DockerRegistry::start(test, &folder, &Notifications { url, references }).await?;
        Some(Self {
            name: format!("registry {mode}"),
            registry,
            catalog,
            folder,
            skopeo,
            _turn: turn,
        })
    }

    /// How many images the catalog has, once it has as many as expected, or the time is up.
    async fn images_after(&self, done: &Done, expected: usize) -> usize {
        loop {
            let images = described(&self.catalog.store).await.len();
            if images == expected || done.returned.elapsed() > LIMIT {
                return images;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// When the registry's clock tells another second: what it says of the time has no fraction.
    fn next_second(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + Duration::from_millis(1001)
    }

    fn image(&self, name: &str, layers: &[usize]) -> Layout {
        Layout::image(&self.folder.join(name), name, "amd64", layers)
    }

    /// The one in the middle is the largest.
    fn images_of_platforms(&self) -> Vec<Layout> {
        [("amd64", 300), ("arm64", 5_000), ("s390x", 20)]
            .map(|(architecture, size)| {
                Layout::image(&self.folder.join("all"), architecture, architecture, &[size, 10])
            })
            .to_vec()
    }

    fn index(&self, name: &str, images: &[Layout]) -> Layout {
        Layout::index(&self.folder.join(name), images)
    }

    fn push(&self, layout: &Layout, tag: &str, options: &[&str]) -> Done {
        let digest_file = self.folder.join("digest");
        let mut push =
            self.skopeo(&["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"]);
        push.args(options).arg("--digestfile").arg(&digest_file);
        push.arg(layout.address())
            .arg(format!("docker://{}/{REPOSITORY}:{tag}", self.registry.address));
        let done = run(push);
        Done { digest: fs::read_to_string(digest_file).unwrap(), ..done }
    }

    fn delete(&self, layout: &Layout) -> Done {
        let mut delete = self.skopeo(&["delete", "--insecure-policy", "--tls-verify=false"]);
        delete.arg(format!("docker://{}/{REPOSITORY}@{}", self.registry.address, layout.digest));
        run(delete)
    }

    fn pull(&self, tag: &str) -> Done {
        let mut pull =
            self.skopeo(&["copy", "--quiet", "--insecure-policy", "--src-tls-verify=false"]);
        pull.arg(format!("docker://{}/{REPOSITORY}:{tag}", self.registry.address));
        pull.arg(format!("dir:{}", self.folder.join("pulled").display()));
        run(pull)
    }

    /// Everything that skopeo would remember stays in the test's own folder.
    fn skopeo(&self, arguments: &[&str]) -> Command {
        let home = self.folder.join("home");
        fs::create_dir_all(&home).unwrap();
        let mut command = Command::new(&self.skopeo);
        command.args(arguments);
        for variable in [
            "HOME",
            "TMPDIR",
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "XDG_RUNTIME_DIR",
        ] {
            command.env(variable, &home);
        }
        command
    }

    /// Waits until the catalog says exactly this of the repository, apart from times, and tells how
    /// long that took.
    async fn expect(&self, what: &str, done: &Done, expected: &[Value]) -> Vec<Value> {
        let by_digest = |details: &[Value]| -> BTreeMap<String, Value> {
            let digest = |detail: &Value| detail["imageDigest"].as_str().unwrap().to_owned();
            details.iter().map(|detail| (digest(detail), without_times(detail))).collect()
        };
        let expected = by_digest(expected);
        let listed = self
            .poll(what, done, async || {
                let listed = self.catalog.describe().await;
                let found = by_digest(&listed);
                if found.len() == listed.len() && found == expected {
                    Ok(listed)
                } else {
                    Err(format!("the catalog says {found:#?}, not {expected:#?}"))
                }
            })
            .await;
        let newest_first = |a: &Value, b: &Value| {
            milliseconds(&a["imagePushedAt"]).unwrap() >= milliseconds(&b["imagePushedAt"]).unwrap()
        };
        assert!(listed.is_sorted_by(newest_first));
        listed
    }

    async fn poll<T>(
        &self,
        what: &str,
        done: &Done,
        mut attempt: impl AsyncFnMut() -> Result<T, String>,
    ) -> T {
        loop {
            let result = attempt().await;
            let elapsed = done.returned.elapsed();
            match result {
                Ok(found) => {
                    assert!(
                        elapsed <= LIMIT,
                        "{what}: known only {elapsed:?} after the client returned"
                    );
                    let milliseconds = elapsed.as_secs_f64() * 1000.0;
                    print(format!(
                        "{}: {what}: known {milliseconds:.1} ms after the client returned",
                        self.name
                    ));
                    return found;
                }
                Err(difference) => {
                    assert!(elapsed <= LIMIT, "{what}: {elapsed:?} later {difference}")
                }
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// What the registry itself says of its tags and manifests is what the catalog says.
    async fn assert_equals_registry(&self) {
        let listed = self.catalog.describe().await;
        let mut tags = BTreeMap::new();
        for detail in &listed {
            let digest = detail["imageDigest"].as_str().unwrap().to_owned();
            let media_type = detail["imageManifestMediaType"].as_str().unwrap().to_owned();
            let manifest = (digest, media_type);
            assert_eq!(
                self.registry.head(REPOSITORY, &manifest.0).await.as_ref(),
                Some(&manifest),
                "by its digest"
            );
            for tag in detail["imageTags"].as_array().into_iter().flatten() {
                tags.insert(tag.as_str().unwrap().to_owned(), manifest.clone());
            }
        }
        let url = self.registry.url(&format!("/v2/{REPOSITORY}/tags/list"));
        let listing = self.registry.http.get(url).send().await.unwrap();
        let listing: Value = listing.error_for_status().unwrap().json().await.unwrap();
        let mut own_tags = BTreeMap::new();
        for tag in listing["tags"].as_array().into_iter().flatten() {
            let tag = tag.as_str().unwrap();
            own_tags.insert(tag.to_owned(), self.registry.head(REPOSITORY, tag).await.unwrap());
        }
        assert_eq!(tags, own_tags, "the tags of the catalog and of the registry");
    }
}

fn run(mut command: Command) -> Done {
    let from = now();
    let output = command.stdin(Stdio::null()).output().unwrap();
    let done = Done::since(from);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    done
}

/// By the same clock as the registry's.
fn now() -> i64 {
    Timestamp::now().as_milliseconds()
}

/// Of a time as the service writes it.
fn milliseconds(time: &Value) -> Option<i64> {
    time.as_f64().map(|seconds| (seconds * 1000.0).round() as i64)
}

fn without_times(detail: &Value) -> Value {
    let mut detail = detail.clone();
    let members = detail.as_object_mut().unwrap();
    members.remove("imagePushedAt");
    members.remove("lastRecordedPullTime");
    detail
}

fn find<'a>(listed: &'a [Value], image: &Layout) -> &'a Value {
    listed.iter().find(|detail| detail["imageDigest"] == image.digest.as_str()).unwrap()
}

fn assert_pushed_during(listed: &[Value], image: &Layout, push: &Done) {
    let pushed_at = milliseconds(&find(listed, image)["imagePushedAt"]).unwrap();
    assert!(push.during.contains(&pushed_at), "{pushed_at} is not in {:?}", push.during);
}

/// A catalog that can be stopped and started on the same port, with the same table.
struct StoppableCatalog {
    address: SocketAddr,
    store: Store,
    keys: String,
    http: reqwest::Client,
    running: Option<Catalog>,
}

impl StoppableCatalog {
    async fn new() -> Self {
        // The port is let go of, and taken again by the start.
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        Self {
            address,
            store: Store::in_memory().await,
            keys: Keyring::generate_key().unwrap(),
            http: reqwest::Client::new(),
            running: None,
        }
    }

    async fn start(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        // Not the one that the registry's notifications name.
        let default_registry = RegistryId::parse("999999999999").unwrap();
        let catalog = Catalog::listen(listener, self.store.clone(), &self.keys, default_registry);
        self.running = Some(catalog);
    }

    /// Returns when connections are refused, those that the registry keeps open among them.
    async fn stop(&mut self) {
        // The next request must not go out on a connection that is being closed.
        self.http = reqwest::Client::new();
        self.running.take().unwrap().stop().await;
        assert!(TcpStream::connect(self.address).await.is_err(), "the catalog still listens");
    }

    /// All images of the repository.
    async fn describe(&self) -> Vec<Value> {
        let request = json!({
            "registryId": REGISTRY,
            "repositoryName": REPOSITORY,
            "maxResults": 1000,
            "filter": { "imageStatus": "ANY" }
        });
        let response = self
            .http
            .post(format!("http://{}/", self.address))
            .header("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.DescribeImages")
            .json(&request)
            .send()
            .await
            .unwrap();
        let success = response.status().is_success();
        let body: Value = response.json().await.unwrap();
        if success {
            return body["imageDetails"].as_array().unwrap().clone();
        }
        assert_eq!(body["__type"], "RepositoryNotFoundException", "{body}");
        Vec::new()
    }
}

/// An image or an index in a folder, to be pushed, and what its manifest says.
#[derive(Clone)]
struct Layout {
    folder: PathBuf,
    digest: String,
    manifest_size: usize,
    architecture: String,
    media_type: &'static str,
    configuration_media_type: Option<&'static str>,
    /// What the catalog should say.
    size: usize,
}

impl Layout {
    /// An image with layers of these sizes. The name makes it another image than others.
    fn image(folder: &Path, name: &str, architecture: &str, layers: &[usize]) -> Self {
        // What begins like this, skopeo takes to be compressed, and leaves as it is.
        let layer = |(number, size): (usize, &usize)| {
            let filling = format!("{name} {number} ").into_bytes().into_iter().cycle();
            let bytes: Vec<u8> =
                [0x1f, 0x8b, 0x08].into_iter().chain(filling).take(*size).collect();
            (write_blob(folder, &bytes), *size)
        };
        let layers: Vec<(String, usize)> = layers.iter().enumerate().map(layer).collect();
        let digests: Vec<&String> = layers.iter().map(|(digest, _)| digest).collect();
        let configuration = json!({
            "architecture": architecture,
            "os": "linux",
            "author": name,
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": digests }
        });
        let configuration = configuration.to_string();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE,
            "config": descriptor(
                OCI_CONFIGURATION,
                &write_blob(folder, configuration.as_bytes()),
                configuration.len()
            ),
            "layers": layers
                .iter()
                .map(|(digest, size)| descriptor(OCI_LAYER, digest, *size))
                .collect::<Vec<_>>(),
        });
        Self {
            architecture: architecture.to_owned(),
            configuration_media_type: Some(OCI_CONFIGURATION),
            size: configuration.len() + layers.iter().map(|(_, size)| size).sum::<usize>(),
            ..Self::write(folder, OCI_IMAGE, &manifest)
        }
    }

    /// An index of images that are in the same folder.
    fn index(folder: &Path, images: &[Self]) -> Self {
        let describe = |image: &Self| {
            let mut descriptor = descriptor(image.media_type, &image.digest, image.manifest_size);
            descriptor["platform"] = json!({ "architecture": image.architecture, "os": "linux" });
            descriptor
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": images.iter().map(describe).collect::<Vec<_>>(),
        });
        Self {
            size: images.iter().map(|image| image.size).max().unwrap(),
            ..Self::write(folder, OCI_INDEX, &manifest)
        }
    }

    /// Makes a manifest the one that the folder is about.
    fn write(folder: &Path, media_type: &'static str, manifest: &Value) -> Self {
        let manifest = manifest.to_string();
        let digest = write_blob(folder, manifest.as_bytes());
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor(media_type, &digest, manifest.len())] });
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        fs::write(folder.join("index.json"), index.to_string()).unwrap();
        Self {
            folder: folder.to_owned(),
            digest,
            manifest_size: manifest.len(),
            architecture: String::new(),
            media_type,
            configuration_media_type: None,
            size: 0,
        }
    }

    fn address(&self) -> String {
        format!("oci:{}", self.folder.display())
    }

    /// What the catalog should say of it, apart from times.
    fn detail(&self, tags: &[&str]) -> Value {
        let mut detail = json!({
            "registryId": REGISTRY,
            "repositoryName": REPOSITORY,
            "imageDigest": self.digest,
            "imageSizeInBytes": self.size,
            "imageManifestMediaType": self.media_type,
            "imageStatus": "ACTIVE"
        });
        if !tags.is_empty() {
            detail["imageTags"] = json!(tags);
        }
        if let Some(media_type) = self.configuration_media_type {
            detail["artifactMediaType"] = json!(media_type);
        }
        detail
    }
}

fn descriptor(media_type: &str, digest: &str, size: usize) -> Value {
    json!({ "mediaType": media_type, "digest": digest, "size": size })
}

async fn manifest_of(registry: &DockerRegistry, digest: &str) -> Value {
    let url = registry.url(&format!("/v2/{REPOSITORY}/manifests/{digest}"));
    let response = registry.http.get(url).header("accept", DOCKER_LIST).send().await.unwrap();
    response.error_for_status().unwrap().json().await.unwrap()
}

/// Puts bytes where a layout keeps them; returns their digest.
fn write_blob(folder: &Path, bytes: &[u8]) -> String {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let new = blobs.join("new");
    fs::write(&new, bytes).unwrap();
    let output =
        Command::new("sha256sum").args([OsStr::new("--"), new.as_os_str()]).output().unwrap();
    let digest = String::from_utf8(output.stdout).unwrap()[..64].to_owned();
    fs::rename(&new, blobs.join(&digest)).unwrap();
    format!("sha256:{digest}")
}
