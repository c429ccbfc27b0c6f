//! When signed deliveries were received first. A signature does not contain the time at which a
//! delivery was sent, so that whoever has a copy can send it again.

use crate::table::{StoreError, Table};
use crate::time::Timestamp;

/// The signed deliveries of a table. They do not expire, because their signatures do not either.
#[derive(Debug, Clone)]
pub struct Deliveries {
    table: Table,
}

impl Deliveries {
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// When a delivery was received first: now, or before. `id` identifies it among all.
    pub async fn first_received_at(
        &self,
        id: &str,
        now: Timestamp,
    ) -> Result<Timestamp, StoreError> {
        Ok(self.table.put_delivery(id, now).await?.min(now))
    }
}
