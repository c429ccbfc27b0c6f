//! The expected state of the catalog: a model, the rules of the catalog applied in memory, and
//! random histories.

pub mod cloud_trail;
pub mod generators;
pub mod memory;
pub mod model;
pub mod reading;
pub mod table;
