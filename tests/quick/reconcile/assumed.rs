//! Reconciliation with a registry that does not return push times (rule 59): an image has the time
//! of the event of its push, if that is known or comes later, and else the assumed one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use catalog::change::Content;
use catalog::image::Image;
use catalog::{Change, ChangeKind, Digest, Timestamp};
use end_to_end::harness::{Store, digest, histories, repository};
use end_to_end::reference::model;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reconcile::drift;
use reconcile::observation::{Contents, Observation, ObservedImage};

use super::property::{any_kind, change};
use super::{listed, minutes};

/// The changes of a registry, which of them the catalog received before the registry was listed,
/// whether the rest arrive later or never, and when each image was created.
#[derive(Debug, Clone)]
struct Past {
    changes: Vec<(i64, ChangeKind, bool)>,
    observed_at: i64,
    is_late: bool,
    created: Vec<Option<i64>>,
}

fn any_past() -> impl Strategy<Value = Past> {
    let is_returned = |kind: &ChangeKind| {
        !matches!(
            kind,
            ChangeKind::ImagePulled { .. }
                | ChangeKind::ImageArchived { .. }
                | ChangeKind::ImageRestored { .. }
                | ChangeKind::ImageScanned { .. }
        )
    };
    let kind = any_kind().prop_filter("the registry returns nothing of it", is_returned);
    let changes = vec((0..12_i64, kind, any::<bool>()), 1..14);
    let created = vec(proptest::option::of(0..12_i64), 3);
    (changes, 3..12_i64, any::<bool>(), created).prop_map(
        |(changes, observed_at, is_late, created)| Past { changes, observed_at, is_late, created },
    )
}

impl Past {
    /// The time at which an image was created, if that is before the observation. No event has it.
    fn created(&self, image: &Digest) -> Option<Timestamp> {
        let number = (1..4).find(|number| digest(*number) == *image)?;
        let created = self.created[usize::try_from(number).unwrap() - 1]?;
        (created < self.observed_at).then(|| minutes(created).plus(Duration::from_secs(7)))
    }

    /// A complete observation of a registry with these images.
    fn observe(&self, images: Option<&[Image]>, known: &[Image]) -> Observation {
        let observed_at = minutes(self.observed_at);
        let contents = images.map(|images| {
            let mut contents = Contents::default();
            for image in images {
                let digest = &image.image_digest;
                contents
                    .tags
                    .extend(image.image_tags.iter().cloned().map(|tag| (tag, digest.clone())));
                contents.found_at.insert(digest.clone(), observed_at.plus(Duration::from_secs(1)));
                let is_known = known.iter().any(|known| known.image_digest == *digest);
                let observed = ObservedImage {
                    assumed_pushed_at: self.created(digest).filter(|_| !is_known),
                    content: Content {
                        manifest_media_type: image.image_manifest_media_type.clone(),
                        size_in_bytes: image.image_size_in_bytes,
                        ..Content::default()
                    },
                    ..ObservedImage::default()
                };
                contents.images.insert(digest.clone(), observed);
            }
            let digests = known.iter().map(|image| image.image_digest.clone());
            contents.deleted =
                digests.filter(|digest| !contents.images.contains_key(digest)).collect();
            contents
        });
        Observation { time: observed_at, contents }
    }
}

#[test]
fn r59_an_image_has_the_time_of_its_event_or_else_the_assumed_one() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(Store::in_memory());
    let number = AtomicUsize::new(0);
    let cases = histories();
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
        .run(&any_past(), |past| {
            let repository = repository(&format!("r{}", number.fetch_add(1, Ordering::Relaxed)));
            runtime.block_on(async {
                let (before, since): (Vec<_>, Vec<_>) =
                    past.changes.iter().partition(|(at, ..)| *at <= past.observed_at);
                let change =
                    |(at, kind, _): &&(i64, ChangeKind, bool)| change(&repository, *at, kind);
                let mut received: Vec<Change> =
                    before.iter().filter(|(.., is_received)| *is_received).map(change).collect();
                for received in &mut received {
                    if let ChangeKind::ImagePushed { content, .. } = &mut received.kind {
                        content.size_in_bytes = None;
                    }
                    store.writer.apply(received).await.unwrap();
                }
                let there = model::fold(&before.iter().map(change).collect::<Vec<_>>());
                let there = there.filter(|_| !before.is_empty());
                let known = listed(&store, &repository).await;
                let observed = past.observe(there.as_deref(), known.as_deref().unwrap_or_default());
                let differences = drift::changes(&repository, &observed, known.as_deref());
                for difference in &differences {
                    store.writer.apply(difference).await.unwrap();
                }

                // The times that count as long as no event of a push comes.
                let mut times: BTreeMap<Digest, Timestamp> = BTreeMap::new();
                for image in there.iter().flatten() {
                    let digest = &image.image_digest;
                    let known = known.iter().flatten().find(|known| known.image_digest == *digest);
                    // An image is not pushed before it is deleted.
                    let deletions = received.iter().filter(|change| match &change.kind {
                        ChangeKind::ImageDeleted { digest: deleted } => deleted == digest,
                        kind => *kind == ChangeKind::RepositoryDeleted,
                    });
                    let deleted_at = deletions.map(|change| change.time).max();
                    let assumed = past.created(digest).unwrap_or(minutes(past.observed_at));
                    let assumed = deleted_at.map_or(assumed, |deleted_at| deleted_at.max(assumed));
                    times.insert(
                        digest.clone(),
                        known.map_or(assumed, |known| known.image_pushed_at),
                    );
                }
                let with_times = |images: Option<Vec<Image>>| {
                    let mut images = images?;
                    for image in &mut images {
                        let is_of_event =
                            past.is_late || image.image_pushed_at > minutes(past.observed_at);
                        if !is_of_event {
                            image.image_pushed_at = times[&image.image_digest];
                        }
                    }
                    model::sort(&mut images);
                    Some(images)
                };
                let now = listed(&store, &repository).await;
                let mut expected = there.clone();
                for image in expected.iter_mut().flatten() {
                    image.image_pushed_at = times[&image.image_digest];
                }
                expected.iter_mut().for_each(|images| model::sort(images));
                assert_eq!(now, expected, "after {differences:#?}");
                let observed = past.observe(there.as_deref(), now.as_deref().unwrap_or_default());
                assert_eq!(drift::changes(&repository, &observed, now.as_deref()), []);

                let late: Vec<_> = if past.is_late { before.clone() } else { Vec::new() };
                for later in since.iter().chain(&late).map(change) {
                    store.writer.apply(&later).await.unwrap();
                }
                let all: Vec<Change> = past.changes.iter().map(|each| change(&each)).collect();
                let listed = listed(&store, &repository).await.unwrap_or_default();
                assert_eq!(listed, with_times(model::fold(&all)).unwrap_or_default());
            });
            Ok(())
        })
        .unwrap();
}
