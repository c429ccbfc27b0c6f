//! Registries that respond late, and lookups of tags that have moved since.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use catalog::change::Content;
use catalog::{Change, ChangeKind, Repository, Timestamp};
use end_to_end::harness::stand_in::{StandIn, digest_of, image_manifest};
use end_to_end::harness::{
    Catalog, Gate, START_LIMIT, Store, eventually, proxy, repository, sample, wait_until,
};
use serde_json::{Value, json};

use super::{REGISTRY, images, pending_items, pending_lookups, report, send};

/// A catalog with a subscription of a source, whose registry is at an address.
async fn subscribed(source: &str, registry_url: &str) -> Catalog {
    let subscriptions = json!([subscription(source, registry_url)]);
    Catalog::start_subscribed(Store::in_memory().await, &subscriptions).await
}

fn subscription(source: &str, registry_url: &str) -> Value {
    json!({
        "id": format!("{source}-1"),
        "source": source,
        "registryId": REGISTRY,
        "credential": { "bearer": "token" },
        "registryUrl": registry_url,
    })
}

/// The address of a registry that responds once the gate is open.
fn gated(registry: &StandIn, gate: &Gate) -> String {
    let (listener, gate) = (TcpListener::bind("127.0.0.1:0").unwrap(), gate.clone());
    let hold = move |bytes| {
        gate.wait();
        bytes
    };
    proxy(listener, &registry.url, |bytes| bytes, hold)
}

async fn accept(catalog: &Catalog, source: &str, event: &Value) {
    let url = format!("{}/events/{source}", catalog.url);
    let response = send(&url, &[("authorization", "token")], event.to_string()).await;
    assert_eq!(response, (200, report(1, 0)), "{event}");
}

/// Harbor's event of a push.
fn harbor_push(repository: &str, manifest: &Value, tag: &str) -> Value {
    let mut push: Value = serde_json::from_str(&sample("harbor/push-artifact.json")).unwrap();
    push["event_data"]["repository"]["repo_full_name"] = json!(repository);
    push["event_data"]["resources"][0]["digest"] = json!(digest_of(manifest));
    push["event_data"]["resources"][0]["tag"] = json!(tag);
    push
}

/// Docker Hub's event of a push of the tag `latest` at a time.
fn docker_hub_push(pushed_at: u64) -> Value {
    json!({
        "push_data": { "pushed_at": pushed_at, "tag": "latest", "pusher": "someone" },
        "repository": { "repo_name": "team/app" },
    })
}

/// Waits until the only image of a repository has this size.
async fn wait_for_size(catalog: &Catalog, repository: &str, size: u64) {
    eventually("the size", async || {
        images(catalog, repository).await[0]["imageSizeInBytes"] == json!(size)
    })
    .await;
}

async fn wait_for_lookups(catalog: &Catalog) {
    eventually("the lookups", async || pending_lookups(catalog).await.is_empty()).await;
}

/// A registry may send its notifications one after the other, and serve no manifest meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_acknowledged_and_listed_before_its_registry_responds() {
    let manifest = image_manifest(100);
    let registry = StandIn::start("team/app", &[("v1", manifest.clone())]).await;
    let gate = Gate::default();
    let catalog = subscribed("harbor", &gated(&registry, &gate)).await;
    accept(&catalog, "harbor", &harbor_push("team/app", &manifest, "v1")).await;
    let listed = images(&catalog, "team/app").await;
    assert_eq!(listed[0]["imageTags"], json!(["v1"]), "{listed}");
    assert_eq!(listed[0].get("imageSizeInBytes"), None, "{listed}");
    assert_eq!(pending_lookups(&catalog).await.len(), 1, "it would outlive the process");
    gate.open();
    wait_for_size(&catalog, "team/app", 100).await;
    wait_for_lookups(&catalog).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lookups_of_a_delivery_go_side_by_side() {
    let tags: Vec<String> = (0..8).map(|number| format!("v{number}")).collect();
    let manifests: Vec<(&str, Value)> =
        tags.iter().zip(100..).map(|(tag, size)| (tag.as_str(), image_manifest(size))).collect();
    let registry = StandIn::start("team/app", &manifests).await;
    let gate = Gate::default();
    let catalog = subscribed("quay", &gated(&registry, &gate)).await;
    let push = json!({ "repository": "team/app", "updated_tags": tags });
    accept(&catalog, "quay", &push).await;
    // Each lookup begins with the request for an authorization, and waits for its response.
    wait_until("eight requests at a time", START_LIMIT, || gate.waiting() >= tags.len());
    gate.open();
    wait_for_lookups(&catalog).await;
    assert_eq!(images(&catalog, "team/app").await.as_array().unwrap().len(), tags.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_does_not_respond_does_not_delay_the_lookups_of_another() {
    let manifest = image_manifest(100);
    let registry = StandIn::start("team/app", &[("v1", manifest.clone())]).await;
    let gate = Gate::default();
    let subscriptions = json!([
        subscription("quay", &gated(&registry, &gate)),
        subscription("harbor", &registry.url),
    ]);
    let catalog = Catalog::start_subscribed(Store::in_memory().await, &subscriptions).await;
    let tags: Vec<String> = (0..200).map(|number| format!("v{number}")).collect();
    accept(&catalog, "quay", &json!({ "repository": "other/app", "updated_tags": tags })).await;
    wait_until("requests", START_LIMIT, || gate.waiting() > 0);
    accept(&catalog, "harbor", &harbor_push("team/app", &manifest, "v1")).await;
    wait_for_size(&catalog, "team/app", 100).await;
    assert!(pending_lookups(&catalog).await.len() >= tags.len(), "these still wait");
    gate.open();
}

#[tokio::test]
async fn of_two_pending_lookups_of_a_tag_that_of_the_later_event_is_kept() {
    let catalog = subscribed("docker-hub", "http://127.0.0.1:9").await;
    let (first, second) = (1_767_225_600_u64, 1_767_225_700);
    for pushed_at in [first, second, first] {
        accept(&catalog, "docker-hub", &docker_hub_push(pushed_at)).await;
    }
    let pending = pending_items(&catalog).await;
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0]["time"].as_n().unwrap(), &(second * 1000).to_string());
}

/// Docker Hub sends a tag, and its registry returns what the tag points to now, not what was pushed.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_delivered_again_moves_no_image() {
    let (one, two) = (image_manifest(100), image_manifest(200));
    let registry = StandIn::start("team/app", &[("one", one.clone()), ("two", two.clone())]).await;
    let latest = Arc::new(Mutex::new("one"));
    let target = Arc::clone(&latest);
    let point = move |bytes: Vec<u8>| {
        let request = String::from_utf8(bytes).unwrap();
        let path = format!("/manifests/{} ", target.lock().unwrap());
        request.replace("/manifests/latest ", &path).into_bytes()
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let catalog =
        subscribed("docker-hub", &proxy(listener, &registry.url, point, |bytes| bytes)).await;
    let (first, second) = (1_767_225_600, 1_767_225_700);
    accept(&catalog, "docker-hub", &docker_hub_push(first)).await;
    wait_for_lookups(&catalog).await;
    *latest.lock().unwrap() = "two";
    accept(&catalog, "docker-hub", &docker_hub_push(second)).await;
    wait_for_lookups(&catalog).await;
    let expected = json!([[digest_of(&two), second], [digest_of(&one), first]]);
    let listed = async || push_times(&catalog, "team/app").await;
    assert_eq!(listed().await, expected);
    accept(&catalog, "docker-hub", &docker_hub_push(first)).await;
    wait_for_lookups(&catalog).await;
    assert_eq!(listed().await, expected);
    // A delivery between the two pushes, which arrives late.
    accept(&catalog, "docker-hub", &docker_hub_push(first + 1)).await;
    wait_for_lookups(&catalog).await;
    assert_eq!(listed().await, expected);
}

/// The digests and the push times of a repository, the newest first.
async fn push_times(catalog: &Catalog, repository: &str) -> Value {
    let images = images(catalog, repository).await;
    let pair = |image: &Value| json!([image["imageDigest"], image["imagePushedAt"]]);
    images.as_array().unwrap().iter().map(pair).collect()
}

/// The registry returns the second image for the event of the first, too.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_pushes_of_a_tag_the_later_one_counts_in_any_order() {
    let manifest = image_manifest(100);
    let registry = StandIn::start("team/app", &[("latest", manifest.clone())]).await;
    let (first, second) = (1_767_225_600, 1_767_225_700);
    for order in [[first, second], [second, first]] {
        let catalog = subscribed("docker-hub", &registry.url).await;
        for pushed_at in order.into_iter().chain(order) {
            accept(&catalog, "docker-hub", &docker_hub_push(pushed_at)).await;
            wait_for_lookups(&catalog).await;
        }
        let expected = json!([[digest_of(&manifest), second]]);
        assert_eq!(push_times(&catalog, "team/app").await, expected, "{order:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r59_an_event_with_only_a_tag_replaces_an_assumed_time_and_no_other() {
    let manifest = image_manifest(100);
    let registry = StandIn::start("team/app", &[("latest", manifest.clone())]).await;
    let (created, pushed, found) = (1_767_225_600, 1_767_225_700, 1_767_225_800);
    let at = |seconds: u64| {
        Timestamp::from_milliseconds(i64::try_from(seconds * 1000).unwrap()).unwrap()
    };
    for (assumed, is_stated, expected) in
        [(created, false, pushed), (found, false, pushed), (found - 1, true, found - 1)]
    {
        let catalog = subscribed("docker-hub", &registry.url).await;
        let find = |tag: Option<&str>| Change {
            repository: Repository {
                registry: REGISTRY.parse().unwrap(),
                ..repository("team/app")
            },
            time: at(found),
            kind: ChangeKind::ImageFound {
                digest: digest_of(&manifest),
                tag: tag.map(end_to_end::harness::tag),
                pushed_at: at(assumed),
                found_at: at(found),
                is_stated,
                content: Content::default(),
            },
        };
        for tag in [None, Some("latest")] {
            catalog.store.writer.apply(&find(tag)).await.unwrap();
        }
        let before = json!([[digest_of(&manifest), assumed]]);
        assert_eq!(push_times(&catalog, "team/app").await, before);
        for _ in 0..2 {
            accept(&catalog, "docker-hub", &docker_hub_push(pushed)).await;
            wait_for_lookups(&catalog).await;
        }
        let expected = json!([[digest_of(&manifest), expected]]);
        assert_eq!(push_times(&catalog, "team/app").await, expected, "{assumed} {is_stated}");
    }
}
