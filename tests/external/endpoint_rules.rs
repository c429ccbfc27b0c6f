//! The endpoint rule sets: with them, the unmodified `aws ecr` and boto3 sign for API Gateway. The
//! catalog requires signatures as API Gateway does, scoped to `execute-api`. It also is the proxy
//! of the clients, so that requests to API Gateway's names reach it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use catalog::change::Content;
use catalog::{Change, ChangeKind, Repository, Service};
use end_to_end::harness::{
    Catalog, Ended, REGION, REGISTRY, Store, clean_command, command, digest, folder, repository,
    require, tag, time, tools,
};
use serde_json::json;

/// A name of API Gateway, in the catalog's region.
const ENDPOINT: &str = "http://abcdefghij.execute-api.us-east-1.amazonaws.com";

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/external/endpoint_rules");

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

const RULE_SETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/service-model");

const COPY: &str = "mkdir -p ~/.aws/models && cp -R infra/service-model/* ~/.aws/models/";

/// A catalog for a caller that signs for API Gateway: an image of one byte in Amazon ECR, and one
/// of two bytes in Amazon ECR Public.
async fn catalog() -> Catalog {
    let store = Store::in_memory().await;
    for (service, size) in [(Service::Ecr, 1), (Service::EcrPublic, 2)] {
        let content = Content { size_in_bytes: Some(size), ..Content::default() };
        let kind = ChangeKind::ImagePushed { digest: digest(1), tag: Some(tag("v1")), content };
        let repository = Repository { service, ..repository("team/app") };
        store.writer.apply(&Change { repository, time: time(0), kind }).await.unwrap();
    }
    let callers = json!([{
        "accessKeyId": "AKIDREADER", "secretAccessKey": "secret",
        "arn": format!("arn:aws:iam::{REGISTRY}:user/reader"),
    }]);
    Catalog::start_for(store, &callers, Some("execute-api")).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    AwsCli1,
    AwsCli2,
    Boto3,
}

impl Client {
    fn program(self, test: &str) -> Option<PathBuf> {
        match self {
            Self::AwsCli1 => require(test, tools().join("python/bin/aws")),
            Self::AwsCli2 => require(test, "/usr/bin/aws"),
            Self::Boto3 => require(test, tools().join("python/bin/python3")),
        }
    }
}

/// A client with a folder of its own, which also is its home directory.
struct Installation {
    client: Client,
    program: PathBuf,
    folder: PathBuf,
    catalog: String,
}

impl Installation {
    fn home(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// `image-catalog aws-config`
    fn aws_config(&self, options: &[&str]) -> Ended {
        Ended::run(command(&self.folder).arg("aws-config").args(options))
    }

    /// `ecr describe-images` in a region other than the catalog's, with more variables.
    fn describe(&self, service: &str, endpoint: Option<&str>, variables: &[(&str, &str)]) -> Ended {
        let mut command = clean_command(&self.program, &self.home());
        match self.client {
            Client::AwsCli1 | Client::AwsCli2 => {
                command.args([service, "describe-images", "--repository-name", "team/app"]);
                command.args(["--query", "imageDetails[].imageSizeInBytes", "--output", "text"]);
                command.args(endpoint.into_iter().flat_map(|url| ["--endpoint-url", url]));
            }
            Client::Boto3 => {
                command.arg(format!("{SCRIPTS}/describe_images.py")).args([service, "team/app"]);
                command.args(endpoint);
            }
        }
        command
            .envs([("AWS_ACCESS_KEY_ID", "AKIDREADER"), ("AWS_SECRET_ACCESS_KEY", "secret")])
            .env("AWS_DEFAULT_REGION", "eu-west-1")
            .env("http_proxy", &self.catalog)
            .envs(variables.iter().copied());
        Ended::run(&mut command)
    }

    fn is_answered(&self, endpoint: Option<&str>, variables: &[(&str, &str)]) {
        for (service, sizes) in [("ecr", "1\n"), ("ecr-public", "2\n")] {
            let ended = self.describe(service, endpoint, variables);
            assert_eq!(ended.stdout, sizes, "{service} {endpoint:?} {variables:?}: {ended:?}");
        }
    }

    fn is_refused(&self, endpoint: &str) {
        for service in ["ecr", "ecr-public"] {
            let variables = [("AWS_DEFAULT_REGION", REGION)];
            let ended = self.describe(service, Some(endpoint), &variables);
            let reason = "Credential should be scoped to correct service: 'execute-api'";
            assert!(ended.stderr.contains(reason), "{service} {endpoint}: {ended:?}");
        }
    }
}

async fn signs_for_api_gateway(test: &str, client: Client) {
    let Some(program) = client.program(test) else { return };
    let folder = folder(&format!("endpoint_rules/{test}"));
    let catalog = catalog().await;
    let client = Installation { client, program, folder, catalog: catalog.url.clone() };
    tokio::task::block_in_place(|| {
        fs::create_dir_all(client.home().join(".aws")).unwrap();
        client.is_refused(ENDPOINT);

        let installed = client.aws_config(&["--endpoint", ENDPOINT]);
        assert_eq!(installed.code, Some(0), "{installed:?}");
        client.is_answered(Some(ENDPOINT), &[]);
        // Other endpoints as ever.
        client.is_refused("http://api.ecr.us-east-1.amazonaws.com");
        client.is_refused(&catalog.url);
        // AWS CLI 2 knows these since 2.13.
        if client.client != Client::AwsCli2 {
            let service = ["AWS_ENDPOINT_URL_ECR", "AWS_ENDPOINT_URL_ECR_PUBLIC"];
            client.is_answered(None, &service.map(|name| (name, ENDPOINT)));
            // As it is printed.
            let profile = installed.stdout.find("[profile image-catalog]").unwrap();
            fs::write(client.home().join(".aws/config"), &installed.stdout[profile..]).unwrap();
            client.is_answered(None, &[("AWS_PROFILE", "image-catalog")]);
            fs::remove_file(client.home().join(".aws/config")).unwrap();
        }

        // The catalog's own name, which contains no region.
        let installed = client.aws_config(&["--endpoint", &catalog.url]);
        assert_eq!(installed.code, Some(0), "{installed:?}");
        client.is_answered(Some(&catalog.url), &[("AWS_DEFAULT_REGION", REGION)]);
        client.is_answered(Some(ENDPOINT), &[]);

        let removed = client.aws_config(&["--remove"]);
        assert_eq!(removed.code, Some(0), "{removed:?}");
        client.is_refused(ENDPOINT);
        client.is_answered(Some(ENDPOINT), &[("AWS_DATA_PATH", RULE_SETS)]);

        // As docs/operations.md installs it without the program.
        let copied = format!("cd {REPOSITORY} && {COPY}");
        assert!(
            fs::read_to_string(format!("{REPOSITORY}/docs/operations.md")).unwrap().contains(COPY)
        );
        let ended =
            Ended::run(clean_command(Path::new("/bin/sh"), &client.home()).args(["-c", &copied]));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        client.is_answered(Some(ENDPOINT), &[]);
        let removed = client.aws_config(&["--remove"]);
        assert_eq!(removed.code, Some(0), "{removed:?}");
        client.is_refused(ENDPOINT);

        let models = client.home().join("models");
        let installed = client.aws_config(&["--endpoint", &catalog.url, "--models", "models"]);
        let exported = format!("\nexport AWS_DATA_PATH={}\n", models.display());
        assert!(installed.stdout.contains(&exported), "{installed:?}");
        let variables =
            [("AWS_DATA_PATH", models.to_str().unwrap()), ("AWS_DEFAULT_REGION", REGION)];
        client.is_answered(Some(&catalog.url), &variables);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aws_cli_1_signs_for_api_gateway() {
    signs_for_api_gateway("aws_cli_1_signs_for_api_gateway", Client::AwsCli1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aws_cli_2_signs_for_api_gateway() {
    signs_for_api_gateway("aws_cli_2_signs_for_api_gateway", Client::AwsCli2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_signs_for_api_gateway() {
    signs_for_api_gateway("boto3_signs_for_api_gateway", Client::Boto3).await;
}

/// The differences between a folder of rule sets and the ones of a client.
fn differences(python: &Path, package: &str, rule_sets: &Path) -> String {
    let script = format!("{SCRIPTS}/compare.py");
    let ended = Ended::run(Command::new(python).arg(script).arg(rule_sets).arg(package));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout
}

#[test]
fn nothing_else_differs_from_aws_cli_1() {
    let test = "nothing_else_differs_from_aws_cli_1";
    let Some(python) = require(test, tools().join("python/bin/python3")) else { return };
    assert_eq!(differences(&python, "awscli", Path::new(RULE_SETS)), "");
}

#[test]
fn nothing_else_differs_from_aws_cli_2() {
    let test = "nothing_else_differs_from_aws_cli_2";
    let (Some(_), Some(python)) =
        (require(test, "/usr/bin/aws"), require(test, "/usr/bin/python3"))
    else {
        return;
    };
    assert_eq!(differences(&python, "awscli", Path::new(RULE_SETS)), "");
}

#[test]
fn nothing_else_differs_from_boto3() {
    let test = "nothing_else_differs_from_boto3";
    let Some(python) = require(test, tools().join("python/bin/python3")) else { return };
    assert_eq!(differences(&python, "boto3", Path::new(RULE_SETS)), "");
}
