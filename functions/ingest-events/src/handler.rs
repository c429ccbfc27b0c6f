//! A batch of messages from the queue. Each message is a delivery of its own: those that could not be
//! applied, because the store failed or because they cannot be understood, are given back to the
//! queue, and the others are done.
//!
//! The message attribute `subscription` names the registry that a message is from. EventBridge sets no
//! attributes: without them a message is an event of Amazon ECR, or the catalog's own reminder to ask again what
//! registries did not answer.

use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use catalog::{RegistryId, Timestamp};
use futures_util::{StreamExt, stream};
use subscriptions::Source;
use tokio::time::{Instant, timeout_at};

use crate::ingest::Ingest;
use crate::source::Origin;

/// How long one message may ask registries again what they did not answer; the next one goes on.
const TIME_FOR_QUESTIONS: Duration = Duration::from_secs(20);

/// How many messages are applied side by side.
const CONCURRENT_MESSAGES: usize = 8;

/// Applies the messages of a batch, and names those to be delivered again. What is not done at the
/// deadline is one of them: then the function still answers, and what was applied is not repeated.
pub async fn handle(
    ingest: &Ingest,
    default_registry: &RegistryId,
    batch: SqsEvent,
    deadline: Instant,
) -> SqsBatchResponse {
    let failures = stream::iter(batch.records)
        .map(|message| async move {
            let message_id = message.message_id.clone().unwrap_or_default();
            let handled =
                timeout_at(deadline, handle_message(ingest, default_registry, &message, deadline)).await;
            match handled.unwrap_or_else(|_| Err("the time is up".to_owned())) {
                Ok(()) => None,
                Err(reason) => {
                    tracing::warn!(message_id, reason, "a message was not applied");
                    let mut failure = BatchItemFailure::default();
                    failure.item_identifier = message_id;
                    Some(failure)
                }
            }
        })
        .buffer_unordered(CONCURRENT_MESSAGES)
        .filter_map(async |failure| failure)
        .collect()
        .await;
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failures;
    response
}

async fn handle_message(
    ingest: &Ingest,
    default_registry: &RegistryId,
    message: &SqsMessage,
    deadline: Instant,
) -> Result<(), String> {
    let body = message.body.as_deref().unwrap_or_default();
    let subscription = message
        .message_attributes
        .get("subscription")
        .and_then(|attribute| attribute.string_value.as_deref());
    let received_at = sent_at(message).unwrap_or_else(Timestamp::now);
    let origin = match subscription {
        Some(id) => Origin::of(ingest.subscription(id).await?, received_at),
        None if is_reminder(body) => {
            let until = deadline.min(Instant::now() + TIME_FOR_QUESTIONS);
            return ingest.settle_questions(until).await.map(drop).map_err(|error| error.to_string());
        }
        None => Origin::new(Source::Ecr, default_registry.clone(), received_at),
    };
    let report = ingest.ingest(&origin, body.as_bytes()).await.map_err(|error| error.to_string())?;
    match report.malformed.first() {
        None => Ok(()),
        Some(malformed) => Err(malformed.reason.clone()),
    }
}

/// When a message was put into the queue; the same however often it is delivered.
fn sent_at(message: &SqsMessage) -> Option<Timestamp> {
    Timestamp::from_milliseconds(message.attributes.get("SentTimestamp")?.parse().ok()?).ok()
}

/// Whether it is what `template.yaml` has EventBridge send every five minutes.
fn is_reminder(body: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(body).is_ok_and(|body| body["detail-type"] == "Ask Again")
}
