//! Events in, a report out.
//!
//! An event is one of three things: applied; accepted and ignored, because it is about something
//! that the catalog does not hold; or malformed, which changes nothing and is reported with the
//! reason, while the events beside it are applied. Only a store that fails stops the work: then the
//! whole delivery is to be repeated, which harms nothing.

use catalog::table::StoreError;
use catalog::writer::Applied;
use catalog::{Change, RegistryId, Timestamp, Writer};
use metrics::{Unit, counter, histogram};
use serde::Serialize;
use serde_json::Value;

use crate::manifest::{ManifestLocation, Registries};
use crate::{distribution, ecr};

/// The units of what is recorded of each delivery; the rest are counts.
pub const METRIC_UNITS: [(&str, Unit); 1] = [("EventAge", Unit::Milliseconds)];

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
        let mut done = Done::default();
        for (number, event) in events_of(source, delivery)?.iter().enumerate() {
            let outcome = match self.ingest_event(source, event, &mut done).await {
                Ok(true) => {
                    report.applied += 1;
                    Ok("Applied")
                }
                Ok(false) => {
                    report.ignored += 1;
                    Ok("Ignored")
                }
                Err(IngestError::Store(error)) if !matches!(error, StoreError::ItemTooLarge) => Err(error),
                Err(error) => {
                    let reason = error.to_string();
                    tracing::warn!(event = number, reason, "an event cannot be applied");
                    report.malformed.push(Malformed { event: number, reason });
                    Ok("Malformed")
                }
            };
            let event_type = match source {
                Source::Ecr => ecr::event_type(event),
                Source::Distribution(_) => distribution::event_type(event),
            };
            let outcome_name = outcome.as_ref().map_or("Failed", |outcome| outcome);
            counter!("Events", "Type" => event_type, "Outcome" => outcome_name).increment(1);
            outcome?;
        }
        done.record();
        Ok(report)
    }

    /// Whether the event was applied, or else ignored.
    async fn ingest_event(
        &self,
        source: &Source,
        event: &Value,
        done: &mut Done,
    ) -> Result<bool, IngestError> {
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
            done.add(change, self.apply(change).await?);
        }
        Ok(true)
    }

    async fn apply(&self, change: &Change) -> Result<Applied, StoreError> {
        let applied = self.writer.apply(change).await?;
        tracing::info!(
            registry = %change.repository.registry,
            repository = %change.repository.name,
            time = %change.time,
            written = applied.written,
            write_units = applied.write_units,
            read_units = applied.read_units,
            "applied a change"
        );
        Ok(applied)
    }
}

/// What a delivery did to the table.
#[derive(Default)]
struct Done {
    oldest: Option<Timestamp>,
    write_units: f64,
    read_units: f64,
}

impl Done {
    fn add(&mut self, change: &Change, applied: Applied) {
        self.oldest = Some(self.oldest.map_or(change.time, |oldest| oldest.min(change.time)));
        self.write_units += applied.write_units;
        self.read_units += applied.read_units;
    }

    /// Counts it. A delivery is one value of each distribution, however many events it has: the
    /// embedded metric format takes a hundred of an invocation.
    fn record(&self) {
        let Some(oldest) = self.oldest else { return };
        let age = Timestamp::now().as_milliseconds() - oldest.as_milliseconds();
        // A registry's clock may be ahead.
        histogram!("EventAge").record(age.max(0) as f64);
        histogram!("ConsumedWriteCapacity").record(self.write_units);
        histogram!("ConsumedReadCapacity").record(self.read_units);
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
