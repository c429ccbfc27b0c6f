//! The operation: a valid request to a response.

use std::collections::HashSet;

use catalog::reader::{Filter, ImageIdentifier, Listing};
use catalog::{Reader, Repository, Row};

use crate::error::ApiError;
use crate::page_token::{Keyring, ListingKey, PagePosition};
use crate::request::{DescribeImagesRequest, RequestedImage, Selection};
use crate::service::Operation;

/// The weight of all images of a response. Lambda's limit for a response is 6 MB, API Gateway's
/// envelope included.
const MAX_RESPONSE_BYTES: usize = 5 * 1024 * 1024;

/// The weight of all images of a page, which also has a token.
pub(crate) const MAX_PAGE_BYTES: usize = MAX_RESPONSE_BYTES - 4096;

/// A response, in JSON.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) json: String,
    pub(crate) images: usize,
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
    let mut details = ImageDetails::new(repository);
    for image in requested {
        if !details.add(&Row::new(image)?, MAX_RESPONSE_BYTES)? {
            return Err(too_large());
        }
    }
    Ok(details.finish(None, found.consumed_capacity))
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
    let mut details = ImageDetails::new(repository);
    let mut last: Option<Row> = None;
    let mut next_token = None;
    while let Some(row) = listing.next().await? {
        // A page has at least one image.
        let limit = if last.is_some() { MAX_PAGE_BYTES } else { usize::MAX };
        let fits = details.images < max_results && details.add(&row, limit)?;
        match &last {
            Some(last) if !fits => {
                let position = PagePosition { image: last.position()?, tag: None };
                next_token = Some(keyring.seal_position(key, &position.to_bytes())?);
                break;
            }
            _ => last = Some(row),
        }
    }
    Ok(details.finish(next_token, listing.consumed_capacity()))
}

/// A response that is being written.
struct ImageDetails<'a> {
    repository: &'a Repository,
    json: String,
    images: usize,
    /// The weight of the images.
    bytes: usize,
}

impl<'a> ImageDetails<'a> {
    fn new(repository: &'a Repository) -> Self {
        Self { repository, json: r#"{"imageDetails":["#.to_owned(), images: 0, bytes: 0 }
    }

    /// Adds an image, unless the weight of all would exceed the limit. Returns whether it fits.
    fn add(&mut self, row: &Row, limit: usize) -> Result<bool, ApiError> {
        let end = self.json.len();
        if self.images > 0 {
            self.json.push(',');
        }
        let start = self.json.len();
        row.write_json(self.repository, &mut self.json)?;
        let weight = weight(&self.json[start..]);
        if self.bytes + weight > limit {
            self.json.truncate(end);
            return Ok(false);
        }
        self.bytes += weight;
        self.images += 1;
        Ok(true)
    }

    fn finish(mut self, next_token: Option<String>, consumed_capacity: f64) -> Described {
        self.json.push(']');
        if let Some(token) = next_token {
            // Base64 has no character that JSON escapes.
            self.json.extend([r#","nextToken":""#, &token, "\""]);
        }
        self.json.push('}');
        Described { json: self.json, images: self.images, consumed_capacity }
    }
}

/// The bytes of an image in a response. Lambda receives the response as a JSON string, in which
/// each quotation mark and backslash is escaped with another backslash.
pub(crate) fn weight(detail: &str) -> usize {
    let comma = 1;
    detail.len() + detail.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count() + comma
}
