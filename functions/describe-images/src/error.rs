//! Every error that a caller can get, and how it is written.

use catalog::reader::ReadError;
use catalog::table::StoreError;
use lambda_http::http::StatusCode;

/// An error reply. Its text is for the caller; what happened inside goes to the log, from
/// [`DescribeImagesError::Server`], and never into the reply.
#[derive(Debug, thiserror::Error)]
pub enum DescribeImagesError {
    /// Not `POST`.
    #[error("The method must be POST.")]
    MethodNotAllowed,
    /// A path that nothing answers.
    #[error("There is nothing at this path. DescribeImages is at / and /DescribeImages.")]
    NotFound,
    /// The body passes the limit.
    #[error("The request body must not be larger than 1048576 bytes.")]
    RequestTooLarge,
    /// The request is not signed.
    #[error("Missing Authentication Token")]
    MissingAuthenticationToken,
    /// The request is signed, but not in a form that can be checked.
    #[error("{0}")]
    IncompleteSignature(String),
    /// Nobody has this access key, or not with this session token.
    #[error("The security token included in the request is invalid.")]
    UnrecognizedClient,
    /// The session is over.
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    /// The signature is not that of this request, or not of now, or not for this service.
    #[error("{0}")]
    InvalidSignature(String),
    /// The caller may not read the repository.
    #[error(
        "User: {caller} is not authorized to perform: {action} on resource: {resource} because no {policy} policy \
         allows the {action} action"
    )]
    AccessDenied {
        /// Who asked.
        caller: String,
        /// What for.
        action: String,
        /// The repository's ARN.
        resource: String,
        /// Which kind of policy would have to allow it.
        policy: &'static str,
    },
    /// No such operation, or none named. The services write no message.
    #[error("")]
    UnknownOperation,
    /// An operation of the service that this catalog does not serve.
    #[error("The action {0} isn't supported by this catalog.")]
    UnsupportedCommand(String),
    /// The body is not JSON, or a member has another type than it should.
    #[error("{0}")]
    Serialization(String),
    /// A member breaks a constraint.
    #[error("{0}")]
    InvalidParameter(String),
    /// No such repository.
    #[error(
        "The repository with name '{repository}' does not exist in the registry with id '{registry}'"
    )]
    RepositoryNotFound {
        /// The repository that was asked for.
        repository: String,
        /// And its registry.
        registry: String,
    },
    /// No such image; what was not given is called `null`.
    #[error(
        "The image with imageId {{imageDigest:'{digest}', imageTag:'{tag}'}} does not exist within the repository \
         with name '{repository}' in the registry with id '{registry}'"
    )]
    ImageNotFound {
        /// The digest asked for.
        digest: String,
        /// The tag asked for.
        tag: String,
        /// Where.
        repository: String,
        /// And its registry.
        registry: String,
    },
    /// Too many requests; the SDKs try again.
    #[error("Rate exceeded")]
    Throttling,
    /// Something failed inside; the SDKs try again.
    #[error("The catalog could not answer the request. Try again later.")]
    Server(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl DescribeImagesError {
    /// What DynamoDB's error means to a caller.
    pub(crate) fn from_read(error: ReadError, repository: &catalog::Repository) -> Self {
        match error {
            ReadError::RepositoryNotFound => Self::RepositoryNotFound {
                repository: repository.name.to_string(),
                registry: repository.registry.to_string(),
            },
            ReadError::Store(StoreError::Throttled) => Self::Throttling,
            ReadError::Store(error) => Self::Server(Box::new(error)),
        }
    }

    /// The name in `__type` and in `x-amzn-ErrorType`.
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

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Server(_) => StatusCode::INTERNAL_SERVER_ERROR,
            // The services know no finer statuses, not even for callers who may not ask.
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The body of the reply.
    #[must_use]
    pub fn body(&self) -> String {
        let mut body = serde_json::json!({ "__type": self.name() });
        if !matches!(self, Self::UnknownOperation) {
            body["message"] = self.to_string().into();
        }
        body.to_string()
    }
}
