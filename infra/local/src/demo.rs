//! The sample images: events of Amazon ECR, of Amazon ECR Public, and of a CNCF distribution
//! registry, whose repository is in both services.

use catalog::table::StoreError;
use catalog::{RegistryId, Service, Table, Timestamp};
use ingest_events::Ingest;
use ingest_events::ingest::IngestError;
use ingest_events::source::Origin;
use registries::Source;

macro_rules! samples {
    ($($file:literal),* $(,)?) => {
        [$(include_str!(concat!("../../../tests/fixtures/events/", $file))),*]
    };
}

/// Events of us-east-1.
const ECR: [&str; 5] = samples![
    "aws-ecr/image-action-push-untagged.json",
    "aws-ecr/image-action-archive.json",
    "aws-ecr/replication-action-success.json",
    "aws-ecr/cloudevents-input-transformer.json",
    "aws-ecr/scan-resource-change.json",
];

/// CloudTrail records: an empty repository, and one with an image and an index of it.
const ECR_PUBLIC: [&str; 3] = samples![
    "aws-ecr-public/cloudtrail-create-repository.json",
    "aws-ecr-public/cloudtrail-put-image.json",
    "aws-ecr-public/eventbridge-cloudtrail-put-image-index.json",
];

/// Pushes to the repository `team/app`, complete with references.
const DISTRIBUTION: [&str; 5] = samples![
    "cncf-distribution/v2.8-push-blob.json",
    "cncf-distribution/v2.8-push-manifest-tagged-with-references.json",
    "cncf-distribution/v2.8-push-manifest-by-digest.json",
    "cncf-distribution/v2.8-push-index-tagged.json",
    "cncf-distribution/v2.8-push-index-second-tag.json",
];

/// A repository that the samples fill in both services.
pub const REPOSITORY: &str = "team/app";

/// Applies the sample events if the table is empty. Returns whether it was.
pub async fn fill(
    table: &Table,
    ingest: &Ingest,
    registry: &RegistryId,
) -> Result<bool, IngestError> {
    let scan = table
        .client
        .scan()
        .table_name(&table.name)
        .limit(2)
        .send()
        .await
        .map_err(StoreError::from)?;
    // The number of the format is always there.
    if scan.count > 1 {
        return Ok(false);
    }
    let origin = |source| Origin::new(source, registry.clone(), Timestamp::now());
    for delivery in ECR.iter().chain(&ECR_PUBLIC) {
        ingest.ingest(&origin(Source::Ecr), delivery.as_bytes()).await?;
    }
    for service in Service::ALL {
        let origin = Origin { service, ..origin(Source::Distribution) };
        for delivery in DISTRIBUTION {
            ingest.ingest(&origin, delivery.as_bytes()).await?;
        }
    }
    Ok(true)
}
