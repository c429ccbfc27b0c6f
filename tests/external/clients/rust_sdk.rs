//! The AWS SDK for Rust, in front of the handler without a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use catalog::ChangeKind;
use describe_images::page_token::Keyring;
use end_to_end::harness::{
    InProcess, OCI_CONFIGURATION, OCI_IMAGE, Store, digest, repository, time,
};
use end_to_end::reference::cloud_trail::public_repository;

use super::large_repository::Reading;
use super::{apply, broken_store, digest_in, push, put_image, record, seed};

/// The API in front of a store, for the requests of an SDK, without a socket.
pub(super) struct Handler {
    pub(super) http_client: SharedHttpClient,
    pub(super) requests: Arc<AtomicUsize>,
}

impl Handler {
    pub(super) fn new(store: &Store) -> Self {
        let keyring = Keyring::parse(&Keyring::generate_key().unwrap()).unwrap();
        let api = Arc::new(store.api(keyring));
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        let respond = move |request: HttpRequest| {
            counted.fetch_add(1, Ordering::Relaxed);
            let api = Arc::clone(&api);
            async move {
                let request = request.try_into_http1x().unwrap();
                let request = request.map(|body| body.bytes().unwrap().to_vec());
                let response = api.handle(&request, None).await;
                let response = response.map(SdkBody::from);
                Ok(HttpResponse::try_from(response).unwrap())
            }
        };
        Self { http_client: SharedHttpClient::new(InProcess(respond)), requests }
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

pub(super) async fn seeded_store() -> Store {
    let store = Store::in_memory().await;
    seed(&store).await;
    store
}

macro_rules! rust_sdk {
    ($module:ident, $sdk:ident, $push_sizes:ident) => {
        pub(super) mod $module {
            use std::time::Duration;

            use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
            use end_to_end::harness::Store;
            use $sdk::Client;
            use $sdk::config::retry::{RetryConfig, RetryPartition, TokenBucket};
            use $sdk::config::{BehaviorVersion, Config, Credentials, Region};
            use $sdk::operation::RequestId as _;
            use $sdk::operation::describe_images::DescribeImagesError;
            use $sdk::types::ImageIdentifier;

            use super::Handler;

            /// A client with its own retry budget: concurrent tests use up the shared one.
            pub(in crate::clients) fn client(handler: &Handler) -> Client {
                let retries = RetryPartition::custom("handler").token_bucket(TokenBucket::default());
                let configuration = Config::builder()
                    .behavior_version(BehaviorVersion::latest())
                    .region(Region::from_static("us-east-1"))
                    .endpoint_url("http://in-process")
                    .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
                    .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
                    .retry_partition(retries.build())
                    .http_client(handler.http_client.clone())
                    .build();
                Client::from_conf(configuration)
            }

            /// How many images each page has, and the digest and the tags of each image.
            pub(in crate::clients) async fn read(client: &Client, page_size: Option<usize>) -> super::Reading {
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
                super::$push_sizes(&store, &sizes).await;
                let request = client(&Handler::new(&store)).describe_images().repository_name("team/app");
                let images = request.send().await.unwrap().image_details.unwrap();
                let mut found: Vec<_> = images.iter().map(|image| image.image_size_in_bytes()).collect();
                found.sort_unstable();
                assert_eq!(found, sizes.map(Some));
            }
        }
    };
}

rust_sdk!(rust_sdk_ecr, aws_sdk_ecr, push_private_sizes);

rust_sdk!(rust_sdk_ecr_public, aws_sdk_ecrpublic, push_public_sizes);

/// Pushes images of these sizes to `team/app`.
async fn push_private_sizes(store: &Store, sizes: &[i64]) {
    for (size, number) in sizes.iter().zip(0..) {
        let mut push = push(number, None);
        if let ChangeKind::ImagePushed { content, .. } = &mut push {
            content.size_in_bytes = Some(*size);
        }
        apply(store, &repository("team/app"), 0, push).await;
    }
}

async fn push_public_sizes(store: &Store, sizes: &[i64]) {
    let app = public_repository("team/app");
    let put = |size: &i64| (0, &app, put_image(size.cast_unsigned(), None));
    record(store, &sizes.iter().map(put).collect::<Vec<_>>()).await;
}

/// A time this many milliseconds after the beginning of 2026, in the SDK's type.
pub(super) fn date_time(milliseconds: i64) -> DateTime {
    DateTime::from_millis(time(milliseconds).as_milliseconds())
}

/// The same, read from a number of seconds with decimals as the SDK reads it. Decimals that are no
/// binary fraction are off by some nanoseconds.
pub(super) fn read_as_float(milliseconds: i64) -> DateTime {
    DateTime::from_secs_f64(time(milliseconds).as_milliseconds() as f64 / 1000.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
pub(super) async fn the_rust_sdk_reads_every_member_of_a_private_image() {
    use aws_sdk_ecr::types::{
        FindingSeverity, ImageDetail, ImageScanFindingsSummary, ImageScanStatus, ImageStatus,
        ScanStatus,
    };
    let handler = Handler::new(&seeded_store().await);
    let request = rust_sdk_ecr::client(&handler).describe_images().repository_name("team/complete");
    let output = request.send().await.unwrap();
    let status = ImageScanStatus::builder()
        .status(ScanStatus::Complete)
        .description("The scan was completed successfully.")
        .build();
    let findings = ImageScanFindingsSummary::builder()
        .image_scan_completed_at(date_time(3_500))
        .vulnerability_source_updated_at(date_time(3_000))
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
        .image_scan_status(status)
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
pub(super) async fn the_rust_sdk_reads_every_member_of_a_public_image() {
    use aws_sdk_ecrpublic::types::ImageDetail;
    let handler = Handler::new(&seeded_store().await);
    let request =
        rust_sdk_ecr_public::client(&handler).describe_images().repository_name("team/complete");
    let output = request.send().await.unwrap();
    let image = ImageDetail::builder()
        .registry_id("123456789012")
        .repository_name("team/complete")
        .image_digest(digest_in("ecr-public", 5_000_000_000).to_string())
        .image_tags("latest")
        .image_tags("v9")
        .image_size_in_bytes(5_000_000_000)
        .image_pushed_at(date_time(1_000))
        .image_manifest_media_type(OCI_IMAGE)
        .artifact_media_type(OCI_CONFIGURATION)
        .build();
    assert_eq!(output.image_details(), [image]);
    assert_eq!(output.next_token(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
pub(super) async fn the_rust_sdk_lists_what_passes_a_filter() {
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
pub(super) async fn the_rust_sdk_knows_what_the_catalog_does_not_serve() {
    use aws_sdk_ecr::error::ProvideErrorMetadata as _;
    use aws_sdk_ecrpublic::operation::get_repository_catalog_data::GetRepositoryCatalogDataError;
    let handler = Handler::new(&seeded_store().await);
    let request = rust_sdk_ecr_public::client(&handler).get_repository_catalog_data();
    let error = request.repository_name("team/app").send().await.unwrap_err().into_service_error();
    assert!(
        matches!(error, GetRepositoryCatalogDataError::UnsupportedCommandException(_)),
        "{error:?}"
    );

    let request = rust_sdk_ecr::client(&handler).get_lifecycle_policy().repository_name("team/app");
    let error = request.send().await.unwrap_err();
    assert_eq!(error.code(), Some("UnsupportedCommandException"));
    assert_eq!(
        error.message(),
        Some("The action GetLifecyclePolicy isn't supported by this catalog.")
    );
}
