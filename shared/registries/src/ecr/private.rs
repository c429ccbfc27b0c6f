//! Requests to Amazon ECR.

use aws_sdk_ecr::operation::describe_images::builders::DescribeImagesFluentBuilder;
use aws_sdk_ecr::types::{
    DescribeImagesFilter, FindingSeverity, ImageDetail, ImageScanFindingsSummary, ImageScanStatus,
    ImageStatusFilter, ImageTagMutabilityExclusionFilter, Repository, Tag,
};
use catalog::Digest;
use catalog::image::{FindingsSummary, Image, ImageStatus, Scan};
use catalog::repository::{Encryption, ExclusionFilter, ImageTagMutability};

use super::operations::operations;
use super::{tags, timestamp};

operations!(aws_sdk_ecr);

/// A request for images of every status, instead of the active ones only.
fn list_all(client: &Client) -> DescribeImagesFluentBuilder {
    let any = DescribeImagesFilter::builder().image_status(ImageStatusFilter::Any);
    client.describe_images().filter(any.build())
}

fn resource_tag(tag: Tag) -> (String, String) {
    (tag.key, tag.value)
}

/// Converts a repository, without its tags.
fn description(repository: Repository) -> RepositoryDescription {
    let filter = |filter: ImageTagMutabilityExclusionFilter| ExclusionFilter {
        filter_type: filter.filter_type.as_str().to_owned(),
        filter: filter.filter,
    };
    let filters = repository.image_tag_mutability_exclusion_filters.unwrap_or_default();
    RepositoryDescription {
        created_at: repository.created_at.as_ref().and_then(timestamp),
        uri: repository.repository_uri,
        image_tag_mutability: repository.image_tag_mutability.map(|mutability| {
            ImageTagMutability {
                value: mutability.as_str().to_owned(),
                exclusion_filters: filters.into_iter().map(filter).collect(),
            }
        }),
        scan_on_push: repository.image_scanning_configuration.map(|scan| scan.scan_on_push),
        encryption: repository.encryption_configuration.map(|encryption| Encryption {
            encryption_type: encryption.encryption_type.as_str().to_owned(),
            kms_key: encryption.kms_key,
        }),
    }
}

/// Converts an image; `None` if it has no digest or time.
fn image(detail: ImageDetail) -> Option<Image> {
    let status = |status: &aws_sdk_ecr::types::ImageStatus| {
        ImageStatus::ALL.into_iter().find(|known| known.as_str() == status.as_str())
    };
    Some(Image {
        image_digest: Digest::parse(&detail.image_digest?).ok()?,
        image_tags: tags(detail.image_tags),
        image_pushed_at: timestamp(&detail.image_pushed_at?)?,
        image_size_in_bytes: detail.image_size_in_bytes,
        image_status: detail.image_status.as_ref().and_then(status).unwrap_or(ImageStatus::Active),
        image_manifest_media_type: detail.image_manifest_media_type,
        artifact_media_type: detail.artifact_media_type,
        subject_manifest_digest: detail
            .subject_manifest_digest
            .and_then(|digest| Digest::parse(&digest).ok()),
        scan: Some(scan(detail.image_scan_status, detail.image_scan_findings_summary))
            .filter(|scan| !scan.is_none()),
        last_recorded_pull_time: detail.last_recorded_pull_time.as_ref().and_then(timestamp),
        last_archived_at: detail.last_archived_at.as_ref().and_then(timestamp),
        last_activated_at: detail.last_activated_at.as_ref().and_then(timestamp),
    })
}

/// Converts a scan, whose members are independent (rule 60).
fn scan(status: Option<ImageScanStatus>, summary: Option<ImageScanFindingsSummary>) -> Scan {
    let (status, description) =
        status.map_or((None, None), |status| (status.status, status.description));
    let count = |(severity, count): (FindingSeverity, i32)| {
        (severity.as_str().to_owned(), i64::from(count))
    };
    Scan {
        status: status.map(|status| status.as_str().to_owned()),
        description,
        findings: summary.map(|summary| FindingsSummary {
            completed_at: summary.image_scan_completed_at.as_ref().and_then(timestamp),
            vulnerability_source_updated_at: summary
                .vulnerability_source_updated_at
                .as_ref()
                .and_then(timestamp),
            finding_severity_counts: summary
                .finding_severity_counts
                .map(|counts| counts.into_iter().map(count).collect()),
        }),
    }
}
