//! Manifest lookups for what events do not tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use catalog::Timestamp;
use end_to_end::harness::{REGION, REGISTRY, Store, digest};
use ingest_events::Ingest;
use ingest_events::question::OpenQuestions;
use secret::Secret;
use serde_json::{Value, json};
use subscriptions::Subscriptions;

use super::server::{Everything, Seen, Server};
use super::{account, catalogued, put};

/// An event of a push, as EventBridge has it.
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
    let mut batch = SqsEvent::default();
    batch.records = bodies
        .iter()
        .enumerate()
        .map(|(number, body)| {
            let mut message = SqsMessage::default();
            message.message_id = Some(number.to_string());
            message.body = Some(body.clone());
            message
        })
        .collect();
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    let response = ingest_events::handler::handle(ingest, &account(), None, batch, deadline).await;
    assert_eq!(response.batch_item_failures.len(), 0);
}

/// Asks again, round after round as the schedule does, until every question of a store is settled,
/// and tells how many there were. A slow answer leaves its repository's questions to the next
/// round.
pub(super) async fn settle_all(ingest: &Ingest, store: &Store) -> usize {
    let deadline = Instant::now() + Duration::from_mins(10);
    let questions = OpenQuestions::new(store.table.clone());
    let mut settled = 0;
    while !questions.list(None).await.unwrap().is_empty() {
        assert!(Instant::now() < deadline, "questions are left open");
        settled += ingest
            .settle_questions(tokio::time::Instant::now() + Duration::from_mins(1))
            .await
            .unwrap();
    }
    settled
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
pub(super) async fn pushes_are_completed_with_what_amazon_ecr_tells() {
    let Some(server) = Server::start("pushes_are_completed", 35.0) else { return };
    let store = Store::in_memory().await;
    let subscriptions = Secret::known(Subscriptions::default());
    let ingest =
        Ingest::new(store.table.clone(), REGION.to_owned(), subscriptions, Some(server.ecr()));
    let there = server.everything().await;
    let mut events = Vec::new();
    for (repository, images) in &there {
        for (digest, image) in images {
            let tags: Vec<Option<&str>> = image.tags.iter().map(|tag| Some(tag.as_str())).collect();
            let tags = if tags.is_empty() { vec![None] } else { tags };
            events.extend(tags.into_iter().map(|tag| pushed(repository, digest, tag)));
        }
    }
    // An image that is gone already is there as far as its events tell, and spoils no answer for
    // the others.
    events.insert(15, pushed("team/app-00", digest(1).as_str(), Some("gone")));

    let in_a_minute = || tokio::time::Instant::now() + Duration::from_mins(1);
    server.limit.is_down.store(true, Ordering::Relaxed);
    deliver(&ingest, &events[..10]).await;
    assert_eq!(
        ingest.settle_questions(in_a_minute()).await.unwrap(),
        0,
        "Amazon ECR does not answer"
    );
    let known = catalogued(&store).await;
    assert_eq!(
        known["team/app-00"].len(),
        10,
        "what is known is applied while Amazon ECR does not answer"
    );
    assert!(known["team/app-00"].values().all(|image| image.size.is_none()));
    server.limit.is_down.store(false, Ordering::Relaxed);
    assert_eq!(settle_all(&ingest, &store).await, 10);

    let started = Instant::now();
    for batch in events[10..].chunks(10) {
        deliver(&ingest, batch).await;
    }
    let left = settle_all(&ingest, &store).await;
    let pushes = events.len() - 10;
    let (requests, throttled) =
        server.print(&format!("{pushes} pushes, {left} of them completed later"), started);
    assert!(
        throttled > 0 && requests < pushes / 8,
        "images of one repository are asked for together"
    );
    let mut known = catalogued(&store).await;
    let gone = known.get_mut("team/app-00").unwrap().remove(digest(1).as_str()).unwrap();
    assert_eq!((gone.size, gone.tags), (None, BTreeSet::from(["gone".to_owned()])));
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

    // What was pushed just now may not show yet, so it is asked for again.
    let just_now = pushed("team/app-00", digest(2).as_str(), Some("early"));
    let mut just_now: Value = serde_json::from_str(&just_now).unwrap();
    just_now["time"] = json!(Timestamp::now());
    deliver(&ingest, &[just_now.to_string()]).await;
    assert_eq!(ingest.settle_questions(in_a_minute()).await.unwrap(), 0);
    put(&server.client(), "team/app-00", "early", 2).await;
    assert_eq!(settle_all(&ingest, &store).await, 1);
    assert_eq!(catalogued(&store).await["team/app-00"][digest(2).as_str()].size, Some(5));
}
