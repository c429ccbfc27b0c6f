//! What the catalog should say: a model in plain words, the rules of the catalog applied in memory,
//! and random histories to try them on.

pub mod generators;
pub mod memory;
pub mod model;
pub mod reading;
pub mod table;
