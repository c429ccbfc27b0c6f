//! Where the keys of page tokens come from: a file that was read at the start, or a secret that is
//! rotated while the function lives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::Client;
use catalog::table::causes;
use tokio::sync::Mutex;

use crate::page_token::Keyring;

/// How long a secret's value is used before it is asked for again.
const SECRET_LIFETIME: Duration = Duration::from_mins(5);

/// Where the keys of page tokens come from.
#[derive(Debug)]
pub enum PageTokenKeys {
    /// They are known.
    Fixed(Arc<Keyring>),
    /// They are a secret in AWS Secrets Manager.
    Secret(PageTokenSecret),
}

/// A secret whose current version holds the key that seals, and whose previous version holds the key
/// before it.
#[derive(Debug)]
pub struct PageTokenSecret {
    client: Client,
    secret_id: String,
    known: Mutex<Option<(Instant, Arc<Keyring>)>>,
}

impl PageTokenKeys {
    /// The keys as they are now.
    ///
    /// # Errors
    /// The secret cannot be read, and never was.
    pub async fn keyring(&self) -> Result<Arc<Keyring>, Box<dyn std::error::Error + Send + Sync>> {
        match self {
            Self::Fixed(keyring) => Ok(Arc::clone(keyring)),
            Self::Secret(secret) => secret.keyring().await,
        }
    }
}

impl PageTokenSecret {
    /// A secret by its name or ARN. It is not read before it is needed.
    #[must_use]
    pub fn new(client: Client, secret_id: String) -> Self {
        Self { client, secret_id, known: Mutex::new(None) }
    }

    async fn keyring(&self) -> Result<Arc<Keyring>, Box<dyn std::error::Error + Send + Sync>> {
        let mut known = self.known.lock().await;
        if let Some((read_at, keyring)) = &*known
            && read_at.elapsed() < SECRET_LIFETIME
        {
            return Ok(Arc::clone(keyring));
        }
        let keyring = match (self.read().await, &*known) {
            (Ok(keyring), _) => Arc::new(keyring),
            // Old keys are better than no answers.
            (Err(error), Some((_, keyring))) => {
                tracing::warn!(%error, "the page token secret cannot be read again");
                Arc::clone(keyring)
            }
            (Err(error), None) => return Err(error),
        };
        *known = Some((Instant::now(), Arc::clone(&keyring)));
        Ok(keyring)
    }

    async fn read(&self) -> Result<Keyring, Box<dyn std::error::Error + Send + Sync>> {
        let version =
            |stage| self.client.get_secret_value().secret_id(&self.secret_id).version_stage(stage).send();
        let current = version("AWSCURRENT").await.map_err(|error| causes(&error))?;
        let current = current.secret_string.unwrap_or_default();
        let previous = match version("AWSPREVIOUS").await {
            Ok(previous) => previous.secret_string.unwrap_or_default(),
            // A secret that was never rotated has no previous version.
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception()) =>
            {
                String::new()
            }
            Err(error) => return Err(causes(&error).into()),
        };
        Ok(Keyring::parse(&format!("{current}\n{previous}"))?)
    }
}
