//! What the tests start from: programs, catalogs and registries that they start, and the model that
//! the table is held against.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(missing_docs, reason = "only these tests use it")]

pub mod harness;
pub mod reference;
