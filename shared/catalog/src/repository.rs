//! What the catalog knows of a repository itself, beside its images.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The resource tags of a repository, with those that were removed lately. AWS allows fifty.
pub const MAX_TAGS: usize = 100;

/// What is known of a repository. Unknown members are `None`.
///
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_Repository.html>
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RepositoryDescription {
    /// When it was created, or the first time at which it is known to have existed.
    pub created_at: Option<Timestamp>,
    /// What `docker pull` takes.
    pub uri: Option<String>,
    pub image_tag_mutability: Option<ImageTagMutability>,
    pub scan_on_push: Option<bool>,
    pub encryption: Option<Encryption>,
}

/// What a registry states of a repository. Members that it does not state stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepositoryStatement {
    pub created_at: Option<Timestamp>,
    pub uri: Option<String>,
    pub image_tag_mutability: Option<ImageTagMutability>,
    pub scan_on_push: Option<bool>,
    pub encryption: Option<Encryption>,
    /// The resource tags that were added, each with its value, and those that were removed.
    pub tags: BTreeMap<String, Option<String>>,
}

/// Whether a tag of an image can be overwritten.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ImageTagMutability {
    /// `MUTABLE`, `IMMUTABLE`, or either of them `_WITH_EXCLUSION`.
    pub value: String,
    /// The tags that are excluded.
    pub exclusion_filters: Vec<ExclusionFilter>,
}

/// Tags to which the mutability does not apply.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExclusionFilter {
    /// `WILDCARD`.
    pub filter_type: String,
    pub filter: String,
}

/// How the images of a repository are encrypted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Encryption {
    /// `AES256`, `KMS` or `KMS_DSSE`.
    pub encryption_type: String,
    pub kms_key: Option<String>,
}
