//! The writers of a process to one repository take turns, in the order in which they come.
//!
//! Two of them at once would mostly touch the same items, and each transaction that meets another
//! one's writes is done again, so that many writers would keep each other from ending. Writers of
//! other processes still collide, and try again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::identifier::Repository;

/// The repositories in which somebody writes or waits. A tokio mutex is fair: it lets those in
/// first who came first.
type Queues = BTreeMap<Repository, Arc<tokio::sync::Mutex<()>>>;

#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<Queues>>);

/// A turn, which ends when it is dropped.
pub(super) struct Turn {
    turns: Turns,
    repository: Repository,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for one's turn.
    pub(super) async fn wait(&self, repository: &Repository) -> Turn {
        let queue = Arc::clone(self.queues().entry(repository.clone()).or_default());
        let guard = Some(queue.lock_owned().await);
        Turn { turns: self.clone(), repository: repository.clone(), guard }
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queues = self.turns.queues();
        self.guard = None;
        if queues.get(&self.repository).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(&self.repository);
        }
    }
}
