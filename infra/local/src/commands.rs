//! The commands of `image-catalog`.

pub mod aws_config;
pub mod keys;
pub mod reconcile;
pub mod replay;
pub mod serve;
