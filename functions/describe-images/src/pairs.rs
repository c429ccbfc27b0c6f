//! Pages of pairs of an image and one of its tags, which ListImages and DescribeImageTags return
//! (rule 63): the newest image first, its tags in ascending order. An image without tags is a pair
//! without a tag. A page may end within an image.

use std::sync::Arc;

use catalog::image::Image;
use catalog::reader::{Filter, ImageIdentifier, Listing};
use catalog::{Reader, RegistryId, Repository, Service, Tag};

use crate::constraints;
use crate::error::ApiError;
use crate::members::{Members, integer, string};
use crate::page_token::{Keyring, ListingKey, PagePosition};

#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) image: Arc<Image>,
    pub(crate) tag: Option<Tag>,
}

/// What a page has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageRequest {
    pub(crate) repository: Repository,
    /// With defaults.
    pub(crate) filter: Filter,
    pub(crate) max_results: usize,
    /// Still sealed.
    pub(crate) next_token: Option<String>,
}

/// The members of a request that both operations have, not yet validated.
pub(crate) struct PageMembers {
    registry_id: Option<String>,
    repository_name: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
}

impl PageMembers {
    pub(crate) fn decode(members: &mut Members<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            registry_id: string(members.take("registryId"))?,
            repository_name: string(members.take("repositoryName"))?,
            next_token: string(members.take("nextToken"))?,
            max_results: integer(members.take("maxResults"))?,
        })
    }

    /// Validates the members, and then the filter. `default_registry` is the registry without
    /// `registryId`.
    pub(crate) fn validate(
        self,
        service: Service,
        default_registry: &RegistryId,
        filter: impl FnOnce() -> Result<Filter, ApiError>,
    ) -> Result<PageRequest, ApiError> {
        let (name, registry_id) = (self.repository_name.as_deref(), self.registry_id.as_deref());
        Ok(PageRequest {
            repository: constraints::repository(service, default_registry, name, registry_id)?,
            max_results: constraints::page_size(self.max_results)?,
            filter: filter()?,
            next_token: self.next_token,
        })
    }
}

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) pairs: Vec<Pair>,
    pub(crate) next_token: Option<String>,
    pub(crate) consumed_capacity: f64,
}

/// Reads a page.
pub(crate) async fn page(
    reader: &Reader,
    keyring: &Keyring,
    key: &ListingKey<'_>,
    request: &PageRequest,
) -> Result<Page, ApiError> {
    let PageRequest { repository, filter, max_results, next_token } = request;
    let after = next_token.as_ref().map(|token| keyring.open_image(key, token)).transpose()?;
    let mut listing = reader
        .list(repository, filter, after.as_ref().map(|after| &after.image), max_results + 1)
        .await
        .map_err(|error| ApiError::from_read(error, repository))?;
    let (pairs, capacity) = match &after {
        Some(after) => rest_of_image(reader, repository, filter, after).await?,
        None => (Vec::new(), 0.0),
    };
    let last = after.map(|after| PagePosition { tag: None, ..after });
    let (pairs, last) = fill(&mut listing, *max_results, pairs, last).await?;
    let next_token = last.map(|last| keyring.seal_position(key, &last.to_bytes())).transpose()?;
    Ok(Page { pairs, next_token, consumed_capacity: capacity + listing.consumed_capacity() })
}

/// The pairs of the image in which the page before has ended. Also returns the read units. The image
/// may have been deleted, or pushed again, since.
async fn rest_of_image(
    reader: &Reader,
    repository: &Repository,
    filter: &Filter,
    after: &PagePosition,
) -> Result<(Vec<Pair>, f64), ApiError> {
    let Some(last) = &after.tag else { return Ok((Vec::new(), 0.0)) };
    let identifier = ImageIdentifier { digest: Some(after.image.digest.clone()), tag: None };
    let found = reader
        .find(repository, &[identifier])
        .await
        .map_err(|error| ApiError::from_read(error, repository))?;
    let image = found.images.into_iter().flatten().next();
    let image = image.filter(|image| image.position() == after.image && filter.passes(image));
    let mut pairs = image.map(pairs_of).unwrap_or_default();
    pairs.retain(|pair| pair.tag.as_ref() > Some(last));
    Ok((pairs, found.consumed_capacity))
}

fn pairs_of(image: Arc<Image>) -> Vec<Pair> {
    if image.image_tags.is_empty() {
        return vec![Pair { image, tag: None }];
    }
    let pair = |tag: &Tag| Pair { image: Arc::clone(&image), tag: Some(tag.clone()) };
    image.image_tags.iter().map(pair).collect()
}

/// Adds pairs up to the size of the page. Also returns where the page ends, if it is not the last
/// one. `last` is the position after the pairs that there are.
async fn fill(
    listing: &mut Listing,
    max_results: usize,
    mut pairs: Vec<Pair>,
    mut last: Option<PagePosition>,
) -> Result<(Vec<Pair>, Option<PagePosition>), ApiError> {
    while pairs.len() <= max_results {
        let Some(row) = listing.next().await? else { return Ok((pairs, None)) };
        if pairs.len() == max_results {
            return Ok((pairs, last));
        }
        last = Some(PagePosition { image: row.position()?, tag: None });
        pairs.extend(pairs_of(Arc::new(row.image()?)));
    }
    // The page ends within an image.
    pairs.truncate(max_results);
    let tag = pairs.last().and_then(|pair| pair.tag.clone());
    Ok((pairs, last.map(|last| PagePosition { tag, ..last })))
}
