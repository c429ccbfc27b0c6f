//! The push times of images that a comparison finds in a registry that does not return them (rule
//! 59).

use std::collections::BTreeMap;
use std::time::Duration;

use catalog::change::Content;
use catalog::image::Image;
use catalog::{Change, ChangeKind, Digest, Timestamp};
use end_to_end::harness::stand_in::{Extras, StandIn, digest_of};
use end_to_end::harness::{OCI_CONFIGURATION, OCI_IMAGE, OCI_INDEX, Store};
use end_to_end::harness::{digest, repository, tag};
use reconcile::{Drift, ReconcileJob};
use registries::Subscriptions;
use serde_json::{Value, json};

use super::{listed, reconcile, target};

/// A configuration, and the manifest of its image.
pub(super) fn image(number: usize, created: &Value) -> (Value, Value) {
    let mut configuration = json!({ "architecture": "amd64", "os": "linux", "author": number });
    if *created != json!("absent") {
        configuration["created"] = created.clone();
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "config": {
            "mediaType": OCI_CONFIGURATION,
            "digest": digest_of(&configuration),
            "size": configuration.to_string().len(),
        },
        "layers": [],
    });
    (configuration, manifest)
}

fn index(manifests: &[&Value]) -> Value {
    let descriptors = manifests.iter().map(|manifest| {
        let size = manifest.to_string().len();
        json!({ "mediaType": OCI_IMAGE, "digest": digest_of(manifest), "size": size })
    });
    let manifests: Vec<Value> = descriptors.collect();
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests })
}

fn job() -> ReconcileJob {
    ReconcileJob { name: "app".to_owned(), prune: false, after: None }
}

async fn find_drift(store: &Store, registry: &StandIn) -> Drift {
    let reconcile = reconcile(store, Subscriptions::default(), None);
    reconcile.find_drift(&target(registry), &job()).await.unwrap()
}

async fn repair(store: &Store, drift: &Drift) {
    let reconcile = reconcile(store, Subscriptions::default(), None);
    let repaired = reconcile.repair(drift, None).await.unwrap();
    assert_eq!(repaired.repaired, drift.changes.len(), "{repaired:#?}");
}

async fn fill(store: &Store, registry: &StandIn) {
    repair(store, &find_drift(store, registry).await).await;
}

async fn images(store: &Store) -> Vec<Image> {
    listed(store, &repository("app")).await.unwrap()
}

async fn push_time(store: &Store, digest: &Digest) -> Timestamp {
    let images = images(store).await;
    images.iter().find(|image| image.image_digest == *digest).unwrap().image_pushed_at
}

async fn push(store: &Store, digest: &Digest, time: Timestamp) {
    let (digest, content) = (digest.clone(), Content::default());
    let kind = ChangeKind::ImagePushed { digest, tag: Some(tag("v1")), content };
    let change = Change { repository: repository("app"), time, kind };
    store.writer.apply(&change).await.unwrap();
}

/// The millisecond that was so many seconds ago.
fn ago(seconds: u64) -> Timestamp {
    let time = Timestamp::now().minus(Duration::from_secs(seconds));
    Timestamp::from_milliseconds(time.as_milliseconds()).unwrap()
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// `maxResults: 1` was an old image.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r59_after_a_first_fill_the_newest_image_is_the_one_that_was_created_last() {
    let created = ["2025-09-01T10:00:00.123Z", "2026-02-01T01:00:00+01:00", "2026-01-01T00:00:00Z"];
    let pairs: Vec<(Value, Value)> =
        created.iter().enumerate().map(|(number, time)| image(number, &json!(time))).collect();
    let extras = Extras {
        configurations: pairs.iter().map(|(configuration, _)| configuration.clone()).collect(),
        ..Extras::default()
    };
    let tags =
        [("5.0", pairs[0].1.clone()), ("6.0", pairs[1].1.clone()), ("4.9", pairs[2].1.clone())];
    let registry = StandIn::start_with("app", &tags, extras).await;
    let store = Store::in_memory().await;
    fill(&store, &registry).await;
    let times: Vec<(Digest, Timestamp)> = images(&store)
        .await
        .into_iter()
        .map(|image| (image.image_digest, image.image_pushed_at))
        .collect();
    let expected = [1, 2, 0].map(|number| (digest_of(&pairs[number].1), at(created[number])));
    assert_eq!(times, expected);
    assert_eq!(find_drift(&store, &registry).await.changes, []);
    let of_blobs = |registry: &StandIn| {
        let requests = registry.requests.lock().unwrap();
        requests.iter().filter(|request| request.target.contains("/blobs/")).count()
    };
    assert_eq!(of_blobs(&registry), 3, "only of images that the catalog did not have");
}

/// Reproducible builds have fixed times. What does not count gives way to `Last-Modified`, and that
/// to the time of the comparison.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r59_a_time_that_cannot_be_that_of_a_push_does_not_count() {
    let created = [
        json!("1970-01-01T00:00:00Z"),
        json!("1970-01-01T00:00:01Z"),
        json!("1980-01-01T00:00:01Z"),
        json!("0001-01-01T00:00:00Z"),
        json!("2013-03-19T23:59:59Z"),
        json!("2999-01-01T00:00:00Z"),
        json!("yesterday"),
        json!(""),
        json!(17),
        Value::Null,
        json!("absent"),
    ];
    let pairs: Vec<(Value, Value)> =
        created.iter().enumerate().map(|(number, time)| image(number, time)).collect();
    let mut configurations: Vec<Value> = pairs.iter().map(|(one, _)| one.clone()).collect();
    let mut manifests: Vec<Value> = pairs.into_iter().map(|(_, manifest)| manifest).collect();
    // One of more than 4 MiB is not requested, whatever its real size is.
    let (configuration, mut manifest) = image(90, &json!("2026-01-01T00:00:00Z"));
    manifest["config"]["size"] = json!(4 * 1024 * 1024 + 1);
    configurations.push(configuration);
    manifests.push(manifest);
    // One that does not exist.
    manifests.push(image(91, &json!("2026-01-01T00:00:00Z")).1);
    let names: Vec<String> = (0..manifests.len()).map(|number| format!("v{number}")).collect();
    let tags: Vec<(&str, Value)> =
        names.iter().map(String::as_str).zip(manifests.iter().cloned()).collect();
    for last_modified in [None, Some("Wed, 07 Jan 2026 12:00:00 GMT")] {
        let extras =
            Extras { configurations: configurations.clone(), last_modified, ..Extras::default() };
        let registry = StandIn::start_with("app", &tags, extras).await;
        let store = Store::in_memory().await;
        let before = ago(1);
        fill(&store, &registry).await;
        let times: Vec<Timestamp> =
            images(&store).await.iter().map(|image| image.image_pushed_at).collect();
        assert_eq!(times.len(), manifests.len());
        let is_right = |time: &Timestamp| match last_modified {
            Some(_) => *time == at("2026-01-07T12:00:00Z"),
            None => before <= *time && *time <= Timestamp::now(),
        };
        assert!(times.iter().all(is_right), "{times:?}");
    }
}

/// An index has no configuration. It cannot be pushed before its manifests, nor can they, such as
/// an attestation without a time, be pushed after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r59_an_index_is_as_new_as_the_newest_of_its_manifests() {
    let (old, new) =
        (image(1, &json!("2026-01-01T00:00:00Z")), image(2, &json!("2026-01-02T00:00:00Z")));
    let (attestation, other) =
        (image(3, &json!("absent")), image(4, &json!("2026-01-03T00:00:00Z")));
    let plain = index(&[&old.1, &new.1, &attestation.1]);
    let mut annotated = index(&[&other.1]);
    annotated["annotations"] =
        json!({ "org.opencontainers.image.created": "2026-01-05T00:00:00Z" });
    let mut empty = index(&[&old.1, &other.1]);
    empty["annotations"] = json!({ "org.opencontainers.image.created": "" });
    let all = [&old, &new, &attestation, &other];
    let extras = Extras {
        untagged: all.map(|(_, manifest)| manifest.clone()).to_vec(),
        configurations: all.map(|(configuration, _)| configuration.clone()).to_vec(),
        ..Extras::default()
    };
    let tags =
        [("plain", plain.clone()), ("annotated", annotated.clone()), ("empty", empty.clone())];
    let registry = StandIn::start_with("app", &tags, extras).await;
    let store = Store::in_memory().await;
    fill(&store, &registry).await;
    let times: BTreeMap<Digest, Timestamp> = images(&store)
        .await
        .into_iter()
        .map(|image| (image.image_digest, image.image_pushed_at))
        .collect();
    let expected = [
        (&annotated, "2026-01-05T00:00:00Z"),
        (&empty, "2026-01-03T00:00:00Z"),
        (&other.1, "2026-01-03T00:00:00Z"),
        (&plain, "2026-01-02T00:00:00Z"),
        (&attestation.1, "2026-01-02T00:00:00Z"),
        (&new.1, "2026-01-02T00:00:00Z"),
        (&old.1, "2026-01-01T00:00:00Z"),
    ];
    assert_eq!(times, expected.map(|(manifest, time)| (digest_of(manifest), at(time))).into());
}

/// It was set back by up to the length of the comparison, for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r59_a_push_during_a_comparison_keeps_its_time() {
    let (configuration, manifest) = image(1, &json!("2026-01-01T00:00:00Z"));
    let pushed = digest_of(&manifest);
    for arrives_during in [true, false] {
        // The registry listed its tags ten minutes before it returned the image.
        let extras = Extras {
            configurations: vec![configuration.clone()],
            list_age: Duration::from_secs(600),
            ..Extras::default()
        };
        let registry = StandIn::start_with("app", &[("v1", manifest.clone())], extras).await;
        let store = Store::in_memory().await;
        let drift = find_drift(&store, &registry).await;
        let time = ago(300);
        if arrives_during {
            push(&store, &pushed, time).await;
            repair(&store, &drift).await;
        } else {
            repair(&store, &drift).await;
            assert_eq!(push_time(&store, &pushed).await, at("2026-01-01T00:00:00Z"));
            push(&store, &pushed, time).await;
        }
        assert_eq!(push_time(&store, &pushed).await, time);
        fill(&store, &registry).await;
        assert_eq!(push_time(&store, &pushed).await, time);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r59_a_late_event_of_the_push_replaces_the_assumed_time_and_a_later_push_does_not() {
    let (configuration, manifest) = image(1, &json!("2026-01-01T00:00:00Z"));
    let pushed = digest_of(&manifest);
    let extras = Extras { configurations: vec![configuration], ..Extras::default() };
    let registry = StandIn::start_with("app", &[("v1", manifest)], extras).await;
    let store = Store::in_memory().await;
    fill(&store, &registry).await;
    assert_eq!(push_time(&store, &pushed).await, at("2026-01-01T00:00:00Z"));
    // The end of the second in which the registry returned it has passed by then.
    push(&store, &pushed, Timestamp::now().plus(Duration::from_secs(2))).await;
    assert_eq!(push_time(&store, &pushed).await, at("2026-01-01T00:00:00Z"));
    let late = ago(24 * 60 * 60);
    push(&store, &pushed, late).await;
    assert_eq!(push_time(&store, &pushed).await, late);
}

/// Also if the clock of the events is ahead of the registry's. What is missing is completed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r59_a_known_push_is_never_moved_by_a_comparison() {
    let (configuration, manifest) = image(1, &json!("2026-01-01T00:00:00Z"));
    let pushed = digest_of(&manifest);
    let tags = [("v1", manifest.clone()), ("v2", manifest.clone())];
    for time in [at("2025-12-31T00:00:00Z"), ago(3), ago(0).plus(Duration::from_secs(60))] {
        let extras = Extras { configurations: vec![configuration.clone()], ..Extras::default() };
        let registry = StandIn::start_with("app", &tags, extras).await;
        let store = Store::in_memory().await;
        push(&store, &pushed, time).await;
        let drift = find_drift(&store, &registry).await;
        let kinds: Vec<&ChangeKind> = drift.changes.iter().map(|change| &change.kind).collect();
        assert!(
            matches!(
                kinds[..],
                [
                    ChangeKind::RepositoryStated(_),
                    ChangeKind::ImageFound { tag: None, .. },
                    ChangeKind::ImageFound { tag: Some(_), .. }
                ]
            ),
            "the URI, the size and a tag: {kinds:#?}"
        );
        repair(&store, &drift).await;
        let [image] = &images(&store).await[..] else { panic!("one image") };
        assert_eq!(image.image_pushed_at, time);
        assert_eq!(image.image_tags, [tag("v1"), tag("v2")].into());
        assert!(image.image_size_in_bytes.is_some());
        let requests = registry.requests.lock().unwrap();
        assert!(
            !requests.iter().any(|request| request.target.contains("/blobs/")),
            "{requests:#?}"
        );
    }
    // A tag that moved to a known image.
    let extras = Extras { configurations: vec![configuration], ..Extras::default() };
    let registry = StandIn::start_with("app", &[("v1", manifest)], extras).await;
    let store = Store::in_memory().await;
    let time = ago(100);
    push(&store, &pushed, time).await;
    push(&store, &digest(7), ago(50)).await;
    fill(&store, &registry).await;
    assert_eq!(push_time(&store, &pushed).await, time);
}
