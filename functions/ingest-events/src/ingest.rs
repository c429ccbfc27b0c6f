//! A delivery of events, and the report about it.
//!
//! An event is applied; or ignored, because it is about something that the catalog does not hold;
//! or malformed, which changes nothing and is reported with the reason. The events of a delivery do
//! not affect each other. Only an error of the table ends a delivery. It can be repeated as a whole.

use std::sync::Arc;

use catalog::change::event_time;
use catalog::history::LATENESS_WINDOW;
use catalog::table::{StoreError, causes};
use catalog::writer::Applied;
use catalog::{Change, ChangeKind, Deliveries, Table, Timestamp, Writer};
use futures_util::future::{join_all, try_join_all};
use metrics::{Unit, counter, histogram};
use registries::{
    EcrClient, Registries, Registry, RegistryAddress, Source, Subscription, Subscriptions,
};
use secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::lookup::{Lookup, Lookups, Pending};
use crate::source::{Effect, Interpreted, MalformedEvent, Meaning, Origin, interpret};

/// The units of the histograms that are not counts.
pub const METRIC_UNITS: [(&str, Unit); 1] = [("EventAge", Unit::Milliseconds)];

/// Why a delivery was not applied.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// It is not a list of events. Nothing was applied.
    #[error(transparent)]
    Delivery(#[from] MalformedEvent),
    /// Some of the events may have been applied.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why there is no subscription of an id.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    #[error("the subscriptions cannot be read")]
    Unreadable(#[source] secret::Error),
    #[error("there is no subscription {0}")]
    Unknown(String),
}

/// Logs the subscriptions without lookups of what their events lack.
pub fn log_missing_registry_urls(subscriptions: &Subscriptions) {
    for subscription in subscriptions.iter().filter(|each| each.lacks_registry_url()) {
        tracing::warn!(
            subscription = subscription.id,
            source = %subscription.source,
            "the subscription has no registryUrl, so that imageSizeInBytes stays absent unless an \
             event contains it"
        );
    }
}

/// Logs that a product tests its webhook, which its user looks for.
fn log_test(origin: &Origin) {
    let subscription = origin.subscription.as_ref().map(|subscription| &subscription.id);
    tracing::info!(source = %origin.source, subscription, "received a test event");
}

/// Larger events are decoded one at a time: decoded, one may take forty times as much memory.
const LARGE_EVENT_BYTES: usize = 64 * 1024;

/// Of one delivery.
const MAX_EVENTS: usize = 1000;

/// Of all events of one delivery, each of which may be some writes. The largest of real events is the
/// execution of a lifecycle policy, which CloudTrail limits to 256 KB.
pub(crate) const MAX_CHANGES: usize = 3000;

/// Changes, and events, that are applied at the same time. Those of one repository are written
/// together.
const CONCURRENT_CHANGES: usize = 16;

/// Of the malformed events of a delivery. Each costs its sender a few bytes only.
const MAX_REASONS: usize = 10;

/// In characters.
const MAX_REASON_LENGTH: usize = 300;

/// The results of the events of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Events that were applied, now or before.
    pub applied: usize,
    /// Events about something that the catalog does not hold.
    pub ignored: usize,
    /// Events that changed nothing, or not everything, because they came after the window of
    /// lateness.
    #[serde(skip_serializing_if = "is_zero")]
    pub too_late: usize,
    /// Events that are not valid, or contain more than the catalog can hold: the first
    /// [`MAX_REASONS`].
    pub malformed: Vec<Malformed>,
    /// The number of the others.
    #[serde(skip_serializing_if = "is_zero")]
    pub further_malformed: usize,
}

impl Report {
    /// The number of events that are not valid.
    #[must_use]
    pub fn malformed_count(&self) -> usize {
        self.malformed.len() + self.further_malformed
    }

    /// Adds an event, by its number in the delivery. Returns the name of its outcome, or the error
    /// that ends the delivery.
    fn add(
        &mut self,
        number: usize,
        outcome: Result<Outcome, IngestError>,
    ) -> Result<&'static str, StoreError> {
        match outcome {
            Ok(Outcome::Applied) => {
                self.applied += 1;
                Ok("Applied")
            }
            Ok(Outcome::Ignored) => {
                self.ignored += 1;
                Ok("Ignored")
            }
            Ok(Outcome::TooLate) => {
                self.too_late += 1;
                tracing::warn!(event = number, "an event came too late to make a difference");
                Ok("TooLate")
            }
            Err(IngestError::Store(error)) if !matches!(error, StoreError::ItemTooLarge) => {
                Err(error)
            }
            Err(error) => {
                self.add_malformed(number, &error.to_string());
                Ok("Malformed")
            }
        }
    }

    fn add_malformed(&mut self, event: usize, reason: &str) {
        if self.malformed.len() == MAX_REASONS {
            self.further_malformed += 1;
            return;
        }
        // It may contain a value of the event.
        let reason: String = reason.chars().take(MAX_REASON_LENGTH).collect();
        tracing::warn!(event, reason, "an event cannot be applied");
        self.malformed.push(Malformed { event, reason });
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// An event that was not applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Malformed {
    /// The position in the delivery, from 0.
    pub event: usize,
    pub reason: String,
}

/// A delivery whose events were applied.
#[derive(Debug)]
pub struct Ingested {
    pub report: Report,
    /// What its events do not contain, and their registries return.
    pub lookups: Vec<Lookup>,
}

/// Applies events to a table.
#[derive(Debug)]
pub struct Ingest {
    writer: Writer,
    lookups: Lookups,
    deliveries: Deliveries,
    /// For an event that takes much memory to decode.
    large_event: Semaphore,
    subscriptions: Arc<Secret<Subscriptions>>,
    region: String,
}

impl Ingest {
    /// Ignores events of Amazon ECR in other regions than `region`. Manifest lookups go to the
    /// registries of the subscriptions, with their registry credentials, to Amazon ECR with its
    /// client, and to the registries at `addresses` that their events name.
    #[must_use]
    pub fn new(
        table: Table,
        region: String,
        subscriptions: Secret<Subscriptions>,
        ecr: Option<EcrClient>,
        addresses: Vec<RegistryAddress>,
    ) -> Self {
        let subscriptions = Arc::new(subscriptions);
        let registries = Registries::new(Arc::clone(&subscriptions), ecr);
        Self {
            writer: Writer::new(table.clone(), Timestamp::now),
            deliveries: Deliveries::new(table.clone()),
            lookups: Lookups::new(table, registries, addresses),
            large_event: Semaphore::new(1),
            subscriptions,
            region,
        }
    }

    /// The subscription of an id.
    pub async fn subscription(&self, id: &str) -> Result<Subscription, SubscriptionError> {
        let subscriptions =
            self.subscriptions.value().await.map_err(SubscriptionError::Unreadable)?;
        let unknown = || SubscriptionError::Unknown(id.to_owned());
        subscriptions.get(id).cloned().ok_or_else(unknown)
    }

    /// Applies the events of a delivery, as far as they contain what the catalog holds.
    pub async fn ingest(&self, origin: &Origin, delivery: &[u8]) -> Result<Ingested, IngestError> {
        let mut report = Report::default();
        // Harbor tests a webhook without a body.
        if origin.source == Source::Harbor && delivery.is_empty() {
            log_test(origin);
            report.ignored += 1;
            return Ok(Ingested { report, lookups: Vec::new() });
        }
        let received_at = self.first_received_at(origin, delivery).await?;
        if received_at < origin.received_at.minus(LATENESS_WINDOW) {
            let subscription = origin.subscription.as_ref().map(|known| &known.id);
            tracing::warn!(subscription, %received_at, "a delivery was sent again, and is ignored");
            report.ignored += 1;
            return Ok(Ingested { report, lookups: Vec::new() });
        }
        let origin = &Origin { received_at, ..origin.clone() };
        let mut lookups = Vec::new();
        let mut consumption = Consumption::default();
        let mut changes = 0;
        let mut number = 0;
        let events = events_of(origin.source, delivery)?;
        for events in events.chunks(CONCURRENT_CHANGES) {
            let mut interpreted = Vec::with_capacity(events.len());
            for event in events {
                let Interpreted { label, mut meaning } = self.interpret(event, origin).await;
                if let Ok(Meaning::Effects(effects)) = &meaning {
                    changes += effects.len();
                }
                // The sender is told to send fewer at once. What was applied can be applied again.
                if changes > MAX_CHANGES && meaning.is_ok() {
                    meaning = Err(MalformedEvent(format!(
                        "the events up to this one have more than {MAX_CHANGES} changes"
                    )));
                }
                interpreted.push((label, meaning));
            }
            let ingested = interpreted.into_iter().map(|(label, meaning)| async move {
                let mut event = IngestedEvent::default();
                let outcome = match meaning {
                    Ok(meaning) => self.ingest_event(origin, meaning, &mut event).await,
                    Err(error) => Err(error.into()),
                };
                (label, event, outcome)
            });
            for (label, event, outcome) in join_all(ingested).await {
                lookups.extend(event.lookups);
                consumption.add(&event.consumption);
                let outcome = report.add(number, outcome);
                let name = outcome.as_ref().map_or("Failed", |outcome| outcome);
                counter!("Events", "Type" => label, "Outcome" => name).increment(1);
                outcome?;
                number += 1;
            }
        }
        consumption.record();
        Ok(Ingested { report, lookups })
    }

    /// Interprets an event; a large one beside the requests of others, and one at a time.
    async fn interpret(&self, event: &RawValue, origin: &Origin) -> Interpreted {
        if event.get().len() <= LARGE_EVENT_BYTES {
            return interpret(event, origin, &self.region);
        }
        let _large = self.large_event.acquire().await;
        let (event, origin, region) = (event.to_owned(), origin.clone(), self.region.clone());
        let interpreted =
            tokio::task::spawn_blocking(move || interpret(&event, &origin, &region)).await;
        interpreted.unwrap_or_else(|error| Interpreted {
            label: "other",
            meaning: Err(MalformedEvent(format!("it cannot be decoded: {error}"))),
        })
    }

    /// When a delivery was received first. A signed one may have been sent again by others. Then its
    /// events, which contain no time, must not be newer than they were.
    async fn first_received_at(
        &self,
        origin: &Origin,
        delivery: &[u8],
    ) -> Result<Timestamp, StoreError> {
        let subscription = origin.subscription.as_ref();
        match subscription.and_then(|subscription| subscription.signed_delivery(delivery)) {
            Some(id) => self.deliveries.first_received_at(&id, origin.received_at).await,
            None => Ok(origin.received_at),
        }
    }

    async fn ingest_event(
        &self,
        origin: &Origin,
        meaning: Meaning,
        event: &mut IngestedEvent,
    ) -> Result<Outcome, IngestError> {
        let effects = match meaning {
            Meaning::Effects(effects) => effects,
            Meaning::Ignored(reason) => {
                tracing::debug!(reason, "ignored an event");
                return Ok(Outcome::Ignored);
            }
            Meaning::Test => {
                log_test(origin);
                return Ok(Outcome::Ignored);
            }
        };
        if let Some(subscription) = &origin.subscription
            && let Some(repository) =
                effects.iter().map(Effect::repository).find(|name| !subscription.may_change(name))
        {
            let id = &subscription.id;
            let error = format!("the subscription '{id}' may not change {repository}");
            return Err(MalformedEvent(error).into());
        }
        let mut changes = Vec::with_capacity(effects.len());
        for effect in effects {
            let uri = match &effect {
                Effect::Lookup(lookup) => lookup.repository_uri(),
                Effect::Change(_) => None,
            };
            let uri = uri.or_else(|| origin.repository_uri(effect.repository(), &self.region));
            let change = match effect {
                Effect::Change(change) => Some(change),
                Effect::Lookup(mut lookup) => {
                    lookup.time = event_time(lookup.time, origin.received_at);
                    let incomplete = lookup.incomplete();
                    if self.lookups.can_begin(&lookup).await {
                        event.lookups.push(lookup);
                    }
                    incomplete
                }
            };
            changes.extend(change.map(|change| (change.received_at(origin.received_at), uri)));
        }
        let mut outcome = Outcome::Applied;
        for changes in changes.chunks(CONCURRENT_CHANGES) {
            let applied =
                changes.iter().map(|(change, uri)| apply(&self.writer, change, uri.as_deref()));
            for ((change, _), applied) in changes.iter().zip(try_join_all(applied).await?) {
                event.consumption.add(&Consumption::new(change.time, applied));
                if applied.too_late {
                    outcome = Outcome::TooLate;
                }
            }
        }
        Ok(outcome)
    }

    /// Completes lookups until the time is up. Those that may be completed later are kept.
    pub async fn complete(&self, lookups: &[Lookup], until: Instant) -> Result<(), StoreError> {
        self.lookups.complete(&self.writer, lookups, until).await
    }

    /// Keeps lookups, and completes them after this function has returned. They outlive this
    /// process: what it does not complete is retried.
    pub async fn complete_later(self: &Arc<Self>, lookups: Vec<Lookup>) -> Result<(), StoreError> {
        let kept = self.lookups.keep(lookups).await?;
        let begun = self.lookups.begin(kept).await;
        if begun.is_empty() {
            return Ok(());
        }
        let ingest = Arc::clone(self);
        tokio::spawn(async move {
            let completed = ingest.lookups.complete_begun(&ingest.writer, begun).await;
            if let Err(error) = completed {
                tracing::warn!(error = causes(&error), "lookups will be retried");
            }
        });
        Ok(())
    }

    /// The pending lookups of each registry that has some, as the last round of retries counted
    /// them, and since.
    pub async fn pending_lookups(&self) -> Vec<(Registry, Pending)> {
        self.lookups.pending().await
    }

    /// Retries the pending lookups that are due, until the time is up. Returns how many are no longer
    /// pending. Calls may overlap.
    pub async fn retry_pending_lookups(&self, until: Instant) -> Result<usize, StoreError> {
        self.lookups.retry(&self.writer, until).await
    }
}

/// Applies a change, and the URI of its repository unless one is known. If the address of a registry
/// changes, reconciliation replaces the URI.
pub(crate) async fn apply(
    writer: &Writer,
    change: &Change,
    uri: Option<&str>,
) -> Result<Applied, StoreError> {
    let mut applied = writer.apply(change).await?;
    if applied.lacks_uri
        && let Some(uri) = uri
    {
        let kind = ChangeKind::RepositoryLocated { uri: uri.to_owned() };
        let located = writer.apply(&Change { kind, ..change.clone() }).await?;
        applied.write_units += located.write_units;
        applied.read_units += located.read_units;
    }
    // A repeated event is no news.
    if !applied.written && !applied.too_late {
        tracing::debug!(repository = %change.repository, "a change is known");
        return Ok(applied);
    }
    tracing::info!(
        registry = %change.repository.registry,
        repository = %change.repository.name,
        time = %change.time,
        written = applied.written,
        too_late = applied.too_late,
        write_units = applied.write_units,
        read_units = applied.read_units,
        "applied a change"
    );
    Ok(applied)
}

/// What an event leaves, also if one of its changes was not applied.
#[derive(Debug, Default)]
struct IngestedEvent {
    lookups: Vec<Lookup>,
    consumption: Consumption,
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Applied,
    Ignored,
    TooLate,
}

/// What a delivery, or an event of it, consumed.
#[derive(Debug, Default)]
struct Consumption {
    oldest: Option<Timestamp>,
    write_units: f64,
    read_units: f64,
}

impl Consumption {
    fn new(time: Timestamp, applied: Applied) -> Self {
        let Applied { write_units, read_units, .. } = applied;
        Self { oldest: Some(time), write_units, read_units }
    }

    fn add(&mut self, other: &Self) {
        self.oldest = self.oldest.into_iter().chain(other.oldest).min();
        self.write_units += other.write_units;
        self.read_units += other.read_units;
    }

    /// Records one value in each histogram, however many events the delivery has: the embedded
    /// metric format accepts a hundred values of an invocation.
    fn record(&self) {
        let Some(oldest) = self.oldest else { return };
        let age = Timestamp::now().as_milliseconds() - oldest.as_milliseconds();
        // A registry's clock may be ahead.
        histogram!("EventAge").record(age.max(0) as f64);
        histogram!("EventWriteCapacity").record(self.write_units);
        histogram!("EventReadCapacity").record(self.read_units);
    }
}

/// A notification of a distribution registry.
#[derive(Deserialize)]
struct Notification<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

/// The events of a delivery, which are decoded one by one.
fn events_of(source: Source, delivery: &[u8]) -> Result<Vec<&RawValue>, MalformedEvent> {
    let delivery: &RawValue = serde_json::from_slice(delivery)
        .map_err(|error| MalformedEvent(format!("the body is not valid JSON: {error}")))?;
    let text = delivery.get();
    let events = match (source, text.as_bytes().first()) {
        (Source::Ecr, Some(b'[')) => serde_json::from_str(text)
            .map_err(|error| MalformedEvent(format!("the body is not a list: {error}")))?,
        (Source::Distribution, Some(b'{')) => {
            serde_json::from_str::<Notification>(text)
                .map_err(|error| {
                    MalformedEvent(format!("the notification has no list 'events': {error}"))
                })?
                .events
        }
        (_, Some(b'{')) => vec![delivery],
        (_, _) => return Err(MalformedEvent("the body is not a JSON object".to_owned())),
    };
    if events.len() > MAX_EVENTS {
        let error = format!("{} events are too many; the maximum is {MAX_EVENTS}", events.len());
        return Err(MalformedEvent(error));
    }
    Ok(events)
}
