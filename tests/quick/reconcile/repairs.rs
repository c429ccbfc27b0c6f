//! Differences that are repaired, and those that cannot be.

use std::sync::Arc;

use catalog::change::Content;
use catalog::table::StoreError;
use catalog::{Change, ChangeKind, RegistryId, Timestamp};
use end_to_end::harness::stand_in::{StandIn, digest_of, image_manifest, index_manifest};
use end_to_end::harness::{REGISTRY, Store, digest, repository, tag};
use reconcile::{Followed, Reconcile, ToCompare};
use registries::{Registries, Registry, RegistryAddress};
use secret::Secret;
use subscriptions::Subscriptions;

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
