//! Compares the catalog with what registries themselves say, repository by repository, and repairs what
//! events that were lost left behind. On an empty catalog this is the first fill.
//!
//! What a registry says is taken as of a moment before it was asked, by the registry's own clock. So
//! whatever happens while it is asked, or after, is newer, and its events prevail, whenever they come.
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
use crate::observation::TagRange;

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

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// What the catalog has to be told.
    pub differences: Vec<Change>,
    /// What is to be compared next, if that was not all.
    pub rest: Option<ToCompare>,
}

impl Reconcile {
    /// The repositories of a registry: those that it lists, and those that the catalog has of it. Of the latter,
    /// those that can be of no other registry are pruned if they turn out to be gone; but not where the
    /// registry lists none, or not for everybody.
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
                let listed = self.registries.distribution.repositories(address).await?.unwrap_or_default();
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
                Err(error) => tracing::warn!(registry = followed.id, %error, "a repository is left out"),
            }
        }
        let to_compare = |(name, prune)| ToCompare { name, prune, after: None };
        Ok(repositories.into_iter().map(to_compare).collect())
    }

    /// What the catalog has to be told of a repository, or of part of it, so that it says what the registry
    /// says.
    ///
    /// # Errors
    /// The registry does not answer, or the store fails.
    pub async fn compare(
        &self,
        followed: &Followed,
        listed: &ToCompare,
    ) -> Result<Comparison, ReconcileError> {
        let repository = followed.repository(&listed.name)?;
        let mut known = self.known(&repository).await?;
        let (observed, last) = match &followed.registry {
            Registry::Ecr(account) => {
                let known = known.as_deref().unwrap_or_default();
                (observation::of_ecr(self.ecr()?, account, &listed.name, known).await?, None)
            }
            Registry::Distribution(address) => {
                let distribution = &self.registries.distribution;
                let (tags, range) = TagRange::list(distribution, address, listed, self.tags_at_once).await?;
                let known = known.as_deref_mut().unwrap_or_default();
                let doubtful = range.cut(known);
                let name = &listed.name;
                let observed =
                    observation::of_distribution(distribution, address, name, tags, known, &doubtful);
                (observed.await?, range.last)
            }
        };
        let mut differences = difference::between(&repository, &observed, known.as_deref());
        if listed.prune && observed.contents.is_none() && differences.is_empty() {
            // It was begun to be removed, perhaps, and not all of it was.
            let kind = ChangeKind::RepositoryDeleted;
            differences.push(Change { repository: repository.clone(), time: observed.time, kind });
        } else if !listed.prune {
            differences.retain(|change| change.kind != ChangeKind::RepositoryDeleted);
        }
        if last.is_none() {
            counter!("RepositoriesCompared").increment(1);
        }
        for change in &differences {
            counter!("Drift", "Kind" => difference::kind(change)).increment(1);
        }
        tracing::info!(
            registry = %repository.registry,
            repository = %repository.name,
            drift = differences.len(),
            "compared a repository"
        );
        let rest = last.map(|last| ToCompare { after: Some(last), ..listed.clone() });
        Ok(Comparison { differences, rest })
    }

    /// Applies differences, until the time is up if there is a limit. Tells how many were dealt with.
    ///
    /// # Errors
    /// The store fails. What was done until then is right, and the rest can be done again.
    pub async fn repair(&self, changes: &[Change], until: Option<Instant>) -> Result<usize, StoreError> {
        let mut applied = 0;
        let work = async {
            // A new repository first: otherwise all of the first writers would write its item.
            let (first, rest) = changes.split_at(changes.len().min(1));
            for change in first {
                self.apply(change).await?;
                applied += 1;
            }
            let mut outcomes =
                stream::iter(rest).map(|change| self.apply(change)).buffer_unordered(CONCURRENT_REPAIRS);
            while outcomes.try_next().await?.is_some() {
                applied += 1;
            }
            Ok::<_, StoreError>(())
        };
        match until {
            None => work.await?,
            // What is not done, can be done again.
            Some(until) => timeout_at(until, work).await.unwrap_or(Ok(()))?,
        }
        Ok(applied)
    }

    /// Applies a difference, but for one that the catalog has no room for: the others do not wait for that.
    async fn apply(&self, change: &Change) -> Result<(), StoreError> {
        match self.writer.apply(change).await {
            Err(error @ StoreError::ItemTooLarge) => {
                tracing::warn!(difference = %Described(change), %error, "a difference cannot be repaired");
                Ok(())
            }
            applied => applied.map(drop),
        }
    }

    fn ecr(&self) -> Result<&registries::Ecr, NoAnswer> {
        self.registries.ecr.as_ref().ok_or_else(|| NoAnswer("Amazon ECR is not asked here".to_owned()))
    }

    /// All images that the catalog has of a repository; nothing if it does not know it.
    async fn known(&self, repository: &Repository) -> Result<Option<Vec<Image>>, StoreError> {
        let filter = Filter { tag_status: None, image_status: None };
        let mut images: Vec<Image> = Vec::new();
        loop {
            let after = images.last().map(Image::position);
            match self.reader.list(repository, &filter, after.as_ref(), PAGE, |_| false).await {
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
}
