//! The log and the metrics of a function, on its standard output, which Lambda sends to
//! CloudWatch: log lines as JSON objects, and metrics in CloudWatch's embedded metric format.
//!
//! The code writes through the facades `tracing` and `metrics`. Only a function's main sets up
//! where they go. In other programs a metric has no effect.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `STACK_NAME` | the value of the metrics' dimension `Stack` |
//! | `LOG_LEVEL` | the lowest level that is logged, `INFO` by default |
//!
//! Lambda drops lines below its own level, and takes a line without one, such as metrics, for
//! `INFO`. So the level of the log is not Lambda's.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::env;
use std::io;

use metrics::Unit;
use metrics_cloudwatch_embedded::{Builder, Collector};
use tracing::level_filters::LevelFilter;

use crate::{Error, variable};

/// The namespace of all metrics.
pub const NAMESPACE: &str = "ImageCatalog";

/// Collects the metrics of an invocation.
#[derive(Clone, Copy)]
pub struct Telemetry {
    collector: &'static Collector,
}

impl Telemetry {
    /// Sets up the log and the metrics of this process, once. `units` are those of the histograms
    /// that are not counts.
    pub fn init(units: &[(&'static str, Unit)]) -> Result<Self, Error> {
        let level = match env::var("LOG_LEVEL") {
            Ok(level) => level.parse().map_err(|_| format!("LOG_LEVEL is {level}"))?,
            Err(_) => LevelFilter::INFO,
        };
        tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_max_level(level)
            .init();
        let collector = Builder::new()
            .cloudwatch_namespace(NAMESPACE)
            .with_dimension("Stack", variable("STACK_NAME")?)
            .init()?;
        for (name, unit) in units {
            metrics::describe_histogram!(*name, *unit, "");
        }
        Ok(Self { collector })
    }

    /// Writes the metrics that were collected since the last call. Every invocation ends with it:
    /// Lambda may freeze the process afterwards, and never thaw it.
    pub fn flush(self) {
        if let Err(error) = self.collector.flush(io::stdout().lock()) {
            tracing::warn!(%error, "the metrics cannot be written");
        }
    }
}
