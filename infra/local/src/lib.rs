//! The whole catalog in one process, on an embedded DynamoDB engine.

pub mod engine;
