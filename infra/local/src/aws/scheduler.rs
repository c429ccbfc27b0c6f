//! The periodic work that DynamoDB and EventBridge do on AWS.

use std::sync::Arc;
use std::time::Duration;

use catalog::Reader;
use catalog::table::causes;
use ingest_events::Ingest;
use ingest_events::lookup::LOOKUPS_TIMEOUT;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::dynamodb::Engine;
use crate::status::Status;

const EXPIRY_INTERVAL: Duration = Duration::from_hours(1);

const RETRY_INTERVAL: Duration = Duration::from_secs(30);

const COUNT_INTERVAL: Duration = Duration::from_hours(1);

/// How much longer than a page of a count the pause after it is.
const COUNT_PAUSE: u32 = 4;

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

/// Counts the images of all repositories, for the metrics. A page takes the engine some
/// milliseconds, and the pause after it is longer, so that requests do not wait for it.
pub async fn count_images(reader: Reader, status: Arc<Status>) {
    let mut interval = interval(COUNT_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let mut count = reader.count_images();
        let counted = loop {
            let begun = Instant::now();
            match count.read().await {
                Ok(true) => sleep(begun.elapsed() * COUNT_PAUSE).await,
                counted => break counted,
            }
        };
        match counted {
            Ok(_) => status.set_images(count.finish()),
            Err(error) => tracing::warn!(error = causes(&error), "images cannot be counted"),
        }
    }
}
