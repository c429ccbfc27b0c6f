//! A message of the event queue.

use std::time::Duration;

use catalog::RegistryId;
use catalog::table::StoreError;
use events::Message;
use registries::Source;
use tokio::time::Instant;

use crate::ingest::{Ingest, IngestError, Ingested, SubscriptionError};
use crate::lookup::Lookup;
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

/// A message whose events were applied, as far as they contain what the catalog holds.
#[derive(Debug, Default)]
pub struct AppliedMessage {
    /// Events that came too late to make a difference.
    too_late: usize,
    /// The reason of the first event that was not applied.
    malformed: Option<String>,
    lookups: Vec<Lookup>,
    /// Whether it requests a retry of pending lookups.
    retries_pending_lookups: bool,
}

/// Applies the events of a message.
pub async fn apply_message(
    ingest: &Ingest,
    default_registry: &RegistryId,
    message: &Message,
) -> Result<AppliedMessage, MessageError> {
    if message.retries_pending_lookups() {
        return Ok(AppliedMessage { retries_pending_lookups: true, ..AppliedMessage::default() });
    }
    let origin = match &message.subscription {
        Some(id) => {
            let subscription = ingest.subscription(id).await?;
            Origin::from_subscription(subscription, message.received_at)
        }
        None => Origin::new(Source::Ecr, default_registry.clone(), message.received_at),
    };
    apply_delivery(ingest, &origin, message.body.as_bytes()).await
}

/// Applies the events of a delivery.
pub async fn apply_delivery(
    ingest: &Ingest,
    origin: &Origin,
    delivery: &[u8],
) -> Result<AppliedMessage, MessageError> {
    let Ingested { report, lookups } = ingest.ingest(origin, delivery).await?;
    let malformed = report.malformed.into_iter().next().map(|malformed| malformed.reason);
    let too_late = report.too_late;
    Ok(AppliedMessage { too_late, malformed, lookups, retries_pending_lookups: false })
}

impl AppliedMessage {
    /// Completes its lookups, or keeps them. All of its events must be applied. Returns how many
    /// came too late to make a difference.
    pub async fn complete(self, ingest: &Ingest, deadline: Instant) -> Result<usize, MessageError> {
        let now = Instant::now();
        if self.retries_pending_lookups {
            ingest.retry_pending_lookups(deadline.min(now + RETRY_TIMEOUT)).await?;
        }
        // The second half of the time is for keeping the lookups.
        let left = deadline.saturating_duration_since(now) / 2;
        ingest.complete(&self.lookups, now + LOOKUP_TIMEOUT.min(left)).await?;
        match self.malformed {
            None => Ok(self.too_late),
            Some(reason) => Err(MessageError::Malformed(reason)),
        }
    }
}
