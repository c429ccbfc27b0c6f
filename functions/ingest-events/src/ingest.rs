//! Events in, a report out.
//!
//! An event is one of three things: applied; accepted and ignored, because it is about something
//! that the catalog does not hold; or malformed, which changes nothing and is reported with the
//! reason, while the events beside it are applied. Only a store that fails stops the work: then the
//! whole delivery is to be repeated, which harms nothing.

use catalog::table::StoreError;
use catalog::{Change, RegistryId, Writer};
use serde::Serialize;
use serde_json::Value;

use crate::manifest::{ManifestLocation, Registries};
use crate::{distribution, ecr};

/// Where a delivery comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Amazon ECR: an EventBridge event, a CloudTrail record, or a list of them.
    Ecr,
    /// A CNCF distribution registry's notification, and the registry id that it stands for here.
    Distribution(RegistryId),
}

/// What an event means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// It changes the catalog.
    Changes(Vec<Change>),
    /// It changes the catalog; what it leaves out, the manifest tells.
    Incomplete(Box<Change>, ManifestLocation),
    /// It is fine, but of no concern here, for this reason.
    Ignored(String),
}

/// An event that cannot be understood, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedEvent(pub String);

/// Why a delivery was not dealt with.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// It is no list of events at all; nothing was applied.
    #[error(transparent)]
    Delivery(#[from] MalformedEvent),
    /// The store failed; some of the events may have been applied, and all of them can be repeated.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// How many events were applied, now or before.
    pub applied: usize,
    /// How many were of no concern.
    pub ignored: usize,
    /// Those that cannot be understood, or hold more than the catalog can.
    pub malformed: Vec<Malformed>,
}

/// An event that was not applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Malformed {
    /// Its place in the delivery, from 0.
    pub event: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Applies events.
#[derive(Debug)]
pub struct Ingest {
    writer: Writer,
    registries: Registries,
    region: String,
}

impl Ingest {
    /// Applies events through this writer. Events of other AWS regions are ignored.
    #[must_use]
    pub fn new(writer: Writer, region: String) -> Self {
        Self { writer, registries: Registries::new(), region }
    }

    /// Applies all events of one delivery.
    ///
    /// # Errors
    /// The delivery as a whole cannot be understood, or the store fails.
    pub async fn ingest(&self, source: &Source, delivery: &[u8]) -> Result<Report, IngestError> {
        let mut report = Report::default();
        for (number, event) in events_of(source, delivery)?.iter().enumerate() {
            match self.ingest_event(source, event).await {
                Ok(true) => report.applied += 1,
                Ok(false) => report.ignored += 1,
                Err(IngestError::Store(error)) if !matches!(error, StoreError::ItemTooLarge) => {
                    return Err(error.into());
                }
                Err(error) => {
                    let reason = error.to_string();
                    tracing::warn!(event = number, reason, "an event cannot be applied");
                    report.malformed.push(Malformed { event: number, reason });
                }
            }
        }
        Ok(report)
    }

    /// Whether the event was applied, or else ignored.
    async fn ingest_event(&self, source: &Source, event: &Value) -> Result<bool, IngestError> {
        let meaning = match source {
            Source::Ecr => ecr::interpret(event, &self.region)?,
            Source::Distribution(registry) => distribution::interpret(event, registry)?,
        };
        let changes = match meaning {
            Meaning::Changes(changes) => changes,
            Meaning::Incomplete(change, location) => vec![self.registries.complete(*change, &location).await],
            Meaning::Ignored(reason) => {
                tracing::debug!(reason, "ignored an event");
                return Ok(false);
            }
        };
        for change in &changes {
            self.apply(change).await?;
        }
        Ok(true)
    }

    async fn apply(&self, change: &Change) -> Result<(), StoreError> {
        let applied = self.writer.apply(change).await?;
        tracing::info!(
            repository = %change.repository,
            time = %change.time,
            written = applied.written,
            write_units = applied.write_units,
            read_units = applied.read_units,
            "applied a change"
        );
        Ok(())
    }
}

/// The events of a delivery.
fn events_of(source: &Source, delivery: &[u8]) -> Result<Vec<Value>, MalformedEvent> {
    let delivery: Value = serde_json::from_slice(delivery)
        .map_err(|error| MalformedEvent(format!("the body is not valid JSON: {error}")))?;
    match (source, delivery) {
        (Source::Ecr, Value::Array(events)) => Ok(events),
        (Source::Ecr, event) => Ok(vec![event]),
        (Source::Distribution(_), Value::Object(mut envelope)) => match envelope.remove("events") {
            Some(Value::Array(events)) => Ok(events),
            _ => Err(MalformedEvent("the notification has no list 'events'".to_owned())),
        },
        (Source::Distribution(_), _) => {
            Err(MalformedEvent("the notification is not a JSON object".to_owned()))
        }
    }
}

/// Reads one part of an event; an error names it.
pub(crate) fn parse<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, MalformedEvent>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| MalformedEvent(format!("'{name}' is not valid: {error}")))
}
