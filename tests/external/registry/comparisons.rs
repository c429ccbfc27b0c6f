//! A catalog that heard nothing is compared with its registry.

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use catalog::{Change, ChangeKind, RegistryId, Timestamp};
use end_to_end::harness::{OCI_IMAGE, REGISTRY, Store, binary, digest, print, repository, tag};
use reconcile::{Followed, FollowedRegistries, Reconcile, ToCompare};
use registries::{Registries, RegistryAddress};
use secret::Secret;
use serde_json::{Value, json};

use super::setup::{Setup, now};
use super::{REPOSITORY, described};

/// The registry, as one that is followed.
pub(super) fn followed(setup: &Setup) -> Followed {
    let address = RegistryAddress::of_url(&format!("http://{}", setup.registry.address)).unwrap();
    Followed {
        id: "registry".to_owned(),
        registry: registries::Registry::Distribution(address),
        registry_id: RegistryId::parse(REGISTRY).unwrap(),
        repository_prefix: None,
    }
}

/// Compares a store, so many tags at once.
pub(super) fn reconcile(store: &Store, tags_at_once: usize) -> Reconcile {
    let subscriptions = Arc::new(Secret::known(subscriptions::Subscriptions::default()));
    Reconcile {
        reader: store.reader.clone(),
        writer: store.writer.clone(),
        registries: Registries::new(subscriptions, None),
        tags_at_once,
    }
}

/// What differs, which is repaired unless this is a dry run.
pub(super) async fn differences(setup: &Setup, store: &Store, is_dry_run: bool) -> Vec<ChangeKind> {
    differences_by(setup, store, is_dry_run, usize::MAX).await
}

/// The same, so many tags at once.
pub(super) async fn differences_by(
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
pub(super) async fn by_digest(store: &Store) -> Vec<(String, Vec<String>, Option<i64>)> {
    let mut described = described(store).await;
    described.sort();
    described
}

/// The catalog that the registry notifies says what is right.
pub(super) async fn a_catalog_that_heard_nothing(setup: Setup) {
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

pub(super) async fn two_thousand_images_from_before(setup: Setup) {
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
