//! Turns the events of registries into changes, and applies them.
//!
//! - [`handler`]: a batch of messages from the queue
//! - [`dead_letter`]: messages that cannot be applied
//! - [`ingest`]: events in, a report out
//! - [`source`]: what the events of each product mean, one file for each
//! - [`question`]: what events leave open, until a registry answers

pub mod dead_letter;
pub mod handler;
pub mod ingest;
pub mod question;
pub mod source;

pub use ingest::Ingest;
