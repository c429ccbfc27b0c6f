//! The events of the sample images, in the form that Amazon's services and a registry send.

use std::time::Duration;

use catalog::{Service, Timestamp};
use serde_json::{Value, json};

use super::manifest::Manifest;

/// The events so far. The times of their methods are in seconds before [`now`](Self::now).
#[derive(Debug)]
pub(super) struct Events {
    pub(super) registry: String,
    pub(super) region: String,
    pub(super) now: Timestamp,
    /// Of Amazon EventBridge.
    pub(super) amazon: Vec<Value>,
    /// Of a CNCF distribution registry.
    pub(super) distribution: Vec<Value>,
}

/// A repository of Amazon ECR or Amazon ECR Public.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repository {
    pub(super) service: Service,
    pub(super) name: &'static str,
}

impl Events {
    /// CloudTrail's record of `CreateRepository`, with further members of the request.
    pub(super) fn create_repository(&mut self, repository: Repository, ago: u64, settings: Value) {
        let Repository { service, name } = repository;
        let uri = match service {
            Service::Ecr => {
                format!("{}.dkr.ecr.{}.amazonaws.com/{name}", self.registry, self.region)
            }
            Service::EcrPublic => format!("public.ecr.aws/k3s8d2f1/{name}"),
        };
        let mut created = json!({
            "repositoryName": name,
            "registryId": self.registry,
            "repositoryUri": uri,
        });
        if service == Service::Ecr {
            created["encryptionConfiguration"] = json!({ "encryptionType": "AES256" });
        }
        let mut request = settings;
        request["repositoryName"] = json!(name);
        self.call(repository, ago, "CreateRepository", request, json!({ "repository": created }));
    }

    /// CloudTrail's record of `PutImage`, which contains the manifest.
    pub(super) fn put_image(
        &mut self,
        repository: Repository,
        manifest: &Manifest,
        tag: Option<&str>,
        ago: u64,
    ) {
        let name = repository.name;
        let mut image_id = json!({ "imageDigest": manifest.digest });
        if let Some(tag) = tag {
            image_id["imageTag"] = json!(tag);
        }
        let request = json!({
            "registryId": self.registry,
            "repositoryName": name,
            "imageManifest": manifest.text,
            "imageManifestMediaType": manifest.media_type,
        });
        let response = json!({ "image": {
            "registryId": self.registry,
            "repositoryName": name,
            "imageId": image_id,
            "imageManifest": manifest.text,
            "imageManifestMediaType": manifest.media_type,
        } });
        self.call(repository, ago, "PutImage", request, response);
    }

    /// The result of Amazon ECR's basic scanning.
    pub(super) fn scan(
        &mut self,
        repository: Repository,
        image: &Manifest,
        ago: u64,
        counts: Value,
    ) {
        let detail = json!({
            "scan-status": "COMPLETE",
            "repository-name": repository.name,
            "image-digest": image.digest,
            "image-tags": [],
            "finding-severity-counts": counts,
        });
        self.event("aws.ecr", "ECR Image Scan", ago, detail);
    }

    /// The result of Amazon Inspector's first scan.
    pub(super) fn inspect(
        &mut self,
        repository: Repository,
        image: &Manifest,
        ago: u64,
        counts: Value,
    ) {
        let (region, registry) = (&self.region, &self.registry);
        let arn = format!("arn:aws:ecr:{region}:{registry}:repository/{}", repository.name);
        let detail = json!({
            "scan-status": "INITIAL_SCAN_COMPLETE",
            "repository-name": arn,
            "image-digest": image.digest,
            "image-tags": [],
            "finding-severity-counts": counts,
            "version": "1.0",
        });
        self.event("aws.inspector2", "Inspector2 Scan", ago, detail);
    }

    /// Amazon ECR archives an image.
    pub(super) fn archive(&mut self, repository: Repository, image: &Manifest, ago: u64) {
        let detail = json!({
            "result": "SUCCESS",
            "action-type": "UPDATE_STORAGE_CLASS",
            "target-storage-class": "ARCHIVE",
            "repository-name": repository.name,
            "image-digest": image.digest,
        });
        self.event("aws.ecr", "ECR Image Action", ago, detail);
    }

    /// A notification of a CNCF distribution registry, with references.
    pub(super) fn notify(
        &mut self,
        action: &str,
        repository: &str,
        manifest: &Manifest,
        tag: Option<&str>,
        ago: u64,
    ) {
        let mut target = json!({
            "mediaType": manifest.media_type,
            "digest": manifest.digest,
            "size": manifest.text.len(),
            "repository": repository,
            "references": manifest.references,
        });
        if let Some(tag) = tag {
            target["tag"] = json!(tag);
        }
        let method = if action == "pull" { "GET" } else { "PUT" };
        let (at, request) = (self.at(ago), json!({ "method": method }));
        let event =
            json!({ "timestamp": at, "action": action, "target": target, "request": request });
        self.distribution.push(event);
    }

    fn call(
        &mut self,
        repository: Repository,
        ago: u64,
        name: &str,
        request: Value,
        response: Value,
    ) {
        let service = repository.service.as_str();
        let region = match repository.service {
            Service::Ecr => &self.region,
            Service::EcrPublic => "us-east-1",
        };
        let record = json!({
            "eventVersion": "1.08",
            "eventTime": self.at(ago),
            "eventSource": format!("{service}.amazonaws.com"),
            "eventName": name,
            "awsRegion": region,
            "requestParameters": request,
            "responseElements": response,
            "eventType": "AwsApiCall",
            "recipientAccountId": self.registry,
        });
        self.event(&format!("aws.{service}"), "AWS API Call via CloudTrail", ago, record);
    }

    fn event(&mut self, source: &str, detail_type: &str, ago: u64, detail: Value) {
        let event = json!({
            "detail-type": detail_type,
            "source": source,
            "account": self.registry,
            "time": self.at(ago),
            "region": self.region,
            "detail": detail,
        });
        self.amazon.push(event);
    }

    fn at(&self, ago: u64) -> Timestamp {
        self.now.minus(Duration::from_secs(ago))
    }
}
