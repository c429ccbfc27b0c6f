//! An image as it is listed: its JSON, as both services send it.
//!
//! The members that both services send, and those of the private service alone, are JSON objects
//! of their own. The digest and the push time are in the sort key alone. A page is made of rows
//! without any of this being decoded.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::identifier::{Digest, Repository, Service, Tag};
use crate::image::{FindingsSummary, Image, ImageStatus, Position, Scan, TagStatus};
use crate::table::{StoreError, listing_order};
use crate::time::{EpochSeconds, Timestamp};

/// An image in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it is in the listing: `<time>#<kind>#<digest>`.
    pub(crate) order: String,
    /// A JSON object of [`Members`].
    pub(crate) members: String,
    /// A JSON object of [`PrivateMembers`]; `None` if its only member is the status `ACTIVE`.
    pub(crate) private_members: Option<String>,
}

/// The members of both services, in the order in which they are sent. Unknown ones are absent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    image_tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_size_in_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_manifest_media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_media_type: Option<String>,
}

/// The members of the private service alone.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PrivateMembers {
    #[serde(skip_serializing_if = "Option::is_none")]
    image_scan_status: Option<ImageScanStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_scan_findings_summary: Option<ImageScanFindingsSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_recorded_pull_time: Option<EpochSeconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_manifest_digest: Option<Digest>,
    image_status: ImageStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_archived_at: Option<EpochSeconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_activated_at: Option<EpochSeconds>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct ImageScanStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageScanFindingsSummary {
    #[serde(skip_serializing_if = "Option::is_none")]
    image_scan_completed_at: Option<EpochSeconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vulnerability_source_updated_at: Option<EpochSeconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finding_severity_counts: Option<BTreeMap<String, i64>>,
}

impl Row {
    /// The row of an image.
    pub fn new(image: &Image) -> Result<Self, StoreError> {
        let json = |error: serde_json::Error| StoreError::Item {
            sort: image.image_digest.to_string(),
            error: error.into(),
        };
        let members = Members {
            image_tags: image.image_tags.iter().map(Tag::to_string).collect(),
            image_size_in_bytes: image.image_size_in_bytes,
            image_manifest_media_type: image.image_manifest_media_type.clone(),
            artifact_media_type: image.artifact_media_type.clone(),
        };
        let private = PrivateMembers::new(image);
        Ok(Self {
            order: listing_order(&image.position()),
            members: serde_json::to_string(&members).map_err(json)?,
            private_members: if private == PrivateMembers::default() {
                None
            } else {
                Some(serde_json::to_string(&private).map_err(json)?)
            },
        })
    }

    /// Its digest, and its push time in milliseconds.
    fn parse_order(&self) -> Result<(&str, Timestamp), StoreError> {
        let mut parts = self.order.splitn(3, '#');
        let time = parts.next().and_then(Timestamp::from_newest_first);
        let digest = parts.nth(1);
        digest.zip(time).ok_or_else(|| self.invalid("its sort key has no time"))
    }

    fn invalid(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::Item { sort: self.order.clone(), error: error.into() }
    }

    /// The position in a listing.
    pub fn position(&self) -> Result<Position, StoreError> {
        let (digest, pushed_at) = self.parse_order()?;
        Ok(Position {
            pushed_at_milliseconds: pushed_at.as_milliseconds(),
            is_index: self.order.contains("#0#"),
            digest: Digest::stored(digest.to_owned()),
        })
    }

    /// Whether the image has tags.
    #[must_use]
    pub fn tag_status(&self) -> TagStatus {
        if self.members.starts_with(r#"{"imageTags""#) {
            TagStatus::Tagged
        } else {
            TagStatus::Untagged
        }
    }

    /// Writes the image as a member of `imageDetails`, in JSON.
    pub fn write_json(&self, repository: &Repository, json: &mut String) -> Result<(), StoreError> {
        let (digest, pushed_at) = self.parse_order()?;
        let Repository { service, registry, name } = repository;
        let (registry, name) = (registry.as_str(), name.as_str());
        // No identifier has a character that JSON escapes.
        json.extend([r#"{"registryId":""#, registry, r#"","repositoryName":""#, name]);
        json.extend([r#"","imageDigest":""#, digest, r#"","imagePushedAt":"#]);
        write!(json, "{}", EpochSeconds(pushed_at)).map_err(|error| self.invalid(error))?;
        let private_members = match (service, &self.private_members) {
            (Service::EcrPublic, _) => "{}",
            (Service::Ecr, Some(members)) => members,
            (Service::Ecr, None) => r#"{"imageStatus":"ACTIVE"}"#,
        };
        for object in [&self.members, private_members] {
            let members = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            if let Some(members) = members.filter(|members| !members.is_empty()) {
                json.extend([",", members]);
            }
        }
        json.push('}');
        Ok(())
    }

    fn parse_members(&self) -> Result<Members, StoreError> {
        serde_json::from_str(&self.members).map_err(|error| self.invalid(error))
    }

    /// The size of the image, if it is known.
    pub fn image_size_in_bytes(&self) -> Result<Option<i64>, StoreError> {
        Ok(self.parse_members()?.image_size_in_bytes)
    }

    /// The image. Its times are in milliseconds.
    pub fn image(&self) -> Result<Image, StoreError> {
        let Position { pushed_at_milliseconds, digest, .. } = self.position()?;
        let members = self.parse_members()?;
        let private: PrivateMembers = match &self.private_members {
            Some(members) => serde_json::from_str(members).map_err(|error| self.invalid(error))?,
            None => PrivateMembers::default(),
        };
        Ok(Image {
            image_digest: digest,
            image_tags: members.image_tags.into_iter().map(Tag::stored).collect(),
            image_pushed_at: Timestamp::from_milliseconds(pushed_at_milliseconds)
                .map_err(|error| self.invalid(error))?,
            image_size_in_bytes: members.image_size_in_bytes,
            image_status: private.image_status,
            image_manifest_media_type: members.image_manifest_media_type,
            artifact_media_type: members.artifact_media_type,
            scan: private.scan(),
            subject_manifest_digest: private.subject_manifest_digest,
            last_recorded_pull_time: private.last_recorded_pull_time.map(Timestamp::from),
            last_archived_at: private.last_archived_at.map(Timestamp::from),
            last_activated_at: private.last_activated_at.map(Timestamp::from),
        })
    }
}

impl PrivateMembers {
    fn new(image: &Image) -> Self {
        let scan = image.scan.as_ref();
        Self {
            image_scan_status: scan.and_then(|scan| {
                let Scan { status, description, .. } = scan.clone();
                let is_known = status.is_some() || description.is_some();
                is_known.then_some(ImageScanStatus { status, description })
            }),
            image_scan_findings_summary: scan.and_then(|scan| scan.findings.clone()).map(
                |findings| ImageScanFindingsSummary {
                    image_scan_completed_at: findings.completed_at.map(EpochSeconds),
                    vulnerability_source_updated_at: findings
                        .vulnerability_source_updated_at
                        .map(EpochSeconds),
                    finding_severity_counts: findings.finding_severity_counts,
                },
            ),
            last_recorded_pull_time: image.last_recorded_pull_time.map(EpochSeconds),
            subject_manifest_digest: image.subject_manifest_digest.clone(),
            image_status: image.image_status,
            last_archived_at: image.last_archived_at.map(EpochSeconds),
            last_activated_at: image.last_activated_at.map(EpochSeconds),
        }
    }

    fn scan(&self) -> Option<Scan> {
        let status = self.image_scan_status.as_ref();
        let findings = self.image_scan_findings_summary.as_ref();
        let scan = Scan {
            status: status.and_then(|status| status.status.clone()),
            description: status.and_then(|status| status.description.clone()),
            findings: findings.map(|findings| FindingsSummary {
                completed_at: findings.image_scan_completed_at.map(Timestamp::from),
                vulnerability_source_updated_at: findings
                    .vulnerability_source_updated_at
                    .map(Timestamp::from),
                finding_severity_counts: findings.finding_severity_counts.clone(),
            }),
        };
        (!scan.is_none()).then_some(scan)
    }
}

impl Default for PrivateMembers {
    /// Of an active image of which nothing else is known.
    fn default() -> Self {
        Self {
            image_scan_status: None,
            image_scan_findings_summary: None,
            last_recorded_pull_time: None,
            subject_manifest_digest: None,
            image_status: ImageStatus::Active,
            last_archived_at: None,
            last_activated_at: None,
        }
    }
}
