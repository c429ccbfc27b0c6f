//! The clients that people use: AWS CLI 1 and 2, boto3, and the AWS SDKs for JavaScript and Rust.
//! Each asks for all that its options can ask for, and each reads a large repository, in which every
//! image must be seen once.
//!
//! What the clients print is that of the versions that `install-tools` installs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use catalog::change::Content;
use catalog::image::Scan;
use catalog::{Change, ChangeKind, Digest, Reader, RegistryId, Repository, Table};
use describe_images::DescribeImages;
use describe_images::page_token::Keyring;
use end_to_end::{Catalog, Store, digest, print, repository, require, tag, time, tools};
use lambda_http::Body;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const SERVICES: [&str; 2] = ["ecr", "ecr-public"];

/// The registry that [`seed`] fills besides the default one.
const OTHER_REGISTRY: &str = "210987654321";

const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";

/// A push of image number `number`, which has as many bytes.
fn push(number: u64, tag_name: Option<&str>) -> ChangeKind {
    ChangeKind::ImagePushed {
        digest: digest(number),
        tag: tag_name.map(tag),
        content: Content {
            manifest_media_type: Some(OCI_IMAGE.to_owned()),
            artifact_media_type: Some(OCI_CONFIGURATION.to_owned()),
            size_in_bytes: Some(number.cast_signed()),
            ..Content::default()
        },
    }
}

async fn apply(store: &Store, repository: &Repository, milliseconds: i64, kind: ChangeKind) {
    let change = Change { repository: repository.clone(), time: time(milliseconds), kind };
    store.writer.apply(&change).await.unwrap();
}

/// Four repositories:
///
/// - `team/app`: images 1 (`latest` and `v2`), 2 (no tag) and 3 (`stable` and `v1`), the newest first,
///   and the archived image 4 (`old`), which is older than they;
/// - `team/app` of another registry: image 5 (`theirs`);
/// - `team/complete`: an image of which all is known;
/// - `team/empty`.
async fn seed(store: &Store) {
    let app = repository("team/app");
    apply(store, &app, -1, push(4, Some("old"))).await;
    apply(store, &app, 0, push(3, Some("v1"))).await;
    apply(store, &app, 1_000, push(2, None)).await;
    apply(store, &app, 2_500, push(1, Some("v2"))).await;
    apply(store, &app, 3_000, push(1, Some("latest"))).await;
    apply(store, &app, 5_000, ChangeKind::ImageArchived { digest: digest(4) }).await;
    // Another tag does not make an image newer.
    apply(store, &app, 9_000, push(3, Some("stable"))).await;

    let theirs = Repository { registry: RegistryId::parse(OTHER_REGISTRY).unwrap(), ..app };
    apply(store, &theirs, 0, push(5, Some("theirs"))).await;

    apply(store, &repository("team/empty"), 0, ChangeKind::RepositoryCreated).await;

    let complete = repository("team/complete");
    let content = Content {
        manifest_media_type: Some(OCI_IMAGE.to_owned()),
        artifact_media_type: Some(OCI_CONFIGURATION.to_owned()),
        // More than 32 bits.
        size_in_bytes: Some(5_000_000_000),
        subject: Some(digest(1)),
        ..Content::default()
    };
    let image = digest(9);
    let push =
        |name| ChangeKind::ImagePushed { digest: digest(9), tag: Some(tag(name)), content: content.clone() };
    apply(store, &complete, 1_234, push("v9")).await;
    apply(store, &complete, 2_000, push("latest")).await;
    let scan = Scan {
        status: "COMPLETE".to_owned(),
        finding_severity_counts: Some(BTreeMap::from([("CRITICAL".to_owned(), 1), ("LOW".to_owned(), 20)])),
        completed_at: time(3_500),
    };
    apply(store, &complete, 4_000, ChangeKind::ImageScanned { digest: image.clone(), scan }).await;
    apply(store, &complete, 5_250, ChangeKind::ImagePulled { digest: image.clone() }).await;
    apply(store, &complete, 6_000, ChangeKind::ImageArchived { digest: image.clone() }).await;
    let restored = ChangeKind::ImageRestored { digest: image, activated_at: time(8_125) };
    apply(store, &complete, 7_000, restored).await;
}

/// A store whose table is missing, so that every request fails inside.
async fn broken_store() -> Store {
    let store = Store::in_memory().await;
    let missing = Table { name: "missing".to_owned(), ..store.table.clone() };
    Store { reader: Reader::new(missing), ..store }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A catalog that answers while the test waits for the programs that ask it.
struct Serving {
    catalog: Catalog,
    runtime: Runtime,
}

impl Serving {
    /// With what [`seed`] seeds.
    fn start() -> Self {
        let serving = Self::start_with(Store::in_memory());
        serving.runtime.block_on(seed(&serving.catalog.store));
        serving
    }

    fn start_with(store: impl Future<Output = Store>) -> Self {
        let runtime = runtime();
        let keys = Keyring::generate_key().unwrap();
        let catalog = runtime.block_on(async { Catalog::start_with(store.await, &keys).await });
        Self { catalog, runtime }
    }
}

/// How a program ended, and what it said.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs a program that finds no configuration but what is given here.
fn run<'a>(program: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Ended {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients-home");
    std::fs::create_dir_all(&home).unwrap();
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home)
        .env("TZ", "UTC")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_PAGER", "")
        .env("SDK_FOLDER", tools().join("node"))
        .output()
        .unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a program that must succeed; returns what it prints.
fn run_well<'a>(program: &Path, arguments: impl IntoIterator<Item = &'a str>) -> String {
    let ended = run(program, arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout
}

/// A script of the folder `clients`.
fn script(name: &str) -> String {
    format!("{}/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A snapshot in a test that runs twice.
macro_rules! assert_prints {
    ($printed:expr, @$expected:literal) => {
        insta::allow_duplicates! { insta::assert_snapshot!($printed, @$expected) }
    };
}

// AWS CLI

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    fn require(self, test: &str) -> Option<PathBuf> {
        match self {
            Self::One => require(test, tools().join("python/bin/aws")),
            Self::Two => require(test, "/usr/bin/aws"),
        }
    }
}

/// AWS CLI, and where it asks.
#[derive(Debug)]
struct Aws {
    version: Version,
    program: PathBuf,
    endpoint: String,
}

impl Aws {
    /// Runs a command; its arguments are what stands between spaces, `''` is an empty one.
    fn run(&self, command: &str) -> Ended {
        let arguments = command.split_whitespace().map(|word| if word == "''" { "" } else { word });
        run(&self.program, arguments.chain(["--endpoint-url", &self.endpoint]))
    }

    /// What a command prints that succeeds.
    fn prints(&self, command: &str) -> String {
        let ended = self.run(command);
        assert!(ended.code == Some(0) && ended.stderr.is_empty(), "{command}: {ended:?}");
        ended.stdout
    }

    /// What a command prints, as JSON.
    fn json(&self, command: &str) -> Value {
        serde_json::from_str(&self.prints(command)).unwrap()
    }

    /// The numbers of the images of `team/app` that are listed with these options.
    fn lists(&self, service: &str, options: &str) -> Vec<u64> {
        let sizes = self.json(&format!(
            "{service} describe-images --repository-name team/app {options} \
             --query imageDetails[].imageSizeInBytes --output json"
        ));
        serde_json::from_value(sizes).unwrap()
    }

    /// Runs a command that the service refuses with this error.
    fn is_refused(&self, command: &str, error: &str, message: &str) {
        let ended = self.run(command);
        let operation = if command.contains(" describe-images ") { "DescribeImages" } else { "ListImages" };
        assert_eq!(
            ended.stderr,
            format!("\nAn error occurred ({error}) when calling the {operation} operation: {message}\n"),
            "{command}"
        );
        assert_eq!(ended.stdout, "", "{command}");
        let code = match self.version {
            Version::One => 255,
            Version::Two => 254,
        };
        assert_eq!(ended.code, Some(code), "{command}");
    }

    /// What AWS CLI itself says of a command that it does not even send.
    fn rejects(&self, command: &str) -> String {
        let ended = self.run(command);
        assert_eq!(ended.stdout, "", "{command}");
        let code = match self.version {
            Version::One => 255,
            Version::Two => 252,
        };
        assert_eq!(ended.code, Some(code), "{command}");
        ended.stderr
    }
}

macro_rules! with_both_versions {
    ($($test:ident),* $(,)?) => {
        mod aws_cli_1 {
            $(
                #[test]
                fn $test() {
                    super::with_aws(super::Version::One, stringify!($test), super::$test);
                }
            )*
        }

        mod aws_cli_2 {
            $(
                #[test]
                fn $test() {
                    super::with_aws(super::Version::Two, stringify!($test), super::$test);
                }
            )*
        }
    };
}

fn with_aws(version: Version, test: &str, body: fn(&Aws)) {
    let Some(program) = version.require(test) else { return };
    let serving = Serving::start();
    body(&Aws { version, program, endpoint: serving.catalog.url.clone() });
}

with_both_versions![
    prints_every_member_as_json,
    prints_text_and_tables,
    prints_yaml,
    prints_an_empty_repository,
    finds_the_newest_image,
    finds_images_by_tag_and_by_digest,
    filters,
    asks_other_registries,
    reads_requests_from_json_and_yaml,
    pages_and_resumes,
    reads_single_pages,
    prints_skeletons_without_a_request,
    prints_errors_of_the_services,
    rejects_what_the_model_forbids,
];

fn prints_every_member_as_json(aws: &Aws) {
    let private = aws.prints("ecr describe-images --repository-name team/complete");
    let public = aws.prints("ecr-public describe-images --repository-name team/complete");
    match aws.version {
        // It prints times as they come.
        Version::One => {
            assert_prints!(private, @"");
            assert_prints!(public, @"");
        }
        // It prints times as ISO 8601. Version 2.9.19 is older than the members imageStatus,
        // subjectManifestDigest, lastArchivedAt and lastActivatedAt, and leaves them out.
        Version::Two => {
            assert_prints!(private, @"");
            assert_prints!(public, @"");
        }
    }
}

fn prints_text_and_tables(aws: &Aws) {
    let app = "ecr describe-images --repository-name team/app";
    let text = aws.prints(&format!("{app} --output text"));
    let table = aws.prints(&format!("{app} --output table --image-ids imageTag=latest"));
    match aws.version {
        Version::One => {
            assert_prints!(text, @"");
            assert_prints!(table, @"");
        }
        Version::Two => {
            assert_prints!(text, @"");
            assert_prints!(table, @"");
        }
    }
    let members = "--query imageDetails[].{bytes:imageSizeInBytes,tags:join('_',imageTags||`[]`)}";
    for service in SERVICES {
        let app = format!("{service} describe-images --repository-name team/app {members}");
        assert_prints!(aws.prints(&format!("{app} --output json")), @"");
        assert_prints!(aws.prints(&format!("{app} --output text")), @"");
        assert_prints!(aws.prints(&format!("{app} --output table")), @"");
    }
}

fn prints_yaml(aws: &Aws) {
    let yaml = "ecr describe-images --repository-name team/app --image-ids imageTag=latest --output yaml";
    let stream = "ecr-public describe-images --repository-name team/app --page-size 2 --output yaml-stream \
                  --query imageDetails[].imageTags";
    match aws.version {
        Version::One => {
            for command in [yaml, stream] {
                let ended = aws.run(command);
                assert!(ended.stderr.contains("argument --output: Invalid choice"), "{ended:?}");
            }
        }
        Version::Two => {
            assert_prints!(aws.prints(yaml), @"");
            assert_prints!(aws.prints(stream), @"");
        }
    }
}

fn prints_an_empty_repository(aws: &Aws) {
    for service in SERVICES {
        let empty = format!("{service} describe-images --repository-name team/empty");
        assert_prints!(aws.prints(&empty), @"");
        assert_prints!(aws.prints(&format!("{empty} --output text")), @"");
    }
}

fn finds_the_newest_image(aws: &Aws) {
    for service in SERVICES {
        let app = format!("{service} describe-images --repository-name team/app");
        let newest = "--query sort_by(imageDetails,&imagePushedAt)[-1].imageTags[0]";
        assert_eq!(aws.prints(&format!("{app} {newest} --output json")), "\"latest\"\n");
        assert_eq!(aws.prints(&format!("{app} {newest} --output text")), "latest\n");
        // In the output format text, AWS CLI applies the query to each page by itself; with a page
        // for each image this gives every image, and thus the order of the pages.
        assert_eq!(
            aws.prints(&format!("{app} {newest} --output text --page-size 1")),
            "latest\nNone\nstable\n"
        );
        // A listing begins with the newest, so that one image is enough to ask for.
        let first = "--query imageDetails[0].imageTags[0] --output json";
        assert_eq!(aws.prints(&format!("{app} --max-items 1 {first}")), "\"latest\"\n");
        assert_eq!(aws.prints(&format!("{app} --max-items 1 --page-size 1 {first}")), "\"latest\"\n");
        assert_eq!(aws.prints(&format!("{app} --max-results 1 {first}")), "\"latest\"\n");
    }
}

fn finds_images_by_tag_and_by_digest(aws: &Aws) {
    let [one, two] = [digest(1), digest(2)];
    for service in SERVICES {
        let by = |identifiers: &str| aws.lists(service, &format!("--image-ids {identifiers}"));
        assert_eq!(by("imageTag=v1"), [3]);
        // In the order of the request, which is not that of a listing.
        assert_eq!(by(&format!("imageTag=v1 imageDigest={two} imageTag=latest")), [3, 2, 1]);
        assert_eq!(by(&format!("imageTag=v2,imageDigest={one}")), [1], "one image by both");
        assert_eq!(by(&format!("imageTag=v2 imageTag=latest imageDigest={one}")), [1], "one image thrice");
        assert_eq!(by(&format!(r#"[{{"imageTag":"v1"}},{{"imageDigest":"{two}"}}]"#)), [3, 2]);
        assert_eq!(by(r#"{"imageTag":"v1"} {"imageTag":"v2"}"#), [3, 1]);
        assert_eq!(by("imageTag=old"), [4], "archived, but asked for by name");

        let command = |identifiers: &str| {
            format!("{service} describe-images --repository-name team/app --image-ids {identifiers}")
        };
        let not_found = |image_id: &str| {
            format!(
                "The image with imageId {{{image_id}}} does not exist within the repository with name \
                 'team/app' in the registry with id '123456789012'"
            )
        };
        for (identifiers, image_id) in [
            ("imageTag=v1 imageTag=v9".to_owned(), "imageDigest:'null', imageTag:'v9'".to_owned()),
            (
                format!("imageDigest={}", digest(99)),
                format!("imageDigest:'{}', imageTag:'null'", digest(99)),
            ),
            // Both exist, but do not fit each other.
            (format!("imageTag=v1,imageDigest={two}"), format!("imageDigest:'{two}', imageTag:'v1'")),
        ] {
            aws.is_refused(&command(&identifiers), "ImageNotFoundException", &not_found(&image_id));
        }
        aws.is_refused(
            &command("imageDigest=v1"),
            "InvalidParameterException",
            "Invalid parameter at 'imageDigest' failed to satisfy constraint: 'must satisfy regular expression \
             '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+''",
        );
        aws.is_refused(
            &command("imageTag=v1 --page-size 10"),
            "InvalidParameterException",
            "Invalid parameter at 'maxResults' failed to satisfy constraint: 'must not be specified when \
             imageIds is specified'",
        );
    }
}

fn filters(aws: &Aws) {
    let filtered = |options: &str| aws.lists("ecr", &format!("--filter {options}"));
    assert_eq!(filtered("tagStatus=TAGGED"), [1, 3]);
    assert_eq!(filtered("tagStatus=UNTAGGED"), [2]);
    assert_eq!(filtered("tagStatus=ANY"), [1, 2, 3]);
    assert_eq!(filtered(r#"{"tagStatus":"TAGGED"}"#), [1, 3]);
    assert_eq!(filtered("tagStatus=TAGGED --page-size 1"), [1, 3]);
    assert_eq!(filtered("tagStatus=UNTAGGED --max-items 1"), [2]);
    assert_eq!(filtered(&format!("tagStatus=TAGGED --image-ids imageTag=v1 imageDigest={}", digest(2))), [3]);
    aws.is_refused(
        "ecr describe-images --repository-name team/app --filter tagStatus=tagged",
        "InvalidParameterException",
        "Invalid parameter at 'filter.tagStatus' failed to satisfy constraint: 'Member must satisfy enum value \
         set: [TAGGED, UNTAGGED, ANY]'",
    );

    let archived = "ecr describe-images --repository-name team/app --filter imageStatus=ARCHIVED";
    match aws.version {
        Version::One => {
            assert_eq!(filtered("imageStatus=ARCHIVED"), [4]);
            assert_eq!(filtered("imageStatus=ACTIVE"), [1, 2, 3]);
            assert_eq!(filtered("imageStatus=ACTIVATING"), [0; 0]);
            assert_eq!(filtered("imageStatus=ANY"), [1, 2, 3, 4]);
            assert_eq!(filtered("imageStatus=ANY --page-size 1"), [1, 2, 3, 4]);
            assert_eq!(filtered("tagStatus=TAGGED,imageStatus=ANY"), [1, 3, 4]);
            assert_eq!(filtered(r#"{"tagStatus":"UNTAGGED","imageStatus":"ARCHIVED"}"#), [0; 0]);
            aws.is_refused(
                &archived.replace("ARCHIVED", "GONE"),
                "InvalidParameterException",
                "Invalid parameter at 'filter.imageStatus' failed to satisfy constraint: 'Member must satisfy \
                 enum value set: [ACTIVE, ARCHIVED, ACTIVATING, ANY]'",
            );
        }
        // Version 2.9.19 is older than this member.
        Version::Two => assert_eq!(
            aws.rejects(archived),
            "\nParameter validation failed:\nUnknown parameter in filter: \"imageStatus\", must be one of: \
             tagStatus\n"
        ),
    }

    let public = aws.rejects("ecr-public describe-images --repository-name team/app --filter tagStatus=ANY");
    assert!(public.contains("Unknown options: --filter, tagStatus=ANY"), "{public}");
}

fn asks_other_registries(aws: &Aws) {
    for service in SERVICES {
        assert_eq!(aws.lists(service, "--registry-id 123456789012"), [1, 2, 3]);
        assert_eq!(aws.lists(service, &format!("--registry-id {OTHER_REGISTRY}")), [5]);
        let command = |options: &str| format!("{service} describe-images {options}");
        aws.is_refused(
            &command("--repository-name team/app --registry-id 000000000000"),
            "RepositoryNotFoundException",
            "The repository with name 'team/app' does not exist in the registry with id '000000000000'",
        );
        aws.is_refused(
            &command("--repository-name team/app --registry-id mine"),
            "InvalidParameterException",
            "Invalid parameter at 'registryId' failed to satisfy constraint: 'must satisfy regular expression \
             [0-9]{12}'",
        );
    }
}

fn reads_requests_from_json_and_yaml(aws: &Aws) {
    let numbers = |service: &str, options: &str| -> Vec<u64> {
        let sizes = "--query imageDetails[].imageSizeInBytes --output json";
        let numbers = aws.json(&format!("{service} describe-images {options} {sizes}"));
        serde_json::from_value(numbers).unwrap()
    };
    let file = |name: &str, content: &str| {
        let name = format!("{:?}-{name}", aws.version);
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, content).unwrap();
        format!("file://{}", path.display())
    };

    for service in SERVICES {
        let inline = r#"{"repositoryName":"team/app","imageIds":[{"imageTag":"v1"},{"imageTag":"v2"}]}"#;
        assert_eq!(numbers(service, &format!("--cli-input-json {inline}")), [3, 1]);
        let registry = format!(r#"{{"registryId":"{OTHER_REGISTRY}","repositoryName":"team/app"}}"#);
        assert_eq!(numbers(service, &format!("--cli-input-json {registry}")), [5]);
        // An option wins over the file.
        assert_eq!(numbers(service, &format!("--cli-input-json {inline} --image-ids imageTag=latest")), [1]);
    }
    let filter = file("filter.json", r#"{ "repositoryName": "team/app", "filter": { "tagStatus": "UNTAGGED" } }"#);
    assert_eq!(numbers("ecr", &format!("--cli-input-json {filter}")), [2]);

    // To version 1, this is the size of the pages; version 2 takes it for a wish for one page.
    let page_size = r#"{"repositoryName":"team/app","maxResults":2}"#;
    let listed: &[u64] = match aws.version {
        Version::One => &[1, 2, 3],
        Version::Two => &[1, 2],
    };
    assert_eq!(numbers("ecr", &format!("--cli-input-json {page_size}")), listed);

    if aws.version == Version::Two {
        let yaml = file("request.yaml", "repositoryName: team/app\nimageIds:\n- imageTag: v1\n- imageTag: v2\n");
        for service in SERVICES {
            assert_eq!(numbers(service, &format!("--cli-input-yaml {yaml}")), [3, 1]);
        }
    }
}

fn pages_and_resumes(aws: &Aws) {
    let app = "describe-images --repository-name team/app --output json";
    for service in SERVICES {
        for size in [1, 2, 3, 4, 1000] {
            assert_eq!(aws.lists(service, &format!("--page-size {size}")), [1, 2, 3], "page size {size}");
        }
        // Two at a time, from pages of 1 (ends between pages), 3 (within one) and, from there on, 2.
        for sizes in [["1", "1"], ["3", "3"], ["3", "2"]] {
            let piece = |options: &str| {
                aws.json(&format!(
                    "{service} {app} --max-items 2 {options} \
                     --query {{numbers:imageDetails[].imageSizeInBytes,token:NextToken}}"
                ))
            };
            let first = piece(&format!("--page-size {}", sizes[0]));
            assert_eq!(first["numbers"], json!([1, 2]));
            let token = first["token"].as_str().unwrap();
            let second = piece(&format!("--page-size {} --starting-token {token}", sizes[1]));
            assert_eq!(second, json!({ "numbers": [3], "token": null }));
        }
        for token in ["forged", "''"] {
            if token == "''" && aws.version == Version::One {
                continue;
            }
            aws.is_refused(
                &format!("{service} {app} --starting-token {token}"),
                "InvalidParameterException",
                "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'",
            );
        }
        aws.is_refused(
            &format!("{service} {app} --page-size 1001"),
            "InvalidParameterException",
            "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have value less than \
             or equal to 1000'",
        );
    }
}

fn reads_single_pages(aws: &Aws) {
    let app = "describe-images --repository-name team/app --output json";
    for service in SERVICES {
        assert_eq!(aws.lists(service, "--no-paginate"), [1, 2, 3]);
        let page = |options: &str| {
            aws.json(&format!(
                "{service} {app} {options} --query {{numbers:imageDetails[].imageSizeInBytes,token:nextToken}}"
            ))
        };
        let first = page("--max-results 1");
        assert_eq!(first["numbers"], json!([1]));
        let token = first["token"].as_str().unwrap();
        // With another page size, and then with the same token again.
        assert_eq!(
            page(&format!("--max-results 2 --next-token {token}")),
            json!({ "numbers": [2, 3], "token": null })
        );
        let second = page(&format!("--max-results 1 --next-token {token} --no-paginate"));
        assert_eq!(second["numbers"], json!([2]));
        let token = second["token"].as_str().unwrap();
        // The page size is 100 when none is given.
        assert_eq!(page(&format!("--next-token {token}")), json!({ "numbers": [3], "token": null }));

        for refused in ["''", "forged", &format!("{token}A")] {
            aws.is_refused(
                &format!("{service} {app} --next-token {refused}"),
                "InvalidParameterException",
                "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'",
            );
        }
    }
}

fn prints_skeletons_without_a_request(aws: &Aws) {
    // Nobody answers there.
    let nowhere = Aws { endpoint: "http://127.0.0.1:1".to_owned(), program: aws.program.clone(), ..*aws };
    let app = "describe-images --repository-name team/app";
    let skeleton =
        |service: &str, kind: &str| nowhere.json(&format!("{service} {app} --generate-cli-skeleton {kind}"));
    let public_input = json!({
        "registryId": "",
        "repositoryName": "",
        "imageIds": [{ "imageDigest": "", "imageTag": "" }],
        "nextToken": "",
        "maxResults": 0,
    });
    assert_eq!(skeleton("ecr-public", "input"), public_input);
    let mut private_input = public_input;
    private_input["filter"] = match aws.version {
        Version::One => json!({ "tagStatus": "ANY", "imageStatus": "ACTIVE" }),
        Version::Two => json!({ "tagStatus": "TAGGED" }),
    };
    assert_eq!(skeleton("ecr", "input"), private_input);

    // The complete image has every member that AWS CLI knows of.
    for service in SERVICES {
        let known = skeleton(service, "output");
        let image = aws.json(&format!("{service} describe-images --repository-name team/complete"));
        let members = |output: &Value| -> Vec<String> {
            let image = output["imageDetails"][0].as_object().unwrap();
            image.keys().cloned().collect()
        };
        assert_eq!(members(&image), members(&known), "{service}");
    }
    if aws.version == Version::Two {
        let yaml = nowhere.prints(&format!("ecr {app} --generate-cli-skeleton yaml-input"));
        assert!(yaml.contains("repositoryName: '' # [REQUIRED]"), "{yaml}");
    }
}

fn prints_errors_of_the_services(aws: &Aws) {
    for service in SERVICES {
        aws.is_refused(
            &format!("{service} describe-images --repository-name x1"),
            "RepositoryNotFoundException",
            "The repository with name 'x1' does not exist in the registry with id '123456789012'",
        );
        aws.is_refused(
            &format!("{service} describe-images --repository-name team/app --max-results 1001"),
            "InvalidParameterException",
            "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have value less than \
             or equal to 1000'",
        );
    }
    // Private names may have these, public names may not.
    aws.is_refused(
        "ecr describe-images --repository-name a__b",
        "RepositoryNotFoundException",
        "The repository with name 'a__b' does not exist in the registry with id '123456789012'",
    );
    aws.is_refused(
        "ecr-public describe-images --repository-name a__b",
        "InvalidParameterException",
        "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression \
         '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*''",
    );
    aws.is_refused(
        "ecr describe-images --repository-name a___b",
        "InvalidParameterException",
        "Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression \
         '[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*''",
    );
    aws.is_refused(
        "ecr list-images --repository-name team/app",
        "UnsupportedCommandException",
        "The action ListImages isn't supported by this catalog.",
    );
}

/// Such requests do not reach the service; they are here for what callers see.
fn rejects_what_the_model_forbids(aws: &Aws) {
    let rejected = |options: &str| aws.rejects(&format!("ecr describe-images {options}"));
    assert_prints!(rejected("--repository-name a"), @"");
    assert_prints!(rejected("--repository-name team/app --max-results 0"), @"");
    assert_prints!(rejected("--repository-name team/app --image-ids []"), @"");
    let both = rejected("--repository-name team/app --max-results 1 --page-size 1");
    let message = "Cannot specify --no-paginate along with pagination arguments: --page-size\n";
    assert!(both.ends_with(message), "{both}");
}
