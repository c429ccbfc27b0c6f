//! The constraints that several operations have. The texts are the services' own.

use std::fmt::Display;

use catalog::identifier::REGISTRY_ID_PATTERN;
use catalog::image::{ImageStatus, TagStatus};
use catalog::reader::Filter;
use catalog::{RegistryId, Repository, Service};

use crate::error::ApiError;

const DEFAULT_PAGE_SIZE: usize = 100;
const MAX_PAGE_SIZE: usize = 1000;

/// The repository that `repositoryName` and `registryId` name.
pub(crate) fn repository(
    service: Service,
    default_registry: &RegistryId,
    name: Option<&str>,
    registry_id: Option<&str>,
) -> Result<Repository, ApiError> {
    let name = name.ok_or_else(|| invalid("repositoryName", "must not be null"))?;
    let name =
        service.parse_repository_name(name).map_err(|rule| invalid("repositoryName", rule))?;
    Ok(Repository { service, registry: registry(default_registry, registry_id)?, name })
}

/// The registry that `registryId` names.
pub(crate) fn registry(
    default_registry: &RegistryId,
    registry_id: Option<&str>,
) -> Result<RegistryId, ApiError> {
    match registry_id {
        None => Ok(default_registry.clone()),
        Some(id) => RegistryId::parse(id).map_err(|_| {
            let rule = format_args!("must satisfy regular expression {REGISTRY_ID_PATTERN}");
            invalid("registryId", rule)
        }),
    }
}

/// The items of a page.
pub(crate) fn page_size(max_results: Option<i64>) -> Result<usize, ApiError> {
    match max_results.map(usize::try_from) {
        None => Ok(DEFAULT_PAGE_SIZE),
        Some(Ok(size @ 1..=MAX_PAGE_SIZE)) => Ok(size),
        Some(Ok(1..)) => Err(member("maxResults", "value less than or equal to 1000")),
        Some(_) => Err(member("maxResults", "value greater than or equal to 1")),
    }
}

/// The filter of `tagStatus` and `imageStatus`, without defaults.
pub(crate) fn filter(
    tag_status: Option<&str>,
    image_status: Option<&str>,
) -> Result<Filter, ApiError> {
    Ok(Filter {
        tag_status: parse_enumeration(
            "filter.tagStatus",
            "TAGGED, UNTAGGED",
            tag_status,
            &[TagStatus::Tagged, TagStatus::Untagged].map(|status| (status.as_str(), status)),
        )?,
        image_status: parse_enumeration(
            "filter.imageStatus",
            "ACTIVE, ARCHIVED, ACTIVATING",
            image_status,
            &ImageStatus::ALL.map(|status| (status.as_str(), status)),
        )?,
    })
}

/// The filter of a listing. Without `imageStatus` it is of the active images (rule 30).
pub(crate) fn with_default(filter: Filter, image_status: Option<&str>) -> Filter {
    match image_status {
        Some(_) => filter,
        None => Filter { image_status: Some(ImageStatus::Active), ..filter },
    }
}

/// Parses an enumeration; `ANY` is `None`.
fn parse_enumeration<T: Copy>(
    name: &str,
    words: &str,
    given: Option<&str>,
    values: &[(&str, T)],
) -> Result<Option<T>, ApiError> {
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

pub(crate) fn invalid(name: &str, constraint: impl Display) -> ApiError {
    ApiError::InvalidParameter(format!(
        "Invalid parameter at '{name}' failed to satisfy constraint: '{constraint}'"
    ))
}

pub(crate) fn member(name: &str, constraint: &str) -> ApiError {
    invalid(name, format_args!("Member must have {constraint}"))
}
