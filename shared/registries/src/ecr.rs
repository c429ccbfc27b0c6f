//! A client of Amazon ECR's private registries. It calls `DescribeImages`, which returns all of an
//! image's members and, other than a request for its manifest, does not count as a pull.
//!
//! Amazon ECR throttles an account. The SDK's adaptive retry mode limits the rate of requests to
//! what was not throttled.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html>

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_ecr::Client;
use aws_sdk_ecr::error::SdkError;
use aws_sdk_ecr::operation::describe_images::DescribeImagesError;
use aws_sdk_ecr::primitives::DateTime;
use aws_sdk_ecr::types::{
    DescribeImagesFilter, ImageDetail, ImageIdentifier, ImageScanFindingsSummary, ImageStatusFilter,
};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use catalog::change::Content;
use catalog::image::{Image, ImageStatus, Scan};
use catalog::{Digest, RegistryId, Tag, Timestamp};
use jiff::fmt::rfc2822;
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;

use crate::{
    FoundManifest, Listed, ManifestLookup, ManifestNotFound, PushHints, RegistryUnavailable,
};

/// Images of one request.
const MAX_IMAGE_IDS: usize = 100;

/// Images or repositories of one page; Amazon ECR's maximum.
const PAGE_SIZE: i32 = 1000;

const MAX_ATTEMPTS: u32 = 8;

/// How old Amazon ECR's responses may be. AWS documents no limit; this is an assumption.
pub const ECR_DELAY: Duration = Duration::from_secs(60);

const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// For a request for single images, with all its attempts.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client of Amazon ECR in one region.
pub struct EcrClient {
    client: Client,
    /// By registry and repository.
    batches: Mutex<HashMap<(RegistryId, String), Arc<Batch>>>,
}

/// Lookups of images of one repository. One request is in flight at a time; the lookups that start
/// meanwhile share the next one.
#[derive(Default)]
struct Batch {
    in_flight: Mutex<()>,
    lookups: Mutex<Vec<Lookup>>,
}

struct Lookup {
    digest: Digest,
    result: oneshot::Sender<Result<ManifestLookup, RegistryUnavailable>>,
}

impl std::fmt::Debug for EcrClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("EcrClient")
    }
}

impl EcrClient {
    /// Sends requests with the credentials and to the region of a configuration.
    #[must_use]
    pub fn new(configuration: &SdkConfig) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
        let configuration = aws_sdk_ecr::config::Builder::from(configuration)
            .behavior_version(BehaviorVersion::latest())
            .retry_config(RetryConfig::adaptive().with_max_attempts(MAX_ATTEMPTS))
            .timeout_config(timeouts)
            .build();
        Self { client: Client::from_conf(configuration), batches: Mutex::default() }
    }

    /// Looks up an image. Lookups in the same repository at the same time share a request.
    pub async fn manifest(
        &self,
        registry: &RegistryId,
        name: &str,
        digest: &Digest,
    ) -> Result<ManifestLookup, RegistryUnavailable> {
        let key = (registry.clone(), name.to_owned());
        let batch = Arc::clone(self.batches.lock().await.entry(key.clone()).or_default());
        let (result, mut receiver) = oneshot::channel();
        batch.lookups.lock().await.push(Lookup { digest: digest.clone(), result });
        // Lets lookups that start at this moment join.
        tokio::task::yield_now().await;
        let in_flight = batch.in_flight.lock().await;
        // The request before may have included this lookup.
        let found = loop {
            match receiver.try_recv() {
                Ok(found) => break found,
                Err(oneshot::error::TryRecvError::Empty) => {
                    self.look_up(registry, name, &batch).await;
                }
                Err(oneshot::error::TryRecvError::Closed) => {
                    break Err(RegistryUnavailable::Cancelled);
                }
            }
        };
        drop(in_flight);
        let mut batches = self.batches.lock().await;
        // This one's and the map's own.
        if Arc::strong_count(&batch) == 2 {
            batches.remove(&key);
        }
        found
    }

    /// Sends one request for the lookups of a batch that are still awaited.
    async fn look_up(&self, registry: &RegistryId, name: &str, batch: &Batch) {
        let mut waiting = batch.lookups.lock().await;
        waiting.retain(|lookup| !lookup.result.is_closed());
        let size = waiting.len().min(MAX_IMAGE_IDS);
        let lookups: Vec<_> = waiting.drain(..size).collect();
        drop(waiting);
        let digests = lookups.iter().map(|lookup| lookup.digest.clone()).collect();
        let manifests = timeout(TIMEOUT, self.manifests(registry, name, digests))
            .await
            .unwrap_or(Err(RegistryUnavailable::TimedOut));
        for Lookup { digest, result } in lookups {
            let found = manifests.as_ref().map_err(Clone::clone).map(|manifests| {
                match manifests.get(&digest) {
                    Some(found) => ManifestLookup::Found(Box::new(found.clone())),
                    None => ManifestLookup::NotFound(ManifestNotFound::Unknown),
                }
            });
            // A lookup that is no longer awaited needs no result.
            let _ = result.send(found);
        }
    }

    /// Those of these images that exist.
    async fn manifests(
        &self,
        registry: &RegistryId,
        name: &str,
        digests: Vec<Digest>,
    ) -> Result<HashMap<Digest, FoundManifest>, RegistryUnavailable> {
        let mut manifests = HashMap::new();
        let mut groups = vec![digests];
        while let Some(group) = groups.pop() {
            let ids = group
                .iter()
                .map(|digest| ImageIdentifier::builder().image_digest(digest.as_str()).build());
            let described = self
                .client
                .describe_images()
                .registry_id(registry.as_str())
                .repository_name(name)
                .set_image_ids(Some(ids.collect()))
                .send()
                .await;
            match described {
                Ok(described) => {
                    let images =
                        described.image_details.unwrap_or_default().into_iter().filter_map(image);
                    manifests
                        .extend(images.map(|image| (image.image_digest.clone(), found(&image))));
                }
                // One image that does not exist fails the whole request.
                Err(error) if is_image_missing(&error) && group.len() > 1 => {
                    let (left, right) = group.split_at(group.len() / 2);
                    groups.extend([left.to_vec(), right.to_vec()]);
                }
                Err(error) if is_image_missing(&error) || is_repository_missing(&error) => {}
                Err(error) => return Err(RegistryUnavailable::request(error)),
            }
        }
        Ok(manifests)
    }

    /// Lists all images of a repository, in no order.
    pub async fn images(
        &self,
        registry: &RegistryId,
        name: &str,
    ) -> Result<Listed<Image>, RegistryUnavailable> {
        let any = DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any).build();
        let clock = Clock::default();
        let mut images = Vec::new();
        let mut next = None;
        loop {
            let described = self
                .client
                .describe_images()
                .registry_id(registry.as_str())
                .repository_name(name)
                .filter(any.clone())
                .max_results(PAGE_SIZE)
                .set_next_token(next)
                .customize()
                .interceptor(clock.clone())
                .send()
                .await;
            match described {
                Ok(described) => {
                    images.extend(
                        described.image_details.unwrap_or_default().into_iter().filter_map(image),
                    );
                    next = described.next_token;
                }
                Err(error) if is_repository_missing(&error) => {
                    return Ok(Listed { items: None, date: clock.time()? });
                }
                Err(error) => return Err(RegistryUnavailable::request(error)),
            }
            if next.is_none() {
                return Ok(Listed { items: Some(images), date: clock.time()? });
            }
        }
    }

    /// Lists the names of all repositories of a registry.
    pub async fn repositories(
        &self,
        registry: &RegistryId,
    ) -> Result<Vec<String>, RegistryUnavailable> {
        let mut pages = self
            .client
            .describe_repositories()
            .registry_id(registry.as_str())
            .max_results(PAGE_SIZE)
            .into_paginator()
            .items()
            .send();
        let mut names = Vec::new();
        while let Some(repository) = pages.next().await {
            let repository = repository.map_err(RegistryUnavailable::request)?;
            names.extend(repository.repository_name);
        }
        Ok(names)
    }
}

fn is_image_missing<R>(error: &SdkError<DescribeImagesError, R>) -> bool {
    error.as_service_error().is_some_and(DescribeImagesError::is_image_not_found_exception)
}

fn is_repository_missing<R>(error: &SdkError<DescribeImagesError, R>) -> bool {
    error.as_service_error().is_some_and(DescribeImagesError::is_repository_not_found_exception)
}

fn found(image: &Image) -> FoundManifest {
    FoundManifest {
        digest: image.image_digest.clone(),
        content: content(image),
        pushed_at: Some(image.image_pushed_at),
        hints: PushHints::default(),
    }
}

/// The members of an image that describe its manifest.
#[must_use]
pub fn content(image: &Image) -> Content {
    Content {
        manifest_media_type: image.image_manifest_media_type.clone(),
        artifact_media_type: image.artifact_media_type.clone(),
        size_in_bytes: image.image_size_in_bytes,
        manifests: None,
        subject: image.subject_manifest_digest.clone(),
    }
}

/// Converts an image; `None` if it has no digest or time.
fn image(detail: ImageDetail) -> Option<Image> {
    let status = |status: &aws_sdk_ecr::types::ImageStatus| {
        ImageStatus::ALL.into_iter().find(|known| known.as_str() == status.as_str())
    };
    let summary = detail
        .image_scan_findings_summary
        .unwrap_or_else(|| ImageScanFindingsSummary::builder().build());
    let scan_status = detail.image_scan_status.and_then(|scan| scan.status);
    Some(Image {
        image_digest: Digest::parse(&detail.image_digest?).ok()?,
        image_tags: detail
            .image_tags
            .iter()
            .flatten()
            .filter_map(|tag| Tag::parse(tag).ok())
            .collect(),
        image_pushed_at: timestamp(&detail.image_pushed_at?)?,
        image_size_in_bytes: detail.image_size_in_bytes,
        image_status: detail.image_status.as_ref().and_then(status).unwrap_or(ImageStatus::Active),
        image_manifest_media_type: detail.image_manifest_media_type,
        artifact_media_type: detail.artifact_media_type,
        subject_manifest_digest: detail
            .subject_manifest_digest
            .and_then(|digest| Digest::parse(&digest).ok()),
        scan: scan_status.zip(summary.image_scan_completed_at.as_ref().and_then(timestamp)).map(
            |(status, completed_at)| Scan {
                status: status.as_str().to_owned(),
                finding_severity_counts: summary.finding_severity_counts.map(|counts| {
                    let count = |(severity, count): (aws_sdk_ecr::types::FindingSeverity, i32)| {
                        (severity.as_str().to_owned(), i64::from(count))
                    };
                    counts.into_iter().map(count).collect::<BTreeMap<_, _>>()
                }),
                completed_at,
            },
        ),
        last_recorded_pull_time: detail.last_recorded_pull_time.as_ref().and_then(timestamp),
        last_archived_at: detail.last_archived_at.as_ref().and_then(timestamp),
        last_activated_at: detail.last_activated_at.as_ref().and_then(timestamp),
    })
}

fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::from_milliseconds(time.to_millis().ok()?).ok()
}

/// Keeps the `Date` of the first response.
#[derive(Debug, Clone, Default)]
struct Clock(Arc<OnceLock<Timestamp>>);

impl Clock {
    fn time(&self) -> Result<Timestamp, RegistryUnavailable> {
        self.0.get().copied().ok_or(RegistryUnavailable::NoDate)
    }
}

impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "Clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date =
            context.response().headers().get("date").and_then(|date| rfc2822::parse(date).ok());
        if let Some(date) = date.and_then(|date| Timestamp::try_from(date.timestamp()).ok()) {
            let _ = self.0.set(date);
        }
        Ok(())
    }
}
