//! One writer of a process writes to a repository at a time, in the order of arrival.
//!
//! Two writers would mostly write the same items, and each conflict repeats a transaction. Writers
//! of other processes still conflict, and retry.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::identifier::Repository;

/// The locks of repositories with a writer. A tokio mutex is fair: the first to wait is the first
/// to lock.
type Queues = BTreeMap<Repository, Arc<tokio::sync::Mutex<()>>>;

#[derive(Debug, Clone, Default)]
pub(super) struct Locks(Arc<Mutex<Queues>>);

/// Held until it is dropped.
pub(super) struct Lock {
    locks: Locks,
    repository: Repository,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Locks {
    /// Waits for the lock of a repository.
    pub(super) async fn wait(&self, repository: &Repository) -> Lock {
        let queue = Arc::clone(self.queues().entry(repository.clone()).or_default());
        let guard = Some(queue.lock_owned().await);
        Lock { locks: self.clone(), repository: repository.clone(), guard }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut queues = self.locks.queues();
        self.guard = None;
        if queues.get(&self.repository).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(&self.repository);
        }
    }
}
