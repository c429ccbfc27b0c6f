//! Takes registries' webhooks, `POST /events/{source}`, from those that may send them.
//!
//! - [`webhook`]: whose a webhook is, and what it carries
//! - [`handler`]: from an HTTP request to a message of the queue

pub mod handler;
pub mod webhook;

pub use handler::ReceiveWebhook;
