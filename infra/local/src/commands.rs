//! The commands of `image-catalog`.

pub mod reconcile;
pub mod replay;
pub mod serve;
