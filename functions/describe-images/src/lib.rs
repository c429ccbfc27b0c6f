//! Answers DescribeImages and its sibling operations as Amazon ECR and Amazon ECR Public do.
//!
//! - [`api`]: an HTTP request to an HTTP response
//! - [`service`]: the names and operations of the two services
//! - [`request`]: decodes and validates a DescribeImages request; `members` decodes JSON, and
//!   `constraints` has what all operations check
//! - [`access_keys`]: authenticates requests that are signed with a key of the catalog's own
//! - [`caller`]: who sent the request, and what they may read
//! - `describe_images`, `list_images`, `describe_image_tags`, `describe_registries`,
//!   `describe_repositories`, `list_tags_for_resource`: the operations
//! - [`cache`]: responses that are kept until the store changes
//! - `pairs`: pages of images and tags, of two operations
//! - [`page_token`]: seals and opens page tokens
//! - [`error`]: every error and its wire form

pub mod access_keys;
pub mod api;
pub mod cache;
pub mod caller;
mod constraints;
mod describe_image_tags;
mod describe_images;
mod describe_registries;
mod describe_repositories;
pub mod error;
mod list_images;
mod list_tags_for_resource;
mod members;
pub mod page_token;
mod pairs;
pub mod request;
pub mod service;

pub use api::Api;
