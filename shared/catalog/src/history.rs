//! Histories: the data types whose state does not depend on the order in which changes arrive.
//!
//! The state of a repository is a function of the set of changes that were applied to it. The
//! changes of each history are commutative, associative and idempotent:
//!
//! - [`register`]: a last-write-wins register, for what events state
//! - [`log`]: a grow-only set of events with checkpoints, for what events do
//! - [`image`]: of a digest: registers, a tombstone, and a log of pushes and of lost tags
//! - [`tag`]: of a tag: a log of its moves
//! - [`repository`]: whether a repository exists, and registers of what is known of it
//!
//! The laws, which `laws.rs` states as properties of each history, and `tests/quick/laws` of a
//! repository:
//!
//! 1. Changes that arrive within [`LATENESS_WINDOW`] of their own times lead to the same state in
//!    every order, however often each arrives, however many there are, and whatever has expired.
//! 2. A change that arrives later removes what it is known to end, and nothing else. If it can make
//!    no difference any longer, it is [`image::Effect::TooLate`].
//! 3. The size of an item is bounded by what the image or tag is now, not by what it was.

use std::time::Duration;

pub mod image;
#[cfg(test)]
mod laws;
pub(crate) mod log;
pub mod register;
pub mod repository;
pub mod tag;

pub use image::{Effect, Found, ImageHistory, TagEvent, TagEventKind};
pub use log::SegmentWrite;
pub use repository::RepositoryHistory;
pub use tag::{Move, TagHistory};

/// How much later than its own time a change may arrive without a difference to the state.
pub const LATENESS_WINDOW: Duration = Duration::from_hours(30 * 24);
