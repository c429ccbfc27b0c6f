//! Reconciliation of a catalog that received no notification.

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use catalog::{Change, ChangeKind, RegistryId, RepositoryStatement, Service, Timestamp};
use end_to_end::harness::{
    DockerRegistry, Notifications, OCI_IMAGE, Process, REGISTRY, Store, binary, digest, free_port,
    print, repository, tag, time,
};
use reconcile::{Reconcile, ReconcileJob};
use registries::{Registries, RegistryAddress, RegistryTarget, RegistryTargets, Scope};
use secret::Secret;
use serde_json::{Value, json};

use super::setup::{Setup, now};
use super::{REPOSITORY, described};

/// The registry as a target.
pub(super) fn target(setup: &Setup) -> RegistryTarget {
    let address =
        RegistryAddress::from_url(&format!("http://{}", setup.registry.address).parse().unwrap())
            .unwrap();
    RegistryTarget {
        id: "registry".to_owned(),
        registry: registries::Registry::Oci(address),
        source: None,
        scope: Scope {
            service: Service::Ecr,
            registry_id: RegistryId::parse(REGISTRY).unwrap(),
            repository_prefix: None,
        },
    }
}

/// Reconciles a store, this many tags at once.
pub(super) fn reconcile(store: &Store, max_tags: usize) -> Reconcile {
    let subscriptions = Arc::new(Secret::known(registries::Subscriptions::default()));
    Reconcile {
        reader: store.reader.clone(),
        writer: store.writer.clone(),
        registries: Registries::new(subscriptions, None),
        max_tags,
    }
}

/// The drift. It is repaired unless this is a dry run.
pub(super) async fn differences(setup: &Setup, store: &Store, is_dry_run: bool) -> Vec<ChangeKind> {
    differences_by(setup, store, is_dry_run, usize::MAX).await
}

/// The same, this many tags at once. Without the times of images that are found.
pub(super) async fn differences_by(
    setup: &Setup,
    store: &Store,
    is_dry_run: bool,
    max_tags: usize,
) -> Vec<ChangeKind> {
    let reconcile = reconcile(store, max_tags);
    let mut rest = Some(ReconcileJob { name: REPOSITORY.to_owned(), prune: false, after: None });
    let mut all = Vec::new();
    // Two comparisons may be in two seconds.
    let without_times = |mut kind| {
        if let ChangeKind::ImageFound { pushed_at, found_at, .. } = &mut kind {
            (*pushed_at, *found_at) = (time(0), time(0));
        }
        kind
    };
    while let Some(listed) = rest {
        let drift = reconcile.find_drift(&target(setup), &listed).await.unwrap();
        if !is_dry_run {
            let repaired = reconcile.repair(&drift, None).await.unwrap();
            assert_eq!(repaired.repaired + repaired.superseded, drift.changes.len());
        }
        all.extend(drift.changes.into_iter().map(|change| without_times(change.kind)));
        rest = drift.rest;
    }
    all
}

/// The images, in the order of their digests.
pub(super) async fn by_digest(store: &Store) -> Vec<(String, Vec<String>, Option<i64>)> {
    let mut described = described(store).await;
    described.sort();
    described
}

/// The expected images are those of the catalog that the registry notifies.
pub(super) async fn a_catalog_without_notifications(setup: Setup) {
    let (one, two) = (setup.image("one", &[100]), setup.image("two", &[200, 300]));
    setup.push(&one, "v1", &[]);
    setup.push(&one, "latest", &[]);
    setup.push(&two, "old", &[]);
    let images = setup.images_of_platforms();
    let push = setup.push(&setup.index("all", &images), "multi", &["--all"]);
    let listed = setup.images_after(&push, 6).await;
    assert_eq!(listed, 6);

    // The first run fills the catalog.
    let store = Store::in_memory().await;
    let mut all = RegistryTargets::default();
    all.targets.push(target(&setup));
    // A repository that the registry does not list is deleted. One that it lists stays.
    let deleted = Change {
        repository: repository("team/gone"),
        time: Timestamp::from_milliseconds(now() - 60_000).unwrap(),
        kind: ChangeKind::RepositoryStated(RepositoryStatement::default()),
    };
    store.writer.apply(&deleted).await.unwrap();
    let reconcile = reconcile(&store, usize::MAX);
    let listed = reconcile.repositories(&all, &target(&setup)).await.unwrap().jobs;
    let job = |name: &str, prune| ReconcileJob { name: name.to_owned(), prune, after: None };
    assert_eq!(listed, [job(REPOSITORY, false), job("team/gone", true)]);
    let unknown = reconcile.find_drift(&target(&setup), &job("team/gone", false)).await.unwrap();
    assert_eq!(unknown.changes, [], "it is left as it is unless it is to be pruned");
    let unknown = reconcile.find_drift(&target(&setup), &listed[1]).await.unwrap();
    assert_eq!(reconcile.repair(&unknown, None).await.unwrap().repaired, 1);
    assert_eq!(
        reconcile.repositories(&all, &target(&setup)).await.unwrap().jobs,
        [job(REPOSITORY, false)]
    );
    let dry = differences(&setup, &store, true).await;
    assert_eq!(by_digest(&store).await, [], "a dry run changes nothing");
    assert_eq!(differences(&setup, &store, false).await, dry);
    assert_eq!(by_digest(&store).await, by_digest(&setup.catalog.store).await);
    assert_eq!(differences(&setup, &store, false).await, []);

    // A push, a moved tag, and a deletion, without notifications.
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

    // Changes after the time of the listing are not undone, although the listing does not contain
    // them.
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

    // The same from the command line, which prints the drift. A dry run makes no catalog.
    let data = setup.folder.join("work/data");
    let run = |code, options: &[&str]| {
        let mut command = Command::new(binary());
        command
            .arg("reconcile")
            .args(["--from", &format!("http://{}", setup.registry.address)])
            .args(options);
        let output = command.arg("--data").arg(&data).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run(1, &["--dry-run"]), "");
    assert!(!data.exists());
    Process::start_with_data(&setup.folder).stop();
    let dry = run(2, &["--dry-run"]);
    assert!(
        dry.contains(&format!("{REGISTRY}/{REPOSITORY}: the tag v3 points to {}\n", three.digest)),
        "{dry}"
    );
    assert!(dry.ends_with("1 repositories reconciled, 11 differences found\n"), "{dry}");
    assert_eq!(run(0, &[]), dry.replace("found", "repaired"));
    assert_eq!(
        run(0, &["--repository", REPOSITORY]),
        "1 repositories reconciled, 0 differences repaired\n"
    );
}

/// A docker-registry with a password, and nothing in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_an_error() {
    let test = "a_wrong_password_is_an_error";
    let folder = end_to_end::harness::folder(&format!("registry/{test}"));
    let url = "http://127.0.0.1:9/".to_owned();
    let notifications = Notifications { port: free_port(), url, references: true };
    let registry = DockerRegistry::start_with_password(test, &folder, &notifications).await;
    let Some(registry) = registry else { return };
    let subscriptions = folder.join("subscriptions.json");
    let reconcile = |password: &str| {
        let subscription = json!([{
            "id": "registry", "source": "distribution", "registryId": REGISTRY,
            "credential": { "bearer": "token" }, "registryUrl": registry.url("/"),
            "registryCredential": { "username": "reader", "password": password },
        }]);
        std::fs::write(&subscriptions, subscription.to_string()).unwrap();
        let mut command = Command::new(binary());
        command.args(["reconcile", "--from", "registry", "--subscriptions"]).arg(&subscriptions);
        let output = command.arg("--data").arg(folder.join("data")).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, output, log) = reconcile("another");
    assert_eq!((code, output.as_str()), (Some(1), ""), "{log}");
    assert!(log.contains("the list of repositories is refused, with the status 401"), "{log}");
    let (code, output, log) = reconcile("password");
    let nothing = "0 repositories reconciled, 0 differences repaired\n";
    assert_eq!((code, output.as_str()), (Some(0), nothing), "{log}");
}

pub(super) async fn two_thousand_images_from_before(setup: Setup) {
    const IMAGES: usize = 2000;
    let image = setup.image("one", &[100]);
    setup.push(&image, "t0", &[]);
    // The same configuration and layers, but a different manifest each time.
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

    // The same, in parts.
    let store = Store::in_memory().await;
    assert_eq!(differences_by(&setup, &store, false, 300).await.len(), 1 + 2 * IMAGES);
    assert_eq!(by_digest(&store).await, expected);
    assert_eq!(differences_by(&setup, &store, false, 300).await, []);
    // Each part finds its own deletions: a tag before all others, one after them, one that points
    // elsewhere, and an image without a tag.
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
    // The registry's clock is behind by up to a second.
    tokio::time::sleep_until(setup.next_second()).await;
    let differing = differences_by(&setup, &store, false, 300).await;
    assert_eq!(by_digest(&store).await, expected, "{differing:#?}");
    assert_eq!(differing.len(), 5, "four deleted images and a moved tag: {differing:#?}");
}
