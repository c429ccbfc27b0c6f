//! Drift: the differences between a registry and the catalog, as changes that remove them.
//!
//! Every change has the time of the observation, or a time that the registry returned. So what
//! happened later prevails, and events that are still to come keep their place.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use catalog::change::{Change, Content};
use catalog::history::RepositoryHistory;
use catalog::image::{Image, Scan};
use catalog::{ChangeKind, Digest, Repository, RepositoryStatement, Tag, Timestamp};
use registries::ecr::DescribedRepository;

use crate::observation::{Contents, Observation, ObservedImage};

/// Times other than that of the push count as equal if they differ by fewer milliseconds. An event
/// contains whole seconds, and a time a little after what happened.
const TIME_TOLERANCE: i64 = 60_000;

/// The changes that turn the images that the catalog has into what was observed. `known` is `None`
/// if the catalog does not have the repository.
#[must_use]
pub fn changes(
    repository: &Repository,
    observed: &Observation,
    known: Option<&[Image]>,
) -> Vec<Change> {
    let change = |time, kind| Change { repository: repository.clone(), time, kind };
    let now = |kind| change(observed.time, kind);
    let Some(contents) = &observed.contents else {
        return known.map(|_| now(ChangeKind::RepositoryDeleted)).into_iter().collect();
    };
    let mut changes = Vec::new();
    if known.is_none() {
        let statement = statement(&contents.repository, &RepositoryHistory::default());
        changes.push(stated(repository, observed, statement));
    }
    let known: BTreeMap<&Digest, &Image> =
        known.unwrap_or_default().iter().map(|image| (&image.image_digest, image)).collect();
    for (digest, image) in &contents.images {
        let known = known.get(digest).copied();
        let (digest, content) = (digest.clone(), image.content.clone());
        let is_new = known.is_none_or(|known| has_more(&content, known));
        match image.pushed_at {
            // An image is not there before it is pushed. Its exact time replaces the event's whole
            // second (rule 57).
            Some(pushed_at)
                if is_new || known.is_some_and(|known| known.image_pushed_at != pushed_at) =>
            {
                let kind = ChangeKind::ImageObserved { digest: digest.clone(), pushed_at, content };
                changes.push(change(observed.time.max(pushed_at), kind));
            }
            None if is_new => {
                let (time, kind) = found(observed, contents, (&digest, None), content, known);
                changes.push(change(time, kind));
            }
            _ => {}
        }
        changes.extend(states(&digest, image, known).map(|(time, kind)| change(time, kind)));
        if let Some(scan) = scan(image, known) {
            // An image is not scanned before it is pushed.
            let time = image.pushed_at.unwrap_or(observed.time).max(observed.time);
            let kind = ChangeKind::ImageScanned { digest: digest.clone(), scan: scan.clone() };
            changes.push(change(time, kind));
        }
    }
    let known_tags: BTreeMap<&Tag, &Digest> = known
        .values()
        .flat_map(|image| image.image_tags.iter().map(|tag| (tag, &image.image_digest)))
        .collect();
    for (tag, digest) in &contents.tags {
        if known_tags.get(tag) != Some(&digest) {
            let content = Content::default();
            let (time, kind) = match contents.images.get(digest).and_then(|image| image.pushed_at) {
                Some(pushed_at) => {
                    let (digest, tag) = (digest.clone(), Some(tag.clone()));
                    let kind = ChangeKind::ImagePushed { digest, tag, content };
                    (pushed_at.max(observed.time), kind)
                }
                None => {
                    let known = known.get(digest).copied();
                    found(observed, contents, (digest, Some(tag)), content, known)
                }
            };
            changes.push(change(time, kind));
        }
    }
    // The tags of a deleted image are deleted with it.
    for (tag, digest) in known_tags {
        if !contents.tags.contains_key(tag) && !contents.deleted.contains(digest) {
            changes.push(now(ChangeKind::TagDeleted { tag: tag.clone() }));
        }
    }
    for digest in contents.deleted.iter().filter(|digest| known.contains_key(digest)) {
        changes.push(now(ChangeKind::ImageDeleted { digest: digest.clone() }));
    }
    changes
}

/// The change that turns what the catalog knows of a repository itself into what was observed;
/// `None` without a difference.
#[must_use]
pub fn repository_change(
    repository: &Repository,
    observed: &Observation,
    known: &RepositoryHistory,
) -> Option<Change> {
    let statement = statement(&observed.contents.as_ref()?.repository, known);
    (statement != RepositoryStatement::default()).then(|| stated(repository, observed, statement))
}

fn stated(
    repository: &Repository,
    observed: &Observation,
    statement: RepositoryStatement,
) -> Change {
    // A repository is not there before it is created.
    let time = statement.created_at.max(Some(observed.time)).unwrap_or(observed.time);
    let kind = ChangeKind::RepositoryStated(statement);
    Change { repository: repository.clone(), time, kind }
}

/// What was observed of a repository and differs from what is known of it.
fn statement(observed: &DescribedRepository, known: &RepositoryHistory) -> RepositoryStatement {
    fn new<T: Clone + PartialEq>(observed: &Option<T>, known: &Option<T>) -> Option<T> {
        observed.clone().filter(|_| observed != known)
    }
    let DescribedRepository { description, tags } = observed;
    let known_tags = known.tags();
    let known = known.description().unwrap_or_default();
    let mut statement = RepositoryStatement {
        created_at: new(&description.created_at, &known.created_at),
        uri: new(&description.uri, &known.uri),
        image_tag_mutability: new(&description.image_tag_mutability, &known.image_tag_mutability),
        scan_on_push: new(&description.scan_on_push, &known.scan_on_push),
        encryption: new(&description.encryption, &known.encryption),
        tags: BTreeMap::new(),
    };
    if let Some(tags) = tags {
        let removed = known_tags.keys().filter(|key| !tags.contains_key(*key));
        statement.tags.extend(removed.map(|key| (key.clone(), None)));
        let added = tags.iter().filter(|(key, value)| known_tags.get(*key) != Some(*value));
        statement.tags.extend(added.map(|(key, value)| (key.clone(), Some(value.clone()))));
    }
    statement
}

/// An image or its tag in a registry that does not return the exact time of a push (rule 59). A
/// push that the catalog knows is never taken for another one.
fn found(
    observed: &Observation,
    contents: &Contents,
    (digest, tag): (&Digest, Option<&Tag>),
    content: Content,
    known: Option<&Image>,
) -> (Timestamp, ChangeKind) {
    let image = contents.images.get(digest);
    let assumed = image.and_then(|image| image.assumed_pushed_at);
    let found_at = contents.found_at.get(digest).copied();
    let pushed_at = assumed.unwrap_or(observed.time);
    let kind = ChangeKind::ImageFound {
        digest: digest.clone(),
        tag: tag.cloned(),
        pushed_at,
        // A listing has milliseconds, and the push may have been later in that of its time.
        found_at: found_at
            .max(known.map(|known| known.image_pushed_at.plus(Duration::from_nanos(999_999))))
            .unwrap_or(observed.time),
        is_stated: image.is_some_and(|image| image.is_stated),
        content,
    };
    // An image is not there before it is pushed.
    (observed.time.max(pushed_at), kind)
}

/// Whether a manifest contains what the catalog does not have. Some contain no size.
fn has_more(content: &Content, known: &Image) -> bool {
    let is_new = |new: &Option<String>, known: &Option<String>| new.is_some() && new != known;
    let size = content.size_in_bytes;
    is_new(&content.manifest_media_type, &known.image_manifest_media_type)
        || is_new(&content.artifact_media_type, &known.artifact_media_type)
        || (content.subject.is_some() && content.subject != known.subject_manifest_digest)
        || (size.is_some() && size != known.image_size_in_bytes)
        || (content.manifests.is_some() && known.image_size_in_bytes.is_none())
}

/// The scan of an image, if the catalog has another one (rule 60). Few scans have a time that could
/// be compared. So it counts as of the observation, and events since then prevail.
fn scan<'a>(image: &'a ObservedImage, known: Option<&Image>) -> Option<&'a Scan> {
    let scan = image.scan.as_ref()?;
    let stated = known.and_then(|known| known.scan.clone()).unwrap_or_default();
    // A statement from before the last push does not count any longer.
    let is_pushed_since = || {
        let pushed_at = known.zip(image.pushed_at);
        pushed_at.is_some_and(|(known, pushed_at)| !is_same(known.image_pushed_at, pushed_at))
    };
    (*scan != stated || (!scan.is_none() && is_pushed_since())).then_some(scan)
}

/// The last pull and change of the storage class of an image, if the catalog does not have them.
fn states(
    digest: &Digest,
    image: &ObservedImage,
    known: Option<&Image>,
) -> impl Iterator<Item = (Timestamp, ChangeKind)> {
    let newer = |time: Option<Timestamp>, known: Option<Timestamp>| {
        time.filter(|time| is_later(*time, known))
    };
    let pulled_at = newer(image.pulled_at, known.and_then(|known| known.last_recorded_pull_time));
    let archived_at = newer(image.archived_at, known.and_then(|known| known.last_archived_at));
    let activated_at = newer(image.activated_at, known.and_then(|known| known.last_activated_at));
    let pulled = |time| (time, ChangeKind::ImagePulled { digest: digest.clone() });
    let archived = |time| (time, ChangeKind::ImageArchived { digest: digest.clone() });
    let restored =
        |time| (time, ChangeKind::ImageRestored { digest: digest.clone(), activated_at: time });
    [pulled_at.map(pulled), archived_at.map(archived), activated_at.map(restored)]
        .into_iter()
        .flatten()
}

fn is_later(time: Timestamp, known: Option<Timestamp>) -> bool {
    known.is_none_or(|known| time > known && !is_same(time, known))
}

fn is_same(one: Timestamp, other: Timestamp) -> bool {
    (one.as_milliseconds() - other.as_milliseconds()).abs() < TIME_TOLERANCE
}

/// The kind of a difference, one of few values for the metrics.
#[must_use]
pub fn kind(change: &Change) -> &'static str {
    match &change.kind {
        ChangeKind::ImageObserved { .. }
        | ChangeKind::ImagePushed { tag: None, .. }
        | ChangeKind::ImageFound { tag: None, .. } => "Image",
        ChangeKind::ImagePushed { tag: Some(_), .. }
        | ChangeKind::ImageFound { tag: Some(_), .. } => "Tag",
        ChangeKind::ImageUntagged { .. } | ChangeKind::TagDeleted { .. } => "TagDeleted",
        ChangeKind::ImageDeleted { .. } => "ImageDeleted",
        ChangeKind::RepositoryStated(_) | ChangeKind::RepositoryLocated { .. } => "Repository",
        ChangeKind::RepositoryDeleted => "RepositoryDeleted",
        ChangeKind::ImageScanned { .. } => "Scan",
        ChangeKind::ImagePulled { .. } => "Pull",
        ChangeKind::ImageArchived { .. } | ChangeKind::ImageRestored { .. } => "Status",
    }
}

/// The description of a difference.
#[derive(Debug)]
pub struct Description<'a>(pub &'a Change);

impl fmt::Display for Description<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.0.repository)?;
        match &self.0.kind {
            ChangeKind::ImagePushed { digest, tag: Some(tag), .. }
            | ChangeKind::ImageFound { digest, tag: Some(tag), .. } => {
                write!(formatter, "the tag {tag} points to {digest}")
            }
            ChangeKind::ImageObserved { digest, .. }
            | ChangeKind::ImagePushed { digest, tag: None, .. }
            | ChangeKind::ImageFound { digest, tag: None, .. } => {
                write!(formatter, "the image {digest} is missing or incomplete")
            }
            ChangeKind::TagDeleted { tag } | ChangeKind::ImageUntagged { tag, .. } => {
                write!(formatter, "the tag {tag} was deleted")
            }
            ChangeKind::ImageDeleted { digest } => {
                write!(formatter, "the image {digest} was deleted")
            }
            ChangeKind::RepositoryStated(_) | ChangeKind::RepositoryLocated { .. } => {
                formatter.write_str("the repository is missing or incomplete")
            }
            ChangeKind::RepositoryDeleted => formatter.write_str("the repository was deleted"),
            ChangeKind::ImageScanned { digest, scan } if scan.is_none() => {
                write!(formatter, "the image {digest} has no scan")
            }
            ChangeKind::ImageScanned { digest, .. } => {
                write!(formatter, "the scan of the image {digest} is missing or another one")
            }
            ChangeKind::ImagePulled { digest } => {
                write!(formatter, "the image {digest} was pulled")
            }
            ChangeKind::ImageArchived { digest } => {
                write!(formatter, "the image {digest} was archived")
            }
            ChangeKind::ImageRestored { digest, .. } => {
                write!(formatter, "the image {digest} was restored from the archive")
            }
        }
    }
}
