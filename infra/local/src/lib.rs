//! The whole catalog in one process, on an embedded DynamoDB engine.
//!
//! - [`options`]: the command line
//! - [`commands`]: what it does, one file for each command
//! - [`aws`]: what runs in place of AWS's services
//! - [`client`]: the catalog that a command reads
//! - [`data`]: the files that the process keeps
//! - [`endpoints`]: the addresses of AWS services
//! - [`reconciliation`]: what a reconciliation with a registry found
//! - [`status`]: what the process knows of its own work
//! - [`demo`]: the sample images
//! - [`page`]: the page for browsers

pub mod aws;
pub mod client;
pub mod commands;
pub mod data;
pub mod demo;
pub mod endpoints;
pub mod options;
pub mod page;
pub mod reconciliation;
pub mod status;
