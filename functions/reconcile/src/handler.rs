//! A message of the queue says what to compare: everything, which becomes a message for each
//! registry; a registry, which becomes a message for each repository; or a repository. So no run
//! takes long, however much there is; a repository that is not repaired in time is put back, and
//! the next run finds less to do.

use std::sync::Arc;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use catalog::RegistryId;
use catalog::table::causes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use secret::Secret;
use serde::{Deserialize, Serialize};
use subscriptions::Subscriptions;
use tokio::time::{Instant, timeout_at};

use crate::{FollowedRegistries, Reconcile, ToCompare};

/// The most messages that SQS takes at once.
const MESSAGES_AT_ONCE: usize = 10;

/// How many requests to SQS are under way at the same time.
const CONCURRENT_REQUESTS: usize = 8;

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "compare", rename_all = "camelCase")]
pub enum Message {
    /// All registries; what `template.yaml` has EventBridge send.
    Registries,
    /// All repositories of a registry.
    Registry {
        /// Its id among [`FollowedRegistries`].
        from: String,
    },
    /// One repository.
    Repository {
        /// The id of its registry.
        from: String,
        /// Which, or what of it.
        #[serde(flatten)]
        listed: ToCompare,
    },
}

/// Compares what the queue says.
#[derive(Debug)]
pub struct Handler {
    /// Compares and repairs.
    pub reconcile: Reconcile,
    /// The account whose Amazon ECR is compared.
    pub account: RegistryId,
    /// The other registries.
    pub subscriptions: Arc<Secret<Subscriptions>>,
    /// The client of the queue.
    pub client: aws_sdk_sqs::Client,
    /// The queue that the messages come from, and go to.
    pub queue_url: String,
}

impl Handler {
    /// Does what messages say, and names those to be delivered again.
    pub async fn handle(&self, batch: SqsEvent, deadline: Instant) -> SqsBatchResponse {
        let mut response = SqsBatchResponse::default();
        for message in batch.records {
            let body = message.body.as_deref().unwrap_or_default();
            if let Err(reason) = self.handle_message(body, deadline).await {
                let message_id = message.message_id.unwrap_or_default();
                tracing::warn!(message_id, body, reason, "a comparison has failed");
                let mut failure = BatchItemFailure::default();
                failure.item_identifier = message_id;
                response.batch_item_failures.push(failure);
            }
        }
        response
    }

    async fn handle_message(&self, body: &str, deadline: Instant) -> Result<(), String> {
        let message: Message = serde_json::from_str(body).map_err(|error| error.to_string())?;
        let subscriptions = self.subscriptions.value().await;
        let subscriptions =
            subscriptions.map_err(|error| format!("the subscriptions cannot be read: {error}"))?;
        let all = FollowedRegistries::new(Some(self.account.clone()), &subscriptions);
        match timeout_at(deadline, self.follow(&all, &message, deadline)).await {
            Ok(done) => done,
            Err(_) => Err("the time is up".to_owned()),
        }
    }

    async fn follow(
        &self,
        all: &FollowedRegistries,
        message: &Message,
        deadline: Instant,
    ) -> Result<(), String> {
        let registry =
            |id: &str| all.get(id).ok_or_else(|| format!("there is no registry {id} to ask"));
        match message {
            Message::Registries => {
                let from = |id: &str| Message::Registry { from: id.to_owned() };
                self.send(all.registries.iter().map(|followed| from(&followed.id)).collect()).await
            }
            Message::Registry { from } => {
                let listed = self.reconcile.repositories(all, registry(from)?).await;
                let listed = listed.map_err(|error| error.to_string())?;
                tracing::info!(
                    registry = from,
                    repositories = listed.len(),
                    "comparing a registry"
                );
                let message = |listed| Message::Repository { from: from.clone(), listed };
                self.send(listed.into_iter().map(message).collect()).await
            }
            Message::Repository { from, listed } => {
                let followed = registry(from)?;
                // The message may be older than a subscription.
                let is_of = |repository| all.is_of(&repository, followed);
                let prune = listed.prune && followed.repository(&listed.name).is_ok_and(is_of);
                let compared =
                    self.reconcile.compare(followed, &ToCompare { prune, ..listed.clone() }).await;
                let comparison = compared.map_err(|error| error.to_string())?;
                // Enough is left for putting the message back.
                let until = deadline - (deadline - Instant::now()) / 20;
                let repaired = self.reconcile.repair(&comparison, Some(until)).await;
                let repaired = repaired.map_err(|error| error.to_string())?;
                let (left, all) = (repaired.left, comparison.differences.len());
                if left > 0 && left == all {
                    return Err("nothing could be repaired in time".to_owned());
                }
                if left > 0 {
                    tracing::info!(left, of = all, "the rest is for the next run");
                    return self.send(vec![message.clone()]).await;
                }
                let rest = comparison
                    .rest
                    .map(|listed| Message::Repository { from: from.clone(), listed });
                self.send(rest.into_iter().collect()).await
            }
        }
    }

    /// Puts messages into the queue.
    async fn send(&self, messages: Vec<Message>) -> Result<(), String> {
        stream::iter(messages.chunks(MESSAGES_AT_ONCE).map(|messages| self.send_at_once(messages)))
            .buffer_unordered(CONCURRENT_REQUESTS)
            .try_collect()
            .await
    }

    async fn send_at_once(&self, messages: &[Message]) -> Result<(), String> {
        let entries = messages.iter().enumerate().map(|(number, message)| {
            let body = serde_json::to_string(message).map_err(|error| error.to_string())?;
            let entry =
                SendMessageBatchRequestEntry::builder().id(number.to_string()).message_body(body);
            entry.build().map_err(|error| error.to_string())
        });
        let sent = self
            .client
            .send_message_batch()
            .queue_url(&self.queue_url)
            .set_entries(Some(entries.collect::<Result<_, _>>()?))
            .send()
            .await
            .map_err(|error| causes(&error))?;
        match sent.failed().first() {
            None => Ok(()),
            Some(failed) => Err(format!("SQS does not take a message: {}", failed.code())),
        }
    }
}
