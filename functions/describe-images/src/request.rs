//! Decodes and validates a request. Types first, then constraints in the order of
//! [`DescribeImagesRequest::parse`]; the first thing that is wrong answers.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html>
//! <https://docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/API_DescribeImages.html>

use catalog::identifier::{DIGEST_PATTERN, InvalidIdentifier, matches_digest_pattern};
use catalog::reader::{Filter, ImageIdentifier};
use catalog::{Digest, RegistryId, Repository, Service, Tag};
use serde_json::value::RawValue;

use crate::constraints::{self, invalid, member};
use crate::error::ApiError;
use crate::members::{Members, integer, is_given, list, string};

const MAX_IMAGE_IDS: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribeImagesRequest {
    pub repository: Repository,
    pub selection: Selection,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Images by identifier.
    Images {
        /// In the order of the request.
        image_ids: Vec<RequestedImage>,
        /// Without defaults.
        filter: Filter,
    },
    /// A page of all images.
    Page {
        /// With defaults.
        filter: Filter,
        max_results: usize,
        /// Still sealed.
        next_token: Option<String>,
    },
}

/// A member of `imageIds`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedImage {
    /// `None` if no image can have it.
    pub identifier: Option<ImageIdentifier>,
    /// As the request has it.
    pub image_digest: Option<String>,
    /// As the request has it.
    pub image_tag: Option<String>,
}

impl DescribeImagesRequest {
    /// Decodes and validates a body. `default_registry` is the registry without `registryId`.
    pub fn parse(
        service: Service,
        default_registry: &RegistryId,
        body: &[u8],
    ) -> Result<Self, ApiError> {
        let body = Body::decode(service, body)?;

        let repository = constraints::repository(
            service,
            default_registry,
            body.repository_name.as_deref(),
            body.registry_id.as_deref(),
        )?;

        match body.image_ids.as_ref().map(Vec::len) {
            Some(0) => return Err(member("imageIds", "length greater than or equal to 1")),
            Some(length) if length > MAX_IMAGE_IDS => {
                return Err(member("imageIds", "length less than or equal to 100"));
            }
            _ => {}
        }
        let image_ids = body.image_ids.map(RequestedImage::parse_all).transpose()?;
        let max_results = constraints::page_size(body.max_results)?;
        if image_ids.is_some() {
            for (name, given) in [
                ("maxResults", body.max_results.is_some()),
                ("nextToken", body.next_token.is_some()),
            ] {
                if given {
                    return Err(invalid(name, "must not be specified when imageIds is specified"));
                }
            }
        }
        let image_status = body.image_status.as_deref();
        let filter = constraints::filter(body.tag_status.as_deref(), image_status)?;
        let selection = match image_ids {
            Some(image_ids) => Selection::Images { image_ids, filter },
            None => Selection::Page {
                filter: constraints::with_default(filter, image_status),
                max_results,
                next_token: body.next_token,
            },
        };
        Ok(Self { repository, selection })
    }
}

impl RequestedImage {
    /// Checks all tags, then all digests, then that each has one of them, in the order of the
    /// rules.
    fn parse_all(image_ids: Vec<ImageId>) -> Result<Vec<Self>, ApiError> {
        let mut tags = Vec::with_capacity(image_ids.len());
        for image_id in &image_ids {
            let tag = image_id.image_tag.as_deref().map(Tag::parse).transpose();
            tags.push(tag.map_err(|rule| invalid("imageTag", rule))?);
        }
        let mut digests = Vec::with_capacity(image_ids.len());
        for image_id in &image_ids {
            digests.push(image_id.image_digest.as_deref().map(parse_digest).transpose()?);
        }
        if image_ids
            .iter()
            .any(|image_id| image_id.image_digest.is_none() && image_id.image_tag.is_none())
        {
            return Err(ApiError::InvalidParameter(
                "Invalid request parameters: both tag and digest cannot be null".to_owned(),
            ));
        }
        let images =
            image_ids.into_iter().zip(digests).zip(tags).map(|((image_id, digest), tag)| Self {
                identifier: match digest {
                    Some(None) => None,
                    digest => Some(ImageIdentifier { digest: digest.flatten(), tag }),
                },
                image_digest: image_id.image_digest,
                image_tag: image_id.image_tag,
            });
        Ok(images.collect())
    }
}

/// Parses a digest; `None` if it is valid, but longer than those of the catalog.
fn parse_digest(text: &str) -> Result<Option<Digest>, ApiError> {
    if matches_digest_pattern(text) {
        Ok(Digest::parse(text).ok())
    } else {
        Err(invalid("imageDigest", InvalidIdentifier::Pattern(DIGEST_PATTERN)))
    }
}

/// A member of `imageIds`.
#[derive(Debug)]
struct ImageId {
    image_digest: Option<String>,
    image_tag: Option<String>,
}

/// The members of a request, not yet validated.
#[derive(Debug, Default)]
struct Body {
    registry_id: Option<String>,
    repository_name: Option<String>,
    image_ids: Option<Vec<ImageId>>,
    next_token: Option<String>,
    max_results: Option<i64>,
    tag_status: Option<String>,
    image_status: Option<String>,
}

impl Body {
    fn decode(service: Service, body: &[u8]) -> Result<Self, ApiError> {
        let mut members = Members::of_body(body)?;
        // The public request has no filter; unknown members are ignored.
        let mut filter = match service {
            Service::Ecr => Members::of(members.take("filter"))?,
            Service::EcrPublic => Members::of(None)?,
        };
        Ok(Self {
            registry_id: string(members.take("registryId"))?,
            repository_name: string(members.take("repositoryName"))?,
            image_ids: list(members.take("imageIds"))?
                .map(|image_ids| {
                    image_ids.into_iter().map(ImageId::decode).collect::<Result<_, _>>()
                })
                .transpose()?,
            next_token: string(members.take("nextToken"))?,
            max_results: integer(members.take("maxResults"))?,
            tag_status: string(filter.take("tagStatus"))?,
            image_status: string(filter.take("imageStatus"))?,
        })
    }
}

impl ImageId {
    fn decode(value: &RawValue) -> Result<Self, ApiError> {
        let mut members = Members::of(Some(value).filter(is_given))?;
        Ok(Self {
            image_digest: string(members.take("imageDigest"))?,
            image_tag: string(members.take("imageTag"))?,
        })
    }
}
