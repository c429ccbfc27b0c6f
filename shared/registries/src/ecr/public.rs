//! Requests to Amazon ECR Public.
//!
//! <https://docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/API_DescribeImages.html>

use aws_config::Region;
use aws_sdk_ecrpublic::operation::describe_images::builders::DescribeImagesFluentBuilder;
use aws_sdk_ecrpublic::types::{ImageDetail, Repository, Tag};
use catalog::Digest;
use catalog::image::{Image, ImageStatus};

use super::operations::operations;
use super::{tags, timestamp};

/// Where the service is, whatever region the catalog follows.
pub(super) const REGION: Region = Region::from_static("us-east-1");

operations!(aws_sdk_ecrpublic);

fn list_all(client: &Client) -> DescribeImagesFluentBuilder {
    client.describe_images()
}

fn resource_tag(tag: Tag) -> (String, String) {
    (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())
}

/// Converts a repository, without its tags.
fn description(repository: Repository) -> RepositoryDescription {
    RepositoryDescription {
        created_at: repository.created_at.as_ref().and_then(timestamp),
        uri: repository.repository_uri,
        ..RepositoryDescription::default()
    }
}

/// Converts an image; `None` if it has no digest or time.
fn image(detail: ImageDetail) -> Option<Image> {
    Some(Image {
        image_digest: Digest::parse(&detail.image_digest?).ok()?,
        image_tags: tags(detail.image_tags),
        image_pushed_at: timestamp(&detail.image_pushed_at?)?,
        image_size_in_bytes: detail.image_size_in_bytes,
        image_status: ImageStatus::Active,
        image_manifest_media_type: detail.image_manifest_media_type,
        artifact_media_type: detail.artifact_media_type,
        subject_manifest_digest: None,
        scan: None,
        last_recorded_pull_time: None,
        last_archived_at: None,
        last_activated_at: None,
    })
}
