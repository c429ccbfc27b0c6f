//! Requests to Amazon ECR.

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_ecr::Client;
use aws_sdk_ecr::error::SdkError;
use aws_sdk_ecr::operation::describe_images::DescribeImagesError;
use aws_sdk_ecr::types::{DescribeImagesFilter, ImageIdentifier, ImageStatusFilter};
use catalog::image::Image;
use catalog::{Digest, RegistryId};

use super::{Clock, Failure, Missing, PAGE_SIZE, Page, image};
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

fn failure(error: SdkError<DescribeImagesError>) -> Failure {
    let missing = match error.as_service_error() {
        Some(DescribeImagesError::ImageNotFoundException(_)) => Some(Missing::Image),
        Some(DescribeImagesError::RepositoryNotFoundException(_)) => Some(Missing::Repository),
        _ => None,
    };
    Failure { missing, error: RegistryUnavailable::request(error) }
}
