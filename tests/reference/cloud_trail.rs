//! Calls of Amazon ECR's and Amazon ECR Public's APIs, as CloudTrail records them and as the model's
//! changes.

use catalog::change::Content;
use catalog::{Change, ChangeKind, Digest, Repository, RepositoryStatement, Service, Tag};
use serde_json::{Value, json};

use crate::harness::stand_in::digest_of;
use crate::harness::{OCI_IMAGE, OCI_INDEX, REGION, repository, time};

/// A call that changes a repository.
#[derive(Debug, Clone)]
pub enum Call {
    CreateRepository,
    DeleteRepository,
    PutImage {
        manifest: Value,
        tag: Option<Tag>,
    },
    /// BatchDeleteImage with the digest.
    DeleteImage {
        digest: Digest,
    },
    /// BatchDeleteImage with the tag, which the image of this digest has.
    DeleteTag {
        digest: Digest,
        tag: Tag,
    },
}

/// A repository of Amazon ECR Public.
pub fn public_repository(name: &str) -> Repository {
    Repository { service: Service::EcrPublic, ..repository(name) }
}

/// A manifest of an index of these manifests.
pub fn index_of(manifests: &[&Value]) -> Value {
    let descriptor = |manifest: &&Value| {
        json!({
            "mediaType": OCI_IMAGE,
            "digest": digest_of(manifest),
            "size": manifest.to_string().len(),
        })
    };
    let manifests: Vec<Value> = manifests.iter().map(descriptor).collect();
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests })
}

impl Call {
    /// The record of the call in this second of 2026.
    pub fn record(&self, repository: &Repository, second: i64) -> Value {
        let name = &repository.name;
        let registry = &repository.registry;
        let (service, region, alias, host) = match repository.service {
            Service::Ecr => {
                let host = format!("{registry}.dkr.ecr.{REGION}.amazonaws.com");
                ("ecr", REGION, registry.as_str(), host)
            }
            Service::EcrPublic => {
                let alias = "j3y4example";
                ("ecr-public", "", alias, format!("public.ecr.aws/{alias}"))
            }
        };
        let created = json!({
            "repository": {
                "repositoryArn": format!("arn:aws:{service}:{region}:{registry}:repository/{name}"),
                "registryId": registry,
                "repositoryName": name,
                "repositoryUri": format!("{host}/{name}"),
            },
        });
        let mut request = json!({ "repositoryName": name });
        let (event, response) = match self {
            Self::CreateRepository => ("CreateRepository", created),
            Self::DeleteRepository => ("DeleteRepository", created),
            Self::PutImage { manifest, tag } => {
                request["registryId"] = json!(alias);
                request["imageManifest"] = json!(manifest.to_string());
                let mut id = json!({ "imageDigest": digest_of(manifest) });
                if let Some(tag) = tag {
                    request["imageTag"] = json!(tag);
                    id["imageTag"] = json!(tag);
                }
                let image = json!({
                    "registryId": repository.registry,
                    "repositoryName": name,
                    "imageId": id,
                    "imageManifest": manifest.to_string(),
                    "imageManifestMediaType": manifest["mediaType"],
                });
                ("PutImage", json!({ "image": image }))
            }
            Self::DeleteImage { digest } => {
                request["imageIds"] = json!([{ "imageDigest": digest }]);
                let deleted = json!([{ "imageDigest": digest, "imageTag": "latest" }]);
                ("BatchDeleteImage", json!({ "imageIds": deleted, "failures": [] }))
            }
            Self::DeleteTag { digest, tag } => {
                request["imageIds"] = json!([{ "imageTag": tag }]);
                let deleted = json!([{ "imageDigest": digest, "imageTag": tag }]);
                ("BatchDeleteImage", json!({ "imageIds": deleted, "failures": [] }))
            }
        };
        json!({
            "eventVersion": "1.08",
            "eventTime": time(second * 1000),
            "eventSource": format!("{service}.amazonaws.com"),
            "eventName": event,
            "awsRegion": REGION,
            "requestParameters": request,
            "responseElements": response,
            "readOnly": false,
            "eventType": "AwsApiCall",
            "managementEvent": true,
            "recipientAccountId": repository.registry,
        })
    }

    /// What the call changes.
    pub fn change(&self, repository: &Repository, second: i64) -> Change {
        let kind = match self {
            Self::CreateRepository => ChangeKind::RepositoryStated(RepositoryStatement::default()),
            Self::DeleteRepository => ChangeKind::RepositoryDeleted,
            Self::PutImage { manifest, tag } => ChangeKind::ImagePushed {
                digest: digest_of(manifest),
                tag: tag.clone(),
                content: content(manifest),
            },
            Self::DeleteImage { digest } => ChangeKind::ImageDeleted { digest: digest.clone() },
            Self::DeleteTag { digest, tag } => {
                ChangeKind::ImageUntagged { digest: digest.clone(), tag: tag.clone() }
            }
        };
        Change { repository: repository.clone(), time: time(second * 1000), kind }
    }
}

/// What a manifest without layers contains.
fn content(manifest: &Value) -> Content {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let digest = |manifest: &Value| Digest::parse(manifest["digest"].as_str().unwrap()).unwrap();
    Content {
        manifest_media_type: text(&manifest["mediaType"]),
        artifact_media_type: text(&manifest["config"]["mediaType"]),
        size_in_bytes: manifest["config"]["size"].as_i64(),
        manifests: manifest["manifests"].as_array().map(|all| all.iter().map(digest).collect()),
        subject: None,
    }
}
