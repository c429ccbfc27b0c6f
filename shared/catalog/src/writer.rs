//! Applies changes. It reads only the items that a change concerns, and lists only a repository
//! that is deleted.
//!
//! The writer reads the histories that a change concerns, drafts the writes, and sends them in one
//! transaction, on condition that the histories have not changed. It repeats this until there is
//! nothing to write. After a transaction it reads only the other histories again: what it has
//! written, others change only after they have read it, whereas the others may have been written
//! meanwhile. So two changes that depend on each other do not miss each other. A change that was
//! applied before costs only reads.

mod queue;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, TransactWriteItem};
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};

use self::queue::Queues;
use self::writes::Writes;
use crate::change::{Change, ChangeKind};
use crate::draft::{Loaded, MAX_EXPIRED_TAGS, MAX_RESIZED_INDEXES, Missing, Owner, Work, draft};
use crate::history::{Effect, ImageHistory, LATENESS_WINDOW};
use crate::identifier::{Digest, Repository, Tag};
use crate::table::{self, Backoff, MAX_MANIFESTS, StoreError, Table};
use crate::time::Timestamp;

/// Changes that are written together. A push that moves a tag is six writes, and a transaction has a
/// hundred.
const MAX_CHANGES_TOGETHER: usize = 16;

/// Items that are loaded in one request. The largest have 400 KB.
const LOADED_TOGETHER: usize = 25;

/// Of all items that are loaded for a draft, in bytes. It is a thousand manifests with histories
/// that are much longer than any but those of an attack.
const MAX_LOADED_BYTES: usize = 8_000_000;

/// Images of a deleted repository that are removed at the same time.
const CONCURRENT_REMOVALS: usize = 8;

/// The result of a change.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Applied {
    /// Whether anything was written. A change that was applied before writes nothing.
    pub written: bool,
    /// Whether the change, or the move of its tag, came too late to make a difference.
    pub too_late: bool,
    /// Whether the repository exists, and its URI is not known.
    pub lacks_uri: bool,
    pub write_units: f64,
    pub read_units: f64,
}

/// Applies changes to the table. Its clones share the queues of repositories.
#[derive(Clone)]
pub struct Writer {
    table: Table,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    queues: Queues,
}

impl fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Writer").field("table", &self.table.name).finish_non_exhaustive()
    }
}

impl Writer {
    /// A writer to this table. The window of lateness, and the expiry of deleted items, are
    /// relative to the clock.
    #[must_use]
    pub fn new(table: Table, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { table, clock: Arc::new(clock), queues: Queues::default() }
    }

    /// Applies a change. One that failed can be applied again. Changes of one repository that are
    /// applied at the same time are written together, as far as they fit into one transaction.
    pub async fn apply(&self, change: &Change) -> Result<Applied, StoreError> {
        if change.manifests() > MAX_MANIFESTS {
            return Err(StoreError::ItemTooLarge);
        }
        if change.kind == ChangeKind::RepositoryDeleted {
            return self.delete_repository(change).await;
        }
        let place = self.queues.add(change);
        let turn = self.queues.turn(&change.repository).await;
        if let Some(applied) = place.applied() {
            return Ok(applied);
        }
        // The other messages of a batch come as soon as this one waits.
        tokio::task::yield_now().await;
        let mut together = turn.take(place.waiting(), MAX_CHANGES_TOGETHER);
        loop {
            let changes: Vec<&Change> = together.iter().map(|waiting| &waiting.change).collect();
            match self.apply_together(&change.repository, &changes).await {
                Ok(applied) => {
                    for (waiting, applied) in together.iter().zip(applied) {
                        waiting.set_applied(applied);
                    }
                    return Ok(place.applied().unwrap_or_default());
                }
                // Those that are left out get a turn of their own.
                Err(StoreError::ItemTooLarge) if together.len() > 1 => {
                    together.truncate(together.len() / 2);
                }
                // It may be the error of another one.
                Err(_) if together.len() > 1 => together.truncate(1),
                Err(error) => return Err(error),
            }
        }
    }

    /// Deletes a repository, and its images.
    async fn delete_repository(&self, deletion: &Change) -> Result<Applied, StoreError> {
        let mut applied = Applied::default();
        let repository = &deletion.repository;
        let begin = Work::Changes(std::slice::from_ref(&deletion));
        self.write_in_turn(repository, begin, &mut applied).await?;
        if let Some(deleted_until) = self.remove_images(repository, &mut applied).await? {
            let finish = Work::FinishDeletion(deleted_until);
            self.write_in_turn(repository, finish, &mut applied).await?;
        }
        Ok(applied)
    }

    /// Does a unit of work, after the earlier ones of this process in the same repository.
    async fn write_in_turn(
        &self,
        repository: &Repository,
        work: Work<'_>,
        applied: &mut Applied,
    ) -> Result<(), StoreError> {
        let _turn = self.queues.turn(repository).await;
        self.write_all(repository, work, applied).await?;
        Ok(())
    }

    /// Applies changes of a repository together. Each result has its share of the units.
    async fn apply_together(
        &self,
        repository: &Repository,
        changes: &[&Change],
    ) -> Result<Vec<Applied>, StoreError> {
        let mut all = Applied::default();
        let effects = self.write_all(repository, Work::Changes(changes), &mut all).await?;
        let sized: BTreeSet<&Digest> = changes.iter().filter_map(|change| change.sized()).collect();
        let indexes = sized.iter().map(|digest| self.indexes_of(repository, digest));
        for (digest, (indexes, read_units)) in sized.iter().zip(try_join_all(indexes).await?) {
            all.read_units += read_units;
            self.update_index_sizes(repository, digest, indexes, &mut all).await?;
        }
        let share = changes.len() as f64;
        let applied = |effect: Effect| Applied {
            too_late: effect == Effect::TooLate,
            write_units: all.write_units / share,
            read_units: all.read_units / share,
            ..all
        };
        Ok(effects.into_iter().map(applied).collect())
    }

    /// Does a unit of work, and what may be too large for its transaction: tags that no image has
    /// any longer expire. Returns the effect of each change.
    async fn write_all(
        &self,
        repository: &Repository,
        work: Work<'_>,
        applied: &mut Applied,
    ) -> Result<Vec<Effect>, StoreError> {
        // If this is interrupted, items of tags stay that no image has. They are never returned.
        let (effects, unused_tags) = self.write_until_stable(repository, work, applied).await?;
        for tags in unused_tags.chunks(MAX_EXPIRED_TAGS) {
            self.write_until_stable(repository, Work::ExpireTags(tags), applied).await?;
        }
        applied.too_late |= effects.contains(&Effect::TooLate);
        Ok(effects)
    }

    /// Updates the sizes of the indexes that list a manifest, and of those that list them. `indexes`
    /// were read after the manifest was written; one that is pushed later reads the manifest itself.
    /// All indexes are read each time, so that a change that was interrupted here is completed when
    /// it is applied again.
    async fn update_index_sizes(
        &self,
        repository: &Repository,
        digest: &Digest,
        indexes: Vec<Digest>,
        applied: &mut Applied,
    ) -> Result<(), StoreError> {
        let mut seen = BTreeSet::from([digest.clone()]);
        let mut waiting = Vec::new();
        let mut next = Some((digest.clone(), indexes));
        while let Some((manifest, indexes)) = next {
            for indexes in indexes.chunks(MAX_RESIZED_INDEXES) {
                let work = Work::UpdateSizes { manifest: &manifest, indexes };
                self.write_until_stable(repository, work, applied).await?;
            }
            waiting.extend(indexes.into_iter().filter(|index| seen.insert(index.clone())));
            next = None;
            if let Some(index) = waiting.pop() {
                let (indexes, read_units) = self.indexes_of(repository, &index).await?;
                applied.read_units += read_units;
                next = Some((index, indexes));
            }
        }
        Ok(())
    }

    /// Drafts and writes until there is nothing to write. Returns the effect of each change, and the
    /// unused tags.
    async fn write_until_stable(
        &self,
        repository: &Repository,
        work: Work<'_>,
        applied: &mut Applied,
    ) -> Result<(Vec<Effect>, Vec<Tag>), StoreError> {
        let mut backoff = Backoff::new();
        let mut unused_tags = Vec::new();
        let mut effects: Vec<Effect> = Vec::new();
        let mut written: Option<Loaded> = None;
        loop {
            let now = (self.clock)();
            let is_check = written.is_some();
            let mut loaded = written.take().unwrap_or_default();
            let (mut drafted, drafted_effects) = loop {
                match draft(&loaded, work, now.minus(LATENESS_WINDOW)) {
                    Ok(drafted) => break drafted,
                    Err(missing) => {
                        applied.read_units += self.load(repository, missing, &mut loaded).await?;
                    }
                }
            };
            if is_check && !drafted.is_empty() {
                // Others wrote meanwhile. What is written follows from what was read together.
                continue;
            }
            let writes = Writes::new(&self.table, repository, &drafted, now)?;
            // A change that was too late in one round was not applied there.
            effects.resize(drafted_effects.len(), Effect::Applied);
            for (effect, drafted) in effects.iter_mut().zip(drafted_effects) {
                if drafted == Effect::TooLate {
                    *effect = drafted;
                }
            }
            if matches!(work, Work::Changes([_, _, ..]))
                && !(drafted.unused_tags.is_empty() && writes.fit_into_one_transaction())
            {
                return Err(StoreError::ItemTooLarge);
            }
            let transactions = writes.transactions();
            if transactions.is_empty() {
                let history = loaded.repository.flatten().map(|item| item.history);
                let description = history.and_then(|history| history.description());
                applied.lacks_uri = description.is_some_and(|known| known.uri.is_none());
                return Ok((effects, unused_tags));
            }
            match self.transact(transactions).await {
                Ok(units) => {
                    written = Some(drafted.written());
                    applied.written = true;
                    applied.write_units += units;
                    unused_tags.append(&mut drafted.unused_tags);
                    // The next conflict is with other writers.
                    backoff = Backoff::new();
                }
                Err(error @ (StoreError::Contended | StoreError::Throttled)) => {
                    backoff.wait().await.ok_or(error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Loads what a draft requires. Returns the read units.
    async fn load(
        &self,
        repository: &Repository,
        missing: Missing,
        loaded: &mut Loaded,
    ) -> Result<f64, StoreError> {
        let partition = table::partition(repository);
        let images: BTreeMap<String, Digest> = missing
            .images
            .into_iter()
            .map(|digest| (table::digest_sort(&digest), digest))
            .collect();
        let tags: BTreeMap<String, Tag> =
            missing.tags.into_iter().map(|tag| (table::tag_sort(&tag), tag)).collect();
        let segments: BTreeMap<String, (Owner, u32)> = missing
            .segments
            .into_iter()
            .map(|(owner, number)| {
                (table::segment_sort(&table::owner_sort(&owner), number), (owner, number))
            })
            .collect();
        let repository_item = missing.repository.then(|| table::REPOSITORY_ITEM.to_owned());
        let sorts =
            images.keys().chain(tags.keys()).chain(segments.keys()).cloned().chain(repository_item);
        let sorts: Vec<String> = sorts.collect();
        let (mut items, mut read_units, mut bytes) = (BTreeMap::new(), 0.0, 0);
        for sorts in sorts.chunks(LOADED_TOGETHER) {
            let (loaded, units) = self.table.get(&partition, sorts.iter().cloned(), true).await?;
            read_units += units;
            for item in loaded {
                bytes += table::approximate_bytes(&item);
                items.insert(table::sort_of(&item).to_owned(), item);
            }
            if bytes > MAX_LOADED_BYTES {
                return Err(StoreError::ItemTooLarge);
            }
        }
        if missing.repository {
            let item = items.get(table::REPOSITORY_ITEM).map(table::stored_history).transpose()?;
            loaded.repository = Some(item);
        }
        for (sort, digest) in images {
            let item = items.get(&sort).map(table::stored_history).transpose()?;
            loaded.images.insert(digest, item);
        }
        for (sort, tag) in tags {
            let item = items.get(&sort).map(table::stored_history).transpose()?;
            loaded.tags.insert(tag, item);
        }
        for (sort, segment) in segments {
            let events = items.remove(&sort).map(table::segment).transpose()?;
            loaded.segments.insert(segment, events);
        }
        Ok(read_units)
    }

    /// The indexes that list a manifest, and the read units.
    async fn indexes_of(
        &self,
        repository: &Repository,
        manifest: &Digest,
    ) -> Result<(Vec<Digest>, f64), StoreError> {
        let (partition, prefix) = (table::partition(repository), table::manifest_prefix(manifest));
        let mut query = self.table.query_prefix(&partition, &prefix);
        let mut indexes = Vec::new();
        while !query.has_ended {
            let items = query.read(None).await?;
            let index_of = |item| table::index_of_manifest_sort(table::sort_of(item));
            indexes.extend(items.iter().filter_map(index_of));
        }
        Ok((indexes, query.consumed_capacity))
    }

    async fn transact(&self, transactions: Vec<Vec<TransactWriteItem>>) -> Result<f64, StoreError> {
        let mut units = 0.0;
        for writes in transactions {
            units += self.transact_once(writes).await?;
        }
        Ok(units)
    }

    async fn transact_once(&self, writes: Vec<TransactWriteItem>) -> Result<f64, StoreError> {
        let output = self
            .table
            .client
            .transact_write_items()
            .set_transact_items(Some(writes))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    let code = |code: &str| {
                        cancelled
                            .cancellation_reasons()
                            .iter()
                            .any(|reason| reason.code() == Some(code))
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

    /// Removes the images of a deleted repository from before the deletion, and finds pushes since.
    /// Writers apply the deletion from its beginning on to what they write, so that this can be
    /// interrupted and repeated. Returns the deletion whose images are all removed.
    async fn remove_images(
        &self,
        repository: &Repository,
        applied: &mut Applied,
    ) -> Result<Option<Timestamp>, StoreError> {
        let mut loaded = Loaded::default();
        let missing = Missing { repository: true, ..Missing::default() };
        applied.read_units += self.load(repository, missing, &mut loaded).await?;
        let item = loaded.repository.flatten();
        let Some(deletion) = item.and_then(|item| item.history.deleting) else { return Ok(None) };
        let partition = table::partition(repository);
        let mut query = self.table.query_prefix(&partition, table::DIGEST_PREFIX);
        while !query.has_ended {
            let mut touched = Vec::new();
            for item in query.read(None).await? {
                let Some(digest) = table::digest_of_sort(table::sort_of(&item)) else { continue };
                let history: ImageHistory = table::history(&item)?;
                if history.has_anything_before(deletion)
                    || history.last_pushed_at() >= Some(deletion)
                {
                    touched.push(digest);
                }
            }
            let removals: Vec<Applied> = stream::iter(touched)
                .map(|digest| async move {
                    let mut applied = Applied::default();
                    self.write_all(
                        repository,
                        Work::ApplyRepositoryDeletion(&digest),
                        &mut applied,
                    )
                    .await?;
                    Ok::<_, StoreError>(applied)
                })
                .buffer_unordered(CONCURRENT_REMOVALS)
                .try_collect()
                .await?;
            for removal in removals {
                applied.written |= removal.written;
                applied.too_late |= removal.too_late;
                applied.write_units += removal.write_units;
                applied.read_units += removal.read_units;
            }
        }
        applied.read_units += query.consumed_capacity;
        Ok(Some(deletion))
    }
}
