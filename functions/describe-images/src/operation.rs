//! The operation: a valid request, the catalog, a reply.

use std::collections::HashSet;

use catalog::image::{Image, Position};
use catalog::reader::{Filter, ImageIdentifier};
use catalog::{Reader, Repository};

use crate::error::DescribeImagesError;
use crate::page_token::{Keyring, Listing};
use crate::request::{DescribeImagesRequest, RequestedImage, Selection};
use crate::response::{DescribeImagesResponse, ImageDetail};
use crate::service::Service;

/// The most that the images of a reply may weigh. Lambda's limit for a reply is 6 MB, in which what
/// is no image, API Gateway's envelope among it, has room besides.
const LARGEST_REPLY_BYTES: usize = 5 * 1024 * 1024;

/// A page ends before its images weigh more than this; it has a token, too.
const LARGEST_PAGE_BYTES: usize = LARGEST_REPLY_BYTES - 4096;

/// A reply and what it took.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) response: DescribeImagesResponse,
    pub(crate) consumed_capacity: f64,
}

/// Answers a request.
pub(crate) async fn describe_images(
    reader: &Reader,
    keyring: &Keyring,
    service: Service,
    request: &DescribeImagesRequest,
) -> Result<Described, DescribeImagesError> {
    let repository = &request.repository;
    match &request.selection {
        Selection::Images { image_ids, filter } => {
            describe_requested(reader, service, repository, image_ids, filter).await
        }
        Selection::Page { filter, max_results, next_token } => {
            let listing = Listing { service, repository, filter };
            let after = match next_token {
                None => None,
                Some(token) => Some(keyring.open(&listing, token).map_err(|_| {
                    DescribeImagesError::InvalidParameter(
                        "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'"
                            .to_owned(),
                    )
                })?),
            };
            describe_page(reader, keyring, &listing, after.as_ref(), *max_results).await
        }
    }
}

async fn describe_requested(
    reader: &Reader,
    service: Service,
    repository: &Repository,
    image_ids: &[RequestedImage],
    filter: &Filter,
) -> Result<Described, DescribeImagesError> {
    let identifiers: Vec<ImageIdentifier> =
        image_ids.iter().filter_map(|id| id.identifier.clone()).collect();
    let found = reader
        .find(repository, &identifiers)
        .await
        .map_err(|error| DescribeImagesError::from_read(error, repository))?;
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
    // Only now, because an image that does not exist is told first.
    let mut image_details = Vec::with_capacity(requested.len());
    let mut bytes = 0;
    for image in requested {
        let detail = detail(service, repository, image)?;
        bytes += weight(detail.get());
        if bytes > LARGEST_REPLY_BYTES {
            return Err(too_large());
        }
        image_details.push(detail);
    }
    Ok(Described {
        response: DescribeImagesResponse { image_details, next_token: None },
        consumed_capacity: found.consumed_capacity,
    })
}

fn not_found(repository: &Repository, image_id: &RequestedImage) -> DescribeImagesError {
    let or_null = |text: &Option<String>| text.clone().unwrap_or_else(|| "null".to_owned());
    DescribeImagesError::ImageNotFound {
        digest: or_null(&image_id.image_digest),
        tag: or_null(&image_id.image_tag),
        repository: repository.name.to_string(),
        registry: repository.registry.to_string(),
    }
}

fn too_large() -> DescribeImagesError {
    DescribeImagesError::InvalidParameter(format!(
        "Invalid parameter at 'imageIds' failed to satisfy constraint: 'the images must fit into a reply of \
         {LARGEST_REPLY_BYTES} bytes; ask for fewer at once'"
    ))
}

async fn describe_page(
    reader: &Reader,
    keyring: &Keyring,
    listing: &Listing<'_>,
    after: Option<&Position>,
    max_results: usize,
) -> Result<Described, DescribeImagesError> {
    let repository = listing.repository;
    let mut image_details = Vec::new();
    let mut bytes = 0;
    let mut failed = None;
    let page = reader
        .list(repository, listing.filter, after, max_results, |image| {
            match detail(listing.service, repository, image) {
                Ok(detail) => {
                    let weight = weight(detail.get());
                    let is_full = bytes > 0 && bytes + weight > LARGEST_PAGE_BYTES;
                    if !is_full {
                        bytes += weight;
                        image_details.push(detail);
                    }
                    is_full
                }
                Err(error) => {
                    failed = Some(error);
                    true
                }
            }
        })
        .await
        .map_err(|error| DescribeImagesError::from_read(error, repository))?;
    if let Some(error) = failed {
        return Err(error);
    }
    let last = page.images.last().filter(|_| page.more);
    let next_token = last
        .map(|image| {
            keyring
                .seal(listing, &image.position())
                .ok_or_else(|| DescribeImagesError::Server("no page token could be made".into()))
        })
        .transpose()?;
    Ok(Described {
        response: DescribeImagesResponse { image_details, next_token },
        consumed_capacity: page.consumed_capacity,
    })
}

/// The bytes of an image in a reply. Lambda is given the reply as a JSON text inside of JSON, where
/// each quotation mark and backslash needs another backslash.
fn weight(detail: &str) -> usize {
    let comma = 1;
    detail.len() + detail.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count() + comma
}

fn detail(
    service: Service,
    repository: &Repository,
    image: &Image,
) -> Result<Box<serde_json::value::RawValue>, DescribeImagesError> {
    ImageDetail::new(service, repository, image)
        .to_json()
        .map_err(|error| DescribeImagesError::Server(Box::new(error)))
}
