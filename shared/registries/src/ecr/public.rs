//! Requests to Amazon ECR Public.
//!
//! <https://docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/API_DescribeImages.html>

use std::collections::BTreeMap;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_ecrpublic::Client;
use aws_sdk_ecrpublic::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_ecrpublic::operation::describe_images::DescribeImagesError;
use aws_sdk_ecrpublic::operation::describe_repositories::DescribeRepositoriesError;
use aws_sdk_ecrpublic::types::{ImageDetail, ImageIdentifier, Repository};
use catalog::image::{Image, ImageStatus};
use catalog::{Digest, RegistryId, RepositoryDescription};

use super::{Clock, Failure, Missing, PAGE_SIZE, Page, may_not_be_listed, tags, timestamp};
use crate::RegistryUnavailable;

/// Where the service is, whatever region the catalog follows.
const REGION: Region = Region::from_static("us-east-1");

/// A client with the credentials of a configuration.
pub(super) fn client(
    configuration: &SdkConfig,
    retries: RetryConfig,
    timeouts: TimeoutConfig,
) -> Client {
    let configuration = aws_sdk_ecrpublic::config::Builder::from(configuration)
        .region(REGION)
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
                tags.filter_map(|tag| {
                    let key = tag.key.filter(|key| !key.is_empty())?;
                    Some((key, tag.value.unwrap_or_default()))
                })
                .collect(),
            ))
        }
        Err(error) if may_not_be_listed(error.code()) => Ok(None),
        Err(error) => Err(RegistryUnavailable::request(error)),
    }
}

/// Converts a repository, without its tags.
fn description(repository: Repository) -> RepositoryDescription {
    RepositoryDescription {
        created_at: repository.created_at.as_ref().and_then(timestamp),
        uri: repository.repository_uri,
        ..RepositoryDescription::default()
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
    Some(Image {
        image_digest: Digest::parse(&detail.image_digest?).ok()?,
        image_tags: tags(detail.image_tags),
        image_pushed_at: timestamp(&detail.image_pushed_at?)?,
        image_size_in_bytes: detail.image_size_in_bytes,
        image_status: ImageStatus::Active,
        image_manifest_media_type: detail.image_manifest_media_type,
        artifact_media_type: detail.artifact_media_type,
        subject_manifest_digest: None,
        scan: None,
        last_recorded_pull_time: None,
        last_archived_at: None,
        last_activated_at: None,
    })
}
