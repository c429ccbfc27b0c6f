//! The two services with a DescribeImages, and their differences.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_Operations.html>
//! <https://docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/API_Operations.html>

use std::sync::LazyLock;

use catalog::identifier::{InvalidIdentifier, whole};
use catalog::{Repository, RepositoryName, Service};
use regex_lite::Regex;

/// The public service's expression. It is narrower than the private one: no `__` and no `--`.
const PUBLIC_REPOSITORY_NAME_PATTERN: &str =
    "(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*";
const PUBLIC_REPOSITORY_NAME_LENGTH: usize = 205;

/// The service of a name in `X-Amz-Target`.
#[must_use]
pub fn from_target(name: &str) -> Option<Service> {
    match name {
        "AmazonEC2ContainerRegistry_V20150921" => Some(Service::Ecr),
        "SpencerFrontendService" => Some(Service::EcrPublic),
        _ => None,
    }
}

pub(crate) fn repository_arn(region: &str, repository: &Repository) -> String {
    let Repository { service, registry, name } = repository;
    // Public registries belong to no region.
    let region = if *service == Service::Ecr { region } else { "" };
    format!("arn:aws:{service}:{region}:{registry}:repository/{name}")
}

/// Whether the service has an operation of this name.
pub(crate) fn has_operation(service: Service, name: &str) -> bool {
    let operations: &[&str] = match service {
        Service::Ecr => &ECR_OPERATIONS,
        Service::EcrPublic => &ECR_PUBLIC_OPERATIONS,
    };
    operations.contains(&name)
}

/// Checks a repository name by the service's own rules.
pub(crate) fn parse_repository_name(
    service: Service,
    name: &str,
) -> Result<RepositoryName, InvalidIdentifier> {
    static PUBLIC: LazyLock<Regex> = LazyLock::new(|| whole(PUBLIC_REPOSITORY_NAME_PATTERN));
    match (service, RepositoryName::parse(name)) {
        (Service::Ecr, result)
        | (Service::EcrPublic, result @ Err(InvalidIdentifier::TooShort(_))) => result,
        (Service::EcrPublic, _) if name.chars().count() > PUBLIC_REPOSITORY_NAME_LENGTH => {
            Err(InvalidIdentifier::TooLong(PUBLIC_REPOSITORY_NAME_LENGTH))
        }
        (Service::EcrPublic, _) if !PUBLIC.is_match(name) => {
            Err(InvalidIdentifier::Pattern(PUBLIC_REPOSITORY_NAME_PATTERN))
        }
        (Service::EcrPublic, result) => result,
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
            assert!(parse_repository_name(Service::Ecr, name).is_ok());
            assert_eq!(
                parse_repository_name(Service::EcrPublic, name),
                Err(InvalidIdentifier::Pattern(PUBLIC_REPOSITORY_NAME_PATTERN))
            );
        }
        let long = "a".repeat(206);
        assert!(parse_repository_name(Service::Ecr, &long).is_ok());
        assert_eq!(
            parse_repository_name(Service::EcrPublic, &long),
            Err(InvalidIdentifier::TooLong(205))
        );
        assert_eq!(
            parse_repository_name(Service::Ecr, "_a"),
            Err(InvalidIdentifier::Pattern(REPOSITORY_NAME_PATTERN))
        );
    }
}
