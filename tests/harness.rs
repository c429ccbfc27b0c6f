//! What tests start from: a store, a catalog behind HTTP, and the programs that `install-tools`
//! installs.

pub mod stand_in;

use std::fmt::{self, Debug, Display};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::reference::model::{self, Answers};
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use catalog::reader::{ImageIdentifier, ReadError};
use catalog::table::StoreError;
use catalog::{
    Change, Digest, Reader, RegistryId, Repository, RepositoryName, Table, Tag, Timestamp, Writer,
};
use describe_images::DescribeImages;
use describe_images::page_token::Keyring;
use image_catalog::authentication::Authentication;
use image_catalog::engine::Engine;
use image_catalog::server::Server;
use ingest_events::Ingest;
use secret::Secret;
use serde_json::Value;
use subscriptions::Subscriptions;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The registry of requests and notifications that name none.
pub const REGISTRY: &str = "123456789012";
/// The region whose ECR events are taken.
pub const REGION: &str = "us-east-1";

/// A table that is ready to use.
#[derive(Debug, Clone)]
pub struct Store {
    /// The table.
    pub table: Table,
    /// Its reader.
    pub reader: Reader,
    /// Its writer.
    pub writer: Writer,
}

impl Store {
    /// A table of a client's engine.
    pub async fn new(client: aws_sdk_dynamodb::Client) -> Self {
        let table = Table { client, name: "image-catalog".to_owned() };
        table.create_if_missing().await.unwrap();
        Self {
            reader: Reader::new(table.clone()),
            writer: Writer::new(table.clone(), Timestamp::now),
            table,
        }
    }

    /// The same, written to when it is this time.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        self.writer = Writer::new(self.table.clone(), move || now);
        self
    }

    /// A table of an engine in this process.
    pub async fn in_memory() -> Self {
        Self::new(Engine::in_memory().unwrap().client()).await
    }

    /// What answers requests from this table: the same code that runs locally and on Lambda.
    pub fn describe_images(&self, keyring: Keyring) -> DescribeImages {
        let registry = RegistryId::parse(REGISTRY).unwrap();
        DescribeImages::new(self.reader.clone(), Secret::known(keyring), registry)
    }

    /// What applies events to this table.
    pub fn ingest(&self) -> Ingest {
        self.ingest_of(Subscriptions::default())
    }

    /// What applies events to this table, and shows registries the credentials of these
    /// subscriptions.
    pub fn ingest_of(&self, subscriptions: Subscriptions) -> Ingest {
        Ingest::new(self.table.clone(), REGION.to_owned(), Secret::known(subscriptions), None)
    }

    /// Everything that can be asked of a repository, about these images one by one, and the
    /// answers; nothing if it does not exist.
    pub async fn answers(
        &self,
        repository: &Repository,
        asked: &[ImageIdentifier],
    ) -> Result<Option<Answers>, StoreError> {
        let mut listed = Vec::new();
        for filter in model::filters() {
            match self.reader.list(repository, &filter, None, 1000, |_| false).await {
                Ok(page) => {
                    assert!(!page.more, "all fit on one page");
                    listed.push((filter, page.images));
                }
                Err(ReadError::Store(error)) => return Err(error),
                Err(ReadError::RepositoryNotFound) if listed.is_empty() => return Ok(None),
                Err(ReadError::RepositoryNotFound) => {
                    panic!("{repository} is gone under {filter:?} only")
                }
            }
        }
        match self.reader.find(repository, asked).await {
            Ok(found) => {
                let found = asked.iter().cloned().zip(found.images).collect();
                Ok(Some(Answers { listed, found }))
            }
            Err(ReadError::Store(error)) => Err(error),
            Err(ReadError::RepositoryNotFound) => {
                panic!("{repository} is listed, and cannot be found")
            }
        }
    }

    /// Whatever is asked of a repository to which these changes happened, the answer is the
    /// model's.
    pub async fn assert_equals_model(&self, repository: &Repository, changes: &[Change]) {
        let asked = model::identifiers(changes);
        assert_eq!(
            self.answers(repository, &asked).await.unwrap(),
            model::answers(changes, &asked)
        );
    }
}

/// A catalog that answers on a port of its own until it is dropped.
#[derive(Debug)]
pub struct Catalog {
    /// `http://127.0.0.1:<port>`
    pub url: String,
    /// Its table.
    pub store: Store,
    serving: JoinHandle<()>,
}

impl Catalog {
    /// An empty one, in memory.
    pub async fn start() -> Self {
        Self::start_with(Store::in_memory().await, &Keyring::generate_key().unwrap()).await
    }

    /// One on a given table, with given page token keys.
    pub async fn start_with(store: Store, keys: &str) -> Self {
        Self::serve(store, keys, None, None).await
    }

    /// One that takes events of these subscriptions only.
    pub async fn start_subscribed(store: Store, subscriptions: &Value) -> Self {
        let subscriptions = Subscriptions::parse(&subscriptions.to_string()).unwrap();
        Self::serve(store, &Keyring::generate_key().unwrap(), None, Some(subscriptions)).await
    }

    /// One that answers only the callers that `callers` lists, a file of [`Authentication`], if
    /// their signatures are for the signing name.
    pub async fn start_for(store: Store, callers: &Value, signing_name: Option<&str>) -> Self {
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let file =
            std::env::temp_dir().join(format!("callers-{}-{number}.json", std::process::id()));
        std::fs::write(&file, callers.to_string()).unwrap();
        let authentication = Authentication::load(&file, REGION, signing_name);
        std::fs::remove_file(&file).unwrap();
        Self::serve(store, &Keyring::generate_key().unwrap(), Some(authentication.unwrap()), None)
            .await
    }

    async fn serve(
        store: Store,
        keys: &str,
        authentication: Option<Authentication>,
        subscriptions: Option<Subscriptions>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server {
            describe_images: store.describe_images(Keyring::parse(keys).unwrap()),
            authentication,
            ingest: Arc::new(store.ingest_of(subscriptions.clone().unwrap_or_default())),
            subscriptions,
            default_registry: RegistryId::parse(REGISTRY).unwrap(),
        };
        let serving =
            tokio::spawn(
                async move { server.run(listener, std::future::pending()).await.unwrap() },
            );
        Self { url, store, serving }
    }
}

impl Drop for Catalog {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Digest number `number`.
pub fn digest(number: u64) -> Digest {
    Digest::parse(&format!("sha256:{number:064x}")).unwrap()
}

/// A tag.
pub fn tag(name: &str) -> Tag {
    Tag::parse(name).unwrap()
}

/// A repository of the registry [`REGISTRY`].
pub fn repository(name: &str) -> Repository {
    Repository {
        registry: RegistryId::parse(REGISTRY).unwrap(),
        name: RepositoryName::parse(name).unwrap(),
    }
}

/// This many milliseconds after the beginning of 2026.
pub fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(1_767_225_600_000 + milliseconds).unwrap()
}

/// The bytes of an item, by DynamoDB's own rules.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
pub fn item_bytes(item: &catalog::table::Item) -> usize {
    fn value_bytes(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::B(bytes) => bytes.as_ref().len(),
            AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
            AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
            AttributeValue::L(values) => {
                3 + values.iter().map(|value| 1 + value_bytes(value)).sum::<usize>()
            }
            AttributeValue::M(map) => {
                3 + map
                    .iter()
                    .map(|(name, value)| 1 + name.len() + value_bytes(value))
                    .sum::<usize>()
            }
            _ => 1,
        }
    }
    item.iter().map(|(name, value)| name.len() + value_bytes(value)).sum()
}

/// A sample event, by its path in `fixtures/events/`.
pub fn sample(path: &str) -> String {
    std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/events").join(path),
    )
    .unwrap()
}

/// How many random histories a property is tried on, unless `HISTORIES` in the environment says
/// otherwise, as `make test` does.
pub fn histories() -> u32 {
    std::env::var("HISTORIES").map_or(400, |histories| histories.parse().unwrap())
}

/// SplitMix64: the same numbers for the same seed.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// Any number.
    #[expect(clippy::should_implement_trait, reason = "it does not end")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of several things.
    pub fn one_of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[usize::try_from(self.below(things.len() as u64)).unwrap()]
    }
}

/// Prints a figure or a remark past the test runner, which keeps the output of tests that pass.
pub fn print(line: impl Display) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Where `install-tools` puts its tools.
pub fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools")
}

/// A program that a test needs, by its path; a bare name is looked up in `PATH`. Without it the
/// test is skipped, which is printed; in CI it fails.
pub fn require(test: &str, program: impl AsRef<Path>) -> Option<PathBuf> {
    let program = program.as_ref();
    let found = if program.components().count() > 1 {
        Some(program.to_owned()).filter(|program| program.exists())
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|folder| folder.join(program))
            .find(|program| program.is_file())
    };
    if found.is_none() {
        let reason =
            format!("skipped {test}: there is no {}; `make tools` installs it", program.display());
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        print(reason);
    }
    found
}

/// A port that nothing listens on, for programs that cannot choose one by themselves.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The vendor's own DynamoDB for one machine, until it is dropped.
#[derive(Debug)]
pub struct DynamoDbLocal {
    /// `http://127.0.0.1:<port>`
    pub url: String,
    process: Child,
}

impl DynamoDbLocal {
    /// Starts it, in memory, and waits until it answers; nothing where it, or Java, is missing.
    pub async fn start(test: &str) -> Option<Self> {
        let java = require(test, "java")?;
        let archive = require(test, tools().join("dynamodb-local/DynamoDBLocal.jar"))?;
        let port = free_port();
        let process = Command::new(java)
            // It leaves a file where it runs.
            .current_dir(archive.parent().unwrap())
            .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
            .arg(format!(
                "-Djava.library.path={}",
                archive.with_file_name("DynamoDBLocal_lib").display()
            ))
            .arg("-jar")
            .arg(archive)
            .args(["-inMemory", "-sharedDb", "-disableTelemetry", "-port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let local = Self { url: format!("http://127.0.0.1:{port}"), process };
        let deadline = Instant::now() + Duration::from_secs(60);
        while reqwest::get(&local.url).await.is_err() {
            assert!(Instant::now() < deadline, "DynamoDB Local does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(local)
    }

    /// A client of it.
    pub fn client(&self) -> aws_sdk_dynamodb::Client {
        let configuration = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("local"))
            .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
            .endpoint_url(&self.url)
            .build();
        aws_sdk_dynamodb::Client::from_conf(configuration)
    }
}

impl Drop for DynamoDbLocal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The binary `image-catalog`, built if need be.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // With the features of the whole workspace, which the tests are built with.
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--workspace", "--bin", "image-catalog"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success());
        let test = std::env::current_exe().unwrap();
        test.parent().and_then(Path::parent).unwrap().join("image-catalog")
    })
}

/// Answers the requests of an SDK's client in this process, in place of a service.
#[derive(Clone)]
pub struct InProcess<F>(pub F);

impl<F> Debug for InProcess<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("InProcess")
    }
}

impl<F, A> HttpConnector for InProcess<F>
where
    F: Fn(HttpRequest) -> A + Send + Sync + 'static,
    A: Future<Output = Result<HttpResponse, ConnectorError>> + Send + 'static,
{
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new((self.0)(request))
    }
}

impl<F, A> HttpClient for InProcess<F>
where
    F: Fn(HttpRequest) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<HttpResponse, ConnectorError>> + Send + 'static,
{
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// The configuration of clients that such an answerer answers.
pub fn configuration(http_client: impl HttpClient + 'static) -> aws_config::SdkConfig {
    aws_config::SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(aws_sdk_dynamodb::config::SharedCredentialsProvider::new(
            Credentials::new("key", "secret", None, None, "tests"),
        ))
        .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(
            aws_smithy_async::rt::sleep::TokioSleep::new(),
        ))
        .time_source(aws_smithy_async::time::SystemTimeSource::new())
        .http_client(http_client)
        .build()
}

/// An answer in JSON.
pub fn json_response(status: u16, body: &Value) -> HttpResponse {
    HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body.to_string()))
}

/// The operation that a request is for, and its body.
pub fn operation(request: &HttpRequest) -> (String, Value) {
    let target = request.headers().get("x-amz-target").unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    (operation, serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap())
}
