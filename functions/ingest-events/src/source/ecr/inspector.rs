//! Scans by Amazon Inspector, with Amazon ECR's enhanced scanning.
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-enhanced-events.html>
//! <https://docs.aws.amazon.com/inspector/latest/user/eventbridge-integration.html>

use std::collections::BTreeMap;

use catalog::image::{FindingsSummary, Scan};
use catalog::{Change, ChangeKind, Repository, Service};
use serde::Deserialize;

use super::changes;
use super::event_bridge::Event;
use crate::source::{MalformedEvent, Meaning, decode, ignored, parse};

/// The source of its events.
pub(super) const SOURCE: &str = "aws.inspector2";

/// Amazon ECR's `FindingSeverity`. The event also counts the `TOTAL`.
const SEVERITIES: [&str; 6] = ["CRITICAL", "HIGH", "INFORMATIONAL", "LOW", "MEDIUM", "UNDEFINED"];

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ImageScan {
    scan_status: String,
    /// The repository's ARN; in some samples its name.
    repository_name: String,
    image_digest: String,
    #[serde(default)]
    finding_severity_counts: BTreeMap<String, i64>,
}

/// The meaning of an event `Inspector2 Scan`.
pub(super) fn meaning(event: &Event, region: &str) -> Result<Meaning, MalformedEvent> {
    // Instances, functions and machine images are scanned, too.
    if event.detail.get("repository-name").is_none() {
        return ignored("it is not a scan of a container image");
    }
    let image_scan: ImageScan = decode(&event.detail)?;
    let name = &image_scan.repository_name;
    let (repository_region, account, name) = if name.starts_with("arn:") {
        match parts_of_arn(name) {
            Some(parts) => parts,
            None => return ignored(format!("{name} is not a repository of Amazon ECR")),
        }
    } else {
        (event.region.as_str(), event.account.as_str(), name.as_str())
    };
    if repository_region != region {
        return ignored(format!("the region {repository_region}"));
    }
    // No other status is documented.
    if image_scan.scan_status != "INITIAL_SCAN_COMPLETE" {
        return ignored(format!("the status {}", image_scan.scan_status));
    }
    let time = parse("time", &event.time)?;
    // As DescribeImages returns counts: none of 0, and no sum.
    let counts = image_scan
        .finding_severity_counts
        .into_iter()
        .filter(|(severity, count)| SEVERITIES.contains(&severity.as_str()) && *count != 0);
    // The event does not contain the status that ECR returns. This is the documented one of images
    // that are scanned continuously, with its description. Reconciliation corrects it for images
    // that are scanned on push only.
    // <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImageScanFindings.html>
    let scan = Scan {
        status: Some("ACTIVE".to_owned()),
        description: Some("Continuous scan is selected for image.".to_owned()),
        findings: Some(FindingsSummary {
            completed_at: Some(time),
            vulnerability_source_updated_at: None,
            finding_severity_counts: Some(counts.collect()),
        }),
    };
    changes([Change {
        repository: Repository {
            service: Service::Ecr,
            registry: parse("repository-name", account)?,
            name: parse("repository-name", name)?,
        },
        time,
        kind: ChangeKind::ImageScanned {
            digest: parse("image-digest", &image_scan.image_digest)?,
            scan,
        },
    }])
}

/// Region, account and name in the ARN of a private repository.
fn parts_of_arn(arn: &str) -> Option<(&str, &str, &str)> {
    let mut parts = arn.splitn(6, ':').skip(2);
    let (service, region, account) = (parts.next()?, parts.next()?, parts.next()?);
    let name = parts.next()?.strip_prefix("repository/")?;
    (service == "ecr").then_some((region, account, name))
}
