//! boto3 and the AWS SDK for JavaScript, by scripts in the folder `scripts`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use end_to_end::harness::{require, tools};
use serde_json::{Value, json};

use super::{SERVICES, Serving, broken_store, run};

/// A language that has scripts in the folder `scripts`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Language {
    Python,
    JavaScript,
}

/// A runner of a language's scripts.
pub(super) struct Scripts {
    pub(super) interpreter: PathBuf,
    pub(super) extension: &'static str,
}

impl Language {
    pub(super) fn require(self, test: &str) -> Option<Scripts> {
        let (interpreter, extension) = match self {
            Self::Python => (require(test, tools().join("python/bin/python3"))?, "py"),
            Self::JavaScript => {
                require(test, tools().join("node/node_modules/@aws-sdk/client-ecr-public"))?;
                (require(test, "node")?, "mjs")
            }
        };
        Some(Scripts { interpreter, extension })
    }
}

impl Scripts {
    /// Runs a script that must succeed; returns what it prints.
    pub(super) fn run(&self, name: &str, arguments: &[&str]) -> String {
        let script = format!(
            "{}/external/clients/scripts/{name}.{}",
            env!("CARGO_MANIFEST_DIR"),
            self.extension
        );
        let ended = run(&self.interpreter, [script.as_str()].iter().chain(arguments).copied());
        assert_eq!(ended.code, Some(0), "{script}: {}", ended.stderr);
        ended.stdout
    }

    /// Runs a script that prints lines of JSON.
    pub(super) fn lines(&self, name: &str, arguments: &[&str]) -> Vec<Value> {
        self.run(name, arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
pub(super) fn boto3_gives_members_as_python_types() {
    let Some(python) = Language::Python.require("boto3_gives_members_as_python_types") else {
        return;
    };
    let serving = Serving::start();
    let url = serving.catalog.url.as_str();
    insta::assert_snapshot!(python.run("members", &["ecr", url, "team/complete"]), @r#"
    [
      {
        "registryId": "str 123456789012",
        "repositoryName": "str team/complete",
        "imageDigest": "str sha256:0000000000000000000000000000000000000000000000000000000000000009",
        "imageTags": [
          "str latest",
          "str v9"
        ],
        "imageSizeInBytes": "int 5000000000",
        "imagePushedAt": "datetime 2026-01-01 00:00:01.234000+00:00",
        "imageScanStatus": {
          "status": "str COMPLETE",
          "description": "str The scan was completed successfully."
        },
        "imageScanFindingsSummary": {
          "imageScanCompletedAt": "datetime 2026-01-01 00:00:03.500000+00:00",
          "vulnerabilitySourceUpdatedAt": "datetime 2026-01-01 00:00:03+00:00",
          "findingSeverityCounts": {
            "CRITICAL": "int 1",
            "LOW": "int 20"
          }
        },
        "imageManifestMediaType": "str application/vnd.oci.image.manifest.v1+json",
        "artifactMediaType": "str application/vnd.oci.image.config.v1+json",
        "lastRecordedPullTime": "datetime 2026-01-01 00:00:05.250000+00:00",
        "subjectManifestDigest": "str sha256:0000000000000000000000000000000000000000000000000000000000000001",
        "imageStatus": "str ACTIVE",
        "lastArchivedAt": "datetime 2026-01-01 00:00:06+00:00",
        "lastActivatedAt": "datetime 2026-01-01 00:00:08.125000+00:00"
      }
    ]
    "#);
    insta::assert_snapshot!(python.run("members", &["ecr-public", url, "team/complete"]), @r#"
    [
      {
        "registryId": "str 123456789012",
        "repositoryName": "str team/complete",
        "imageDigest": "str sha256:7e53b1edf2c139d85b0699d7c2389e4705c7aaea4e4ddb9e6681ea1c86be8023",
        "imageTags": [
          "str latest",
          "str v9"
        ],
        "imageSizeInBytes": "int 5000000000",
        "imagePushedAt": "datetime 2026-01-01 00:00:01+00:00",
        "imageManifestMediaType": "str application/vnd.oci.image.manifest.v1+json",
        "artifactMediaType": "str application/vnd.oci.image.config.v1+json"
      }
    ]
    "#);
}

#[test]
pub(super) fn javascript_gives_members_as_javascript_classes() {
    let test = "javascript_gives_members_as_javascript_classes";
    let Some(javascript) = Language::JavaScript.require(test) else { return };
    let serving = Serving::start();
    let url = serving.catalog.url.as_str();
    insta::assert_snapshot!(javascript.run("members", &["ecr", url, "team/complete"]), @r#"
    [
      {
        "registryId": "String 123456789012",
        "repositoryName": "String team/complete",
        "imageDigest": "String sha256:0000000000000000000000000000000000000000000000000000000000000009",
        "imageTags": [
          "String latest",
          "String v9"
        ],
        "imageSizeInBytes": "Number 5000000000",
        "imagePushedAt": "Date 2026-01-01T00:00:01.234Z",
        "imageScanStatus": {
          "status": "String COMPLETE",
          "description": "String The scan was completed successfully."
        },
        "imageScanFindingsSummary": {
          "imageScanCompletedAt": "Date 2026-01-01T00:00:03.500Z",
          "vulnerabilitySourceUpdatedAt": "Date 2026-01-01T00:00:03.000Z",
          "findingSeverityCounts": {
            "CRITICAL": "Number 1",
            "LOW": "Number 20"
          }
        },
        "imageManifestMediaType": "String application/vnd.oci.image.manifest.v1+json",
        "artifactMediaType": "String application/vnd.oci.image.config.v1+json",
        "lastRecordedPullTime": "Date 2026-01-01T00:00:05.250Z",
        "subjectManifestDigest": "String sha256:0000000000000000000000000000000000000000000000000000000000000001",
        "imageStatus": "String ACTIVE",
        "lastArchivedAt": "Date 2026-01-01T00:00:06.000Z",
        "lastActivatedAt": "Date 2026-01-01T00:00:08.125Z"
      }
    ]
    "#);
    insta::assert_snapshot!(javascript.run("members", &["ecr-public", url, "team/complete"]), @r#"
    [
      {
        "registryId": "String 123456789012",
        "repositoryName": "String team/complete",
        "imageDigest": "String sha256:7e53b1edf2c139d85b0699d7c2389e4705c7aaea4e4ddb9e6681ea1c86be8023",
        "imageTags": [
          "String latest",
          "String v9"
        ],
        "imageSizeInBytes": "Number 5000000000",
        "imagePushedAt": "Date 2026-01-01T00:00:01.000Z",
        "imageManifestMediaType": "String application/vnd.oci.image.manifest.v1+json",
        "artifactMediaType": "String application/vnd.oci.image.config.v1+json"
      }
    ]
    "#);
}

/// No response has a member that is not in its model, or lacks a required one.
#[test]
pub(super) fn responses_have_the_shapes_of_the_models() {
    let Some(python) = Language::Python.require("responses_have_the_shapes_of_the_models") else {
        return;
    };
    let serving = Serving::start();
    let app = r#"{"repositoryName":"team/app"}"#;
    let complete = r#"{"repositoryName":"team/complete"}"#;
    let requests = [
        format!("ecr DescribeImages {complete}"),
        "ecr DescribeRepositories {}".to_owned(),
        format!("ecr ListImages {app}"),
        r#"ecr ListTagsForResource {"resourceArn":"arn:aws:ecr:us-east-1:123456789012:repository/team/empty"}"#.to_owned(),
        format!("ecr-public DescribeImages {complete}"),
        "ecr-public DescribeRepositories {}".to_owned(),
        format!("ecr-public DescribeImageTags {app}"),
        "ecr-public DescribeRegistries {}".to_owned(),
        r#"ecr-public ListTagsForResource {"resourceArn":"arn:aws:ecr-public::123456789012:repository/team/empty"}"#.to_owned(),
    ];
    let arguments: Vec<&str> = [serving.catalog.url.as_str()]
        .into_iter()
        .chain(requests.iter().map(String::as_str))
        .collect();
    let lines: Vec<String> =
        python.lines("models", &arguments).iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"differences":[],"members":["imageDetails"],"operation":"ecr DescribeImages"}
    {"differences":[],"members":["repositories"],"operation":"ecr DescribeRepositories"}
    {"differences":[],"members":["imageIds"],"operation":"ecr ListImages"}
    {"differences":[],"members":["tags"],"operation":"ecr ListTagsForResource"}
    {"differences":[],"members":["imageDetails"],"operation":"ecr-public DescribeImages"}
    {"differences":[],"members":["repositories"],"operation":"ecr-public DescribeRepositories"}
    {"differences":[],"members":["imageTagDetails"],"operation":"ecr-public DescribeImageTags"}
    {"differences":[],"members":["registries"],"operation":"ecr-public DescribeRegistries"}
    {"differences":[],"members":["tags"],"operation":"ecr-public ListTagsForResource"}
    "#);
}

#[test]
pub(super) fn boto3_catches_errors_by_class() {
    fails_by_class(Language::Python, "boto3_catches_errors_by_class", "ClientError");
}

#[test]
pub(super) fn javascript_errors_are_instances_of_their_classes() {
    let test = "javascript_errors_are_instances_of_their_classes";
    fails_by_class(Language::JavaScript, test, "ECRServiceException");
}

/// The output of the scripts `errors` for an error, without its request ID.
pub(super) fn error(class: &str, code: &str, status: u16, message: &str) -> Value {
    json!({ "class": class, "code": code, "status": status, "message": message })
}

/// `base` is the class of the errors of the private service that are not in its model.
pub(super) fn fails_by_class(language: Language, test: &str, base: &str) {
    let Some(scripts) = language.require(test) else { return };
    let fail = |serving: &Serving, service: &str, cases: Value| {
        let mut errors =
            scripts.lines("errors", &[service, &serving.catalog.url, &cases.to_string()]);
        let mut request_ids = BTreeSet::new();
        for error in &mut errors {
            let id = error.as_object_mut().unwrap().remove("requestId").unwrap();
            assert_eq!(id.as_str().unwrap().len(), 36, "{id}");
            request_ids.insert(id.to_string());
        }
        assert_eq!(request_ids.len(), errors.len(), "an id of its own for each request");
        errors
    };
    let modelled = |class: &str, message: &str| error(class, class, 400, message);

    let serving = Serving::start();
    for service in SERVICES {
        let tags = json!([{ "imageTag": "v1" }, { "imageTag": "none" }]);
        let requests = [
            ("RepositoryNotFoundException", json!({ "repositoryName": "team/none" })),
            ("ImageNotFoundException", json!({ "repositoryName": "team/app", "imageIds": tags })),
            (
                "InvalidParameterException",
                json!({ "repositoryName": "team/app", "nextToken": "forged" }),
            ),
            (
                "InvalidParameterException",
                json!({ "repositoryName": "team/app", "imageIds": tags, "maxResults": 1 }),
            ),
        ];
        let cases = requests.map(|(class, request)| json!([class, "DescribeImages", request]));
        let errors = fail(&serving, service, json!(cases));
        let expected = [
            modelled(
                "RepositoryNotFoundException",
                "The repository with name 'team/none' does not exist in the registry with id '123456789012'",
            ),
            modelled(
                "ImageNotFoundException",
                "The image with imageId {imageDigest:'null', imageTag:'none'} does not exist within the \
                 repository with name 'team/app' in the registry with id '123456789012'",
            ),
            modelled(
                "InvalidParameterException",
                "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'",
            ),
            modelled(
                "InvalidParameterException",
                "Invalid parameter at 'maxResults' failed to satisfy constraint: 'must not be specified when \
                 imageIds is specified'",
            ),
        ];
        assert_eq!(errors, expected, "{service}");
    }
    // The public model has a class for an operation that this catalog does not serve.
    let unsupported = "UnsupportedCommandException";
    let message = "isn't supported by this catalog.";
    let get = json!({ "repositoryName": "team/app" });
    assert_eq!(
        fail(&serving, "ecr-public", json!([[unsupported, "GetRepositoryCatalogData", get]])),
        [modelled(unsupported, &format!("The action GetRepositoryCatalogData {message}"))]
    );
    let put = json!({ "repositoryName": "team/app", "imageTagMutability": "MUTABLE" });
    assert_eq!(
        fail(&serving, "ecr", json!([[base, "PutImageTagMutability", put]])),
        [error(base, unsupported, 400, &format!("The action PutImageTagMutability {message}"))]
    );

    let broken = Serving::start_with(broken_store());
    for service in SERVICES {
        let server = "ServerException";
        assert_eq!(
            fail(
                &broken,
                service,
                json!([[server, "DescribeImages", { "repositoryName": "team/app" }]])
            ),
            [error(
                server,
                server,
                500,
                "The catalog could not answer the request. Try again later."
            )]
        );
    }
}

#[test]
pub(super) fn boto3_stops_and_resumes() {
    let Some(python) = Language::Python.require("boto3_stops_and_resumes") else { return };
    let serving = Serving::start();
    for service in SERVICES {
        let pieces = |max_items: &str, page_size: &str| {
            let arguments = [service, &serving.catalog.url, "team/app", max_items, page_size];
            Value::from(python.lines("resume", &arguments))
        };
        let one_by_one = json!([[["latest", "v2"]], [[]], [["stable", "v1"]]]);
        assert_eq!(pieces("1", "1"), one_by_one);
        assert_eq!(pieces("1", "2"), one_by_one);
        assert_eq!(pieces("1", "1000"), one_by_one);
        assert_eq!(pieces("2", "1"), json!([[["latest", "v2"], []], [["stable", "v1"]]]));
        assert_eq!(pieces("3", "3"), json!([[["latest", "v2"], [], ["stable", "v1"]]]));
    }
}

#[test]
pub(super) fn javascript_resumes_with_another_client_and_page_size() {
    let test = "javascript_resumes_with_another_client_and_page_size";
    let Some(javascript) = Language::JavaScript.require(test) else { return };
    let serving = Serving::start();
    for service in SERVICES {
        let pages = |first: &str, others: &str| {
            let arguments = [service, &serving.catalog.url, "team/app", first, others];
            Value::from(javascript.lines("resume", &arguments))
        };
        assert_eq!(pages("1", "2"), json!([[["latest", "v2"]], [[], ["stable", "v1"]]]));
        assert_eq!(pages("2", "1"), json!([[["latest", "v2"], []], [["stable", "v1"]]]));
    }
}
