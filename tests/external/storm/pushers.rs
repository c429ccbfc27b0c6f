//! Who push, delete and move tags all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use end_to_end::harness::Random;
use http::StatusCode;
use tokio::sync::{mpsc, watch};

use super::registry::{Registry, Repository};
use super::{MOST_PENDING, POLL_INTERVAL, TAGS};

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Pushed,
    Deleted,
    /// There was nothing to delete, or the index lists what is not there.
    Refused,
    /// The registry came into its own way.
    Failed,
}

/// Pushes and deletes until enough was done.
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
            while *self.backlog.borrow_and_update() > MOST_PENDING && *self.is_open.borrow() {
                self.backlog.changed().await.unwrap();
            }
            let outcome = self.operate().await;
            self.done.send(outcome).unwrap();
        }
    }

    pub(super) async fn operate(&mut self) -> Outcome {
        let repositories = Arc::clone(&self.repositories);
        // In the first one there is a crowd, and just one tag, so that the pushers get in each
        // other's way: what the notifications say is then not always what came of it.
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
            // Of two that write and remove the files of one tag, one may find them gone.
            StatusCode::INTERNAL_SERVER_ERROR => Outcome::Failed,
            other => panic!("the registry answers {other}: {}", response.text().await.unwrap()),
        }
    }
}

/// Tells how much the registry has yet to deliver.
pub(super) async fn watch_backlog(registry: Arc<Registry>, pending: watch::Sender<u64>) {
    while pending.send(registry.notifications().await.pending).is_ok() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
