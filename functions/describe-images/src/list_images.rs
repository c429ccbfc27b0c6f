//! ListImages of Amazon ECR: digests and tags alone (rule 63).
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListImages.html>

use catalog::{Digest, Reader, RegistryId, Service, Tag};
use serde::Serialize;

use crate::constraints;
use crate::error::ApiError;
use crate::members::{Members, string};
use crate::page_token::{Keyring, ListingKey};
use crate::pairs::{self, PageMembers, PageRequest, Pair};
use crate::service::Operation;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListImagesResponse {
    pub(crate) image_ids: Vec<ImageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageId {
    image_digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_tag: Option<Tag>,
}

/// Decodes and validates a body. `default_registry` is the registry without `registryId`.
pub(crate) fn parse(default_registry: &RegistryId, body: &[u8]) -> Result<PageRequest, ApiError> {
    let mut members = Members::of_body(body)?;
    let mut filter = Members::of(members.take("filter"))?;
    let page = PageMembers::decode(&mut members)?;
    let tag_status = string(filter.take("tagStatus"))?;
    let image_status = string(filter.take("imageStatus"))?;
    let (tag_status, image_status) = (tag_status.as_deref(), image_status.as_deref());
    page.validate(Service::Ecr, default_registry, || {
        let filter = constraints::filter(tag_status, image_status)?;
        Ok(constraints::with_default(filter, image_status))
    })
}

/// Answers a request. Also returns the read units.
pub(crate) async fn list_images(
    reader: &Reader,
    keyring: &Keyring,
    request: &PageRequest,
) -> Result<(ListImagesResponse, f64), ApiError> {
    let PageRequest { repository, filter, .. } = request;
    let key = ListingKey::Images { operation: Operation::ListImages, repository, filter };
    let page = pairs::page(reader, keyring, &key, request).await?;
    let image_id =
        |Pair { image, tag }| ImageId { image_digest: image.image_digest.clone(), image_tag: tag };
    let image_ids = page.pairs.into_iter().map(image_id).collect();
    Ok((ListImagesResponse { image_ids, next_token: page.next_token }, page.consumed_capacity))
}
