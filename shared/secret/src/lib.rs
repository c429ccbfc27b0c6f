//! A secret: a value that is known at the start, a secret of AWS Secrets Manager, or a file. The
//! last two may change while a process runs, and are read again.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::Client;
use catalog::table::causes;
use tokio::sync::Mutex;

/// How long a value is used before it is read again, unless the secret is to be read more often.
const LIFETIME: Duration = Duration::from_mins(5);

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A secret.
pub enum Secret<T> {
    Known(Arc<T>),
    Stored(StoredSecret<T>),
}

/// A secret that is read again.
pub struct StoredSecret<T> {
    source: Source,
    parse: fn(&Versions) -> Result<T, Error>,
    lifetime: Duration,
    known: Mutex<Option<(Instant, Arc<T>)>>,
}

enum Source {
    SecretsManager { client: Client, id: String, with_previous: bool },
    File(PathBuf),
}

/// The versions of a secret.
pub struct Versions {
    pub current: String,
    /// Empty if the secret was never changed, and if only the current one is read.
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
        Self::read_from(Source::SecretsManager { client, id, with_previous: false }, parse)
    }

    /// A file. It is read when it is first used.
    pub fn file(path: PathBuf, parse: fn(&Versions) -> Result<T, Error>) -> Self {
        Self::read_from(Source::File(path), parse)
    }

    fn read_from(source: Source, parse: fn(&Versions) -> Result<T, Error>) -> Self {
        Self::Stored(StoredSecret { source, parse, lifetime: LIFETIME, known: Mutex::new(None) })
    }

    /// The same, read again when it is this old.
    #[must_use]
    pub fn read_every(self, lifetime: Duration) -> Self {
        match self {
            Self::Known(value) => Self::Known(value),
            Self::Stored(secret) => Self::Stored(StoredSecret { lifetime, ..secret }),
        }
    }

    /// The same, with the previous version of a secret of AWS Secrets Manager.
    #[must_use]
    pub fn with_previous(mut self) -> Self {
        if let Self::Stored(StoredSecret {
            source: Source::SecretsManager { with_previous, .. },
            ..
        }) = &mut self
        {
            *with_previous = true;
        }
        self
    }

    /// The value, at most five minutes old or as old as [`Self::read_every`] allows, or the last
    /// one that could be read.
    pub async fn value(&self) -> Result<Arc<T>, Error> {
        match self {
            Self::Known(value) => Ok(Arc::clone(value)),
            Self::Stored(secret) => secret.value().await,
        }
    }

    /// Reads the value before it is needed. If it cannot be read now, its first use reads it.
    pub async fn preload(&self) {
        if let (Self::Stored(secret), Err(error)) = (self, self.value().await) {
            tracing::warn!(secret = %secret.source, %error, "the secret cannot be read");
        }
    }
}

impl<T> StoredSecret<T> {
    async fn value(&self) -> Result<Arc<T>, Error> {
        let mut known = self.known.lock().await;
        if let Some((read_at, value)) = &*known
            && read_at.elapsed() < self.lifetime
        {
            return Ok(Arc::clone(value));
        }
        let value = match (self.read().await, &*known) {
            (Ok(value), _) => Arc::new(value),
            // The last value stays in use.
            (Err(error), Some((_, value))) => {
                tracing::warn!(secret = %self.source, %error, "the secret cannot be read again");
                Arc::clone(value)
            }
            (Err(error), None) => return Err(error),
        };
        *known = Some((Instant::now(), Arc::clone(&value)));
        Ok(value)
    }

    async fn read(&self) -> Result<T, Error> {
        (self.parse)(&self.source.versions().await?)
    }
}

impl Source {
    async fn versions(&self) -> Result<Versions, Error> {
        let (client, id, with_previous) = match self {
            Self::SecretsManager { client, id, with_previous } => (client, id, *with_previous),
            Self::File(path) => {
                let current = std::fs::read_to_string(path)?;
                return Ok(Versions { current, previous: String::new() });
            }
        };
        let version = |stage| client.get_secret_value().secret_id(id).version_stage(stage).send();
        let previous = async {
            if !with_previous {
                return Ok(String::new());
            }
            match version("AWSPREVIOUS").await {
                Ok(previous) => Ok(previous.secret_string.unwrap_or_default()),
                // A secret that was never changed has no previous version.
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(|error| error.is_resource_not_found_exception()) =>
                {
                    Ok(String::new())
                }
                Err(error) => Err(error),
            }
        };
        let (current, previous) = tokio::join!(version("AWSCURRENT"), previous);
        let current = current.map_err(|error| causes(&error))?.secret_string.unwrap_or_default();
        Ok(Versions { current, previous: previous.map_err(|error| causes(&error))? })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretsManager { id, .. } => formatter.write_str(id),
            Self::File(path) => path.display().fmt(formatter),
        }
    }
}
