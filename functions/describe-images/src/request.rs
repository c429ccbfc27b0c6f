//! Decodes and validates a request. Types first, then constraints in the order of
//! [`DescribeImagesRequest::parse`]; the first thing that is wrong answers.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html>
//! <https://docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/API_DescribeImages.html>

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::LazyLock;

use catalog::identifier::{DIGEST_PATTERN, InvalidIdentifier, REGISTRY_ID_PATTERN, whole};
use catalog::image::{ImageStatus, TagStatus};
use catalog::reader::{Filter, ImageIdentifier};
use catalog::{Digest, RegistryId, Repository, Service, Tag};
use regex_lite::Regex;
use serde_json::Number;
use serde_json::value::RawValue;

use crate::error::DescribeImagesError;

const DEFAULT_PAGE_SIZE: usize = 100;
const MAX_PAGE_SIZE: usize = 1000;
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
    ) -> Result<Self, DescribeImagesError> {
        let body = Body::decode(service, body)?;

        let name =
            body.repository_name.ok_or_else(|| invalid("repositoryName", "must not be null"))?;
        let name =
            service.parse_repository_name(&name).map_err(|rule| invalid("repositoryName", rule))?;
        let registry = match body.registry_id {
            None => default_registry.clone(),
            Some(id) => RegistryId::parse(&id).map_err(|_| {
                invalid(
                    "registryId",
                    format_args!("must satisfy regular expression {REGISTRY_ID_PATTERN}"),
                )
            })?,
        };
        let repository = Repository { service, registry, name };

        match body.image_ids.as_ref().map(Vec::len) {
            Some(0) => return Err(member("imageIds", "length greater than or equal to 1")),
            Some(length) if length > MAX_IMAGE_IDS => {
                return Err(member("imageIds", "length less than or equal to 100"));
            }
            _ => {}
        }
        let image_ids = body.image_ids.map(RequestedImage::parse_all).transpose()?;
        let max_results = match body.max_results.map(usize::try_from) {
            None => DEFAULT_PAGE_SIZE,
            Some(Ok(size @ 1..=MAX_PAGE_SIZE)) => size,
            Some(Ok(1..)) => return Err(member("maxResults", "value less than or equal to 1000")),
            Some(_) => return Err(member("maxResults", "value greater than or equal to 1")),
        };
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
        let filter = Filter {
            tag_status: parse_enumeration(
                "filter.tagStatus",
                "TAGGED, UNTAGGED",
                body.tag_status.as_deref(),
                &[TagStatus::Tagged, TagStatus::Untagged].map(|status| (status.as_str(), status)),
            )?,
            image_status: parse_enumeration(
                "filter.imageStatus",
                "ACTIVE, ARCHIVED, ACTIVATING",
                body.image_status.as_deref(),
                &ImageStatus::ALL.map(|status| (status.as_str(), status)),
            )?,
        };

        let selection = match image_ids {
            Some(image_ids) => Selection::Images { image_ids, filter },
            None => Selection::Page {
                filter: Filter {
                    image_status: if body.image_status.is_some() {
                        filter.image_status
                    } else {
                        Some(ImageStatus::Active)
                    },
                    ..filter
                },
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
    fn parse_all(image_ids: Vec<ImageId>) -> Result<Vec<Self>, DescribeImagesError> {
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
            return Err(DescribeImagesError::InvalidParameter(
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
fn parse_digest(text: &str) -> Result<Option<Digest>, DescribeImagesError> {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| whole(DIGEST_PATTERN));
    if PATTERN.is_match(text) {
        Ok(Digest::parse(text).ok())
    } else {
        Err(invalid("imageDigest", InvalidIdentifier::Pattern(DIGEST_PATTERN)))
    }
}

/// Parses an enumeration; `ANY` is `None`.
fn parse_enumeration<T: Copy>(
    name: &str,
    words: &str,
    given: Option<&str>,
    values: &[(&str, T)],
) -> Result<Option<T>, DescribeImagesError> {
    match given {
        None | Some("ANY") => Ok(None),
        Some(given) => match values.iter().find(|(word, _)| *word == given) {
            Some((_, value)) => Ok(Some(*value)),
            None => Err(invalid(
                name,
                format_args!("Member must satisfy enum value set: [{words}, ANY]"),
            )),
        },
    }
}

fn invalid(name: &str, constraint: impl Display) -> DescribeImagesError {
    DescribeImagesError::InvalidParameter(format!(
        "Invalid parameter at '{name}' failed to satisfy constraint: '{constraint}'"
    ))
}

fn member(name: &str, constraint: &str) -> DescribeImagesError {
    invalid(name, format_args!("Member must have {constraint}"))
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
    fn decode(service: Service, body: &[u8]) -> Result<Self, DescribeImagesError> {
        if body.iter().all(|byte| b" \t\r\n".contains(byte)) {
            return Ok(Self::default());
        }
        let body: &RawValue = serde_json::from_slice(body).map_err(invalid_json)?;
        if !body.get().starts_with('{') {
            return Err(serialization("The request body must be a JSON object.".to_owned()));
        }
        let mut members = Members::of(Some(body))?;
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
    fn decode(value: &RawValue) -> Result<Self, DescribeImagesError> {
        let mut members = Members::of(Some(value).filter(is_given))?;
        Ok(Self {
            image_digest: string(members.take("imageDigest"))?,
            image_tag: string(members.take("imageTag"))?,
        })
    }
}

/// The members of an object, not yet decoded, because unknown ones are ignored.
struct Members<'a>(HashMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Members<'a> {
    fn of(value: Option<&'a RawValue>) -> Result<Self, DescribeImagesError> {
        match value {
            None => Ok(Self(HashMap::new())),
            Some(value) if value.get().starts_with('{') => {
                serde_json::from_str(value.get()).map(Self).map_err(invalid_json)
            }
            Some(value) => Err(wrong_type(value, "a Structure")),
        }
    }

    /// A member that is present and not `null`.
    fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.0.remove(name).filter(is_given)
    }
}

fn is_given(value: &&RawValue) -> bool {
    value.get() != "null"
}

fn invalid_json(error: serde_json::Error) -> DescribeImagesError {
    serialization(format!("The request body is not valid JSON: {error}"))
}

fn serialization(message: String) -> DescribeImagesError {
    DescribeImagesError::Serialization(message)
}

/// The services' own wording for a value of the wrong type.
fn wrong_type(value: &RawValue, wanted: &str) -> DescribeImagesError {
    serialization(match value.get().as_bytes().first() {
        Some(b'{') => "Start of structure or map found where not expected.".to_owned(),
        Some(b'[') => "Start of list found where not expected.".to_owned(),
        Some(b't') => format!("TRUE_VALUE can not be converted to {wanted}"),
        Some(b'f') => format!("FALSE_VALUE can not be converted to {wanted}"),
        Some(b'"') => format!("STRING_VALUE can not be converted to {wanted}"),
        _ => format!("NUMBER_VALUE can not be converted to {wanted}"),
    })
}

fn string(value: Option<&RawValue>) -> Result<Option<String>, DescribeImagesError> {
    match value {
        None => Ok(None),
        Some(value) if value.get().starts_with('"') => {
            serde_json::from_str(value.get()).map(Some).map_err(invalid_json)
        }
        Some(value) => Err(wrong_type(value, "a String")),
    }
}

/// Decodes an integer; one of more than 64 bits is the nearest of 64 bits.
fn integer(value: Option<&RawValue>) -> Result<Option<i64>, DescribeImagesError> {
    let Some(value) = value else { return Ok(None) };
    let wrong_type = || wrong_type(value, "an Integer");
    let number: Number = serde_json::from_str(value.get()).map_err(|_| wrong_type())?;
    let large =
        number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() >= 2_f64.powi(63));
    match (number.as_i64(), large) {
        (Some(number), _) => Ok(Some(number)),
        (None, Some(number)) => Ok(Some(if number > 0.0 { i64::MAX } else { i64::MIN })),
        (None, None) => Err(wrong_type()),
    }
}

fn list(value: Option<&RawValue>) -> Result<Option<Vec<&RawValue>>, DescribeImagesError> {
    match value {
        None => Ok(None),
        Some(value) if value.get().starts_with('[') => {
            serde_json::from_str(value.get()).map(Some).map_err(invalid_json)
        }
        Some(value) => Err(wrong_type(value, "a List")),
    }
}
