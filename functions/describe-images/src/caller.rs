//! The caller of a request, and what they may read.

use catalog::{RegistryId, Repository};
use regex_lite::Regex;

use crate::error::DescribeImagesError;
use crate::service::{self, Operation};

/// Who signed a request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The registry of requests without `registryId`.
    pub account: RegistryId,
    /// `None` where IAM has authorized the request, as on AWS.
    pub permissions: Option<Permissions>,
}

/// What a caller may read.
#[derive(Debug, Clone)]
pub struct Permissions {
    /// For error messages.
    pub arn: String,
    /// The region in the ARNs of repositories.
    pub region: String,
    /// The repositories, as `<registryId>/<repositoryName>`, or
    /// `ecr-public/<registryId>/<repositoryName>`.
    pub repositories: Vec<RepositoryPattern>,
}

/// Some repositories: their names, in which `*` stands for anything.
#[derive(Debug, Clone)]
pub struct RepositoryPattern(Regex);

impl RepositoryPattern {
    /// Parses a pattern such as `123456789012/team/*`. Every text is valid.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let parts: Vec<String> = text.split('*').map(regex_lite::escape).collect();
        Self(catalog::identifier::whole(&parts.join(".*")))
    }
}

impl Caller {
    /// `AccessDeniedException` for a repository that the caller may not read.
    pub(crate) fn authorize(
        &self,
        operation: Operation,
        repository: &Repository,
    ) -> Result<(), DescribeImagesError> {
        let Some(permissions) = &self.permissions else { return Ok(()) };
        let name = repository.to_string();
        if permissions.repositories.iter().any(|pattern| pattern.0.is_match(&name)) {
            return Ok(());
        }
        Err(DescribeImagesError::AccessDenied {
            caller: permissions.arn.clone(),
            action: format!("{}:{}", repository.service, operation.as_str()),
            resource: service::repository_arn(&permissions.region, repository),
            policy: if repository.registry == self.account {
                "identity-based"
            } else {
                "resource-based"
            },
        })
    }
}
