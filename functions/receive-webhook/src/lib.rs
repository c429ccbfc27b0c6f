//! Takes registries' webhooks, `POST /events/{source}`, from those that may send them.
//!
//! - [`webhook`]: whose a webhook is, and what it carries

pub mod webhook;
