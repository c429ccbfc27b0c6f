//! Reads the catalog: listings, and images by tag or digest. It cannot write.
//!
//! Reads are eventually consistent, at half the price of consistent ones. Before the reader returns
//! that something does not exist, it reads that again consistently (rule 56).

mod counts;
mod listing;
mod repositories;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::history::{ImageHistory, Move, RepositoryHistory, TagHistory};
use crate::identifier::{Digest, Repository, Tag};
use crate::image::{Image, ImageStatus, Position, TagStatus};
use crate::table::{self, Item, StoreError, Table};

pub use self::counts::{ImageCount, ImageTotals};
pub use self::listing::Listing;
pub use self::repositories::Repositories;

/// Reads of a tag that moves each time before its image is read.
const MAX_LOOKS: usize = 32;

/// Which images are listed; `None` does not restrict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    pub tag_status: Option<TagStatus>,
    pub image_status: Option<ImageStatus>,
}

impl Filter {
    /// Whether an image passes.
    #[must_use]
    pub fn passes(&self, image: &Image) -> bool {
        self.tag_status.is_none_or(|status| status == image.tag_status())
            && self.image_status.is_none_or(|status| status == image.image_status)
    }
}

/// Identifies an image by digest, by tag, or by both, if the image has the tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageIdentifier {
    pub digest: Option<Digest>,
    pub tag: Option<Tag>,
}

/// Images by identifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The image of each identifier, in the same order. Many may identify one image.
    pub images: Vec<Option<Arc<Image>>>,
    /// DynamoDB read units.
    pub consumed_capacity: f64,
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The repository does not exist.
    #[error("no such repository")]
    RepositoryNotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads the catalog.
#[derive(Debug, Clone)]
pub struct Reader {
    table: Table,
    is_consistent: bool,
}

impl Reader {
    /// A reader of this table.
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self { table, is_consistent: false }
    }

    /// A reader whose listings without a tag status are consistent, at twice the price.
    #[must_use]
    pub fn consistent(&self) -> Self {
        Self { is_consistent: true, ..self.clone() }
    }

    /// Lists the images that pass a filter, the newest first, those after a position if there is
    /// one. Reads `page_size` images at a time. Costs what they weigh, wherever in the repository
    /// they are.
    pub async fn list(
        &self,
        repository: &Repository,
        filter: &Filter,
        after: Option<&Position>,
        page_size: usize,
    ) -> Result<Listing, ReadError> {
        let mut listing = Listing::new(self, repository, filter, after, page_size);
        listing.fill().await?;
        // A repository with images exists.
        if !listing.has_read() {
            listing.capacity_of_existence = self.check_exists(repository).await?;
        }
        Ok(listing)
    }

    /// Finds images by tag or digest.
    pub async fn find(
        &self,
        repository: &Repository,
        identifiers: &[ImageIdentifier],
    ) -> Result<Found, ReadError> {
        let mut found: BTreeMap<&ImageIdentifier, Arc<Image>> = BTreeMap::new();
        let mut missing: BTreeSet<&ImageIdentifier> = identifiers.iter().collect();
        let mut consumed_capacity = 0.0;
        let mut look = self.look(repository, &missing, false).await?;
        let mut before: Option<Look> = None;
        for _ in 0..MAX_LOOKS {
            consumed_capacity += look.consumed_capacity;
            missing.retain(|identifier| {
                if let Some(image) = look.image(identifier) {
                    found.insert(identifier, Arc::clone(image));
                    return false;
                }
                !look.is_certain(identifier, before.as_ref())
            });
            if missing.is_empty() {
                // A repository with images exists.
                if found.is_empty() {
                    match look.repository_exists {
                        Some(true) => {}
                        Some(false) => return Err(ReadError::RepositoryNotFound),
                        None => consumed_capacity += self.check_exists(repository).await?,
                    }
                }
                let images =
                    identifiers.iter().map(|identifier| found.get(identifier).cloned()).collect();
                return Ok(Found { images, consumed_capacity });
            }
            let next = self.look(repository, &missing, true).await?;
            before = Some(std::mem::replace(&mut look, next)).filter(|look| look.is_consistent);
        }
        Err(StoreError::Contended.into())
    }

    /// Reads the items of identifiers: digests and tags, and then the images that the tags were last
    /// moved to. A consistent look also reads whether the repository exists.
    async fn look(
        &self,
        repository: &Repository,
        identifiers: &BTreeSet<&ImageIdentifier>,
        is_consistent: bool,
    ) -> Result<Look, StoreError> {
        let partition = table::partition(repository);
        let repository_exists = is_consistent.then_some(false);
        let mut look = Look { is_consistent, repository_exists, ..Look::default() };
        // An identifier with both is read by its digest, because the image has its tags.
        let digests = identifiers.iter().filter_map(|identifier| identifier.digest.as_ref());
        let digests: HashMap<String, &Digest> =
            digests.map(|digest| (table::digest_sort(digest), digest)).collect();
        let tags: HashMap<String, &Tag> = identifiers
            .iter()
            .filter(|identifier| identifier.digest.is_none())
            .filter_map(|identifier| identifier.tag.as_ref())
            .map(|tag| (table::tag_sort(tag), tag))
            .collect();
        let itself = is_consistent.then(|| table::REPOSITORY_ITEM.to_owned());
        let sorts = digests.keys().chain(tags.keys()).cloned().chain(itself);
        let (items, capacity) = self.table.get(&partition, sorts, is_consistent).await?;
        look.consumed_capacity += capacity;
        for item in &items {
            let sort = table::sort_of(item);
            if let Some(digest) = digests.get(sort) {
                look.add_image(digest, item)?;
            } else if let Some(tag) = tags.get(sort) {
                let item = table::stored_history::<TagHistory>(item)?;
                if let Some(digest) = item.history.target() {
                    look.targets.insert((*tag).clone(), (item.version, digest.clone()));
                }
            } else {
                let history: RepositoryHistory = table::history(item)?;
                look.repository_exists = Some(history.exists());
            }
        }
        let targets: HashMap<String, Digest> = look
            .targets
            .values()
            .map(|(_, digest)| (table::digest_sort(digest), digest.clone()))
            .filter(|(sort, _)| !digests.contains_key(sort))
            .collect();
        let (items, capacity) =
            self.table.get(&partition, targets.keys().cloned(), is_consistent).await?;
        look.consumed_capacity += capacity;
        for item in &items {
            if let Some(digest) = targets.get(table::sort_of(item)) {
                look.add_image(digest, item)?;
            }
        }
        Ok(look)
    }

    /// The last move of a tag that is known, also of one that was deleted.
    pub async fn last_move(
        &self,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Option<Move>, StoreError> {
        let (mut moves, _) = self.consistent().last_moves(repository, [tag]).await?;
        Ok(moves.remove(tag))
    }

    /// The last moves of tags that are known. Also returns the read units.
    pub async fn last_moves<'a>(
        &self,
        repository: &Repository,
        tags: impl IntoIterator<Item = &'a Tag>,
    ) -> Result<(BTreeMap<Tag, Move>, f64), StoreError> {
        let tags: HashMap<String, &Tag> =
            tags.into_iter().map(|tag| (table::tag_sort(tag), tag)).collect();
        let partition = table::partition(repository);
        let (items, capacity) =
            self.table.get(&partition, tags.keys().cloned(), self.is_consistent).await?;
        let mut moves = BTreeMap::new();
        for item in items {
            let Some(tag) = tags.get(table::sort_of(&item)) else { continue };
            let history: TagHistory = table::history(&item)?;
            moves.extend(history.last_move().map(|last| ((*tag).clone(), last.clone())));
        }
        Ok((moves, capacity))
    }

    /// Fails if the repository does not exist. Returns the read units.
    async fn check_exists(&self, repository: &Repository) -> Result<f64, ReadError> {
        Ok(self.repository(repository).await?.1)
    }

    /// The history of a repository that exists. Also returns the read units.
    pub async fn repository(
        &self,
        repository: &Repository,
    ) -> Result<(RepositoryHistory, f64), ReadError> {
        let (mut history, mut capacity) = self.history(repository, self.is_consistent).await?;
        if history.is_none() && !self.is_consistent {
            let again;
            (history, again) = self.history(repository, true).await?;
            capacity += again;
        }
        Ok((history.ok_or(ReadError::RepositoryNotFound)?, capacity))
    }

    async fn history(
        &self,
        repository: &Repository,
        is_consistent: bool,
    ) -> Result<(Option<RepositoryHistory>, f64), StoreError> {
        let key = table::key(&table::partition(repository), table::REPOSITORY_ITEM);
        let (item, capacity) = self.table.get_item(key, is_consistent).await?;
        let history: Option<RepositoryHistory> = item.as_ref().map(table::history).transpose()?;
        Ok((history.filter(RepositoryHistory::exists), capacity))
    }
}

/// The items of identifiers, as they were read at one time.
#[derive(Debug, Default)]
struct Look {
    /// Whether they were read consistently.
    is_consistent: bool,
    /// The image that each tag was last moved to, which may have lost it since, and the version of
    /// the tag's item.
    targets: BTreeMap<Tag, (u64, Digest)>,
    images: BTreeMap<Digest, Arc<Image>>,
    /// `None` if that was not read.
    repository_exists: Option<bool>,
    consumed_capacity: f64,
}

impl Look {
    /// Adds the image of a digest, if it exists.
    fn add_image(&mut self, digest: &Digest, item: &Item) -> Result<(), StoreError> {
        let image = table::history::<ImageHistory>(item)?.image(digest);
        self.images.extend(image.map(|image| (digest.clone(), Arc::new(image))));
        Ok(())
    }

    fn image(&self, identifier: &ImageIdentifier) -> Option<&Arc<Image>> {
        let target = || Some(&self.targets.get(identifier.tag.as_ref()?)?.1);
        let image = self.images.get(identifier.digest.as_ref().or_else(target)?)?;
        let has_tag = identifier.tag.as_ref().is_none_or(|tag| image.image_tags.contains(tag));
        has_tag.then_some(image)
    }

    /// Whether an image that was not found does not exist. A tag may have moved after it was read
    /// and before its image was. If it has not moved since the read before, the image of that read
    /// had lost it.
    fn is_certain(&self, identifier: &ImageIdentifier, before: Option<&Self>) -> bool {
        let ImageIdentifier { digest: None, tag: Some(tag) } = identifier else {
            return self.is_consistent;
        };
        let target = self.targets.get(tag);
        self.is_consistent
            && (target.is_none() || before.is_some_and(|before| before.targets.get(tag) == target))
    }
}
