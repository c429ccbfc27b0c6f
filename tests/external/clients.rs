//! The clients: AWS CLI 1 and 2, boto3, and the AWS SDKs for JavaScript and Rust. Each sends every
//! option that it has, and each reads every image of a large repository once.
//!
//! The expected output is that of the versions that `install-tools` installs.

mod aws_cli;
mod boto3_and_javascript;
mod large_repository;
mod rust_sdk;

use std::collections::BTreeMap;
use std::path::Path;

use catalog::change::Content;
use catalog::image::{FindingsSummary, Scan};
use catalog::repository::{Encryption, ExclusionFilter, ImageTagMutability};
use catalog::{
    Change, ChangeKind, Digest, Reader, RegistryId, Repository, RepositoryStatement, Table,
};
use describe_images::page_token::Keyring;
use end_to_end::harness::stand_in::{digest_of, image_manifest};
use end_to_end::harness::{
    Catalog, Ended, OCI_CONFIGURATION, OCI_IMAGE, Store, clean_command, digest, repository, tag,
    temporary_folder, time, tools, without_aws_configuration,
};
use end_to_end::reference::cloud_trail::{Call, public_repository};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const SERVICES: [&str; 2] = ["ecr", "ecr-public"];

/// The registry that [`seed`] fills besides the default one.
const OTHER_REGISTRY: &str = "210987654321";

/// A push of image number `number`, of as many bytes.
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

/// The image of this many bytes in a service. Images of the public service have real manifests,
/// because CloudTrail's records contain them.
fn digest_in(service: &str, size: u64) -> Digest {
    if service == "ecr" { digest(size) } else { digest_of(&image_manifest(size)) }
}

/// A push of an image of this many bytes to the public service.
fn put_image(size: u64, tag_name: Option<&str>) -> Call {
    Call::PutImage { manifest: image_manifest(size), tag: tag_name.map(tag) }
}

/// Fills the public service by CloudTrail's records alone. Each call has its second.
async fn record(store: &Store, calls: &[(i64, &Repository, Call)]) {
    let record =
        |(second, repository, call): &(i64, &Repository, Call)| call.record(repository, *second);
    send(store, &calls.iter().map(record).collect::<Vec<_>>()).await;
}

/// Sends CloudTrail's records to a catalog.
pub(crate) async fn send(store: &Store, records: &[Value]) {
    let keys = Keyring::generate_key().unwrap();
    let catalog = Catalog::start_with(store.clone(), &keys).await;
    let http = reqwest::Client::new();
    // A delivery has a million bytes at most.
    for records in records.chunks(200) {
        let request = http.post(format!("{}/events/ecr", catalog.url));
        let response = request.body(json!(records).to_string()).send().await.unwrap();
        let report: Value = response.error_for_status().unwrap().json().await.unwrap();
        assert_eq!(report["applied"], records.len(), "{report}");
    }
}

async fn apply(store: &Store, repository: &Repository, milliseconds: i64, kind: ChangeKind) {
    let change = Change { repository: repository.clone(), time: time(milliseconds), kind };
    store.writer.apply(&change).await.unwrap();
}

/// Four repositories in the private service:
///
/// - `team/app`: images 1 (`latest` and `v2`), 2 (no tag) and 3 (`stable` and `v1`), the newest
///   first, and the archived image 4 (`old`), which is older;
/// - `team/app` of another registry: image 5 (`theirs`);
/// - `team/complete`: an image with every member;
/// - `team/empty`.
///
/// And the same in the public service, as far as it has it: no image is archived there, and times
/// are whole seconds.
async fn seed(store: &Store) {
    seed_private(store).await;
    let app = public_repository("team/app");
    let theirs = Repository { registry: RegistryId::parse(OTHER_REGISTRY).unwrap(), ..app.clone() };
    let complete = public_repository("team/complete");
    let calls = [
        (0, &app, put_image(3, Some("v1"))),
        (1, &app, put_image(2, None)),
        (2, &app, put_image(1, Some("v2"))),
        (3, &app, put_image(1, Some("latest"))),
        (9, &app, put_image(3, Some("stable"))),
        (0, &theirs, put_image(5, Some("theirs"))),
        (0, &public_repository("team/empty"), Call::CreateRepository),
        (1, &complete, put_image(5_000_000_000, Some("v9"))),
        (2, &complete, put_image(5_000_000_000, Some("latest"))),
    ];
    record(store, &calls).await;
}

async fn seed_private(store: &Store) {
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

    apply(
        store,
        &repository("team/empty"),
        0,
        ChangeKind::RepositoryStated(RepositoryStatement {
            created_at: Some(time(0)),
            uri: Some("123456789012.dkr.ecr.us-east-1.amazonaws.com/team/empty".to_owned()),
            image_tag_mutability: Some(ImageTagMutability {
                value: "IMMUTABLE_WITH_EXCLUSION".to_owned(),
                exclusion_filters: vec![ExclusionFilter {
                    filter_type: "WILDCARD".to_owned(),
                    filter: "latest".to_owned(),
                }],
            }),
            scan_on_push: Some(true),
            encryption: Some(Encryption {
                encryption_type: "KMS".to_owned(),
                kms_key: Some("arn:aws:kms:us-east-1:123456789012:key/1".to_owned()),
            }),
            tags: BTreeMap::from([("stack".to_owned(), Some("dev".to_owned()))]),
        }),
    )
    .await;

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
        status: Some("COMPLETE".to_owned()),
        description: Some("The scan was completed successfully.".to_owned()),
        findings: Some(FindingsSummary {
            completed_at: Some(time(3_500)),
            vulnerability_source_updated_at: Some(time(3_000)),
            finding_severity_counts: Some(BTreeMap::from([
                ("CRITICAL".to_owned(), 1),
                ("LOW".to_owned(), 20),
            ])),
        }),
    };
    apply(store, &complete, 4_000, ChangeKind::ImageScanned { digest: image.clone(), scan }).await;
    apply(store, &complete, 5_250, ChangeKind::ImagePulled { digest: image.clone() }).await;
    apply(store, &complete, 6_000, ChangeKind::ImageArchived { digest: image.clone() }).await;
    let restored = ChangeKind::ImageRestored { digest: image, activated_at: time(8_125) };
    apply(store, &complete, 7_000, restored).await;
}

/// A store without a table, so that every request fails.
async fn broken_store() -> Store {
    let store = Store::in_memory().await;
    let missing = Table { name: "missing".to_owned(), ..store.table.clone() };
    Store { reader: Reader::new(missing), ..store }
}

/// A catalog that serves while the test waits for client programs.
struct Serving {
    catalog: Catalog,
    runtime: Runtime,
}

impl Serving {
    /// Starts a catalog with the images of [`seed`].
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

/// Runs a program with no other configuration than the given one.
fn run<'a>(program: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Ended {
    let home = temporary_folder().join("clients-home");
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
