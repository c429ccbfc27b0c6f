//! Reconciliation of a whole registry.

use std::collections::BTreeMap;
use std::time::Instant;

use aws_sdk_ecr::types::ImageIdentifier;
use end_to_end::harness::{REGISTRY, Store};
use reconcile::drift::Description;

use super::server::Server;
use super::{IMAGES, REPOSITORIES, catalogued, put, reconcile};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_catalog_is_filled_and_drift_is_repaired() {
    let Some(server) = Server::start("an_empty_catalog_is_filled", 4.0) else { return };
    let store = Store::in_memory().await;
    let ecr = || server.ecr();
    let started = Instant::now();
    let differences = reconcile(&store, ecr()).await;
    let (_, throttled) =
        server.print(&format!("filled with {} images", REPOSITORIES * IMAGES), started);
    assert!(throttled > 0);
    let there = server.everything().await;
    assert_eq!(there.values().map(BTreeMap::len).sum::<usize>(), REPOSITORIES * IMAGES);
    assert!(catalogued(&store).await == there, "the catalog is what the registry is");
    let tags: usize =
        there.values().flat_map(|images| images.values()).map(|image| image.tags.len()).sum();
    assert_eq!(differences.len(), REPOSITORIES + REPOSITORIES * IMAGES + tags);

    let started = Instant::now();
    assert_eq!(reconcile(&store, ecr()).await, []);
    server.print("compared again", started);

    // A moved tag, a removed tag, a deleted image, a new image, a deleted repository and a new
    // repository. No event reports them.
    let client = server.client();
    let id = |tag: &str| ImageIdentifier::builder().image_tag(tag).build();
    put(&client, "team/app-00", "release-0", 1).await;
    let untag =
        client.batch_delete_image().repository_name("team/app-01").image_ids(id("release-100"));
    untag.send().await.unwrap();
    let delete = client.batch_delete_image().repository_name("team/app-02").image_ids(id("v7"));
    delete.send().await.unwrap();
    client.delete_repository().repository_name("team/app-03").force(true).send().await.unwrap();
    client.create_repository().repository_name("team/new").send().await.unwrap();
    put(&client, "team/new", "v1", 2).await;
    let there = server.everything().await;
    let mut differences: Vec<String> = reconcile(&store, ecr())
        .await
        .iter()
        .map(|change| Description(change).to_string())
        .collect();
    differences.sort();
    assert!(
        catalogued(&store).await == there,
        "the catalog is what the registry is: {differences:#?}"
    );
    let deleted = |repository: &str| format!("{REGISTRY}/{repository}: the repository was deleted");
    assert!(differences.contains(&deleted("team/app-03")), "{differences:#?}");
    assert_eq!(differences.len(), 8, "{differences:#?}");
    assert_eq!(reconcile(&store, ecr()).await, []);
}
