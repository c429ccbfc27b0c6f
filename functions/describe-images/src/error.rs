//! The errors of the API, and their wire form.

use catalog::reader::ReadError;
use catalog::table::StoreError;
use http::StatusCode;

/// An error response. The cause of [`ApiError::Server`] is for the log, and never in the
/// response.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("The method must be POST.")]
    MethodNotAllowed,
    #[error("There is nothing at this path. DescribeImages is at / and /DescribeImages.")]
    NotFound,
    #[error("The request body must not be larger than 1048576 bytes.")]
    RequestTooLarge,
    #[error("Missing Authentication Token")]
    MissingAuthenticationToken,
    /// The signature is not in a form that can be verified.
    #[error("{0}")]
    IncompleteSignature(String),
    /// The access key or the session token is unknown.
    #[error("The security token included in the request is invalid.")]
    UnrecognizedClient,
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    /// The signature is not valid for this request, time or service.
    #[error("{0}")]
    InvalidSignature(String),
    #[error(
        "User: {caller} is not authorized to perform: {action} on resource: {resource} because no {policy} policy \
         allows the {action} action"
    )]
    AccessDenied {
        caller: String,
        action: String,
        /// The ARN of the repository, or of all of a registry.
        resource: String,
        /// The kind of policy that does not allow it.
        policy: &'static str,
    },
    /// The services write no message.
    #[error("")]
    UnknownOperation,
    /// An operation of the service that the catalog does not implement.
    #[error("The action {0} isn't supported by this catalog.")]
    UnsupportedCommand(String),
    /// The body is not JSON, or a member has the wrong type.
    #[error("{0}")]
    Serialization(String),
    /// A member does not satisfy a constraint.
    #[error("{0}")]
    InvalidParameter(String),
    #[error(
        "The repository with name '{repository}' does not exist in the registry with id '{registry}'"
    )]
    RepositoryNotFound { repository: String, registry: String },
    /// Members that the request does not contain are `null`.
    #[error(
        "The image with imageId {{imageDigest:'{digest}', imageTag:'{tag}'}} does not exist within the repository \
         with name '{repository}' in the registry with id '{registry}'"
    )]
    ImageNotFound { digest: String, tag: String, repository: String, registry: String },
    /// The SDKs retry it.
    #[error("Rate exceeded")]
    Throttling,
    /// The SDKs retry it.
    #[error("The catalog could not answer the request. Try again later.")]
    Server(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ApiError {
    /// The error of a failed read.
    pub(crate) fn from_read(error: ReadError, repository: &catalog::Repository) -> Self {
        match error {
            ReadError::RepositoryNotFound => Self::repository_not_found(repository),
            ReadError::Store(error) => error.into(),
        }
    }

    pub(crate) fn repository_not_found(repository: &catalog::Repository) -> Self {
        Self::RepositoryNotFound {
            repository: repository.name.to_string(),
            registry: repository.registry.to_string(),
        }
    }

    /// The value of `__type` and `x-amzn-ErrorType`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "MethodNotAllowedException",
            Self::NotFound => "NotFoundException",
            Self::RequestTooLarge => "RequestEntityTooLargeException",
            Self::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            Self::IncompleteSignature(_) => "IncompleteSignatureException",
            Self::UnrecognizedClient => "UnrecognizedClientException",
            Self::ExpiredToken => "ExpiredTokenException",
            Self::InvalidSignature(_) => "InvalidSignatureException",
            Self::AccessDenied { .. } => "AccessDeniedException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::UnsupportedCommand(_) => "UnsupportedCommandException",
            Self::Serialization(_) => "SerializationException",
            Self::InvalidParameter(_) => "InvalidParameterException",
            Self::RepositoryNotFound { .. } => "RepositoryNotFoundException",
            Self::ImageNotFound { .. } => "ImageNotFoundException",
            Self::Throttling => "ThrottlingException",
            Self::Server(_) => "ServerException",
        }
    }

    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Server(_) => StatusCode::INTERNAL_SERVER_ERROR,
            // The services have no other status, not even for callers without permission.
            _ => StatusCode::BAD_REQUEST,
        }
    }

    #[must_use]
    pub fn body(&self) -> String {
        let mut body = serde_json::json!({ "__type": self.name() });
        if !matches!(self, Self::UnknownOperation) {
            body["message"] = self.to_string().into();
        }
        body.to_string()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Throttled => Self::Throttling,
            error => Self::Server(Box::new(error)),
        }
    }
}
