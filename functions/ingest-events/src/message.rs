//! A message of the event queue.

use std::time::Duration;

use catalog::RegistryId;
use catalog::table::StoreError;
use events::Message;
use registries::Source;
use tokio::time::Instant;

use crate::ingest::{Ingest, IngestError, Ingested, SubscriptionError};
use crate::source::Origin;

/// How long one message may retry pending lookups, within the function's timeout in
/// `template.yaml`.
const RETRY_TIMEOUT: Duration = Duration::from_secs(45);

/// How long the lookups of one message may take. Those that take longer are retried later.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a message was not applied, or not all of it. It can be applied again.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    #[error(transparent)]
    Subscription(#[from] SubscriptionError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The reason of the first event that was not applied.
    #[error("{0}")]
    Malformed(String),
    #[error("the invocation has reached its deadline")]
    DeadlineExceeded,
}

/// Applies a message. Returns how many of its events came too late to make a difference.
pub async fn apply_message(
    ingest: &Ingest,
    default_registry: &RegistryId,
    message: &Message,
    deadline: Instant,
) -> Result<usize, MessageError> {
    if message.retries_pending_lookups() {
        let until = deadline.min(Instant::now() + RETRY_TIMEOUT);
        ingest.retry_pending_lookups(until).await?;
        return Ok(0);
    }
    let origin = match &message.subscription {
        Some(id) => {
            let subscription = ingest.subscription(id).await?;
            Origin::from_subscription(subscription, message.received_at)
        }
        None => Origin::new(Source::Ecr, default_registry.clone(), message.received_at),
    };
    apply_delivery(ingest, &origin, message.body.as_bytes(), deadline).await
}

/// Applies a delivery, all of whose events must be applied, and completes its lookups or keeps them.
/// Returns how many events came too late to make a difference.
pub async fn apply_delivery(
    ingest: &Ingest,
    origin: &Origin,
    delivery: &[u8],
    deadline: Instant,
) -> Result<usize, MessageError> {
    let Ingested { report, lookups } = ingest.ingest(origin, delivery).await?;
    // The second half of the time is for keeping the lookups.
    let now = Instant::now();
    let until = now + LOOKUP_TIMEOUT.min(deadline.saturating_duration_since(now) / 2);
    ingest.complete(&lookups, until).await?;
    match report.malformed.into_iter().next() {
        None => Ok(report.too_late),
        Some(malformed) => Err(MessageError::Malformed(malformed.reason)),
    }
}
