//! Amazon ECR's private registries, by their own `DescribeImages`, which tells all that there is to
//! know of an image and does not count as a pull, as reading its manifest would.
//!
//! An account may ask only so often in a second. The SDK's adaptive mode finds out how often by
//! being throttled, and keeps to it from then on.
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
use catalog::table::causes;
use catalog::{Digest, RegistryId, Tag, Timestamp};
use jiff::fmt::rfc2822;
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;

use crate::{Answer, Listed, NoAnswer};

/// The most images that can be asked for at once.
const MOST_IMAGES: usize = 100;

/// How many images or repositories are listed at once; the most that can be.
const PAGE: i32 = 1000;

/// How often a request is sent until it is given up.
const ATTEMPTS: u32 = 8;

/// How far Amazon ECR's answers may be behind what happened there; a guess, on the safe side.
pub const ECR_DELAY: Duration = Duration::from_secs(60);

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it may take altogether to ask about single images.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks Amazon ECR in one region.
pub struct Ecr {
    client: Client,
    /// The questions about single images of a repository.
    waiting: Mutex<HashMap<(RegistryId, String), Arc<Waiting>>>,
}

/// Questions about the images of one repository. One request is under way at a time; what is asked
/// meanwhile is put into the next one together.
#[derive(Default)]
struct Waiting {
    turn: Mutex<()>,
    questions: Mutex<Vec<Question>>,
}

struct Question {
    digest: Digest,
    answer: oneshot::Sender<Result<Answer, NoAnswer>>,
}

impl std::fmt::Debug for Ecr {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Ecr")
    }
}

impl Ecr {
    /// Asks with the credentials, and in the region, of a configuration.
    #[must_use]
    pub fn new(configuration: &SdkConfig) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
        let configuration = aws_sdk_ecr::config::Builder::from(configuration)
            .behavior_version(BehaviorVersion::latest())
            .retry_config(RetryConfig::adaptive().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts)
            .build();
        Self { client: Client::from_conf(configuration), waiting: Mutex::default() }
    }

    /// What there is to know of an image's manifest. Images of one repository that are asked for at
    /// the same time are asked for together.
    ///
    /// # Errors
    /// Amazon ECR does not answer, or does not allow to ask.
    pub async fn content(
        &self,
        registry: &RegistryId,
        name: &str,
        digest: &Digest,
    ) -> Result<Answer, NoAnswer> {
        let key = (registry.clone(), name.to_owned());
        let waiting = Arc::clone(self.waiting.lock().await.entry(key.clone()).or_default());
        let (answer, mut receiver) = oneshot::channel();
        waiting.questions.lock().await.push(Question { digest: digest.clone(), answer });
        // Lets those join in that ask at this very moment.
        tokio::task::yield_now().await;
        let turn = waiting.turn.lock().await;
        // Whose turn it was before may have asked for this one, too.
        let answer = loop {
            match receiver.try_recv() {
                Ok(answer) => break answer,
                Err(oneshot::error::TryRecvError::Empty) => {
                    let mut questions = waiting.questions.lock().await;
                    questions.retain(|question| !question.answer.is_closed());
                    let most = questions.len().min(MOST_IMAGES);
                    let asked: Vec<_> = questions.drain(..most).collect();
                    drop(questions);
                    let digests = asked.iter().map(|question| question.digest.clone()).collect();
                    let answers = timeout(TIMEOUT, self.contents(registry, name, digests)).await;
                    let answers = answers
                        .unwrap_or_else(|_| Err(NoAnswer("Amazon ECR took too long".to_owned())));
                    for question in asked {
                        let answer = answers.as_ref().map_err(Clone::clone).map(|found| {
                            let none = || Answer::None("Amazon ECR does not know it".to_owned());
                            found.get(&question.digest).cloned().map_or_else(none, |content| {
                                Answer::Manifest(question.digest.clone(), Box::new(content))
                            })
                        });
                        // Who does not wait any longer needs no answer.
                        let _ = question.answer.send(answer);
                    }
                }
                Err(oneshot::error::TryRecvError::Closed) => {
                    break Err(NoAnswer("the request was given up".to_owned()));
                }
            }
        };
        drop(turn);
        let mut all = self.waiting.lock().await;
        // This one's and the map's own.
        if Arc::strong_count(&waiting) == 2 {
            all.remove(&key);
        }
        answer
    }

    /// What there is to know of the manifests of these images; those that are gone are left out.
    async fn contents(
        &self,
        registry: &RegistryId,
        name: &str,
        digests: Vec<Digest>,
    ) -> Result<HashMap<Digest, Content>, NoAnswer> {
        let mut contents = HashMap::new();
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
                    contents
                        .extend(images.map(|image| (image.image_digest.clone(), content(&image))));
                }
                // One that is gone spoils the answer for all of them.
                Err(error) if is_image_missing(&error) && group.len() > 1 => {
                    let (left, right) = group.split_at(group.len() / 2);
                    groups.extend([left.to_vec(), right.to_vec()]);
                }
                Err(error) if is_image_missing(&error) || is_repository_missing(&error) => {}
                Err(error) => return Err(NoAnswer(causes(&error))),
            }
        }
        Ok(contents)
    }

    /// All images of a repository, in no order.
    ///
    /// # Errors
    /// Amazon ECR does not answer, or does not allow to ask.
    pub async fn images(
        &self,
        registry: &RegistryId,
        name: &str,
    ) -> Result<Listed<Image>, NoAnswer> {
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
                .max_results(PAGE)
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
                    return Ok(Listed { things: None, date: clock.time()? });
                }
                Err(error) => return Err(NoAnswer(causes(&error))),
            }
            if next.is_none() {
                return Ok(Listed { things: Some(images), date: clock.time()? });
            }
        }
    }

    /// The names of all repositories of a registry.
    ///
    /// # Errors
    /// Amazon ECR does not answer, or does not allow to ask.
    pub async fn repositories(&self, registry: &RegistryId) -> Result<Vec<String>, NoAnswer> {
        let mut pages = self
            .client
            .describe_repositories()
            .registry_id(registry.as_str())
            .max_results(PAGE)
            .into_paginator()
            .items()
            .send();
        let mut names = Vec::new();
        while let Some(repository) = pages.next().await {
            let repository = repository.map_err(|error| NoAnswer(causes(&error)))?;
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

/// What Amazon ECR tells of an image's manifest.
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

/// An image as the catalog has it; nothing for one that it could not have.
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

/// Keeps what Amazon ECR's clock said at the first answer.
#[derive(Debug, Clone, Default)]
struct Clock(Arc<OnceLock<Timestamp>>);

impl Clock {
    fn time(&self) -> Result<Timestamp, NoAnswer> {
        self.0
            .get()
            .copied()
            .ok_or_else(|| NoAnswer("Amazon ECR does not tell its time".to_owned()))
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
