//! Compares the catalog with what registries themselves say, repository by repository, and repairs
//! what events that were lost left behind. On an empty catalog this is the first fill.
//!
//! What a registry says is taken as of a moment before it was asked, by the registry's own clock.
//! So whatever happens while it is asked, or after, is newer, and its events prevail, whenever they
//! come.
//!
//! - [`followed`]: the registries, and which repositories of the catalog are theirs
//! - [`observation`]: what a registry says of a repository
//! - [`difference`]: what the catalog has to be told then
//! - [`handler`]: registry by registry and repository by repository, through a queue

pub mod difference;
pub mod followed;
pub mod handler;
pub mod observation;

use std::collections::BTreeMap;

use catalog::change::Change;
use catalog::image::Image;
use catalog::reader::{Filter, ReadError};
use catalog::table::StoreError;
use catalog::{ChangeKind, Reader, Repository, Tag, Writer};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use metrics::counter;
use registries::{NoAnswer, Registries, Registry};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use crate::difference::Described;
use crate::observation::{Observation, TagRange};

pub use followed::{Followed, FollowedRegistries};

/// How many images of the catalog are read at once.
const PAGE: usize = 1000;

/// How many differences are repaired side by side.
const CONCURRENT_REPAIRS: usize = 16;

/// Why a repository could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The registry does not answer.
    #[error("the registry does not answer: {0}")]
    Registry(#[from] NoAnswer),
    /// The catalog cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registry has a repository of a name that the catalog cannot hold.
    #[error("the catalog cannot hold a repository named '{0}'")]
    Name(String),
}

/// Compares and repairs.
#[derive(Debug)]
pub struct Reconcile {
    /// The catalog.
    pub reader: Reader,
    /// What repairs it.
    pub writer: Writer,
    /// Asks the registries.
    pub registries: Registries,
    /// How many tags are compared at once, where each is a question of its own.
    pub tags_at_once: usize,
}

/// A repository, or the rest of one, to compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToCompare {
    /// Its name in the registry.
    pub name: String,
    /// Whether the catalog is to lose it if the registry does not have it.
    pub prune: bool,
    /// The tag that was the last to be compared; those after it are next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Tag>,
}

/// What differs between a registry and the catalog.
#[derive(Debug)]
pub struct Comparison {
    /// What the catalog has to be told.
    pub differences: Vec<Change>,
    /// What is to be compared next, if that was not all.
    pub rest: Option<ToCompare>,
    repository: Repository,
    observed: Observation,
    /// The tags that were compared, where it is not all of them.
    range: Option<TagRange>,
    prune: bool,
}

impl Comparison {
    /// What the catalog has to be told if this is what it knows, as far as it was compared.
    fn between(&self, mut known: Option<Vec<Image>>) -> Vec<Change> {
        if let (Some(range), Some(known)) = (&self.range, &mut known) {
            range.cut(known);
        }
        let mut differences =
            difference::between(&self.repository, &self.observed, known.as_deref());
        if !self.prune {
            differences.retain(|change| change.kind != ChangeKind::RepositoryDeleted);
        }
        differences
    }
}

/// What became of differences.
#[derive(Debug, Default)]
pub struct Repaired {
    /// How many the catalog no longer has, as another look at it shows.
    pub repaired: usize,
    /// How many it still has because it knows of something that happened since, and that prevails.
    pub superseded: usize,
    /// Those that could not be repaired, and why.
    pub failed: Vec<(Change, String)>,
    /// How many were not begun in time. Then nobody has looked what became of the others.
    pub left: usize,
}

impl Reconcile {
    /// The repositories of a registry: those that it lists, and those that the catalog has of it.
    /// Of the latter, those that can be of no other registry are pruned if they turn out to be
    /// gone; but not where the registry lists none, or not for everybody.
    ///
    /// # Errors
    /// The registry does not answer, or the store fails.
    pub async fn repositories(
        &self,
        all: &FollowedRegistries,
        followed: &Followed,
    ) -> Result<Vec<ToCompare>, ReconcileError> {
        let (listed, is_complete) = match &followed.registry {
            Registry::Ecr(account) => (self.ecr()?.repositories(account).await?, true),
            Registry::Distribution(address) => {
                let listed =
                    self.registries.distribution.repositories(address).await?.unwrap_or_default();
                let is_complete = !listed.is_empty();
                (listed, is_complete)
            }
        };
        if !is_complete {
            tracing::warn!(registry = followed.id, "the registry does not list its repositories");
        }
        let mut repositories = BTreeMap::new();
        for repository in self.reader.repositories(&followed.registry_id).await? {
            if let Some(name) = followed.name_of(&repository)
                && all.is_of(&repository, followed)
            {
                repositories.insert(name.to_owned(), is_complete);
            }
        }
        for name in listed {
            match followed.repository(&name) {
                Ok(_) => drop(repositories.insert(name, false)),
                Err(error) => {
                    tracing::warn!(registry = followed.id, %error, "a repository is left out")
                }
            }
        }
        let to_compare = |(name, prune)| ToCompare { name, prune, after: None };
        Ok(repositories.into_iter().map(to_compare).collect())
    }

    /// What the catalog has to be told of a repository, or of part of it, so that it says what the
    /// registry says.
    ///
    /// # Errors
    /// The registry does not answer, or the store fails.
    pub async fn compare(
        &self,
        followed: &Followed,
        listed: &ToCompare,
    ) -> Result<Comparison, ReconcileError> {
        let repository = followed.repository(&listed.name)?;
        let known = known(&self.reader, &repository).await?;
        let (observed, range) = match &followed.registry {
            Registry::Ecr(account) => {
                let known = known.as_deref().unwrap_or_default();
                (observation::of_ecr(self.ecr()?, account, &listed.name, known).await?, None)
            }
            Registry::Distribution(address) => {
                let distribution = &self.registries.distribution;
                let (tags, range) =
                    TagRange::list(distribution, address, listed, self.tags_at_once).await?;
                let mut known = known.clone().unwrap_or_default();
                let doubtful = range.cut(&mut known);
                let name = &listed.name;
                let observed = observation::of_distribution(
                    distribution,
                    address,
                    name,
                    tags,
                    &known,
                    &doubtful,
                );
                (observed.await?, Some(range))
            }
        };
        let last = range.as_ref().and_then(|range| range.last.clone());
        let mut comparison = Comparison {
            differences: Vec::new(),
            rest: last.map(|last| ToCompare { after: Some(last), ..listed.clone() }),
            repository,
            observed,
            range,
            prune: listed.prune,
        };
        comparison.differences = comparison.between(known);
        if comparison.rest.is_none() {
            counter!("RepositoriesCompared").increment(1);
        }
        for change in &comparison.differences {
            counter!("Drift", "Kind" => difference::kind(change)).increment(1);
        }
        tracing::info!(
            registry = %comparison.repository.registry,
            repository = %comparison.repository.name,
            drift = comparison.differences.len(),
            "compared a repository"
        );
        Ok(comparison)
    }

    /// Applies differences, until the time is up if there is a limit, and then looks what the
    /// catalog says.
    ///
    /// # Errors
    /// The store fails. What was done until then is right, and the rest can be done again.
    pub async fn repair(
        &self,
        comparison: &Comparison,
        until: Option<Instant>,
    ) -> Result<Repaired, StoreError> {
        let differences = &comparison.differences;
        let outcomes = self.apply(differences, until).await?;
        let left = differences.len() - outcomes.len();
        // What is left is compared again anyway.
        if left > 0 || outcomes.is_empty() {
            return Ok(Repaired { left, ..Repaired::default() });
        }
        let still_there =
            comparison.between(known(&self.reader.consistent(), &comparison.repository).await?);
        let mut repaired = Repaired { left, ..Repaired::default() };
        for (place, outcome) in outcomes {
            let change = &differences[place];
            if let Err(reason) = outcome {
                counter!("DriftNotRepaired", "Kind" => difference::kind(change)).increment(1);
                tracing::warn!(difference = %Described(change), reason, "a difference cannot be repaired");
                repaired.failed.push((change.clone(), reason));
            } else if still_there.contains(change) {
                repaired.superseded += 1;
            } else {
                repaired.repaired += 1;
            }
        }
        Ok(repaired)
    }

    /// Applies differences, until the time is up if there is a limit. Tells what became of each
    /// that was dealt with, by its place. One that the catalog has no room for, or that comes too
    /// late, does not keep the others from it.
    ///
    /// # Errors
    /// The store fails.
    pub async fn apply(
        &self,
        changes: &[Change],
        until: Option<Instant>,
    ) -> Result<Vec<(usize, Result<(), String>)>, StoreError> {
        let mut outcomes = Vec::new();
        let work = async {
            // A new repository first: otherwise all of the first writers would write its item.
            let mut changes = changes.iter().enumerate();
            if let Some(first) = changes.next() {
                outcomes.push(self.apply_one(first).await?);
            }
            let mut rest = stream::iter(changes)
                .map(|change| self.apply_one(change))
                .buffer_unordered(CONCURRENT_REPAIRS);
            while let Some(outcome) = rest.try_next().await? {
                outcomes.push(outcome);
            }
            Ok::<_, StoreError>(())
        };
        match until {
            None => work.await?,
            // What is not done, can be done again.
            Some(until) => timeout_at(until, work).await.unwrap_or(Ok(()))?,
        }
        Ok(outcomes)
    }

    async fn apply_one(
        &self,
        (place, change): (usize, &Change),
    ) -> Result<(usize, Result<(), String>), StoreError> {
        match self.writer.apply(change).await {
            Ok(applied) if applied.too_late => Ok((
                place,
                Err("it is of a time of which too little is known any longer".to_owned()),
            )),
            Ok(_) => Ok((place, Ok(()))),
            Err(error @ StoreError::ItemTooLarge) => Ok((place, Err(error.to_string()))),
            Err(error) => Err(error),
        }
    }

    fn ecr(&self) -> Result<&registries::Ecr, NoAnswer> {
        self.registries
            .ecr
            .as_ref()
            .ok_or_else(|| NoAnswer("Amazon ECR is not asked here".to_owned()))
    }
}

/// All images that the catalog has of a repository; `None` if it does not know it.
async fn known(reader: &Reader, repository: &Repository) -> Result<Option<Vec<Image>>, StoreError> {
    let filter = Filter { tag_status: None, image_status: None };
    let mut images: Vec<Image> = Vec::new();
    loop {
        let after = images.last().map(Image::position);
        match reader.list(repository, &filter, after.as_ref(), PAGE, |_| false).await {
            Ok(page) => {
                images.extend(page.images);
                if !page.more {
                    return Ok(Some(images));
                }
            }
            Err(ReadError::RepositoryNotFound) => return Ok(None),
            Err(ReadError::Store(error)) => return Err(error),
        }
    }
}
