//! Tests with external programs: clients, registries, engines, and the catalog's own binary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod amazon_ecr;
mod capacity;
mod clients;
mod deployment;
mod documentation;
mod endpoint_rules;
mod install;
mod page;
mod process;
mod reading;
mod registry;
mod signatures;
mod store;
mod storm;
mod tools;
