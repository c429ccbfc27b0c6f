//! What runs in place of AWS's services.
//!
//! - [`dynamodb`]: the embedded engine
//! - [`api_gateway`]: the HTTP server
//! - [`connections`]: its connections, and their limits
//! - [`reconcile_schedule`]: the reconciliation with all registries at an interval
//! - [`scheduler`]: the other periodic work

pub mod api_gateway;
mod body;
pub mod connections;
pub mod dynamodb;
pub mod reconcile_schedule;
pub mod scheduler;
mod web_pages;
