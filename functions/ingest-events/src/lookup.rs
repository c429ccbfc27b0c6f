//! Manifest lookups: an event of a push that does not contain the manifest leads to a request to
//! the registry for it, by the digest or, where the event contains only a tag, by the tag.
//!
//! While a registry is unavailable, what the event contains is applied, and the lookup is kept. It
//! is retried until the registry responds, or until it expires.

use std::collections::HashSet;

use catalog::change::Content;
use catalog::table::{StoreError, causes};
use catalog::{Change, ChangeKind, Digest, PendingLookups, Repository, Tag, Timestamp, Writer};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use registries::ecr::ECR_DELAY;
use registries::{ManifestLookup, Registries, Registry, RegistryUnavailable};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::ingest::apply;

/// Pending lookups that are retried at the same time.
const CONCURRENT_LOOKUPS: usize = 8;

/// A push whose manifest is to be looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// The repository in the catalog.
    pub repository: Repository,
    pub registry: Registry,
    /// The name of the repository in the registry.
    pub name: String,
    /// `None` if the event contains only the tag.
    pub digest: Option<Digest>,
    pub tag: Option<Tag>,
    /// As the event has it.
    pub manifest_media_type: Option<String>,
    /// As the event has it.
    pub artifact_media_type: Option<String>,
    /// The time of the push.
    pub time: Timestamp,
}

impl Lookup {
    /// The digest, or else the tag.
    #[must_use]
    pub fn reference(&self) -> &str {
        let tag = || self.tag.as_ref().map_or("", Tag::as_str);
        self.digest.as_ref().map_or_else(tag, Digest::as_str)
    }

    /// The push without the manifest; `None` without a digest.
    #[must_use]
    pub fn incomplete(&self) -> Option<Change> {
        Some(self.completed(self.digest.clone()?, Content::default()))
    }

    /// The push with the manifest.
    #[must_use]
    pub fn completed(&self, digest: Digest, content: Content) -> Change {
        let content = Content {
            manifest_media_type: content
                .manifest_media_type
                .or_else(|| self.manifest_media_type.clone()),
            artifact_media_type: content
                .artifact_media_type
                .or_else(|| self.artifact_media_type.clone()),
            ..content
        };
        let kind = ChangeKind::ImagePushed { digest, tag: self.tag.clone(), content };
        Change { repository: self.repository.clone(), time: self.time, kind }
    }

    fn id(&self) -> String {
        format!("{}#{}", self.repository, self.reference())
    }

    fn is_ecr(&self) -> bool {
        matches!(self.registry, Registry::Ecr { .. })
    }

    /// Whether Amazon ECR's responses may be older than the push.
    fn is_early(&self) -> bool {
        let age = Timestamp::now().as_milliseconds() - self.time.as_milliseconds();
        self.is_ecr() && age < ECR_DELAY.as_millis() as i64
    }
}

/// Looks up manifests.
#[derive(Debug)]
pub struct Lookups {
    registries: Registries,
    pending: PendingLookups,
}

impl Lookups {
    #[must_use]
    pub fn new(registries: Registries, pending: PendingLookups) -> Self {
        Self { registries, pending }
    }

    async fn look_up(&self, lookup: &Lookup) -> Result<ManifestLookup, RegistryUnavailable> {
        self.registries.manifest(&lookup.registry, &lookup.name, lookup.reference()).await
    }

    /// The push, complete if the registry has the manifest now. A lookup that may succeed later is
    /// kept.
    pub(crate) async fn complete(&self, lookup: &Lookup) -> Result<Option<Change>, StoreError> {
        if lookup.is_ecr() && self.registries.ecr.is_none() {
            return Ok(lookup.incomplete());
        }
        let (repository, reference) = (&lookup.repository, lookup.reference());
        match self.look_up(lookup).await {
            Ok(ManifestLookup::Found(found)) => {
                return Ok(Some(lookup.completed(found.digest, found.content)));
            }
            Ok(ManifestLookup::NotFound(_)) if lookup.is_early() => {}
            Ok(ManifestLookup::NotFound(reason)) => {
                let reason = causes(&reason);
                tracing::warn!(%repository, reference, reason, "the manifest was not found");
                return Ok(lookup.incomplete());
            }
            Err(error) => {
                let error = causes(&error);
                tracing::warn!(%repository, reference, error, "the lookup will be retried");
            }
        }
        self.pending.put(&lookup.id(), lookup).await?;
        Ok(lookup.incomplete())
    }

    /// Retries the pending lookups, until there are no more or the time is up. Returns how many are
    /// no longer pending.
    pub(crate) async fn retry(&self, writer: &Writer, until: Instant) -> Result<usize, StoreError> {
        let mut completed = 0;
        let mut last: Option<String> = None;
        let unavailable = Mutex::default();
        loop {
            let pending = self.pending.list(last.as_deref()).await?;
            let mut retries = Vec::new();
            for (id, lookup) in &pending {
                match lookup {
                    Ok(lookup) => {
                        retries.push(self.retry_one(writer, id, lookup, &unavailable, until));
                    }
                    Err(error) => {
                        tracing::warn!(error = causes(error), "a pending lookup cannot be read");
                    }
                }
            }
            let mut outcomes = stream::iter(retries).buffer_unordered(CONCURRENT_LOOKUPS);
            while let Some(is_completed) = outcomes.try_next().await? {
                completed += usize::from(is_completed);
            }
            drop(outcomes);
            match pending.into_iter().next_back() {
                Some((id, _)) if Instant::now() <= until => last = Some(id),
                _ => return Ok(completed),
            }
        }
    }

    /// Whether a lookup is no longer pending. A registry that was unavailable receives no more
    /// requests in this round; of Amazon ECR, that is each repository, because permissions may
    /// differ between them.
    async fn retry_one(
        &self,
        writer: &Writer,
        id: &str,
        lookup: &Lookup,
        unavailable: &Mutex<HashSet<(Registry, String)>>,
        until: Instant,
    ) -> Result<bool, StoreError> {
        let name = if lookup.is_ecr() { lookup.name.as_str() } else { "" };
        let target = (lookup.registry.clone(), name.to_owned());
        if Instant::now() > until || unavailable.lock().await.contains(&target) {
            return Ok(false);
        }
        match self.look_up(lookup).await {
            Ok(ManifestLookup::Found(found)) => {
                apply(writer, &lookup.completed(found.digest, found.content)).await?;
            }
            Ok(ManifestLookup::NotFound(_)) if lookup.is_early() => return Ok(false),
            Ok(ManifestLookup::NotFound(_)) => {}
            Err(error) => {
                let error = causes(&error);
                tracing::info!(registry = ?lookup.registry, error, "a registry is unavailable");
                unavailable.lock().await.insert(target);
                return Ok(false);
            }
        }
        self.pending.remove(id, lookup).await?;
        Ok(true)
    }
}
