//! Events in, a report out.
//!
//! An event is one of three things: applied; accepted and ignored, because it is about something
//! that the catalog does not hold; or malformed, which changes nothing and is reported with the
//! reason, while the events beside it are applied. Only a store that fails stops the work: then the
//! whole delivery is to be repeated, which harms nothing.

use std::collections::HashSet;
use std::sync::Arc;

use catalog::change::event_time;
use catalog::table::StoreError;
use catalog::writer::Applied;
use catalog::{Change, Table, Timestamp, Writer};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use metrics::{Unit, counter, histogram};
use registries::ecr::ECR_DELAY;
use registries::{Answer, Ecr, NoAnswer, Registries, Registry};
use secret::Secret;
use serde::Serialize;
use serde_json::Value;
use subscriptions::{Source, Subscription, Subscriptions};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::question::{OpenQuestions, Question};
use crate::source::{self, MalformedEvent, Meaning, Origin, Statement};

/// The units of what is recorded of each delivery; the rest are counts.
pub const METRIC_UNITS: [(&str, Unit); 1] = [("EventAge", Unit::Milliseconds)];

/// How many open questions are asked side by side.
const CONCURRENT_QUESTIONS: usize = 8;

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
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// How many events were applied, now or before.
    pub applied: usize,
    /// How many were of no concern.
    pub ignored: usize,
    /// How many came so late that they can make no difference any longer, or not all of it.
    #[serde(skip_serializing_if = "is_zero")]
    pub too_late: usize,
    /// Those that cannot be understood, or hold more than the catalog can.
    pub malformed: Vec<Malformed>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &usize) -> bool {
    *number == 0
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
    questions: OpenQuestions,
    registries: Registries,
    subscriptions: Arc<Secret<Subscriptions>>,
    region: String,
}

impl Ingest {
    /// Applies events to a table. Events of Amazon ECR of other regions are ignored. Registries are
    /// asked for what events do not tell, with the credentials of these subscriptions; Amazon ECR
    /// only if there is something to ask it with.
    #[must_use]
    pub fn new(
        table: Table,
        region: String,
        subscriptions: Secret<Subscriptions>,
        ecr: Option<Ecr>,
    ) -> Self {
        let subscriptions = Arc::new(subscriptions);
        Self {
            writer: Writer::new(table.clone(), Timestamp::now),
            questions: OpenQuestions::new(table),
            registries: Registries::new(Arc::clone(&subscriptions), ecr),
            subscriptions,
            region,
        }
    }

    /// The subscription of this id.
    ///
    /// # Errors
    /// There is none, or the subscriptions cannot be read.
    pub async fn subscription(&self, id: &str) -> Result<Subscription, String> {
        let subscriptions = self.subscriptions.value().await;
        let subscriptions =
            subscriptions.map_err(|error| format!("the subscriptions cannot be read: {error}"))?;
        subscriptions.get(id).cloned().ok_or_else(|| format!("there is no subscription {id}"))
    }

    /// Applies all events of one delivery.
    ///
    /// # Errors
    /// The delivery as a whole cannot be understood, or the store fails.
    pub async fn ingest(&self, origin: &Origin, delivery: &[u8]) -> Result<Report, IngestError> {
        let mut report = Report::default();
        let mut done = Done::default();
        for (number, event) in events_of(origin.source, delivery)?.iter().enumerate() {
            let outcome = match self.ingest_event(origin, event, &mut done).await {
                Ok(Outcome::Applied) => {
                    report.applied += 1;
                    Ok("Applied")
                }
                Ok(Outcome::Ignored) => {
                    report.ignored += 1;
                    Ok("Ignored")
                }
                Ok(Outcome::TooLate) => {
                    report.too_late += 1;
                    tracing::warn!(event = number, "an event came too late to make a difference");
                    Ok("TooLate")
                }
                Err(IngestError::Store(error)) if !matches!(error, StoreError::ItemTooLarge) => {
                    Err(error)
                }
                Err(error) => {
                    let reason = error.to_string();
                    tracing::warn!(event = number, reason, "an event cannot be applied");
                    report.malformed.push(Malformed { event: number, reason });
                    Ok("Malformed")
                }
            };
            let event_type = source::event_type(origin.source, event);
            let outcome_name = outcome.as_ref().map_or("Failed", |outcome| outcome);
            counter!("Events", "Type" => event_type, "Outcome" => outcome_name).increment(1);
            outcome?;
        }
        done.record();
        Ok(report)
    }

    async fn ingest_event(
        &self,
        origin: &Origin,
        event: &Value,
        done: &mut Done,
    ) -> Result<Outcome, IngestError> {
        let statements = match source::interpret(event, origin, &self.region)? {
            Meaning::Statements(statements) => statements,
            Meaning::Ignored(reason) => {
                tracing::debug!(reason, "ignored an event");
                return Ok(Outcome::Ignored);
            }
        };
        let mut outcome = Outcome::Applied;
        for statement in statements {
            let change = match statement {
                Statement::Change(change) => Some(change),
                Statement::Push(mut question) => {
                    question.time = event_time(question.time, origin.received_at);
                    self.complete(&question).await?
                }
            };
            if let Some(change) = change {
                let change = change.received_at(origin.received_at);
                let applied = self.apply(&change).await?;
                done.add(&change, applied);
                if applied.too_late {
                    outcome = Outcome::TooLate;
                }
            }
        }
        Ok(outcome)
    }

    async fn ask(&self, question: &Question) -> Result<Answer, NoAnswer> {
        let reference = question.reference().unwrap_or_default();
        self.registries.manifest(&question.registry, &question.name, reference).await
    }

    /// The push that a question is about, as far as it is known now. A question without an answer
    /// is kept.
    async fn complete(&self, question: &Question) -> Result<Option<Change>, StoreError> {
        let (repository, reference) = (&question.repository, question.reference());
        if matches!(question.registry, Registry::Ecr(_)) && self.registries.ecr.is_none() {
            return Ok(question.known());
        }
        match self.ask(question).await {
            Ok(Answer::Manifest(digest, content)) => Ok(Some(question.answered(digest, *content))),
            Ok(Answer::None(_)) if is_early(question) => {
                self.questions.keep(question, Timestamp::now()).await?;
                Ok(question.known())
            }
            Ok(Answer::None(reason)) => {
                tracing::warn!(%repository, reference, reason, "there is no such manifest in the registry");
                Ok(question.known())
            }
            Err(error) => {
                tracing::warn!(%repository, reference, %error, "the registry does not answer now; it is asked again");
                self.questions.keep(question, Timestamp::now()).await?;
                Ok(question.known())
            }
        }
    }

    /// Asks the registries again what they did not answer before, and applies their answers, until
    /// there are no more questions, or the time is up. Tells how many questions are settled.
    ///
    /// # Errors
    /// The store fails; what was done until then is done.
    pub async fn settle_questions(&self, until: Instant) -> Result<usize, StoreError> {
        let mut settled = 0;
        let mut last = None;
        let silent = Mutex::default();
        loop {
            let questions = self.questions.list(last.as_ref()).await?;
            let work: Vec<_> =
                questions.iter().map(|question| self.settle(question, &silent, until)).collect();
            let mut outcomes = stream::iter(work).buffer_unordered(CONCURRENT_QUESTIONS);
            while let Some(is_settled) = outcomes.try_next().await? {
                settled += usize::from(is_settled);
            }
            drop(outcomes);
            match questions.into_iter().next_back() {
                Some(question) if Instant::now() <= until => last = Some(question),
                _ => return Ok(settled),
            }
        }
    }

    /// Whether a question is settled now. Registries that do not answer one question are silent:
    /// they are not asked another one in the same round. Amazon ECR may allow to ask for one
    /// repository, and not for another.
    async fn settle(
        &self,
        question: &Question,
        silent: &Mutex<HashSet<(Registry, String)>>,
        until: Instant,
    ) -> Result<bool, StoreError> {
        let name =
            if matches!(question.registry, Registry::Ecr(_)) { question.name.as_str() } else { "" };
        let asked = (question.registry.clone(), name.to_owned());
        if Instant::now() > until || silent.lock().await.contains(&asked) {
            return Ok(false);
        }
        match self.ask(question).await {
            Ok(Answer::Manifest(digest, content)) => {
                self.apply(&question.answered(digest, *content)).await?;
            }
            Ok(Answer::None(_)) if is_early(question) => return Ok(false),
            Ok(Answer::None(_)) => {}
            Err(error) => {
                tracing::info!(registry = ?question.registry, %error, "a registry does not answer yet");
                silent.lock().await.insert(asked);
                return Ok(false);
            }
        }
        self.questions.forget(question).await?;
        Ok(true)
    }

    async fn apply(&self, change: &Change) -> Result<Applied, StoreError> {
        let applied = self.writer.apply(change).await?;
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
}

/// What became of an event.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Applied,
    Ignored,
    TooLate,
}

/// Whether Amazon ECR may not show yet what was pushed.
fn is_early(question: &Question) -> bool {
    let age = Timestamp::now().as_milliseconds() - question.time.as_milliseconds();
    matches!(question.registry, Registry::Ecr(_)) && age < ECR_DELAY.as_millis() as i64
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
fn events_of(source: Source, delivery: &[u8]) -> Result<Vec<Value>, MalformedEvent> {
    let delivery: Value = serde_json::from_slice(delivery)
        .map_err(|error| MalformedEvent(format!("the body is not valid JSON: {error}")))?;
    match (source, delivery) {
        (Source::Ecr, Value::Array(events)) => Ok(events),
        (Source::Distribution, Value::Object(mut envelope)) => match envelope.remove("events") {
            Some(Value::Array(events)) => Ok(events),
            _ => Err(MalformedEvent("the notification has no list 'events'".to_owned())),
        },
        (_, event @ Value::Object(_)) => Ok(vec![event]),
        (_, _) => Err(MalformedEvent("the body is not a JSON object".to_owned())),
    }
}
