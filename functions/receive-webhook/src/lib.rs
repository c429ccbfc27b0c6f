//! Accepts the webhooks of registries: `POST /events/{source}`.
//!
//! - [`webhook`]: authenticates a webhook
//! - [`handler`]: an HTTP request to a message of the queue

pub mod handler;
pub mod webhook;

pub use handler::ReceiveWebhook;
