//! What the main function of every Lambda function needs.
//!
//! - [`environment`]: its variables, and the clients that they configure
//! - [`http_api`]: requests from an HTTP API of Amazon API Gateway
//! - [`telemetry`]: its log and its metrics

pub mod environment;
pub mod http_api;
pub mod telemetry;

use std::time::Duration;

use catalog::Timestamp;
use tokio::time::Instant;

pub use environment::{Environment, variable};
pub use telemetry::Telemetry;

/// The error of a main function.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The time between the end of the work and the end of the invocation, in which the function
/// returns its response.
const RESPONSE_TIME: Duration = Duration::from_secs(1);

/// When an invocation must end its work. `invocation_deadline` is Lambda's own, in milliseconds
/// since the beginning of 1970.
#[must_use]
pub fn deadline(invocation_deadline: u64) -> Instant {
    let now = Timestamp::now().as_milliseconds().cast_unsigned();
    let remaining = Duration::from_millis(invocation_deadline.saturating_sub(now));
    Instant::now() + remaining.saturating_sub(RESPONSE_TIME)
}
