//! The clients that people use: AWS CLI 1 and 2, boto3, and the AWS SDKs for JavaScript and Rust.
//! Each asks for all that its options can ask for, and each reads a large repository, in which
//! every image must be seen once.
//!
//! What the clients print is that of the versions that `install-tools` installs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use catalog::change::Content;
use catalog::image::Scan;
use catalog::{Change, ChangeKind, Digest, Reader, RegistryId, Repository, Table};
use describe_images::page_token::Keyring;
use end_to_end::harness::{
    Catalog, Ended, InProcess, OCI_CONFIGURATION, OCI_IMAGE, Store, clean_command, digest, print,
    repository, require, tag, time, tools, without_aws_configuration,
};
use lambda_http::Body;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const SERVICES: [&str; 2] = ["ecr", "ecr-public"];

/// The registry that [`seed`] fills besides the default one.
const OTHER_REGISTRY: &str = "210987654321";

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
/// - `team/app`: images 1 (`latest` and `v2`), 2 (no tag) and 3 (`stable` and `v1`), the newest
///   first, and the archived image 4 (`old`), which is older than they;
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
    let push = |name| ChangeKind::ImagePushed {
        digest: digest(9),
        tag: Some(tag(name)),
        content: content.clone(),
    };
    apply(store, &complete, 1_234, push("v9")).await;
    apply(store, &complete, 2_000, push("latest")).await;
    let scan = Scan {
        status: "COMPLETE".to_owned(),
        finding_severity_counts: Some(BTreeMap::from([
            ("CRITICAL".to_owned(), 1),
            ("LOW".to_owned(), 20),
        ])),
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
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let keys = Keyring::generate_key().unwrap();
        let catalog = runtime.block_on(async { Catalog::start_with(store.await, &keys).await });
        Self { catalog, runtime }
    }
}

/// Runs a program that finds no configuration but what is given here.
fn run<'a>(program: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Ended {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients-home");
    std::fs::create_dir_all(&home).unwrap();
    let mut command = clean_command(program, &home);
    without_aws_configuration(&mut command);
    command.args(arguments).envs([
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ]);
    Ended::run(command.env("SDK_FOLDER", tools().join("node")))
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
        let operation =
            if command.contains(" describe-images ") { "DescribeImages" } else { "ListImages" };
        assert_eq!(
            ended.stderr,
            format!(
                "\nAn error occurred ({error}) when calling the {operation} operation: {message}\n"
            ),
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
    prints_text_tables_and_yaml,
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
            assert_prints!(private, @r#"
            {
                "imageDetails": [
                    {
                        "registryId": "123456789012",
                        "repositoryName": "team/complete",
                        "imageDigest": "sha256:0000000000000000000000000000000000000000000000000000000000000009",
                        "imageTags": [
                            "latest",
                            "v9"
                        ],
                        "imageSizeInBytes": 5000000000,
                        "imagePushedAt": 1767225601.234,
                        "imageScanStatus": {
                            "status": "COMPLETE"
                        },
                        "imageScanFindingsSummary": {
                            "imageScanCompletedAt": 1767225603.5,
                            "findingSeverityCounts": {
                                "CRITICAL": 1,
                                "LOW": 20
                            }
                        },
                        "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
                        "artifactMediaType": "application/vnd.oci.image.config.v1+json",
                        "lastRecordedPullTime": 1767225605.25,
                        "subjectManifestDigest": "sha256:0000000000000000000000000000000000000000000000000000000000000001",
                        "imageStatus": "ACTIVE",
                        "lastArchivedAt": 1767225606,
                        "lastActivatedAt": 1767225608.125
                    }
                ]
            }
            "#);
            assert_prints!(public, @r#"
            {
                "imageDetails": [
                    {
                        "registryId": "123456789012",
                        "repositoryName": "team/complete",
                        "imageDigest": "sha256:0000000000000000000000000000000000000000000000000000000000000009",
                        "imageTags": [
                            "latest",
                            "v9"
                        ],
                        "imageSizeInBytes": 5000000000,
                        "imagePushedAt": 1767225601.234,
                        "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
                        "artifactMediaType": "application/vnd.oci.image.config.v1+json"
                    }
                ]
            }
            "#);
        }
        // It prints times as ISO 8601. Version 2.9.19 is older than the members imageStatus,
        // subjectManifestDigest, lastArchivedAt and lastActivatedAt, and leaves them out.
        Version::Two => {
            assert_prints!(private, @r#"
            {
                "imageDetails": [
                    {
                        "registryId": "123456789012",
                        "repositoryName": "team/complete",
                        "imageDigest": "sha256:0000000000000000000000000000000000000000000000000000000000000009",
                        "imageTags": [
                            "latest",
                            "v9"
                        ],
                        "imageSizeInBytes": 5000000000,
                        "imagePushedAt": "2026-01-01T00:00:01.234000+00:00",
                        "imageScanStatus": {
                            "status": "COMPLETE"
                        },
                        "imageScanFindingsSummary": {
                            "imageScanCompletedAt": "2026-01-01T00:00:03.500000+00:00",
                            "findingSeverityCounts": {
                                "CRITICAL": 1,
                                "LOW": 20
                            }
                        },
                        "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
                        "artifactMediaType": "application/vnd.oci.image.config.v1+json",
                        "lastRecordedPullTime": "2026-01-01T00:00:05.250000+00:00"
                    }
                ]
            }
            "#);
            assert_prints!(public, @r#"
            {
                "imageDetails": [
                    {
                        "registryId": "123456789012",
                        "repositoryName": "team/complete",
                        "imageDigest": "sha256:0000000000000000000000000000000000000000000000000000000000000009",
                        "imageTags": [
                            "latest",
                            "v9"
                        ],
                        "imageSizeInBytes": 5000000000,
                        "imagePushedAt": "2026-01-01T00:00:01.234000+00:00",
                        "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
                        "artifactMediaType": "application/vnd.oci.image.config.v1+json"
                    }
                ]
            }
            "#);
        }
    }
}

fn prints_text_tables_and_yaml(aws: &Aws) {
    let app = "ecr describe-images --repository-name team/app";
    let text = aws.prints(&format!("{app} --output text"));
    let table = aws.prints(&format!("{app} --output table --image-ids imageTag=latest"));
    match aws.version {
        Version::One => {
            assert_prints!(text, @"
            IMAGEDETAILS\tapplication/vnd.oci.image.config.v1+json\tsha256:0000000000000000000000000000000000000000000000000000000000000001\tapplication/vnd.oci.image.manifest.v1+json\t1767225602.5\t1\tACTIVE\t123456789012\tteam/app
            IMAGETAGS\tlatest
            IMAGETAGS\tv2
            IMAGEDETAILS\tapplication/vnd.oci.image.config.v1+json\tsha256:0000000000000000000000000000000000000000000000000000000000000002\tapplication/vnd.oci.image.manifest.v1+json\t1767225601\t2\tACTIVE\t123456789012\tteam/app
            IMAGEDETAILS\tapplication/vnd.oci.image.config.v1+json\tsha256:0000000000000000000000000000000000000000000000000000000000000003\tapplication/vnd.oci.image.manifest.v1+json\t1767225600\t3\tACTIVE\t123456789012\tteam/app
            IMAGETAGS\tstable
            IMAGETAGS\tv1
            ");
            assert_prints!(table, @r#"
            ---------------------------------------------------------------------------------------------------------
            |                                            DescribeImages                                             |
            +-------------------------------------------------------------------------------------------------------+
            ||                                            imageDetails                                             ||
            |+-------------------------+---------------------------------------------------------------------------+|
            ||  artifactMediaType      |  application/vnd.oci.image.config.v1+json                                 ||
            ||  imageDigest            |  sha256:0000000000000000000000000000000000000000000000000000000000000001  ||
            ||  imageManifestMediaType |  application/vnd.oci.image.manifest.v1+json                               ||
            ||  imagePushedAt          |  1767225602.5                                                             ||
            ||  imageSizeInBytes       |  1                                                                        ||
            ||  imageStatus            |  ACTIVE                                                                   ||
            ||  registryId             |  123456789012                                                             ||
            ||  repositoryName         |  team/app                                                                 ||
            |+-------------------------+---------------------------------------------------------------------------+|
            |||                                             imageTags                                             |||
            ||+---------------------------------------------------------------------------------------------------+||
            |||  latest                                                                                           |||
            |||  v2                                                                                               |||
            ||+---------------------------------------------------------------------------------------------------+||
            "#);
        }
        Version::Two => {
            assert_prints!(text, @"
            IMAGEDETAILS\tapplication/vnd.oci.image.config.v1+json\tsha256:0000000000000000000000000000000000000000000000000000000000000001\tapplication/vnd.oci.image.manifest.v1+json\t2026-01-01T00:00:02.500000+00:00\t1\t123456789012\tteam/app
            IMAGETAGS\tlatest
            IMAGETAGS\tv2
            IMAGEDETAILS\tapplication/vnd.oci.image.config.v1+json\tsha256:0000000000000000000000000000000000000000000000000000000000000002\tapplication/vnd.oci.image.manifest.v1+json\t2026-01-01T00:00:01+00:00\t2\t123456789012\tteam/app
            IMAGEDETAILS\tapplication/vnd.oci.image.config.v1+json\tsha256:0000000000000000000000000000000000000000000000000000000000000003\tapplication/vnd.oci.image.manifest.v1+json\t2026-01-01T00:00:00+00:00\t3\t123456789012\tteam/app
            IMAGETAGS\tstable
            IMAGETAGS\tv1
            ");
            assert_prints!(table, @r#"
            ---------------------------------------------------------------------------------------------------------
            |                                            DescribeImages                                             |
            +-------------------------------------------------------------------------------------------------------+
            ||                                            imageDetails                                             ||
            |+-------------------------+---------------------------------------------------------------------------+|
            ||  artifactMediaType      |  application/vnd.oci.image.config.v1+json                                 ||
            ||  imageDigest            |  sha256:0000000000000000000000000000000000000000000000000000000000000001  ||
            ||  imageManifestMediaType |  application/vnd.oci.image.manifest.v1+json                               ||
            ||  imagePushedAt          |  2026-01-01T00:00:02.500000+00:00                                         ||
            ||  imageSizeInBytes       |  1                                                                        ||
            ||  registryId             |  123456789012                                                             ||
            ||  repositoryName         |  team/app                                                                 ||
            |+-------------------------+---------------------------------------------------------------------------+|
            |||                                             imageTags                                             |||
            ||+---------------------------------------------------------------------------------------------------+||
            |||  latest                                                                                           |||
            |||  v2                                                                                               |||
            ||+---------------------------------------------------------------------------------------------------+||
            "#);
        }
    }
    let members = "--query imageDetails[].{bytes:imageSizeInBytes,tags:join('_',imageTags||`[]`)}";
    let app = format!("ecr-public describe-images --repository-name team/app {members}");
    assert_prints!(aws.prints(&format!("{app} --output text")), @"
    1\tlatest_v2
    2\t
    3\tstable_v1
    ");
    assert_prints!(aws.prints(&format!("{app} --output table")), @"
    ------------------------
    |    DescribeImages    |
    +--------+-------------+
    |  bytes |    tags     |
    +--------+-------------+
    |  1     |  latest_v2  |
    |  2     |             |
    |  3     |  stable_v1  |
    +--------+-------------+
    ");

    // Version 1 has no YAML.
    if aws.version == Version::Two {
        let yaml = "ecr describe-images --repository-name team/app --image-ids imageTag=latest --output yaml";
        let stream = "ecr-public describe-images --repository-name team/app --query imageDetails[].imageTags \
                      --page-size 2 --output yaml-stream";
        assert_prints!(aws.prints(yaml), @r#"
        imageDetails:
        - artifactMediaType: application/vnd.oci.image.config.v1+json
          imageDigest: sha256:0000000000000000000000000000000000000000000000000000000000000001
          imageManifestMediaType: application/vnd.oci.image.manifest.v1+json
          imagePushedAt: '2026-01-01T00:00:02.500000+00:00'
          imageSizeInBytes: 1
          imageTags:
          - latest
          - v2
          registryId: '123456789012'
          repositoryName: team/app
        "#);
        assert_prints!(aws.prints(stream), @r#"
        - - - latest
            - v2
        - - - stable
            - v1
        "#);
    }
}

fn prints_an_empty_repository(aws: &Aws) {
    for service in SERVICES {
        let empty = aws.prints(&format!("{service} describe-images --repository-name team/empty"));
        assert_prints!(empty, @r#"
        {
            "imageDetails": []
        }
        "#);
    }
}

fn finds_the_newest_image(aws: &Aws) {
    let newest = "--query sort_by(imageDetails,&imagePushedAt)[-1].imageTags[0]";
    let first = "--query imageDetails[0].imageTags[0] --output json";
    for service in SERVICES {
        let app = format!("{service} describe-images --repository-name team/app");
        assert_eq!(aws.prints(&format!("{app} {newest} --output json")), "\"latest\"\n");
        // A listing begins with the newest, so that one image is enough to ask for.
        assert_eq!(aws.prints(&format!("{app} --max-items 1 {first}")), "\"latest\"\n");
    }
    let app = "ecr describe-images --repository-name team/app";
    // In the output format text, --max-items adds a line for its own token; --max-results does not.
    let first = first.replace("json", "text");
    assert_eq!(aws.prints(&format!("{app} --max-items 1 {first}")), "latest\nNone\n");
    assert_eq!(aws.prints(&format!("{app} --max-results 1 {first}")), "latest\n");
    assert_eq!(aws.prints(&format!("{app} {newest} --output text")), "latest\n");
    // In the output format text, AWS CLI applies the query to each page by itself; with a page for
    // each image this gives every image, the newest first.
    let pages = aws.prints(&format!("{app} {newest} --output text --page-size 1"));
    assert_eq!(pages, "latest\nNone\nstable\n");
}

fn finds_images_by_tag_and_by_digest(aws: &Aws) {
    let [one, two] = [digest(1), digest(2)];
    let is_refused = |service: &str, identifiers: &str, error: &str, message: &str| {
        let app = format!("{service} describe-images --repository-name team/app --image-ids");
        aws.is_refused(&format!("{app} {identifiers}"), error, message);
    };
    for service in SERVICES {
        let by = |identifiers: &str| aws.lists(service, &format!("--image-ids {identifiers}"));
        // In the order of the request, which is not that of a listing.
        assert_eq!(by(&format!("imageTag=v1 imageDigest={two} imageTag=latest")), [3, 2, 1]);
        assert_eq!(by(&format!(r#"[{{"imageTag":"v1"}},{{"imageDigest":"{two}"}}]"#)), [3, 2]);
        is_refused(
            service,
            "imageTag=v1 imageTag=v9",
            "ImageNotFoundException",
            "The image with imageId {imageDigest:'null', imageTag:'v9'} does not exist within the repository \
             with name 'team/app' in the registry with id '123456789012'",
        );
    }
    let by = |identifiers: &str| aws.lists("ecr", &format!("--image-ids {identifiers}"));
    assert_eq!(by(&format!("imageTag=v2,imageDigest={one}")), [1], "one image by both");
    assert_eq!(
        by(&format!("imageTag=v2 imageTag=latest imageDigest={one}")),
        [1],
        "one image thrice"
    );
    assert_eq!(by("imageTag=old"), [4], "archived, but asked for by name");
    // Both exist, but do not fit each other.
    is_refused(
        "ecr",
        &format!("imageTag=v1,imageDigest={two}"),
        "ImageNotFoundException",
        &format!(
            "The image with imageId {{imageDigest:'{two}', imageTag:'v1'}} does not exist within the repository \
             with name 'team/app' in the registry with id '123456789012'"
        ),
    );
    is_refused(
        "ecr",
        "imageTag=v1 --page-size 10",
        "InvalidParameterException",
        "Invalid parameter at 'maxResults' failed to satisfy constraint: 'must not be specified when imageIds is \
         specified'",
    );
}

fn filters(aws: &Aws) {
    let filtered = |options: &str| aws.lists("ecr", &format!("--filter {options}"));
    assert_eq!(filtered("tagStatus=TAGGED --page-size 1"), [1, 3]);
    assert_eq!(filtered("tagStatus=UNTAGGED"), [2]);
    assert_eq!(filtered("tagStatus=ANY"), [1, 2, 3]);
    assert_eq!(filtered(r#"{"tagStatus":"TAGGED"}"#), [1, 3]);
    assert_eq!(
        filtered(&format!("tagStatus=TAGGED --image-ids imageTag=v1 imageDigest={}", digest(2))),
        [3]
    );
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
            assert_eq!(filtered("imageStatus=ANY --page-size 1"), [1, 2, 3, 4]);
            assert_eq!(filtered(r#"{"tagStatus":"TAGGED","imageStatus":"ANY"}"#), [1, 3, 4]);
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

    let public =
        aws.rejects("ecr-public describe-images --repository-name team/app --filter tagStatus=ANY");
    assert!(public.contains("Unknown options: --filter, tagStatus=ANY"), "{public}");
}

fn asks_other_registries(aws: &Aws) {
    assert_eq!(aws.lists("ecr", "--registry-id 123456789012"), [1, 2, 3]);
    for service in SERVICES {
        assert_eq!(aws.lists(service, &format!("--registry-id {OTHER_REGISTRY}")), [5]);
        aws.is_refused(
            &format!("{service} describe-images --repository-name team/app --registry-id 000000000000"),
            "RepositoryNotFoundException",
            "The repository with name 'team/app' does not exist in the registry with id '000000000000'",
        );
    }
    aws.is_refused(
        "ecr describe-images --repository-name team/app --registry-id mine",
        "InvalidParameterException",
        "Invalid parameter at 'registryId' failed to satisfy constraint: 'must satisfy regular expression \
         [0-9]{12}'",
    );
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

    let inline =
        r#"{"repositoryName":"team/app","imageIds":[{"imageTag":"v1"},{"imageTag":"v2"}]}"#;
    for service in SERVICES {
        assert_eq!(numbers(service, &format!("--cli-input-json {inline}")), [3, 1]);
    }
    // An option wins over the JSON.
    assert_eq!(
        numbers("ecr", &format!("--cli-input-json {inline} --image-ids imageTag=latest")),
        [1]
    );
    let registry = format!(r#"{{"registryId":"{OTHER_REGISTRY}","repositoryName":"team/app"}}"#);
    assert_eq!(numbers("ecr-public", &format!("--cli-input-json {registry}")), [5]);
    let filter = file(
        "filter.json",
        r#"{ "repositoryName": "team/app", "filter": { "tagStatus": "UNTAGGED" } }"#,
    );
    assert_eq!(numbers("ecr", &format!("--cli-input-json {filter}")), [2]);

    // To version 1, this is the size of the pages; version 2 takes it for a wish for one page.
    let page_size = r#"{"repositoryName":"team/app","maxResults":2}"#;
    let listed: &[u64] = match aws.version {
        Version::One => &[1, 2, 3],
        Version::Two => &[1, 2],
    };
    assert_eq!(numbers("ecr", &format!("--cli-input-json {page_size}")), listed);

    if aws.version == Version::Two {
        let yaml = file(
            "request.yaml",
            "repositoryName: team/app\nimageIds:\n- imageTag: v1\n- imageTag: v2\n",
        );
        for service in SERVICES {
            assert_eq!(numbers(service, &format!("--cli-input-yaml {yaml}")), [3, 1]);
        }
    }
}

fn pages_and_resumes(aws: &Aws) {
    // Two at a time, from pages of 1 (ends between pages), or of 3 (within one) and then 2.
    for (service, page_size, next_page_size) in [("ecr", 1, 1), ("ecr", 3, 2), ("ecr-public", 3, 2)]
    {
        let piece = |options: &str| {
            aws.json(&format!(
                "{service} describe-images --repository-name team/app --max-items 2 {options} \
                 --query {{numbers:imageDetails[].imageSizeInBytes,token:NextToken}} --output json"
            ))
        };
        let first = piece(&format!("--page-size {page_size}"));
        assert_eq!(first["numbers"], json!([1, 2]));
        let token = first["token"].as_str().unwrap();
        let second = piece(&format!("--page-size {next_page_size} --starting-token {token}"));
        assert_eq!(second, json!({ "numbers": [3], "token": null }));
    }
    for service in SERVICES {
        aws.is_refused(
            &format!(
                "{service} describe-images --repository-name team/app --starting-token forged"
            ),
            "InvalidParameterException",
            "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'",
        );
    }
}

fn reads_single_pages(aws: &Aws) {
    for service in SERVICES {
        let page = |options: &str| {
            aws.json(&format!(
                "{service} describe-images --repository-name team/app {options} \
                 --query {{numbers:imageDetails[].imageSizeInBytes,token:nextToken}} --output json"
            ))
        };
        let first = page("--max-results 1");
        assert_eq!(first["numbers"], json!([1]));
        let token = first["token"].as_str().unwrap();
        let rest = json!({ "numbers": [2, 3], "token": null });
        assert_eq!(page(&format!("--max-results 2 --next-token {token}")), rest);
        // The same token again. Without a size, a page has up to 100 images.
        assert_eq!(page(&format!("--no-paginate --next-token {token}")), rest);
        aws.is_refused(
            &format!("{service} describe-images --repository-name team/app --next-token {token}A"),
            "InvalidParameterException",
            "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'",
        );
    }
    assert_eq!(aws.lists("ecr", "--no-paginate"), [1, 2, 3]);
    aws.is_refused(
        "ecr describe-images --repository-name team/app --next-token ''",
        "InvalidParameterException",
        "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'",
    );
}

fn prints_skeletons_without_a_request(aws: &Aws) {
    // Nobody answers there.
    let nowhere =
        Aws { endpoint: "http://127.0.0.1:1".to_owned(), program: aws.program.clone(), ..*aws };
    let app = "describe-images --repository-name team/app";
    let skeleton = |service: &str, kind: &str| {
        nowhere.json(&format!("{service} {app} --generate-cli-skeleton {kind} --output json"))
    };
    let public_input = json!({
        "registryId": "",
        "repositoryName": "",
        "imageIds": [{ "imageDigest": "", "imageTag": "" }],
        "nextToken": "",
        "maxResults": 0,
    });
    assert_eq!(skeleton("ecr-public", "input"), public_input);
    let mut private_input = skeleton("ecr", "input");
    // Their values are any of those that the model lists.
    let filter = private_input.as_object_mut().unwrap().remove("filter").unwrap();
    let known = |member: &str| filter.get(member).is_some();
    assert_eq!(
        (known("tagStatus"), known("imageStatus")),
        (true, aws.version == Version::One),
        "{filter}"
    );
    assert_eq!(private_input, public_input);

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
    }
    aws.is_refused(
        "ecr describe-images --repository-name team/app --page-size 1001",
        "InvalidParameterException",
        "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have value less than or \
         equal to 1000'",
    );
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
    assert_eq!(
        rejected("--repository-name a --max-results 0 --image-ids []"),
        "\nParameter validation failed:\n\
         Invalid length for parameter repositoryName, value: 1, valid min length: 2\n\
         Invalid length for parameter imageIds, value: 0, valid min length: 1\n\
         Invalid value for parameter maxResults, value: 0, valid min value: 1\n"
    );
    let both = rejected("--repository-name team/app --max-results 1 --page-size 1");
    let message = "Cannot specify --no-paginate along with pagination arguments: --page-size\n";
    assert!(both.ends_with(message), "{both}");
}

// boto3 and the SDK for JavaScript

/// A language that has scripts in the folder `scripts`.
#[derive(Debug, Clone, Copy)]
enum Language {
    Python,
    JavaScript,
}

/// What runs a language's scripts.
struct Scripts {
    interpreter: PathBuf,
    extension: &'static str,
}

impl Language {
    fn require(self, test: &str) -> Option<Scripts> {
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
    fn run(&self, name: &str, arguments: &[&str]) -> String {
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
    fn lines(&self, name: &str, arguments: &[&str]) -> Vec<Value> {
        self.run(name, arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn boto3_gives_members_as_python_types() {
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
          "status": "str COMPLETE"
        },
        "imageScanFindingsSummary": {
          "imageScanCompletedAt": "datetime 2026-01-01 00:00:03.500000+00:00",
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
        "imageDigest": "str sha256:0000000000000000000000000000000000000000000000000000000000000009",
        "imageTags": [
          "str latest",
          "str v9"
        ],
        "imageSizeInBytes": "int 5000000000",
        "imagePushedAt": "datetime 2026-01-01 00:00:01.234000+00:00",
        "imageManifestMediaType": "str application/vnd.oci.image.manifest.v1+json",
        "artifactMediaType": "str application/vnd.oci.image.config.v1+json"
      }
    ]
    "#);
}

#[test]
fn javascript_gives_members_as_javascript_classes() {
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
          "status": "String COMPLETE"
        },
        "imageScanFindingsSummary": {
          "imageScanCompletedAt": "Date 2026-01-01T00:00:03.500Z",
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
        "imageDigest": "String sha256:0000000000000000000000000000000000000000000000000000000000000009",
        "imageTags": [
          "String latest",
          "String v9"
        ],
        "imageSizeInBytes": "Number 5000000000",
        "imagePushedAt": "Date 2026-01-01T00:00:01.234Z",
        "imageManifestMediaType": "String application/vnd.oci.image.manifest.v1+json",
        "artifactMediaType": "String application/vnd.oci.image.config.v1+json"
      }
    ]
    "#);
}

#[test]
fn boto3_catches_errors_by_class() {
    fails_by_class(Language::Python, "boto3_catches_errors_by_class", "ClientError");
}

#[test]
fn javascript_errors_are_instances_of_their_classes() {
    let test = "javascript_errors_are_instances_of_their_classes";
    fails_by_class(Language::JavaScript, test, "ECRServiceException");
}

/// What the scripts `errors` print of an error, besides the request's id.
fn error(class: &str, code: &str, status: u16, message: &str) -> Value {
    json!({ "class": class, "code": code, "status": status, "message": message })
}

/// `base` is the class of the errors of the private service that are not in its model.
fn fails_by_class(language: Language, test: &str, base: &str) {
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
    // The public model has a class for what this catalog does not serve.
    let unsupported = "UnsupportedCommandException";
    assert_eq!(
        fail(&serving, "ecr-public", json!([[unsupported, "DescribeRegistries", {}]])),
        [modelled(unsupported, "The action DescribeRegistries isn't supported by this catalog.")]
    );
    assert_eq!(
        fail(&serving, "ecr", json!([[base, "ListImages", { "repositoryName": "team/app" }]])),
        [error(base, unsupported, 400, "The action ListImages isn't supported by this catalog.")]
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
fn boto3_stops_and_resumes() {
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
fn javascript_resumes_with_another_client_and_page_size() {
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

/// The handler in front of a store, for the requests of an SDK, without a socket.
struct Handler {
    http_client: SharedHttpClient,
    requests: Arc<AtomicUsize>,
}

impl Handler {
    fn new(store: &Store) -> Self {
        let keyring = Keyring::parse(&Keyring::generate_key().unwrap()).unwrap();
        let handler = Arc::new(store.describe_images(keyring));
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        let answer = move |request: HttpRequest| {
            counted.fetch_add(1, Ordering::Relaxed);
            let handler = Arc::clone(&handler);
            async move {
                let request = request.try_into_http1x().unwrap();
                let request = request.map(|body| Body::Binary(body.bytes().unwrap().to_vec()));
                let response = handler.handle(request).await;
                let response = response.map(|body| SdkBody::from(body.to_vec()));
                Ok(HttpResponse::try_from(response).unwrap())
            }
        };
        Self { http_client: SharedHttpClient::new(InProcess(answer)), requests }
    }

    /// How many requests there were.
    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn seeded_store() -> Store {
    let store = Store::in_memory().await;
    seed(&store).await;
    store
}

macro_rules! rust_sdk {
    ($module:ident, $sdk:ident) => {
        mod $module {
            use std::time::Duration;

            use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
            use end_to_end::harness::Store;
            use $sdk::Client;
            use $sdk::config::retry::RetryConfig;
            use $sdk::config::{BehaviorVersion, Config, Credentials, Region};
            use $sdk::operation::RequestId as _;
            use $sdk::operation::describe_images::DescribeImagesError;
            use $sdk::types::ImageIdentifier;

            use super::Handler;

            pub(super) fn client(handler: &Handler) -> Client {
                let configuration = Config::builder()
                    .behavior_version(BehaviorVersion::latest())
                    .region(Region::from_static("us-east-1"))
                    .endpoint_url("http://in-process")
                    .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
                    .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
                    .http_client(handler.http_client.clone())
                    .build();
                Client::from_conf(configuration)
            }

            /// How many images each page has, and the digest and the tags of each image.
            pub(super) async fn read(client: &Client, page_size: Option<usize>) -> super::Reading {
                let request = client
                    .describe_images()
                    .repository_name("large")
                    .set_max_results(page_size.map(|size| i32::try_from(size).unwrap()));
                let mut pages = request.into_paginator().send();
                let mut reading = super::Reading::default();
                while let Some(page) = pages.next().await {
                    let images = page.unwrap().image_details.unwrap();
                    reading.pages.get_or_insert_default().push(images.len());
                    let image = |image: $sdk::types::ImageDetail| {
                        (image.image_digest.unwrap(), image.image_tags.unwrap_or_default())
                    };
                    reading.images.extend(images.into_iter().map(image));
                }
                reading
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn errors_are_variants() {
                let handler = Handler::new(&super::seeded_store().await);
                let client = client(&handler);
                let describe = || client.describe_images().repository_name("team/app");

                let request = client.describe_images().repository_name("team/none");
                let error = request.send().await.unwrap_err();
                assert_eq!(error.raw_response().unwrap().status().as_u16(), 400);
                assert_eq!(error.request_id().unwrap().len(), 36);
                let error = error.into_service_error();
                assert!(matches!(error, DescribeImagesError::RepositoryNotFoundException(_)), "{error:?}");
                assert_eq!(error.code(), Some("RepositoryNotFoundException"));
                assert_eq!(
                    error.message(),
                    Some(
                        "The repository with name 'team/none' does not exist in the registry with id \
                         '123456789012'"
                    )
                );

                let image_id = ImageIdentifier::builder().image_tag("none").build();
                let error = describe().image_ids(image_id).send().await.unwrap_err().into_service_error();
                assert!(matches!(error, DescribeImagesError::ImageNotFoundException(_)), "{error:?}");
                assert_eq!(
                    error.message(),
                    Some(
                        "The image with imageId {imageDigest:'null', imageTag:'none'} does not exist within \
                         the repository with name 'team/app' in the registry with id '123456789012'"
                    )
                );

                let error = describe().next_token("forged").send().await.unwrap_err().into_service_error();
                assert!(matches!(error, DescribeImagesError::InvalidParameterException(_)), "{error:?}");
                assert_eq!(
                    error.message(),
                    Some("Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'")
                );
                assert_eq!(handler.requests(), 3, "none of them is tried again");
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn errors_of_the_server_are_tried_again() {
                let handler = Handler::new(&super::broken_store().await);
                let request = client(&handler).describe_images().repository_name("team/app");
                let error = request.send().await.unwrap_err();
                assert_eq!(error.raw_response().unwrap().status().as_u16(), 500);
                let error = error.into_service_error();
                assert!(matches!(error, DescribeImagesError::ServerException(_)), "{error:?}");
                assert_eq!(
                    error.message(),
                    Some("The catalog could not answer the request. Try again later.")
                );
                assert_eq!(handler.requests(), 3);
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sizes_are_exact() {
                let store = Store::in_memory().await;
                let sizes = [0, (1 << 53) + 1, i64::MAX];
                for (size, number) in sizes.into_iter().zip(0..) {
                    let mut push = super::push(number, None);
                    if let super::ChangeKind::ImagePushed { content, .. } = &mut push {
                        content.size_in_bytes = Some(size);
                    }
                    super::apply(&store, &super::repository("team/app"), 0, push).await;
                }
                let request = client(&Handler::new(&store)).describe_images().repository_name("team/app");
                let images = request.send().await.unwrap().image_details.unwrap();
                let found: Vec<_> = images.iter().map(|image| image.image_size_in_bytes()).collect();
                assert_eq!(found, sizes.map(Some));
            }
        }
    };
}

rust_sdk!(rust_sdk_ecr, aws_sdk_ecr);
rust_sdk!(rust_sdk_ecr_public, aws_sdk_ecrpublic);

/// So many milliseconds after the beginning of 2026, as the SDK has it.
fn date_time(milliseconds: i64) -> DateTime {
    DateTime::from_millis(time(milliseconds).as_milliseconds())
}

/// The same, read from a number of seconds with decimals as the SDK reads it: where those decimals
/// are no binary fraction, it comes out some nanoseconds early or late.
fn read_as_float(milliseconds: i64) -> DateTime {
    DateTime::from_secs_f64(time(milliseconds).as_milliseconds() as f64 / 1000.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rust_sdk_reads_every_member_of_a_private_image() {
    use aws_sdk_ecr::types::{
        FindingSeverity, ImageDetail, ImageScanFindingsSummary, ImageScanStatus, ImageStatus,
        ScanStatus,
    };
    let handler = Handler::new(&seeded_store().await);
    let request = rust_sdk_ecr::client(&handler).describe_images().repository_name("team/complete");
    let output = request.send().await.unwrap();
    let findings = ImageScanFindingsSummary::builder()
        .image_scan_completed_at(date_time(3_500))
        .finding_severity_counts(FindingSeverity::Critical, 1)
        .finding_severity_counts(FindingSeverity::Low, 20)
        .build();
    let image = ImageDetail::builder()
        .registry_id("123456789012")
        .repository_name("team/complete")
        .image_digest(digest(9).to_string())
        .image_tags("latest")
        .image_tags("v9")
        .image_size_in_bytes(5_000_000_000)
        .image_pushed_at(read_as_float(1_234))
        .image_scan_status(ImageScanStatus::builder().status(ScanStatus::Complete).build())
        .image_scan_findings_summary(findings)
        .image_manifest_media_type(OCI_IMAGE)
        .artifact_media_type(OCI_CONFIGURATION)
        .last_recorded_pull_time(date_time(5_250))
        .subject_manifest_digest(digest(1).to_string())
        .image_status(ImageStatus::Active)
        .last_archived_at(date_time(6_000))
        .last_activated_at(date_time(8_125))
        .build();
    assert_eq!(output.image_details(), [image]);
    assert_eq!(output.next_token(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rust_sdk_reads_every_member_of_a_public_image() {
    use aws_sdk_ecrpublic::types::ImageDetail;
    let handler = Handler::new(&seeded_store().await);
    let request =
        rust_sdk_ecr_public::client(&handler).describe_images().repository_name("team/complete");
    let output = request.send().await.unwrap();
    let image = ImageDetail::builder()
        .registry_id("123456789012")
        .repository_name("team/complete")
        .image_digest(digest(9).to_string())
        .image_tags("latest")
        .image_tags("v9")
        .image_size_in_bytes(5_000_000_000)
        .image_pushed_at(read_as_float(1_234))
        .image_manifest_media_type(OCI_IMAGE)
        .artifact_media_type(OCI_CONFIGURATION)
        .build();
    assert_eq!(output.image_details(), [image]);
    assert_eq!(output.next_token(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rust_sdk_lists_what_passes_a_filter() {
    use aws_sdk_ecr::types::{DescribeImagesFilter, ImageStatus, ImageStatusFilter, TagStatus};
    let client = rust_sdk_ecr::client(&Handler::new(&seeded_store().await));
    let list = async |tag_status: Option<TagStatus>, image_status: Option<ImageStatusFilter>| {
        let filter = DescribeImagesFilter::builder()
            .set_tag_status(tag_status)
            .set_image_status(image_status)
            .build();
        let request = client.describe_images().repository_name("team/app").filter(filter);
        request.send().await.unwrap().image_details.unwrap()
    };
    let sizes = async |tag_status, image_status| -> Vec<i64> {
        list(tag_status, image_status)
            .await
            .iter()
            .map(|image| image.image_size_in_bytes().unwrap())
            .collect()
    };
    assert_eq!(sizes(Some(TagStatus::Tagged), None).await, [1, 3]);
    assert_eq!(sizes(Some(TagStatus::Untagged), None).await, [2]);
    assert_eq!(sizes(Some(TagStatus::Any), None).await, [1, 2, 3]);
    assert_eq!(sizes(Some(TagStatus::Tagged), Some(ImageStatusFilter::Any)).await, [1, 3, 4]);
    let archived = list(None, Some(ImageStatusFilter::Archived)).await;
    assert_eq!(archived[0].image_status(), Some(&ImageStatus::Archived));
    assert_eq!(archived[0].last_archived_at(), Some(&date_time(5_000)));
    assert_eq!(archived.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rust_sdk_knows_what_the_catalog_does_not_serve() {
    use aws_sdk_ecr::error::ProvideErrorMetadata as _;
    use aws_sdk_ecrpublic::operation::describe_registries::DescribeRegistriesError;
    let handler = Handler::new(&seeded_store().await);
    let error =
        rust_sdk_ecr_public::client(&handler).describe_registries().send().await.unwrap_err();
    let error = error.into_service_error();
    assert!(matches!(error, DescribeRegistriesError::UnsupportedCommandException(_)), "{error:?}");

    let request = rust_sdk_ecr::client(&handler).list_images().repository_name("team/app");
    let error = request.send().await.unwrap_err();
    assert_eq!(error.code(), Some("UnsupportedCommandException"));
    assert_eq!(error.message(), Some("The action ListImages isn't supported by this catalog."));
}

// A large repository

const LARGE: u64 = 2_500;

/// No size is the default, 100.
const PAGE_SIZES: [Option<usize>; 5] = [Some(1), Some(7), Some(100), Some(1000), None];

/// A catalog with the repository `large`, which many tests read at once.
struct Large {
    serving: Serving,
    /// The digest and the tags of each image, in the order of a listing.
    images: Vec<(String, Vec<String>)>,
}

static LARGE_CATALOG: LazyLock<Large> = LazyLock::new(Large::start);

impl Large {
    fn start() -> Self {
        let serving = Serving::start_with(Store::in_memory());
        let store = &serving.catalog.store;
        let large = repository("large");
        let mut images: Vec<(i64, Digest, Vec<String>)> = (0..LARGE)
            .map(|number| {
                // Digests in no order, and few times: pages end between images of the same time.
                let digest = digest(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                let milliseconds = (number % 13).cast_signed();
                let tags = match number % 3 {
                    0 => Vec::new(),
                    1 => vec![format!("v{number}")],
                    _ => vec![format!("stable-{number}"), format!("v{number}")],
                };
                (milliseconds, digest, tags)
            })
            .collect();
        serving.runtime.block_on(async {
            for (milliseconds, digest, tags) in &images {
                let push = |tag| ChangeKind::ImagePushed {
                    digest: digest.clone(),
                    tag,
                    content: Content::default(),
                };
                if tags.is_empty() {
                    apply(store, &large, *milliseconds, push(None)).await;
                }
                for name in tags {
                    apply(store, &large, *milliseconds, push(Some(tag(name)))).await;
                }
            }
        });
        images.sort_by_key(|(milliseconds, digest, _)| (Reverse(*milliseconds), digest.clone()));
        let images =
            images.into_iter().map(|(_, digest, tags)| (digest.to_string(), tags)).collect();
        Self { serving, images }
    }
}

/// What a client read of the repository `large`.
#[derive(Debug, Default)]
struct Reading {
    /// How many images each page had, if the client tells.
    pages: Option<Vec<usize>>,
    /// The digest and the tags of each image.
    images: Vec<(String, Vec<String>)>,
}

/// Lets a client read with every page size: all images, each once, the newest first.
fn reads_every_image_once(client: &str, read: impl Fn(Option<usize>) -> Reading) {
    for page_size in PAGE_SIZES {
        let started = Instant::now();
        let Reading { pages, images } = read(page_size);
        let elapsed = started.elapsed();
        let size = page_size.map_or("default".to_owned(), |size| size.to_string());
        let expected = &LARGE_CATALOG.images;
        let different = images.iter().zip(expected).position(|(found, expected)| found != expected);
        assert_eq!(
            different, None,
            "{client}, page size {size}: the first image that is not as it should be"
        );
        assert_eq!(images.len(), expected.len(), "{client}, page size {size}");
        if let Some(pages) = pages {
            let full: Vec<usize> =
                expected.chunks(page_size.unwrap_or(100)).map(<[_]>::len).collect();
            assert_eq!(pages, full, "{client}, page size {size}: every page but the last is full");
        }
        print(format!("{client} reads {LARGE} images, page size {size}, in {elapsed:.1?}"));
    }
}

mod reads_every_image_of_a_large_repository_once {
    use super::{
        Aws, Handler, LARGE_CATALOG, Language, Reading, Version, reads_every_image_once,
        rust_sdk_ecr, rust_sdk_ecr_public,
    };

    fn aws_cli(version: Version, service: &str) {
        let client = format!("AWS CLI {version:?}, {service}");
        let Some(program) = version.require(&client) else { return };
        let aws = Aws { version, program, endpoint: LARGE_CATALOG.serving.catalog.url.clone() };
        reads_every_image_once(&client, |page_size| {
            let option = page_size.map_or(String::new(), |size| format!("--page-size {size}"));
            let images = aws.json(&format!(
                "{service} describe-images --repository-name large {option} \
                 --query imageDetails[].[imageDigest,imageTags||`[]`] --output json"
            ));
            Reading { pages: None, images: serde_json::from_value(images).unwrap() }
        });
    }

    fn script(language: Language, service: &str) {
        let client = format!("{language:?}, {service}");
        let Some(scripts) = language.require(&client) else { return };
        reads_every_image_once(&client, |page_size| {
            let page_size = page_size.map_or("default".to_owned(), |size| size.to_string());
            let arguments = [service, &LARGE_CATALOG.serving.catalog.url, "large", &page_size];
            let mut read = scripts.lines("paginate", &arguments).remove(0);
            Reading {
                pages: serde_json::from_value(read["pages"].take()).unwrap(),
                images: serde_json::from_value(read["images"].take()).unwrap(),
            }
        });
    }

    #[test]
    fn aws_cli_1_ecr() {
        aws_cli(Version::One, "ecr");
    }

    #[test]
    fn aws_cli_1_ecr_public() {
        aws_cli(Version::One, "ecr-public");
    }

    #[test]
    fn aws_cli_2_ecr() {
        aws_cli(Version::Two, "ecr");
    }

    #[test]
    fn aws_cli_2_ecr_public() {
        aws_cli(Version::Two, "ecr-public");
    }

    #[test]
    fn boto3_ecr() {
        script(Language::Python, "ecr");
    }

    #[test]
    fn boto3_ecr_public() {
        script(Language::Python, "ecr-public");
    }

    #[test]
    fn javascript_ecr() {
        script(Language::JavaScript, "ecr");
    }

    #[test]
    fn javascript_ecr_public() {
        script(Language::JavaScript, "ecr-public");
    }

    #[test]
    fn rust_ecr() {
        let serving = &LARGE_CATALOG.serving;
        let client = rust_sdk_ecr::client(&Handler::new(&serving.catalog.store));
        reads_every_image_once("Rust, ecr", |page_size| {
            serving.runtime.block_on(rust_sdk_ecr::read(&client, page_size))
        });
    }

    #[test]
    fn rust_ecr_public() {
        let serving = &LARGE_CATALOG.serving;
        let client = rust_sdk_ecr_public::client(&Handler::new(&serving.catalog.store));
        reads_every_image_once("Rust, ecr-public", |page_size| {
            serving.runtime.block_on(rust_sdk_ecr_public::read(&client, page_size))
        });
    }
}
