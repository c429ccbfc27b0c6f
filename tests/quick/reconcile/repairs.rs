//! Repairs of drift, and drift that cannot be repaired.

use catalog::change::Content;
use catalog::table::StoreError;
use catalog::{Change, ChangeKind, Timestamp};
use end_to_end::harness::stand_in::{StandIn, digest_of, image_manifest, index_manifest};
use end_to_end::harness::{Store, digest, repository, tag};
use reconcile::ReconcileJob;
use registries::Subscriptions;

use super::{reconcile, target};

/// A difference counts as repaired only if it no longer exists: not if the image is too large for
/// the catalog, and not if a later change prevails.
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
    let reconcile = reconcile(&store, Subscriptions::default(), None);
    let target = target(&registry);
    let listed = ReconcileJob { name: "app".to_owned(), prune: true, after: None };
    let found = reconcile.find_drift(&target, &listed).await.unwrap();
    // The repository, four images, and four tags.
    assert_eq!(found.changes.len(), 9, "{:#?}", found.changes);

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
    let repaired = reconcile.repair(&found, None).await.unwrap();
    let is_of_huge = |change: &Change| match &change.kind {
        ChangeKind::ImageFound { digest, tag: None, .. } => *digest == digest_of(&huge),
        _ => false,
    };
    let [(failed, reason)] = &repaired.failed[..] else { panic!("{:#?}", repaired.failed) };
    assert!(is_of_huge(failed), "{failed:#?}");
    assert_eq!(reason.to_string(), StoreError::ItemTooLarge.to_string());
    // The deleted image, its tag, and the moved tag.
    assert_eq!((repaired.superseded, repaired.repaired, repaired.left), (3, 5, 0), "{repaired:#?}");

    // It is found each time.
    let again = reconcile.find_drift(&target, &listed).await.unwrap();
    assert_eq!(again.changes.iter().filter(|change| is_of_huge(change)).count(), 1);
    let repaired = reconcile.repair(&again, None).await.unwrap();
    assert_eq!(repaired.failed.len(), 1, "{repaired:#?}");
    assert_eq!(repaired.repaired + repaired.superseded, again.changes.len() - 1, "{repaired:#?}");
}
