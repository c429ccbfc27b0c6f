//! Reconciliation of a whole registry.

use std::collections::BTreeMap;
use std::time::Instant;

use aws_sdk_ecr::types::{ImageIdentifier, ImageScanningConfiguration, ImageTagMutability, Tag};
use catalog::Service;
use end_to_end::harness::{REGISTRY, Store};
use reconcile::drift::Description;

use super::server::Server;
use super::{IMAGES, REPOSITORIES, account, catalogued, put, reconcile};

/// What is known of each repository itself, as text.
type Descriptions = BTreeMap<String, String>;

async fn described(store: &Store) -> Descriptions {
    let mut descriptions = Descriptions::new();
    for repository in store.reader.repositories(Service::Ecr, &account()).await.unwrap() {
        let (history, _) = store.reader.repository(&repository).await.unwrap();
        let known = history.description().unwrap();
        let (created_at, mutability) = (
            known.created_at.unwrap().as_milliseconds(),
            known.image_tag_mutability.unwrap().value,
        );
        let (scan, encryption) =
            (known.scan_on_push.unwrap(), known.encryption.unwrap().encryption_type);
        let (uri, tags) = (known.uri.unwrap(), history.tags());
        let text = format!("{created_at} {uri} {mutability} {scan} {encryption} {tags:?}");
        descriptions.insert(repository.name.as_str().to_owned(), text);
    }
    descriptions
}

async fn described_by_ecr(client: &aws_sdk_ecr::Client) -> Descriptions {
    let listed = client.describe_repositories().send().await.unwrap();
    let mut descriptions = Descriptions::new();
    for repository in listed.repositories.unwrap() {
        let arn = repository.repository_arn().unwrap();
        let tags = client.list_tags_for_resource().resource_arn(arn).send().await.unwrap();
        let tags: BTreeMap<&str, &str> =
            tags.tags().iter().map(|tag| (tag.key(), tag.value())).collect();
        let nanoseconds = repository.created_at().unwrap().as_nanos();
        // The nearest millisecond.
        let created_at = (nanoseconds + 500_000) / 1_000_000;
        let uri = repository.repository_uri().unwrap();
        let mutability = repository.image_tag_mutability().unwrap().as_str();
        let scan = repository.image_scanning_configuration().unwrap().scan_on_push();
        let encryption = repository.encryption_configuration().unwrap().encryption_type().as_str();
        let text = format!("{created_at} {uri} {mutability} {scan} {encryption} {tags:?}");
        descriptions.insert(repository.repository_name.unwrap(), text);
    }
    descriptions
}

/// Changes what can be changed of a repository itself.
async fn change_settings(client: &aws_sdk_ecr::Client, name: &str) {
    let immutable = ImageTagMutability::Immutable;
    let put = client.put_image_tag_mutability().repository_name(name);
    put.image_tag_mutability(immutable).send().await.unwrap();
    let scan = ImageScanningConfiguration::builder().scan_on_push(true).build();
    let put = client.put_image_scanning_configuration().repository_name(name);
    put.image_scanning_configuration(scan).send().await.unwrap();
    let arn = format!("arn:aws:ecr:us-east-1:{REGISTRY}:repository/{name}");
    let tag = Tag::builder().key("stack").value("dev").build().unwrap();
    client.tag_resource().resource_arn(arn).tags(tag).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_catalog_is_filled_and_drift_is_repaired() {
    let Some(server) = Server::start("an_empty_catalog_is_filled", 5.0) else { return };
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
    assert_eq!(described(&store).await, described_by_ecr(&server.client()).await);

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
    change_settings(&client, "team/app-04").await;
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
    assert_eq!(differences.len(), 9, "{differences:#?}");
    assert_eq!(described(&store).await, described_by_ecr(&client).await);
    assert_eq!(reconcile(&store, ecr()).await, []);
}
