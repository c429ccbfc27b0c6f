//! The two services with a DescribeImages, and their differences.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_Operations.html>
//! <https://docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/API_Operations.html>

use std::sync::LazyLock;

use catalog::identifier::{InvalidIdentifier, whole};
use catalog::{Repository, RepositoryName};
use regex_lite::Regex;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Amazon ECR: private registries.
    Ecr,
    /// Amazon ECR Public.
    EcrPublic,
}

/// The public service's expression. It is narrower than the private one: no `__` and no `--`.
const PUBLIC_REPOSITORY_NAME_PATTERN: &str =
    "(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*";
const PUBLIC_REPOSITORY_NAME_LENGTH: usize = 205;

impl Service {
    /// The service of a name in `X-Amz-Target`.
    #[must_use]
    pub fn from_target(name: &str) -> Option<Self> {
        match name {
            "AmazonEC2ContainerRegistry_V20150921" => Some(Self::Ecr),
            "SpencerFrontendService" => Some(Self::EcrPublic),
            _ => None,
        }
    }

    /// The name in signatures, in IAM, in logs and in page tokens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ecr => "ecr",
            Self::EcrPublic => "ecr-public",
        }
    }

    #[must_use]
    pub fn repository_arn(self, region: &str, repository: &Repository) -> String {
        // Public registries belong to no region.
        let region = if self == Self::Ecr { region } else { "" };
        format!(
            "arn:aws:{}:{region}:{}:repository/{}",
            self.as_str(),
            repository.registry,
            repository.name
        )
    }

    /// Whether the service has an operation of this name.
    #[must_use]
    pub fn has_operation(self, name: &str) -> bool {
        let operations: &[&str] = match self {
            Self::Ecr => &ECR_OPERATIONS,
            Self::EcrPublic => &ECR_PUBLIC_OPERATIONS,
        };
        operations.contains(&name)
    }

    /// Checks a repository name by the service's own rules.
    pub fn parse_repository_name(self, name: &str) -> Result<RepositoryName, InvalidIdentifier> {
        static PUBLIC: LazyLock<Regex> = LazyLock::new(|| whole(PUBLIC_REPOSITORY_NAME_PATTERN));
        match (self, RepositoryName::parse(name)) {
            (Self::Ecr, result)
            | (Self::EcrPublic, result @ Err(InvalidIdentifier::TooShort(_))) => result,
            (Self::EcrPublic, _) if name.chars().count() > PUBLIC_REPOSITORY_NAME_LENGTH => {
                Err(InvalidIdentifier::TooLong(PUBLIC_REPOSITORY_NAME_LENGTH))
            }
            (Self::EcrPublic, _) if !PUBLIC.is_match(name) => {
                Err(InvalidIdentifier::Pattern(PUBLIC_REPOSITORY_NAME_PATTERN))
            }
            (Self::EcrPublic, result) => result,
        }
    }
}

const ECR_OPERATIONS: [&str; 62] = [
    "BatchCheckLayerAvailability",
    "BatchDeleteImage",
    "BatchGetImage",
    "BatchGetRepositoryScanningConfiguration",
    "CompleteLayerUpload",
    "CreatePullThroughCacheRule",
    "CreateRepository",
    "CreateRepositoryCreationTemplate",
    "DeleteLifecyclePolicy",
    "DeletePullThroughCacheRule",
    "DeleteRegistryPolicy",
    "DeleteRepository",
    "DeleteRepositoryCreationTemplate",
    "DeleteRepositoryPolicy",
    "DeleteSigningConfiguration",
    "DeregisterPullTimeUpdateExclusion",
    "DescribeImageReplicationStatus",
    "DescribeImageScanFindings",
    "DescribeImageSigningStatus",
    "DescribeImages",
    "DescribePullThroughCacheRules",
    "DescribeRegistry",
    "DescribeReplicationBackfillResults",
    "DescribeRepositories",
    "DescribeRepositoryCreationTemplates",
    "GetAccountSetting",
    "GetAuthorizationToken",
    "GetDownloadUrlForLayer",
    "GetLifecyclePolicy",
    "GetLifecyclePolicyPreview",
    "GetRegistryPolicy",
    "GetRegistryScanningConfiguration",
    "GetRepositoryPolicy",
    "GetSigningConfiguration",
    "InitiateLayerUpload",
    "ListImageReferrers",
    "ListImages",
    "ListPullTimeUpdateExclusions",
    "ListReplicationBackfills",
    "ListTagsForResource",
    "PutAccountSetting",
    "PutImage",
    "PutImageScanningConfiguration",
    "PutImageTagMutability",
    "PutLifecyclePolicy",
    "PutRegistryPolicy",
    "PutRegistryScanningConfiguration",
    "PutReplicationConfiguration",
    "PutSigningConfiguration",
    "RegisterPullTimeUpdateExclusion",
    "SetRepositoryPolicy",
    "StartImageScan",
    "StartLifecyclePolicyPreview",
    "StartReplicationBackfill",
    "StopReplicationBackfill",
    "TagResource",
    "UntagResource",
    "UpdateImageStorageClass",
    "UpdatePullThroughCacheRule",
    "UpdateRepositoryCreationTemplate",
    "UploadLayerPart",
    "ValidatePullThroughCacheRule",
];

const ECR_PUBLIC_OPERATIONS: [&str; 23] = [
    "BatchCheckLayerAvailability",
    "BatchDeleteImage",
    "CompleteLayerUpload",
    "CreateRepository",
    "DeleteRepository",
    "DeleteRepositoryPolicy",
    "DescribeImageTags",
    "DescribeImages",
    "DescribeRegistries",
    "DescribeRepositories",
    "GetAuthorizationToken",
    "GetRegistryCatalogData",
    "GetRepositoryCatalogData",
    "GetRepositoryPolicy",
    "InitiateLayerUpload",
    "ListTagsForResource",
    "PutImage",
    "PutRegistryCatalogData",
    "PutRepositoryCatalogData",
    "SetRepositoryPolicy",
    "TagResource",
    "UntagResource",
    "UploadLayerPart",
];

#[cfg(test)]
mod tests {
    use catalog::identifier::REPOSITORY_NAME_PATTERN;

    use super::*;

    #[test]
    fn the_public_service_refuses_names_that_the_private_one_takes() {
        for name in ["a__b", "a--b"] {
            assert!(Service::Ecr.parse_repository_name(name).is_ok());
            assert_eq!(
                Service::EcrPublic.parse_repository_name(name),
                Err(InvalidIdentifier::Pattern(PUBLIC_REPOSITORY_NAME_PATTERN))
            );
        }
        let long = "a".repeat(206);
        assert!(Service::Ecr.parse_repository_name(&long).is_ok());
        assert_eq!(
            Service::EcrPublic.parse_repository_name(&long),
            Err(InvalidIdentifier::TooLong(205))
        );
        assert_eq!(
            Service::Ecr.parse_repository_name("_a"),
            Err(InvalidIdentifier::Pattern(REPOSITORY_NAME_PATTERN))
        );
    }
}
