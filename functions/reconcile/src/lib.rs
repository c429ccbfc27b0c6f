//! Reconciles the catalog with registries, repository by repository: repairs what lost events left
//! behind. On an empty catalog this is the first fill.
//!
//! What a registry returns counts as of a moment before the request, by the registry's own clock.
//! What happens during or after the request is newer, so its events prevail whenever they arrive.
//!
//! - [`observation`]: what a registry contains
//! - [`drift`]: the differences between that and the catalog, as changes
//! - [`job`]: registry by registry and repository by repository, through a queue

pub mod drift;
pub mod job;
pub mod observation;

use std::collections::BTreeMap;

use catalog::change::Change;
use catalog::history::RepositoryHistory;
use catalog::image::Image;
use catalog::reader::{Filter, ReadError};
use catalog::table::StoreError;
use catalog::{ChangeKind, Reader, Repository, Tag, Writer};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use metrics::counter;
use registries::target::InvalidRepositoryName;
use registries::{Registries, Registry, RegistryTarget, RegistryTargets, RegistryUnavailable};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use crate::drift::Description;
use crate::observation::{Observation, ObservedRepository, TagRange};

/// Images of the catalog that are read at a time.
const PAGE_SIZE: usize = 1000;

/// Changes that are applied at the same time.
const CONCURRENT_CHANGES: usize = 16;

/// Why a repository could not be reconciled.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error("the registry is unavailable")]
    Registry(#[from] RegistryUnavailable),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Name(#[from] InvalidRepositoryName),
    #[error(
        "the registry does not list its repositories, and the catalog has none of it: is this its \
         address?"
    )]
    NothingKnown,
}

/// Why a change was not applied.
#[derive(Debug, thiserror::Error)]
pub enum NotRepaired {
    #[error("the history at its time is no longer known")]
    TooLate,
    #[error(transparent)]
    Store(StoreError),
}

/// Reconciles the catalog with registries.
#[derive(Debug)]
pub struct Reconcile {
    pub reader: Reader,
    pub writer: Writer,
    pub registries: Registries,
    /// How many tags of a repository are looked up in one job. Each is a request.
    pub max_tags: usize,
}

/// A repository, or the rest of one, to reconcile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileJob {
    /// The name of the repository in the registry.
    pub name: String,
    /// Whether the repository is deleted in the catalog if the registry does not have it.
    pub prune: bool,
    /// Only the tags after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Tag>,
}

/// The jobs of a registry, one for each repository.
#[derive(Debug, Default)]
pub struct RepositoryJobs {
    pub jobs: Vec<ReconcileJob>,
    /// The repositories of the registry that the catalog cannot hold.
    pub skipped: Vec<InvalidRepositoryName>,
    /// Whether the registry returned no list, and is not of a product that never does.
    pub lacks_list: bool,
}

impl RepositoryJobs {
    /// Fails if nothing is known of a registry that should list its repositories: any web server
    /// answers as it does, so that the address may be wrong.
    pub fn checked(self) -> Result<Self, ReconcileError> {
        if self.lacks_list && self.jobs.is_empty() {
            return Err(ReconcileError::NothingKnown);
        }
        Ok(self)
    }
}

/// The differences between a registry and the catalog.
#[derive(Debug)]
pub struct Drift {
    /// The changes that remove the differences.
    pub changes: Vec<Change>,
    /// The next job for the same repository, if this one was not for all of it.
    pub rest: Option<ReconcileJob>,
    /// In the catalog.
    pub repository: Repository,
    /// Whether the catalog has the repository.
    is_known: bool,
    observed: Observation,
    /// The tags that were looked up, if those are not all.
    range: Option<TagRange>,
    prune: bool,
}

impl Drift {
    /// Whether the catalog keeps a repository that the registry does not have (any longer).
    #[must_use]
    pub fn keeps_repository(&self) -> bool {
        self.is_known && self.observed.contents.is_none() && !self.prune
    }

    /// Whether neither the registry nor the catalog has the repository.
    #[must_use]
    pub fn has_no_repository(&self) -> bool {
        !self.is_known && self.observed.contents.is_none()
    }

    /// The changes for a catalog that contains these images.
    fn changes_for(&self, mut known: Option<Known>) -> Vec<Change> {
        if let (Some(range), Some(known)) = (&self.range, &mut known) {
            range.restrict(&mut known.images);
        }
        let images = known.as_ref().map(|known| known.images.as_slice());
        let of_images = drift::changes(&self.repository, &self.observed, images);
        let of_repository = known.as_ref().and_then(|known| {
            drift::repository_change(&self.repository, &self.observed, &known.history)
        });
        let mut changes: Vec<Change> = of_repository.into_iter().chain(of_images).collect();
        if !self.prune {
            changes.retain(|change| change.kind != ChangeKind::RepositoryDeleted);
        }
        changes
    }
}

/// The results of changes.
#[derive(Debug, Default)]
pub struct Repaired {
    /// Changes after which the difference is gone.
    pub repaired: usize,
    /// Changes after which the difference is still there, because something newer prevails.
    pub superseded: usize,
    pub failed: Vec<(Change, NotRepaired)>,
    /// Changes that were not begun in time. Then the results of the others are not known.
    pub left: usize,
}

impl Reconcile {
    /// The repositories of a registry: those that it lists, and those that the catalog has of it.
    /// The latter are pruned if they can belong to no other registry, and if the registry returned
    /// a list that is not empty.
    pub async fn repositories(
        &self,
        targets: &RegistryTargets,
        target: &RegistryTarget,
    ) -> Result<RepositoryJobs, ReconcileError> {
        let (listed, is_complete) = match &target.registry {
            Registry::Ecr { service, account } => {
                (Some(self.registries.ecr()?.repositories(*service, account).await?), true)
            }
            Registry::Oci(_) if !target.lists_repositories() => (None, false),
            Registry::Oci(address) => {
                let listed = self.registries.oci.repositories(address).await?;
                let is_complete = listed.as_ref().is_some_and(|listed| !listed.is_empty());
                (listed, is_complete)
            }
        };
        let lacks_list = listed.is_none() && target.lists_repositories();
        if listed.is_none() {
            tracing::warn!(registry = target.id, "the registry does not list its repositories");
        }
        let mut repositories = BTreeMap::new();
        for repository in
            self.reader.repositories(target.scope.service, &target.scope.registry_id).await?
        {
            if let Some(name) = target.name_of(&repository)
                && targets.is_exclusive(&repository, target)
            {
                repositories.insert(name.to_owned(), is_complete);
            }
        }
        let mut skipped = Vec::new();
        for name in listed.unwrap_or_default() {
            match target.repository(&name) {
                Ok(_) => drop(repositories.insert(name, false)),
                Err(error) => {
                    let reason = error.to_string();
                    tracing::warn!(registry = target.id, reason, "skipped a repository");
                    skipped.push(error);
                }
            }
        }
        let job = |(name, prune)| ReconcileJob { name, prune, after: None };
        let jobs = repositories.into_iter().map(job).collect();
        Ok(RepositoryJobs { jobs, skipped, lacks_list })
    }

    /// Finds the differences of a job.
    pub async fn find_drift(
        &self,
        target: &RegistryTarget,
        job: &ReconcileJob,
    ) -> Result<Drift, ReconcileError> {
        let repository = target.repository(&job.name)?;
        let known = known(&self.reader, &repository).await?;
        let (observed, range) = match &target.registry {
            Registry::Ecr { service, account } => {
                let known = known.as_ref().map_or(&[][..], |known| known.images.as_slice());
                let ecr = self.registries.ecr()?;
                let listed = ecr.images(*service, account, &job.name).await?;
                let described = match listed.items {
                    Some(_) => ecr.repository(*service, account, &job.name).await?,
                    None => None,
                };
                (observation::of_ecr(listed, described.unwrap_or_default(), known)?, None)
            }
            Registry::Oci(address) => {
                let oci = &self.registries.oci;
                let (tags, range) = TagRange::list(oci, address, job, self.max_tags).await?;
                let mut known =
                    known.as_ref().map(|known| known.images.clone()).unwrap_or_default();
                let candidates = range.restrict(&mut known);
                let repository =
                    ObservedRepository { oci, address, source: target.source, name: &job.name };
                let observed = observation::of_oci(repository, tags, &known, &candidates).await?;
                (observed, Some(range))
            }
        };
        let last = range.as_ref().and_then(|range| range.last.clone());
        let mut drift = Drift {
            changes: Vec::new(),
            rest: last.map(|last| ReconcileJob { after: Some(last), ..job.clone() }),
            repository,
            is_known: known.is_some(),
            observed,
            range,
            prune: job.prune,
        };
        drift.changes = drift.changes_for(known);
        if drift.rest.is_none() {
            counter!("RepositoriesReconciled").increment(1);
        }
        for change in &drift.changes {
            counter!("Drift", "Kind" => drift::kind(change)).increment(1);
        }
        tracing::info!(
            service = %drift.repository.service,
            registry = %drift.repository.registry,
            repository = %drift.repository.name,
            drift = drift.changes.len(),
            "found the drift of a repository"
        );
        if drift.keeps_repository() {
            tracing::warn!(
                registry = %drift.repository.registry,
                repository = %drift.repository.name,
                "kept a repository that the registry does not have"
            );
        }
        Ok(drift)
    }

    /// Applies the changes, until the time is up if there is a limit, and then reads the catalog
    /// again.
    pub async fn repair(
        &self,
        drift: &Drift,
        until: Option<Instant>,
    ) -> Result<Repaired, StoreError> {
        let results = self.apply(&drift.changes, until).await?;
        let left = drift.changes.len() - results.len();
        // The next job finds what is left.
        if left > 0 || results.is_empty() {
            return Ok(Repaired { left, ..Repaired::default() });
        }
        let remaining =
            drift.changes_for(known(&self.reader.consistent(), &drift.repository).await?);
        let mut repaired = Repaired { left, ..Repaired::default() };
        // The catalog may have known a scan of an image that it did not have.
        let (remaining, shown): (Vec<_>, Vec<_>) = remaining
            .into_iter()
            .partition(|left| drift.changes.iter().any(|change| is_same(left, change)));
        for (index, result) in self.apply(&shown, until).await? {
            if let Err(reason) = result {
                repaired.failed.push((shown[index].clone(), reason));
            }
        }
        for (index, result) in results {
            let change = &drift.changes[index];
            if let Err(reason) = result {
                counter!("DriftNotRepaired", "Kind" => drift::kind(change)).increment(1);
                let drift = Description(change);
                tracing::warn!(%drift, %reason, "a difference cannot be repaired");
                repaired.failed.push((change.clone(), reason));
            } else if remaining.iter().any(|left| is_same(left, change)) {
                repaired.superseded += 1;
            } else {
                repaired.repaired += 1;
            }
        }
        Ok(repaired)
    }

    /// Applies changes, until the time is up if there is a limit. Returns the result of each that
    /// was applied, with its index. A change that fails for its own reasons does not end the
    /// others.
    pub async fn apply(
        &self,
        changes: &[Change],
        until: Option<Instant>,
    ) -> Result<Vec<(usize, Result<(), NotRepaired>)>, StoreError> {
        let mut results = Vec::new();
        let work = async {
            // A new repository first: otherwise all of the first writers would write its item.
            let mut changes = changes.iter().enumerate();
            if let Some(first) = changes.next() {
                results.push(self.apply_one(first).await?);
            }
            let mut rest = stream::iter(changes)
                .map(|change| self.apply_one(change))
                .buffer_unordered(CONCURRENT_CHANGES);
            while let Some(result) = rest.try_next().await? {
                results.push(result);
            }
            Ok::<_, StoreError>(())
        };
        match until {
            None => work.await?,
            Some(until) => timeout_at(until, work).await.unwrap_or(Ok(()))?,
        }
        Ok(results)
    }

    async fn apply_one(
        &self,
        (index, change): (usize, &Change),
    ) -> Result<(usize, Result<(), NotRepaired>), StoreError> {
        match self.writer.apply(change).await {
            Ok(applied) if applied.too_late => Ok((index, Err(NotRepaired::TooLate))),
            Ok(_) => Ok((index, Ok(()))),
            Err(error @ StoreError::ItemTooLarge) => Ok((index, Err(NotRepaired::Store(error)))),
            Err(error) => Err(error),
        }
    }
}

/// Whether a change that remains is one that was applied. Of a statement about a repository, a part
/// may remain.
fn is_same(remaining: &Change, applied: &Change) -> bool {
    let is_statement = |change: &Change| matches!(change.kind, ChangeKind::RepositoryStated(_));
    remaining == applied || (is_statement(remaining) && is_statement(applied))
}

/// What the catalog has of a repository.
struct Known {
    history: RepositoryHistory,
    images: Vec<Image>,
}

/// What the catalog has of a repository; `None` if it does not exist there.
async fn known(reader: &Reader, repository: &Repository) -> Result<Option<Known>, StoreError> {
    let read = async {
        let (history, _) = reader.repository(repository).await?;
        let mut listing = reader.list(repository, &Filter::default(), None, PAGE_SIZE).await?;
        let mut images = Vec::new();
        while let Some(row) = listing.next().await? {
            images.push(row.image()?);
        }
        Ok(Known { history, images })
    };
    match read.await {
        Ok(known) => Ok(Some(known)),
        Err(ReadError::RepositoryNotFound) => Ok(None),
        Err(ReadError::Store(error)) => Err(error),
    }
}
