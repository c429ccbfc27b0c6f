//! The caller of a request, and what they may read.

use catalog::identifier::Glob;
use catalog::{RegistryId, Repository, RepositoryArn, Service, arn};

use crate::error::ApiError;
use crate::service::Operation;

/// Who signed a request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The registry of requests without `registryId`.
    pub account: RegistryId,
    /// `None` if IAM has authorized the request.
    pub permissions: Option<Permissions>,
}

/// What a caller with an access key of the catalog's own may read.
#[derive(Debug, Clone)]
pub struct Permissions {
    /// For the log.
    pub access_key_id: String,
    /// For error messages and the log.
    pub arn: String,
    /// The region in the ARNs of repositories.
    pub region: String,
    /// The repositories, as `<registryId>/<repositoryName>`, or
    /// `ecr-public/<registryId>/<repositoryName>`.
    pub repositories: Vec<Glob>,
}

impl Caller {
    /// `AccessDeniedException` for a repository that the caller may not read.
    pub(crate) fn authorize(
        &self,
        operation: Operation,
        repository: &Repository,
    ) -> Result<(), ApiError> {
        let Repository { service, registry, .. } = repository;
        self.check(operation, *service, registry, &repository.to_string(), |region| {
            RepositoryArn::new(repository, region).to_string()
        })
    }

    /// `AccessDeniedException` for a list of the repositories of a registry, unless the caller may
    /// read all of them. Only a `*` in a pattern matches the `*` that stands for them.
    pub fn authorize_all(
        &self,
        operation: Operation,
        service: Service,
        registry: &RegistryId,
    ) -> Result<(), ApiError> {
        let prefix = if service == Service::Ecr { "" } else { "ecr-public/" };
        self.check(operation, service, registry, &format!("{prefix}{registry}/*"), |region| {
            arn::all_repositories(service, registry, region)
        })
    }

    fn check(
        &self,
        operation: Operation,
        service: Service,
        registry: &RegistryId,
        repository: &str,
        resource: impl FnOnce(&str) -> String,
    ) -> Result<(), ApiError> {
        let Some(permissions) = &self.permissions else { return Ok(()) };
        if permissions.repositories.iter().any(|pattern| pattern.matches(repository)) {
            return Ok(());
        }
        Err(ApiError::AccessDenied {
            caller: permissions.arn.clone(),
            action: format!("{service}:{}", operation.as_str()),
            resource: resource(&permissions.region),
            policy: if *registry == self.account { "identity-based" } else { "resource-based" },
        })
    }
}
