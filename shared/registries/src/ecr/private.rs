//! Requests to Amazon ECR.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_ecr::Client;
use aws_sdk_ecr::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_ecr::operation::describe_images::DescribeImagesError;
use aws_sdk_ecr::operation::describe_repositories::DescribeRepositoriesError;
use aws_sdk_ecr::types::{
    DescribeImagesFilter, FindingSeverity, ImageDetail, ImageIdentifier, ImageScanFindingsSummary,
    ImageScanStatus, ImageStatusFilter, ImageTagMutabilityExclusionFilter, Repository,
};
use catalog::image::{FindingsSummary, Image, ImageStatus, Scan};
use catalog::repository::{Encryption, ExclusionFilter, ImageTagMutability};
use catalog::{Digest, RegistryId, RepositoryDescription};

use super::{Clock, Failure, Missing, PAGE_SIZE, Page, may_not_be_listed, tags, timestamp};
use crate::RegistryUnavailable;

/// A client in the region of a configuration.
pub(super) fn client(
    configuration: &SdkConfig,
    retries: RetryConfig,
    timeouts: TimeoutConfig,
) -> Client {
    let configuration = aws_sdk_ecr::config::Builder::from(configuration)
        .retry_config(retries)
        .timeout_config(timeouts)
        .build();
    Client::from_conf(configuration)
}

/// These images, if all of them exist.
pub(super) async fn describe_images(
    client: &Client,
    registry: &RegistryId,
    name: &str,
    digests: &[Digest],
) -> Result<Vec<Image>, Failure> {
    let ids = digests
        .iter()
        .map(|digest| ImageIdentifier::builder().image_digest(digest.as_str()).build());
    let described = client
        .describe_images()
        .registry_id(registry.as_str())
        .repository_name(name)
        .set_image_ids(Some(ids.collect()))
        .send()
        .await
        .map_err(failure)?;
    Ok(described.image_details.unwrap_or_default().into_iter().filter_map(image).collect())
}

/// A page of all images of a repository.
pub(super) async fn list_images(
    client: &Client,
    registry: &RegistryId,
    name: &str,
    token: Option<String>,
    clock: &Clock,
) -> Result<Page, Failure> {
    let described = client
        .describe_images()
        .registry_id(registry.as_str())
        .repository_name(name)
        .filter(DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build())
        .max_results(PAGE_SIZE)
        .set_next_token(token)
        .customize()
        .interceptor(clock.clone())
        .send()
        .await
        .map_err(failure)?;
    let images = described.image_details.unwrap_or_default().into_iter().filter_map(image);
    Ok(Page { images: images.collect(), next_token: described.next_token })
}

/// The names of all repositories of a registry.
pub(super) async fn list_repositories(
    client: &Client,
    registry: &RegistryId,
) -> Result<Vec<String>, RegistryUnavailable> {
    let mut repositories = client
        .describe_repositories()
        .registry_id(registry.as_str())
        .max_results(PAGE_SIZE)
        .into_paginator()
        .items()
        .send();
    let mut names = Vec::new();
    while let Some(repository) = repositories.next().await {
        names.extend(repository.map_err(RegistryUnavailable::request)?.repository_name);
    }
    Ok(names)
}

/// A repository, and its ARN; `None` if it does not exist.
pub(super) async fn describe_repository(
    client: &Client,
    registry: &RegistryId,
    name: &str,
) -> Result<Option<(RepositoryDescription, Option<String>)>, RegistryUnavailable> {
    let described = client
        .describe_repositories()
        .registry_id(registry.as_str())
        .repository_names(name)
        .send()
        .await;
    let described = match described {
        Err(error)
            if error
                .as_service_error()
                .is_some_and(DescribeRepositoriesError::is_repository_not_found_exception) =>
        {
            return Ok(None);
        }
        described => described.map_err(RegistryUnavailable::request)?,
    };
    let repository = described.repositories.unwrap_or_default().into_iter().next();
    Ok(repository.map(|mut repository| {
        let arn = repository.repository_arn.take();
        (description(repository), arn)
    }))
}

/// The resource tags of an ARN; `None` if they may not be listed.
pub(super) async fn list_tags(
    client: &Client,
    arn: &str,
) -> Result<Option<BTreeMap<String, String>>, RegistryUnavailable> {
    match client.list_tags_for_resource().resource_arn(arn).send().await {
        Ok(listed) => {
            let tags = listed.tags.unwrap_or_default().into_iter();
            Ok(Some(
                tags.map(|tag| (tag.key, tag.value)).filter(|(key, _)| !key.is_empty()).collect(),
            ))
        }
        Err(error) if may_not_be_listed(error.code()) => Ok(None),
        Err(error) => Err(RegistryUnavailable::request(error)),
    }
}

/// Converts a repository, without its tags.
fn description(repository: Repository) -> RepositoryDescription {
    let filter = |filter: ImageTagMutabilityExclusionFilter| ExclusionFilter {
        filter_type: filter.filter_type.as_str().to_owned(),
        filter: filter.filter,
    };
    let filters = repository.image_tag_mutability_exclusion_filters.unwrap_or_default();
    RepositoryDescription {
        created_at: repository.created_at.as_ref().and_then(timestamp),
        uri: repository.repository_uri,
        image_tag_mutability: repository.image_tag_mutability.map(|mutability| {
            ImageTagMutability {
                value: mutability.as_str().to_owned(),
                exclusion_filters: filters.into_iter().map(filter).collect(),
            }
        }),
        scan_on_push: repository.image_scanning_configuration.map(|scan| scan.scan_on_push),
        encryption: repository.encryption_configuration.map(|encryption| Encryption {
            encryption_type: encryption.encryption_type.as_str().to_owned(),
            kms_key: encryption.kms_key,
        }),
    }
}

fn failure(error: SdkError<DescribeImagesError>) -> Failure {
    let missing = match error.as_service_error() {
        Some(DescribeImagesError::ImageNotFoundException(_)) => Some(Missing::Image),
        Some(DescribeImagesError::RepositoryNotFoundException(_)) => Some(Missing::Repository),
        _ => None,
    };
    Failure { missing, error: RegistryUnavailable::request(error) }
}

/// Converts an image; `None` if it has no digest or time.
fn image(detail: ImageDetail) -> Option<Image> {
    let status = |status: &aws_sdk_ecr::types::ImageStatus| {
        ImageStatus::ALL.into_iter().find(|known| known.as_str() == status.as_str())
    };
    Some(Image {
        image_digest: Digest::parse(&detail.image_digest?).ok()?,
        image_tags: tags(detail.image_tags),
        image_pushed_at: timestamp(&detail.image_pushed_at?)?,
        image_size_in_bytes: detail.image_size_in_bytes,
        image_status: detail.image_status.as_ref().and_then(status).unwrap_or(ImageStatus::Active),
        image_manifest_media_type: detail.image_manifest_media_type,
        artifact_media_type: detail.artifact_media_type,
        subject_manifest_digest: detail
            .subject_manifest_digest
            .and_then(|digest| Digest::parse(&digest).ok()),
        scan: Some(scan(detail.image_scan_status, detail.image_scan_findings_summary))
            .filter(|scan| !scan.is_none()),
        last_recorded_pull_time: detail.last_recorded_pull_time.as_ref().and_then(timestamp),
        last_archived_at: detail.last_archived_at.as_ref().and_then(timestamp),
        last_activated_at: detail.last_activated_at.as_ref().and_then(timestamp),
    })
}

/// Converts a scan, whose members are independent (rule 60).
fn scan(status: Option<ImageScanStatus>, summary: Option<ImageScanFindingsSummary>) -> Scan {
    let (status, description) =
        status.map_or((None, None), |status| (status.status, status.description));
    let count = |(severity, count): (FindingSeverity, i32)| {
        (severity.as_str().to_owned(), i64::from(count))
    };
    Scan {
        status: status.map(|status| status.as_str().to_owned()),
        description,
        findings: summary.map(|summary| FindingsSummary {
            completed_at: summary.image_scan_completed_at.as_ref().and_then(timestamp),
            vulnerability_source_updated_at: summary
                .vulnerability_source_updated_at
                .as_ref()
                .and_then(timestamp),
            finding_severity_counts: summary
                .finding_severity_counts
                .map(|counts| counts.into_iter().map(count).collect()),
        }),
    }
}
