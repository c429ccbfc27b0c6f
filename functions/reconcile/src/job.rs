//! The messages of the reconcile queue. A message is for all registries, and becomes one for each
//! registry; or for a registry, and becomes one for each repository; or for a repository. So the
//! invocations stay short. A repository that is not repaired in time is sent again, and the next
//! invocation finds fewer differences.

use std::sync::Arc;

use aws_sdk_sqs::error::{BuildError, SdkError};
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use catalog::table::StoreError;
use catalog::{RegistryId, Service};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use registries::{Registry, RegistryTarget, RegistryTargets, Subscriptions};
use secret::Secret;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use crate::{Reconcile, ReconcileError, ReconcileJob};

/// Messages of one request; SQS's maximum.
const MAX_BATCH_SIZE: usize = 10;

const CONCURRENT_REQUESTS: usize = 8;

/// A message of the reconcile queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reconcile", rename_all = "camelCase")]
pub enum Message {
    /// What `template.yaml` has EventBridge send.
    Registries,
    Registry {
        /// The id of the registry target.
        from: String,
    },
    Repository {
        /// The id of the registry target.
        from: String,
        #[serde(flatten)]
        job: ReconcileJob,
    },
}

/// Why a message is to be received again.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    #[error("the message is not valid")]
    Invalid(#[from] serde_json::Error),
    #[error("the subscriptions cannot be read")]
    Subscriptions(#[source] secret::Error),
    #[error("no registry has the id {0}")]
    UnknownRegistry(String),
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("nothing could be repaired in time")]
    NothingRepaired,
    #[error("the invocation has reached its deadline")]
    DeadlineExceeded,
    #[error(transparent)]
    Entry(#[from] BuildError),
    #[error("Amazon SQS did not accept the messages")]
    Sqs(#[from] Box<SdkError<SendMessageBatchError>>),
    #[error("Amazon SQS did not accept a message: {0}")]
    Refused(String),
}

/// Follows the messages of the reconcile queue.
#[derive(Debug)]
pub struct Jobs {
    pub reconcile: Reconcile,
    /// The account whose registries in Amazon's services are targets.
    pub account: RegistryId,
    /// Other accounts whose registries in Amazon's services are targets.
    pub other_accounts: Vec<RegistryId>,
    /// Whether the registries in Amazon ECR Public are among them.
    pub has_ecr_public: bool,
    /// The other targets.
    pub subscriptions: Arc<Secret<Subscriptions>>,
    pub client: aws_sdk_sqs::Client,
    pub queue_url: String,
}

impl Jobs {
    /// Follows a message.
    pub async fn run(&self, body: &str, deadline: Instant) -> Result<(), MessageError> {
        let message: Message = serde_json::from_str(body)?;
        let subscriptions =
            self.subscriptions.value().await.map_err(MessageError::Subscriptions)?;
        let mut targets = RegistryTargets::new(Some(&self.account), &subscriptions);
        self.other_accounts.iter().for_each(|account| targets.add_account(account));
        if !self.has_ecr_public {
            let is_public = |registry: &Registry| {
                matches!(registry, Registry::Ecr { service: Service::EcrPublic, .. })
            };
            targets.targets.retain(|target| !is_public(&target.registry));
        }
        match timeout_at(deadline, self.follow(&targets, &message, deadline)).await {
            Ok(followed) => followed,
            Err(_) => Err(MessageError::DeadlineExceeded),
        }
    }

    async fn follow(
        &self,
        targets: &RegistryTargets,
        message: &Message,
        deadline: Instant,
    ) -> Result<(), MessageError> {
        let target =
            |id: &String| targets.get(id).ok_or_else(|| MessageError::UnknownRegistry(id.clone()));
        match message {
            Message::Registries => {
                let from = |target: &RegistryTarget| Message::Registry { from: target.id.clone() };
                self.send(targets.targets.iter().map(from).collect()).await
            }
            Message::Registry { from } => {
                // One that has no list and no repository yet is no failure: its message would be
                // delivered again, and end as a dead letter each day.
                let jobs = self.reconcile.repositories(targets, target(from)?).await?.jobs;
                tracing::info!(registry = from, repositories = jobs.len(), "listed a registry");
                let message = |job| Message::Repository { from: from.clone(), job };
                self.send(jobs.into_iter().map(message).collect()).await
            }
            Message::Repository { from, job } => {
                let target = target(from)?;
                // The subscriptions may have changed since the message was sent.
                let is_exclusive = |repository| targets.is_exclusive(&repository, target);
                let prune = job.prune && target.repository(&job.name).is_ok_and(is_exclusive);
                let job = ReconcileJob { prune, ..job.clone() };
                let drift = self.reconcile.find_drift(target, &job).await?;
                // The rest of the time is for sending the message again.
                let until = deadline - (deadline - Instant::now()) / 20;
                let repaired = self.reconcile.repair(&drift, Some(until)).await?;
                let (left, all) = (repaired.left, drift.changes.len());
                if left > 0 && left == all {
                    return Err(MessageError::NothingRepaired);
                }
                if left > 0 {
                    tracing::info!(left, of = all, "the next invocation repairs the rest");
                    return self.send(vec![message.clone()]).await;
                }
                let rest = drift.rest.map(|job| Message::Repository { from: from.clone(), job });
                self.send(rest.into_iter().collect()).await
            }
        }
    }

    /// Sends messages to the queue.
    async fn send(&self, messages: Vec<Message>) -> Result<(), MessageError> {
        stream::iter(messages.chunks(MAX_BATCH_SIZE).map(|messages| self.send_batch(messages)))
            .buffer_unordered(CONCURRENT_REQUESTS)
            .try_collect()
            .await
    }

    async fn send_batch(&self, messages: &[Message]) -> Result<(), MessageError> {
        let entries = messages.iter().enumerate().map(|(number, message)| {
            let body = serde_json::to_string(message)?;
            let entry = SendMessageBatchRequestEntry::builder().id(number.to_string());
            Ok::<_, MessageError>(entry.message_body(body).build()?)
        });
        let sent = self
            .client
            .send_message_batch()
            .queue_url(&self.queue_url)
            .set_entries(Some(entries.collect::<Result<_, _>>()?))
            .send()
            .await
            .map_err(Box::new)?;
        match sent.failed().first() {
            None => Ok(()),
            Some(failed) => Err(MessageError::Refused(failed.code().to_owned())),
        }
    }
}
