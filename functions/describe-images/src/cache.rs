//! Responses that are kept until the store changes. Only a process that can tell at once that its
//! store has not changed has such a cache.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use catalog::{RegistryId, Service};

use crate::api::Answer;

/// What DescribeImages depends on, beside the store.
pub(crate) type Key = (Service, RegistryId, Vec<u8>);

/// What a cache has room for, at least. A larger response would replace all others, and be copied.
const MIN_RESPONSES: usize = 16;

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

/// What a cache has of a request.
pub(crate) enum Found<'a> {
    Answer(Answer),
    Vacant(Vacant<'a>),
}

/// The place of a response that is to be read.
pub(crate) struct Vacant<'a> {
    cache: &'a ResponseCache,
    version: u64,
    key: Key,
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

    /// What the cache has of a request. `None` if the version is not known.
    pub(crate) fn get(&self, key: Key) -> Option<Found<'_>> {
        let version = (self.version)()?;
        let kept = self.kept_of(version).answers.get(&key).cloned();
        Some(match kept {
            Some(answer) => Found::Answer(Answer::clone(&answer)),
            None => Found::Vacant(Vacant { cache: self, version, key }),
        })
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

impl Vacant<'_> {
    /// Keeps the response, unless the store has changed since the place was found.
    pub(crate) fn keep(self, answer: &Answer) {
        let Self { cache, version, key } = self;
        let bytes = size_of::<(Key, Answer)>() + key.2.len() + answer.body.len();
        let mut kept = cache.kept();
        let is_large = bytes > cache.max_bytes / MIN_RESPONSES;
        if kept.version != version || kept.answers.contains_key(&key) || is_large {
            return;
        }
        if kept.bytes + bytes > cache.max_bytes {
            *kept = Kept { version, ..Kept::default() };
        }
        kept.bytes += bytes;
        // Whoever receives it again has read nothing.
        kept.answers.insert(key, Arc::new(Answer { consumed_capacity: 0.0, ..answer.clone() }));
    }
}
