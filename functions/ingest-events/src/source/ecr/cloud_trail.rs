//! CloudTrail records of Amazon ECR and Amazon ECR Public.

use std::collections::HashSet;
use std::time::Duration;

use catalog::{
    Change, ChangeKind, Digest, RegistryId, Repository, RepositoryArn, Service, Timestamp,
};
use registries::manifest;
use serde::Deserialize;
use serde_json::Value;

use super::{changes, repository_call};
use crate::source::{
    MalformedEvent, Meaning, check_number, decode, ignored, not_valid, parse, parse_tag,
};

/// Of an API call, or of the execution of a lifecycle policy.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    event_source: String,
    event_name: String,
    event_time: String,
    aws_region: String,
    error_code: Option<String>,
    recipient_account_id: Option<String>,
    #[serde(default)]
    request_parameters: Value,
    #[serde(default)]
    response_elements: Value,
    #[serde(default)]
    service_event_details: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageId {
    image_digest: Option<String>,
    image_tag: Option<String>,
}

/// The execution of a lifecycle policy.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyExecution {
    lifecycle_event_policy: Option<LifecyclePolicy>,
    lifecycle_event_image_actions: Vec<LifecycleImageAction>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LifecyclePolicy {
    lifecycle_event_rules: Vec<LifecycleRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LifecycleRule {
    rule_priority: i64,
    action: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LifecycleImageAction {
    lifecycle_event_image: LifecycleImage,
    rule_priority: Option<i64>,
}

#[derive(Deserialize)]
struct LifecycleImage {
    digest: String,
}

impl Record {
    /// What a record of this account means.
    pub(super) fn meaning(&self, account: &str, region: &str) -> Result<Meaning, MalformedEvent> {
        let service = match self.event_source.as_str() {
            "ecr.amazonaws.com" => Service::Ecr,
            "ecr-public.amazonaws.com" => Service::EcrPublic,
            other => return ignored(format!("the source {other}")),
        };
        // Public registries belong to no region (rule 54).
        if service == Service::Ecr && self.aws_region != region {
            return ignored(format!("the region {}", self.aws_region));
        }
        if let Some(code) = &self.error_code {
            return ignored(format!("it failed with {code}"));
        }
        let mut time: Timestamp = parse("eventTime", &self.event_time)?;
        let kinds = match self.event_name.as_str() {
            "DeleteRepository" => vec![ChangeKind::RepositoryDeleted],
            "PutImage" => vec![self.put_image()?],
            "BatchDeleteImage" => self.batch_delete_image()?,
            "PolicyExecutionEvent" => self.policy_execution()?,
            call => {
                let (request, response) = (&self.request_parameters, &self.response_elements);
                match repository_call::statement(call, time, request, response)? {
                    Some(statement) => {
                        // Of the same second, a call that changes a repository comes after the one
                        // that created it.
                        if statement.created_at.is_none() {
                            time = time.plus(Duration::from_nanos(1));
                        }
                        vec![ChangeKind::RepositoryStated(statement)]
                    }
                    None => return ignored(format!("the event {call}")),
                }
            }
        };
        let repository = self.repository(service, account)?;
        let change = |kind| Change { repository: repository.clone(), time, kind };
        changes(kinds.into_iter().map(change))
    }

    /// The strings at these JSON pointers.
    fn texts(&self, places: &[&str]) -> impl Iterator<Item = &str> {
        let roots =
            [&self.response_elements, &self.request_parameters, &self.service_event_details];
        places
            .iter()
            .flat_map(move |place| roots.map(|root| root.pointer(place).and_then(Value::as_str)))
            .flatten()
    }

    fn text(&self, places: &[&str]) -> Option<&str> {
        self.texts(places).next()
    }

    fn repository(&self, service: Service, account: &str) -> Result<Repository, MalformedEvent> {
        if let Some(arn) = self.text(&["/resourceArn"]) {
            let RepositoryArn { region, repository } = parse("resourceArn", arn)?;
            if repository.service != service {
                return Err(not_valid("resourceArn", "it is of another service"));
            }
            if service == Service::Ecr && region != self.aws_region {
                return Err(not_valid("resourceArn", "it is of another region"));
            }
            return Ok(repository);
        }
        let name =
            self.text(&["/repository/repositoryName", "/image/repositoryName", "/repositoryName"]);
        let registry = self
            .texts(&["/repository/registryId", "/image/registryId", "/registryId"])
            // In Amazon ECR Public it may be the alias of a registry.
            .find(|id| service == Service::Ecr || RegistryId::parse(id).is_ok())
            .or(self.recipient_account_id.as_deref());
        Ok(Repository {
            service,
            registry: parse("registryId", registry.unwrap_or(account))?,
            name: parse("repositoryName", name.unwrap_or_default())?,
        })
    }

    fn put_image(&self) -> Result<ChangeKind, MalformedEvent> {
        let id = |name: &str| self.text(&[&format!("/image/imageId/{name}")]);
        let digest: Digest = parse("imageDigest", id("imageDigest").unwrap_or_default())?;
        let manifest = self.text(&["/image/imageManifest", "/imageManifest"]);
        let mut content = manifest
            .and_then(|text| manifest::read(&digest, text.as_bytes()).ok())
            .unwrap_or_default();
        let media_type = self.text(&["/image/imageManifestMediaType", "/imageManifestMediaType"]);
        content.manifest_media_type = content.manifest_media_type.or(media_type.map(str::to_owned));
        let tag = id("imageTag").or(self.text(&["/imageTag"]));
        Ok(ChangeKind::ImagePushed { digest, tag: parse_tag("imageTag", tag)?, content })
    }

    /// The response contains what was deleted. Of an image that was deleted by its digest, it may
    /// contain the tags, too.
    fn batch_delete_image(&self) -> Result<Vec<ChangeKind>, MalformedEvent> {
        let image_ids = |root: &Value| -> Result<Vec<ImageId>, MalformedEvent> {
            root.get("imageIds").map_or(Ok(Vec::new()), decode)
        };
        let by_digest: HashSet<String> = image_ids(&self.request_parameters)?
            .into_iter()
            .filter(|id| id.image_tag.is_none())
            .filter_map(|id| id.image_digest)
            .collect();
        let deleted = image_ids(&self.response_elements)?;
        check_number(deleted.len())?;
        deleted
            .into_iter()
            .map(|id| {
                let text = id.image_digest.unwrap_or_default();
                let digest = parse("imageDigest", &text)?;
                Ok(match parse_tag("imageTag", id.image_tag.as_deref())? {
                    Some(tag) if !by_digest.contains(&text) => {
                        ChangeKind::ImageUntagged { digest, tag }
                    }
                    _ => ChangeKind::ImageDeleted { digest },
                })
            })
            .collect()
    }

    fn policy_execution(&self) -> Result<Vec<ChangeKind>, MalformedEvent> {
        let execution: PolicyExecution = decode(&self.service_event_details)?;
        check_number(execution.lifecycle_event_image_actions.len())?;
        let rules = execution
            .lifecycle_event_policy
            .map(|policy| policy.lifecycle_event_rules)
            .unwrap_or_default();
        let expires = |action: &&LifecycleImageAction| {
            let rule = rules.iter().find(|rule| Some(rule.rule_priority) == action.rule_priority);
            rule.and_then(|rule| rule.action.as_deref())
                .is_none_or(|action| action.eq_ignore_ascii_case("expire"))
        };
        execution
            .lifecycle_event_image_actions
            .iter()
            .filter(expires)
            .map(|action| {
                Ok(ChangeKind::ImageDeleted {
                    digest: parse("digest", &action.lifecycle_event_image.digest)?,
                })
            })
            .collect()
    }
}
