//! What a Lambda function says of itself on its standard output, which Lambda hands to CloudWatch:
//! log lines, each a JSON object, and metrics in CloudWatch's embedded metric format.
//!
//! Code that has something to log or to count uses the facades `tracing` and `metrics`. Only the
//! functions' `main` sets up where that goes; elsewhere, as in the process for one machine,
//! counting costs nothing and goes nowhere.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `STACK_NAME` | the metrics' dimension `Stack`, by which the stacks of an account are told apart |
//! | `AWS_LAMBDA_LOG_LEVEL` | the least severe messages to log, `INFO` without it; Lambda sets it |
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::env;
use std::error::Error;
use std::io;

use metrics::Unit;
use metrics_cloudwatch_embedded::{Builder, Collector};
use tracing::level_filters::LevelFilter;

/// The namespace of all metrics.
pub const NAMESPACE: &str = "ImageCatalog";

/// Where a function's metrics gather until its invocation ends.
#[derive(Clone, Copy)]
pub struct Telemetry {
    collector: &'static Collector,
}

impl Telemetry {
    /// Sets up the log and the metrics of this process; once. Distributions that are not plain
    /// counts have these units.
    ///
    /// # Errors
    /// A variable is missing or makes no sense, or it was done before.
    pub fn init(units: &[(&'static str, Unit)]) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let level = match env::var("AWS_LAMBDA_LOG_LEVEL") {
            Ok(level) => level.parse().map_err(|_| format!("AWS_LAMBDA_LOG_LEVEL is {level}"))?,
            Err(_) => LevelFilter::INFO,
        };
        tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_max_level(level)
            .init();
        let stack = env::var("STACK_NAME").map_err(|_| "the variable STACK_NAME is not set")?;
        let collector =
            Builder::new().cloudwatch_namespace(NAMESPACE).with_dimension("Stack", stack).init()?;
        for (name, unit) in units {
            metrics::describe_histogram!(*name, *unit, "");
        }
        Ok(Self { collector })
    }

    /// Writes what was counted since the last time. To be called before an invocation ends: the
    /// process stands still afterwards, and may never go on.
    pub fn flush(self) {
        if let Err(error) = self.collector.flush(io::stdout().lock()) {
            tracing::warn!(%error, "the metrics cannot be written");
        }
    }
}
