//! Connections to a database, for blocking work.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_smithy_runtime_api::client::result::ConnectorError;
use dynoxide::Database;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Connections that each do one piece of work at a time. What waits for one occupies no thread.
pub(super) struct Pool {
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Database>>,
}

/// A connection that returns to its pool, also if the work panics.
struct Lent {
    database: Database,
    pool: Arc<Pool>,
}

impl Pool {
    pub(super) fn new(databases: Vec<Database>) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(databases.len()));
        Arc::new(Self { permits, idle: Mutex::new(databases) })
    }

    /// Does work that blocks, on the next connection that is idle. Work that has begun is completed
    /// although nobody waits for it any longer.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Database) -> T + Send + 'static,
    ) -> Result<T, ConnectorError> {
        let failed = |error| ConnectorError::other(error, None);
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|error| failed(error.into()))?;
        let pool = Arc::clone(self);
        let worked = spawn_blocking(move || {
            let database = pool.idle().pop()?;
            let lent = Lent { database, pool };
            let result = work(&lent.database);
            drop(lent);
            drop(permit);
            Some(result)
        });
        let worked = worked.await.map_err(|error| failed(error.into()))?;
        worked.ok_or_else(|| failed("no connection is idle".into()))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Database>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.idle().push(self.database.clone());
    }
}
