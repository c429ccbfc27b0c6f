//! What the process knows of its own work: `GET /status`, `GET /metrics` and `GET /readyz`.
//!
//! - [`deliveries`]: what became of deliveries
//! - [`metrics`]: the metrics, in Prometheus's text format

pub mod deliveries;
pub mod metrics;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use catalog::reader::ImageTotals;
use catalog::table::causes;
use catalog::{Repository, Table, Timestamp};
use ingest_events::Ingest;
use registries::Registry;
use serde::Serialize;
use tokio::time::{Instant, timeout};

use self::deliveries::{Deliveries, Received, Sender};
use self::metrics::Metrics;
use crate::aws::reconcile_schedule::ReconcileSchedule;
use crate::reconciliation::Reconciliation;

/// The registries whose pending lookups are listed: those with most. An event can name any account
/// of Amazon ECR.
const MAX_REGISTRIES: usize = 100;

/// The repositories whose images are listed: those with most.
const MAX_REPOSITORIES: usize = 100;

/// Of a reason or an error, in characters. It may contain a value of somebody else.
const MAX_TEXT_LENGTH: usize = 300;

/// How long a check of the table counts, so that checks of many cost no more than those of one.
const CHECK_LIFETIME: Duration = Duration::from_secs(1);

/// How long a check of the table may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// What the process knows of its own work.
#[derive(Debug)]
pub struct Status {
    since: Timestamp,
    table: Table,
    pub deliveries: Deliveries,
    pub schedule: Arc<ReconcileSchedule>,
    metrics: Option<Metrics>,
    images: Mutex<Option<Images>>,
    checked: tokio::sync::Mutex<Option<(Instant, Result<(), String>)>>,
}

/// How many images there are, as of the last count.
#[derive(Debug, Clone)]
struct Images {
    repositories: usize,
    totals: ImageTotals,
    /// The repositories with most images.
    largest: Vec<(Repository, ImageTotals)>,
}

/// The response of `GET /status`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    version: &'static str,
    time: Timestamp,
    /// The start of the process, since which deliveries and events are counted.
    since: Timestamp,
    sources: Vec<SourceStatus>,
    pending_lookups: Vec<RegistryLookups>,
    registries: Vec<RegistryStatus>,
    /// Why the last reconciliations could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    table_error: Option<String>,
}

#[derive(Debug, Serialize)]
struct SourceStatus {
    #[serde(flatten)]
    sender: Sender,
    #[serde(flatten)]
    received: Received,
}

/// The pending lookups of a registry.
#[derive(Debug, Serialize)]
struct RegistryLookups {
    registry: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<String>,
    number: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RegistryStatus {
    id: String,
    registry: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    running_since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_reconcile: Option<Reconciliation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_reconcile: Option<Timestamp>,
}

impl Status {
    #[must_use]
    pub fn new(
        table: Table,
        deliveries: Deliveries,
        schedule: Arc<ReconcileSchedule>,
        metrics: Option<Metrics>,
    ) -> Self {
        let (images, checked) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { since: Timestamp::now(), table, deliveries, schedule, metrics, images, checked }
    }

    /// The response of `GET /status`.
    pub async fn response(&self, ingest: &Ingest) -> Response {
        let read = self.schedule.refresh().await;
        let sources = self.deliveries.list().into_iter();
        let registries = self.schedule.registries().into_iter();
        Response {
            version: env!("CARGO_PKG_VERSION"),
            time: Timestamp::now(),
            since: self.since,
            sources: sources.map(|(sender, received)| SourceStatus { sender, received }).collect(),
            pending_lookups: pending_lookups(ingest).await,
            registries: registries
                .map(|state| RegistryStatus {
                    id: state.target.id.clone(),
                    registry: state.target.registry.to_string(),
                    running_since: state.running_since,
                    last_reconcile: state.last,
                    next_reconcile: state.next,
                })
                .collect(),
            table_error: read.err().map(|error| cut(&causes(&error))),
        }
    }

    /// Whether the table can be read, or why not.
    pub async fn check(&self) -> Result<(), String> {
        let mut checked = self.checked.lock().await;
        if let Some((at, result)) = &*checked
            && at.elapsed() < CHECK_LIFETIME
        {
            return result.clone();
        }
        let result = match timeout(CHECK_TIMEOUT, self.table.check_format()).await {
            Ok(Ok(())) => Ok(()),
            // The causes are in the log alone: everybody may send this request.
            Ok(Err(error)) => {
                tracing::warn!(error = causes(&error), "the table cannot be read");
                Err(error.to_string())
            }
            Err(_) => Err("the table does not respond".to_owned()),
        };
        *checked = Some((Instant::now(), result.clone()));
        result
    }

    /// The response of `GET /metrics`.
    pub async fn metrics(&self, ingest: &Ingest) -> String {
        let lookups = pending_lookups(ingest).await;
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner).clone();
        metrics::render(self.metrics.as_ref(), self.since, &lookups, &self.schedule, images)
    }

    /// Keeps a count of the images of all repositories.
    pub fn set_images(&self, images: impl IntoIterator<Item = (Repository, ImageTotals)>) {
        let mut largest: Vec<_> = images.into_iter().collect();
        largest.sort_by_key(|(_, totals)| std::cmp::Reverse(totals.images));
        let repositories = largest.len();
        let mut totals = ImageTotals::default();
        for (_, of_repository) in &largest {
            totals.add(*of_repository);
        }
        largest.truncate(MAX_REPOSITORIES);
        let images = Images { repositories, totals, largest };
        *self.images.lock().unwrap_or_else(PoisonError::into_inner) = Some(images);
    }
}

/// The beginning of a text.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(MAX_TEXT_LENGTH).collect()
}

/// The registries with most pending lookups.
async fn pending_lookups(ingest: &Ingest) -> Vec<RegistryLookups> {
    let subscription = |registry: &Registry| match registry {
        Registry::Oci(address) => address.subscription.clone(),
        Registry::Ecr { .. } => None,
    };
    let pending = ingest.pending_lookups().await.into_iter();
    let mut pending: Vec<_> = pending
        .map(|(registry, pending)| RegistryLookups {
            registry: registry.to_string(),
            subscription: subscription(&registry),
            number: pending.number,
            oldest: pending.oldest,
        })
        .collect();
    pending.sort_by(|one, other| {
        let order = |lookups: &RegistryLookups| std::cmp::Reverse(lookups.number);
        order(one).cmp(&order(other)).then_with(|| one.registry.cmp(&other.registry))
    });
    pending.truncate(MAX_REGISTRIES);
    pending
}
