//! Manifest lookups: an event of a push that does not contain the manifest leads to a request to
//! the registry for it, by the digest or, where the event contains only a tag, by the tag.
//!
//! What the event contains is applied before the request, which delays no acknowledgement. A lookup
//! that its registry does not complete is kept, and retried until it does, or until it expires.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use catalog::change::Content;
use catalog::pending::PendingLookup;
use catalog::table::{StoreError, causes};
use catalog::{
    Change, ChangeKind, Digest, PendingLookups, Reader, Repository, Table, Tag, Timestamp, Writer,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use metrics::{counter, histogram};
use registries::ecr::ECR_DELAY;
use registries::{
    FoundManifest, ManifestLookup, Registries, Registry, RegistryAddress, RegistryUnavailable,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::ingest::apply;

/// Lookups of one delivery, or of one page of retries, at the same time. Most of them may wait for a
/// registry that has not responded yet, while those of others go on.
const CONCURRENT_LOOKUPS: usize = 128;

/// Of one registry, in a round of retries. The next round has those that are due then.
const MAX_RETRIES: usize = 1000;

/// Of one registry.
pub const MAX_PENDING: usize = 10_000;

/// Requests to one registry at the same time.
const CONCURRENT_REQUESTS: usize = 16;

/// For all lookups of a delivery that was acknowledged, or of one round of retries.
pub const LOOKUPS_TIMEOUT: Duration = Duration::from_mins(2);

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
        Some(self.push(self.digest.clone()?, Content::default()))
    }

    /// The push with the manifest that the registry returned. An exact push time replaces the
    /// event's (rule 57). What a tag points to now may have been pushed after the event.
    #[must_use]
    pub fn completed(&self, found: FoundManifest) -> Change {
        let FoundManifest { digest, content, pushed_at, .. } = found;
        let Some(pushed_at) = pushed_at else {
            return if self.digest.is_some() {
                self.push(digest, content)
            } else {
                self.find(digest, content)
            };
        };
        let kind = ChangeKind::ImageObserved { digest, pushed_at, content };
        let time = self.time.max(pushed_at);
        Change { repository: self.repository.clone(), time, kind }.received_at(Timestamp::now())
    }

    fn push(&self, digest: Digest, content: Content) -> Change {
        let (tag, content) = (self.tag.clone(), self.with_media_types(content));
        self.change(ChangeKind::ImagePushed { digest, tag, content })
    }

    fn find(&self, digest: Digest, content: Content) -> Change {
        self.change(ChangeKind::ImageFound {
            digest,
            tag: self.tag.clone(),
            pushed_at: self.time,
            found_at: Timestamp::now(),
            is_stated: true,
            content: self.with_media_types(content),
        })
    }

    fn change(&self, kind: ChangeKind) -> Change {
        Change { repository: self.repository.clone(), time: self.time, kind }
    }

    /// The content with the media types of the event where it has none.
    fn with_media_types(&self, content: Content) -> Content {
        Content {
            manifest_media_type: content
                .manifest_media_type
                .or_else(|| self.manifest_media_type.clone()),
            artifact_media_type: content
                .artifact_media_type
                .or_else(|| self.artifact_media_type.clone()),
            ..content
        }
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
    reader: Reader,
    pending: PendingLookups,
    registries: Registries,
    /// Where lookups go to if an event names the address, and no subscription does.
    addresses: Vec<RegistryAddress>,
    slots: Slots,
    /// The pending lookups of each registry, as the last round of retries counted them, and since.
    numbers: Mutex<HashMap<Registry, usize>>,
}

/// The result of a lookup.
enum Outcome {
    /// There is nothing more to look up.
    Completed,
    /// The registry may return it later.
    TooEarly,
    Unavailable {
        /// Whether that is so of the whole registry, and not of this manifest alone.
        is_registry: bool,
    },
}

impl Lookups {
    #[must_use]
    pub fn new(table: Table, registries: Registries, addresses: Vec<RegistryAddress>) -> Self {
        let pending = PendingLookups::new(table.clone());
        let reader = Reader::new(table);
        let (slots, numbers) = (Slots::default(), Mutex::default());
        Self { reader, pending, registries, addresses, slots, numbers }
    }

    /// Whether requests are sent to the registry at all. An event alone does not choose an address.
    pub(crate) fn can_begin(&self, lookup: &Lookup) -> bool {
        match &lookup.registry {
            Registry::Ecr { .. } => self.registries.ecr.is_some(),
            Registry::Oci(address) => {
                address.subscription.is_some()
                    || address.is_of_service()
                    || self.addresses.contains(address)
            }
        }
    }

    /// Keeps lookups for later. Of a registry with [`MAX_PENDING`] already, none more: then
    /// reconciliation adds what they would have added.
    pub(crate) async fn keep(&self, lookups: &[Lookup]) -> Result<(), StoreError> {
        for lookup in lookups {
            let mut numbers = self.numbers.lock().await;
            let number = numbers.entry(lookup.registry.clone()).or_default();
            if *number >= MAX_PENDING {
                counter!("LookupsDropped").increment(1);
                let (repository, reference) = (&lookup.repository, lookup.reference());
                tracing::warn!(%repository, reference, "too many lookups are pending for another");
                continue;
            }
            *number += 1;
            drop(numbers);
            self.pending.put(&lookup.id(), lookup.time, lookup).await?;
        }
        Ok(())
    }

    async fn remove(&self, id: &str, lookup: &Lookup) -> Result<(), StoreError> {
        if let Some(number) = self.numbers.lock().await.get_mut(&lookup.registry) {
            *number = number.saturating_sub(1);
        }
        self.pending.remove(id, lookup).await
    }

    /// Completes lookups until the time is up, and keeps those that may be completed later.
    pub(crate) async fn complete(
        &self,
        writer: &Writer,
        lookups: &[Lookup],
        until: Instant,
    ) -> Result<(), StoreError> {
        let complete = async |lookup: &Lookup| {
            let _slot = self.slot(lookup).await;
            match self.look_up(writer, lookup, until).await? {
                Outcome::Completed => Ok(()),
                Outcome::TooEarly | Outcome::Unavailable { .. } => {
                    self.keep(std::slice::from_ref(lookup)).await
                }
            }
        };
        stream::iter(lookups.iter().map(complete))
            .buffer_unordered(CONCURRENT_LOOKUPS)
            .try_collect()
            .await
    }

    /// Completes lookups that were kept.
    pub(crate) async fn complete_kept(
        &self,
        writer: &Writer,
        lookups: &[Lookup],
    ) -> Result<(), StoreError> {
        let until = Instant::now() + LOOKUPS_TIMEOUT;
        let complete = async |lookup: &Lookup| {
            let _slot = self.slot(lookup).await;
            match self.look_up(writer, lookup, until).await? {
                Outcome::Completed => self.remove(&lookup.id(), lookup).await,
                Outcome::TooEarly | Outcome::Unavailable { .. } => Ok(()),
            }
        };
        stream::iter(lookups.iter().map(complete))
            .buffer_unordered(CONCURRENT_LOOKUPS)
            .try_collect()
            .await
    }

    /// Waits for a request to be allowed. One of Amazon ECR's client is for many images.
    async fn slot(&self, lookup: &Lookup) -> Option<OwnedSemaphorePermit> {
        if lookup.is_ecr() { None } else { self.slots.wait(&lookup.registry).await }
    }

    /// Looks up a manifest, and applies the push with it.
    async fn look_up(
        &self,
        writer: &Writer,
        lookup: &Lookup,
        until: Instant,
    ) -> Result<Outcome, StoreError> {
        let (repository, reference) = (&lookup.repository, lookup.reference());
        let request = self.registries.manifest(&lookup.registry, &lookup.name, reference);
        let found = timeout_at(until, request).await.unwrap_or(Err(RegistryUnavailable::TimedOut));
        let found = match found {
            Ok(ManifestLookup::Found(found)) => *found,
            Ok(ManifestLookup::NotFound(_)) if lookup.is_early() => return Ok(Outcome::TooEarly),
            Ok(ManifestLookup::NotFound(reason)) => {
                let reason = causes(&reason);
                tracing::warn!(%repository, reference, reason, "the manifest was not found");
                return Ok(Outcome::Completed);
            }
            Err(error) => {
                let is_registry = !matches!(error, RegistryUnavailable::Status(status @ 400..500) if status != 429);
                let error = causes(&error);
                tracing::info!(%repository, reference, error, "the lookup will be retried");
                return Ok(Outcome::Unavailable { is_registry });
            }
        };
        if self.is_superseded(lookup, &found.digest).await? {
            tracing::info!(%repository, reference, "the tag has been moved since");
            return Ok(Outcome::Completed);
        }
        match apply(writer, &lookup.completed(found)).await {
            Err(error @ StoreError::ItemTooLarge) => {
                let error = causes(&error);
                tracing::warn!(%repository, reference, error, "the manifest cannot be stored");
                Ok(Outcome::Completed)
            }
            applied => applied.map(|_| Outcome::Completed),
        }
    }

    /// Whether the tag is known to have moved to another digest, since the event, than the registry
    /// returned, or by the event itself.
    async fn is_superseded(&self, lookup: &Lookup, digest: &Digest) -> Result<bool, StoreError> {
        let (None, Some(tag)) = (&lookup.digest, &lookup.tag) else { return Ok(false) };
        let last = self.reader.last_move(&lookup.repository, tag).await?;
        Ok(last.is_some_and(|last| {
            last.time == lookup.time
                || (last.time > lookup.time && last.digest.as_ref() != Some(digest))
        }))
    }

    /// Retries the pending lookups that are due, until the time is up. Returns how many are no longer
    /// pending. The registries are requested side by side, so that none waits for another.
    pub(crate) async fn retry(&self, writer: &Writer, until: Instant) -> Result<usize, StoreError> {
        let due = self.due().await?;
        let retries = due.into_values().map(|lookups| self.retry_all(writer, lookups, until));
        stream::iter(retries)
            .buffer_unordered(CONCURRENT_LOOKUPS)
            .try_fold(0, async |sum, completed| Ok(sum + completed))
            .await
    }

    /// The pending lookups that are due, by registry. Of Amazon ECR, that is each repository, because
    /// permissions may differ between them.
    async fn due(&self) -> Result<HashMap<(Registry, String), Vec<Due>>, StoreError> {
        let mut due: HashMap<_, Vec<Due>> = HashMap::new();
        let mut numbers = HashMap::new();
        let mut last: Option<String> = None;
        loop {
            let page = self.pending.list(last.as_deref()).await?;
            let Some(end) = page.last() else { break };
            last = Some(end.id().to_owned());
            for pending in page {
                let lookup = match pending.read::<Lookup>() {
                    Ok(lookup) => lookup,
                    Err(error) => {
                        tracing::warn!(error = causes(&error), "a pending lookup cannot be read");
                        continue;
                    }
                };
                *numbers.entry(lookup.registry.clone()).or_default() += 1;
                let name = if lookup.is_ecr() { lookup.name.clone() } else { String::new() };
                let lookups = due.entry((lookup.registry.clone(), name)).or_default();
                if pending.is_due(Timestamp::now())
                    && self.can_begin(&lookup)
                    && lookups.len() < MAX_RETRIES
                {
                    lookups.push(Due { lookup, pending });
                }
            }
        }
        for (registry, number) in &numbers {
            tracing::info!(%registry, number, "lookups are pending");
        }
        histogram!("PendingLookups").record(numbers.values().sum::<usize>() as f64);
        *self.numbers.lock().await = numbers;
        Ok(due)
    }

    /// Retries the lookups of one registry. One that is unavailable receives no more requests in this
    /// round.
    async fn retry_all(
        &self,
        writer: &Writer,
        lookups: Vec<Due>,
        until: Instant,
    ) -> Result<usize, StoreError> {
        let is_unavailable = AtomicBool::new(false);
        stream::iter(
            lookups.into_iter().map(|due| self.retry_one(writer, due, &is_unavailable, until)),
        )
        .buffer_unordered(CONCURRENT_LOOKUPS)
        .try_fold(0, async |sum, is_completed| Ok(sum + usize::from(is_completed)))
        .await
    }

    /// Whether a lookup is no longer pending.
    async fn retry_one(
        &self,
        writer: &Writer,
        Due { lookup, pending }: Due,
        is_unavailable: &AtomicBool,
        until: Instant,
    ) -> Result<bool, StoreError> {
        let _slot = self.slot(&lookup).await;
        if Instant::now() > until || is_unavailable.load(Ordering::Relaxed) {
            return Ok(false);
        }
        match self.look_up(writer, &lookup, until).await? {
            Outcome::Completed => {
                self.remove(pending.id(), &lookup).await?;
                Ok(true)
            }
            Outcome::TooEarly => Ok(false),
            Outcome::Unavailable { is_registry } => {
                is_unavailable.fetch_or(is_registry, Ordering::Relaxed);
                self.pending.postpone(pending, Timestamp::now()).await?;
                Ok(false)
            }
        }
    }
}

/// A pending lookup that is to be tried again.
struct Due {
    lookup: Lookup,
    pending: PendingLookup,
}

/// Bounds the requests to each registry, so that a slow one does not delay the lookups of others.
#[derive(Debug, Default)]
struct Slots(Mutex<HashMap<Registry, Arc<Semaphore>>>);

impl Slots {
    /// Waits until fewer than [`CONCURRENT_REQUESTS`] requests to the registry are in progress.
    async fn wait(&self, registry: &Registry) -> Option<OwnedSemaphorePermit> {
        let mut registries = self.0.lock().await;
        registries.retain(|_, requests| Arc::strong_count(requests) > 1);
        let new = || Arc::new(Semaphore::new(CONCURRENT_REQUESTS));
        let requests = Arc::clone(registries.entry(registry.clone()).or_insert_with(new));
        drop(registries);
        requests.acquire_owned().await.ok()
    }
}
