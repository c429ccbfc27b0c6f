//! A reconciliation of the catalog with a registry: what it found, and what became of it.

use catalog::Timestamp;
use reconcile::{Drift, Repaired};
use serde::{Deserialize, Serialize};

/// Repositories that are reconciled at the same time.
pub const CONCURRENT_REPOSITORIES: usize = 4;

/// A reconciliation with a registry, as the table keeps the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reconciliation {
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub repositories: usize,
    /// Differences that were found.
    pub drift: usize,
    pub repaired: usize,
    /// Differences that are still there, because something newer prevails.
    pub superseded: usize,
    pub not_repaired: usize,
    /// Repositories that the registry does not have, and that were not deleted.
    pub kept: usize,
    /// Repositories that the catalog cannot hold.
    pub skipped: usize,
    /// Repositories that could not be reconciled.
    pub failed: usize,
    /// Why nothing could be reconciled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Reconciliation {
    /// One that begins now.
    #[must_use]
    pub fn begin() -> Self {
        let now = Timestamp::now();
        Self {
            started_at: now,
            ended_at: now,
            repositories: 0,
            drift: 0,
            repaired: 0,
            superseded: 0,
            not_repaired: 0,
            kept: 0,
            skipped: 0,
            failed: 0,
            error: None,
        }
    }

    /// Whether nothing of the registry could be reconciled.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.error.is_some() || (self.repositories == 0 && self.failed > 0)
    }

    /// Adds a repository.
    pub fn add(&mut self, drift: &Drift, repaired: &Repaired) {
        self.repositories += 1;
        self.drift += drift.changes.len();
        self.repaired += repaired.repaired;
        self.superseded += repaired.superseded;
        self.not_repaired += repaired.failed.len();
        self.kept += usize::from(drift.keeps_repository());
    }
}
