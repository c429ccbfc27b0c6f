//! A secret: a value that is known at the start, a secret of AWS Secrets Manager, or a file. The
//! last two may change while a process runs, and are read again.
//!
//! Reads of a secret of AWS Secrets Manager that failed are counted by the metric
//! `SecretReadsFailed`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use catalog::table::causes;
use metrics::counter;
use tokio::sync::Mutex;

/// How long a value is used before it is read again, unless the secret is to be read more often.
const LIFETIME: Duration = Duration::from_mins(5);

/// How long a read from AWS Secrets Manager may take, with its retries: less than an invocation of
/// a function, so that the last value is still of use to it.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A secret.
pub enum Secret<T> {
    Known(Arc<T>),
    Stored(StoredSecret<T>),
}

/// A secret that is read again.
pub struct StoredSecret<T> {
    source: Source,
    parse: fn(&str) -> Result<T, Error>,
    lifetime: Duration,
    max_age: Option<Duration>,
    clock: fn() -> Instant,
    last: Mutex<Option<LastRead<T>>>,
}

/// The last value that could be read.
struct LastRead<T> {
    value: Arc<T>,
    read_at: Instant,
    /// When it was to be read again, successfully or not.
    tried_at: Instant,
}

enum Source {
    SecretsManager {
        client: Client,
        id: String,
        name: &'static str,
        /// Whether the previous version is of use, too.
        has_previous: bool,
    },
    File(PathBuf),
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

    /// A secret by its name or ARN. It is read when it is first used. `name` is the value of the
    /// dimension `Secret` of its metric.
    pub fn stored(
        client: &Client,
        id: String,
        name: &'static str,
        parse: fn(&str) -> Result<T, Error>,
    ) -> Self {
        let timeouts = TimeoutConfig::builder().operation_timeout(READ_TIMEOUT).build();
        let configuration = client.config().to_builder().timeout_config(timeouts);
        let client = Client::from_conf(configuration.build());
        Self::read_from(Source::SecretsManager { client, id, name, has_previous: false }, parse)
    }

    /// A file. It is read when it is first used.
    pub fn file(path: PathBuf, parse: fn(&str) -> Result<T, Error>) -> Self {
        Self::read_from(Source::File(path), parse)
    }

    fn read_from(source: Source, parse: fn(&str) -> Result<T, Error>) -> Self {
        Self::Stored(StoredSecret {
            source,
            parse,
            lifetime: LIFETIME,
            max_age: None,
            clock: Instant::now,
            last: Mutex::new(None),
        })
    }

    /// The same, with the lines of the previous version after those of the current one. A secret
    /// that was never changed has no previous version, nor has a file.
    #[must_use]
    pub fn with_previous_version(self) -> Self {
        self.with(|secret| {
            if let Source::SecretsManager { has_previous, .. } = &mut secret.source {
                *has_previous = true;
            }
        })
    }

    /// The same, read again when it is this old.
    #[must_use]
    pub fn read_every(self, lifetime: Duration) -> Self {
        self.with(|secret| secret.lifetime = lifetime)
    }

    /// The same, whose last value is no longer used once it was read this long ago.
    #[must_use]
    pub fn valid_for(self, max_age: Duration) -> Self {
        self.with(|secret| secret.max_age = Some(max_age))
    }

    /// The same, with another clock than that of the process.
    #[must_use]
    pub fn with_clock(self, clock: fn() -> Instant) -> Self {
        self.with(|secret| secret.clock = clock)
    }

    fn with(mut self, change: impl FnOnce(&mut StoredSecret<T>)) -> Self {
        if let Self::Stored(secret) = &mut self {
            change(secret);
        }
        self
    }

    /// The value, at most five minutes old or as old as [`Self::read_every`] allows. If it cannot
    /// be read again, the last one, which is as old as [`Self::valid_for`] allows.
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
        let mut last = self.last.lock().await;
        let now = (self.clock)();
        let usable = last.as_mut().filter(|last| {
            self.max_age.is_none_or(|max_age| now.duration_since(last.read_at) < max_age)
        });
        if let Some(last) = &usable
            && now.duration_since(last.tried_at) < self.lifetime
        {
            return Ok(Arc::clone(&last.value));
        }
        match (self.read().await, usable) {
            (Ok(value), _) => {
                let value = Arc::new(value);
                *last = Some(LastRead { value: Arc::clone(&value), read_at: now, tried_at: now });
                Ok(value)
            }
            // The last value stays in use.
            (Err(error), Some(last)) => {
                self.source.count_failure();
                tracing::warn!(secret = %self.source, %error, "the secret cannot be read again");
                last.tried_at = now;
                Ok(Arc::clone(&last.value))
            }
            (Err(error), None) => {
                self.source.count_failure();
                Err(error)
            }
        }
    }

    async fn read(&self) -> Result<T, Error> {
        (self.parse)(&self.source.text().await?)
    }
}

impl Source {
    /// The current version, and the lines of the previous one if it is of use.
    async fn text(&self) -> Result<String, Error> {
        let (client, id, has_previous) = match self {
            Self::SecretsManager { client, id, has_previous, .. } => (client, id, *has_previous),
            Self::File(path) => return Ok(std::fs::read_to_string(path)?),
        };
        let version = |stage| client.get_secret_value().secret_id(id).version_stage(stage).send();
        let previous = async {
            if !has_previous {
                return Ok(None);
            }
            match version("AWSPREVIOUS").await {
                Ok(previous) => Ok(previous.secret_string),
                // A secret that was never changed has no previous version.
                Err(error)
                    if error
                        .as_service_error()
                        .is_some_and(|error| error.is_resource_not_found_exception()) =>
                {
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        };
        let (current, previous) = tokio::join!(version("AWSCURRENT"), previous);
        let current = current.map_err(|error| causes(&error))?.secret_string.unwrap_or_default();
        Ok(match previous.map_err(|error| causes(&error))? {
            Some(previous) => format!("{current}\n{previous}"),
            None => current,
        })
    }

    fn count_failure(&self) {
        if let Self::SecretsManager { name, .. } = self {
            counter!("SecretReadsFailed", "Secret" => *name).increment(1);
        }
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
