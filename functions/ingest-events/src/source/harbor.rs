//! Harbor: its webhooks, in its own format and as CloudEvents. They contain neither sizes nor media
//! types. The tag of an artifact without a tag is its digest.
//!
//! <https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/>

use std::collections::BTreeMap;

use catalog::image::Scan;
use catalog::{Change, ChangeKind, Digest, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Effect, Interpreted, MalformedEvent, Meaning, Origin, Push, check_number, effects, ignored,
    parse, parse_seconds, parse_tag,
};

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    event_type: EventType,
    occur_at: Option<f64>,
    event_data: Option<Data>,
    time: Option<String>,
    data: Option<Data>,
}

#[derive(Deserialize)]
enum EventType {
    #[serde(rename = "PUSH_ARTIFACT", alias = "harbor.artifact.pushed")]
    Push,
    #[serde(rename = "PULL_ARTIFACT", alias = "harbor.artifact.pulled")]
    Pull,
    #[serde(rename = "DELETE_ARTIFACT", alias = "harbor.artifact.deleted")]
    Delete,
    #[serde(rename = "SCANNING_COMPLETED", alias = "harbor.scan.completed")]
    Scan,
    #[serde(untagged)]
    Other(String),
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

pub(super) fn interpret(event: &Value, origin: &Origin) -> Interpreted {
    Interpreted::decoded(event, "harbor", |event: Event| {
        let label = match event.event_type {
            EventType::Push => "harbor push",
            EventType::Pull => "harbor pull",
            EventType::Delete => "harbor delete",
            EventType::Scan => "harbor scan",
            EventType::Other(_) => "other",
        };
        Interpreted::new(label, event.meaning(origin))
    })
}

impl Event {
    fn meaning(self, origin: &Origin) -> Result<Meaning, MalformedEvent> {
        if let EventType::Other(name) = &self.event_type {
            return ignored(format!("the type {name}"));
        }
        let time = match (&self.time, self.occur_at) {
            (Some(time), _) => parse("time", time)?,
            (None, Some(seconds)) => parse_seconds("occur_at", seconds)?,
            (None, None) => {
                return Err(MalformedEvent("there is neither 'occur_at' nor 'time'".to_owned()));
            }
        };
        let Some(data) = self.event_data.or(self.data) else {
            return Err(MalformedEvent("there is neither 'event_data' nor 'data'".to_owned()));
        };
        let name = &data.repository.repo_full_name;
        check_number(data.resources.len())?;
        let mut all = Vec::new();
        for resource in data.resources {
            all.extend(resource.effect(&self.event_type, name, time, origin)?);
        }
        effects(all)
    }
}

impl Resource {
    fn effect(
        self,
        event_type: &EventType,
        name: &str,
        time: Timestamp,
        origin: &Origin,
    ) -> Result<Option<Effect>, MalformedEvent> {
        let text = self.digest.unwrap_or_default();
        let digest: Digest = parse("digest", &text)?;
        let repository = origin.repository("repo_full_name", name)?;
        let kind = match event_type {
            EventType::Push => {
                let tag = parse_tag("tag", self.tag.as_deref().filter(|tag| *tag != text))?;
                let push = Push { name: name.to_owned(), digest: Some(digest), tag, time };
                return origin.push(push, None);
            }
            EventType::Pull => ChangeKind::ImagePulled { digest },
            EventType::Delete => ChangeKind::ImageDeleted { digest },
            EventType::Scan => {
                let Some(report) = self.scan_overview.into_values().next() else { return Ok(None) };
                ChangeKind::ImageScanned { digest, scan: report.scan(time)? }
            }
            EventType::Other(_) => return Ok(None),
        };
        Ok(Some(Effect::Change(Change { repository, time, kind })))
    }
}

impl Report {
    /// The report with Amazon ECR's statuses and severities.
    fn scan(self, event_time: Timestamp) -> Result<Scan, MalformedEvent> {
        if self.scan_status != "Success" {
            return Ok(Scan::with_status("FAILED"));
        }
        let completed_at = match &self.end_time {
            Some(time) => parse("end_time", time)?,
            None => event_time,
        };
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
            let sum: &mut i64 = counts.entry(severity.to_owned()).or_default();
            *sum = sum.saturating_add(count.max(0));
        }
        Ok(Scan::complete(completed_at, Some(counts)))
    }
}
