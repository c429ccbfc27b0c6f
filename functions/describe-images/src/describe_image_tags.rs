//! DescribeImageTags of Amazon ECR Public: each tag with its image (rule 64).
//!
//! <https://docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/API_DescribeImageTags.html>

use catalog::image::{ImageStatus, TagStatus};
use catalog::reader::Filter;
use catalog::time::EpochSeconds;
use catalog::{Digest, Reader, RegistryId, Service, Tag};
use serde::Serialize;

use crate::error::ApiError;
use crate::members::Members;
use crate::page_token::{Keyring, ListingKey};
use crate::pairs::{self, PageMembers, PageRequest};
use crate::service::Operation;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeImageTagsResponse {
    pub(crate) image_tag_details: Vec<ImageTagDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageTagDetail {
    image_tag: Tag,
    created_at: EpochSeconds,
    image_detail: ReferencedImageDetail,
}

/// Unknown members are absent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReferencedImageDetail {
    image_digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_size_in_bytes: Option<i64>,
    image_pushed_at: EpochSeconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_manifest_media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_media_type: Option<String>,
}

/// Decodes and validates a body. `default_registry` is the registry without `registryId`.
pub(crate) fn parse(default_registry: &RegistryId, body: &[u8]) -> Result<PageRequest, ApiError> {
    let mut members = Members::of_body(body)?;
    let page = PageMembers::decode(&mut members)?;
    page.validate(Service::EcrPublic, default_registry, || {
        Ok(Filter { tag_status: Some(TagStatus::Tagged), image_status: Some(ImageStatus::Active) })
    })
}

/// Answers a request. Also returns the read units.
pub(crate) async fn describe_image_tags(
    reader: &Reader,
    keyring: &Keyring,
    request: &PageRequest,
) -> Result<(DescribeImageTagsResponse, f64), ApiError> {
    let PageRequest { repository, filter, .. } = request;
    let key = ListingKey::Images { operation: Operation::DescribeImageTags, repository, filter };
    let page = pairs::page(reader, keyring, &key, request).await?;
    let tags = page.pairs.iter().filter_map(|pair| pair.tag.as_ref());
    let (moves, capacity) = reader.last_moves(repository, tags).await?;
    let details = page.pairs.into_iter().filter_map(|pair| {
        let (image, image_tag) = (pair.image, pair.tag?);
        // The tag may have moved since the image was read.
        let last = moves.get(&image_tag);
        let last = last.filter(|last| last.digest.as_ref() == Some(&image.image_digest));
        Some(ImageTagDetail {
            created_at: EpochSeconds(last.map_or(image.image_pushed_at, |last| last.time)),
            image_tag,
            image_detail: ReferencedImageDetail {
                image_digest: image.image_digest.clone(),
                image_size_in_bytes: image.image_size_in_bytes,
                image_pushed_at: EpochSeconds(image.image_pushed_at),
                image_manifest_media_type: image.image_manifest_media_type.clone(),
                artifact_media_type: image.artifact_media_type.clone(),
            },
        })
    });
    let response = DescribeImageTagsResponse {
        image_tag_details: details.collect(),
        next_token: page.next_token,
    };
    Ok((response, page.consumed_capacity + capacity))
}
