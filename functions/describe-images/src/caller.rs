//! Who asks, and what they may read.

use catalog::{RegistryId, Repository};
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt as _};
use regex_lite::Regex;

use crate::error::DescribeImagesError;
use crate::service::Service;

/// Who signed a request. Who checked the signature puts this into the request's extensions; API
/// Gateway says it in its own way.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The caller's account. Its registry is meant by requests that name none.
    pub account: RegistryId,
    /// What the caller may read; nothing where that was decided before the request came here, as
    /// IAM does on AWS.
    pub permissions: Option<Permissions>,
}

/// What a caller may read.
#[derive(Debug, Clone)]
pub struct Permissions {
    /// The caller's name in errors.
    pub arn: String,
    /// The region in the names of repositories.
    pub region: String,
    /// The repositories, as `<registryId>/<repositoryName>`.
    pub repositories: Vec<RepositoryPattern>,
}

/// Some repositories: their names, in which `*` stands for anything.
#[derive(Debug, Clone)]
pub struct RepositoryPattern(Regex);

impl RepositoryPattern {
    /// Reads a pattern such as `123456789012/team/*`. Every text is one.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let parts: Vec<String> = text.split('*').map(regex_lite::escape).collect();
        Self(catalog::identifier::whole(&parts.join(".*")))
    }
}

impl Caller {
    /// The caller of a request, if it was signed.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        if let Some(caller) = request.extensions().get::<Self>() {
            return Some(caller.clone());
        }
        let RequestContext::ApiGatewayV2(context) = request.request_context_ref()? else {
            return None;
        };
        let account = context.authorizer.as_ref()?.iam.as_ref()?.account_id.as_deref()?;
        Some(Self { account: RegistryId::parse(account).ok()?, permissions: None })
    }

    /// Refuses what the caller may not read.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub(crate) fn authorize(
        &self,
        service: Service,
        repository: &Repository,
    ) -> Result<(), DescribeImagesError> {
        let Some(permissions) = &self.permissions else { return Ok(()) };
        let name = repository.to_string();
        if permissions.repositories.iter().any(|pattern| pattern.0.is_match(&name)) {
            return Ok(());
        }
        Err(DescribeImagesError::AccessDenied {
            caller: permissions.arn.clone(),
            action: format!("{}:DescribeImages", service.as_str()),
            resource: service.repository_arn(&permissions.region, repository),
            policy: if repository.registry == self.account {
                "identity-based"
            } else {
                "resource-based"
            },
        })
    }
}
