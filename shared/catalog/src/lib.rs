//! The catalog of container images: what an image is, what can happen to it, and the table that
//! remembers it. Knows nothing of HTTP, of Lambda, or of any registry's events.
//!
//! - [`identifier`]: names as their registries define them, parsed once
//! - [`image`]: an image as it is listed
//! - [`change`]: what happened in a registry
//! - [`history`]: how changes, in whatever order they arrive, add up to one state
//! - [`draft`]: what a change makes of the histories that it touches
//! - [`table`]: the DynamoDB table: its definition, its keys and its items
//! - [`reader`]: pages and look-ups
//! - [`writer`]: applies changes

pub mod change;
pub mod draft;
pub mod history;
pub mod identifier;
pub mod image;
pub mod reader;
pub mod table;
pub mod time;
pub mod writer;

pub use change::{Change, ChangeKind};
pub use identifier::{Digest, RegistryId, Repository, RepositoryName, Tag};
pub use image::{Image, ImageStatus};
pub use reader::Reader;
pub use table::Table;
pub use time::Timestamp;
pub use writer::Writer;
