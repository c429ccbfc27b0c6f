//! A last-write-wins register.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A value and the time of the statement that it comes from. Of two statements the later one
/// counts; of one time, the greater value. The order in which statements arrive makes no
/// difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Register<T> {
    /// The time of the statement.
    pub time: Timestamp,
    /// What it states.
    pub value: T,
}

/// Applies a statement to a register that may be empty. A statement without a value changes
/// nothing.
pub(super) fn write<T: Ord>(register: &mut Option<Register<T>>, time: Timestamp, value: Option<T>) {
    if let Some(value) = value {
        *register = register.take().max(Some(Register { time, value }));
    }
}
