//! ListTagsForResource of both services: the resource tags of a repository (rule 66).
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ListTagsForResource.html>
//! <https://docs.aws.amazon.com/AmazonECRPublic/latest/APIReference/API_ListTagsForResource.html>

use catalog::{Reader, RepositoryArn, Service};
use serde::Serialize;

use crate::constraints::invalid;
use crate::error::ApiError;
use crate::members::{Members, string};

#[derive(Debug, Serialize)]
pub(crate) struct ListTagsForResourceResponse {
    pub(crate) tags: Vec<ResourceTag>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ResourceTag {
    key: String,
    value: String,
}

/// Decodes and validates a body.
pub(crate) fn parse(service: Service, body: &[u8]) -> Result<RepositoryArn, ApiError> {
    const MEMBER: &str = "resourceArn";
    let arn = string(Members::of_body(body)?.take(MEMBER))?;
    let arn = arn.ok_or_else(|| invalid(MEMBER, "must not be null"))?;
    let arn: Option<RepositoryArn> = arn.parse().ok();
    arn.filter(|arn| arn.repository.service == service)
        .ok_or_else(|| invalid(MEMBER, "Invalid ARN"))
}

/// Answers a request of a catalog of one AWS region. Also returns the read units.
pub(crate) async fn list_tags_for_resource(
    reader: &Reader,
    region: &str,
    arn: &RepositoryArn,
) -> Result<(ListTagsForResourceResponse, f64), ApiError> {
    let RepositoryArn { repository, .. } = arn;
    // Repositories of other regions are in other catalogs.
    if *arn != RepositoryArn::new(repository, region) {
        return Err(ApiError::repository_not_found(repository));
    }
    let (history, capacity) = reader
        .repository(repository)
        .await
        .map_err(|error| ApiError::from_read(error, repository))?;
    let tags = history.tags().into_iter().map(|(key, value)| ResourceTag { key, value }).collect();
    Ok((ListTagsForResourceResponse { tags }, capacity))
}
