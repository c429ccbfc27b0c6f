//! Compares the catalog with what a registry itself says, repository by repository, and repairs what events
//! that were lost left behind. On an empty catalog this is the first fill.
//!
//! What the registry says is taken as of the moment before it was asked, by the registry's own clock. So
//! whatever happens while it is asked, or after, is newer, and its events prevail, whenever they come.

mod difference;
mod observation;

use catalog::change::Change;
use catalog::image::Image;
use catalog::reader::{Filter, ReadError};
use catalog::table::StoreError;
use catalog::{Reader, RegistryId, Repository, RepositoryName, Writer};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use registries::client::NoAnswer;
use registries::{Registries, RegistryAddress};

pub use observation::Observation;

/// How many manifests are asked for at the same time.
const CONCURRENT_QUESTIONS: usize = 8;

/// How many images of the catalog are read at once.
const PAGE: usize = 1000;

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
    /// What repairs it; nothing for a dry run.
    pub writer: Option<Writer>,
    /// Asks the registry.
    pub registries: Registries,
    /// The registry.
    pub address: RegistryAddress,
    /// The registry id that it has in the catalog.
    pub registry: RegistryId,
    /// What goes in front of its repositories' names in the catalog.
    pub repository_prefix: Option<String>,
}

impl Reconcile {
    /// The registry's repositories, by its own names.
    ///
    /// # Errors
    /// It does not tell.
    pub async fn repositories(&self) -> Result<Vec<String>, ReconcileError> {
        Ok(self.registries.repositories(&self.address).await?.names)
    }

    /// Compares a repository, by the registry's own name for it, and applies what differs unless this is a
    /// dry run. Tells what differed.
    ///
    /// # Errors
    /// The registry does not answer, or the store fails. What was done until then is right, and the rest
    /// can be done again.
    pub async fn repository(&self, name: &str) -> Result<Vec<Change>, ReconcileError> {
        let repository = self.named(name)?;
        let observed = Observation::make(&self.registries, &self.address, name).await?;
        let Some(observed) = observed else { return Ok(Vec::new()) };
        let known = self.known(&repository).await?;
        let changes = difference::between(self, name, &repository, &observed, known.as_deref()).await?;
        if let Some(writer) = &self.writer {
            for change in &changes {
                writer.apply(change).await?;
            }
        }
        Ok(changes)
    }

    /// The repository in the catalog.
    fn named(&self, name: &str) -> Result<Repository, ReconcileError> {
        let full_name = match &self.repository_prefix {
            Some(prefix) => format!("{prefix}/{name}"),
            None => name.to_owned(),
        };
        match RepositoryName::parse(&full_name) {
            Ok(name) => Ok(Repository { registry: self.registry.clone(), name }),
            Err(_) => Err(ReconcileError::Name(full_name)),
        }
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

/// Asks a question about each of several things, some at the same time.
async fn for_each<T, A, F: Future<Output = Result<A, NoAnswer>>>(
    things: impl IntoIterator<Item = T>,
    question: impl Fn(T) -> F,
) -> Result<Vec<A>, NoAnswer> {
    stream::iter(things.into_iter().map(question)).buffered(CONCURRENT_QUESTIONS).try_collect().await
}
