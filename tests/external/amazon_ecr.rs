//! Manifest lookups in Amazon ECR, and reconciliation with it: moto's, with 20,000 images in 50
//! repositories, and an account with a limited rate of requests.

mod command_line;
mod comparisons;
mod lookups;
mod server;
mod verify;

use std::sync::Arc;

use catalog::reader::Filter;
use catalog::{Change, RegistryId, Service};
use end_to_end::harness::{REGISTRY, Store, digest};
use futures_util::{StreamExt as _, stream};
use reconcile::Reconcile;
use registries::{EcrClient, Registries, RegistryTarget, RegistryTargets, Subscriptions};
use secret::Secret;
use serde_json::json;

use self::server::{Everything, Seen};

const REPOSITORIES: usize = 50;
const IMAGES: usize = 400;

/// Pushes an image of five bytes.
async fn put(client: &aws_sdk_ecr::Client, repository: &str, tag: &str, number: u64) {
    let manifest = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "size": 5 },
        "layers": [],
        "annotations": { "number": number.to_string() },
    });
    let put = client.put_image().repository_name(repository).image_tag(tag);
    let put = put.image_digest(digest(number).as_str()).image_manifest(manifest.to_string());
    put.send().await.unwrap();
}

/// All images of the registry in the catalog.
async fn catalogued(store: &Store) -> Everything {
    let filter = Filter { tag_status: None, image_status: None };
    let mut everything = Everything::new();
    for repository in store
        .reader
        .repositories(Service::Ecr, &RegistryId::parse(REGISTRY).unwrap())
        .await
        .unwrap()
    {
        let page = store.page(&repository, &filter, None, 10 * IMAGES).await.unwrap();
        let images = page.images.into_iter().map(|image| {
            let seen = Seen {
                tags: image.image_tags.iter().map(|tag| tag.as_str().to_owned()).collect(),
                size: image.image_size_in_bytes,
                pushed_at: image.image_pushed_at.as_milliseconds(),
                media_type: image.image_manifest_media_type,
            };
            (image.image_digest.as_str().to_owned(), seen)
        });
        everything.insert(repository.name.as_str().to_owned(), images.collect());
    }
    everything
}

fn account() -> RegistryId {
    RegistryId::parse(REGISTRY).unwrap()
}

/// Reconciles all repositories, and repairs them. Returns the drift.
async fn reconcile(store: &Store, ecr: EcrClient) -> Vec<Change> {
    let subscriptions = Arc::new(Secret::known(Subscriptions::default()));
    let reconcile = Reconcile {
        reader: store.reader.clone(),
        writer: store.writer.clone(),
        registries: Registries::new(subscriptions, Some(ecr)),
        max_tags: usize::MAX,
    };
    let all = RegistryTargets::new(Some(&account()), &Subscriptions::default());
    let target = RegistryTarget::from_account(Service::Ecr, account());
    let listed = reconcile.repositories(&all, &target).await.unwrap().jobs;
    let drift = stream::iter(&listed).map(async |listed| {
        let drift = reconcile.find_drift(&target, listed).await.unwrap();
        let repaired = reconcile.repair(&drift, None).await.unwrap();
        assert_eq!(repaired.repaired + repaired.superseded, drift.changes.len());
        drift.changes
    });
    drift.buffered(4).collect::<Vec<_>>().await.concat()
}
