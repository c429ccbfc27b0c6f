//! Whatever events arrived, after a reconciliation the catalog equals the registry.

use std::sync::atomic::Ordering;

use catalog::change::Content;
use catalog::image::Image;
use catalog::{Change, ChangeKind, Repository, RepositoryStatement};
use end_to_end::harness::{Store, digest, histories, repository, tag, time};
use end_to_end::reference::{generators::any_scan, model};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use reconcile::drift;
use reconcile::observation::{Contents, Observation, ObservedImage};

use super::{listed, minutes};

pub(super) fn any_kind() -> impl Strategy<Value = ChangeKind> {
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
        1 => Just(ChangeKind::RepositoryStated(RepositoryStatement::default())),
        1 => Just(ChangeKind::RepositoryDeleted),
        1 => any_digest().prop_map(|digest| ChangeKind::ImagePulled { digest }),
        1 => any_digest().prop_map(|digest| ChangeKind::ImageArchived { digest }),
        // Its own time is set to that of the change.
        1 => any_digest().prop_map(|digest| ChangeKind::ImageRestored { digest, activated_at: time(0) }),
        2 => (any_digest(), any_scan())
            .prop_map(|(digest, scan)| ChangeKind::ImageScanned { digest, scan }),
    ]
}

/// The changes of a registry, which of them the catalog received before the registry was listed,
/// and whether the rest arrive later or never. The events contain no sizes.
#[derive(Debug, Clone)]
struct Past {
    changes: Vec<(i64, ChangeKind, bool)>,
    observed_at: i64,
    is_late: bool,
}

fn any_past() -> impl Strategy<Value = Past> {
    (vec((0..12_i64, any_kind(), any::<bool>()), 1..14), 3..12_i64, any::<bool>())
        .prop_map(|(changes, observed_at, is_late)| Past { changes, observed_at, is_late })
}

pub(super) fn change(repository: &Repository, at: i64, kind: &ChangeKind) -> Change {
    let time = minutes(at);
    let mut kind = kind.clone();
    if let ChangeKind::ImageRestored { activated_at, .. } = &mut kind {
        *activated_at = time;
    }
    Change { repository: repository.clone(), time, kind }
}

/// A complete observation of a registry with these images.
fn observe(images: Option<Vec<Image>>, known: &[Image], at: i64) -> Observation {
    let contents = images.map(|images| {
        let mut contents = Contents::default();
        for image in &images {
            let tags = image.image_tags.iter().map(|tag| (tag.clone(), image.image_digest.clone()));
            contents.tags.extend(tags);
            let observed = ObservedImage {
                pushed_at: Some(image.image_pushed_at),
                assumed_pushed_at: None,
                is_stated: false,
                content: Content {
                    manifest_media_type: image.image_manifest_media_type.clone(),
                    size_in_bytes: image.image_size_in_bytes,
                    ..Content::default()
                },
                pulled_at: image.last_recorded_pull_time,
                archived_at: image.last_archived_at,
                activated_at: image.last_activated_at,
                scan: Some(image.scan.clone().unwrap_or_default()),
            };
            contents.images.insert(image.image_digest.clone(), observed);
        }
        let digests = known.iter().map(|image| image.image_digest.clone());
        contents.deleted = digests.filter(|digest| !contents.images.contains_key(digest)).collect();
        contents
    });
    Observation { time: minutes(at), contents }
}

/// Whatever events were lost, after a reconciliation the catalog equals the registry, and later and
/// late events are applied as if nothing had been lost.
#[test]
fn after_a_reconciliation_nothing_is_lost_and_nothing_is_wrong() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(Store::in_memory());
    let number = std::sync::atomic::AtomicUsize::new(0);
    let cases = histories();
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
        .run(&any_past(), |past| {
            let repository = repository(&format!("r{}", number.fetch_add(1, Ordering::Relaxed)));
            runtime.block_on(async {
                let (before, since): (Vec<_>, Vec<_>) =
                    past.changes.iter().partition(|(at, ..)| *at <= past.observed_at);
                let change =
                    |(at, kind, _): &&(i64, ChangeKind, bool)| change(&repository, *at, kind);
                for mut received in
                    before.iter().filter(|(.., is_received)| *is_received).map(change)
                {
                    if let ChangeKind::ImagePushed { content, .. } = &mut received.kind {
                        content.size_in_bytes = None;
                    }
                    store.writer.apply(&received).await.unwrap();
                }
                let there = model::fold(&before.iter().map(change).collect::<Vec<_>>());
                let there = there.filter(|_| !before.is_empty());
                let mut applied = Vec::new();
                // The catalog may know a scan of an image that it does not have.
                for _ in 0..2 {
                    let known = listed(&store, &repository).await;
                    let known = known.as_deref();
                    let observed =
                        observe(there.clone(), known.unwrap_or_default(), past.observed_at);
                    for difference in drift::changes(&repository, &observed, known) {
                        store.writer.apply(&difference).await.unwrap();
                        applied.push(difference);
                    }
                }
                let now = listed(&store, &repository).await;
                assert_eq!(now, there, "after {applied:#?}");
                let observed = observe(there, now.as_deref().unwrap_or_default(), past.observed_at);
                assert_eq!(drift::changes(&repository, &observed, now.as_deref()), []);

                let late: Vec<_> = if past.is_late { before.clone() } else { Vec::new() };
                for later in since.iter().chain(&late).map(change) {
                    store.writer.apply(&later).await.unwrap();
                }
                let all: Vec<Change> = past.changes.iter().map(|each| change(&each)).collect();
                // A catalog that never received an event of a repository does not list it as
                // deleted.
                let listed = listed(&store, &repository).await.unwrap_or_default();
                assert_eq!(listed, model::fold(&all).unwrap_or_default());
            });
            Ok(())
        })
        .unwrap();
}
