//! One writer of a process writes to a repository at a time, in the order of arrival, and takes
//! along the changes that wait behind it.
//!
//! Two writers would mostly write the same items, and each conflict repeats a transaction. Writers
//! of other processes still conflict, and retry.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use super::Applied;
use crate::change::Change;
use crate::identifier::Repository;
use crate::table::MAX_MANIFESTS;

/// The repositories with a writer.
#[derive(Debug, Clone, Default)]
pub(super) struct Queues(Arc<Mutex<BTreeMap<Repository, Queue>>>);

#[derive(Debug, Default)]
struct Queue {
    /// A tokio mutex is fair: the first to wait is the first to lock.
    lock: Arc<tokio::sync::Mutex<()>>,
    /// The changes of those that wait, and of the writer until it has taken them.
    waiting: VecDeque<Arc<Waiting>>,
}

/// A change whose caller waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) change: Change,
    applied: Mutex<Option<Applied>>,
}

impl Waiting {
    /// Ends the wait of the caller.
    pub(super) fn set_applied(&self, applied: Applied) {
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = Some(applied);
    }
}

/// The turn of a writer. Another one begins when it is dropped.
pub(super) struct Turn {
    queues: Queues,
    repository: Repository,
    guard: Option<OwnedMutexGuard<()>>,
}

/// A place in the queue. A change whose caller stops to wait is not taken along.
pub(super) struct Place {
    queues: Queues,
    waiting: Arc<Waiting>,
}

impl Queues {
    fn locked(&self) -> MutexGuard<'_, BTreeMap<Repository, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a change, which another writer may take along.
    pub(super) fn add(&self, change: &Change) -> Place {
        let waiting = Arc::new(Waiting { change: change.clone(), applied: Mutex::new(None) });
        let mut queues = self.locked();
        let queue = queues.entry(change.repository.clone()).or_default();
        queue.waiting.push_back(Arc::clone(&waiting));
        Place { queues: self.clone(), waiting }
    }

    /// Waits for the turn of a writer.
    pub(super) async fn turn(&self, repository: &Repository) -> Turn {
        let lock = Arc::clone(&self.locked().entry(repository.clone()).or_default().lock);
        let guard = Some(lock.lock_owned().await);
        Turn { queues: self.clone(), repository: repository.clone(), guard }
    }
}

impl Turn {
    /// Takes the writer's own change, and others that wait, the first ones first.
    pub(super) fn take(&self, own: &Arc<Waiting>, most: usize) -> Vec<Arc<Waiting>> {
        let mut queues = self.queues.locked();
        let mut taken = vec![Arc::clone(own)];
        if let Some(queue) = queues.get_mut(&self.repository) {
            // Another writer may have taken it, and failed.
            queue.waiting.retain(|waiting| !Arc::ptr_eq(waiting, own));
            // The sizes of all manifests are read.
            let mut manifests = own.change.manifests();
            let fit = queue.waiting.iter().take(most - 1).take_while(|waiting| {
                manifests += waiting.change.manifests();
                manifests <= MAX_MANIFESTS
            });
            let count = fit.count();
            taken.extend(queue.waiting.drain(..count));
        }
        taken
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queues = self.queues.locked();
        self.guard = None;
        remove_unused(&mut queues, &self.repository);
    }
}

impl Place {
    pub(super) fn waiting(&self) -> &Arc<Waiting> {
        &self.waiting
    }

    /// The result, if a writer has applied the change.
    pub(super) fn applied(&self) -> Option<Applied> {
        *self.waiting.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.queues.locked();
        if let Some(queue) = queues.get_mut(&self.waiting.change.repository) {
            queue.waiting.retain(|waiting| !Arc::ptr_eq(waiting, &self.waiting));
        }
        remove_unused(&mut queues, &self.waiting.change.repository);
    }
}

fn remove_unused(queues: &mut BTreeMap<Repository, Queue>, repository: &Repository) {
    let is_unused = |queue: &Queue| Arc::strong_count(&queue.lock) == 1 && queue.waiting.is_empty();
    if queues.get(repository).is_some_and(is_unused) {
        queues.remove(repository);
    }
}
