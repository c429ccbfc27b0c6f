//! Responses that are kept until the store changes. Only a process that can tell at once that its
//! store has not changed has such a cache.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use catalog::{RegistryId, Service};

use crate::api::Answer;
use crate::error::ApiError;

/// What DescribeImages depends on, beside the store.
pub(crate) type Key = (Service, RegistryId, Vec<u8>);

/// Responses of DescribeImages, each for as long as the store has the version that it was read in.
pub struct ResponseCache {
    version: Box<dyn Fn() -> Option<u64> + Send + Sync>,
    max_bytes: usize,
    kept: Mutex<Kept>,
}

/// The responses of one version.
#[derive(Default)]
struct Kept {
    version: u64,
    bytes: usize,
    answers: HashMap<Key, Arc<Answer>>,
}

impl fmt::Debug for ResponseCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ResponseCache")
    }
}

impl ResponseCache {
    /// A cache of so many bytes of requests and responses. `version` returns a number that is
    /// another one after each change of the store, or `None` if the version is not known.
    #[must_use]
    pub fn new(
        max_bytes: usize,
        version: impl Fn() -> Option<u64> + Send + Sync + 'static,
    ) -> Self {
        Self { version: Box::new(version), max_bytes, kept: Mutex::default() }
    }

    /// The response that is kept, or that of `answer`. Errors are not kept.
    pub(crate) async fn get_or(
        &self,
        key: Key,
        answer: impl Future<Output = Result<Answer, ApiError>>,
    ) -> Result<Answer, ApiError> {
        // If the store changes while it is read, the response is not kept.
        let Some(version) = (self.version)() else { return answer.await };
        let kept = self.kept_of(version).answers.get(&key).cloned();
        if let Some(answer) = kept {
            return Ok(Answer::clone(&answer));
        }
        let answer = answer.await?;
        self.keep(version, key, &answer);
        Ok(answer)
    }

    fn keep(&self, version: u64, key: Key, answer: &Answer) {
        let bytes = size_of::<(Key, Answer)>() + key.2.len() + answer.body.len();
        let mut kept = self.kept();
        if kept.version != version || kept.answers.contains_key(&key) || bytes > self.max_bytes {
            return;
        }
        if kept.bytes + bytes > self.max_bytes {
            *kept = Kept { version, ..Kept::default() };
        }
        kept.bytes += bytes;
        // Whoever receives it again has read nothing.
        kept.answers.insert(key, Arc::new(Answer { consumed_capacity: 0.0, ..answer.clone() }));
    }

    /// The responses of a version, without those of others.
    fn kept_of(&self, version: u64) -> MutexGuard<'_, Kept> {
        let mut kept = self.kept();
        if kept.version != version {
            *kept = Kept { version, ..Kept::default() };
        }
        kept
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
