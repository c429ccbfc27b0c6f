//! DescribeRepositories of both services (rule 62).
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeRepositories.html>
//! <https://docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/API_DescribeRepositories.html>

use std::collections::HashSet;

use catalog::repository::{Encryption, ExclusionFilter, ImageTagMutability};
use catalog::time::EpochSeconds;
use catalog::{
    Reader, RegistryId, Repository, RepositoryArn, RepositoryDescription, RepositoryName, Service,
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::constraints::{self, invalid, member};
use crate::describe_images::{MAX_PAGE_BYTES, weight};
use crate::error::ApiError;
use crate::members::{Members, integer, is_given, list, string};
use crate::page_token::{Keyring, ListingKey};

const MAX_REPOSITORY_NAMES: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescribeRepositoriesRequest {
    pub(crate) service: Service,
    pub(crate) registry: RegistryId,
    pub(crate) selection: Selection,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// Repositories by name, in the order of the request.
    Names(Vec<RepositoryName>),
    /// A page of all repositories.
    Page {
        max_results: usize,
        /// Still sealed.
        next_token: Option<String>,
    },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeRepositoriesResponse {
    pub(crate) repositories: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// Unknown members are absent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RepositoryDetail {
    repository_arn: String,
    registry_id: RegistryId,
    repository_name: RepositoryName,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<EpochSeconds>,
    #[serde(flatten)]
    private: Option<PrivateMembers>,
}

/// The members of the private service alone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PrivateMembers {
    image_tag_mutability: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    image_tag_mutability_exclusion_filters: Vec<ExclusionFilter>,
    image_scanning_configuration: ImageScanningConfiguration,
    encryption_configuration: EncryptionConfiguration,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EncryptionConfiguration {
    encryption_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_key: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageScanningConfiguration {
    scan_on_push: bool,
}

impl DescribeRepositoriesRequest {
    /// Decodes and validates a body. `default_registry` is the registry without `registryId`.
    pub(crate) fn parse(
        service: Service,
        default_registry: &RegistryId,
        body: &[u8],
    ) -> Result<Self, ApiError> {
        let mut members = Members::of_body(body)?;
        let registry_id = string(members.take("registryId"))?;
        let names = list(members.take("repositoryNames"))?
            .map(|names| {
                names.into_iter().map(|name| string(Some(name).filter(is_given))).collect()
            })
            .transpose()?;
        let names: Option<Vec<Option<String>>> = names;
        let next_token = string(members.take("nextToken"))?;
        let max_results = integer(members.take("maxResults"))?;

        let names = names.map(|names| parse_names(service, &names)).transpose()?;
        let registry = constraints::registry(default_registry, registry_id.as_deref())?;
        let page_size = constraints::page_size(max_results)?;
        let selection = match names {
            None => Selection::Page { max_results: page_size, next_token },
            Some(names) => {
                let given =
                    [("maxResults", max_results.is_some()), ("nextToken", next_token.is_some())];
                if let Some((name, _)) = given.iter().find(|(_, is_given)| *is_given) {
                    let constraint = "must not be specified when repositoryNames is specified";
                    return Err(invalid(name, constraint));
                }
                Selection::Names(names)
            }
        };
        Ok(Self { service, registry, selection })
    }
}

fn parse_names(
    service: Service,
    names: &[Option<String>],
) -> Result<Vec<RepositoryName>, ApiError> {
    match names.len() {
        0 => return Err(member("repositoryNames", "length greater than or equal to 1")),
        length if length > MAX_REPOSITORY_NAMES => {
            return Err(member("repositoryNames", "length less than or equal to 100"));
        }
        _ => {}
    }
    let parse = |name: &Option<String>| match name {
        None => Err(invalid("repositoryNames", "must not be null")),
        Some(name) => {
            service.parse_repository_name(name).map_err(|rule| invalid("repositoryNames", rule))
        }
    };
    names.iter().map(parse).collect()
}

/// Answers a request of a catalog of one AWS region. Also returns the read units.
pub(crate) async fn describe_repositories(
    reader: &Reader,
    keyring: &Keyring,
    region: &str,
    request: &DescribeRepositoriesRequest,
) -> Result<(DescribeRepositoriesResponse, f64), ApiError> {
    let DescribeRepositoriesRequest { service, registry, selection } = request;
    let detail = |name: RepositoryName, description: RepositoryDescription| {
        let repository = Repository { service: *service, registry: registry.clone(), name };
        let detail = RepositoryDetail::new(repository, description, region);
        to_raw_value(&detail).map_err(|error| ApiError::Server(Box::new(error)))
    };
    match selection {
        Selection::Names(names) => {
            let found = reader.find_repositories(*service, registry, names).await?;
            let (mut known, mut seen) = (found.repositories, HashSet::new());
            let mut repositories = Vec::with_capacity(names.len());
            for name in names.iter().filter(|name| seen.insert(*name)) {
                let Some(description) = known.remove(name) else {
                    let (service, registry) = (*service, registry.clone());
                    let repository = Repository { service, registry, name: name.clone() };
                    return Err(ApiError::repository_not_found(&repository));
                };
                repositories.push(detail(name.clone(), description)?);
            }
            let response = DescribeRepositoriesResponse { repositories, next_token: None };
            Ok((response, found.consumed_capacity))
        }
        Selection::Page { max_results, next_token } => {
            let key = ListingKey::Repositories { service: *service, registry };
            let after = match next_token {
                Some(token) => Some(keyring.open_repository(&key, token)?),
                None => None,
            };
            let page = reader
                .list_repositories(*service, registry, after.as_ref(), max_results + 1)
                .await?;
            let all = page.repositories.len();
            let mut repositories: Vec<Box<RawValue>> = Vec::new();
            let mut last: Option<RepositoryName> = None;
            let mut bytes = 0;
            for (name, description) in page.repositories.into_iter().take(*max_results) {
                let detail = detail(name.clone(), description)?;
                bytes += weight(detail.get());
                if bytes > MAX_PAGE_BYTES && last.is_some() {
                    break;
                }
                repositories.push(detail);
                last = Some(name);
            }
            let next_token = match last {
                Some(last) if repositories.len() < all => {
                    Some(keyring.seal_position(&key, last.as_str().as_bytes())?)
                }
                _ => None,
            };
            let response = DescribeRepositoriesResponse { repositories, next_token };
            Ok((response, page.consumed_capacity))
        }
    }
}

impl RepositoryDetail {
    fn new(repository: Repository, description: RepositoryDescription, region: &str) -> Self {
        let RepositoryDescription {
            created_at,
            uri,
            image_tag_mutability,
            scan_on_push,
            encryption,
        } = description;
        let private = (repository.service == Service::Ecr).then(|| {
            let mutability = image_tag_mutability.unwrap_or_else(|| ImageTagMutability {
                value: "MUTABLE".to_owned(),
                exclusion_filters: Vec::new(),
            });
            PrivateMembers {
                image_tag_mutability: mutability.value,
                image_tag_mutability_exclusion_filters: mutability.exclusion_filters,
                image_scanning_configuration: ImageScanningConfiguration {
                    scan_on_push: scan_on_push.unwrap_or_default(),
                },
                encryption_configuration: match encryption {
                    Some(Encryption { encryption_type, kms_key }) => {
                        EncryptionConfiguration { encryption_type, kms_key }
                    }
                    None => EncryptionConfiguration {
                        encryption_type: "AES256".to_owned(),
                        kms_key: None,
                    },
                },
            }
        });
        Self {
            repository_arn: RepositoryArn::new(&repository, region).to_string(),
            registry_id: repository.registry,
            repository_name: repository.name,
            repository_uri: uri,
            created_at: created_at.map(EpochSeconds),
            private,
        }
    }
}
