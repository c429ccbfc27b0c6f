//! What runs in place of AWS's services.
//!
//! - [`dynamodb`]: the embedded engine
//! - [`api_gateway`]: the HTTP server
//! - [`iam`]: authentication and authorization of requests
//! - [`scheduler`]: the periodic work

pub mod api_gateway;
pub mod dynamodb;
pub mod iam;
pub mod scheduler;
mod web_pages;
