//! Applies the events of registries to the catalog.
//!
//! - [`batch`]: a batch of messages from the event queue
//! - [`message`]: one message
//! - [`dead_letter`]: messages that could not be applied
//! - [`ingest`]: a delivery of events, and the report about it
//! - [`source`]: the events of each product, one file for each
//! - [`lookup`]: what an event does not contain, and its registry returns

pub mod batch;
pub mod dead_letter;
pub mod ingest;
pub mod lookup;
pub mod message;
pub mod source;

pub use ingest::Ingest;
