//! The table, and reads of it, when DynamoDB throttles, fails, responds partly or not at all, and
//! when clocks are wrong.

mod batches;
mod clocks;
mod cut_off;
mod engine;
mod kinds;
mod messages;
mod other_writers;
mod queue;
mod read_only;

use end_to_end::harness::queue::apply_batch;
use ingest_events::batch::ReceivedMessage;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use catalog::change::Content;
use catalog::image::Image;
use catalog::{Change, ChangeKind, Digest, Repository};
use end_to_end::harness::{Store, digest, repository, tag, time};
use end_to_end::reference::model::Responses;
use ingest_events::Ingest;

use crate::faults::engine::FaultyEngine;
use crate::faults::messages::{OCI_CONFIGURATION, OCI_IMAGE, OCI_INDEX, subscriptions};

/// The time limit of a batch that should not be cut off.
const LONG: Duration = Duration::from_mins(1);

/// Delivers messages to the function; returns the ids of those that failed.
async fn deliver(
    ingest: &Ingest,
    messages: Vec<ReceivedMessage>,
    time_left: Duration,
) -> BTreeSet<String> {
    let deadline = tokio::time::Instant::now() + time_left;
    let failed = apply_batch(ingest, messages, deadline).await;
    let ids: BTreeSet<String> = failed.iter().cloned().collect();
    assert_eq!(ids.len(), failed.len(), "no message is named twice");
    ids
}

fn ingest(store: &Store) -> Ingest {
    store.ingest_of(subscriptions())
}

/// An empty table on an engine that fails on demand.
async fn faulty_store(remembers_tokens: bool) -> (FaultyEngine, Store) {
    let engine = FaultyEngine::new(remembers_tokens);
    let store = Store::new(engine.client()).await;
    (engine, store)
}

fn changes(repository: &Repository, kinds: impl IntoIterator<Item = ChangeKind>) -> Vec<Change> {
    let change = |(at, kind)| Change { repository: repository.clone(), time: time(at), kind };
    (1..).zip(kinds).map(change).collect()
}

fn push(number: u64, tag_name: &str) -> ChangeKind {
    ChangeKind::ImagePushed {
        digest: digest(number),
        tag: Some(tag_name).filter(|name| !name.is_empty()).map(tag),
        content: Content::default(),
    }
}

fn push_of_size(number: u64, tag_name: &str, size: i64) -> ChangeKind {
    let content = Content {
        manifest_media_type: Some(OCI_IMAGE.to_owned()),
        artifact_media_type: Some(OCI_CONFIGURATION.to_owned()),
        size_in_bytes: Some(size),
        ..Content::default()
    };
    with_content(push(number, tag_name), content)
}

fn push_of_index(
    number: u64,
    tag_name: &str,
    manifests: impl IntoIterator<Item = u64>,
) -> ChangeKind {
    let content = Content {
        manifest_media_type: Some(OCI_INDEX.to_owned()),
        manifests: Some(manifests.into_iter().map(digest).collect()),
        ..Content::default()
    };
    with_content(push(number, tag_name), content)
}

fn with_content(push: ChangeKind, content: Content) -> ChangeKind {
    match push {
        ChangeKind::ImagePushed { digest, tag, .. } => {
            ChangeKind::ImagePushed { digest, tag, content }
        }
        other => other,
    }
}

/// Whether each image is as before a change or as after it, and images that exist before and after
/// are not missing.
fn is_between([before, after]: &[Option<Responses>; 2], cut: Option<&Responses>) -> bool {
    let images = |responses: Option<&Responses>| -> BTreeMap<Digest, Image> {
        let listed = responses.and_then(|responses| responses.listed.first());
        let images = listed.map(|(_, images)| images.clone()).unwrap_or_default();
        images.into_iter().map(|image| (image.image_digest.clone(), image)).collect()
    };
    let (before, after, cut) = (images(before.as_ref()), images(after.as_ref()), images(cut));
    let is_one_of_two = |(digest, image): (&Digest, &Image)| {
        before.get(digest) == Some(image) || after.get(digest) == Some(image)
    };
    cut.iter().all(is_one_of_two)
        && before
            .keys()
            .filter(|digest| after.contains_key(*digest))
            .all(|digest| cut.contains_key(digest))
}
