//! The catalog of container images: images, changes, and the table that stores them. It has no
//! dependency on HTTP, Lambda, or the events of a product.
//!
//! - [`identifier`]: validated names
//! - [`arn`]: the ARNs of repositories
//! - [`image`]: an image
//! - [`repository`]: what is known of a repository itself
//! - [`change`]: a change of a repository
//! - [`history`]: data types whose state does not depend on the order of changes
//! - [`draft`]: the writes of a change
//! - [`row`]: an image as it is listed
//! - [`packed`]: the compact form of histories
//! - [`table`]: the DynamoDB table: definition, keys and items
//! - [`reader`]: listings, and images by tag or digest
//! - [`pending`]: lookups that registries did not complete yet
//! - [`reconciliations`]: the last reconciliation with each registry
//! - [`deliveries`]: when signed deliveries were received first
//! - [`writer`]: applies changes

pub mod arn;
pub mod change;
pub mod deliveries;
pub mod draft;
pub mod history;
pub mod identifier;
pub mod image;
pub mod packed;
pub mod pending;
pub mod reader;
pub mod reconciliations;
pub mod repository;
pub mod row;
pub mod table;
pub mod time;
pub mod writer;

pub use arn::RepositoryArn;
pub use change::{Change, ChangeKind};
pub use deliveries::Deliveries;
pub use identifier::{Digest, RegistryId, Repository, RepositoryName, Service, Tag};
pub use image::{Image, ImageStatus};
pub use pending::PendingLookups;
pub use reader::Reader;
pub use reconciliations::Reconciliations;
pub use repository::{RepositoryDescription, RepositoryStatement};
pub use row::Row;
pub use table::Table;
pub use time::Timestamp;
pub use writer::Writer;
