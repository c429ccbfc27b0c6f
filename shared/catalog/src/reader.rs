//! Reads the catalog: pages of a listing, and images by tag or digest. It cannot write.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};

use crate::history::{ImageHistory, RepositoryHistory, TagHistory};
use crate::identifier::{Digest, RegistryId, Repository, RepositoryName, Tag};
use crate::image::{Image, ImageStatus, Position, TagStatus};
use crate::table::{self, Item, StoreError, Table};
use crate::time::Timestamp;

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
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

impl Reader {
    /// A reader of this table.
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Lists images that pass a filter, from a position on, until `page_is_full` says so of the next
    /// image or `limit` is reached. Costs what the images weigh, wherever in the repository they are.
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
        let statuses = match &filter.image_status {
            Some(status) => std::slice::from_ref(status),
            None => &ImageStatus::ALL[..],
        };
        let mut listings: Vec<Listing<'_>> = statuses
            .iter()
            .map(|status| Listing::new(&self.table, repository, filter.tag_status, *status, after, limit + 1))
            .collect();
        let (known, ()) = tokio::try_join!(self.repository(repository), fill_all(&mut listings))?;
        let (deleted_at, mut consumed_capacity) = known;
        let mut images = Vec::new();
        let more = loop {
            // Images from before a deletion of the repository are on their way out.
            match next_image(&mut listings).await? {
                Some(image) if deleted_at.is_some_and(|deleted_at| image.image_pushed_at < deleted_at) => {}
                Some(image) => {
                    if images.len() == limit || page_is_full(&image) {
                        break true;
                    }
                    images.push(image);
                }
                None => break false,
            }
        };
        consumed_capacity += listings.iter().map(|listing| listing.consumed_capacity).sum::<f64>();
        Ok(Page { images, more, consumed_capacity })
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
        let partition = table::partition(repository);
        let tags: BTreeSet<&Tag> =
            identifiers.iter().filter_map(|identifier| identifier.tag.as_ref()).collect();
        let tag_items = self.table.get(&partition, tags.into_iter().map(table::tag_sort), false);
        let ((deleted_at, mut consumed_capacity), (items, capacity)) =
            tokio::try_join!(self.repository(repository), async { Ok(tag_items.await?) })?;
        consumed_capacity += capacity;
        let mut targets: HashMap<String, Digest> = HashMap::new();
        for item in items {
            let sort = table::sort_of(&item).to_owned();
            let tag: TagHistory = table::parse(item)?;
            targets.extend(tag.target().map(|digest| (sort, digest.clone())));
        }

        let wanted: Vec<Option<&Digest>> = identifiers
            .iter()
            .map(|identifier| {
                let by_tag = identifier.tag.as_ref().map(|tag| targets.get(&table::tag_sort(tag)));
                match (&identifier.digest, by_tag) {
                    (Some(digest), Some(target)) => Some(digest).filter(|digest| target == Some(*digest)),
                    (Some(digest), None) => Some(digest),
                    (None, target) => target.flatten(),
                }
            })
            .collect();
        let digests: BTreeSet<&Digest> = wanted.iter().copied().flatten().collect();
        let (items, capacity) =
            self.table.get(&partition, digests.into_iter().map(table::digest_sort), false).await?;
        consumed_capacity += capacity;
        let mut images: BTreeMap<Digest, Image> = BTreeMap::new();
        for item in items {
            let mut history: ImageHistory = table::parse(item)?;
            if let Some(deleted_at) = deleted_at {
                history.delete(deleted_at);
            }
            images.extend(history.image().map(|image| (image.image_digest.clone(), image)));
        }
        let images = identifiers
            .iter()
            .zip(wanted)
            .map(|(identifier, digest)| {
                let image = images.get(digest?)?;
                let has_tag = identifier.tag.as_ref().is_none_or(|tag| image.image_tags.contains(tag));
                has_tag.then(|| image.clone())
            })
            .collect();
        Ok(Found { images, consumed_capacity })
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
            .expression_attribute_values(":registry", table::text(table::registry_partition(registry)))
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

    /// When the repository was last deleted, if it was, and exists again; and the capacity consumed.
    async fn repository(&self, repository: &Repository) -> Result<(Option<Timestamp>, f64), ReadError> {
        let output = self
            .table
            .client
            .get_item()
            .table_name(&self.table.name)
            .set_key(Some(table::key(&table::partition(repository), table::REPOSITORY_ITEM)))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(StoreError::from)?;
        let capacity =
            output.consumed_capacity.and_then(|capacity| capacity.capacity_units).unwrap_or_default();
        let history: RepositoryHistory =
            output.item.map(table::parse).transpose()?.ok_or(ReadError::RepositoryNotFound)?;
        if history.exists() { Ok((history.deleted_at, capacity)) } else { Err(ReadError::RepositoryNotFound) }
    }
}

/// The images of one status, read as far as they are needed.
struct Listing<'a> {
    table: &'a Table,
    index: Option<&'static str>,
    partition: (&'static str, String),
    sorts: (String, String),
    wanted: usize,
    read: VecDeque<Image>,
    next: Option<Item>,
    ended: bool,
    consumed_capacity: f64,
}

impl<'a> Listing<'a> {
    fn new(
        table: &'a Table,
        repository: &Repository,
        tag_status: Option<TagStatus>,
        status: ImageStatus,
        after: Option<&Position>,
        wanted: usize,
    ) -> Self {
        let (index, partition) = match tag_status {
            Some(tag_status) => (
                Some(table::TAG_STATUS_INDEX),
                (table::REPOSITORY_TAG_STATUS, table::tag_status_partition(repository, tag_status)),
            ),
            None => (None, (table::REPOSITORY, table::partition(repository))),
        };
        Self {
            table,
            index,
            partition,
            sorts: table::image_sorts_after(status, after),
            wanted,
            read: VecDeque::new(),
            next: None,
            ended: false,
            consumed_capacity: 0.0,
        }
    }

    /// Reads on until there is an image or the listing has ended.
    async fn fill(&mut self) -> Result<(), ReadError> {
        while self.read.is_empty() && !self.ended {
            let output = self
                .table
                .client
                .query()
                .table_name(&self.table.name)
                .set_index_name(self.index.map(str::to_owned))
                .key_condition_expression("#partition = :partition AND #sort BETWEEN :first AND :last")
                .expression_attribute_names("#partition", self.partition.0)
                .expression_attribute_names("#sort", table::SORT)
                .expression_attribute_values(":partition", AttributeValue::S(self.partition.1.clone()))
                .expression_attribute_values(":first", AttributeValue::S(self.sorts.0.clone()))
                .expression_attribute_values(":last", AttributeValue::S(self.sorts.1.clone()))
                .limit(i32::try_from(self.wanted).unwrap_or(i32::MAX))
                .set_exclusive_start_key(self.next.take())
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await
                .map_err(StoreError::from)?;
            self.consumed_capacity +=
                output.consumed_capacity.and_then(|capacity| capacity.capacity_units).unwrap_or_default();
            self.next = output.last_evaluated_key;
            self.ended = self.next.is_none();
            for item in output.items.unwrap_or_default() {
                self.read.push_back(table::parse(item)?);
            }
        }
        Ok(())
    }
}

async fn fill_all(listings: &mut [Listing<'_>]) -> Result<(), ReadError> {
    for listing in listings {
        listing.fill().await?;
    }
    Ok(())
}

/// Takes the image that comes first among all listings.
async fn next_image(listings: &mut [Listing<'_>]) -> Result<Option<Image>, ReadError> {
    fill_all(listings).await?;
    let first = listings
        .iter_mut()
        .filter(|listing| !listing.read.is_empty())
        .min_by_key(|listing| listing.read.front().map(listing_order));
    Ok(first.and_then(|listing| listing.read.pop_front()))
}

/// The newest first; equal milliseconds by digest.
fn listing_order(image: &Image) -> (std::cmp::Reverse<i64>, Digest) {
    let position = image.position();
    (std::cmp::Reverse(position.pushed_at_milliseconds), position.digest)
}
