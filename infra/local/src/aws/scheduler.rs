//! The periodic work that DynamoDB and EventBridge do on AWS.

use std::sync::Arc;
use std::time::Duration;

use catalog::table::causes;
use ingest_events::Ingest;
use ingest_events::lookup::LOOKUPS_TIMEOUT;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::dynamodb::Engine;

const EXPIRY_INTERVAL: Duration = Duration::from_hours(1);

const RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// Removes expired items.
pub async fn remove_expired(engine: Engine) {
    let mut interval = interval(EXPIRY_INTERVAL);
    loop {
        interval.tick().await;
        match engine.remove_expired().await {
            Ok(0) => {}
            Ok(items) => tracing::info!(items, "removed expired items"),
            Err(error) => {
                tracing::warn!(error = causes(&error), "expired items cannot be removed");
            }
        }
    }
}

/// Retries the pending lookups, also those of earlier processes.
pub async fn retry_pending_lookups(ingest: Arc<Ingest>) {
    let mut interval = interval(RETRY_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // A round may take longer than the interval, for the registries that are slow.
        tokio::spawn(retry(Arc::clone(&ingest)));
    }
}

async fn retry(ingest: Arc<Ingest>) {
    match ingest.retry_pending_lookups(Instant::now() + LOOKUPS_TIMEOUT).await {
        Ok(0) => {}
        Ok(lookups) => tracing::info!(lookups, "completed pending lookups"),
        Err(error) => {
            tracing::warn!(error = causes(&error), "pending lookups cannot be retried");
        }
    }
}
