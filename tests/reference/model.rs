//! A model of the catalog: changes, sorted by their times, applied one after the other to maps in
//! memory. The table must equal it, whatever the order of arrival.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use catalog::change::Content;
use catalog::image::{Image, ImageStatus, Scan, TagStatus};
use catalog::reader::{Filter, ImageIdentifier};
use catalog::{Change, ChangeKind, Digest, Tag, Timestamp};

/// The images of a repository, the newest first; `None` if it does not exist.
pub fn fold(changes: &[Change]) -> Option<Vec<Image>> {
    let mut changes: Vec<&Change> = changes.iter().collect();
    changes.sort_by_key(|&change| (change.time, rank(change)));
    let mut repository = Repository::default();
    for change in &changes {
        repository.apply(change);
    }
    let mut images: Vec<Image> = repository
        .images
        .iter()
        .map(|(digest, pushed_at)| repository.describe(digest, *pushed_at))
        .collect();
    sort(&mut images);
    repository.exists.then_some(images)
}

/// For each change, whether it is possible after the others: no registry removes a tag from an
/// image that does not have it.
pub fn are_possible(changes: &[Change]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..changes.len()).collect();
    order.sort_by_key(|place| (changes[*place].time, rank(&changes[*place])));
    let mut repository = Repository::default();
    let mut possible = vec![true; changes.len()];
    for place in order {
        if let ChangeKind::ImageUntagged { digest, tag } = &changes[place].kind {
            possible[place] = repository.tags.get(tag) == Some(digest);
        }
        repository.apply(&changes[place]);
    }
    possible
}

/// Sorts images as they are listed.
pub fn sort(images: &mut [Image]) {
    images.sort_by_key(|image| {
        (
            Reverse(image.image_pushed_at.as_milliseconds()),
            !image.is_index(),
            image.image_digest.clone(),
        )
    });
}

/// The responses to all requests about a repository.
#[derive(Debug, Clone, PartialEq)]
pub struct Responses {
    /// For every filter, the images that pass it.
    pub listed: Vec<(Filter, Vec<Image>)>,
    /// For each requested digest or tag, the image.
    pub found: Vec<(ImageIdentifier, Option<Image>)>,
}

/// The expected responses after these changes, including lookups of these images; `None` if the
/// repository does not exist.
pub fn responses(changes: &[Change], requested: &[ImageIdentifier]) -> Option<Responses> {
    let images = fold(changes)?;
    let passing =
        |filter: &Filter| images.iter().filter(|image| filter.passes(image)).map(listed).collect();
    let find = |identifier: &ImageIdentifier| {
        let fits = |image: &&Image| {
            identifier.digest.as_ref().is_none_or(|digest| *digest == image.image_digest)
                && identifier.tag.as_ref().is_none_or(|tag| image.image_tags.contains(tag))
        };
        images.iter().find(fits).cloned()
    };
    Some(Responses {
        listed: filters().map(|filter| (filter, passing(&filter))).collect(),
        found: requested.iter().map(|requested| (requested.clone(), find(requested))).collect(),
    })
}

/// An image as a listing has it, with times in milliseconds.
fn listed(image: &Image) -> Image {
    let in_milliseconds = |time: Option<Timestamp>| {
        time.map(|time| Timestamp::from_milliseconds(time.as_milliseconds()).unwrap())
    };
    let mut listed = image.clone();
    listed.image_pushed_at = in_milliseconds(Some(image.image_pushed_at)).unwrap();
    listed.last_recorded_pull_time = in_milliseconds(image.last_recorded_pull_time);
    listed.last_archived_at = in_milliseconds(image.last_archived_at);
    listed.last_activated_at = in_milliseconds(image.last_activated_at);
    if let Some(findings) = listed.scan.as_mut().and_then(|scan| scan.findings.as_mut()) {
        findings.completed_at = in_milliseconds(findings.completed_at);
        findings.vulnerability_source_updated_at =
            in_milliseconds(findings.vulnerability_source_updated_at);
    }
    listed
}

pub fn filters() -> impl Iterator<Item = Filter> {
    let tag_statuses = [None, Some(TagStatus::Tagged), Some(TagStatus::Untagged)];
    let image_statuses = [None, Some(ImageStatus::Active), Some(ImageStatus::Archived)];
    tag_statuses.into_iter().flat_map(move |tag_status| {
        image_statuses.into_iter().map(move |image_status| Filter { tag_status, image_status })
    })
}

/// Every digest and every tag in the changes, and one of each that they do not contain.
pub fn identifiers(changes: &[Change]) -> Vec<ImageIdentifier> {
    let (mut digests, mut tags) = (
        BTreeSet::from([crate::harness::digest(0)]),
        BTreeSet::from([crate::harness::tag("none")]),
    );
    for change in changes {
        match &change.kind {
            ChangeKind::ImagePushed { digest, tag, content }
            | ChangeKind::ImageFound { digest, tag, content, .. } => {
                digests.insert(digest.clone());
                digests.extend(content.manifests.iter().flatten().cloned());
                tags.extend(tag.clone());
            }
            ChangeKind::ImageObserved { digest, content, .. } => {
                digests.insert(digest.clone());
                digests.extend(content.manifests.iter().flatten().cloned());
            }
            ChangeKind::ImageUntagged { digest, tag } => {
                digests.insert(digest.clone());
                tags.insert(tag.clone());
            }
            ChangeKind::TagDeleted { tag } => drop(tags.insert(tag.clone())),
            ChangeKind::ImageDeleted { digest }
            | ChangeKind::ImageScanned { digest, .. }
            | ChangeKind::ImagePulled { digest }
            | ChangeKind::ImageArchived { digest }
            | ChangeKind::ImageRestored { digest, .. } => drop(digests.insert(digest.clone())),
            ChangeKind::RepositoryStated(_)
            | ChangeKind::RepositoryLocated { .. }
            | ChangeKind::RepositoryDeleted => {}
        }
    }
    let by_digest =
        digests.into_iter().map(|digest| ImageIdentifier { digest: Some(digest), tag: None });
    let by_tag = tags.into_iter().map(|tag| ImageIdentifier { digest: None, tag: Some(tag) });
    by_digest.chain(by_tag).collect()
}

/// The order of changes at equal times. Of one digest, pushes come before finds.
type Rank<'a> = (u8, Option<&'a Digest>, Option<(Option<&'a Tag>, Timestamp, Timestamp, bool)>);

fn rank(change: &Change) -> Rank<'_> {
    match &change.kind {
        ChangeKind::RepositoryDeleted | ChangeKind::ImageDeleted { .. } => (0, None, None),
        ChangeKind::ImageUntagged { .. } => (1, None, None),
        ChangeKind::TagDeleted { .. } => (2, None, None),
        ChangeKind::RepositoryStated(_) | ChangeKind::RepositoryLocated { .. } => (3, None, None),
        ChangeKind::ImagePushed { digest, .. } | ChangeKind::ImageObserved { digest, .. } => {
            (4, Some(digest), None)
        }
        ChangeKind::ImageFound { digest, tag, pushed_at, found_at, is_stated, .. } => {
            let pushed_at = (*pushed_at).min(change.time);
            let found = (tag.as_ref(), pushed_at, *found_at, *is_stated);
            (4, Some(digest), Some(found))
        }
        ChangeKind::ImageRestored { .. } => (6, None, None),
        ChangeKind::ImageScanned { .. }
        | ChangeKind::ImagePulled { .. }
        | ChangeKind::ImageArchived { .. } => (5, None, None),
    }
}

#[derive(Default)]
struct Repository {
    exists: bool,
    /// The time since which each image exists.
    images: BTreeMap<Digest, Timestamp>,
    /// For each image the time of its last observation, and the push time that was observed.
    observed: BTreeMap<Digest, (Timestamp, Timestamp)>,
    /// The images whose push times are assumed, and when each was found.
    found: BTreeMap<Digest, Timestamp>,
    repository_deleted_at: Option<Timestamp>,
    deleted_at: BTreeMap<Digest, Timestamp>,
    tags: BTreeMap<Tag, Digest>,
    contents: BTreeMap<Digest, Vec<(Timestamp, Content)>>,
    /// Other changes of each image; only those since its push count.
    scans: BTreeMap<Digest, Vec<(Timestamp, Scan)>>,
    pulls: BTreeMap<Digest, Vec<(Timestamp, ())>>,
    archivings: BTreeMap<Digest, Vec<(Timestamp, ())>>,
    restorings: BTreeMap<Digest, Vec<(Timestamp, Timestamp)>>,
}

impl Repository {
    fn apply(&mut self, change: &Change) {
        let time = change.time;
        if self.repository_deleted_at.is_none() {
            self.exists = true;
        }
        match &change.kind {
            ChangeKind::ImagePushed { digest, tag, content } => {
                self.exists = true;
                self.contents.entry(digest.clone()).or_default().push((time, content.clone()));
                if self.found.get(digest) >= Some(&time) {
                    self.found.remove(digest);
                    self.images.insert(digest.clone(), time);
                }
                self.images.entry(digest.clone()).or_insert(time);
                if let Some(tag) = tag {
                    self.tags.insert(tag.clone(), digest.clone());
                }
            }
            ChangeKind::ImageFound { digest, tag, pushed_at, found_at, is_stated, content } => {
                self.exists = true;
                self.contents.entry(digest.clone()).or_default().push((time, content.clone()));
                let pushed_at = (*pushed_at).min(time);
                let replaces = *is_stated
                    && self.found.get(digest) >= Some(&pushed_at)
                    && self.images.get(digest) < Some(&pushed_at);
                if replaces || !self.images.contains_key(digest) {
                    let deleted_at =
                        self.repository_deleted_at.max(self.deleted_at.get(digest).copied());
                    let pushed_at = Some(pushed_at).max(deleted_at).unwrap();
                    self.images.insert(digest.clone(), pushed_at);
                    self.found.insert(digest.clone(), *found_at);
                }
                if let Some(tag) = tag {
                    self.tags.insert(tag.clone(), digest.clone());
                }
            }
            ChangeKind::ImageObserved { digest, pushed_at, content } => {
                self.exists = true;
                self.contents.entry(digest.clone()).or_default().push((time, content.clone()));
                let deleted_at =
                    self.repository_deleted_at.max(self.deleted_at.get(digest).copied());
                let observed =
                    self.observed.entry(digest.clone()).or_insert((time, (*pushed_at).min(time)));
                *observed = (*observed).max((time, (*pushed_at).min(time)));
                let pushed_at = Some(observed.1).max(deleted_at).unwrap();
                self.images.insert(digest.clone(), pushed_at);
                self.found.remove(digest);
            }
            ChangeKind::ImageDeleted { digest } => {
                self.remove(digest);
                self.deleted_at.insert(digest.clone(), time);
                self.scans.remove(digest);
                self.pulls.remove(digest);
                self.archivings.remove(digest);
                self.restorings.remove(digest);
            }
            ChangeKind::ImageUntagged { digest, tag } => {
                if self.tags.get(tag) == Some(digest) {
                    self.tags.remove(tag);
                    if !self.tags.values().any(|target| target == digest) {
                        self.remove(digest);
                    }
                }
            }
            ChangeKind::TagDeleted { tag } => {
                self.tags.remove(tag);
            }
            ChangeKind::RepositoryStated(_) => self.exists = true,
            ChangeKind::RepositoryLocated { .. } => {}
            ChangeKind::RepositoryDeleted => {
                self.exists = false;
                self.repository_deleted_at = Some(time);
                self.images.clear();
                self.found.clear();
                self.tags.clear();
                self.scans.clear();
                self.pulls.clear();
                self.archivings.clear();
                self.restorings.clear();
            }
            ChangeKind::ImageScanned { digest, scan } => {
                self.scans.entry(digest.clone()).or_default().push((time, scan.clone()));
            }
            ChangeKind::ImagePulled { digest } => {
                self.pulls.entry(digest.clone()).or_default().push((time, ()));
            }
            ChangeKind::ImageArchived { digest } => {
                self.archivings.entry(digest.clone()).or_default().push((time, ()));
            }
            ChangeKind::ImageRestored { digest, activated_at } => {
                self.restorings.entry(digest.clone()).or_default().push((time, *activated_at));
            }
        }
    }

    fn remove(&mut self, digest: &Digest) {
        self.images.remove(digest);
        self.found.remove(digest);
        self.tags.retain(|_, target| target != digest);
    }

    fn describe(&self, digest: &Digest, pushed_at: Timestamp) -> Image {
        let archived = last_since(pushed_at, self.archivings.get(digest)).map(|(time, ())| time);
        let restored = last_since(pushed_at, self.restorings.get(digest));
        let is_archived = archived > restored.map(|(time, _)| time);
        Image {
            image_digest: digest.clone(),
            image_tags: self
                .tags
                .iter()
                .filter(|(_, target)| *target == digest)
                .map(|(tag, _)| tag.clone())
                .collect(),
            image_pushed_at: pushed_at,
            image_size_in_bytes: self.size(digest),
            image_status: if is_archived { ImageStatus::Archived } else { ImageStatus::Active },
            image_manifest_media_type: self
                .latest(digest, |content| content.manifest_media_type.clone()),
            artifact_media_type: self.latest(digest, |content| content.artifact_media_type.clone()),
            subject_manifest_digest: self.latest(digest, |content| content.subject.clone()),
            scan: last_since(pushed_at, self.scans.get(digest))
                .map(|(_, scan)| scan)
                .filter(|scan| *scan != Scan::default()),
            last_recorded_pull_time: last_since(pushed_at, self.pulls.get(digest))
                .map(|(time, ())| time),
            last_archived_at: archived,
            last_activated_at: restored.map(|(_, activated_at)| activated_at),
        }
    }

    /// The last statement about a digest; at equal times, the greater one.
    fn latest<T: Ord>(&self, digest: &Digest, part: impl Fn(&Content) -> Option<T>) -> Option<T> {
        let statements = self.contents.get(digest)?.iter();
        statements
            .filter_map(|(time, content)| Some((*time, part(content)?)))
            .max()
            .map(|(_, value)| value)
    }

    fn size(&self, digest: &Digest) -> Option<i64> {
        self.latest(digest, |content| content.size_in_bytes).or_else(|| {
            let manifests: BTreeSet<Digest> =
                self.latest(digest, |content| content.manifests.clone())?.into_iter().collect();
            manifests.iter().filter_map(|manifest| self.size(manifest)).max()
        })
    }
}

/// The last value since a time; at equal times, the greater one.
fn last_since<T: Clone + Ord>(
    since: Timestamp,
    happened: Option<&Vec<(Timestamp, T)>>,
) -> Option<(Timestamp, T)> {
    happened?.iter().filter(|(time, _)| *time >= since).max().cloned()
}
