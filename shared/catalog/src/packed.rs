//! The compact form of what the catalog alone reads: histories, segments, and descriptions of
//! repositories. It has no names of members; [`crate::table::FORMAT`] is the number of its version.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Packs a value.
#[must_use]
#[expect(clippy::unwrap_used, reason = "what is packed has no form that cannot be written")]
pub fn pack(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap()
}

/// Reads a packed value.
pub(crate) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, postcard::Error> {
    postcard::from_bytes(bytes)
}
