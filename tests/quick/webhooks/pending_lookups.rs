//! Pending lookups.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use catalog::PendingLookups;
use catalog::reader::Filter;
use end_to_end::harness::stand_in::{StandIn, digest_of, image_manifest};
use end_to_end::harness::{Store, repository, time};
use ingest_events::lookup::Lookup;
use registries::{Registry, RegistryAddress};

#[tokio::test]
async fn a_pending_lookup_that_cannot_be_read_does_not_block_the_others() {
    let manifest = image_manifest(100);
    let registry = StandIn::start("app", &[("v1", manifest.clone())]).await;
    let store = Store::in_memory().await.looking_up(&registry.url);
    let unreadable = store.table.client.put_item().table_name(&store.table.name);
    unreadable
        .item("repository", AttributeValue::S("pending".to_owned()))
        .item("sort", AttributeValue::S("0".to_owned()))
        .item("lookup", AttributeValue::S("of another version".to_owned()))
        .send()
        .await
        .unwrap();
    let lookup = Lookup {
        repository: repository("app"),
        registry: Registry::Oci(RegistryAddress::from_url(&registry.url.parse().unwrap()).unwrap()),
        name: "app".to_owned(),
        digest: Some(digest_of(&manifest)),
        tag: None,
        manifest_media_type: None,
        artifact_media_type: None,
        time: time(0),
    };
    PendingLookups::new(store.table.clone()).put("1", lookup.time, &lookup).await.unwrap();
    let until = tokio::time::Instant::now() + Duration::from_mins(1);
    assert_eq!(store.ingest().retry_pending_lookups(until).await.unwrap(), 1);
    let page = store.page(&repository("app"), &Filter::default(), None, 10).await.unwrap();
    assert_eq!(page.images[0].image_size_in_bytes, Some(100));
    assert_eq!(store.ingest().retry_pending_lookups(until).await.unwrap(), 0);
}
