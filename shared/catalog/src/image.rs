//! An image, with the members of `DescribeImages`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::identifier::{Digest, Tag};
use crate::time::Timestamp;

/// An image that exists. The members have the names of Amazon ECR's `ImageDetail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub image_digest: Digest,
    /// Its tags, in ascending byte order.
    pub image_tags: BTreeSet<Tag>,
    /// The first push of the digest since it was last deleted.
    pub image_pushed_at: Timestamp,
    /// Configuration and layers in bytes, as the manifest lists them; of an index, the largest of
    /// its manifests. Absent while unknown.
    pub image_size_in_bytes: Option<i64>,
    pub image_status: ImageStatus,
    pub image_manifest_media_type: Option<String>,
    pub artifact_media_type: Option<String>,
    /// The `subject` of the manifest, such as the image of a signature.
    pub subject_manifest_digest: Option<Digest>,
    pub scan: Option<Scan>,
    pub last_recorded_pull_time: Option<Timestamp>,
    pub last_archived_at: Option<Timestamp>,
    pub last_activated_at: Option<Timestamp>,
}

impl Image {
    #[must_use]
    pub fn tag_status(&self) -> TagStatus {
        if self.image_tags.is_empty() { TagStatus::Untagged } else { TagStatus::Tagged }
    }

    /// The position in a listing.
    #[must_use]
    pub fn position(&self) -> Position {
        Position {
            pushed_at_milliseconds: self.image_pushed_at.as_milliseconds(),
            is_index: self.is_index(),
            digest: self.image_digest.clone(),
        }
    }

    /// Whether it is an image index, as far as its media type is known.
    #[must_use]
    pub fn is_index(&self) -> bool {
        let media_type = self.image_manifest_media_type.as_deref();
        media_type.is_some_and(|media_type| INDEX_MEDIA_TYPES.contains(&media_type))
    }
}

/// The media types of an image index, of OCI and of Docker, which calls it a manifest list.
pub const INDEX_MEDIA_TYPES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// A position in a listing: after an image, whether or not that still exists.
///
/// Times are compared in milliseconds, the newest first. Of one millisecond, image indexes come
/// before other manifests, then by digest (rules 34 and 57): an index is pushed after the manifests
/// that it lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Milliseconds since the beginning of 1970.
    pub pushed_at_milliseconds: i64,
    pub is_index: bool,
    pub digest: Digest,
}

/// What a registry states of the scans of an image. Its members are independent (rule 60). Without
/// any, it states that there is no scan.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Scan {
    /// `COMPLETE`, `ACTIVE`, `FAILED` and so on, as the registry sent it.
    pub status: Option<String>,
    pub description: Option<String>,
    /// Of the last scan that was completed.
    pub findings: Option<FindingsSummary>,
}

/// The members of Amazon ECR's `imageScanFindingsSummary`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct FindingsSummary {
    pub completed_at: Option<Timestamp>,
    pub vulnerability_source_updated_at: Option<Timestamp>,
    /// Findings by severity.
    pub finding_severity_counts: Option<BTreeMap<String, i64>>,
}

impl Scan {
    /// Whether it states that there is no scan.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// A scan that was completed.
    #[must_use]
    pub fn complete(
        completed_at: Timestamp,
        finding_severity_counts: Option<BTreeMap<String, i64>>,
    ) -> Self {
        Self {
            status: Some("COMPLETE".to_owned()),
            description: None,
            findings: Some(FindingsSummary {
                completed_at: Some(completed_at),
                vulnerability_source_updated_at: None,
                finding_severity_counts,
            }),
        }
    }

    /// Only a status, such as that of a scan that failed.
    #[must_use]
    pub fn with_status(status: &str) -> Self {
        Self { status: Some(status.to_owned()), ..Self::default() }
    }
}

/// The storage class, as `imageStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ImageStatus {
    Active,
    Archived,
    Activating,
}

impl ImageStatus {
    pub const ALL: [Self; 3] = [Self::Active, Self::Archived, Self::Activating];

    /// The value on the wire and in keys.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Archived => "ARCHIVED",
            Self::Activating => "ACTIVATING",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TagStatus {
    Tagged,
    Untagged,
}

impl TagStatus {
    /// The value on the wire and in keys.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tagged => "TAGGED",
            Self::Untagged => "UNTAGGED",
        }
    }
}
