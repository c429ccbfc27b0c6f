//! Harbor: its webhooks, in its own format and as CloudEvents.
//!
//! <https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/>
//!
//! Events tell neither sizes nor media types. An artifact without a tag has its digest for one.

use std::collections::BTreeMap;

use catalog::image::Scan;
use catalog::{Change, ChangeKind, Digest, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::{
    MalformedEvent, Meaning, Origin, Push, Statement, decode, ignored, parse, parse_seconds,
    parse_tag,
};

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    event_type: String,
    occur_at: Option<f64>,
    event_data: Option<Data>,
    time: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    resources: Vec<Resource>,
    repository: Repository,
}

#[derive(Deserialize)]
struct Resource {
    digest: Option<String>,
    tag: Option<String>,
    #[serde(default)]
    scan_overview: BTreeMap<String, Report>,
}

#[derive(Deserialize)]
struct Repository {
    repo_full_name: String,
}

#[derive(Deserialize)]
struct Report {
    scan_status: String,
    end_time: Option<String>,
    #[serde(default)]
    summary: Summary,
}

#[derive(Default, Deserialize)]
struct Summary {
    #[serde(default)]
    summary: BTreeMap<String, i64>,
}

/// What kind of event it is.
pub(super) fn event_type(event: &Value) -> &'static str {
    match event.get("type").and_then(Value::as_str) {
        Some("PUSH_ARTIFACT" | "harbor.artifact.pushed") => "harbor push",
        Some("PULL_ARTIFACT" | "harbor.artifact.pulled") => "harbor pull",
        Some("DELETE_ARTIFACT" | "harbor.artifact.deleted") => "harbor delete",
        Some("SCANNING_COMPLETED" | "harbor.scan.completed") => "harbor scan",
        _ => "other",
    }
}

/// What an event means.
///
/// # Errors
/// It lacks what such an event must have.
pub(super) fn interpret(event: &Value, origin: &Origin) -> Result<Meaning, MalformedEvent> {
    let kind = event_type(event);
    let event: Event = decode(event)?;
    if kind == "other" {
        return ignored(format!("the type {}", event.event_type));
    }
    let time = match (&event.time, event.occur_at) {
        (Some(time), _) => parse("time", time)?,
        (None, Some(seconds)) => parse_seconds("occur_at", seconds)?,
        (None, None) => {
            return Err(MalformedEvent("there is neither 'occur_at' nor 'time'".to_owned()));
        }
    };
    let Some(data) = event.event_data.or(event.data) else {
        return Err(MalformedEvent("there is neither 'event_data' nor 'data'".to_owned()));
    };
    let mut statements = Vec::new();
    for resource in data.resources {
        statements.extend(resource.statement(
            kind,
            &data.repository.repo_full_name,
            time,
            origin,
        )?);
    }
    Ok(Meaning::Statements(statements))
}

impl Resource {
    fn statement(
        self,
        kind: &str,
        name: &str,
        time: Timestamp,
        origin: &Origin,
    ) -> Result<Option<Statement>, MalformedEvent> {
        let text = self.digest.unwrap_or_default();
        let digest: Digest = parse("digest", &text)?;
        let repository = origin.repository("repo_full_name", name)?;
        let kind = match kind {
            "harbor push" => {
                let tag = parse_tag("tag", self.tag.as_deref().filter(|tag| *tag != text))?;
                let push = Push { name: name.to_owned(), digest: Some(digest), tag, time };
                return origin.push(push, None);
            }
            "harbor pull" => ChangeKind::ImagePulled { digest },
            "harbor delete" => ChangeKind::ImageDeleted { digest },
            _ => {
                let Some(report) = self.scan_overview.into_values().next() else { return Ok(None) };
                let completed_at = match &report.end_time {
                    Some(time) => parse("end_time", time)?,
                    None => time,
                };
                ChangeKind::ImageScanned { digest, scan: report.scan(completed_at) }
            }
        };
        Ok(Some(Statement::Change(Change { repository, time, kind })))
    }
}

impl Report {
    /// The report in Amazon ECR's words.
    fn scan(self, completed_at: Timestamp) -> Scan {
        let status = if self.scan_status == "Success" { "COMPLETE" } else { "FAILED" };
        let mut counts = BTreeMap::new();
        for (severity, count) in self.summary.summary {
            let severity = match severity.as_str() {
                "Critical" => "CRITICAL",
                "High" => "HIGH",
                "Medium" => "MEDIUM",
                "Low" => "LOW",
                "Negligible" | "None" => "INFORMATIONAL",
                _ => "UNDEFINED",
            };
            *counts.entry(severity.to_owned()).or_default() += count;
        }
        Scan { status: status.to_owned(), finding_severity_counts: Some(counts), completed_at }
    }
}
