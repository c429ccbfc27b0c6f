//! Tests of the whole catalog, through its table, its HTTP interface, real clients and real registries.

mod harness;
mod model;
mod store;
