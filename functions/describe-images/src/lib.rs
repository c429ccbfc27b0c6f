//! Answers DescribeImages as Amazon ECR and Amazon ECR Public do.
//!
//! - [`handler`]: from an HTTP request to an HTTP response
//! - [`service`]: what the two services are called and what they can do
//! - [`request`]: decodes and validates
//! - [`caller`]: who asks, and what they may read
//! - `operation`: the operation itself
//! - `response`: images as the services write them
//! - [`page_token`]: positions that callers can carry but not read or make
//! - [`error`]: every error and its wire form

pub mod caller;
pub mod error;
pub mod handler;
mod operation;
pub mod page_token;
pub mod request;
mod response;
pub mod service;

pub use handler::DescribeImages;
