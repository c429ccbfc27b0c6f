//! Reads the catalog: pages of a listing, and images by tag or digest. It cannot write.
//!
//! DynamoDB may answer a read from the recent past, and each key from a past of its own. That is
//! half the price, and good enough for what is found. Before the reader says that something does
//! not exist, it reads again what that depends on, as it is now (rule 56).

mod listing;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_dynamodb::types::ReturnConsumedCapacity;

use self::listing::Listing;
use crate::history::{ImageHistory, RepositoryHistory, TagHistory};
use crate::identifier::{Digest, RegistryId, Repository, RepositoryName, Tag};
use crate::image::{Image, ImageStatus, Position, TagStatus};
use crate::table::{self, StoreError, Table};

/// How often the reader looks where a tag is that moves each time before its image is read.
const MAX_LOOKS: usize = 32;

/// Which images to list. Without a restriction, all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only tagged, or only untagged ones.
    pub tag_status: Option<TagStatus>,
    /// Only those of this status.
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

/// What one image is asked for by: a digest, a tag, or both, which must then fit each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageIdentifier {
    /// The digest, if given.
    pub digest: Option<Digest>,
    /// The tag, if given.
    pub tag: Option<Tag>,
}

/// Part of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The newest first; equal milliseconds by digest.
    pub images: Vec<Image>,
    /// Whether more images follow.
    pub more: bool,
    /// DynamoDB capacity units that reading it consumed.
    pub consumed_capacity: f64,
}

/// Images that were asked for one by one.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// For each identifier its image, in the order asked.
    pub images: Vec<Option<Image>>,
    /// DynamoDB capacity units that reading them consumed.
    pub consumed_capacity: f64,
}

/// Why nothing can be told.
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

    /// A reader whose listings without a tag status say what is in the table now, at twice the
    /// price.
    #[must_use]
    pub fn consistent(&self) -> Self {
        Self { is_consistent: true, ..self.clone() }
    }

    /// Lists images that pass a filter, from a position on, until `page_is_full` says so of the
    /// next image or `limit` is reached. Costs what the images weigh, wherever in the repository
    /// they are.
    ///
    /// # Errors
    /// No such repository, or the store fails.
    pub async fn list(
        &self,
        repository: &Repository,
        filter: &Filter,
        after: Option<&Position>,
        limit: usize,
        mut page_is_full: impl FnMut(&Image) -> bool,
    ) -> Result<Page, ReadError> {
        let mut listing = Listing::new(self, repository, filter, after, limit + 1);
        let (known, ()) = tokio::try_join!(self.check_exists(repository), async {
            listing.fill().await.map_err(ReadError::from)
        })?;
        let mut images = Vec::new();
        let more = loop {
            match listing.next().await? {
                Some(image) => {
                    if images.len() == limit || page_is_full(&image) {
                        break true;
                    }
                    images.push(image);
                }
                None => break false,
            }
        };
        Ok(Page { images, more, consumed_capacity: known + listing.consumed_capacity() })
    }

    /// Finds images by tag or digest.
    ///
    /// # Errors
    /// No such repository, or the store fails.
    pub async fn find(
        &self,
        repository: &Repository,
        identifiers: &[ImageIdentifier],
    ) -> Result<Found, ReadError> {
        let mut found: BTreeMap<&ImageIdentifier, Image> = BTreeMap::new();
        let mut missing: BTreeSet<&ImageIdentifier> = identifiers.iter().collect();
        let (mut consumed_capacity, mut look) =
            tokio::try_join!(self.check_exists(repository), async {
                Ok(self.look(repository, &missing, false).await?)
            })?;
        let mut before: Option<Look> = None;
        for _ in 0..MAX_LOOKS {
            consumed_capacity += look.consumed_capacity;
            missing.retain(|identifier| {
                if let Some(image) = look.image(identifier) {
                    found.insert(identifier, image.clone());
                    return false;
                }
                !look.is_certain(identifier, before.as_ref())
            });
            if missing.is_empty() {
                let images =
                    identifiers.iter().map(|identifier| found.get(identifier).cloned()).collect();
                return Ok(Found { images, consumed_capacity });
            }
            let next = self.look(repository, &missing, true).await?;
            before = Some(std::mem::replace(&mut look, next)).filter(|look| look.is_consistent);
        }
        Err(StoreError::Contended.into())
    }

    /// Reads the items of identifiers: the tags first, and then the images that they were last
    /// moved to.
    async fn look(
        &self,
        repository: &Repository,
        identifiers: &BTreeSet<&ImageIdentifier>,
        is_consistent: bool,
    ) -> Result<Look, StoreError> {
        let partition = table::partition(repository);
        let mut look = Look { is_consistent, ..Look::default() };
        // An image knows its tags: what is asked for by both is read by its digest alone.
        let tags: HashMap<String, &Tag> = identifiers
            .iter()
            .filter(|identifier| identifier.digest.is_none())
            .filter_map(|identifier| identifier.tag.as_ref())
            .map(|tag| (table::tag_sort(tag), tag))
            .collect();
        let mut digests: BTreeSet<Digest> =
            identifiers.iter().filter_map(|identifier| identifier.digest.clone()).collect();
        let (items, capacity) =
            self.table.get(&partition, tags.keys().cloned(), is_consistent).await?;
        look.consumed_capacity += capacity;
        for item in items {
            let Some(tag) = tags.get(table::sort_of(&item)) else { continue };
            let item = table::parse_history::<TagHistory>(item)?;
            if let Some(digest) = item.history.target() {
                digests.insert(digest.clone());
                look.targets.insert((*tag).clone(), (item.version, digest.clone()));
            }
        }
        let sorts = digests.iter().map(table::digest_sort);
        let (items, capacity) = self.table.get(&partition, sorts, is_consistent).await?;
        look.consumed_capacity += capacity;
        for item in items {
            let Some(digest) = table::digest_of_sort(table::sort_of(&item)) else { continue };
            let history: ImageHistory = table::parse(item)?;
            look.images.extend(history.image(&digest).map(|image| (digest, image)));
        }
        Ok(look)
    }

    /// All repositories of a registry.
    ///
    /// # Errors
    /// The store fails.
    pub async fn repositories(&self, registry: &RegistryId) -> Result<Vec<Repository>, StoreError> {
        let mut items = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .index_name(table::TAG_STATUS_INDEX)
            .key_condition_expression("#registry = :registry")
            .expression_attribute_names("#registry", table::REPOSITORY_TAG_STATUS)
            .expression_attribute_values(
                ":registry",
                table::text(table::registry_partition(registry)),
            )
            .into_paginator()
            .items()
            .send();
        let mut repositories = Vec::new();
        while let Some(item) = items.next().await {
            let item = item?;
            let name = table::repository_name_of(&item).map(str::to_owned);
            let history: RepositoryHistory = table::parse(item)?;
            if let Some(Ok(name)) = name.as_deref().map(RepositoryName::parse)
                && history.exists()
            {
                repositories.push(Repository { registry: registry.clone(), name });
            }
        }
        Ok(repositories)
    }

    /// Fails if the repository does not exist; tells the capacity consumed.
    async fn check_exists(&self, repository: &Repository) -> Result<f64, ReadError> {
        let (mut exists, mut capacity) = self.exists(repository, self.is_consistent).await?;
        if !exists && !self.is_consistent {
            let again;
            (exists, again) = self.exists(repository, true).await?;
            capacity += again;
        }
        if exists { Ok(capacity) } else { Err(ReadError::RepositoryNotFound) }
    }

    async fn exists(
        &self,
        repository: &Repository,
        is_consistent: bool,
    ) -> Result<(bool, f64), StoreError> {
        let output = self
            .table
            .client
            .get_item()
            .table_name(&self.table.name)
            .set_key(Some(table::key(&table::partition(repository), table::REPOSITORY_ITEM)))
            .consistent_read(is_consistent)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await?;
        let capacity = output.consumed_capacity.and_then(|capacity| capacity.capacity_units);
        let history: Option<RepositoryHistory> = output.item.map(table::parse).transpose()?;
        Ok((history.is_some_and(|history| history.exists()), capacity.unwrap_or_default()))
    }
}

/// What one look at the items of identifiers found.
#[derive(Debug, Default)]
struct Look {
    /// Whether it is how they are, and not how they were.
    is_consistent: bool,
    /// The image that each tag was last moved to, whether or not it still has it; and the version
    /// of the tag's item.
    targets: BTreeMap<Tag, (u64, Digest)>,
    images: BTreeMap<Digest, Image>,
    consumed_capacity: f64,
}

impl Look {
    fn image(&self, identifier: &ImageIdentifier) -> Option<&Image> {
        let target = || Some(&self.targets.get(identifier.tag.as_ref()?)?.1);
        let image = self.images.get(identifier.digest.as_ref().or_else(target)?)?;
        let has_tag = identifier.tag.as_ref().is_none_or(|tag| image.image_tags.contains(tag));
        has_tag.then_some(image)
    }

    /// Whether what was not found does not exist. A tag may have moved after it was read and before
    /// its image was; if it is still where it was at the look before, it had been lost by the image
    /// that was read then.
    fn is_certain(&self, identifier: &ImageIdentifier, before: Option<&Self>) -> bool {
        let ImageIdentifier { digest: None, tag: Some(tag) } = identifier else {
            return self.is_consistent;
        };
        let target = self.targets.get(tag);
        self.is_consistent
            && (target.is_none() || before.is_some_and(|before| before.targets.get(tag) == target))
    }
}
