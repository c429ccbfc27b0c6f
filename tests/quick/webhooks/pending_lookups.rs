//! Pending lookups.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use catalog::reader::Filter;
use catalog::{Digest, PendingLookups};
use end_to_end::harness::responder::{Responder, response};
use end_to_end::harness::stand_in::{StandIn, digest_of, image_manifest};
use end_to_end::harness::{REGISTRY, Store, digest, eventually, repository, time};
use ingest_events::lookup::{Lookup, MAX_PENDING};
use registries::{Registry, RegistryAddress, Subscriptions};
use serde_json::json;
use tokio::net::TcpListener;

/// A lookup in the registry at an address.
fn lookup(url: &str, name: &str, digest: &Digest) -> Lookup {
    Lookup {
        repository: repository(name),
        registry: Registry::Oci(RegistryAddress::from_url(&url.parse().unwrap()).unwrap()),
        name: name.to_owned(),
        digest: Some(digest.clone()),
        tag: None,
        manifest_media_type: None,
        artifact_media_type: None,
        time: time(0),
    }
}

/// Keeps a lookup. Those with a lower number are listed first.
async fn keep(store: &Store, number: usize, lookup: &Lookup) {
    let pending = PendingLookups::new(store.table.clone());
    pending.put(&format!("{number:06}"), lookup.time, lookup).await.unwrap();
}

fn in_a_minute() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_mins(1)
}

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
    let lookup = lookup(&registry.url, "app", &digest_of(&manifest));
    PendingLookups::new(store.table.clone()).put("1", lookup.time, &lookup).await.unwrap();
    assert_eq!(store.ingest().retry_pending_lookups(in_a_minute()).await.unwrap(), 1);
    let page = store.page(&repository("app"), &Filter::default(), None, 10).await.unwrap();
    assert_eq!(page.images[0].image_size_in_bytes, Some(100));
    assert_eq!(store.ingest().retry_pending_lookups(in_a_minute()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_registry_that_never_responds_does_not_delay_the_lookups_of_another() {
    let manifest = image_manifest(100);
    let good = StandIn::start("app", &[("v1", manifest.clone())]).await;
    // It accepts connections, and is silent.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let store = Store::in_memory().await.looking_up(&good.url).looking_up(&silent_url);
    for number in 0..300 {
        keep(&store, number, &lookup(&silent_url, "app", &digest(number as u64))).await;
    }
    keep(&store, 300, &lookup(&good.url, "app", &digest_of(&manifest))).await;
    let ingest = Arc::new(store.ingest());
    let retrying = Arc::clone(&ingest);
    let round =
        tokio::spawn(async move { retrying.retry_pending_lookups(in_a_minute()).await.unwrap() });
    let started = Instant::now();
    eventually("the image", async || size(&store).await == Some(100)).await;
    // A request that is not answered ends after five seconds.
    assert!(started.elapsed() < Duration::from_millis(4500), "{:?}", started.elapsed());
    assert_eq!(round.await.unwrap(), 1);
}

#[tokio::test]
async fn a_lookup_that_is_refused_delays_no_other_and_is_postponed() {
    let manifest = image_manifest(100);
    let body = manifest.to_string();
    let registry = Responder::start(move |request| {
        if request.contains("/v2/private/") {
            response("403 Forbidden", "", "")
        } else {
            response("200 OK", "", &body)
        }
    })
    .await;
    let store = Store::in_memory().await.looking_up(&registry.url());
    for number in 0..60 {
        keep(&store, number, &lookup(&registry.url(), "private", &digest(number as u64))).await;
    }
    keep(&store, 60, &lookup(&registry.url(), "app", &digest_of(&manifest))).await;
    let refused = || {
        let requests = registry.requests();
        requests.iter().filter(|request| request.contains("/v2/private/")).count()
    };
    let ingest = store.ingest();
    assert_eq!(ingest.retry_pending_lookups(in_a_minute()).await.unwrap(), 1);
    assert_eq!((size(&store).await, refused()), (Some(100), 60));
    assert_eq!(ingest.retry_pending_lookups(in_a_minute()).await.unwrap(), 0);
    assert_eq!(refused(), 60, "they are postponed");
}

#[tokio::test]
async fn the_pending_lookups_of_a_registry_are_bounded() {
    let url = "http://127.0.0.1:9";
    let store = Store::in_memory().await.looking_up(url);
    for number in 0..MAX_PENDING {
        keep(&store, number, &lookup(url, "app", &digest(number as u64))).await;
    }
    let ingest = Arc::new(store.ingest());
    assert_eq!(ingest.retry_pending_lookups(in_a_minute()).await.unwrap(), 0);
    let another = lookup(url, "another", &digest(1));
    ingest.complete_later(vec![another]).await.unwrap();
    let pending = PendingLookups::new(store.table.clone());
    assert!(pending.list(Some("009999")).await.unwrap().is_empty(), "no more are kept");
    let elsewhere = lookup("http://127.0.0.1:10", "another", &digest(1));
    ingest.complete_later(vec![elsewhere]).await.unwrap();
    assert_eq!(pending.list(Some("009999")).await.unwrap().len(), 1);
}

/// The lookups of deliveries that were just acknowledged.
#[tokio::test]
async fn a_registry_that_never_responds_does_not_delay_the_first_lookups_of_another() {
    let manifests = [image_manifest(100), image_manifest(200)];
    let tagged = [("v1", manifests[0].clone()), ("v2", manifests[1].clone())];
    let good = StandIn::start("app", &tagged).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_url = format!("http://{}", silent.local_addr().unwrap());
    let store = Store::in_memory().await.looking_up(&good.url).looking_up(&silent_url);
    let ingest = Arc::new(store.ingest());
    for number in 0..1100 {
        let lookups = vec![lookup(&silent_url, "app", &digest(number))];
        ingest.complete_later(lookups).await.unwrap();
    }
    let round = || {
        let ingest = Arc::clone(&ingest);
        tokio::spawn(async move { ingest.retry_pending_lookups(in_a_minute()).await })
    };
    let images = async || {
        let page = store.page(&repository("app"), &Filter::default(), None, 10).await;
        page.map_or(0, |page| page.images.len())
    };
    // This round waits for the silent registry.
    let first = round();
    let started = Instant::now();
    let of = |manifest| lookup(&good.url, "app", &digest_of(manifest));
    ingest.complete_later(vec![of(&manifests[0])]).await.unwrap();
    eventually("the image", async || images().await == 1).await;
    keep(&store, 0, &of(&manifests[1])).await;
    let second = round();
    eventually("the other image", async || images().await == 2).await;
    // The silent registry takes a minute.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    first.abort();
    second.abort();
}

#[tokio::test]
async fn a_pending_lookup_of_a_removed_subscription_sends_no_request() {
    let manifest = image_manifest(100);
    let registry = StandIn::start("app", &[("v1", manifest.clone())]).await;
    let store = Store::in_memory().await;
    let mut lookup = lookup(&registry.url, "app", &digest_of(&manifest));
    let Registry::Oci(address) = &mut lookup.registry else { unreachable!() };
    address.subscription = Some("mirror".to_owned());
    keep(&store, 0, &lookup).await;
    let subscriptions = |url: &str| {
        let subscription = json!([{
            "id": "mirror", "source": "harbor", "registryId": REGISTRY,
            "credential": { "bearer": "token" }, "registryUrl": url,
        }]);
        Subscriptions::parse(&subscription.to_string()).unwrap()
    };
    for changed in [Subscriptions::default(), subscriptions("http://127.0.0.1:9")] {
        let ingest = store.ingest_of(changed);
        assert_eq!(ingest.retry_pending_lookups(in_a_minute()).await.unwrap(), 0);
        assert_eq!(*registry.requests.lock().unwrap(), [], "none was sent");
    }
    let ingest = store.ingest_of(subscriptions(&registry.url));
    assert_eq!(ingest.retry_pending_lookups(in_a_minute()).await.unwrap(), 1);
    assert_eq!(size(&store).await, Some(100));
}

/// The size of the image of the repository `app`.
async fn size(store: &Store) -> Option<i64> {
    let page = store.page(&repository("app"), &Filter::default(), None, 10).await.ok()?;
    page.images.first()?.image_size_in_bytes
}
