//! Asks registries that speak the OCI distribution API.
//!
//! - [`client`]: questions and answers
//! - [`manifest`]: what a manifest's bytes tell
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

pub mod client;
pub mod manifest;

pub use client::{Registries, RegistryAddress};
