//! The harness of the tests: programs, catalogs and registries, and the model of the table.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(missing_docs, reason = "only these tests use it")]

pub mod harness;
pub mod reference;
