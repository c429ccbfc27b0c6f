//! The whole catalog in one process, on an embedded DynamoDB engine.
//!
//! - [`engine`]: the engine, under the SDK
//! - [`server`]: HTTP: both services at `/`, events at `/events/...`
//! - [`authentication`]: who signs requests
//! - [`data`]: what is kept between starts
//! - [`demo`]: a catalog to look at
//! - [`reconcile`]: compares the catalog with a registry
//! - [`replay`]: applies events again

pub mod authentication;
pub mod data;
pub mod demo;
pub mod engine;
pub mod reconcile;
pub mod replay;
pub mod server;
