//! Verifies AWS Signature Version 4 of HTTP requests, as the services and API Gateway do.
//!
//! - `signature`: the signature of a request, its time, and its verification
//! - `canonical_request`: what it signs
//! - `time`: the forms of its time

mod canonical_request;
mod signature;
mod time;

pub use signature::{Signature, SignatureError, TERMINATOR};
