//! The metrics, in Prometheus's text format.
//!
//! The code records through the facade `metrics`, under the names of CloudWatch's metrics, and in
//! milliseconds. Here they have names after Prometheus's rules, and seconds. What is a state, and
//! not a sum since the start, is written when it is requested.
//!
//! <https://prometheus.io/docs/practices/naming/>

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::Timestamp;
use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Label, Level, Metadata, Recorder,
    SharedString, Unit,
};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use super::{Images, RegistryLookups};
use crate::aws::reconcile_schedule::ReconcileSchedule;

/// The media type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How often the values of histograms are put into their buckets, without a request for them.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// A counter: its name in the code, its name and its labels for Prometheus, and its help.
struct CounterName(&'static str, &'static str, &'static [&'static str], &'static str);

/// The labels have the order of those in the code. Each has few values, whatever is sent.
const COUNTERS: [CounterName; 10] = [
    CounterName("Requests", "image_catalog_requests_total", &[], "Requests of the API."),
    CounterName(
        "Errors",
        "image_catalog_request_errors_total",
        &["error"],
        "Requests of the API that were refused or failed, by the name of the error.",
    ),
    CounterName(
        "ForeignRequests",
        "image_catalog_foreign_requests_total",
        &[],
        "Requests of web pages of other sites, which were refused before they were read.",
    ),
    CounterName(
        "Deliveries",
        "image_catalog_deliveries_total",
        &["source", "status"],
        "Deliveries of events, by the status of the response; 400 also if an event is malformed, \
         while the others are applied.",
    ),
    CounterName(
        "SourceEvents",
        "image_catalog_events_total",
        &["source", "outcome"],
        "Events, by what became of them: applied, ignored, too_late or malformed.",
    ),
    CounterName(
        "Lookups",
        "image_catalog_lookups_total",
        &["outcome"],
        "Manifest lookups, by their outcome: Found, NotFound, or Unavailable, which is retried.",
    ),
    CounterName(
        "LookupsDropped",
        "image_catalog_lookups_dropped_total",
        &[],
        "Lookups that were left to reconciliation, because too many of their registry are pending.",
    ),
    CounterName(
        "RepositoriesReconciled",
        "image_catalog_repositories_reconciled_total",
        &[],
        "Repositories that were reconciled with their registry.",
    ),
    CounterName(
        "Drift",
        "image_catalog_drift_total",
        &["kind"],
        "Differences between the catalog and a registry that reconciliation found, by kind.",
    ),
    CounterName(
        "DriftNotRepaired",
        "image_catalog_drift_not_repaired_total",
        &["kind"],
        "Differences that reconciliation could not repair, by kind.",
    ),
];

/// A histogram: its name in the code, where it is in milliseconds, its name for Prometheus, its
/// buckets and its help.
struct HistogramName(&'static str, &'static str, &'static [f64], &'static str);

const HISTOGRAMS: [HistogramName; 2] = [
    HistogramName(
        "Latency",
        "image_catalog_request_duration_seconds",
        &[
            0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
            2.5, 5.0, 10.0,
        ],
        "How long requests of the API were processed.",
    ),
    HistogramName(
        "EventAge",
        "image_catalog_event_age_seconds",
        &[0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 604_800.0],
        "The age of the oldest event of each delivery when it was applied.",
    ),
];

/// The names of gauges, and their helps.
const GAUGES: [(&str, &str); 16] = [
    ("image_catalog_build_info", "1, with the version of the program."),
    ("process_start_time_seconds", "When the process started, in seconds since 1970."),
    ("image_catalog_pending_lookups", "Manifest lookups that are pending, by registry."),
    (
        "image_catalog_pending_lookups_oldest_timestamp_seconds",
        "The time of the first push among the pending lookups of a registry.",
    ),
    (
        "image_catalog_reconcile_last_timestamp_seconds",
        "When the last reconciliation with a registry ended.",
    ),
    (
        "image_catalog_reconcile_last_duration_seconds",
        "How long the last reconciliation with a registry took.",
    ),
    (
        "image_catalog_reconcile_last_success",
        "Whether all repositories of the registry could be reconciled the last time.",
    ),
    (
        "image_catalog_reconcile_last_drift",
        "Differences that the last reconciliation with a registry found.",
    ),
    (
        "image_catalog_reconcile_last_not_repaired",
        "Differences that the last reconciliation with a registry could not repair.",
    ),
    (
        "image_catalog_reconcile_last_failed_repositories",
        "Repositories that the last reconciliation with a registry could not reconcile.",
    ),
    (
        "image_catalog_reconcile_next_timestamp_seconds",
        "When the next reconciliation with a registry is due, unless one is in progress.",
    ),
    ("image_catalog_repositories", "Repositories with images, as of the last count."),
    ("image_catalog_images", "Images, as of the last count."),
    (
        "image_catalog_images_bytes",
        "The sum of the sizes of all images, as of the last count. Layers that images share count \
         for each.",
    ),
    (
        "image_catalog_repository_images",
        "Images of each of the repositories with most images, as of the last count.",
    ),
    (
        "image_catalog_repository_images_bytes",
        "The sum of the sizes of the images of each of these repositories. Layers that images \
         share count for each.",
    ),
];

/// The metrics that the code of this process records.
#[derive(Debug, Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Records the metrics of this process from now on.
    pub fn install() -> Result<Self, BuildError> {
        let mut builder = PrometheusBuilder::new();
        for HistogramName(_, name, buckets, _) in &HISTOGRAMS {
            builder = builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)?;
        }
        let recorder = Named::new(builder.build_recorder());
        let handle = recorder.recorder.handle();
        // It fails if the process has a recorder already.
        metrics::set_global_recorder(recorder)
            .map_err(|error| metrics::SetRecorderError(error.into_inner().recorder))?;
        // Prometheus computes no increase for the first sample of a series. So this begins at 0.
        metrics::counter!("Errors", "Error" => "ServerException").increment(0);
        Ok(Self(handle))
    }

    /// Keeps the values of histograms from growing.
    pub async fn upkeep(self) {
        let mut interval = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            interval.tick().await;
            self.0.run_upkeep();
        }
    }
}

/// A recorder that gives metrics their names for Prometheus. A metric that is not named here is not
/// recorded. One without labels is found without a search, and shows 0 from the start.
struct Named {
    recorder: PrometheusRecorder,
    counters: [Option<Counter>; COUNTERS.len()],
    histograms: [Histogram; HISTOGRAMS.len()],
}

impl Named {
    fn new(recorder: PrometheusRecorder) -> Self {
        let counters = COUNTERS.map(|CounterName(_, name, labels, help)| {
            recorder.describe_counter(name.into(), None, help.into());
            let key = Key::from_static_name(name);
            labels.is_empty().then(|| recorder.register_counter(&key, &METADATA))
        });
        let histograms = HISTOGRAMS.map(|HistogramName(_, name, _, help)| {
            recorder.describe_histogram(name.into(), None, help.into());
            let key = Key::from_static_name(name);
            let seconds = recorder.register_histogram(&key, &METADATA);
            Histogram::from_arc(Arc::new(Milliseconds(seconds)))
        });
        Self { recorder, counters, histograms }
    }
}

impl Recorder for Named {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        let mut counters = COUNTERS.iter().zip(&self.counters);
        match counters.find(|(CounterName(name, ..), _)| *name == key.name()) {
            None => Counter::noop(),
            Some((_, Some(counter))) => counter.clone(),
            Some((CounterName(_, name, labels, _), None)) => {
                let labels = labels.iter().zip(key.labels());
                let labels = labels.map(|(name, label)| {
                    let (_, value) = label.clone().into_parts();
                    Label::new(*name, value)
                });
                let key = Key::from_parts(*name, labels.collect::<Vec<_>>());
                self.recorder.register_counter(&key, metadata)
            }
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut histograms = HISTOGRAMS.iter().zip(&self.histograms);
        let found = histograms.find(|(HistogramName(name, ..), _)| *name == key.name());
        found.map_or_else(Histogram::noop, |(_, histogram)| histogram.clone())
    }
}

/// Records milliseconds in a histogram of seconds.
struct Milliseconds(Histogram);

impl HistogramFn for Milliseconds {
    fn record(&self, milliseconds: f64) {
        self.0.record(milliseconds / 1000.0);
    }
}

/// The metrics that were recorded, and the state of now.
pub(super) fn render(
    metrics: Option<&Metrics>,
    since: Timestamp,
    lookups: &[RegistryLookups],
    schedule: &ReconcileSchedule,
    images: Option<Images>,
) -> String {
    // A recorder of its own contains nothing that is gone by now.
    let recorder = PrometheusBuilder::new().build_recorder();
    for (name, help) in GAUGES {
        recorder.describe_gauge(name.into(), None, help.into());
    }
    let set = |name: &'static str, labels: &[(&'static str, &str)], value: f64| {
        let labels = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned()));
        let key = Key::from_parts(name, labels.collect::<Vec<_>>());
        recorder.register_gauge(&key, &METADATA).set(value);
    };
    set("image_catalog_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    set("process_start_time_seconds", &[], seconds(since));

    let registries = schedule.registries();
    // Several subscriptions may have one registry.
    let mut pending: BTreeMap<String, (usize, Option<Timestamp>)> =
        registries.iter().map(|state| (state.target.registry.to_string(), (0, None))).collect();
    for lookups in lookups {
        let (number, oldest) = pending.entry(lookups.registry.clone()).or_default();
        *number += lookups.number;
        *oldest = oldest.iter().chain(&lookups.oldest).min().copied();
    }
    for (registry, (number, oldest)) in &pending {
        let labels = [("registry", registry.as_str())];
        set("image_catalog_pending_lookups", &labels, *number as f64);
        if let Some(oldest) = oldest {
            let name = "image_catalog_pending_lookups_oldest_timestamp_seconds";
            set(name, &labels, seconds(*oldest));
        }
    }

    for state in &registries {
        let labels = [("registry", state.target.id.as_str())];
        // It is not late while it is in progress.
        if let Some(next) = state.next.filter(|_| state.running_since.is_none()) {
            set("image_catalog_reconcile_next_timestamp_seconds", &labels, seconds(next));
        }
        let Some(last) = &state.last else { continue };
        let (started_at, ended_at) = (seconds(last.started_at), seconds(last.ended_at));
        let is_success = last.error.is_none() && last.failed == 0;
        for (name, value) in [
            ("image_catalog_reconcile_last_timestamp_seconds", ended_at),
            ("image_catalog_reconcile_last_duration_seconds", ended_at - started_at),
            ("image_catalog_reconcile_last_success", f64::from(u8::from(is_success))),
            ("image_catalog_reconcile_last_drift", last.drift as f64),
            ("image_catalog_reconcile_last_not_repaired", last.not_repaired as f64),
            ("image_catalog_reconcile_last_failed_repositories", last.failed as f64),
        ] {
            set(name, &labels, value);
        }
    }

    if let Some(Images { repositories, totals, largest }) = images {
        set("image_catalog_repositories", &[], repositories as f64);
        set("image_catalog_images", &[], totals.images as f64);
        set("image_catalog_images_bytes", &[], totals.bytes as f64);
        for (repository, totals) in &largest {
            let labels = [
                ("service", repository.service.as_str()),
                ("registry_id", repository.registry.as_str()),
                ("repository", repository.name.as_str()),
            ];
            set("image_catalog_repository_images", &labels, totals.images as f64);
            set("image_catalog_repository_images_bytes", &labels, totals.bytes as f64);
        }
    }
    let recorded = metrics.map(|Metrics(handle)| handle.render()).unwrap_or_default();
    recorded + &recorder.handle().render()
}

/// Seconds since the beginning of 1970.
fn seconds(time: Timestamp) -> f64 {
    time.as_milliseconds() as f64 / 1000.0
}
