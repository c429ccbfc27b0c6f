//! Clients that push, delete and move tags continuously.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use end_to_end::harness::Random;
use http::StatusCode;
use tokio::sync::{mpsc, watch};

use super::registry::{Registry, Repository};
use super::{MAX_PENDING, POLL_INTERVAL, TAGS};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Pushed,
    Deleted,
    /// The image to delete, or a manifest of the index, does not exist.
    Refused,
    /// Concurrent operations in the registry failed.
    Failed,
}

/// Pushes and deletes until the number of operations is reached.
pub(super) struct Pusher {
    pub(super) registry: Arc<Registry>,
    pub(super) repositories: Arc<Vec<Repository>>,
    pub(super) random: Random,
    pub(super) left: Arc<AtomicUsize>,
    pub(super) done: mpsc::UnboundedSender<Outcome>,
    pub(super) backlog: watch::Receiver<u64>,
    pub(super) is_open: watch::Receiver<bool>,
}

impl Pusher {
    pub(super) async fn run(mut self) {
        let take = |left: usize| left.checked_sub(1);
        while self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            while *self.backlog.borrow_and_update() > MAX_PENDING && *self.is_open.borrow() {
                self.backlog.changed().await.unwrap();
            }
            let outcome = self.operate().await;
            self.done.send(outcome).unwrap();
        }
    }

    pub(super) async fn operate(&mut self) -> Outcome {
        let repositories = Arc::clone(&self.repositories);
        // Many pushers use the first repository, with a single tag. They conflict, so notifications
        // do not always contain the outcome.
        let is_crowded = self.random.below(3) == 0;
        let repository =
            if is_crowded { &repositories[0] } else { self.random.one_of(&repositories[1..]) };
        let manifest = self.random.one_of(&repository.manifests);
        let http = &self.registry.server.http;
        let at = |reference: &str| self.registry.manifest_url(repository, reference);
        let kind = self.random.below(10);
        let tag = format!("v{}", self.random.below(if is_crowded { 1 } else { TAGS }));
        let alone = manifest.alone.lock().await;
        let request = match kind {
            0 | 1 => http.delete(at(&manifest.digest)),
            2 => http.put(at(&manifest.digest)),
            _ => http.put(at(&tag)),
        };
        let request = match kind {
            0 | 1 => request,
            _ => request.header("content-type", manifest.media_type).body(manifest.text.clone()),
        };
        let response = request.send().await.unwrap();
        drop(alone);
        match response.status() {
            StatusCode::CREATED => Outcome::Pushed,
            StatusCode::ACCEPTED => Outcome::Deleted,
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Outcome::Refused,
            // Two concurrent writers of one tag may delete each other's files.
            StatusCode::INTERNAL_SERVER_ERROR => Outcome::Failed,
            other => panic!("the registry responds {other}: {}", response.text().await.unwrap()),
        }
    }
}

/// Sends the number of pending notifications.
pub(super) async fn watch_backlog(registry: Arc<Registry>, pending: watch::Sender<u64>) {
    while pending.send(registry.notifications().await.pending).is_ok() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
