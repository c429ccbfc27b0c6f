//! What runs in place of AWS's services.
//!
//! - [`dynamodb`]: the embedded engine
//! - [`api_gateway`]: the HTTP server
//! - [`connections`]: its connections, and their limits
//! - [`scheduler`]: the periodic work

pub mod api_gateway;
mod body;
pub mod connections;
pub mod dynamodb;
pub mod scheduler;
mod web_pages;
