//! The two services with a DescribeImages, and their differences.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_Operations.html>
//! <https://docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/API_Operations.html>

use catalog::Service;

/// An operation that the catalog serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    DescribeImages,
    DescribeRepositories,
    ListTagsForResource,
    /// Of Amazon ECR alone.
    ListImages,
    /// Of Amazon ECR Public alone.
    DescribeImageTags,
    /// Of Amazon ECR Public alone.
    DescribeRegistries,
}

impl Operation {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DescribeImages => "DescribeImages",
            Self::DescribeRepositories => "DescribeRepositories",
            Self::ListTagsForResource => "ListTagsForResource",
            Self::ListImages => "ListImages",
            Self::DescribeImageTags => "DescribeImageTags",
            Self::DescribeRegistries => "DescribeRegistries",
        }
    }

    pub(crate) fn from_name(service: Service, name: &str) -> Option<Self> {
        match (service, name) {
            (_, "DescribeImages") => Some(Self::DescribeImages),
            (_, "DescribeRepositories") => Some(Self::DescribeRepositories),
            (_, "ListTagsForResource") => Some(Self::ListTagsForResource),
            (Service::Ecr, "ListImages") => Some(Self::ListImages),
            (Service::EcrPublic, "DescribeImageTags") => Some(Self::DescribeImageTags),
            (Service::EcrPublic, "DescribeRegistries") => Some(Self::DescribeRegistries),
            _ => None,
        }
    }
}

/// The name of the service in `X-Amz-Target`.
#[must_use]
pub fn target(service: Service) -> &'static str {
    match service {
        Service::Ecr => "AmazonEC2ContainerRegistry_V20150921",
        Service::EcrPublic => "SpencerFrontendService",
    }
}

/// The service of a name in `X-Amz-Target`.
#[must_use]
pub fn from_target(name: &str) -> Option<Service> {
    Service::ALL.into_iter().find(|service| target(*service) == name)
}

/// Whether the service has an operation of this name.
pub(crate) fn has_operation(service: Service, name: &str) -> bool {
    let operations: &[&str] = match service {
        Service::Ecr => &ECR_OPERATIONS,
        Service::EcrPublic => &ECR_PUBLIC_OPERATIONS,
    };
    operations.contains(&name)
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
