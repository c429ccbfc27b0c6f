//! Turns the events of registries into changes, and applies them.
//!
//! - [`handler`]: a batch of messages from the queue
//! - [`ingest`]: events in, a report out
//! - [`ecr`], [`distribution`]: one file for each source of events
//! - [`manifest`]: what a manifest's bytes tell, and how they are had

pub mod distribution;
pub mod ecr;
pub mod handler;
pub mod ingest;
pub mod manifest;

pub use ingest::Ingest;
