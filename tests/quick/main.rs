//! Tests that need no external program.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod authentication;
mod connections;
mod documentation;
mod events;
mod faults;
mod fuzz;
mod laws;
mod readers;
mod reading;
mod reconcile;
mod signatures;
mod status;
mod store;
mod webhooks;
mod wire;
mod writers;
