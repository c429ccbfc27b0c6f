//! The requests that are alike in both services. Their SDKs have types of the same names, and no
//! trait in common, so a macro defines the functions with the types of each.

/// Defines `client` and the requests with a service's SDK. The module has what differs, as the
/// functions `list_all`, `image`, `description` and `resource_tag`.
macro_rules! operations {
    ($sdk:ident) => {
        use std::collections::BTreeMap;

        use aws_config::SdkConfig;
        use aws_config::retry::RetryConfig;
        use aws_config::timeout::TimeoutConfig;
        use catalog::{RegistryId, RepositoryDescription};
        use $sdk::Client;
        use $sdk::error::{ProvideErrorMetadata as _, SdkError};
        use $sdk::operation::describe_images::DescribeImagesError;
        use $sdk::operation::describe_repositories::DescribeRepositoriesError;
        use $sdk::types::ImageIdentifier;

        use super::{Clock, Failure, Missing, PAGE_SIZE, Page, may_not_be_listed};
        use crate::RegistryUnavailable;

        /// A client in the region of a configuration.
        pub(super) fn client(
            configuration: &SdkConfig,
            retries: RetryConfig,
            timeouts: TimeoutConfig,
        ) -> Client {
            let configuration = $sdk::config::Builder::from(configuration)
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
            let described = list_all(client)
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
                    if error.as_service_error().is_some_and(
                        DescribeRepositoriesError::is_repository_not_found_exception,
                    ) =>
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
                    let tags = listed.tags.unwrap_or_default().into_iter().map(resource_tag);
                    Ok(Some(tags.filter(|(key, _)| !key.is_empty()).collect()))
                }
                Err(error) if may_not_be_listed(error.code()) => Ok(None),
                Err(error) => Err(RegistryUnavailable::request(error)),
            }
        }

        fn failure(error: SdkError<DescribeImagesError>) -> Failure {
            let missing = match error.as_service_error() {
                Some(DescribeImagesError::ImageNotFoundException(_)) => Some(Missing::Image),
                Some(DescribeImagesError::RepositoryNotFoundException(_)) => {
                    Some(Missing::Repository)
                }
                _ => None,
            };
            Failure { missing, error: RegistryUnavailable::request(error) }
        }
    };
}

pub(super) use operations;
