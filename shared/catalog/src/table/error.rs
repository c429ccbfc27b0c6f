//! The errors of the table.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use super::FORMAT;

/// Why an operation on the table failed.
#[derive(thiserror::Error)]
pub enum StoreError {
    /// Too many requests for the table or the account; can be retried.
    #[error("DynamoDB throttles the catalog's requests")]
    Throttled,
    /// Too many conflicts with other writers; can be retried.
    #[error("other writers kept changing the same images")]
    Contended,
    /// An item would be larger than DynamoDB's 400 KB.
    #[error("an image has more tags, or lists more manifests, than one DynamoDB item can hold")]
    ItemTooLarge,
    /// An item that this version of the catalog cannot read.
    #[error("the item {sort} cannot be read")]
    Item {
        sort: String,
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A value that DynamoDB has no form for.
    #[error("the item {sort} cannot be written")]
    Attribute {
        sort: String,
        #[source]
        error: serde_dynamo::Error,
    },
    /// The table was made by a program of another version, or by something else.
    #[error(
        "the table has {found}, and this program works with format {FORMAT}; nothing was read or written. Use the \
         version that made the table, or another table, and fill it with `image-catalog reconcile`"
    )]
    Format { found: String },
    /// The credentials do not allow the request.
    #[error("DynamoDB refuses the request to these credentials")]
    AccessDenied(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Anything else: no connection, no such table.
    #[error("the request to DynamoDB failed")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// As its text. A main function prints its error by `Debug`, and the SDK's contains whole responses.
impl std::fmt::Debug for StoreError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&causes(self))
    }
}

impl<E, R> From<SdkError<E, R>> for StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    fn from(error: SdkError<E, R>) -> Self {
        let code =
            error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
        let message =
            error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or_default();
        match code {
            "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "RequestLimitExceeded" => Self::Throttled,
            "TransactionConflictException" => Self::Contended,
            "AccessDeniedException" => Self::AccessDenied(Box::new(error)),
            "ValidationException" if message.contains("Item size") => Self::ItemTooLarge,
            _ => Self::Other(Box::new(error)),
        }
    }
}

/// The text of an error and of its sources, which the SDK's texts do not include. The SDK's debug
/// output is not for the log, because it contains whole responses.
pub fn causes(error: &dyn std::error::Error) -> String {
    let texts = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    texts.collect::<Vec<_>>().join(": ")
}
