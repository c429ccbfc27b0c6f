//! Manifest lookups: an event of a push that does not contain the manifest leads to a request to
//! the registry for it, by the digest or, where the event contains only a tag, by the tag.
//!
//! What the event contains is applied before the request, which delays no acknowledgement. A lookup
//! that its registry does not complete is kept, and retried until it does, or until it expires.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
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

/// Of one registry, after their deliveries were acknowledged.
const MAX_IN_PROGRESS: usize = 1000;

/// Requests to one registry at the same time. A manifest has up to four mebibytes.
const CONCURRENT_REQUESTS: usize = 8;

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

    /// What `docker pull` takes for the repository, if the lookup tells.
    pub(crate) fn repository_uri(&self) -> Option<String> {
        match &self.registry {
            Registry::Oci(address) => Some(address.repository_uri(&self.name)),
            Registry::Ecr { .. } => None,
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
    lanes: Lanes,
    numbers: Mutex<HashMap<Registry, Pending>>,
}

/// The pending lookups of a registry, as the last round of retries counted them, and since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pending {
    pub number: usize,
    /// The time of the first push among them.
    pub oldest: Option<Timestamp>,
}

impl Pending {
    fn add(&mut self, lookup: &Lookup) {
        self.number += 1;
        self.oldest = self.oldest.into_iter().chain([lookup.time]).min();
    }
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
        let (slots, lanes, numbers) = (Slots::default(), Lanes::default(), Mutex::default());
        Self { reader, pending, registries, addresses, slots, lanes, numbers }
    }

    /// Whether requests are sent to the registry at all. An event alone does not choose an address,
    /// and a subscription may be another one by now.
    pub(crate) async fn can_begin(&self, lookup: &Lookup) -> bool {
        match &lookup.registry {
            Registry::Ecr { .. } => self.registries.ecr.is_some(),
            Registry::Oci(address) if address.subscription.is_some() => {
                self.registries.oci.is_named(address).await
            }
            Registry::Oci(address) => address.is_of_service() || self.addresses.contains(address),
        }
    }

    /// Keeps lookups for later, and returns them, the latest of each id. Of a registry with [`MAX_PENDING`]
    /// already, none more: then reconciliation adds what they would have added.
    pub(crate) async fn keep(&self, mut lookups: Vec<Lookup>) -> Result<Vec<Lookup>, StoreError> {
        lookups.sort_by_key(|lookup| lookup.time);
        let by_id: BTreeMap<String, Lookup> =
            lookups.into_iter().map(|lookup| (lookup.id(), lookup)).collect();
        let mut kept = Vec::new();
        let mut dropped = 0;
        for (id, lookup) in by_id {
            let mut numbers = self.numbers.lock().await;
            let pending = numbers.entry(lookup.registry.clone()).or_default();
            if pending.number >= MAX_PENDING {
                dropped += 1;
                continue;
            }
            pending.add(&lookup);
            drop(numbers);
            self.pending.put(&id, lookup.time, &lookup).await?;
            kept.push(lookup);
        }
        if dropped > 0 {
            counter!("LookupsDropped").increment(dropped);
            tracing::warn!(dropped, "too many lookups are pending for others of the registry");
        }
        Ok(kept)
    }

    async fn remove(&self, id: &str, lookup: &Lookup) -> Result<(), StoreError> {
        let mut numbers = self.numbers.lock().await;
        if let Some(pending) = numbers.get_mut(&lookup.registry) {
            pending.number = pending.number.saturating_sub(1);
            if pending.number == 0 {
                numbers.remove(&lookup.registry);
            }
        }
        drop(numbers);
        self.pending.remove(id, lookup).await
    }

    /// The pending lookups of each registry that has some.
    pub(crate) async fn pending(&self) -> Vec<(Registry, Pending)> {
        let numbers = self.numbers.lock().await;
        numbers.iter().map(|(registry, pending)| (registry.clone(), *pending)).collect()
    }

    /// Completes lookups until the time is up, and keeps those that may be completed later.
    pub(crate) async fn complete(
        &self,
        writer: &Writer,
        lookups: &[Lookup],
        until: Instant,
    ) -> Result<(), StoreError> {
        let complete = async |lookup: &Lookup| {
            let _slot = self.slot(lookup, until).await;
            match self.look_up(writer, lookup, until).await? {
                Outcome::Completed => Ok(()),
                Outcome::TooEarly | Outcome::Unavailable { .. } => {
                    self.keep(vec![lookup.clone()]).await.map(drop)
                }
            }
        };
        stream::iter(lookups.iter().map(complete))
            .buffer_unordered(CONCURRENT_LOOKUPS)
            .try_collect()
            .await
    }

    /// Begins to complete lookups that were kept. Of a registry for which [`MAX_IN_PROGRESS`] are in
    /// progress already, none more: those are left to the next round of retries.
    pub(crate) async fn begin(&self, kept: Vec<Lookup>) -> Vec<Begun> {
        let mut begun = Vec::new();
        for lookup in kept {
            if let Some(place) = self.slots.place(&lookup.registry).await {
                begun.push(Begun { lookup, place });
            }
        }
        begun
    }

    /// Completes lookups that have begun.
    pub(crate) async fn complete_begun(
        &self,
        writer: &Writer,
        begun: Vec<Begun>,
    ) -> Result<(), StoreError> {
        let until = Instant::now() + LOOKUPS_TIMEOUT;
        let complete = async |Begun { lookup, place }: Begun| {
            let _slot = self.slot(&lookup, until).await;
            let result = match self.look_up(writer, &lookup, until).await? {
                Outcome::Completed => self.remove(&lookup.id(), &lookup).await,
                Outcome::TooEarly | Outcome::Unavailable { .. } => Ok(()),
            };
            drop(place);
            result
        };
        stream::iter(begun.into_iter().map(complete))
            .buffer_unordered(CONCURRENT_LOOKUPS)
            .try_collect()
            .await
    }

    /// Waits for a request to be allowed, until the time is up. One of Amazon ECR's client is for many
    /// images.
    async fn slot(&self, lookup: &Lookup, until: Instant) -> Option<OwnedSemaphorePermit> {
        if lookup.is_ecr() {
            return None;
        }
        timeout_at(until, self.slots.wait(&lookup.registry)).await.unwrap_or_default()
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
        let count = |outcome| counter!("Lookups", "Outcome" => outcome).increment(1);
        let found = match found {
            Ok(ManifestLookup::Found(found)) => {
                count("Found");
                *found
            }
            Ok(ManifestLookup::NotFound(_)) if lookup.is_early() => return Ok(Outcome::TooEarly),
            Ok(ManifestLookup::NotFound(reason)) => {
                count("NotFound");
                let reason = causes(&reason);
                tracing::warn!(%repository, reference, reason, "the manifest was not found");
                return Ok(Outcome::Completed);
            }
            Err(error) => {
                count("Unavailable");
                // A refusal is of one manifest; 429 is of all requests.
                let is_registry =
                    !matches!(error, RegistryUnavailable::Status(400..=428 | 430..=499));
                let error = causes(&error);
                tracing::info!(%repository, reference, error, "the lookup will be retried");
                return Ok(Outcome::Unavailable { is_registry });
            }
        };
        if self.is_superseded(lookup, &found.digest).await? {
            tracing::info!(%repository, reference, "the tag has been moved since");
            return Ok(Outcome::Completed);
        }
        match apply(writer, &lookup.completed(found), lookup.repository_uri().as_deref()).await {
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
    /// pending. The registries are requested side by side, so that none waits for another. Rounds may
    /// overlap: a registry whose retries are still in progress is left out.
    pub(crate) async fn retry(&self, writer: &Writer, until: Instant) -> Result<usize, StoreError> {
        let due = self.due().await?;
        let retries = due.into_iter().filter_map(|(target, lookups)| {
            let lane = self.lanes.enter(target)?;
            Some(async move {
                let completed = self.retry_all(writer, lookups, until).await;
                drop(lane);
                completed
            })
        });
        stream::iter(retries)
            .buffer_unordered(CONCURRENT_LOOKUPS)
            .try_fold(0, async |sum, completed| Ok(sum + completed))
            .await
    }

    /// The pending lookups that are due, by registry. Of Amazon ECR, that is each repository, because
    /// permissions may differ between them.
    async fn due(&self) -> Result<HashMap<Target, Vec<Due>>, StoreError> {
        let mut due: HashMap<_, Vec<Due>> = HashMap::new();
        let mut numbers: HashMap<Registry, Pending> = HashMap::new();
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
                numbers.entry(lookup.registry.clone()).or_default().add(&lookup);
                let name = if lookup.is_ecr() { lookup.name.clone() } else { String::new() };
                let lookups = due.entry((lookup.registry.clone(), name)).or_default();
                if pending.is_due(Timestamp::now())
                    && lookups.len() < MAX_RETRIES
                    && self.can_begin(&lookup).await
                {
                    lookups.push(Due { lookup, pending });
                }
            }
        }
        for (registry, Pending { number, .. }) in &numbers {
            tracing::info!(%registry, number, "lookups are pending");
        }
        let number: usize = numbers.values().map(|pending| pending.number).sum();
        histogram!("PendingLookups").record(number as f64);
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
        let _slot = self.slot(&lookup, until).await;
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

/// A registry; of Amazon ECR, with a repository, else with an empty name.
type Target = (Registry, String);

/// A lookup that is in progress.
#[derive(Debug)]
pub(crate) struct Begun {
    lookup: Lookup,
    place: OwnedSemaphorePermit,
}

/// The targets whose retries are in progress.
#[derive(Debug, Default)]
struct Lanes(StdMutex<HashSet<Target>>);

/// The retries of one target.
struct Lane<'a> {
    lanes: &'a Lanes,
    target: Target,
}

impl Lanes {
    /// `None` if the retries of the target are in progress.
    fn enter(&self, target: Target) -> Option<Lane<'_>> {
        let mut targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = targets.insert(target.clone());
        drop(targets);
        is_new.then(|| Lane { lanes: self, target })
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        self.lanes.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.target);
    }
}

/// Bounds the lookups and the requests of each registry, so that a slow one does not delay the
/// lookups of others.
#[derive(Debug, Default)]
struct Slots(Mutex<HashMap<Registry, RegistrySlots>>);

#[derive(Debug)]
struct RegistrySlots {
    /// For lookups that are in progress.
    places: Arc<Semaphore>,
    requests: Arc<Semaphore>,
}

impl RegistrySlots {
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.places) > 1 || Arc::strong_count(&self.requests) > 1
    }
}

impl Slots {
    /// A place for a lookup in progress; `None` if [`MAX_IN_PROGRESS`] are.
    async fn place(&self, registry: &Registry) -> Option<OwnedSemaphorePermit> {
        self.of(registry).await.0.try_acquire_owned().ok()
    }

    /// Waits until fewer than [`CONCURRENT_REQUESTS`] requests to the registry are in progress.
    async fn wait(&self, registry: &Registry) -> Option<OwnedSemaphorePermit> {
        self.of(registry).await.1.acquire_owned().await.ok()
    }

    async fn of(&self, registry: &Registry) -> (Arc<Semaphore>, Arc<Semaphore>) {
        let mut registries = self.0.lock().await;
        registries.retain(|_, slots| slots.is_used());
        let slots = registries.entry(registry.clone()).or_insert_with(|| RegistrySlots {
            places: Arc::new(Semaphore::new(MAX_IN_PROGRESS)),
            requests: Arc::new(Semaphore::new(CONCURRENT_REQUESTS)),
        });
        (Arc::clone(&slots.places), Arc::clone(&slots.requests))
    }
}
