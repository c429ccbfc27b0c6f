//! The response, as the two services write it.

use std::collections::{BTreeMap, BTreeSet};

use catalog::image::{Image, Scan};
use catalog::{Digest, Repository, Service, Tag, Timestamp};
use serde::{Serialize, Serializer};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DescribeImagesResponse {
    pub(crate) image_details: Vec<Box<serde_json::value::RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_token: Option<String>,
}

/// An image of the response. Unknown members are absent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageDetail<'a> {
    registry_id: &'a str,
    repository_name: &'a str,
    image_digest: &'a Digest,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    image_tags: &'a BTreeSet<Tag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_size_in_bytes: Option<i64>,
    #[serde(serialize_with = "epoch_seconds")]
    image_pushed_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_manifest_media_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_media_type: Option<&'a str>,
    #[serde(flatten)]
    private: Option<PrivateMembers<'a>>,
}

/// The members of the private service alone.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PrivateMembers<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    image_scan_status: Option<ImageScanStatus<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_scan_findings_summary: Option<ImageScanFindingsSummary<'a>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_epoch_seconds")]
    last_recorded_pull_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_manifest_digest: Option<&'a Digest>,
    image_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_epoch_seconds")]
    last_archived_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_epoch_seconds")]
    last_activated_at: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct ImageScanStatus<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageScanFindingsSummary<'a> {
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_epoch_seconds")]
    image_scan_completed_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_epoch_seconds")]
    vulnerability_source_updated_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finding_severity_counts: Option<&'a BTreeMap<String, i64>>,
}

impl<'a> ImageScanStatus<'a> {
    fn new(scan: &'a Scan) -> Option<Self> {
        let (status, description) = (scan.status.as_deref(), scan.description.as_deref());
        (status.is_some() || description.is_some()).then_some(Self { status, description })
    }
}

impl<'a> ImageScanFindingsSummary<'a> {
    fn new(scan: &'a Scan) -> Option<Self> {
        let findings = scan.findings.as_ref()?;
        Some(Self {
            image_scan_completed_at: findings.completed_at,
            vulnerability_source_updated_at: findings.vulnerability_source_updated_at,
            finding_severity_counts: findings.finding_severity_counts.as_ref(),
        })
    }
}

impl<'a> ImageDetail<'a> {
    pub(crate) fn new(repository: &'a Repository, image: &'a Image) -> Self {
        let private = || PrivateMembers {
            image_scan_status: image.scan.as_ref().and_then(ImageScanStatus::new),
            image_scan_findings_summary: image
                .scan
                .as_ref()
                .and_then(ImageScanFindingsSummary::new),
            last_recorded_pull_time: image.last_recorded_pull_time,
            subject_manifest_digest: image.subject_manifest_digest.as_ref(),
            image_status: image.image_status.as_str(),
            last_archived_at: image.last_archived_at,
            last_activated_at: image.last_activated_at,
        };
        Self {
            registry_id: repository.registry.as_str(),
            repository_name: repository.name.as_str(),
            image_digest: &image.image_digest,
            image_tags: &image.image_tags,
            image_size_in_bytes: image.image_size_in_bytes,
            image_pushed_at: image.image_pushed_at,
            image_manifest_media_type: image.image_manifest_media_type.as_deref(),
            artifact_media_type: image.artifact_media_type.as_deref(),
            private: (repository.service == Service::Ecr).then(private),
        }
    }

    pub(crate) fn to_json(&self) -> Result<Box<serde_json::value::RawValue>, serde_json::Error> {
        serde_json::value::to_raw_value(self)
    }
}

/// Seconds since the beginning of 1970 as a number with at most three decimals and no exponent.
pub(crate) fn epoch_seconds<S: Serializer>(
    time: &Timestamp,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let milliseconds = time.as_milliseconds();
    if milliseconds % 1000 == 0 {
        return serializer.serialize_i64(milliseconds / 1000);
    }
    // Exact: the largest number of milliseconds has 48 bits, and the shortest text that reads back
    // as this number has three decimals.
    serializer.serialize_f64(milliseconds as f64 / 1000.0)
}

pub(crate) fn optional_epoch_seconds<S: Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => epoch_seconds(time, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_at_most_three_decimals_and_no_exponent() {
        let written = |time: &str| {
            let time: Timestamp = time.parse().unwrap();
            let mut json = Vec::new();
            epoch_seconds(&time, &mut serde_json::Serializer::new(&mut json)).unwrap();
            String::from_utf8(json).unwrap()
        };
        assert_eq!(written("2026-05-15T15:33:03.778Z"), "1778859183.778");
        assert_eq!(written("2026-05-15T15:33:03.778999Z"), "1778859183.778");
        assert_eq!(written("2024-01-12T15:02:26Z"), "1705071746");
        assert_eq!(written("1970-01-01T00:00:00.001Z"), "0.001");
        assert_eq!(written("1969-12-31T23:59:59.5Z"), "-0.5");
        assert_eq!(written("0001-01-01T00:00:00.001Z"), "-62135596799.999");
        assert_eq!(written("9999-12-30T22:00:00.999Z"), "253402207200.999");
    }
}
