//! The keys of the items of a repository.

use crate::draft::Owner;
use crate::identifier::{Digest, RegistryId, Repository, RepositoryName, Service, Tag};
use crate::image::{ImageStatus, Position, TagStatus};
use crate::time::Timestamp;

/// The sort key of a repository's own item.
pub(crate) const REPOSITORY_ITEM: &str = "repository";

/// Sort keys of descriptions of repositories begin so.
const DESCRIPTION_PREFIX: &str = "repository#";

/// Sort keys of digests begin so.
pub(crate) const DIGEST_PREFIX: &str = "digest#";

/// The partition key of everything in a repository.
pub(crate) fn partition(repository: &Repository) -> String {
    repository.to_string()
}

/// The repository with this partition key.
pub(crate) fn repository_of_partition(partition: &str) -> Option<Repository> {
    let (service, rest) = match partition.strip_prefix("ecr-public/") {
        Some(rest) => (Service::EcrPublic, rest),
        None => (Service::Ecr, partition),
    };
    let (registry, name) = rest.split_once('/')?;
    Some(Repository {
        service,
        registry: RegistryId::stored(registry.to_owned()),
        name: RepositoryName::stored(name.to_owned()),
    })
}

/// The index's partition key of the repository's images with, or without, tags.
pub(crate) fn tag_status_partition(repository: &Repository, tag_status: TagStatus) -> String {
    format!("{repository}#{}", tag_status.as_str())
}

/// The sort key of the description of a repository, in the partition of its registry.
pub(crate) fn description_sort(name: &RepositoryName) -> String {
    format!("{DESCRIPTION_PREFIX}{name}")
}

/// The name of the repository that such a sort key names.
pub(crate) fn name_of_description_sort(sort: &str) -> Option<RepositoryName> {
    Some(RepositoryName::stored(sort.strip_prefix(DESCRIPTION_PREFIX)?.to_owned()))
}

/// The first and the last sort key that descriptions of repositories can have after a name.
pub(crate) fn description_sorts(after: Option<&RepositoryName>) -> (String, String) {
    // '!' is less than every character of a name.
    let first =
        after.map_or_else(|| DESCRIPTION_PREFIX.to_owned(), |after| description_sort(after) + "!");
    (first, format!("{DESCRIPTION_PREFIX}~"))
}

/// The partition key of the descriptions of a registry's repositories in a service. No repository's
/// partition has it: that begins with twelve digits and a slash, or has two slashes.
pub(crate) fn registry_partition(service: Service, registry: &RegistryId) -> String {
    match service {
        Service::Ecr => registry.to_string(),
        Service::EcrPublic => format!("{service}/{registry}"),
    }
}

/// The images of one Query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    /// Those of a status.
    Status(ImageStatus),
    /// Images that were archived at least once since their push, whatever their status. All images
    /// that are not active are among them.
    OnceArchived,
}

impl Range {
    fn prefix(self) -> &'static str {
        match self {
            Self::Status(status) => status.as_str(),
            Self::OnceArchived => "ONCE_ARCHIVED",
        }
    }
}

/// The sort key of an image in a range.
pub(crate) fn image_sort(range: Range, order: &str) -> String {
    format!("{}#{order}", range.prefix())
}

/// The place in a listing. Sorts like the listing: the newest first, of one millisecond indexes first, then by digest.
pub(crate) fn listing_order(position: &Position) -> String {
    // The position of a page token can have any time.
    let time = Timestamp::from_milliseconds(position.pushed_at_milliseconds)
        .map_or_else(|_| "~".to_owned(), Timestamp::newest_first);
    format!("{time}#{}#{}", u8::from(!position.is_index), position.digest)
}

/// The first and the last sort key that images of a range can have after a place in the listing, and
/// up to another one.
pub(crate) fn image_sorts(
    range: Range,
    after: Option<&str>,
    up_to: Option<&str>,
) -> (String, String) {
    let prefix = range.prefix();
    // '!' is less than every character of a digest.
    let first = after.map_or_else(|| format!("{prefix}#"), |after| image_sort(range, after) + "!");
    let last = up_to.map_or_else(|| format!("{prefix}#~"), |up_to| image_sort(range, up_to));
    (first, last)
}

/// The sort key of a digest's history.
pub(crate) fn digest_sort(digest: &Digest) -> String {
    format!("{DIGEST_PREFIX}{digest}")
}

/// The digest that such a sort key names.
pub(crate) fn digest_of_sort(sort: &str) -> Option<Digest> {
    sort.strip_prefix(DIGEST_PREFIX).map(|digest| Digest::stored(digest.to_owned()))
}

/// The sort key of the history that segments belong to.
pub(crate) fn owner_sort(owner: &Owner) -> String {
    match owner {
        Owner::Image(digest) => digest_sort(digest),
        Owner::Tag(tag) => tag_sort(tag),
    }
}

/// The sort key of a tag's history.
pub(crate) fn tag_sort(tag: &Tag) -> String {
    format!("tag#{tag}")
}

/// The sort key of a segment of the history with this sort key.
pub(crate) fn segment_sort(owner: &str, number: u32) -> String {
    format!("segment#{owner}#{number}")
}

/// What the sort keys of all indexes that list a manifest begin with.
pub(crate) fn manifest_prefix(manifest: &Digest) -> String {
    format!("manifest#{manifest}#")
}

/// The sort key of a manifest in an index.
pub(crate) fn manifest_sort(manifest: &Digest, index: &Digest) -> String {
    format!("{}{index}", manifest_prefix(manifest))
}

/// The index that such a sort key names.
pub(crate) fn index_of_manifest_sort(sort: &str) -> Option<Digest> {
    sort.rsplit_once('#').map(|(_, index)| Digest::stored(index.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_sort_newest_first_then_indexes_then_by_digest() {
        let position = |time: &str, is_index, digest: &str| Position {
            pushed_at_milliseconds: time.parse::<Timestamp>().expect("a time").as_milliseconds(),
            is_index,
            digest: Digest::parse(digest).expect("a digest"),
        };
        let range = Range::Status(ImageStatus::Active);
        let listed = [
            position("2026-11-22T00:00:00.002Z", false, "sha256:aa"),
            position("2026-11-22T00:00:00.001999999Z", true, "sha256:cc"),
            position("2026-11-22T00:00:00.001Z", false, "sha256:aa"),
            position("2026-11-22T00:00:00.001Z", false, "sha256:aab"),
            position("2026-11-22T00:00:00.001Z", false, "sha256:ab"),
            position("2026-11-22T00:00:00Z", false, "sha256:00"),
        ];
        let orders = listed.each_ref().map(listing_order);
        let sorts = orders.each_ref().map(|order| image_sort(range, order));
        assert!(sorts.is_sorted(), "{sorts:#?}");
        let (first, last) = image_sorts(range, Some(&orders[2]), Some(&orders[4]));
        assert!(first > sorts[2] && first < sorts[3] && last == sorts[4]);
        let (first, last) = image_sorts(range, None, None);
        assert!(first < sorts[0] && last > sorts[5]);
    }

    #[test]
    fn a_manifest_key_names_its_index() {
        let digest = |text| Digest::parse(text).expect("a digest");
        let sort = manifest_sort(&digest("sha256:aa"), &digest("sha512:bb"));
        assert_eq!(index_of_manifest_sort(&sort), Some(digest("sha512:bb")));
    }
}
