//! A secret: a value that is known at the start, as in the standalone program, or a secret of AWS
//! Secrets Manager, which may change while a function runs.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::Client;
use catalog::table::causes;
use tokio::sync::Mutex;

/// How long a value is used before it is read again.
const LIFETIME: Duration = Duration::from_mins(5);

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A secret.
pub enum Secret<T> {
    Known(Arc<T>),
    Stored(StoredSecret<T>),
}

/// A secret in AWS Secrets Manager.
pub struct StoredSecret<T> {
    client: Client,
    id: String,
    parse: fn(&Versions) -> Result<T, Error>,
    known: Mutex<Option<(Instant, Arc<T>)>>,
}

/// The versions of a secret.
pub struct Versions {
    pub current: String,
    /// Empty if the secret was never changed.
    pub previous: String,
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

impl<T> Secret<T> {
    pub fn known(value: T) -> Self {
        Self::Known(Arc::new(value))
    }

    /// A secret by its name or ARN. It is read when it is first used.
    pub fn stored(client: Client, id: String, parse: fn(&Versions) -> Result<T, Error>) -> Self {
        Self::Stored(StoredSecret { client, id, parse, known: Mutex::new(None) })
    }

    /// The value, at most five minutes old, or the last one that could be read.
    pub async fn value(&self) -> Result<Arc<T>, Error> {
        match self {
            Self::Known(value) => Ok(Arc::clone(value)),
            Self::Stored(secret) => secret.value().await,
        }
    }
}

impl<T> StoredSecret<T> {
    async fn value(&self) -> Result<Arc<T>, Error> {
        let mut known = self.known.lock().await;
        if let Some((read_at, value)) = &*known
            && read_at.elapsed() < LIFETIME
        {
            return Ok(Arc::clone(value));
        }
        let value = match (self.read().await, &*known) {
            (Ok(value), _) => Arc::new(value),
            // The last value stays in use.
            (Err(error), Some((_, value))) => {
                tracing::warn!(secret = self.id, %error, "the secret cannot be read again");
                Arc::clone(value)
            }
            (Err(error), None) => return Err(error),
        };
        *known = Some((Instant::now(), Arc::clone(&value)));
        Ok(value)
    }

    async fn read(&self) -> Result<T, Error> {
        let version =
            |stage| self.client.get_secret_value().secret_id(&self.id).version_stage(stage).send();
        let current = version("AWSCURRENT").await.map_err(|error| causes(&error))?;
        let previous = match version("AWSPREVIOUS").await {
            Ok(previous) => previous.secret_string.unwrap_or_default(),
            // A secret that was never changed has no previous version.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_resource_not_found_exception()) =>
            {
                String::new()
            }
            Err(error) => return Err(causes(&error).into()),
        };
        (self.parse)(&Versions { current: current.secret_string.unwrap_or_default(), previous })
    }
}
