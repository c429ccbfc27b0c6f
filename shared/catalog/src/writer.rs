//! Applies changes. It reads only what a change touches, and lists nothing but a repository that is
//! being deleted.
//!
//! A change is applied by reading the histories it touches, adding it to them, and writing what
//! follows from them in one transaction, on condition that nobody wrote to them since; then all of
//! it again, until there is nothing left to write. The last round thus always sees what other
//! writers did meanwhile, so that two changes which each need to know of the other never miss each
//! other, and a change that was applied before costs reads alone.

mod draft;
mod writes;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, TransactWriteItem};
use futures_util::{StreamExt, TryStreamExt, stream};

use self::draft::{Draft, TAGS_EXPIRED_AT_ONCE};

use crate::change::{Change, ChangeKind};
use crate::history::ImageHistory;
use crate::identifier::{Digest, Repository, Tag};
use crate::table::{self, Backoff, StoreError, TOMBSTONE_LIFETIME, Table};
use crate::time::Timestamp;

/// How many images of a deleted repository are removed side by side.
const CONCURRENT_REMOVALS: usize = 8;

/// What applying a change did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Applied {
    /// Whether anything was written; not so for a change that was applied before.
    pub written: bool,
    /// DynamoDB write units that were consumed.
    pub write_units: f64,
    /// DynamoDB read units that were consumed.
    pub read_units: f64,
}

/// Applies changes to the table.
#[derive(Debug, Clone)]
pub struct Writer {
    table: Table,
    clock: fn() -> Timestamp,
}

impl Writer {
    /// A writer to this table. The clock only decides when the remains of deleted images expire.
    #[must_use]
    pub fn new(table: Table, clock: fn() -> Timestamp) -> Self {
        Self { table, clock }
    }

    /// Applies a change, wholly or, if it fails, so that it can be applied again.
    ///
    /// # Errors
    /// The store fails, or other writers keep being first.
    pub async fn apply(&self, change: &Change) -> Result<Applied, StoreError> {
        let mut applied = Applied::default();
        self.settle(&change.repository, Work::Change(change), &mut applied).await?;
        if change.kind == ChangeKind::RepositoryDeleted {
            self.remove_images(&change.repository, &mut applied).await?;
        }
        Ok(applied)
    }

    /// Does some work, and lets all tags expire that nobody has any longer.
    async fn settle(
        &self,
        repository: &Repository,
        work: Work<'_>,
        applied: &mut Applied,
    ) -> Result<(), StoreError> {
        // Those that are too many for the transaction that takes them away. If this is interrupted,
        // items of them stay that nobody will ever see.
        let left_behind = self.settle_work(repository, work, applied).await?;
        for tags in left_behind.chunks(TAGS_EXPIRED_AT_ONCE) {
            self.settle_work(repository, Work::ExpireTags(tags), applied).await?;
        }
        Ok(())
    }

    /// Drafts and writes until there is nothing left to write, but for the tags returned.
    async fn settle_work(
        &self,
        repository: &Repository,
        work: Work<'_>,
        applied: &mut Applied,
    ) -> Result<Vec<Tag>, StoreError> {
        let mut backoff = Backoff::new();
        let mut left_behind = Vec::new();
        loop {
            let mut draft = Draft::new(&self.table, repository);
            match work {
                Work::Change(change) => draft.add(change).await?,
                Work::CatchUp(digest) => draft.catch_up(digest).await?,
                Work::ExpireTags(tags) => draft.load_tags(tags).await?,
            }
            let expires_at = (self.clock)().as_seconds() + TOMBSTONE_LIFETIME.as_secs().cast_signed();
            let writes = draft.writes(expires_at).await;
            applied.read_units += draft.read_units;
            let transactions = writes?.transactions();
            if transactions.is_empty() {
                return Ok(left_behind);
            }
            match self.transact(transactions).await {
                Ok(units) => {
                    applied.written = true;
                    applied.write_units += units;
                    left_behind.append(&mut draft.left_behind);
                }
                Err(error @ (StoreError::Contended | StoreError::Throttled)) => {
                    backoff.wait().await.ok_or(error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn transact(&self, transactions: Vec<Vec<TransactWriteItem>>) -> Result<f64, StoreError> {
        let mut units = 0.0;
        for writes in transactions {
            units += self.transact_once(writes).await?;
        }
        Ok(units)
    }

    async fn transact_once(&self, writes: Vec<TransactWriteItem>) -> Result<f64, StoreError> {
        let output =
            self.table
                .client
                .transact_write_items()
                .set_transact_items(Some(writes))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map_err(|error| match error.as_service_error() {
                    Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                        let code = |code: &str| {
                            cancelled.cancellation_reasons().iter().any(|reason| reason.code() == Some(code))
                        };
                        if code("ConditionalCheckFailed") || code("TransactionConflict") {
                            StoreError::Contended
                        } else if code("ThrottlingError") || code("ProvisionedThroughputExceeded") {
                            StoreError::Throttled
                        } else if cancelled.cancellation_reasons().iter().any(|reason| {
                            reason.message().is_some_and(|message| message.contains("Item size"))
                        }) {
                            StoreError::ItemTooLarge
                        } else {
                            error.into()
                        }
                    }
                    Some(other) if other.code() == Some("TransactionInProgressException") => {
                        StoreError::Contended
                    }
                    _ => error.into(),
                })?;
        Ok(output.consumed_capacity().iter().filter_map(|capacity| capacity.capacity_units).sum())
    }

    /// Takes every image out of a deleted repository that was there before the deletion, and looks
    /// for pushes since then. The reader hides the images from the moment of the deletion, so this
    /// may take its time, stop half-way and be done again.
    async fn remove_images(&self, repository: &Repository, applied: &mut Applied) -> Result<(), StoreError> {
        let mut draft = Draft::new(&self.table, repository);
        draft.load([], []).await?;
        let Some(deleted_at) = draft.repository_item.now.deleted_at else { return Ok(()) };
        let mut pages = self
            .table
            .query_prefix(&table::partition(repository), table::DIGEST_PREFIX)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page?;
            applied.read_units +=
                page.consumed_capacity.and_then(|capacity| capacity.capacity_units).unwrap_or_default();
            let mut touched = Vec::new();
            for item in page.items.unwrap_or_default() {
                let history: ImageHistory = table::parse(item)?;
                if history.has_anything_before(deleted_at) || history.last_pushed_at >= Some(deleted_at) {
                    touched.push(history.digest);
                }
            }
            let removals: Vec<Applied> = stream::iter(touched)
                .map(|digest| async move {
                    let mut applied = Applied::default();
                    self.settle(repository, Work::CatchUp(&digest), &mut applied).await?;
                    Ok::<_, StoreError>(applied)
                })
                .buffer_unordered(CONCURRENT_REMOVALS)
                .try_collect()
                .await?;
            for removal in removals {
                applied.written |= removal.written;
                applied.write_units += removal.write_units;
                applied.read_units += removal.read_units;
            }
        }
        Ok(())
    }
}

/// What there is to do in one repository.
#[derive(Clone, Copy)]
enum Work<'a> {
    /// Add a change to the histories.
    Change(&'a Change),
    /// Let an image follow a deletion of its repository.
    CatchUp(&'a Digest),
    /// Let those of these tags expire that no image has.
    ExpireTags(&'a [Tag]),
}
