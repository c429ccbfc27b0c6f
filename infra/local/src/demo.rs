//! The sample images: events of Amazon ECR and of a CNCF distribution registry.

use catalog::table::StoreError;
use catalog::{RegistryId, Table, Timestamp};
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

/// Pushes to the repository `team/app`, complete with references.
const DISTRIBUTION: [&str; 5] = samples![
    "cncf-distribution/v2.8-push-blob.json",
    "cncf-distribution/v2.8-push-manifest-tagged-with-references.json",
    "cncf-distribution/v2.8-push-manifest-by-digest.json",
    "cncf-distribution/v2.8-push-index-tagged.json",
    "cncf-distribution/v2.8-push-index-second-tag.json",
];

/// A repository that the samples fill.
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
    for (source, deliveries) in [(Source::Ecr, ECR), (Source::Distribution, DISTRIBUTION)] {
        let origin = Origin::new(source, registry.clone(), Timestamp::now());
        for delivery in deliveries {
            ingest.ingest(&origin, delivery.as_bytes()).await?;
        }
    }
    Ok(true)
}
