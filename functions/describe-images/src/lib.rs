//! Answers DescribeImages as Amazon ECR and Amazon ECR Public do.
//!
//! - [`api`]: an HTTP request to an HTTP response
//! - [`service`]: the names and operations of the two services
//! - [`request`]: decodes and validates a request
//! - [`caller`]: who sent the request, and what they may read
//! - `describe_images`: the operation
//! - `response`: images as the services write them
//! - [`page_token`]: seals and opens page tokens
//! - [`error`]: every error and its wire form

pub mod api;
pub mod caller;
mod describe_images;
pub mod error;
pub mod page_token;
pub mod request;
mod response;
pub mod service;

pub use api::Api;
