//! A batch of messages from the event queue.

use catalog::RegistryId;
use catalog::table::causes;
use events::Message;
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use crate::dead_letter::DeadLetterQueue;
use crate::ingest::Ingest;
use crate::message::{MessageError, apply_message};

/// Messages that are applied at the same time: a whole batch, as `template.yaml` defines it.
const CONCURRENT_MESSAGES: usize = 10;

/// A message as SQS delivers it.
#[derive(Debug, Clone)]
pub struct ReceivedMessage {
    pub id: String,
    pub message: Message,
    /// How often it was received, this time included.
    pub receive_count: u32,
}

/// Applies the messages of a batch, each by itself. Returns the ids of those to be delivered again.
/// A message that is not applied at the deadline is one of them. The lookups of all messages begin
/// together, so that Amazon ECR receives few requests for many images.
pub async fn apply_batch(
    ingest: &Ingest,
    default_registry: &RegistryId,
    dead_letters: &DeadLetterQueue,
    batch: Vec<ReceivedMessage>,
    deadline: Instant,
) -> Vec<String> {
    let applied: Vec<_> = stream::iter(batch)
        .map(async |received| {
            let applied = apply_message(ingest, default_registry, &received.message);
            let applied = timeout_at(deadline, applied).await;
            (received, applied.unwrap_or(Err(MessageError::DeadlineExceeded)))
        })
        .buffer_unordered(CONCURRENT_MESSAGES)
        .collect()
        .await;
    stream::iter(applied)
        .map(async |(ReceivedMessage { id, message, receive_count }, applied)| {
            let completed = async { applied?.complete(ingest, deadline).await };
            let completed = timeout_at(deadline, completed).await;
            let error = completed.unwrap_or(Err(MessageError::DeadlineExceeded)).err()?;
            let reason = causes(&error);
            tracing::warn!(message_id = id, reason, "a message was not applied");
            if dead_letters.take(&message, receive_count, &reason).await {
                tracing::error!(message_id = id, reason, "a message has become a dead letter");
                return None;
            }
            Some(id)
        })
        .buffer_unordered(CONCURRENT_MESSAGES)
        .filter_map(std::future::ready)
        .collect()
        .await
}
