//! What a registry says of a repository.

use std::collections::{BTreeMap, BTreeSet};

use catalog::change::{Content, event_time};
use catalog::image::{Image, Scan};
use catalog::{Digest, RegistryId, Tag, Timestamp};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use registries::ecr::{self, ECR_DELAY};
use registries::{Answer, Distribution, Ecr, Listed, NoAnswer, RegistryAddress};

/// How many manifests are asked for at the same time.
const CONCURRENT_QUESTIONS: usize = 8;

/// What a registry says of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// When, at the latest, it began to be so, by the registry's own clock.
    pub time: Timestamp,
    /// What is there; nothing if the registry does not have the repository.
    pub contents: Option<Contents>,
}

/// What is in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// What each tag points at.
    pub tags: BTreeMap<Tag, Digest>,
    /// Images that are there, those left out of which there is nothing to tell.
    pub images: BTreeMap<Digest, ObservedImage>,
    /// Images of the catalog that are not.
    pub gone: BTreeSet<Digest>,
}

/// What a registry says of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObservedImage {
    /// When it was pushed, if the registry tells.
    pub pushed_at: Option<Timestamp>,
    /// What its manifest tells.
    pub content: Content,
    /// When it was last pulled.
    pub pulled_at: Option<Timestamp>,
    /// When it was last archived.
    pub archived_at: Option<Timestamp>,
    /// When it was last restored from the archive.
    pub activated_at: Option<Timestamp>,
    /// Its last scan.
    pub scan: Option<Scan>,
}

/// Asks Amazon ECR, which lists everything.
pub(crate) async fn of_ecr(
    ecr: &Ecr,
    account: &RegistryId,
    name: &str,
    known: &[Image],
) -> Result<Observation, NoAnswer> {
    let listed = ecr.images(account, name).await?;
    // A push that it does not show yet must not be taken for a deletion.
    let delay = ECR_DELAY.as_millis() as i64;
    let time = Timestamp::from_milliseconds(listed.date.as_milliseconds() - delay);
    let time = time.map_err(|error| NoAnswer(error.to_string()))?;
    let Some(images) = listed.things else { return Ok(Observation { time, contents: None }) };
    let mut contents = Contents::default();
    for image in images {
        let content = ecr::content(&image);
        let Image { image_digest: digest, image_tags, .. } = image;
        contents.tags.extend(image_tags.into_iter().map(|tag| (tag, digest.clone())));
        let observed = ObservedImage {
            pushed_at: Some(event_time(image.image_pushed_at, listed.date)),
            content,
            pulled_at: image.last_recorded_pull_time,
            archived_at: image.last_archived_at,
            activated_at: image.last_activated_at,
            scan: image.scan,
        };
        contents.images.insert(digest, observed);
    }
    let known = known.iter().map(|image| &image.image_digest);
    contents.gone =
        known.filter(|digest| !contents.images.contains_key(*digest)).cloned().collect();
    Ok(Observation { time, contents: Some(contents) })
}

/// The tags of a repository that are compared at once, in ascending byte order.
#[derive(Debug)]
pub(crate) struct TagRange {
    /// Those that come after it; else from the first one on.
    after: Option<Tag>,
    /// Up to this one; else to the last one.
    pub(crate) last: Option<Tag>,
}

impl TagRange {
    /// Lists the tags that are to be compared now: so many of those that were not. All are listed
    /// each time, since registries have ideas of their own about their order, and about pages.
    pub(crate) async fn list(
        distribution: &Distribution,
        address: &RegistryAddress,
        listed: &crate::ToCompare,
        most: usize,
    ) -> Result<(Listed<Tag>, Self), NoAnswer> {
        let Listed { things: names, date } = distribution.tags(address, &listed.name).await?;
        let mut range = Self { after: listed.after.clone(), last: None };
        let things = names.map(|names| {
            let tags = names.iter().filter_map(|name| Tag::parse(name).ok());
            let mut tags: Vec<Tag> = tags.filter(|tag| range.contains(tag)).collect();
            tags.sort_unstable();
            if tags.len() > most {
                tags.truncate(most);
                range.last = tags.last().cloned();
            }
            tags
        });
        Ok((Listed { things, date }, range))
    }

    fn contains(&self, tag: &Tag) -> bool {
        self.after.as_ref().is_none_or(|after| tag > after)
            && self.last.as_ref().is_none_or(|last| tag <= last)
    }

    /// Leaves known images no other tags than these, and tells which of them may turn out to be
    /// gone: those that have any of these tags, and with the first tags also those that have none
    /// at all.
    pub(crate) fn cut(&self, known: &mut [Image]) -> BTreeSet<Digest> {
        let mut doubtful = BTreeSet::new();
        for image in known {
            let was_untagged = image.image_tags.is_empty();
            image.image_tags.retain(|tag| self.contains(tag));
            if !image.image_tags.is_empty() || (was_untagged && self.after.is_none()) {
                doubtful.insert(image.image_digest.clone());
            }
        }
        doubtful
    }
}

/// Asks a registry that speaks the OCI distribution API, which lists tags alone: for what they
/// point at, for the manifests of images that the catalog does not have, or whose size it does not
/// know, for those that an index lists, and whether doubtful images are there that have no tag.
pub(crate) async fn of_distribution(
    distribution: &Distribution,
    address: &RegistryAddress,
    name: &str,
    listed: Listed<Tag>,
    known: &[Image],
    doubtful: &BTreeSet<Digest>,
) -> Result<Observation, NoAnswer> {
    let time = listed.date;
    let Some(tags) = listed.things else { return Ok(Observation { time, contents: None }) };
    let pairs = for_each(tags, async |tag| {
        let digest = distribution.digest(address, name, tag.as_str()).await?;
        // It may have gone since the list was made.
        Ok(digest.map(|digest| (tag, digest)))
    })
    .await?;
    let tags: BTreeMap<Tag, Digest> = pairs.into_iter().flatten().collect();

    let known: BTreeMap<&Digest, &Image> =
        known.iter().map(|image| (&image.image_digest, image)).collect();
    let is_complete = |digest: &Digest| {
        known.get(digest).is_some_and(|image| image.image_size_in_bytes.is_some())
    };
    let mut images = BTreeMap::new();
    let mut wanted: BTreeSet<Digest> = tags.values().cloned().collect();
    while !wanted.is_empty() {
        let asked = std::mem::take(&mut wanted);
        let incomplete = asked.iter().filter(|digest| !is_complete(digest));
        let answers = for_each(incomplete, async |digest| {
            distribution.manifest(address, name, digest.as_str()).await
        })
        .await?;
        for answer in answers {
            // One that is gone by now is no longer anybody's.
            let Answer::Manifest(digest, content) = answer else { continue };
            let manifests = content.manifests.clone().unwrap_or_default();
            images.insert(digest, ObservedImage { content: *content, ..ObservedImage::default() });
            wanted.extend(manifests.into_iter().filter(|manifest| !images.contains_key(manifest)));
        }
    }

    let tagged: BTreeSet<&Digest> = tags.values().collect();
    let unseen =
        doubtful.iter().filter(|digest| !tagged.contains(*digest) && !images.contains_key(*digest));
    let gone = for_each(unseen, async |digest| {
        let there = distribution.digest(address, name, digest.as_str()).await?;
        Ok(if there.is_none() { Some(digest.clone()) } else { None })
    })
    .await?;
    let gone = gone.into_iter().flatten().collect();
    Ok(Observation { time, contents: Some(Contents { tags, images, gone }) })
}

/// Asks a question about each of several things, some at the same time.
async fn for_each<T, A, F: Future<Output = Result<A, NoAnswer>>>(
    things: impl IntoIterator<Item = T>,
    question: impl Fn(T) -> F,
) -> Result<Vec<A>, NoAnswer> {
    stream::iter(things.into_iter().map(question))
        .buffered(CONCURRENT_QUESTIONS)
        .try_collect()
        .await
}
