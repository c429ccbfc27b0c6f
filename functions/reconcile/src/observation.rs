//! An observation: what a registry returned about a repository.

mod push_time;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use catalog::change::{Content, event_time};
use catalog::image::{Image, Scan};
use catalog::table::causes;
use catalog::{Digest, Tag, Timestamp};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use registries::ecr::{self, DescribedRepository, ECR_DELAY};
use registries::{
    FoundManifest, Listed, ManifestLookup, ManifestNotFound, OciClient, PushHints, RegistryAddress,
    RegistryUnavailable, Source,
};

use crate::ReconcileJob;

const CONCURRENT_REQUESTS: usize = 8;

/// What a registry returned about a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// A time before the request, by the registry's own clock.
    pub time: Timestamp,
    /// `None` if the registry does not have the repository.
    pub contents: Option<Contents>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// The repository itself, as far as the registry describes it.
    pub repository: DescribedRepository,
    pub tags: BTreeMap<Tag, Digest>,
    /// The images that may differ from the catalog's.
    pub images: BTreeMap<Digest, ObservedImage>,
    /// The images of the catalog that the registry does not have.
    pub deleted: BTreeSet<Digest>,
    /// When the registry returned each image, by its own clock; a push after that is another one.
    /// Empty if it returns the exact times of pushes.
    pub found_at: BTreeMap<Digest, Timestamp>,
}

/// An image in a registry. The times are those that the registry returned, if any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObservedImage {
    pub pushed_at: Option<Timestamp>,
    /// The time that counts until the event of the push is known, without an exact one (rule 59);
    /// `None` is the time of the observation.
    pub assumed_pushed_at: Option<Timestamp>,
    /// Whether the product's own API returned that time.
    pub is_stated: bool,
    pub content: Content,
    pub pulled_at: Option<Timestamp>,
    pub archived_at: Option<Timestamp>,
    pub activated_at: Option<Timestamp>,
    /// `None` if the registry returns no scans.
    pub scan: Option<Scan>,
}

/// Observes a repository in one of Amazon's services, which return all images.
pub(crate) fn of_ecr(
    listed: Listed<Image>,
    mut repository: DescribedRepository,
    known: &[Image],
) -> Result<Observation, RegistryUnavailable> {
    // The list may not contain an image that was just pushed. That is not a deletion.
    let delay = ECR_DELAY.as_millis() as i64;
    let time = Timestamp::from_milliseconds(listed.date.as_milliseconds() - delay)
        .map_err(|_| RegistryUnavailable::NoDate)?;
    let Some(images) = listed.items else { return Ok(Observation { time, contents: None }) };
    let created_at = &mut repository.description.created_at;
    *created_at = created_at.map(|created_at| event_time(created_at, listed.date));
    let mut contents = Contents { repository, ..Contents::default() };
    for image in images {
        let content = ecr::content(&image);
        let Image { image_digest: digest, image_tags, .. } = image;
        contents.tags.extend(image_tags.into_iter().map(|tag| (tag, digest.clone())));
        let observed = ObservedImage {
            pushed_at: Some(event_time(image.image_pushed_at, listed.date)),
            assumed_pushed_at: None,
            is_stated: false,
            content,
            pulled_at: image.last_recorded_pull_time,
            archived_at: image.last_archived_at,
            activated_at: image.last_activated_at,
            scan: Some(image.scan.unwrap_or_default()),
        };
        contents.images.insert(digest, observed);
    }
    let known = known.iter().map(|image| &image.image_digest);
    contents.deleted =
        known.filter(|digest| !contents.images.contains_key(*digest)).cloned().collect();
    Ok(Observation { time, contents: Some(contents) })
}

/// The tags of one job, in ascending byte order.
#[derive(Debug)]
pub(crate) struct TagRange {
    /// Exclusive; `None` is the first tag.
    after: Option<Tag>,
    /// Inclusive; `None` is the last tag.
    pub(crate) last: Option<Tag>,
}

impl TagRange {
    /// Lists the tags of a job, `max` at most. The registry returns all tags each time, because the
    /// order of tags and of pages differs between registries.
    pub(crate) async fn list(
        oci: &OciClient,
        address: &RegistryAddress,
        job: &ReconcileJob,
        max: usize,
    ) -> Result<(Listed<Tag>, Self), RegistryUnavailable> {
        let Listed { items: names, date } = oci.tags(address, &job.name).await?;
        let mut range = Self { after: job.after.clone(), last: None };
        let items = names.map(|names| {
            let tags = names.iter().filter_map(|name| Tag::parse(name).ok());
            let mut tags: Vec<Tag> = tags.filter(|tag| range.contains(tag)).collect();
            tags.sort_unstable();
            if tags.len() > max {
                tags.truncate(max);
                range.last = tags.last().cloned();
            }
            tags
        });
        Ok((Listed { items, date }, range))
    }

    fn contains(&self, tag: &Tag) -> bool {
        self.after.as_ref().is_none_or(|after| tag > after)
            && self.last.as_ref().is_none_or(|last| tag <= last)
    }

    /// Removes the other tags from images of the catalog. Returns the deletion candidates: the
    /// images with any of these tags and, in the first range, those without tags.
    pub(crate) fn restrict(&self, known: &mut [Image]) -> BTreeSet<Digest> {
        let mut candidates = BTreeSet::new();
        for image in known {
            let was_untagged = image.image_tags.is_empty();
            image.image_tags.retain(|tag| self.contains(tag));
            if !image.image_tags.is_empty() || (was_untagged && self.after.is_none()) {
                candidates.insert(image.image_digest.clone());
            }
        }
        candidates
    }
}

/// A repository in a registry with the OCI distribution API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ObservedRepository<'a> {
    pub(crate) oci: &'a OciClient,
    pub(crate) address: &'a RegistryAddress,
    /// The registry's product, if it is known.
    pub(crate) source: Option<Source>,
    pub(crate) name: &'a str,
}

/// Observes a repository with the OCI distribution API, which lists tags alone. Looks up the
/// digests of the tags; the manifests of images that the catalog does not have, or without a size,
/// and those that an index lists; whether the deletion candidates exist; and what there is about
/// the push times of images that the catalog does not have.
pub(crate) async fn of_oci(
    repository: ObservedRepository<'_>,
    listed: Listed<Tag>,
    known: &[Image],
    candidates: &BTreeSet<Digest>,
) -> Result<Observation, RegistryUnavailable> {
    let ObservedRepository { oci, address, name, .. } = repository;
    let time = listed.date;
    let Some(tags) = listed.items else { return Ok(Observation { time, contents: None }) };
    let pairs = for_each(tags, async |tag| {
        let digest = oci.digest(address, name, tag.as_str()).await?;
        // It may have been deleted since.
        Ok(digest.map(|(digest, date)| (tag, digest, found_at(date))))
    })
    .await?;
    let mut contents = Contents::default();
    contents.repository.description.uri = Some(address.repository_uri(name));
    for (tag, digest, found_at) in pairs.into_iter().flatten() {
        let first = contents.found_at.entry(digest.clone()).or_insert(found_at);
        *first = found_at.min(*first);
        contents.tags.insert(tag, digest);
    }

    let known: BTreeMap<&Digest, &Image> =
        known.iter().map(|image| (&image.image_digest, image)).collect();
    let is_complete = |digest: &Digest| {
        known.get(digest).is_some_and(|image| image.image_size_in_bytes.is_some())
    };
    let mut unknown: BTreeMap<Digest, PushHints> = BTreeMap::new();
    let mut wanted: BTreeSet<Digest> = contents.tags.values().cloned().collect();
    while !wanted.is_empty() {
        let next = std::mem::take(&mut wanted);
        let incomplete = next.iter().filter(|digest| !is_complete(digest));
        let lookups =
            for_each(incomplete, async |digest| oci.manifest(address, name, digest.as_str()).await)
                .await?;
        for lookup in lookups {
            let found = match lookup {
                ManifestLookup::Found(found) => found,
                // It may have been deleted since.
                ManifestLookup::NotFound(ManifestNotFound::Unknown) => continue,
                ManifestLookup::NotFound(reason) => {
                    tracing::warn!(name, reason = causes(&reason), "a manifest cannot be read");
                    continue;
                }
            };
            let FoundManifest { digest, content, hints, .. } = *found;
            let manifests = content.manifests.clone().unwrap_or_default();
            contents.found_at.entry(digest.clone()).or_insert_with(|| found_at(hints.date));
            if !known.contains_key(&digest) {
                unknown.insert(digest.clone(), hints);
            }
            let image = ObservedImage { content, ..ObservedImage::default() };
            contents.images.insert(digest, image);
            let images = &contents.images;
            wanted.extend(manifests.into_iter().filter(|manifest| !images.contains_key(manifest)));
        }
    }
    push_time::assume(&repository, time, &unknown, &known, &mut contents).await?;

    let unseen = candidates.iter().filter(|digest| !contents.found_at.contains_key(*digest));
    let deleted = for_each(unseen, async |digest| {
        let there = oci.digest(address, name, digest.as_str()).await?;
        Ok(if there.is_none() { Some(digest.clone()) } else { None })
    })
    .await?;
    contents.deleted = deleted.into_iter().flatten().collect();
    Ok(Observation { time, contents: Some(contents) })
}

/// The end of the second in which a registry sent a response.
fn found_at(date: Option<Timestamp>) -> Timestamp {
    let now = Timestamp::now();
    event_time(date.unwrap_or(now), now).plus(Duration::from_secs(1))
}

/// Sends a request for each item, some at the same time.
async fn for_each<T, R, F: Future<Output = Result<R, RegistryUnavailable>>>(
    items: impl IntoIterator<Item = T>,
    request: impl Fn(T) -> F,
) -> Result<Vec<R>, RegistryUnavailable> {
    stream::iter(items.into_iter().map(request)).buffered(CONCURRENT_REQUESTS).try_collect().await
}
