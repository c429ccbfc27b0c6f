//! A batch of messages from the queue. Each message is a delivery of its own: those that could not
//! be applied, because the store failed or because they cannot be understood, are given back to the
//! queue, and the others are done.
//!
//! The message attribute `subscription` names the registry that a message is from, and `receivedAt`
//! tells when it came. EventBridge sets no attributes: without them a message is an event of Amazon
//! ECR, or the catalog's own reminder to ask again what registries did not answer.

use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use catalog::{RegistryId, Timestamp};
use futures_util::{StreamExt, stream};
use subscriptions::Source;
use tokio::time::{Instant, timeout_at};

use crate::dead_letter::DeadLetters;
use crate::ingest::Ingest;
use crate::source::Origin;

/// The message attribute that tells when a message came first.
pub const RECEIVED_AT: &str = "receivedAt";

/// How long one message may ask registries again what they did not answer; the next one goes on.
const TIME_FOR_QUESTIONS: Duration = Duration::from_secs(20);

/// How many messages are applied side by side: all of a batch, as `template.yaml` has it.
const CONCURRENT_MESSAGES: usize = 10;

/// What a message brings.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// An event, or several, in the words of their source.
    pub body: &'a str,
    /// The subscription that they are of; none for Amazon ECR's and for reminders.
    pub subscription: Option<&'a str>,
    /// When they came first.
    pub received_at: Timestamp,
}

/// Applies the messages of a batch, and names those to be delivered again. What is not done at the
/// deadline is one of them: then the function still answers, and what was applied is not repeated.
/// Messages that are not to be tried again become dead letters, if there is a place for them.
pub async fn handle(
    ingest: &Ingest,
    default_registry: &RegistryId,
    dead_letters: Option<&DeadLetters>,
    batch: SqsEvent,
    deadline: Instant,
) -> SqsBatchResponse {
    let failures = stream::iter(batch.records)
        .map(|message| async move {
            let message_id = message.message_id.clone().unwrap_or_default();
            let delivery = Delivery {
                body: message.body.as_deref().unwrap_or_default(),
                subscription: attribute(&message, "subscription"),
                received_at: received_at(&message).unwrap_or_else(Timestamp::now),
            };
            let applied =
                timeout_at(deadline, apply(ingest, default_registry, delivery, deadline)).await;
            let reason = match applied.unwrap_or_else(|_| Err("the time is up".to_owned())) {
                Ok(_) => return None,
                Err(reason) => reason,
            };
            tracing::warn!(message_id, reason, "a message was not applied");
            if let Some(dead_letters) = dead_letters
                && dead_letters.take(&message, &reason, delivery.received_at).await
            {
                tracing::error!(message_id, reason, "a message has become a dead letter");
                return None;
            }
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = message_id;
            Some(failure)
        })
        .buffer_unordered(CONCURRENT_MESSAGES)
        .filter_map(std::future::ready)
        .collect()
        .await;
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failures;
    response
}

/// Applies one message, and tells how many of its events came too late to make a difference. A
/// reminder has until the deadline to settle what registries did not answer.
///
/// # Errors
/// It was not applied, or not all of it, for this reason. It can be applied again.
pub async fn apply(
    ingest: &Ingest,
    default_registry: &RegistryId,
    delivery: Delivery<'_>,
    deadline: Instant,
) -> Result<usize, String> {
    let Delivery { body, subscription, received_at } = delivery;
    let origin = match subscription {
        Some(id) => Origin::of(ingest.subscription(id).await?, received_at),
        None if is_reminder(body) => {
            let until = deadline.min(Instant::now() + TIME_FOR_QUESTIONS);
            return ingest
                .settle_questions(until)
                .await
                .map(|_| 0)
                .map_err(|error| error.to_string());
        }
        None => Origin::new(Source::Ecr, default_registry.clone(), received_at),
    };
    let report =
        ingest.ingest(&origin, body.as_bytes()).await.map_err(|error| error.to_string())?;
    match report.malformed.first() {
        None => Ok(report.too_late),
        Some(malformed) => Err(malformed.reason.clone()),
    }
}

fn attribute<'a>(message: &'a SqsMessage, name: &str) -> Option<&'a str> {
    message.message_attributes.get(name).and_then(|attribute| attribute.string_value.as_deref())
}

/// When a message came first: what it says itself, or else when it was put into the queue. It is
/// the same however often it is delivered, and from whichever queue.
fn received_at(message: &SqsMessage) -> Option<Timestamp> {
    if let Some(time) = attribute(message, RECEIVED_AT) {
        return time.parse().ok();
    }
    Timestamp::from_milliseconds(message.attributes.get("SentTimestamp")?.parse().ok()?).ok()
}

/// Whether it is what `template.yaml` has EventBridge send every five minutes.
fn is_reminder(body: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(body)
        .is_ok_and(|body| body["detail-type"] == "Ask Again")
}
