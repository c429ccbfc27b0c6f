//! The operation: a valid request to a response.

use std::collections::HashSet;

use catalog::image::{Image, Position};
use catalog::reader::{Filter, ImageIdentifier, Listing};
use catalog::{Reader, Repository};

use crate::error::ApiError;
use crate::page_token::{Keyring, ListingKey, PagePosition};
use crate::request::{DescribeImagesRequest, RequestedImage, Selection};
use crate::response::{DescribeImagesResponse, ImageDetail};
use crate::service::Operation;

/// The weight of all images of a response. Lambda's limit for a response is 6 MB, API Gateway's
/// envelope included.
const MAX_RESPONSE_BYTES: usize = 5 * 1024 * 1024;

/// The weight of all images of a page, which also has a token.
pub(crate) const MAX_PAGE_BYTES: usize = MAX_RESPONSE_BYTES - 4096;

#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) response: DescribeImagesResponse,
    pub(crate) consumed_capacity: f64,
}

/// Answers a request.
pub(crate) async fn describe_images(
    reader: &Reader,
    keyring: &Keyring,
    request: &DescribeImagesRequest,
) -> Result<Described, ApiError> {
    let repository = &request.repository;
    match &request.selection {
        Selection::Images { image_ids, filter } => {
            describe_requested(reader, repository, image_ids, filter).await
        }
        Selection::Page { filter, max_results, next_token } => {
            let key =
                ListingKey::Images { operation: Operation::DescribeImages, repository, filter };
            let after =
                next_token.as_ref().map(|token| keyring.open_image(&key, token)).transpose()?;
            let listing = reader
                .list(
                    repository,
                    filter,
                    after.as_ref().map(|after| &after.image),
                    *max_results + 1,
                )
                .await
                .map_err(|error| ApiError::from_read(error, repository))?;
            describe_page(listing, keyring, repository, &key, *max_results).await
        }
    }
}

async fn describe_requested(
    reader: &Reader,
    repository: &Repository,
    image_ids: &[RequestedImage],
    filter: &Filter,
) -> Result<Described, ApiError> {
    let identifiers: Vec<ImageIdentifier> =
        image_ids.iter().filter_map(|id| id.identifier.clone()).collect();
    let found = reader
        .find(repository, &identifiers)
        .await
        .map_err(|error| ApiError::from_read(error, repository))?;
    let mut images = found.images.iter();
    let mut seen = HashSet::new();
    let mut requested = Vec::with_capacity(image_ids.len());
    for image_id in image_ids {
        let image = image_id.identifier.as_ref().and_then(|_| images.next()?.as_ref());
        let image = image.ok_or_else(|| not_found(repository, image_id))?;
        if seen.insert(&image.image_digest) && filter.passes(image) {
            requested.push(image);
        }
    }
    // An image that does not exist is the first error.
    let mut image_details = Vec::with_capacity(requested.len());
    let mut bytes = 0;
    for image in requested {
        let detail = detail(repository, image)?;
        bytes += weight(detail.get());
        if bytes > MAX_RESPONSE_BYTES {
            return Err(too_large());
        }
        image_details.push(detail);
    }
    Ok(Described {
        response: DescribeImagesResponse { image_details, next_token: None },
        consumed_capacity: found.consumed_capacity,
    })
}

fn not_found(repository: &Repository, image_id: &RequestedImage) -> ApiError {
    let or_null = |text: &Option<String>| text.clone().unwrap_or_else(|| "null".to_owned());
    ApiError::ImageNotFound {
        digest: or_null(&image_id.image_digest),
        tag: or_null(&image_id.image_tag),
        repository: repository.name.to_string(),
        registry: repository.registry.to_string(),
    }
}

fn too_large() -> ApiError {
    ApiError::InvalidParameter(format!(
        "Invalid parameter at 'imageIds' failed to satisfy constraint: 'the images must fit into a reply of \
         {MAX_RESPONSE_BYTES} bytes; ask for fewer at once'"
    ))
}

async fn describe_page(
    mut listing: Listing,
    keyring: &Keyring,
    repository: &Repository,
    key: &ListingKey<'_>,
    max_results: usize,
) -> Result<Described, ApiError> {
    let mut image_details = Vec::new();
    let mut bytes = 0;
    let mut last: Option<Position> = None;
    let mut next_token = None;
    while let Some(image) = listing.next().await.map_err(ApiError::from)? {
        let detail = detail(repository, &image)?;
        let weight = weight(detail.get());
        if let Some(last) = &last
            && (image_details.len() == max_results || bytes + weight > MAX_PAGE_BYTES)
        {
            let position = PagePosition { image: last.clone(), tag: None };
            next_token = Some(keyring.seal_position(key, &position.to_bytes())?);
            break;
        }
        bytes += weight;
        last = Some(image.position());
        image_details.push(detail);
    }
    Ok(Described {
        response: DescribeImagesResponse { image_details, next_token },
        consumed_capacity: listing.consumed_capacity(),
    })
}

/// The bytes of an image in a response. Lambda receives the response as a JSON string, in which
/// each quotation mark and backslash is escaped with another backslash.
pub(crate) fn weight(detail: &str) -> usize {
    let comma = 1;
    detail.len() + detail.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count() + comma
}

fn detail(
    repository: &Repository,
    image: &Image,
) -> Result<Box<serde_json::value::RawValue>, ApiError> {
    ImageDetail::new(repository, image).to_json().map_err(|error| ApiError::Server(Box::new(error)))
}
