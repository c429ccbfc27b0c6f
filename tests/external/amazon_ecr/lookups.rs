//! Manifest lookups for what events do not contain.

use end_to_end::harness::queue::{apply_batch, received_message};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use catalog::{PendingLookups, Timestamp};
use end_to_end::harness::{REGION, REGISTRY, Store, digest};
use ingest_events::Ingest;
use registries::Subscriptions;
use secret::Secret;
use serde_json::{Value, json};

use super::server::{Everything, Seen, Server};
use super::{catalogued, put};

/// An event of a push, as EventBridge sends it.
pub(super) fn pushed(repository: &str, digest: &str, tag: Option<&str>) -> String {
    json!({
        "version": "0",
        "detail-type": "ECR Image Action",
        "source": "aws.ecr",
        "account": REGISTRY,
        "time": "2026-01-01T00:00:00Z",
        "region": REGION,
        "resources": [],
        "detail": {
            "result": "SUCCESS", "repository-name": repository, "image-digest": digest, "action-type": "PUSH",
            "image-tag": tag.unwrap_or_default(),
        },
    })
    .to_string()
}

pub(super) async fn deliver(ingest: &Ingest, bodies: &[String]) {
    let message =
        |(number, body): (usize, &String)| received_message(&number.to_string(), body, &[]);
    let batch = bodies.iter().enumerate().map(message).collect();
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    assert_eq!(apply_batch(ingest, batch, deadline).await, [""; 0]);
}

/// Retries the pending lookups of a store, as the schedule does, until none is left. Returns how
/// many were completed. A slow response leaves the lookups of its repository to the next round.
pub(super) async fn retry_until_complete(ingest: &Ingest, store: &Store) -> usize {
    let deadline = Instant::now() + Duration::from_mins(10);
    let pending = PendingLookups::new(store.table.clone());
    let mut completed = 0;
    while !pending.list(None).await.unwrap().is_empty() {
        assert!(Instant::now() < deadline, "lookups are still pending");
        completed += ingest
            .retry_pending_lookups(tokio::time::Instant::now() + Duration::from_mins(1))
            .await
            .unwrap();
    }
    completed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
pub(super) async fn pushes_are_completed_by_lookups_in_amazon_ecr() {
    let Some(server) = Server::start("pushes_are_completed", 35.0) else { return };
    let store = Store::in_memory().await;
    let subscriptions = Secret::known(Subscriptions::default());
    let ingest = Ingest::new(
        store.table.clone(),
        REGION.to_owned(),
        subscriptions,
        Some(server.ecr()),
        Vec::new(),
    );
    let there = server.everything().await;
    let mut events = Vec::new();
    for (repository, images) in &there {
        for (digest, image) in images {
            let tags: Vec<Option<&str>> = image.tags.iter().map(|tag| Some(tag.as_str())).collect();
            let tags = if tags.is_empty() { vec![None] } else { tags };
            events.extend(tags.into_iter().map(|tag| pushed(repository, digest, tag)));
        }
    }
    // An image that is already deleted exists according to its event. Its lookup must not fail the
    // lookups of the others.
    events.insert(15, pushed("team/app-00", digest(1).as_str(), Some("gone")));

    let in_a_minute = || tokio::time::Instant::now() + Duration::from_mins(1);
    server.limit.is_down.store(true, Ordering::Relaxed);
    deliver(&ingest, &events[..10]).await;
    assert_eq!(
        ingest.retry_pending_lookups(in_a_minute()).await.unwrap(),
        0,
        "Amazon ECR is unavailable"
    );
    let known = catalogued(&store).await;
    assert_eq!(
        known["team/app-00"].len(),
        10,
        "what is known is applied while Amazon ECR is unavailable"
    );
    assert!(known["team/app-00"].values().all(|image| image.size.is_none()));
    server.limit.is_down.store(false, Ordering::Relaxed);
    assert_eq!(retry_until_complete(&ingest, &store).await, 10);

    let started = Instant::now();
    for batch in events[10..].chunks(10) {
        deliver(&ingest, batch).await;
    }
    let left = retry_until_complete(&ingest, &store).await;
    let pushes = events.len() - 10;
    let (requests, throttled) =
        server.print(&format!("{pushes} pushes, {left} of them completed later"), started);
    assert!(
        throttled > 0 && requests < pushes / 8,
        "images of one repository are looked up together"
    );
    let mut known = catalogued(&store).await;
    let deleted = known.get_mut("team/app-00").unwrap().remove(digest(1).as_str()).unwrap();
    assert_eq!((deleted.size, deleted.tags), (None, BTreeSet::from(["gone".to_owned()])));
    let without_times = |everything: Everything| -> BTreeMap<String, BTreeMap<String, Seen>> {
        let images = |images: BTreeMap<String, Seen>| {
            images
                .into_iter()
                .map(|(digest, seen)| (digest, Seen { pushed_at: 0, ..seen }))
                .collect()
        };
        everything.into_iter().map(|(repository, all)| (repository, images(all))).collect()
    };
    assert!(without_times(known) == without_times(there), "the catalog is what the registry is");

    // Amazon ECR may not return an image right after its push, so the lookup is retried.
    let just_now = pushed("team/app-00", digest(2).as_str(), Some("early"));
    let mut just_now: Value = serde_json::from_str(&just_now).unwrap();
    just_now["time"] = json!(Timestamp::now());
    deliver(&ingest, &[just_now.to_string()]).await;
    assert_eq!(ingest.retry_pending_lookups(in_a_minute()).await.unwrap(), 0);
    put(&server.client(), "team/app-00", "early", 2).await;
    assert_eq!(retry_until_complete(&ingest, &store).await, 1);
    assert_eq!(catalogued(&store).await["team/app-00"][digest(2).as_str()].size, Some(5));
}
