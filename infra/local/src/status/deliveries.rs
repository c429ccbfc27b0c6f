//! What became of deliveries since the start of the process, by source and subscription.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use catalog::Timestamp;
use ingest_events::ingest::Report;
use metrics::{Counter, counter};
use registries::{Source, Subscriptions};
use serde::Serialize;

use super::cut;

/// The last refusals that are kept of each sender.
const MAX_REFUSALS: usize = 10;

/// Who sends deliveries. There are as many as subscriptions and sources.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Sender {
    /// `unknown` if the address is of no source.
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<String>,
}

/// What became of the deliveries of each sender.
#[derive(Debug)]
pub struct Deliveries(Mutex<BTreeMap<Sender, Received>>);

/// The deliveries of a sender.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Received {
    /// The last one that was not refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_delivery: Option<Timestamp>,
    /// Those that were not refused.
    deliveries: u64,
    /// Events of them.
    applied: usize,
    ignored: usize,
    too_late: usize,
    malformed: usize,
    /// Deliveries.
    refused: u64,
    /// The reasons of the last deliveries that were refused, or that have malformed events, the
    /// newest first.
    refusals: VecDeque<Refusal>,
}

/// A delivery that was refused, or of which events were not applied.
#[derive(Debug, Clone, Serialize)]
struct Refusal {
    time: Timestamp,
    /// Of the response.
    status: u16,
    reason: String,
}

impl Sender {
    /// `source` is `None` if the address is of no source.
    #[must_use]
    pub fn new(source: Option<Source>, subscription: Option<&str>) -> Self {
        let subscription = subscription.map(str::to_owned);
        Self { source: source.map_or("unknown", Source::as_str), subscription }
    }

    #[must_use]
    pub fn subscription(&self) -> Option<&str> {
        self.subscription.as_deref()
    }
}

impl Deliveries {
    /// None yet. Each subscription is a sender.
    #[must_use]
    pub fn new(subscriptions: &Subscriptions) -> Self {
        let senders = subscriptions.iter().map(|subscription| {
            let sender = Sender::new(Some(subscription.source), Some(&subscription.id));
            // Prometheus computes no increase for the first sample of a series. So these begin at
            // 0.
            let statuses =
                [StatusCode::OK, StatusCode::UNAUTHORIZED, StatusCode::SERVICE_UNAVAILABLE];
            statuses.into_iter().for_each(|status| counted(&sender, status).increment(0));
            (sender, Received::default())
        });
        Self(Mutex::new(senders.collect()))
    }

    fn senders(&self) -> MutexGuard<'_, BTreeMap<Sender, Received>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a delivery that was applied, as far as its events are valid.
    pub fn add(&self, sender: Sender, report: &Report, status: StatusCode) {
        counted(&sender, status).increment(1);
        let events = [
            ("applied", report.applied),
            ("ignored", report.ignored),
            ("too_late", report.too_late),
            ("malformed", report.malformed_count()),
        ];
        for (outcome, number) in events.into_iter().filter(|(_, number)| *number > 0) {
            counter!("SourceEvents", "Source" => sender.source, "Outcome" => outcome)
                .increment(number as u64);
        }
        let now = Timestamp::now();
        let mut senders = self.senders();
        let received = senders.entry(sender).or_default();
        received.last_delivery = Some(now);
        received.deliveries += 1;
        received.applied += report.applied;
        received.ignored += report.ignored;
        received.too_late += report.too_late;
        received.malformed += report.malformed_count();
        if let Some(malformed) = report.malformed.first() {
            received.refuse(now, status, &malformed.reason);
        }
    }

    /// Counts a delivery that was refused.
    pub fn refuse(&self, sender: Sender, status: StatusCode, reason: &str) {
        counted(&sender, status).increment(1);
        let mut senders = self.senders();
        let received = senders.entry(sender).or_default();
        received.refused += 1;
        received.refuse(Timestamp::now(), status, reason);
    }

    /// The deliveries of each sender.
    pub(super) fn list(&self) -> Vec<(Sender, Received)> {
        let senders = self.senders();
        senders.iter().map(|(sender, received)| (sender.clone(), received.clone())).collect()
    }
}

impl Received {
    fn refuse(&mut self, time: Timestamp, status: StatusCode, reason: &str) {
        self.refusals.truncate(MAX_REFUSALS - 1);
        let (status, reason) = (status.as_u16(), cut(reason));
        self.refusals.push_front(Refusal { time, status, reason });
    }
}

/// The counter of a sender's deliveries with a response of this status.
fn counted(sender: &Sender, status: StatusCode) -> Counter {
    let status = status.as_str().to_owned();
    counter!("Deliveries", "Source" => sender.source, "Status" => status)
}
