//! How changes add up to one state, whatever the order in which they arrive.
//!
//! The state of a repository is a function of the set of changes that were applied to it. Each
//! history is a data type whose changes are commutative, associative and idempotent:
//!
//! - [`register`]: a last-write-wins register, for what is stated
//! - [`log`]: a grow-only set of events in the order of their times, with checkpoints, for what
//!   happens
//! - [`image`]: of a digest: registers, a tombstone, and the log of its pushes and of the losses of
//!   its tags
//! - [`tag`]: of a tag: the log of its moves
//! - [`repository`]: whether a repository exists
//!
//! The laws, which `tests/laws.rs` states as properties:
//!
//! 1. Changes that arrive within [`LATENESS_WINDOW`] of their own times lead to the same state in
//!    every order, however often each arrives, however many there are, and whatever has expired in
//!    between.
//! 2. A change that arrives later takes away what it is known to end, and nothing else. If it can
//!    make no difference any longer, it is [`image::Effect::TooLate`].
//! 3. The size of an item is bounded by what the image or tag is now, not by what it was.

use std::time::Duration;

pub mod image;
pub(crate) mod log;
pub mod register;
pub mod repository;
pub mod tag;

pub use image::{Effect, ImageHistory, TagEvent, TagEventKind};
pub use log::SegmentWrite;
pub use repository::RepositoryHistory;
pub use tag::{Move, TagHistory};

/// How much later than its own time a change may be applied without making a difference to the
/// state.
pub const LATENESS_WINDOW: Duration = Duration::from_hours(30 * 24);
