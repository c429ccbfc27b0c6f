//! What DescribeImages answers, byte for byte, to whatever is sent to it over HTTP.
//!
//! The name of each test begins with the numbers of the rules in `docs/compatibility.md` that it
//! proves. Rules 3, 4, 5 and 7 are also checked on every reply of every test.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use catalog::change::Content;
use catalog::history::ImageHistory;
use catalog::image::{ImageStatus, Scan};
use catalog::table::{Item, REPOSITORY, REPOSITORY_TAG_STATUS, SORT};
use catalog::{Change, ChangeKind, Digest, RegistryId, Repository, RepositoryName, Timestamp};
use describe_images::page_token::Keyring;
use end_to_end::harness::{
    Catalog, InProcess, REGISTRY, Store, digest, engine_client, operation, repository, sample, tag,
    time,
};
use http::HeaderMap;
use image_catalog::engine::Engine;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ECR: &str = "AmazonEC2ContainerRegistry_V20150921.DescribeImages";
const ECR_PUBLIC: &str = "SpencerFrontendService.DescribeImages";

const PRIVATE_NAME: &str = r"'must satisfy regular expression '[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*''";
const PUBLIC_NAME: &str = "'must satisfy regular expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*''";
const TAG_CHARACTERS: &str = "'must satisfy regular expression '[a-zA-Z0-9-_.]+''";
const DIGEST_CHARACTERS: &str = "'must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+''";
const NEITHER_TAG_NOR_DIGEST: &str =
    "Invalid request parameters: both tag and digest cannot be null";
const INVALID_TOKEN: &str =
    "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'";

const MEBIBYTE: usize = 1024 * 1024;

/// How long a blocking client waits for the server.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(20);

/// A catalog, and a client of it.
struct Wire {
    catalog: Catalog,
    http: reqwest::Client,
}

impl Wire {
    async fn start() -> Self {
        Self::of(Catalog::start().await)
    }

    fn of(catalog: Catalog) -> Self {
        Self { catalog, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    fn store(&self) -> &Store {
        &self.catalog.store
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Reply {
        let mut request =
            self.http.request(method, format!("{}{path}", self.catalog.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Reply::new(status, headers, response.text().await.unwrap())
    }

    /// Asks for an operation with a body of any bytes.
    async fn post(&self, target: &str, body: impl Into<reqwest::Body>) -> Reply {
        self.send(Method::POST, "/", &[("x-amz-target", target)], body).await
    }

    /// Asks the private service.
    async fn ecr(&self, body: Value) -> Reply {
        self.post(ECR, body.to_string()).await
    }

    /// Asks the public service.
    async fn ecr_public(&self, body: Value) -> Reply {
        self.post(ECR_PUBLIC, body.to_string()).await
    }

    /// Sends bytes that no HTTP client would send, and reads until the server closes.
    async fn raw(&self, request: &[u8]) -> Reply {
        let address = self.catalog.url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.unwrap();
        let (status, headers, body) = parse(response);
        Reply::new(status, headers, body)
    }

    async fn apply(&self, repository: &Repository, at: Timestamp, kind: ChangeKind) {
        let change = Change { repository: repository.clone(), time: at, kind };
        self.store().writer.apply(&change).await.unwrap();
    }

    /// An empty repository.
    async fn create(&self, name: &str) {
        self.apply(&repository(name), time(0), ChangeKind::RepositoryCreated).await;
    }

    /// Pushes an image of which nothing else is known.
    async fn push(&self, name: &str, at: Timestamp, number: u64, tag_name: Option<&str>) {
        let kind = pushed(number, tag_name, Content::default());
        self.apply(&repository(name), at, kind).await;
    }

    async fn ingest(&self, path: &str, event: String) {
        let request = self.http.post(format!("{}{path}", self.catalog.url)).body(event);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{:?}", response.text().await);
    }
}

/// Takes an HTTP response apart.
fn parse(response: Vec<u8>) -> (u16, HeaderMap, String) {
    let response = String::from_utf8(response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{response:?}"));
    let (status, lines) = head.split_once("\r\n").unwrap();
    let status = status.split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.lines().map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        (
            http::HeaderName::try_from(name).unwrap(),
            http::HeaderValue::try_from(value.trim()).unwrap(),
        )
    });
    (status, headers.collect(), body.to_owned())
}

fn pushed(number: u64, tag_name: Option<&str>, content: Content) -> ChangeKind {
    ChangeKind::ImagePushed { digest: digest(number), tag: tag_name.map(tag), content }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A reply that has what every reply must have.
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: String,
    /// The body once more.
    json: Value,
}

impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {:?} {:.5000}", self.status, self.headers, self.body)
    }
}

impl Reply {
    /// Rules 3, 4, 5 and 7, of every reply to every request of this file.
    fn new(status: u16, headers: HeaderMap, body: String) -> Self {
        let json = serde_json::from_str(&body).unwrap_or_default();
        let reply = Self { status, headers, body, json };
        assert_eq!(reply.header("content-type"), Some("application/x-amz-json-1.1"), "{reply:?}");
        assert!(is_uuid(reply.header("x-amzn-requestid").unwrap_or_default()), "{reply:?}");
        let error_type = reply.header("x-amzn-errortype");
        if reply.body.is_empty() {
            // To HEAD.
            assert!(error_type.is_some(), "{reply:?}");
            return reply;
        }
        let body = &reply.json;
        assert!(!has_null(body), "{reply:?}");
        assert_eq!(error_type, body["__type"].as_str(), "{reply:?}");
        if reply.status == 200 {
            assert!(body["imageDetails"].is_array() && error_type.is_none(), "{reply:?}");
        } else {
            assert!([400, 404, 405, 413, 500].contains(&reply.status), "{reply:?}");
            assert!(error_type.is_some_and(|name| name.ends_with("Exception")), "{reply:?}");
            let members = body.as_object().unwrap().keys();
            assert!(members.into_iter().all(|name| ["__type", "message"].contains(&name.as_str())));
        }
        reply
    }

    fn header(&self, name: &str) -> Option<&str> {
        assert!(self.headers.get_all(name).iter().count() <= 1, "{self:?}");
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn request_id(&self) -> String {
        self.header("x-amzn-requestid").unwrap().to_owned()
    }

    /// The images of a success.
    #[track_caller]
    fn images(&self) -> &[Value] {
        assert_eq!(self.status, 200, "{self:?}");
        self.json["imageDetails"].as_array().unwrap()
    }

    /// Their digests.
    #[track_caller]
    fn digests(&self) -> Vec<String> {
        self.images().iter().map(digest_of).collect()
    }

    /// The only image.
    #[track_caller]
    fn image(&self) -> Value {
        let images = self.images();
        assert_eq!(images.len(), 1, "{self:?}");
        images[0].clone()
    }

    fn next_token(&self) -> Option<String> {
        self.json.get("nextToken").map(|token| token.as_str().unwrap().to_owned())
    }

    #[track_caller]
    fn assert_error(&self, status: u16, name: &str, message: &str) {
        let body = format!(r#"{{"__type":"{name}","message":{}}}"#, json!(message));
        assert_eq!((self.status, self.body.as_str()), (status, body.as_str()));
    }

    /// An `InvalidParameterException`.
    #[track_caller]
    fn assert_invalid(&self, message: &str) {
        self.assert_error(400, "InvalidParameterException", message);
    }

    /// An `InvalidParameterException` of the services' usual form; the constraint is in its quotes.
    #[track_caller]
    fn assert_violates(&self, member: &str, constraint: &str) {
        self.assert_invalid(&format!(
            "Invalid parameter at '{member}' failed to satisfy constraint: {constraint}"
        ));
    }

    #[track_caller]
    fn assert_serialization(&self, message: &str) {
        self.assert_error(400, "SerializationException", message);
    }

    #[track_caller]
    fn assert_no_repository(&self, name: &str, registry: &str) {
        let message = format!(
            "The repository with name '{name}' does not exist in the registry with id '{registry}'"
        );
        self.assert_error(400, "RepositoryNotFoundException", &message);
    }

    /// Of the repository `app`.
    #[track_caller]
    fn assert_no_image(&self, digest: &str, tag: &str) {
        let message = format!(
            "The image with imageId {{imageDigest:'{digest}', imageTag:'{tag}'}} does not exist within the \
             repository with name 'app' in the registry with id '{REGISTRY}'"
        );
        self.assert_error(400, "ImageNotFoundException", &message);
    }
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12]
        && text.chars().all(|digit| digit == '-' || digit.is_ascii_hexdigit())
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

fn digest_of(image: &Value) -> String {
    image["imageDigest"].as_str().unwrap().to_owned()
}

/// Where an image stands in a listing, as far as a reply tells.
fn order_of(image: &Value) -> (Reverse<i64>, String) {
    let seconds = image["imagePushedAt"].as_f64().unwrap();
    (Reverse((seconds * 1000.0).round() as i64), digest_of(image))
}

fn digests(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(|number| digest(number).to_string()).collect()
}

/// All pages of a listing. The sizes take turns; nothing means the default.
async fn pages(wire: &Wire, target: &str, request: &Value, sizes: &[Option<usize>]) -> Vec<Reply> {
    let mut request = request.clone();
    let mut pages = Vec::new();
    for size in sizes.iter().cycle() {
        request["maxResults"] = json!(size);
        let page = wire.post(target, request.to_string()).await;
        assert!(page.images().len() <= size.unwrap_or(100), "{page:?}");
        let next_token = page.next_token();
        pages.push(page);
        assert!(pages.len() < 300, "the listing does not end");
        match next_token {
            Some(token) => request["nextToken"] = token.into(),
            None => break,
        }
    }
    pages
}

/// The row of an image in the table of which no more is known. Rows are put beside the writer where
/// pushes would take too long; [`r33_pages_end_before_five_mebibytes`] proves that they are as the
/// writer makes them. Images put so are listed, but cannot be looked up by tag or digest.
struct Row {
    number: u64,
    pushed_at: Timestamp,
    status: ImageStatus,
    /// In order.
    tags: Vec<String>,
}

impl Row {
    fn new(number: u64, pushed_at: Timestamp, status: ImageStatus, tags: &[&str]) -> Self {
        Self { number, pushed_at, status, tags: tags.iter().copied().map(str::to_owned).collect() }
    }

    fn item(&self, repository: &Repository) -> Item {
        let (digest, status) = (digest(self.number), self.status.as_str());
        let tag_status = if self.tags.is_empty() { "UNTAGGED" } else { "TAGGED" };
        let members = [
            (REPOSITORY, repository.to_string()),
            (SORT, format!("{status}#{}#1#{digest}", self.pushed_at.newest_first())),
            (REPOSITORY_TAG_STATUS, format!("{repository}#{tag_status}")),
            ("imageDigest", digest.to_string()),
            ("imagePushedAt", self.pushed_at.to_string()),
            ("imageStatus", status.to_owned()),
        ];
        let mut item: Item = members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), AttributeValue::S(value)))
            .collect();
        if !self.tags.is_empty() {
            let tags = self.tags.iter().cloned().map(AttributeValue::S).collect();
            item.insert("imageTags".to_owned(), AttributeValue::L(tags));
        }
        item
    }

    /// Where an image that is not active is listed besides, for listings of any status.
    fn once_archived(&self, repository: &Repository) -> Option<Item> {
        let mut item = self.item(repository);
        item.remove(REPOSITORY_TAG_STATUS);
        let sort = item[SORT].as_s().unwrap().replace(self.status.as_str(), "ONCE_ARCHIVED");
        item.insert(SORT.to_owned(), AttributeValue::S(sort));
        (self.status != ImageStatus::Active).then_some(item)
    }
}

async fn put_rows(store: &Store, repository: &Repository, rows: &[Row]) {
    let items =
        rows.iter().flat_map(|row| [Some(row.item(repository)), row.once_archived(repository)]);
    put_items(store, items.flatten().collect()).await;
}

/// Puts items, a hundred at once at most and four megabytes at most, as transactions allow.
async fn put_items(store: &Store, mut items: Vec<Item>) {
    let weight = |item: &Item| match item.get("imageTags") {
        Some(AttributeValue::L(tags)) => 1000 + 310 * tags.len(),
        _ => 1000,
    };
    while !items.is_empty() {
        let mut weighed = 0;
        let fit = items.iter().take(100).take_while(|item| {
            weighed += weight(item);
            weighed < 4_000_000
        });
        let rest = items.split_off(fit.count());
        let puts = items.into_iter().map(|item| {
            let put = Put::builder().table_name(&store.table.name).set_item(Some(item)).build();
            TransactWriteItem::builder().put(put.unwrap()).build()
        });
        let request =
            store.table.client.transact_write_items().set_transact_items(Some(puts.collect()));
        request.send().await.unwrap();
        items = rest;
    }
}

/// A store on the embedded engine, whose requests pass through `meddle`: it may change one, or
/// answer it in DynamoDB's place. The SDK does not try again, so that a failure comes through at
/// once.
async fn meddled_store(
    meddle: impl Fn(&str, &mut Value) -> Option<Result<(u16, String), String>> + Send + Sync + 'static,
) -> Store {
    let (engine, meddle) = (Engine::in_memory().unwrap(), Arc::new(meddle));
    let answer = move |mut request: HttpRequest| {
        let (engine, meddle) = (engine.clone(), Arc::clone(&meddle));
        async move {
            let (operation, mut body) = operation(&request);
            match meddle(&operation, &mut body) {
                None => {
                    *request.body_mut() = SdkBody::from(body.to_string());
                    engine.call(request).await
                }
                Some(Ok((status, body))) => {
                    Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
                }
                Some(Err(error)) => Err(ConnectorError::io(error.into())),
            }
        }
    };
    let client = engine_client(InProcess(answer)).retry_config(RetryConfig::disabled()).build();
    Store::new(aws_sdk_dynamodb::Client::from_conf(client)).await
}

/// A catalog whose DynamoDB gives no more than a number of items at once, which can be changed; it
/// may give as few as it likes.
async fn giving_few(most_items: Arc<AtomicU64>) -> Wire {
    let store = meddled_store(move |operation, request| {
        if let ("Query", Some(limit)) = (operation, request["Limit"].as_u64()) {
            request["Limit"] = limit.min(most_items.load(Ordering::Relaxed)).into();
        }
        None
    });
    Wire::of(Catalog::start_with(store.await, &Keyring::generate_key().unwrap()).await)
}

// Wire format.

#[tokio::test]
async fn r1_both_services_answer_at_the_root() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, None).await;
    let body = json!({ "repositoryName": "app" });
    assert_eq!(wire.ecr(body.clone()).await.image()["imageStatus"], "ACTIVE");
    assert_eq!(wire.ecr_public(body.clone()).await.image().get("imageStatus"), None);
    // The path is what counts, not what follows it; and the names of headers have no case.
    let request = format!(
        "POST /?Action=x HTTP/1.1\r\nHost: a\r\nX-AMZ-TARGET: {ECR}\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.to_string().len()
    );
    assert_eq!(wire.raw(request.as_bytes()).await.image()["imageStatus"], "ACTIVE");
}

#[tokio::test]
async fn r1_any_content_type_and_none_is_accepted() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let body = r#"{"repositoryName":"app"}"#;
    assert_eq!(wire.post(ECR, body).await.body, r#"{"imageDetails":[]}"#);
    for content_type in
        ["application/x-amz-json-1.1", "application/json", "text/html; charset=utf-16", "", "?"]
    {
        let headers = [("x-amz-target", ECR), ("content-type", content_type)];
        let reply = wire.send(Method::POST, "/", &headers, body).await;
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (200, r#"{"imageDetails":[]}"#),
            "{content_type}"
        );
    }
}

#[tokio::test]
async fn r1_describe_images_without_a_target_is_the_public_service() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, None).await;
    let send = async |headers: &[(&str, &str)]| {
        // The filter tells the services apart, too: the public one does not look at it.
        let body = r#"{"repositoryName":"app","filter":5}"#;
        wire.send(Method::POST, "/DescribeImages", headers, body).await
    };
    let public = send(&[]).await;
    assert_eq!(public.image().get("imageStatus"), None);
    assert_eq!(send(&[("x-amz-target", ECR_PUBLIC)]).await.body, public.body);
    let private = send(&[("x-amz-target", ECR)]).await;
    private.assert_serialization("NUMBER_VALUE can not be converted to a Structure");
    let reply = send(&[("x-amz-target", "SpencerFrontendService.describeImages")]).await;
    assert_eq!(reply.body, r#"{"__type":"UnknownOperationException"}"#);
}

#[tokio::test]
async fn r1_other_methods_are_not_allowed() {
    let wire = Wire::start().await;
    for path in ["/", "/DescribeImages"] {
        for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "post", "QUERY"]
        {
            let headers = [("x-amz-target", ECR)];
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let reply =
                wire.send(method.clone(), path, &headers, r#"{"repositoryName":"app"}"#).await;
            assert_eq!(
                (reply.status, reply.header("allow")),
                (405, Some("POST")),
                "{method} {path}"
            );
            let body =
                r#"{"__type":"MethodNotAllowedException","message":"The method must be POST."}"#;
            assert_eq!(reply.body, if method == "HEAD" { "" } else { body }, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn r1_other_paths_are_not_found() {
    let wire = Wire::start().await;
    let paths = [
        "//",
        "/describeimages",
        "/DescribeImages/",
        "/DescribeImages%20",
        "/%2F",
        "/v2/",
        "/é",
        "/events",
    ];
    for path in paths {
        for method in [Method::POST, Method::GET] {
            let headers = [("x-amz-target", ECR)];
            let reply = wire.send(method, path, &headers, r#"{"repositoryName":"app"}"#).await;
            reply.assert_error(
                404,
                "NotFoundException",
                "There is nothing at this path. DescribeImages is at / and /DescribeImages.",
            );
        }
    }
}

#[tokio::test]
async fn r2_an_empty_repository_has_an_empty_list() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let body = json!({ "repositoryName": "app" });
    assert_eq!(wire.ecr(body.clone()).await.body, r#"{"imageDetails":[]}"#);
    assert_eq!(wire.ecr_public(body).await.body, r#"{"imageDetails":[]}"#);
}

#[tokio::test]
async fn r2_a_repository_whose_images_are_gone_has_an_empty_list() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    wire.apply(&repository("app"), time(1), ChangeKind::ImageDeleted { digest: digest(1) }).await;
    assert_eq!(wire.ecr(json!({ "repositoryName": "app" })).await.body, r#"{"imageDetails":[]}"#);
}

#[tokio::test]
async fn r3_r5_an_error_has_its_name_in_the_body_and_in_a_header() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let reply =
        wire.ecr(json!({ "repositoryName": "app", "imageIds": [{ "imageTag": "x" }] })).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.header("x-amzn-errortype"), Some("ImageNotFoundException"));
    assert_eq!(reply.header("content-type"), Some("application/x-amz-json-1.1"));
    assert_eq!(
        reply.body,
        r#"{"__type":"ImageNotFoundException","message":"The image with imageId {imageDigest:'null', imageTag:'x'} does not exist within the repository with name 'app' in the registry with id '123456789012'"}"#
    );
}

#[tokio::test]
async fn r4_every_reply_has_a_request_id_of_its_own() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let mut request_ids = BTreeSet::new();
    for _ in 0..20 {
        request_ids.insert(wire.ecr(json!({ "repositoryName": "app" })).await.request_id());
        request_ids.insert(wire.ecr(json!({ "repositoryName": "no-such" })).await.request_id());
        request_ids.insert(wire.post("no-such", "").await.request_id());
        request_ids.insert(wire.send(Method::GET, "/no-such", &[], "").await.request_id());
    }
    assert_eq!(request_ids.len(), 80);
}

#[tokio::test]
async fn r4_a_request_id_is_not_taken_from_the_caller() {
    let wire = Wire::start().await;
    let given = "00000000-0000-4000-8000-000000000000";
    let reply = wire.send(Method::POST, "/", &[("x-amzn-requestid", given)], "").await;
    assert_ne!(reply.request_id(), given);
}

#[tokio::test]
async fn r6_times_are_numbers_of_at_most_three_decimals() {
    let wire = Wire::start().await;
    let times = [
        ("2026-05-15T15:33:03.778Z", "1778859183.778"),
        ("2026-05-15T15:33:03.778999999Z", "1778859183.778"),
        ("2026-05-15T15:33:03.7Z", "1778859183.7"),
        ("2024-01-12T15:02:26Z", "1705071746"),
        ("2024-01-12T16:02:26+01:00", "1705071746"),
        ("1970-01-01T00:00:00.001Z", "0.001"),
        ("1970-01-01T00:00:00Z", "0"),
        ("9999-12-30T21:59:59.999Z", "253402207199.999"),
    ];
    for (number, (pushed_at, written)) in (0..).zip(times) {
        let name = format!("app-{number}");
        wire.push(&name, at(pushed_at), 1, None).await;
        for target in [ECR, ECR_PUBLIC] {
            let reply = wire.post(target, json!({ "repositoryName": name }).to_string()).await;
            let member = reply.body.split(r#""imagePushedAt":"#).nth(1).unwrap();
            assert_eq!(member.split([',', '}']).next(), Some(written), "{pushed_at}");
        }
    }
}

#[tokio::test]
async fn r7_r37_what_is_not_known_is_left_out() {
    let wire = Wire::start().await;
    wire.push("app", at("2026-01-01T00:00:00Z"), 1, None).await;
    let body = json!({ "repositoryName": "app", "maxResults": 1 });
    assert_eq!(
        wire.ecr(body.clone()).await.body,
        r#"{"imageDetails":[{"registryId":"123456789012","repositoryName":"app","imageDigest":"sha256:0000000000000000000000000000000000000000000000000000000000000001","imagePushedAt":1767225600,"imageStatus":"ACTIVE"}]}"#
    );
    assert_eq!(
        wire.ecr_public(body).await.body,
        r#"{"imageDetails":[{"registryId":"123456789012","repositoryName":"app","imageDigest":"sha256:0000000000000000000000000000000000000000000000000000000000000001","imagePushedAt":1767225600}]}"#
    );
}

#[tokio::test]
async fn r7_null_counts_as_absent() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    let nulls = json!({
        "repositoryName": "app", "registryId": null, "imageIds": null, "nextToken": null, "maxResults": null,
        "filter": null, "unknown": null,
    });
    assert_eq!(wire.ecr(nulls.clone()).await.digests(), digests([1]));
    assert_eq!(wire.ecr_public(nulls).await.digests(), digests([1]));
    // However it is laid out.
    let laid_out = "\t{ \"repositoryName\" :\r\n\"app\" , \"maxResults\" : null , \"filter\" : { \"tagStatus\" :\tnull } ,\n\
                    \"imageIds\" : [ { \"imageTag\" : null , \"imageDigest\"\r:\t\"sha256:1\" } , null ] } \n";
    wire.post(ECR, laid_out).await.assert_invalid(NEITHER_TAG_NOR_DIGEST);
    let in_filter =
        json!({ "repositoryName": "app", "filter": { "tagStatus": null, "imageStatus": null } });
    assert_eq!(wire.ecr(in_filter).await.digests(), digests([1]));
    let in_image_ids = json!({ "repositoryName": "app", "maxResults": null, "nextToken": null, "imageIds": [
        { "imageTag": "v1", "imageDigest": null }, { "imageTag": null, "imageDigest": digest(1).as_str() },
    ] });
    assert_eq!(wire.ecr(in_image_ids).await.digests(), digests([1]));
    wire.ecr(json!({ "repositoryName": null }))
        .await
        .assert_violates("repositoryName", "'must not be null'");
    for image_id in
        [json!(null), json!({ "imageTag": null }), json!({ "imageTag": null, "imageDigest": null })]
    {
        let request = json!({ "repositoryName": "app", "imageIds": [image_id] });
        wire.ecr(request).await.assert_invalid(NEITHER_TAG_NOR_DIGEST);
    }
}

#[tokio::test]
async fn r8_unknown_members_are_ignored() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    // Names have a case: these are not the members that they look like.
    let body = json!({
        "repositoryName": "app", "RepositoryName": 5, "repositoryname": [], "maxresults": "x", "limit": {},
        "": { "a": [null, true, 1.5] }, "é": "é", "imageIDs": [],
        "filter": { "tagStatus": "TAGGED", "TagStatus": "no such", "unknown": 1 },
    });
    assert_eq!(wire.ecr(body.clone()).await.digests(), digests([1]));
    assert_eq!(wire.ecr_public(body).await.digests(), digests([1]));
    let body = json!({ "repositoryName": "app", "imageIds": [{ "imageTag": "v1", "unknown": [1], "tag": 5 }] });
    assert_eq!(wire.ecr(body).await.digests(), digests([1]));
    let body = json!({ "RepositoryName": "app" });
    wire.ecr(body).await.assert_violates("repositoryName", "'must not be null'");
    let body = json!({ "repositoryName": "app", "imageIds": [{ "tag": "v1" }] });
    wire.ecr(body).await.assert_invalid(NEITHER_TAG_NOR_DIGEST);
}

#[tokio::test]
async fn r8_what_an_unknown_member_holds_does_not_matter() {
    let wire = Wire::start().await;
    wire.create("app").await;
    // JSON's grammar limits neither the size of a number nor which escapes follow each other.
    for value in
        ["1e400", "-0.1E-400", "123456789012345678901234567890", r#""\ud800""#, r#""\ud800\ud800""#]
    {
        for body in [
            format!(r#"{{"repositoryName":"app","unknown":{value}}}"#),
            format!(r#"{{"repositoryName":"app","unknown":[{{"unknown":{value}}}]}}"#),
            format!(r#"{{"repositoryName":"app","filter":{{"unknown":{value}}}}}"#),
        ] {
            assert_eq!(wire.post(ECR, body.clone()).await.body, r#"{"imageDetails":[]}"#, "{body}");
            assert_eq!(
                wire.post(ECR_PUBLIC, body.clone()).await.body,
                r#"{"imageDetails":[]}"#,
                "{body}"
            );
        }
        let body = format!(
            r#"{{"repositoryName":"app","imageIds":[{{"imageTag":"x","unknown":{value}}}]}}"#
        );
        wire.post(ECR, body).await.assert_no_image("null", "x");
    }
}

#[tokio::test]
async fn r8_deep_nesting_does_no_harm() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"repositoryName":"app","unknown":{open}{close}}}"#)
    };
    assert_eq!(wire.post(ECR, nested(100)).await.body, r#"{"imageDetails":[]}"#);
    // A parser that calls itself runs out of stack with it. Whether it is taken or refused is open.
    let reply = wire.post(ECR, nested(MEBIBYTE / 2 - 100)).await;
    assert!([200, 400].contains(&reply.status), "{reply:?}");
    assert_eq!(wire.post(ECR, nested(1)).await.status, 200, "the catalog still answers");
}

#[tokio::test]
async fn r8_a_body_may_have_one_mebibyte() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let body = |length: usize| {
        let start = r#"{"repositoryName":"app","unknown":""#;
        format!(r#"{start}{}"}}"#, "x".repeat(length - start.len() - 2))
    };
    assert_eq!(wire.post(ECR, body(MEBIBYTE)).await.body, r#"{"imageDetails":[]}"#);
    let too_large = "The request body must not be larger than 1048576 bytes.";
    for length in [MEBIBYTE + 1, 5 * MEBIBYTE] {
        let reply = wire.post(ECR, body(length)).await;
        reply.assert_error(413, "RequestEntityTooLargeException", too_large);
    }
    // Spaces count, too.
    let padded = format!("{}{}", r#"{"repositoryName":"app"}"#, " ".repeat(MEBIBYTE));
    let reply = wire.post(ECR, padded).await;
    reply.assert_error(413, "RequestEntityTooLargeException", too_large);

    // A body that does not tell its length beforehand; one of its parts ends at the limit.
    for (length, status) in [(MEBIBYTE, 200), (MEBIBYTE + 1, 413)] {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nX-Amz-Target: {ECR}\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        let chunks: String = body(length)
            .as_bytes()
            .chunks(MEBIBYTE / 16)
            .map(|chunk| {
                format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap())
            })
            .collect();
        let reply = wire.raw(format!("{head}{chunks}0\r\n\r\n").as_bytes()).await;
        assert_eq!(reply.status, status, "{reply:?}");
    }
}

#[tokio::test]
async fn r4_r8_a_much_larger_body_gets_the_same_answer() {
    let wire = Wire::start().await;
    wire.create("app").await;
    // Some servers have a limit of their own that comes before.
    let body = format!("{}{}", r#"{"repositoryName":"app"}"#, " ".repeat(10 * MEBIBYTE));
    let request = wire.http.post(&wire.catalog.url).header("x-amz-target", ECR).body(body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 413);
    let (headers, body) = (response.headers().clone(), response.text().await.unwrap());
    Reply::new(413, headers, body).assert_error(
        413,
        "RequestEntityTooLargeException",
        "The request body must not be larger than 1048576 bytes.",
    );
}

/// Where bodies are taken: the path, the most bytes there, and the answer to more.
const LIMITED: [(&str, usize, &str); 2] = [
    (
        "/",
        MEBIBYTE,
        r#"{"__type":"RequestEntityTooLargeException","message":"The request body must not be larger than 1048576 bytes."}"#,
    ),
    (
        "/events/ecr",
        10 * MEBIBYTE,
        r#"{"message":"Failed to buffer the request body: length limit exceeded"}"#,
    ),
];

/// A client that reads nothing before it has written everything, as many do.
struct Writing(std::net::TcpStream);

impl Writing {
    /// Sends the head of a request whose body has this length, or is in chunks.
    fn start(address: &str, path: &str, length: Option<usize>) -> std::io::Result<Self> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(CLIENT_TIMEOUT))?;
        stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
        let body = match length {
            Some(length) => format!("Content-Length: {length}"),
            None => "Transfer-Encoding: chunked".to_owned(),
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nX-Amz-Target: {ECR}\r\nConnection: close\r\n{body}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        Ok(Self(stream))
    }

    /// Reads until the server closes.
    fn response(mut self) -> std::io::Result<(u16, String)> {
        let mut response = Vec::new();
        self.0.read_to_end(&mut response)?;
        let (status, headers, body) = parse(response);
        assert_eq!(headers["content-length"], body.len().to_string(), "the body is complete");
        Ok((status, body))
    }
}

/// A body of spaces in chunks, with its end.
fn in_chunks(length: usize) -> Vec<u8> {
    let chunk = format!("{:x}\r\n{}\r\n", MEBIBYTE, " ".repeat(MEBIBYTE));
    [chunk.repeat(length / MEBIBYTE).as_bytes(), b"0\r\n\r\n"].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_a_client_that_reads_last_gets_its_413() {
    let catalog = Catalog::start().await;
    let address = catalog.url.strip_prefix("http://").unwrap().to_owned();
    let [requests, events] = LIMITED;
    let ask = move || {
        // Of 12 MiB the sockets may hold what passes the limit; of 18 MiB they do not.
        for ((path, _, expected), length) in
            [(requests, 8 * MEBIBYTE), (events, 12 * MEBIBYTE), (events, 18 * MEBIBYTE)]
        {
            let (whole, chunks) = (vec![b' '; length], in_chunks(length));
            for attempt in 1..=10 {
                for (declared, body) in [(Some(length), &whole), (None, &chunks)] {
                    let response =
                        Writing::start(&address, path, declared).and_then(|mut client| {
                            client.0.write_all(body)?;
                            client.response()
                        });
                    let response = response.unwrap_or_else(|error| {
                        panic!("{path}, length {declared:?}, attempt {attempt}: {error}")
                    });
                    assert_eq!(response, (413, expected.to_owned()), "attempt {attempt}");
                }
            }
        }
    };
    tokio::task::spawn_blocking(ask).await.unwrap();
}

/// What is sent beyond the limit is read for some seconds, and no longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_a_client_that_stops_or_is_slow_beyond_the_limit_is_not_waited_for() {
    let catalog = Catalog::start().await;
    let address = catalog.url.strip_prefix("http://").unwrap();
    let mut clients = Vec::new();
    for (path, limit, expected) in LIMITED {
        let client = |length| {
            let mut client = Writing::start(address, path, Some(length)).unwrap();
            client.0.write_all(&vec![b' '; limit + MEBIBYTE]).unwrap();
            client
        };
        let (stopped, mut slow) = (client(limit + 7 * MEBIBYTE), client(limit + 7 * MEBIBYTE));
        clients.push(tokio::task::spawn_blocking(move || {
            assert_eq!(stopped.response().unwrap(), (413, expected.to_owned()));
        }));
        clients.push(tokio::task::spawn_blocking(move || {
            while slow.0.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }));
    }
    let started = Instant::now();
    for client in clients {
        client.await.unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
}

/// Some of what is sent beyond the limit is read, and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_a_body_without_end_is_cut_off() {
    const MOST_DISCARDED: usize = 32 * MEBIBYTE;
    // What the two sockets can hold, and more.
    const UNDER_WAY: usize = 32 * MEBIBYTE;
    let catalog = Catalog::start().await;
    let address = catalog.url.strip_prefix("http://").unwrap().to_owned();
    let send = move || {
        let chunk = format!("{:x}\r\n{}\r\n", MEBIBYTE, " ".repeat(MEBIBYTE));
        for (path, limit, _) in LIMITED {
            let mut client = Writing::start(&address, path, None).unwrap();
            let mut sent = 0;
            while client.0.write_all(chunk.as_bytes()).is_ok() {
                sent += MEBIBYTE;
                assert!(sent < limit + MOST_DISCARDED + UNDER_WAY, "{path} reads on and on");
            }
            assert!(
                sent + MEBIBYTE >= limit + MOST_DISCARDED,
                "{path} was closed after {sent} bytes"
            );
        }
    };
    tokio::task::spawn_blocking(send).await.unwrap();
}

#[tokio::test]
async fn r4_r10_a_body_that_breaks_off_gets_an_orderly_answer() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let head =
        format!("POST / HTTP/1.1\r\nHost: a\r\nX-Amz-Target: {ECR}\r\nConnection: close\r\n");
    for rest in [
        // What was to be the length of the second part is none.
        "Transfer-Encoding: chunked\r\n\r\n18\r\n{\"repositoryName\":\"app\"}\r\nx\r\n",
        "Transfer-Encoding: chunked\r\n\r\nx\r\n",
    ] {
        let reply = wire.raw(format!("{head}{rest}").as_bytes()).await;
        assert_eq!(reply.json["__type"], "SerializationException", "{reply:?}");
    }
}

#[tokio::test]
async fn r8_an_empty_body_counts_as_an_empty_object() {
    let wire = Wire::start().await;
    for body in ["", "{}", " {\r\n}\t"] {
        wire.post(ECR, body).await.assert_violates("repositoryName", "'must not be null'");
        wire.post(ECR_PUBLIC, body).await.assert_violates("repositoryName", "'must not be null'");
    }
    // Neither a length nor a body.
    let request =
        format!("POST / HTTP/1.1\r\nHost: a\r\nX-Amz-Target: {ECR}\r\nConnection: close\r\n\r\n");
    wire.raw(request.as_bytes()).await.assert_violates("repositoryName", "'must not be null'");
}

// Order of checks.

#[tokio::test]
async fn r9_target_then_syntax_then_types_then_constraints_then_repository_then_images() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let reply = wire.post("AmazonEC2ContainerRegistry_V20150921.NoSuch", "{").await;
    assert_eq!(reply.body, r#"{"__type":"UnknownOperationException"}"#);
    let reply = wire.post("AmazonEC2ContainerRegistry_V20150921.ListImages", "{").await;
    assert_eq!(reply.json["__type"], "UnsupportedCommandException");
    let reply = wire.post(ECR, r#"{"repositoryName":"A","maxResults":"#).await;
    assert_eq!(reply.json["__type"], "SerializationException", "syntax before constraints");
    // Types before constraints, wherever they are.
    for (member, value) in [
        ("maxResults", json!("x")),
        ("nextToken", json!(5)),
        ("filter", json!([])),
        ("filter", json!({ "imageStatus": 5 })),
        ("imageIds", json!({})),
        ("imageIds", json!([{}, { "imageTag": "a b" }, 5])),
        ("imageIds", json!([{}, { "imageTag": "a b", "imageDigest": 5 }])),
    ] {
        let mut request = json!({ "repositoryName": "A!", "registryId": "x" });
        request[member] = value;
        let reply = wire.ecr(request).await;
        assert_eq!(reply.json["__type"], "SerializationException", "{member}: {reply:?}");
    }
    let reply = wire.ecr(json!({ "repositoryName": "no-such", "maxResults": 0 })).await;
    assert_eq!(
        reply.json["__type"], "InvalidParameterException",
        "constraints before the repository"
    );
    let reply = wire
        .ecr(json!({ "repositoryName": "no-such", "filter": { "tagStatus": "no-such" } }))
        .await;
    assert_eq!(
        reply.json["__type"], "InvalidParameterException",
        "constraints before the repository"
    );
    let reply = wire
        .ecr(json!({ "repositoryName": "no-such", "imageIds": [{ "imageTag": "no-such" }] }))
        .await;
    reply.assert_no_repository("no-such", REGISTRY);
}

#[tokio::test]
async fn r9_constraints_are_checked_in_the_order_of_their_rules() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let mut request = json!({
        "registryId": "1", "imageIds": [], "maxResults": 1001, "nextToken": "",
        "filter": { "tagStatus": "no-such", "imageStatus": "no-such" },
    });
    let steps: [(&str, Value, &str, &str); 14] = [
        ("repositoryName", json!("A"), "repositoryName", "'must not be null'"),
        (
            "repositoryName",
            json!("A!"),
            "repositoryName",
            "'must have length greater than or equal to 2'",
        ),
        ("repositoryName", json!("app"), "repositoryName", PRIVATE_NAME),
        (
            "registryId",
            json!(REGISTRY),
            "registryId",
            "'must satisfy regular expression [0-9]{12}'",
        ),
        (
            "imageIds",
            json!(vec![json!({}); 101]),
            "imageIds",
            "'Member must have length greater than or equal to 1'",
        ),
        (
            "imageIds",
            json!([{ "imageTag": "", "imageDigest": "no-such" }]),
            "imageIds",
            "'Member must have length less than or equal to 100'",
        ),
        (
            "imageIds",
            json!([{ "imageTag": "v1", "imageDigest": "no-such" }]),
            "imageTag",
            "'must have length greater than or equal to 1'",
        ),
        ("imageIds", json!([{}]), "imageDigest", DIGEST_CHARACTERS),
        ("imageIds", json!([{ "imageTag": "v1" }]), "", NEITHER_TAG_NOR_DIGEST),
        (
            "maxResults",
            json!(0),
            "maxResults",
            "'Member must have value less than or equal to 1000'",
        ),
        (
            "maxResults",
            json!(1),
            "maxResults",
            "'Member must have value greater than or equal to 1'",
        ),
        (
            "maxResults",
            json!(null),
            "maxResults",
            "'must not be specified when imageIds is specified'",
        ),
        (
            "nextToken",
            json!(null),
            "nextToken",
            "'must not be specified when imageIds is specified'",
        ),
        (
            "filter",
            json!({ "imageStatus": "no-such" }),
            "filter.tagStatus",
            "'Member must satisfy enum value set: [TAGGED, UNTAGGED, ANY]'",
        ),
    ];
    for (repaired, value, member, constraint) in steps {
        let reply = wire.ecr(request.clone()).await;
        if member.is_empty() {
            reply.assert_invalid(constraint);
        } else {
            reply.assert_violates(member, constraint);
        }
        request[repaired] = value;
    }
    let reply = wire.ecr(request.clone()).await;
    reply.assert_violates(
        "filter.imageStatus",
        "'Member must satisfy enum value set: [ACTIVE, ARCHIVED, ACTIVATING, ANY]'",
    );
    request["filter"] = json!(null);
    wire.ecr(request).await.assert_no_image("null", "v1");

    // Of any two that are broken the first answers.
    let broken = [
        ("repositoryName", json!(null)),
        ("repositoryName", json!("A")),
        ("repositoryName", json!("A!")),
        ("registryId", json!("1")),
        ("imageIds", json!([])),
        ("imageIds", json!(vec![json!({}); 101])),
        ("imageIds", json!([{ "imageTag": "" }])),
        ("imageIds", json!([{ "imageDigest": "" }])),
        ("imageIds", json!([{}])),
        ("maxResults", json!(1001)),
        ("maxResults", json!(0)),
        ("filter", json!({ "tagStatus": "no-such" })),
        ("filter", json!({ "imageStatus": "no-such" })),
    ];
    for (index, (member, value)) in broken.iter().enumerate() {
        let mut request = json!({ "repositoryName": "app" });
        request[member] = value.clone();
        let alone = wire.ecr(request.clone()).await;
        assert_eq!(alone.json["__type"], "InvalidParameterException", "{request}");
        for (other, value) in broken[index + 1..].iter().filter(|(other, _)| other != member) {
            let mut request = request.clone();
            request[other] = value.clone();
            assert_eq!(wire.ecr(request.clone()).await.body, alone.body, "{request}");
        }
    }
}

#[tokio::test]
async fn r9_the_order_of_constraints_is_not_that_of_the_image_ids() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let bad_tag = json!({ "imageTag": "a b" });
    let bad_digest = json!({ "imageDigest": "no-such" });
    for image_ids in [
        json!([bad_tag, bad_digest, {}]),
        json!([bad_digest, {}, bad_tag]),
        json!([{}, bad_digest, bad_tag]),
        json!([{}, bad_tag]),
        json!([bad_digest, bad_tag]),
    ] {
        let reply = wire.ecr(json!({ "repositoryName": "app", "imageIds": image_ids })).await;
        reply.assert_violates("imageTag", TAG_CHARACTERS);
    }
    let reply = wire.ecr(json!({ "repositoryName": "app", "imageIds": [{}, bad_digest] })).await;
    reply.assert_violates("imageDigest", DIGEST_CHARACTERS);
}

// Request validation.

#[tokio::test]
async fn r10_what_is_not_json_is_refused() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let bodies: [&[u8]; 24] = [
        b"{",
        b"}",
        b"x",
        b"{}{}",
        b"{} x",
        b"{repositoryName:\"app\"}",
        b"{'repositoryName':'app'}",
        b"{\"repositoryName\":\"app\",}",
        b"{\"repositoryName\":\"app\"",
        b"{\"repositoryName\":\"app",
        b"{\"repositoryName\" \"app\"}",
        b"{\"repositoryName\":\"app\"} // comment",
        b"{\"repositoryName\":\"app\",\"maxResults\":NaN}",
        b"{\"repositoryName\":\"app\",\"maxResults\":01}",
        b"{\"repositoryName\":\"app\",\"maxResults\":+1}",
        b"{\"repositoryName\":\"app\",\"maxResults\":1.}",
        b"{\"repositoryName\":\"a\np\"}",
        b"{\"repositoryName\":\"\\x61pp\"}",
        b"{\"repositoryName\":\"app\",\"unknown\":tru}",
        b"{\"repositoryName\":\"app\"}\0",
        b"\0",
        b"Action=DescribeImages&repositoryName=app",
        b"\xef\xbb\xbf{\"repositoryName\":\"app\"}",
        b"{\0\"\0r\0\"\0:\x001\0}\0",
    ];
    for body in bodies {
        for target in [ECR, ECR_PUBLIC] {
            let reply = wire.post(target, body.to_vec()).await;
            let shown = body.escape_ascii();
            assert_eq!(
                (reply.status, &reply.json["__type"]),
                (400, &json!("SerializationException")),
                "{shown}"
            );
            assert!(!reply.json["message"].as_str().unwrap().is_empty(), "{shown}");
        }
    }
    let reply = wire.post(ECR, "{").await;
    insta::assert_snapshot!(reply.body, @r#"{"__type":"SerializationException","message":"The request body is not valid JSON: EOF while parsing an object at line 1 column 1"}"#);
}

#[tokio::test]
async fn r10_a_form_feed_is_no_json_whitespace() {
    let wire = Wire::start().await;
    wire.create("app").await;
    for body in ["\x0c{\"repositoryName\":\"app\"}", "{\"repositoryName\":\"app\"}\x0c", "\x0c"] {
        let reply = wire.post(ECR, body).await;
        assert_eq!(reply.json["__type"], "SerializationException", "{reply:?}");
    }
}

#[tokio::test]
async fn r10_what_is_no_object_is_refused() {
    let wire = Wire::start().await;
    for body in
        ["[]", "[{\"repositoryName\":\"app\"}]", "\"app\"", "5", "1.5", "true", "false", "null"]
    {
        wire.post(ECR, body).await.assert_serialization("The request body must be a JSON object.");
    }
}

#[tokio::test]
async fn r10_invalid_utf8_is_refused() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let invalid: [&[u8]; 6] =
        [b"\xff", b"\x80", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"];
    for bytes in invalid {
        let bodies = [
            [b"{\"repositoryName\":\"ap", bytes, b"\"}"].concat(),
            [b"{\"repositoryName\":\"app\",\"unknown\":\"", bytes, b"\"}"].concat(),
            [b"{\"repositoryName\":\"app\",\"", bytes, b"\":1}"].concat(),
            [b"{\"repositoryName\":\"app\",\"imageIds\":[{\"imageTag\":\"", bytes, b"\"}]}"]
                .concat(),
            [b"{\"repositoryName\":\"app\"}", bytes].concat(),
            bytes.to_vec(),
        ];
        for body in bodies {
            let shown = body.escape_ascii().to_string();
            let reply = wire.post(ECR, body).await;
            assert_eq!(reply.json["__type"], "SerializationException", "{shown}");
        }
    }
    // What is valid is read: this is "app".
    let reply = wire.post(ECR, r#"{"r\u0065positoryName":"a\u0070p"}"#).await;
    assert_eq!(reply.body, r#"{"imageDetails":[]}"#);
    let body = r#"{"repositoryName":"app","imageIds":[{"image\u0054ag":"\u00781"}],"filter":{"tag\u0053tatus":"AN\u0059"}}"#;
    wire.post(ECR, body).await.assert_no_image("null", "x1");
}

#[tokio::test]
async fn r11_a_member_of_the_wrong_type_is_refused() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    let values = [
        (json!("x"), "STRING_VALUE"),
        (json!(5), "NUMBER_VALUE"),
        (json!(1.5), "NUMBER_VALUE"),
        (json!(123_456_789_012_u64), "NUMBER_VALUE"),
        (json!(true), "TRUE_VALUE"),
        (json!(false), "FALSE_VALUE"),
        (json!([]), "list"),
        (json!(["app"]), "list"),
        (json!({}), "structure"),
        (json!({ "imageTag": "v1" }), "structure"),
    ];
    let members = [
        ("/repositoryName", "String", "STRING_VALUE"),
        ("/registryId", "String", "STRING_VALUE"),
        ("/nextToken", "String", "STRING_VALUE"),
        ("/imageIds/0/imageTag", "String", "STRING_VALUE"),
        ("/imageIds/0/imageDigest", "String", "STRING_VALUE"),
        ("/filter/tagStatus", "String", "STRING_VALUE"),
        ("/filter/imageStatus", "String", "STRING_VALUE"),
        ("/maxResults", "Integer", "NUMBER_VALUE"),
        ("/imageIds", "List", "list"),
        ("/imageIds/0", "Structure", "structure"),
        ("/filter", "Structure", "structure"),
    ];
    for (member, wanted, right) in members {
        for (value, kind) in &values {
            // An integer is the only number that is right for an Integer.
            if *kind == right && !(wanted == "Integer" && value.is_f64()) {
                continue;
            }
            let mut request = json!({
                "repositoryName": "app", "registryId": REGISTRY, "nextToken": "x", "maxResults": 1,
                "imageIds": [{ "imageTag": "v1", "imageDigest": "sha256:00" }],
                "filter": { "tagStatus": "ANY", "imageStatus": "ANY" },
            });
            *request.pointer_mut(member).unwrap() = value.clone();
            let article = if wanted == "Integer" { "an" } else { "a" };
            let message = match *kind {
                "list" => "Start of list found where not expected.".to_owned(),
                "structure" => "Start of structure or map found where not expected.".to_owned(),
                kind => format!("{kind} can not be converted to {article} {wanted}"),
            };
            wire.ecr(request.clone()).await.assert_serialization(&message);
            // Of the public service's request the filter is no member.
            if !member.starts_with("/filter") {
                wire.ecr_public(request).await.assert_serialization(&message);
            }
        }
    }
}

#[tokio::test]
async fn r11_the_type_of_every_image_id_is_checked() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let mut image_ids = vec![json!({ "imageTag": "v1" }); 101];
    image_ids[100] = json!("v1");
    let reply = wire.ecr(json!({ "repositoryName": "app", "imageIds": image_ids })).await;
    reply.assert_serialization("STRING_VALUE can not be converted to a Structure");
}

#[tokio::test]
async fn r12_r13_a_repository_name_must_be_given() {
    let wire = Wire::start().await;
    let message = r#"{"__type":"InvalidParameterException","message":"Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must not be null'"}"#;
    for body in
        [json!({}), json!({ "repositoryName": null }), json!({ "registryId": "x", "imageIds": [] })]
    {
        for target in [ECR, ECR_PUBLIC] {
            let reply = wire.post(target, body.to_string()).await;
            assert_eq!((reply.status, reply.body.as_str()), (400, message));
        }
    }
}

#[tokio::test]
async fn r14_repository_name_length_is_checked_before_the_pattern() {
    let wire = Wire::start().await;
    for target in [ECR, ECR_PUBLIC] {
        let ask = async |name: &str| {
            wire.post(target, json!({ "repositoryName": name }).to_string()).await
        };
        // "é" has one character and two bytes.
        for name in ["", "a", "A", "/", " ", "é"] {
            let reply = ask(name).await;
            reply
                .assert_violates("repositoryName", "'must have length greater than or equal to 2'");
        }
        let most = if target == ECR { 256 } else { 205 };
        let too_long = format!("'must have length less than or equal to {most}'");
        for name in
            ["a".repeat(most + 1), "A".repeat(most + 1), "/".repeat(most + 1), "é".repeat(most + 1)]
        {
            ask(&name).await.assert_violates("repositoryName", &too_long);
        }
        for name in ["a".repeat(most), "ab".to_owned()] {
            ask(&name).await.assert_no_repository(&name, REGISTRY);
        }
        let pattern = if target == ECR { PRIVATE_NAME } else { PUBLIC_NAME };
        for name in ["A".repeat(most), "é".repeat(most), "aé".to_owned()] {
            ask(&name).await.assert_violates("repositoryName", pattern);
        }
    }
}

#[tokio::test]
async fn r15_repository_name_pattern() {
    let wire = Wire::start().await;
    let good = [
        "ab",
        "a1",
        "00",
        "a.b",
        "a_b",
        "a-b",
        "a/b",
        "a/b/c/d/e/f",
        "team/app.x-y_z",
        "a.b_c-d/0",
        "1/2",
    ];
    let private_only = ["a__b", "a--b", "a---b", "a------b/c", "x/a__b", "a__b--c.d_e/f"];
    let bad = [
        "a___b",
        "a_-b",
        "a-_b",
        "_a",
        "a_",
        "-a",
        "a-",
        ".a",
        "a.",
        "a..b",
        "a._b",
        "a.-b",
        "AB",
        "aB",
        "/a",
        "a/",
        "a//b",
        "a/_b",
        "a b",
        " ab",
        "ab ",
        "ab\n",
        "\nab",
        "a\0b",
        "ab\u{feff}",
        "aé",
        "äb",
        "a:b",
        "a@b",
        "a+b",
        "a%2fb",
        "a\\b",
        "../a",
        "a/../b",
        "аb",
        "１２",
        "a__",
        "a/-b",
        "a'b",
        "a\"b",
    ];
    for (target, pattern) in [(ECR, PRIVATE_NAME), (ECR_PUBLIC, PUBLIC_NAME)] {
        let ask = async |name: &str| {
            wire.post(target, json!({ "repositoryName": name }).to_string()).await
        };
        for name in good {
            ask(name).await.assert_no_repository(name, REGISTRY);
        }
        for name in private_only {
            let reply = ask(name).await;
            if target == ECR {
                reply.assert_no_repository(name, REGISTRY);
            } else {
                reply.assert_violates("repositoryName", pattern);
            }
        }
        for name in bad {
            ask(name).await.assert_violates("repositoryName", pattern);
        }
    }
}

#[tokio::test]
async fn r15_the_pattern_stands_in_the_message_with_two_closing_quotes() {
    let wire = Wire::start().await;
    assert_eq!(
        wire.ecr(json!({ "repositoryName": "_a" })).await.body,
        r#"{"__type":"InvalidParameterException","message":"Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*''"}"#
    );
    assert_eq!(
        wire.ecr_public(json!({ "repositoryName": "a__b" })).await.body,
        r#"{"__type":"InvalidParameterException","message":"Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*''"}"#
    );
}

#[tokio::test]
async fn r16_a_registry_id_has_twelve_digits() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, None).await;
    let bad = [
        "",
        "1",
        "12345678901",
        "1234567890123",
        "12345678901x",
        "x23456789012",
        " 123456789012",
        "123456789012\n",
        "1234 5678901",
        "-12345678901",
        "١٢٣٤٥٦٧٨٩٠١٢",
        "public",
    ];
    for target in [ECR, ECR_PUBLIC] {
        for id in bad {
            let request = json!({ "repositoryName": "app", "registryId": id });
            let reply = wire.post(target, request.to_string()).await;
            assert_eq!(
                reply.body,
                r#"{"__type":"InvalidParameterException","message":"Invalid parameter at 'registryId' failed to satisfy constraint: 'must satisfy regular expression [0-9]{12}'"}"#,
                "{id}"
            );
        }
        let request = json!({ "repositoryName": "app", "registryId": REGISTRY });
        assert_eq!(wire.post(target, request.to_string()).await.digests(), digests([1]));
    }
}

#[tokio::test]
async fn r17_one_to_a_hundred_image_ids() {
    let wire = Wire::start().await;
    for number in 1..=100 {
        wire.push("app", time(0), number, None).await;
    }
    let ask = async |target: &str, image_ids: Value| {
        wire.post(target, json!({ "repositoryName": "app", "imageIds": image_ids }).to_string())
            .await
    };
    let by_digest = |number: u64| json!({ "imageDigest": digest(number).as_str() });
    for target in [ECR, ECR_PUBLIC] {
        let reply = ask(target, json!([])).await;
        reply.assert_violates("imageIds", "'Member must have length greater than or equal to 1'");
        let hundred: Vec<Value> = (1..=100).rev().map(by_digest).collect();
        assert_eq!(ask(target, json!(hundred)).await.digests(), digests((1..=100).rev()));
        // Duplicates count.
        assert_eq!(ask(target, json!(vec![by_digest(7); 100])).await.digests(), digests([7]));
        let too_long = "'Member must have length less than or equal to 100'";
        for image_ids in [vec![by_digest(7); 101], vec![json!({}); 101], vec![json!(null); 5000]] {
            ask(target, json!(image_ids)).await.assert_violates("imageIds", too_long);
        }
    }
}

#[tokio::test]
async fn r18_an_image_tag_is_checked() {
    let wire = Wire::start().await;
    wire.create("app").await;
    for target in [ECR, ECR_PUBLIC] {
        let ask = async |tag: &str| {
            let request = json!({ "repositoryName": "app", "imageIds": [{ "imageTag": tag }] });
            wire.post(target, request.to_string()).await
        };
        for tag in [
            "a b", "a:b", "a@b", "a/b", "a+b", "é", "😀", "v1\n", "\n", "\0", "*", "a'b", "a\"b",
            "${x}",
        ] {
            ask(tag).await.assert_violates("imageTag", TAG_CHARACTERS);
        }
        ask("").await.assert_violates("imageTag", "'must have length greater than or equal to 1'");
        let too_long = ask(&"v".repeat(301)).await;
        too_long.assert_violates("imageTag", "'must have length less than or equal to 300'");
        // Amazon ECR's expression lets a tag begin with what the distribution specification does
        // not.
        let longest = "v".repeat(300);
        for tag in ["v1", "-", "_", ".", "..", "-v", "V1", "null", longest.as_str()] {
            ask(tag).await.assert_no_image("null", tag);
        }
    }
}

#[tokio::test]
async fn r19_an_image_digest_is_checked() {
    let wire = Wire::start().await;
    wire.create("app").await;
    for target in [ECR, ECR_PUBLIC] {
        let ask = async |digest: &str| {
            let request =
                json!({ "repositoryName": "app", "imageIds": [{ "imageDigest": digest }] });
            wire.post(target, request.to_string()).await
        };
        let bad = [
            "",
            "a",
            "a:",
            ":a",
            ":",
            "sha256",
            "sha256:",
            ":ab",
            "sha256:xyz",
            "sha256:ab:cd",
            "sha256:ab\n",
            " sha256:ab",
            "sha256: ab",
            "sha 256:ab",
            "sha256:é",
            "shä256:ab",
            "sha256:ab#",
            "sha256:a'b",
            "sha256:ａｂ",
        ];
        for digest in bad {
            ask(digest).await.assert_violates("imageDigest", DIGEST_CHARACTERS);
        }
        let sha512 = format!("sha512:{}", "a".repeat(128));
        for digest in ["sha256:00", "a:0", "+-_.:f", "sha256+b64u:0123456789abcdef", &sha512] {
            ask(digest).await.assert_no_image(digest, "null");
        }
    }
}

#[tokio::test]
async fn r19_the_expression_does_not_limit_the_length_of_a_digest() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let ask = async |digest: &str| {
        wire.ecr(json!({ "repositoryName": "app", "imageIds": [{ "imageDigest": digest }] })).await
    };
    for length in [255, 256, 5000] {
        let digest = format!("{:a<length$}", "sha256:");
        ask(&digest).await.assert_no_image(&digest, "null");
    }
    let other = format!("{:x<300}", "sha256:");
    ask(&other).await.assert_violates("imageDigest", DIGEST_CHARACTERS);
}

#[tokio::test]
async fn r20_an_image_id_names_a_tag_or_a_digest() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    for image_ids in
        [json!([{}]), json!([{ "imageTag": "v1" }, {}]), json!([null]), json!([{ "tag": "v1" }])]
    {
        for target in [ECR, ECR_PUBLIC] {
            let request = json!({ "repositoryName": "app", "imageIds": image_ids });
            let reply = wire.post(target, request.to_string()).await;
            assert_eq!(
                reply.body,
                r#"{"__type":"InvalidParameterException","message":"Invalid request parameters: both tag and digest cannot be null"}"#
            );
        }
    }
}

#[tokio::test]
async fn r21_max_results_is_1_to_1000() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, None).await;
    let ask = async |target: &str, max_results: Value| {
        let request = json!({ "repositoryName": "app", "maxResults": max_results });
        wire.post(target, request.to_string()).await
    };
    for target in [ECR, ECR_PUBLIC] {
        for good in [1, 2, 999, 1000] {
            assert_eq!(ask(target, json!(good)).await.digests(), digests([1]));
        }
        for small in [0, -1, -1000, i64::from(i32::MIN), i64::from(i32::MIN) - 1, i64::MIN] {
            let reply = ask(target, json!(small)).await;
            reply.assert_violates(
                "maxResults",
                "'Member must have value greater than or equal to 1'",
            );
        }
        for large in [
            1001,
            2000,
            i64::from(i32::MAX),
            i64::from(i32::MAX) + 1,
            1 << 32,
            (1 << 32) + 1,
            i64::MAX,
        ] {
            let reply = ask(target, json!(large)).await;
            reply.assert_violates(
                "maxResults",
                "'Member must have value less than or equal to 1000'",
            );
        }
    }
}

#[tokio::test]
async fn r21_max_results_beyond_64_bits_is_over_1000() {
    let wire = Wire::start().await;
    wire.create("app").await;
    for (number, constraint) in [
        ("9223372036854775808", "'Member must have value less than or equal to 1000'"),
        ("18446744073709551616", "'Member must have value less than or equal to 1000'"),
        (
            "100000000000000000000000000000000",
            "'Member must have value less than or equal to 1000'",
        ),
        ("-9223372036854775809", "'Member must have value greater than or equal to 1'"),
    ] {
        let body = format!(r#"{{"repositoryName":"app","maxResults":{number}}}"#);
        wire.post(ECR, body).await.assert_violates("maxResults", constraint);
    }
}

#[tokio::test]
async fn r22_image_ids_exclude_paging() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    wire.push("app", time(1), 2, None).await;
    let token = wire.ecr(json!({ "repositoryName": "app", "maxResults": 1 })).await.next_token();
    for target in [ECR, ECR_PUBLIC] {
        let ask = async |max_results: Value, next_token: Value| {
            let request = json!({
                "repositoryName": "app", "imageIds": [{ "imageTag": "v1" }],
                "maxResults": max_results, "nextToken": next_token,
            });
            wire.post(target, request.to_string()).await
        };
        let excluded = "'must not be specified when imageIds is specified'";
        ask(json!(1), json!(null)).await.assert_violates("maxResults", excluded);
        ask(json!(1000), json!("x")).await.assert_violates("maxResults", excluded);
        ask(json!(null), json!("x")).await.assert_violates("nextToken", excluded);
        ask(json!(null), json!("")).await.assert_violates("nextToken", excluded);
        ask(json!(null), json!(token)).await.assert_violates("nextToken", excluded);
        assert_eq!(ask(json!(null), json!(null)).await.digests(), digests([1]));
    }
}

#[tokio::test]
async fn r23_filters_are_enumerations() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    let ask = async |filter: Value, image_ids: Value| {
        wire.ecr(json!({ "repositoryName": "app", "filter": filter, "imageIds": image_ids })).await
    };
    for image_ids in [json!(null), json!([{ "imageTag": "v1" }])] {
        for bad in
            ["", "tagged", "Tagged", "TAGGED ", "TAGGED,UNTAGGED", "ALL", "NONE", "ACTIVE", "\u{0}"]
        {
            let reply = ask(json!({ "tagStatus": bad }), image_ids.clone()).await;
            let words = "'Member must satisfy enum value set: [TAGGED, UNTAGGED, ANY]'";
            reply.assert_violates("filter.tagStatus", words);
        }
        for bad in ["", "active", "ACTIVE ", "ALL", "TAGGED", "ARCHIVE", "DELETED"] {
            let reply = ask(json!({ "imageStatus": bad }), image_ids.clone()).await;
            let words = "'Member must satisfy enum value set: [ACTIVE, ARCHIVED, ACTIVATING, ANY]'";
            reply.assert_violates("filter.imageStatus", words);
        }
    }
    let reply = ask(json!({ "tagStatus": "x", "imageStatus": "x" }), json!(null)).await;
    let words = "'Member must satisfy enum value set: [TAGGED, UNTAGGED, ANY]'";
    reply.assert_violates("filter.tagStatus", words);
}

#[tokio::test]
async fn r8_r23_the_public_service_ignores_a_filter() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    wire.push("app", time(1), 2, None).await;
    for filter in [
        json!({ "tagStatus": "UNTAGGED" }),
        json!({ "tagStatus": "TAGGED" }),
        json!({ "tagStatus": "no such" }),
        json!({ "imageStatus": "ARCHIVED" }),
        json!({ "imageStatus": 5 }),
        json!("TAGGED"),
        json!([]),
    ] {
        let request = json!({ "repositoryName": "app", "filter": filter });
        assert_eq!(wire.ecr_public(request).await.digests(), digests([2, 1]));
        let image_ids = json!([{ "imageTag": "v1" }, { "imageDigest": digest(2).as_str() }]);
        let request = json!({ "repositoryName": "app", "filter": filter, "imageIds": image_ids });
        assert_eq!(wire.ecr_public(request).await.digests(), digests([1, 2]));
    }
    // A token holds for every filter, since no filter is part of the request.
    let request =
        json!({ "repositoryName": "app", "maxResults": 1, "filter": { "tagStatus": "TAGGED" } });
    let token = wire.ecr_public(request).await.next_token();
    let request = json!({ "repositoryName": "app", "nextToken": token });
    assert_eq!(wire.ecr_public(request).await.digests(), digests([1]));
}

// Looking up.

#[tokio::test]
async fn r24_a_repository_that_does_not_exist() {
    let wire = Wire::start().await;
    wire.create("app").await;
    assert_eq!(
        wire.ecr(json!({ "repositoryName": "no/such" })).await.body,
        r#"{"__type":"RepositoryNotFoundException","message":"The repository with name 'no/such' does not exist in the registry with id '123456789012'"}"#
    );
    for target in [ECR, ECR_PUBLIC] {
        for image_ids in [json!(null), json!([{ "imageTag": "v1" }])] {
            let ask = async |name: &str, registry: Value| {
                let request = json!({ "repositoryName": name, "registryId": registry, "imageIds": image_ids });
                wire.post(target, request.to_string()).await
            };
            ask("no-such", json!(null)).await.assert_no_repository("no-such", REGISTRY);
            ask("app/x", json!(null)).await.assert_no_repository("app/x", REGISTRY);
            ask("ap", json!(null)).await.assert_no_repository("ap", REGISTRY);
            ask("app", json!("210987654321")).await.assert_no_repository("app", "210987654321");
        }
    }
    // It is gone as soon as it is deleted.
    wire.push("app", time(1), 1, Some("v1")).await;
    wire.apply(&repository("app"), time(2), ChangeKind::RepositoryDeleted).await;
    for image_ids in
        [json!(null), json!([{ "imageTag": "v1" }]), json!([{ "imageDigest": digest(1).as_str() }])]
    {
        let reply = wire.ecr(json!({ "repositoryName": "app", "imageIds": image_ids })).await;
        reply.assert_no_repository("app", REGISTRY);
    }
}

#[tokio::test]
async fn r24_registries_are_apart() {
    let wire = Wire::start().await;
    let elsewhere = Repository {
        registry: RegistryId::parse("210987654321").unwrap(),
        name: RepositoryName::parse("app").unwrap(),
    };
    wire.push("app", time(0), 1, Some("v1")).await;
    wire.apply(&elsewhere, time(0), pushed(2, Some("v1"), Content::default())).await;
    for (registry, number) in [(json!(null), 1), (json!(REGISTRY), 1), (json!("210987654321"), 2)] {
        for image_ids in [json!(null), json!([{ "imageTag": "v1" }])] {
            let request =
                json!({ "repositoryName": "app", "registryId": registry, "imageIds": image_ids });
            let image = wire.ecr(request).await.image();
            assert_eq!(image["imageDigest"], digest(number).as_str());
            let shown = if number == 1 { REGISTRY } else { "210987654321" };
            assert_eq!(image["registryId"], shown);
        }
    }
}

#[tokio::test]
async fn r25_an_image_that_does_not_exist() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    let no_such = format!("sha256:{}", "ab".repeat(32));
    for target in [ECR, ECR_PUBLIC] {
        let ask = async |image_id: Value| {
            wire.post(
                target,
                json!({ "repositoryName": "app", "imageIds": [image_id] }).to_string(),
            )
            .await
        };
        ask(json!({ "imageTag": "x" })).await.assert_no_image("null", "x");
        ask(json!({ "imageTag": "null" })).await.assert_no_image("null", "null");
        ask(json!({ "imageDigest": no_such })).await.assert_no_image(&no_such, "null");
        let reply = ask(json!({ "imageTag": "x", "imageDigest": no_such })).await;
        reply.assert_no_image(&no_such, "x");
        assert_eq!(
            reply.json["message"],
            "The image with imageId {imageDigest:'sha256:abababababababababababababababababababababababababababababababab', \
             imageTag:'x'} does not exist within the repository with name 'app' in the registry with id '123456789012'"
        );
        // Part of a digest is another digest.
        ask(json!({ "imageDigest": "sha256:00" })).await.assert_no_image("sha256:00", "null");
    }
}

#[tokio::test]
async fn r25_deleted_images_and_tags_do_not_exist() {
    let wire = Wire::start().await;
    let app = repository("app");
    wire.push("app", time(0), 1, Some("v1")).await;
    wire.push("app", time(0), 2, Some("v2")).await;
    wire.push("app", time(1), 3, Some("v3")).await;
    wire.apply(&app, time(2), ChangeKind::ImageDeleted { digest: digest(1) }).await;
    wire.apply(&app, time(2), ChangeKind::TagDeleted { tag: tag("v2") }).await;
    let kind = ChangeKind::ImageUntagged { digest: digest(3), tag: tag("v3") };
    wire.apply(&app, time(2), kind).await;
    let ask = async |image_id: Value| {
        wire.ecr(json!({ "repositoryName": "app", "imageIds": [image_id] })).await
    };
    for tag in ["v1", "v2", "v3"] {
        ask(json!({ "imageTag": tag })).await.assert_no_image("null", tag);
    }
    for number in [1, 3] {
        let digest = digest(number);
        let reply = ask(json!({ "imageDigest": digest.as_str() })).await;
        reply.assert_no_image(digest.as_str(), "null");
    }
    assert_eq!(
        ask(json!({ "imageDigest": digest(2).as_str() })).await.image().get("imageTags"),
        None
    );
}

#[tokio::test]
async fn r26_the_first_image_not_found_fails_the_request() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    let known = json!({ "imageTag": "v1" });
    let (first, second) = (json!({ "imageTag": "x" }), json!({ "imageTag": "a" }));
    for image_ids in [
        json!([first, known]),
        json!([known, first]),
        json!([known, first, second]),
        json!([first, second, known]),
        json!([known, known, first, { "imageDigest": "sha256:00" }]),
    ] {
        for target in [ECR, ECR_PUBLIC] {
            let request = json!({ "repositoryName": "app", "imageIds": image_ids });
            wire.post(target, request.to_string()).await.assert_no_image("null", "x");
        }
    }
    let mut image_ids = vec![known; 100];
    image_ids[99] = json!({ "imageDigest": "sha256:00" });
    let reply = wire.ecr(json!({ "repositoryName": "app", "imageIds": image_ids })).await;
    reply.assert_no_image("sha256:00", "null");
}

#[tokio::test]
async fn r27_a_tag_and_a_digest_must_fit() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    wire.push("app", time(0), 2, Some("v2")).await;
    wire.push("app", time(1), 3, Some("moved")).await;
    wire.push("app", time(2), 4, Some("moved")).await;
    for target in [ECR, ECR_PUBLIC] {
        let ask = async |number: u64, tag: &str| {
            let image_id = json!({ "imageDigest": digest(number).as_str(), "imageTag": tag });
            wire.post(
                target,
                json!({ "repositoryName": "app", "imageIds": [image_id] }).to_string(),
            )
            .await
        };
        assert_eq!(ask(1, "v1").await.digests(), digests([1]));
        assert_eq!(ask(4, "moved").await.digests(), digests([4]));
        for (number, tag) in
            [(1, "v2"), (2, "v1"), (1, "no-such"), (9, "v1"), (9, "no-such"), (3, "moved")]
        {
            ask(number, tag).await.assert_no_image(digest(number).as_str(), tag);
        }
    }
}

#[tokio::test]
async fn r28_images_come_once_in_the_order_asked_with_all_their_tags() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    wire.push("app", time(1), 1, Some("latest")).await;
    wire.push("app", time(2), 2, Some("v2")).await;
    wire.push("app", time(3), 3, None).await;
    let by_digest = |number: u64| json!({ "imageDigest": digest(number).as_str() });
    let by_tag = |tag: &str| json!({ "imageTag": tag });
    let both =
        |number: u64, tag: &str| json!({ "imageDigest": digest(number).as_str(), "imageTag": tag });
    let upper = json!({ "imageDigest": digest(1).as_str().to_uppercase() });
    for target in [ECR, ECR_PUBLIC] {
        for (image_ids, expected) in [
            (json!([by_digest(1), by_digest(2), by_digest(3)]), vec![1, 2, 3]),
            (json!([by_digest(3), by_tag("v2"), by_tag("v1")]), vec![3, 2, 1]),
            (json!([by_tag("v1"), by_tag("v1")]), vec![1]),
            (json!([by_tag("latest"), by_tag("v1"), by_digest(1), upper, both(1, "v1")]), vec![1]),
            (
                json!([by_tag("v2"), by_digest(1), by_digest(2), by_tag("latest"), by_digest(3)]),
                vec![2, 1, 3],
            ),
        ] {
            let request = json!({ "repositoryName": "app", "imageIds": image_ids });
            let reply = wire.post(target, request.to_string()).await;
            assert_eq!(reply.digests(), digests(expected.clone()));
            assert_eq!(reply.next_token(), None);
            for (image, number) in reply.images().iter().zip(expected) {
                let tags = [json!(["latest", "v1"]), json!(["v2"]), json!(null)];
                let given = image.get("imageTags").cloned().unwrap_or_default();
                assert_eq!(given, tags[usize::try_from(number).unwrap() - 1]);
            }
        }
    }
}

#[tokio::test]
async fn r29_a_filter_leaves_out_requested_images() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("tagged")).await;
    wire.push("app", time(0), 2, None).await;
    wire.push("app", time(0), 3, Some("archived")).await;
    wire.apply(&repository("app"), time(1), ChangeKind::ImageArchived { digest: digest(3) }).await;
    let image_ids: Vec<Value> =
        (1..=3).map(|number| json!({ "imageDigest": digest(number).as_str() })).collect();
    let ask = async |filter: Value| {
        wire.ecr(json!({ "repositoryName": "app", "imageIds": image_ids, "filter": filter })).await
    };
    for (filter, expected) in [
        (json!(null), vec![1, 2, 3]),
        (json!({}), vec![1, 2, 3]),
        (json!({ "tagStatus": null, "imageStatus": null }), vec![1, 2, 3]),
        (json!({ "imageStatus": "ANY" }), vec![1, 2, 3]),
        (json!({ "imageStatus": "ACTIVE" }), vec![1, 2]),
        (json!({ "imageStatus": "ARCHIVED" }), vec![3]),
        (json!({ "imageStatus": "ACTIVATING" }), vec![]),
        (json!({ "tagStatus": "ANY" }), vec![1, 2, 3]),
        (json!({ "tagStatus": "TAGGED" }), vec![1, 3]),
        (json!({ "tagStatus": "UNTAGGED" }), vec![2]),
        (json!({ "tagStatus": "TAGGED", "imageStatus": "ACTIVE" }), vec![1]),
        (json!({ "tagStatus": "UNTAGGED", "imageStatus": "ARCHIVED" }), vec![]),
    ] {
        assert_eq!(ask(filter.clone()).await.digests(), digests(expected), "{filter}");
    }
    // What does not exist is an error, whatever the filter.
    let request = json!({
        "repositoryName": "app", "imageIds": [{ "imageTag": "no-such" }], "filter": { "tagStatus": "UNTAGGED" },
    });
    wire.ecr(request).await.assert_no_image("null", "no-such");
}

#[tokio::test]
async fn r30_a_listing_is_filtered() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let statuses = [ImageStatus::Active, ImageStatus::Archived, ImageStatus::Activating];
    let images = statuses.iter().flat_map(|status| [(*status, &[][..]), (*status, &["v1", "v2"])]);
    let rows: Vec<Row> = (1..)
        .zip(images)
        .map(|(number, (status, tags))| Row::new(number, time(0), status, tags))
        .collect();
    put_rows(wire.store(), &repository("app"), &rows).await;
    // Of two images each the odd one has no tag.
    for (filter, expected) in [
        (json!(null), vec![1, 2]),
        (json!({}), vec![1, 2]),
        (json!({ "imageStatus": "ACTIVE" }), vec![1, 2]),
        (json!({ "imageStatus": "ARCHIVED" }), vec![3, 4]),
        (json!({ "imageStatus": "ACTIVATING" }), vec![5, 6]),
        (json!({ "imageStatus": "ANY" }), vec![1, 2, 3, 4, 5, 6]),
        (json!({ "tagStatus": "ANY" }), vec![1, 2]),
        (json!({ "tagStatus": "TAGGED" }), vec![2]),
        (json!({ "tagStatus": "UNTAGGED" }), vec![1]),
        (json!({ "tagStatus": "TAGGED", "imageStatus": "ANY" }), vec![2, 4, 6]),
        (json!({ "tagStatus": "UNTAGGED", "imageStatus": "ANY" }), vec![1, 3, 5]),
        (json!({ "tagStatus": "TAGGED", "imageStatus": "ARCHIVED" }), vec![4]),
        (json!({ "tagStatus": "UNTAGGED", "imageStatus": "ACTIVATING" }), vec![5]),
    ] {
        let reply = wire.ecr(json!({ "repositoryName": "app", "filter": filter })).await;
        assert_eq!(reply.digests(), digests(expected), "{filter}");
    }
}

#[tokio::test]
async fn r30_an_image_changes_sides_with_its_tags_and_its_status() {
    let wire = Wire::start().await;
    let app = repository("app");
    let sides = async || {
        let mut sides = Vec::new();
        for (tag_status, image_status) in [
            ("TAGGED", "ACTIVE"),
            ("UNTAGGED", "ACTIVE"),
            ("TAGGED", "ARCHIVED"),
            ("UNTAGGED", "ARCHIVED"),
        ] {
            let filter = json!({ "tagStatus": tag_status, "imageStatus": image_status });
            let reply = wire.ecr(json!({ "repositoryName": "app", "filter": filter })).await;
            sides.extend(reply.digests().into_iter().map(|_| (tag_status, image_status)));
        }
        sides
    };
    wire.push("app", time(0), 1, None).await;
    assert_eq!(sides().await, [("UNTAGGED", "ACTIVE")]);
    wire.push("app", time(1), 1, Some("v1")).await;
    assert_eq!(sides().await, [("TAGGED", "ACTIVE")]);
    wire.apply(&app, time(2), ChangeKind::ImageArchived { digest: digest(1) }).await;
    assert_eq!(sides().await, [("TAGGED", "ARCHIVED")]);
    wire.apply(&app, time(3), ChangeKind::TagDeleted { tag: tag("v1") }).await;
    assert_eq!(sides().await, [("UNTAGGED", "ARCHIVED")]);
    let kind = ChangeKind::ImageRestored { digest: digest(1), activated_at: time(4) };
    wire.apply(&app, time(4), kind).await;
    assert_eq!(sides().await, [("UNTAGGED", "ACTIVE")]);
}

#[tokio::test]
async fn r31_tags_have_a_case_and_digests_have_none() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 0xabc, Some("latest")).await;
    wire.push("app", time(1), 2, Some("Latest")).await;
    for target in [ECR, ECR_PUBLIC] {
        let ask = async |image_id: Value| {
            wire.post(
                target,
                json!({ "repositoryName": "app", "imageIds": [image_id] }).to_string(),
            )
            .await
        };
        assert_eq!(ask(json!({ "imageTag": "latest" })).await.digests(), digests([0xabc]));
        assert_eq!(ask(json!({ "imageTag": "Latest" })).await.digests(), digests([2]));
        ask(json!({ "imageTag": "LATEST" })).await.assert_no_image("null", "LATEST");
        ask(json!({ "imageTag": "lates" })).await.assert_no_image("null", "lates");
        let upper = digest(0xabc).as_str().to_uppercase();
        let mixed = upper.replace("SHA", "sha");
        for written in [&upper, &mixed] {
            assert_eq!(ask(json!({ "imageDigest": written })).await.digests(), digests([0xabc]));
            let both = json!({ "imageDigest": written, "imageTag": "latest" });
            assert_eq!(ask(both).await.digests(), digests([0xabc]));
        }
    }
}

#[tokio::test]
async fn r31_a_digest_that_was_pushed_in_upper_case_is_stored_in_lower_case() {
    let wire = Wire::start().await;
    let event = sample("aws-ecr/image-action-push.json").replace("us-west-2", "us-east-1");
    let written = "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd1234";
    assert!(event.contains(written));
    let upper = written.replace("abcd", "ABCD").replace("fb", "FB");
    wire.ingest("/events/ecr", event.replace(written, &upper)).await;
    let ask = async |image_ids: Value| {
        wire.ecr(json!({ "repositoryName": "my-repository-name", "imageIds": image_ids })).await
    };
    assert_eq!(ask(json!(null)).await.digests(), [written]);
    assert_eq!(ask(json!([{ "imageDigest": written }])).await.digests(), [written]);
    assert_eq!(ask(json!([{ "imageDigest": upper }])).await.digests(), [written]);
    // The same image, not another one.
    wire.ingest("/events/ecr", event).await;
    assert_eq!(ask(json!(null)).await.digests(), [written]);
}

// Paging and order.

#[tokio::test]
async fn r32_a_page_has_100_results_by_default_and_1000_at_most() {
    let wire = Wire::start().await;
    for (name, count) in
        [("app-99", 99), ("app-100", 100), ("app-101", 101), ("app-1000", 1000), ("app-1001", 1001)]
    {
        wire.create(name).await;
        let rows: Vec<Row> =
            (0..count).map(|number| Row::new(number, time(0), ImageStatus::Active, &[])).collect();
        put_rows(wire.store(), &repository(name), &rows).await;
    }
    let page =
        async |target: &str, name: &str, max_results: Option<usize>, token: Option<String>| {
            let request =
                json!({ "repositoryName": name, "maxResults": max_results, "nextToken": token });
            let reply = wire.post(target, request.to_string()).await;
            (reply.images().len(), reply.next_token())
        };
    for target in [ECR, ECR_PUBLIC] {
        assert_eq!(page(target, "app-99", None, None).await, (99, None));
        assert_eq!(page(target, "app-100", None, None).await, (100, None));
        let (length, token) = page(target, "app-101", None, None).await;
        assert_eq!(length, 100);
        assert!(token.is_some());
        assert_eq!(page(target, "app-101", None, token).await, (1, None));
        assert_eq!(page(target, "app-1000", Some(1000), None).await, (1000, None));
        let (length, token) = page(target, "app-1001", Some(1000), None).await;
        assert_eq!(length, 1000);
        assert!(token.is_some());
        assert_eq!(page(target, "app-1001", Some(1000), token).await, (1, None));
        let (length, token) = page(target, "app-1001", Some(1), None).await;
        assert_eq!((length, token.is_some()), (1, true));
    }
}

#[tokio::test]
async fn r33_pages_are_exact_also_under_a_filter_and_at_an_exact_multiple() {
    let wire = Wire::start().await;
    wire.create("app").await;
    // One in six passes the narrowest filter, and these are far apart.
    let rows: Vec<Row> = (0..72)
        .map(|number| {
            let status = ImageStatus::ALL[usize::try_from(number % 3).unwrap()];
            let tags: &[&str] = if number % 2 == 0 { &["v1"] } else { &[] };
            Row::new(number, time(i64::try_from(number / 5).unwrap()), status, tags)
        })
        .collect();
    put_rows(wire.store(), &repository("app"), &rows).await;
    for (filter, count) in [
        (json!({ "imageStatus": "ANY" }), 72),
        (json!({}), 24),
        (json!({ "tagStatus": "TAGGED", "imageStatus": "ANY" }), 36),
        (json!({ "tagStatus": "UNTAGGED", "imageStatus": "ARCHIVED" }), 12),
    ] {
        let request = json!({ "repositoryName": "app", "filter": filter });
        for size in [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 24, 36, 71, 72, 73] {
            let pages = pages(&wire, ECR, &request, &[Some(size)]).await;
            let lengths: Vec<usize> = pages.iter().map(|page| page.images().len()).collect();
            let mut expected = vec![size; count / size];
            expected.extend((count % size > 0).then_some(count % size));
            assert_eq!(lengths, expected, "{filter} by {size}");
        }
    }
}

#[tokio::test]
async fn r34_the_newest_come_first_and_equal_milliseconds_go_by_digest() {
    let wire = Wire::start().await;
    // Within a millisecond the time makes no difference, though it is kept.
    for (pushed_at, number) in [
        ("2026-01-01T00:00:00.001Z", 0x30),
        ("2026-01-01T00:00:00.001000001Z", 0x20),
        ("2026-01-01T00:00:00.001999999Z", 0x40),
        ("2026-01-01T00:00:00.001500000Z", 0x10),
        ("2026-01-01T00:00:00.002Z", 0xff),
        ("2026-01-01T00:00:00.000999999Z", 0x01),
        ("2025-12-31T23:59:59.999Z", 0x02),
        ("2026-01-01T01:00:00+01:00", 0x03),
        ("1969-12-31T23:59:59.999Z", 0x04),
        ("2030-01-01T00:00:00Z", 0x05),
    ] {
        wire.push("app", at(pushed_at), number, None).await;
    }
    let expected = digests([0x05, 0xff, 0x10, 0x20, 0x30, 0x40, 0x01, 0x03, 0x02, 0x04]);
    for target in [ECR, ECR_PUBLIC] {
        let request = json!({ "repositoryName": "app" });
        assert_eq!(wire.post(target, request.to_string()).await.digests(), expected);
        for size in 1..=11 {
            let pages = pages(&wire, target, &request, &[Some(size)]).await;
            let joined: Vec<String> = pages.iter().flat_map(Reply::digests).collect();
            assert_eq!(joined, expected, "by {size}");
        }
    }
    let latest = wire.ecr(json!({ "repositoryName": "app", "maxResults": 1 })).await;
    assert_eq!(latest.digests(), digests([0x05]), "the latest image");
}

#[tokio::test]
async fn r34_digests_of_any_length_and_algorithm_are_in_byte_order_across_pages() {
    let wire = Wire::start().await;
    // The one is the beginning of the other, and '+' and '-' come before ':'.
    let mut written = [
        "a:0",
        "a:00",
        "a:0a",
        "a:1",
        "a+b:0",
        "a-b:0",
        "a.b:0",
        "a_b:0",
        "aa:0",
        "sha256:aa",
        "sha256:aaa",
        "sha512:aa",
    ];
    for digest in written.iter().rev() {
        let kind = ChangeKind::ImagePushed {
            digest: Digest::parse(digest).unwrap(),
            tag: None,
            content: Content::default(),
        };
        wire.apply(&repository("app"), time(0), kind).await;
    }
    written.sort_unstable();
    for size in 1..=13 {
        let pages = pages(&wire, ECR, &json!({ "repositoryName": "app" }), &[Some(size)]).await;
        let joined: Vec<String> = pages.iter().flat_map(Reply::digests).collect();
        assert_eq!(joined, written, "by {size}");
    }
}

/// A repository `app` of four images, and the first token of its listing by one.
async fn listed() -> (Wire, String) {
    let wire = Wire::start().await;
    for number in 1..=4 {
        wire.push("app", time(0), number, None).await;
    }
    let token =
        wire.ecr(json!({ "repositoryName": "app", "maxResults": 1 })).await.next_token().unwrap();
    (wire, token)
}

#[tokio::test]
async fn r35_a_token_is_opaque_url_safe_and_short() {
    let wire = Wire::start().await;
    let longest_name = "a".repeat(256);
    let longest_digest = Digest::parse(&format!("{:a<255}", "sha256:")).unwrap();
    for number in 0..2 {
        let digest = if number == 0 { longest_digest.clone() } else { digest(number) };
        let kind = ChangeKind::ImagePushed { digest, tag: None, content: Content::default() };
        wire.apply(&repository(&longest_name), time(1 - i64::try_from(number).unwrap()), kind)
            .await;
    }
    let mut tokens = BTreeSet::new();
    for _ in 0..10 {
        let page = wire.ecr(json!({ "repositoryName": longest_name, "maxResults": 1 })).await;
        assert_eq!(page.digests(), [longest_digest.as_str()]);
        let token = page.next_token().unwrap();
        assert!(token.len() < 1024, "{}", token.len());
        let is_url_safe =
            |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
        assert!(token.chars().all(is_url_safe), "{token}");
        // The position is not to be read in it, neither as it is nor in Base64.
        assert!(!token.contains("aaaaaaaa") && !token.contains("YWFhYWFh"), "{token}");
        let request = json!({ "repositoryName": longest_name, "nextToken": token });
        assert_eq!(wire.ecr(request).await.digests(), digests([1]));
        tokens.insert(token);
    }
    assert_eq!(tokens.len(), 10, "equal positions make different tokens");
}

#[tokio::test]
async fn r35_a_token_may_be_used_twice_and_with_another_page_size() {
    let (wire, token) = listed().await;
    let ask = async |max_results: Value| {
        wire.ecr(json!({ "repositoryName": "app", "nextToken": token, "maxResults": max_results }))
            .await
    };
    for _ in 0..2 {
        assert_eq!(ask(json!(null)).await.digests(), digests([2, 3, 4]));
        assert_eq!(ask(json!(1)).await.digests(), digests([2]));
        assert_eq!(ask(json!(3)).await.digests(), digests([2, 3, 4]));
        assert_eq!(ask(json!(1000)).await.digests(), digests([2, 3, 4]));
        let page = ask(json!(2)).await;
        assert_eq!(page.digests(), digests([2, 3]));
        let request = json!({ "repositoryName": "app", "nextToken": page.next_token() });
        assert_eq!(wire.ecr(request).await.digests(), digests([4]));
    }
}

#[tokio::test]
async fn r35_a_token_belongs_to_service_registry_and_repository() {
    let wire = Wire::start().await;
    let repository = |registry: &str, name: &str| Repository {
        registry: RegistryId::parse(registry).unwrap(),
        name: RepositoryName::parse(name).unwrap(),
    };
    // All have the same images, so that only the token can tell them apart.
    let repositories = [
        (REGISTRY, "app"),
        (REGISTRY, "ap"),
        (REGISTRY, "app/app"),
        ("210987654321", "app"),
        ("210987654321", "ap"),
    ];
    let mut tokens = Vec::new();
    for (registry, name) in repositories {
        for number in 1..=2 {
            let kind = pushed(number, None, Content::default());
            wire.apply(&repository(registry, name), time(0), kind).await;
        }
        for target in [ECR, ECR_PUBLIC] {
            let request =
                json!({ "repositoryName": name, "registryId": registry, "maxResults": 1 });
            let token = wire.post(target, request.to_string()).await.next_token().unwrap();
            tokens.push((target, registry, name, token));
        }
    }
    for (of_target, of_registry, of_name, token) in &tokens {
        for (target, registry, name, _) in &tokens {
            let request =
                json!({ "repositoryName": name, "registryId": registry, "nextToken": token });
            let reply = wire.post(target, request.to_string()).await;
            if (of_target, of_registry, of_name) == (target, registry, name) {
                assert_eq!(reply.digests(), digests([2]));
            } else {
                reply.assert_invalid(INVALID_TOKEN);
            }
        }
    }
    // The default registry is the same one, named or not.
    let request = json!({ "repositoryName": "app", "nextToken": tokens[0].3 });
    assert_eq!(wire.ecr(request).await.digests(), digests([2]));
}

#[tokio::test]
async fn r35_a_token_belongs_to_its_filter() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let rows: Vec<Row> = (0..12)
        .map(|number| {
            let status = ImageStatus::ALL[usize::try_from(number % 3).unwrap()];
            Row::new(number, time(0), status, if number % 2 == 0 { &["v1"] } else { &[] })
        })
        .collect();
    put_rows(wire.store(), &repository("app"), &rows).await;
    let filters: Vec<(&str, &str)> = ["TAGGED", "UNTAGGED", "ANY"]
        .into_iter()
        .flat_map(|tags| ["ACTIVE", "ARCHIVED", "ACTIVATING", "ANY"].map(|status| (tags, status)))
        .collect();
    let ask = async |filter: Value, token: Option<&str>| {
        wire.ecr(json!({ "repositoryName": "app", "filter": filter, "maxResults": 1, "nextToken": token }))
            .await
    };
    let filter = |(tags, status): (&str, &str)| json!({ "tagStatus": tags, "imageStatus": status });
    for of in &filters {
        let token = ask(filter(*of), None).await.next_token().unwrap();
        for with in &filters {
            let reply = ask(filter(*with), Some(&token)).await;
            if of == with {
                assert_eq!(reply.status, 200, "{of:?}");
            } else {
                reply.assert_invalid(INVALID_TOKEN);
            }
        }
        // What is left out means the default, also here.
        for (shorter, same_as) in [
            (json!(null), ("ANY", "ACTIVE")),
            (json!({}), ("ANY", "ACTIVE")),
            (json!({ "tagStatus": "TAGGED" }), ("TAGGED", "ACTIVE")),
            (json!({ "imageStatus": "ANY" }), ("ANY", "ANY")),
        ] {
            let status = ask(shorter, Some(&token)).await.status;
            assert_eq!(status, if *of == same_as { 200 } else { 400 });
        }
    }
}

#[tokio::test]
async fn r35_a_token_with_any_bit_changed_is_refused() {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (wire, token) = listed().await;
    let mut altered = Vec::new();
    for index in 0..token.len() {
        let character = token.as_bytes()[index];
        let replace = |other: char| format!("{}{other}{}", &token[..index], &token[index + 1..]);
        // The bits of the text, and the bits that the text stands for: those of the last character
        // that stand for nothing, too.
        altered.extend((0..8).map(|bit| replace(char::from(character ^ (1 << bit)))));
        let value = ALPHABET.iter().position(|other| *other == character).unwrap();
        altered.extend((0..6).map(|bit| replace(char::from(ALPHABET[value ^ (1 << bit)]))));
    }
    assert!(altered.len() > 2000);
    for altered in altered {
        assert_ne!(altered, token);
        let reply = wire.ecr(json!({ "repositoryName": "app", "nextToken": altered })).await;
        reply.assert_invalid(INVALID_TOKEN);
    }
    assert_eq!(wire.ecr(json!({ "repositoryName": "app", "nextToken": token })).await.status, 200);
}

#[tokio::test]
async fn r35_whatever_else_is_no_token_is_refused_with_the_same_error() {
    let (wire, token) = listed().await;
    let page = wire.ecr(json!({ "repositoryName": "app", "maxResults": 2 })).await;
    let other_token = page.next_token().unwrap();
    let (half, rest) = token.split_at(token.len() / 2);
    let mut bad = vec![
        String::new(),
        " ".to_owned(),
        "x".to_owned(),
        "null".to_owned(),
        "é".to_owned(),
        "\0".to_owned(),
        "-1".to_owned(),
        digest(1).to_string(),
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        format!("{token}="),
        format!("{token}=="),
        format!("{token}A"),
        format!("{token}AAAA"),
        format!("A{token}"),
        format!("{token}{token}"),
        format!("{half}{}", &other_token[half.len()..]),
        format!("{half} {rest}"),
        token.to_uppercase(),
        token.to_lowercase(),
        token.chars().rev().collect(),
        "A".repeat(token.len()),
        "A".repeat(1024),
        "A".repeat(1025),
        "A".repeat(500_000),
        "é".repeat(100_000),
    ];
    bad.extend((1..token.len()).map(|length| token[..length].to_owned()));
    for target in [ECR, ECR_PUBLIC] {
        for token in &bad {
            let request = json!({ "repositoryName": "app", "nextToken": token });
            wire.post(target, request.to_string()).await.assert_invalid(INVALID_TOKEN);
        }
    }
    let request = json!({ "repositoryName": "app", "nextToken": "" });
    assert_eq!(
        wire.ecr(request).await.body,
        r#"{"__type":"InvalidParameterException","message":"Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'"}"#
    );
}

#[tokio::test]
async fn r35_tokens_outlive_restarts_and_new_keys_but_not_the_removal_of_their_key() {
    let (old, new) = (Keyring::generate_key().unwrap(), Keyring::generate_key().unwrap());
    let store = Store::in_memory().await;
    let restart = async |keys: String| Wire::of(Catalog::start_with(store.clone(), &keys).await);
    let go_on = async |wire: &Wire, token: &str| {
        wire.ecr(json!({ "repositoryName": "app", "maxResults": 1, "nextToken": token })).await
    };
    let before = restart(old.clone()).await;
    for number in 1..=3 {
        before.push("app", time(0), number, None).await;
    }
    let request = json!({ "repositoryName": "app", "maxResults": 1 });
    let token = before.ecr(request.clone()).await.next_token().unwrap();
    drop(before);

    assert_eq!(
        go_on(&restart(old.clone()).await, &token).await.digests(),
        digests([2]),
        "restarted"
    );
    let rotated = restart(format!("{new}{old}")).await;
    let page = go_on(&rotated, &token).await;
    assert_eq!(page.digests(), digests([2]), "with a new key before the old one");
    let new_token = page.next_token().unwrap();
    let removed = restart(new.clone()).await;
    go_on(&removed, &token).await.assert_invalid(INVALID_TOKEN);
    assert_eq!(go_on(&removed, &new_token).await.digests(), digests([3]), "the first key seals");
    let back = restart(old).await;
    go_on(&back, &new_token).await.assert_invalid(INVALID_TOKEN);
    assert_eq!(go_on(&back, &token).await.digests(), digests([2]));
}

/// An image of a random repository.
#[derive(Debug, Clone)]
struct Known {
    nanoseconds: u32,
    tagged: bool,
    archived: bool,
}

impl Known {
    /// Few milliseconds, so that pages end between images of one of them.
    fn any() -> impl Strategy<Value = Self> {
        (0..3_u32, select(vec![0_u32, 1, 999_999]), any::<bool>(), proptest::bool::weighted(0.3))
            .prop_map(|(milliseconds, rest, tagged, archived)| Self {
                nanoseconds: milliseconds * 1_000_000 + rest,
                tagged,
                archived,
            })
    }

    async fn put(&self, wire: &Wire, name: &str, number: u64) {
        let pushed_at = at(&format!("2026-01-01T00:00:00.{:09}Z", self.nanoseconds));
        let tag_name = format!("v{number}");
        wire.push(name, pushed_at, number, self.tagged.then_some(tag_name.as_str())).await;
        if self.archived {
            let kind = ChangeKind::ImageArchived { digest: digest(number) };
            wire.apply(&repository(name), time(50), kind).await;
        }
    }

    /// Whether it passes a filter, and where it then stands.
    fn listed(&self, number: u64, filter: &Value) -> Option<(Reverse<u32>, u64)> {
        let passes = |wanted: &Value, default: &str, is: &str| {
            let wanted = wanted.as_str().unwrap_or(default);
            wanted == "ANY" || wanted == is
        };
        let tag_status = if self.tagged { "TAGGED" } else { "UNTAGGED" };
        let image_status = if self.archived { "ARCHIVED" } else { "ACTIVE" };
        let is_listed = passes(&filter["tagStatus"], "ANY", tag_status)
            && passes(&filter["imageStatus"], "ACTIVE", image_status);
        is_listed.then_some((Reverse(self.nanoseconds / 1_000_000), number))
    }
}

fn any_filter() -> impl Strategy<Value = Value> {
    let tag_status = select(vec![json!(null), json!("ANY"), json!("TAGGED"), json!("UNTAGGED")]);
    let image_status = select(vec![json!(null), json!("ANY"), json!("ACTIVE"), json!("ARCHIVED")]);
    (tag_status, image_status).prop_map(
        |(tag_status, image_status)| json!({ "tagStatus": tag_status, "imageStatus": image_status }),
    )
}

/// What happens to a repository between two pages.
#[derive(Debug, Clone)]
enum Between {
    /// An image is pushed that was not there before.
    New(Known),
    /// An image is deleted.
    Delete(Index),
    /// The image is deleted that the token stands at.
    DeleteLast,
    /// It is deleted and pushed again, and so is now the newest.
    Renew,
}

fn any_between() -> impl Strategy<Value = Vec<Between>> {
    let between = prop_oneof![
        3 => Known::any().prop_map(Between::New),
        2 => any::<Index>().prop_map(Between::Delete),
        2 => Just(Between::DeleteLast),
        1 => Just(Between::Renew),
    ];
    vec(between, 0..3)
}

#[derive(Debug, Clone)]
struct Listing {
    images: BTreeMap<u64, Known>,
    filter: Value,
    /// They take turns.
    page_sizes: Vec<usize>,
    /// How many items DynamoDB gives at once.
    most_items: u64,
    /// They take turns.
    between: Vec<Vec<Between>>,
}

fn any_listing(
    between: impl Strategy<Value = Vec<Vec<Between>>>,
) -> impl Strategy<Value = Listing> {
    let images = btree_map((0..40_u64).prop_map(|number| 2 * number), Known::any(), 0..16);
    (images, any_filter(), vec(1..6_usize, 1..4), 1..5_u64, between).prop_map(
        |(images, filter, page_sizes, most_items, between)| Listing {
            images,
            filter,
            page_sizes,
            most_items,
            between,
        },
    )
}

/// Runs a property on a catalog whose DynamoDB gives as few items at once as the listing says; each
/// case has a repository of its own.
fn check_listings(
    cases: u32,
    listings: &impl Strategy<Value = Listing>,
    property: impl AsyncFn(&Wire, &str, &Listing),
) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let most_items = Arc::new(AtomicU64::new(u64::MAX));
    let wire = runtime.block_on(giving_few(Arc::clone(&most_items)));
    let number = AtomicUsize::new(0);
    let configuration =
        Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let result = TestRunner::new(configuration).run(listings, |listing| {
        let name = format!("listing-{}", number.fetch_add(1, Ordering::Relaxed));
        most_items.store(listing.most_items, Ordering::Relaxed);
        runtime.block_on(async {
            wire.create(&name).await;
            for (number, known) in &listing.images {
                known.put(&wire, &name, *number).await;
            }
            property(&wire, &name, &listing).await;
        });
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// The digests that a plain filter and sort of a list give.
fn expected(images: &BTreeMap<u64, Known>, filter: &Value) -> Vec<String> {
    let mut listed: Vec<_> =
        images.iter().filter_map(|(number, known)| known.listed(*number, filter)).collect();
    listed.sort_unstable();
    digests(listed.into_iter().map(|(_, number)| number))
}

#[test]
fn r30_r33_r34_joined_pages_equal_a_plain_filter_and_sort() {
    check_listings(200, &any_listing(Just(Vec::new())), async |wire, name, listing| {
        let request = json!({ "repositoryName": name, "filter": listing.filter });
        let sizes: Vec<Option<usize>> = listing.page_sizes.iter().copied().map(Some).collect();
        let pages = pages(wire, ECR, &request, &sizes).await;
        let joined: Vec<String> = pages.iter().flat_map(Reply::digests).collect();
        assert_eq!(joined, expected(&listing.images, &listing.filter));
        let (last, full) = pages.split_last().unwrap();
        for (page, size) in full.iter().zip(listing.page_sizes.iter().cycle()) {
            assert_eq!(page.images().len(), *size);
        }
        assert!(
            !last.images().is_empty() || full.is_empty(),
            "a token was given though nothing followed"
        );
        // The public service lists what is active, whatever the filter.
        let joined: Vec<String> = self::pages(wire, ECR_PUBLIC, &request, &sizes)
            .await
            .iter()
            .flat_map(Reply::digests)
            .collect();
        assert_eq!(joined, expected(&listing.images, &json!({})));
    });
}

#[test]
fn r36_a_listing_has_every_image_that_was_there_all_the_time_exactly_once() {
    let listings = any_listing(vec(any_between(), 1..6));
    check_listings(200, &listings, async |wire, name, listing| {
        let repository = repository(name);
        let numbers: Vec<u64> = listing.images.keys().copied().collect();
        let mut stayed = listing.images.clone();
        let mut next_number = 1;
        let mut joined: Vec<Value> = Vec::new();
        let mut token: Option<String> = None;
        for (size, between) in listing.page_sizes.iter().cycle().zip(listing.between.iter().cycle())
        {
            let page = wire
                .ecr(json!({
                    "repositoryName": name, "filter": listing.filter, "maxResults": size, "nextToken": token,
                }))
                .await;
            joined.extend_from_slice(page.images());
            assert!(joined.len() < 200, "the listing does not end");
            token = page.next_token();
            if token.is_none() {
                break;
            }
            assert_eq!(page.images().len(), *size, "pages are exact whatever happens between them");
            let delete = async |digest: &Digest| {
                wire.apply(
                    &repository,
                    time(100),
                    ChangeKind::ImageDeleted { digest: digest.clone() },
                )
                .await;
            };
            let last = Digest::parse(&digest_of(joined.last().unwrap())).unwrap();
            for between in between {
                match between {
                    Between::New(known) => {
                        // Odd numbers are not in use, and these are not in order.
                        known.put(wire, name, (next_number * 37) % 101 * 2 + 1).await;
                        next_number += 1;
                    }
                    Between::Delete(_) if numbers.is_empty() => {}
                    Between::Delete(index) => {
                        let number = *index.get(&numbers);
                        delete(&digest(number)).await;
                        stayed.remove(&number);
                    }
                    Between::DeleteLast | Between::Renew => {
                        delete(&last).await;
                        stayed.retain(|number, _| digest(*number) != last);
                        if matches!(between, Between::Renew) {
                            let kind = ChangeKind::ImagePushed {
                                digest: last.clone(),
                                tag: None,
                                content: Content::default(),
                            };
                            wire.apply(&repository, time(200), kind).await;
                        }
                    }
                }
            }
        }
        let order: Vec<_> = joined.iter().map(order_of).collect();
        assert!(
            order.is_sorted_by(|before, after| before < after),
            "in order, nothing twice: {order:?}"
        );
        let all: BTreeSet<String> = joined.iter().map(digest_of).collect();
        assert_eq!(all.len(), joined.len(), "nothing twice, also not as the newest");
        let stayed = expected(&stayed, &listing.filter);
        let seen: Vec<String> =
            joined.iter().map(digest_of).filter(|digest| stayed.contains(digest)).collect();
        assert_eq!(seen, stayed);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r36_listings_hold_while_others_push_and_delete_all_the_time() {
    // Few items at once, so that pushes and deletions also fall between the parts of one page.
    let wire = giving_few(Arc::new(AtomicU64::new(2))).await;
    let stayed: Vec<u64> = (0..24).map(|number| number * 1000).collect();
    for number in &stayed {
        wire.push("app", time(0), *number, None).await;
    }
    let ended = Arc::new(AtomicBool::new(false));
    let churn = {
        let (writer, ended) = (wire.store().writer.clone(), Arc::clone(&ended));
        tokio::spawn(async move {
            let mut changes = 0_i64;
            // Between all that stay, one after the other comes and goes.
            for number in
                (1..).map(|round: u64| (round * 7919) % 24_000).filter(|number| number % 1000 != 0)
            {
                let pushed = pushed(number, None, Content::default());
                let deleted = ChangeKind::ImageDeleted { digest: digest(number) };
                for (at, kind) in [(0, pushed), (changes + 1, deleted)] {
                    let change = Change { repository: repository("app"), time: time(at), kind };
                    writer.apply(&change).await.unwrap();
                    changes += 1;
                }
                if ended.load(Ordering::Relaxed) {
                    break;
                }
            }
            changes
        })
    };
    for size in [1, 2, 3, 5, 7, 24, 100] {
        let pages = pages(&wire, ECR, &json!({ "repositoryName": "app" }), &[Some(size)]).await;
        let order: Vec<_> = pages.iter().flat_map(Reply::images).map(order_of).collect();
        assert!(order.is_sorted_by(|before, after| before < after), "by {size}: {order:?}");
        let stayed = digests(stayed.iter().copied());
        let joined = pages.iter().flat_map(Reply::digests);
        let seen: Vec<String> = joined.filter(|digest| stayed.contains(digest)).collect();
        assert_eq!(seen, stayed, "by {size}");
    }
    ended.store(true, Ordering::Relaxed);
    assert!(churn.await.unwrap() > 20, "something happened meanwhile");
}

#[tokio::test]
async fn r36_a_token_goes_on_when_everything_before_and_after_it_is_gone() {
    let (wire, token) = listed().await;
    for number in 1..=3 {
        let kind = ChangeKind::ImageDeleted { digest: digest(number) };
        wire.apply(&repository("app"), time(1), kind).await;
    }
    let request = json!({ "repositoryName": "app", "nextToken": token });
    let page = wire.ecr(request.clone()).await;
    assert_eq!((page.digests(), page.next_token()), (digests([4]), None));
    wire.apply(&repository("app"), time(1), ChangeKind::ImageDeleted { digest: digest(4) }).await;
    assert_eq!(wire.ecr(request).await.body, r#"{"imageDetails":[]}"#);
}

/// A page ends with a token before its reply passes what can be sent, and the rest follows.
///
/// To push a million tags one after the other would take hours, so the rows of the images are put
/// directly; a small image shows that the rows are those that the writer makes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r33_pages_end_before_five_mebibytes() {
    const IMAGES: u64 = 1000;
    // Of these images no more than four are in the megabyte that DynamoDB gives at once; but the
    // engine reads all that are asked for before it finds that out, which would take most of the
    // time.
    let wire = giving_few(Arc::new(AtomicU64::new(5))).await;
    let app = repository("app");
    wire.push("app", time(1), 1, Some("v1")).await;
    wire.push("app", time(2), 1, Some("v2")).await;
    wire.push("app", time(3), 2, None).await;
    wire.apply(&app, time(4), ChangeKind::ImageArchived { digest: digest(2) }).await;
    let written =
        wire.store().table.client.scan().table_name(&wire.store().table.name).send().await.unwrap();
    let is_listed = |item: &&Item| item.contains_key("imageDigest");
    let mut written: Vec<Item> = written.items().iter().filter(is_listed).cloned().collect();
    written.sort_by_key(|item| item[SORT].as_s().unwrap().clone());
    let archived = Row::new(2, time(3), ImageStatus::Archived, &[]);
    let [archived, once_archived] = [archived.item(&app), archived.once_archived(&app).unwrap()]
        .map(|mut item| {
            item.insert("lastArchivedAt".to_owned(), AttributeValue::S(time(4).to_string()));
            item
        });
    let tagged = Row::new(1, time(1), ImageStatus::Active, &["v1", "v2"]).item(&app);
    assert_eq!(written, [tagged, archived, once_archived], "the rows are as the writer makes them");

    wire.create("big").await;
    // Few at once: a million tags need not be in memory twice.
    for number in (0..IMAGES).step_by(10) {
        let rows: Vec<Row> = (number..number + 10)
            .map(|number| {
                let rest = format!("{number:->297}");
                let tags = (0..1000).map(|index| format!("{index:03}{rest}")).collect();
                Row { number, pushed_at: time(0), status: ImageStatus::Active, tags }
            })
            .collect();
        put_rows(wire.store(), &repository("big"), &rows).await;
    }
    let mut seen = Vec::new();
    let mut request = json!({ "repositoryName": "big", "maxResults": 1000 });
    loop {
        let page = wire.ecr(request.clone()).await;
        assert!(page.body.len() <= 5 * MEBIBYTE, "{} bytes", page.body.len());
        let images = page.images();
        for image in images {
            let tags = image["imageTags"].as_array().unwrap();
            assert_eq!(tags.len(), 1000);
            assert!(tags.iter().all(|tag| tag.as_str().unwrap().len() == 300));
        }
        seen.extend(images.iter().map(digest_of));
        assert!(seen.len() <= 1000, "the listing does not end");
        match page.next_token() {
            // Each weighs 303 KB.
            Some(token) => {
                assert!(images.len() >= 16, "{} images: the page has room for more", images.len());
                request["nextToken"] = token.into();
            }
            None => break,
        }
    }
    assert_eq!(seen, digests(0..IMAGES));
}

/// Lambda is given a reply as a JSON text inside of JSON, where each quotation mark becomes two
/// bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r33_pages_of_many_short_tags_fit_into_lambda() {
    const LAMBDA_LIMIT: usize = 6 * MEBIBYTE;
    let wire = Wire::start().await;
    wire.create("short").await;
    let rows: Vec<Row> = (0..1000)
        .map(|number| Row {
            number,
            pushed_at: time(0),
            status: ImageStatus::Active,
            tags: (0..1000).map(|index| format!("{index:03}")).collect(),
        })
        .collect();
    put_rows(wire.store(), &repository("short"), &rows).await;
    let page = wire.ecr(json!({ "repositoryName": "short", "maxResults": 1000 })).await;
    assert!(page.next_token().is_some(), "they do not fit into one page");
    let bytes = Value::from(page.body.as_str()).to_string().len();
    assert!((LAMBDA_LIMIT * 4 / 5..LAMBDA_LIMIT - 100_000).contains(&bytes), "{bytes} bytes");
}

/// An image of the repository `app` with more tags than can be pushed one after the other in a
/// short time. It cannot be looked up by a tag.
async fn put_image_with_tags(wire: &Wire, number: u64, tags: &[String]) {
    let (app, store) = (repository("app"), wire.store());
    let mut history = ImageHistory::default();
    for name in tags {
        history.push(time(0), Some(&tag(name)), &Content::default());
    }
    let mut item: Item = serde_dynamo::to_item(&history).unwrap();
    let sort = AttributeValue::S(format!("digest#{}", digest(number)));
    item.insert(REPOSITORY.to_owned(), AttributeValue::S(app.to_string()));
    item.insert(SORT.to_owned(), sort);
    let row = Row { number, pushed_at: time(0), status: ImageStatus::Active, tags: tags.to_vec() };
    put_items(store, vec![item]).await;
    put_rows(store, &app, &[row]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r61_a_reply_to_image_ids_that_would_pass_five_mebibytes_is_refused() {
    const LAMBDA_LIMIT: usize = 6_000_000;
    const TOO_LARGE: &str =
        "'the images must fit into a reply of 5242880 bytes; ask for fewer at once'";
    let in_json = |text: &str| Value::from(text).to_string().len();
    // As a page's: with its comma, in Lambda's JSON.
    let weight = |image: &Value| in_json(&image.to_string()) - "\"\"".len() + ",".len();
    let wire = Wire::start().await;
    let tags = |number: u64, count: usize| -> Vec<String> {
        (0..count).map(|index| format!("{number:0>3}{index:0>297}")).collect()
    };
    wire.create("app").await;
    for number in 1..=18 {
        put_image_with_tags(&wire, number, &tags(number, 1000)).await;
    }
    // A hundred identifiers, or fewer, of these images.
    let ids = |numbers: &[u64]| -> Vec<Value> {
        let ids = numbers.iter().cycle().take(100);
        ids.map(|number| json!({ "imageDigest": digest(*number) })).collect()
    };
    let request = |ids: &[Value]| json!({ "repositoryName": "app", "imageIds": ids });
    let seventeen: Vec<u64> = (1..=17).collect();
    let eighteen: Vec<u64> = (1..=18).collect();

    for target in [ECR, ECR_PUBLIC] {
        let reply = wire.post(target, request(&ids(&eighteen)).to_string()).await;
        assert_eq!(reply.status, 400, "{reply:?}");
        reply.assert_violates("imageIds", TOO_LARGE);
    }
    let reply = wire.ecr(request(&ids(&seventeen))).await;
    assert_eq!(reply.digests(), digests(1..=17), "each image once");
    for (number, image) in (1..).zip(reply.images()) {
        assert!(image["imageTags"] == json!(tags(number, 1000)), "image {number} is not whole");
    }
    assert!(in_json(&reply.body) < LAMBDA_LIMIT, "{} bytes", in_json(&reply.body));

    // One more image fills the reply to its last byte, and another one is a byte longer.
    wire.push("app", time(0), 100, Some("x")).await;
    let image = wire.ecr(request(&ids(&[100]))).await.image();
    let weighed: usize = reply.images().iter().map(weight).sum();
    let missing = 5 * MEBIBYTE - weighed - weight(&image);
    for (number, last, missing, status) in [(101, "y", missing, 200), (102, "z", missing + 1, 400)]
    {
        // A tag weighs five bytes more than its characters: most have 300, and two have the rest.
        let long = missing / 305 - 1;
        let rest = missing - 305 * long - 10;
        let mut tags = tags(number, long);
        tags.extend([
            last.repeat(rest / 2),
            last.repeat(rest.div_ceil(2) - 1) + "-",
            last.to_owned(),
        ]);
        put_image_with_tags(&wire, number, &tags).await;
        let numbers: Vec<u64> = (1..=17).chain([number]).collect();
        let reply = wire.ecr(request(&ids(&numbers))).await;
        assert_eq!(reply.status, status, "{number}: {reply:?}");
        if status == 200 {
            let weighed: usize = reply.images().iter().map(weight).sum();
            assert_eq!(weighed, 5 * MEBIBYTE);
            assert!(in_json(&reply.body) < LAMBDA_LIMIT, "{} bytes", in_json(&reply.body));
        }
    }

    // The limit comes after all that names the images.
    let mut asked = ids(&eighteen);
    asked[99] = json!({ "imageTag": "none" });
    wire.ecr(request(&asked)).await.assert_no_image("null", "none");
    // What the filter leaves out has no weight.
    let mut filtered = request(&ids(&eighteen));
    filtered["filter"] = json!({ "imageStatus": "ARCHIVED" });
    assert_eq!(wire.ecr(filtered).await.body, r#"{"imageDetails":[]}"#);

    let page = wire.ecr(json!({ "repositoryName": "app" })).await;
    assert!(page.next_token().is_some(), "a page ends before");
    assert_eq!(page.digests(), digests(1..=17));
}

// Image details.

/// A repository `app` with one image of which everything is known.
async fn known_image() -> Wire {
    let wire = Wire::start().await;
    let app = repository("app");
    let content = Content {
        manifest_media_type: Some("application/vnd.oci.image.manifest.v1+json".to_owned()),
        artifact_media_type: Some("application/vnd.oci.image.config.v1+json".to_owned()),
        size_in_bytes: Some(12_345),
        manifests: None,
        subject: Some(digest(7)),
    };
    wire.apply(&app, at("2026-05-15T15:33:03.778Z"), pushed(1, Some("v1"), content)).await;
    wire.push("app", at("2026-05-15T15:33:04Z"), 1, Some("latest")).await;
    let completed_at = at("2026-05-15T15:34:00.5Z");
    let finding_severity_counts =
        Some(BTreeMap::from([("CRITICAL".to_owned(), 10), ("MEDIUM".to_owned(), 9)]));
    let scan = Scan { status: "COMPLETE".to_owned(), finding_severity_counts, completed_at };
    wire.apply(&app, completed_at, ChangeKind::ImageScanned { digest: digest(1), scan }).await;
    wire.apply(&app, at("2026-05-15T15:35:00Z"), ChangeKind::ImagePulled { digest: digest(1) })
        .await;
    wire.apply(&app, at("2026-05-15T15:36:00Z"), ChangeKind::ImageArchived { digest: digest(1) })
        .await;
    let kind =
        ChangeKind::ImageRestored { digest: digest(1), activated_at: at("2026-05-15T15:37:00Z") };
    wire.apply(&app, at("2026-05-15T15:36:30Z"), kind).await;
    wire
}

#[tokio::test]
async fn r37_the_private_service_tells_everything() {
    let wire = known_image().await;
    let expected = r#"{"imageDetails":[{"registryId":"123456789012","repositoryName":"app","imageDigest":"sha256:0000000000000000000000000000000000000000000000000000000000000001","imageTags":["latest","v1"],"imageSizeInBytes":12345,"imagePushedAt":1778859183.778,"imageManifestMediaType":"application/vnd.oci.image.manifest.v1+json","artifactMediaType":"application/vnd.oci.image.config.v1+json","imageScanStatus":{"status":"COMPLETE"},"imageScanFindingsSummary":{"imageScanCompletedAt":1778859240.5,"findingSeverityCounts":{"CRITICAL":10,"MEDIUM":9}},"lastRecordedPullTime":1778859300,"subjectManifestDigest":"sha256:0000000000000000000000000000000000000000000000000000000000000007","imageStatus":"ACTIVE","lastArchivedAt":1778859360,"lastActivatedAt":1778859420}]}"#;
    assert_eq!(wire.ecr(json!({ "repositoryName": "app" })).await.body, expected);
    let by_tag = json!({ "repositoryName": "app", "imageIds": [{ "imageTag": "v1" }] });
    assert_eq!(wire.ecr(by_tag).await.body, expected, "asked for by its tag");
}

#[tokio::test]
async fn r37_the_public_service_tells_eight_members() {
    let wire = known_image().await;
    let expected = r#"{"imageDetails":[{"registryId":"123456789012","repositoryName":"app","imageDigest":"sha256:0000000000000000000000000000000000000000000000000000000000000001","imageTags":["latest","v1"],"imageSizeInBytes":12345,"imagePushedAt":1778859183.778,"imageManifestMediaType":"application/vnd.oci.image.manifest.v1+json","artifactMediaType":"application/vnd.oci.image.config.v1+json"}]}"#;
    assert_eq!(wire.ecr_public(json!({ "repositoryName": "app" })).await.body, expected);
    let by_digest =
        json!({ "repositoryName": "app", "imageIds": [{ "imageDigest": digest(1).as_str() }] });
    assert_eq!(wire.ecr_public(by_digest).await.body, expected, "asked for by its digest");
}

#[tokio::test]
async fn r37_tags_are_in_ascending_byte_order() {
    let wire = Wire::start().await;
    let sorted =
        ["-", ".", "1.0", "1.10", "1.9", "10", "9", "B", "Z", "_", "a", "a-", "a.", "aa", "z"];
    for (index, tag) in (0..).zip(sorted.iter().rev()) {
        wire.push("app", time(index), 1, Some(tag)).await;
    }
    for target in [ECR, ECR_PUBLIC] {
        for image_ids in [json!(null), json!([{ "imageTag": "a" }])] {
            let request = json!({ "repositoryName": "app", "imageIds": image_ids });
            let image = wire.post(target, request.to_string()).await.image();
            assert_eq!(image["imageTags"], json!(sorted));
        }
    }
}

#[tokio::test]
async fn r37_an_archived_image_says_so() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, None).await;
    wire.apply(&repository("app"), time(1000), ChangeKind::ImageArchived { digest: digest(1) })
        .await;
    let request = json!({ "repositoryName": "app", "filter": { "imageStatus": "ARCHIVED" } });
    let image = wire.ecr(request).await.image();
    assert_eq!(
        (&image["imageStatus"], &image["lastArchivedAt"]),
        (&json!("ARCHIVED"), &json!(1_767_225_601))
    );
    assert_eq!(image.get("lastActivatedAt"), None);
}

#[tokio::test]
async fn r37_a_scan_without_counts_has_a_status_only() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, None).await;
    let scan =
        Scan { status: "FAILED".to_owned(), finding_severity_counts: None, completed_at: time(1) };
    wire.apply(&repository("app"), time(1), ChangeKind::ImageScanned { digest: digest(1), scan })
        .await;
    let image = wire.ecr(json!({ "repositoryName": "app" })).await.image();
    assert_eq!(image["imageScanStatus"], json!({ "status": "FAILED" }));
    assert_eq!(image.get("imageScanFindingsSummary"), None);
}

#[tokio::test]
async fn r38_the_first_push_since_the_last_deletion_counts() {
    let wire = Wire::start().await;
    let app = repository("app");
    let pushed_at = async || {
        wire.ecr(json!({ "repositoryName": "app" })).await.image()["imagePushedAt"].clone()
    };
    wire.push("app", time(1000), 1, Some("v1")).await;
    assert_eq!(pushed_at().await, json!(1_767_225_601));
    wire.push("app", time(2000), 1, Some("v2")).await;
    wire.push("app", time(3000), 1, Some("v1")).await;
    wire.push("app", time(4000), 1, None).await;
    assert_eq!(pushed_at().await, json!(1_767_225_601), "neither another tag nor a push again");
    wire.apply(&app, time(5000), ChangeKind::ImageArchived { digest: digest(1) }).await;
    let kind = ChangeKind::ImageRestored { digest: digest(1), activated_at: time(6000) };
    wire.apply(&app, time(6000), kind).await;
    assert_eq!(pushed_at().await, json!(1_767_225_601), "nor the archive");
    wire.apply(&app, time(7000), ChangeKind::ImageDeleted { digest: digest(1) }).await;
    wire.push("app", time(8000), 1, Some("v2")).await;
    assert_eq!(pushed_at().await, json!(1_767_225_608), "after a deletion, the new push");
    let kind = ChangeKind::ImageUntagged { digest: digest(1), tag: tag("v2") };
    wire.apply(&app, time(9000), kind).await;
    wire.push("app", time(10_000), 1, None).await;
    assert_eq!(pushed_at().await, json!(1_767_225_610), "also after that of its last tag");
    wire.apply(&app, time(11_000), ChangeKind::RepositoryDeleted).await;
    wire.push("app", time(12_000), 1, None).await;
    assert_eq!(pushed_at().await, json!(1_767_225_612), "and after that of its repository");
}

#[tokio::test]
async fn r39_a_size_is_exact_or_absent() {
    let wire = Wire::start().await;
    for (number, size) in (1..).zip([None, Some(0), Some(1), Some((1 << 53) + 1), Some(i64::MAX)]) {
        let content = Content { size_in_bytes: size, ..Content::default() };
        wire.apply(&repository("app"), time(0), pushed(number, None, content)).await;
        for target in [ECR, ECR_PUBLIC] {
            let image_ids = json!([{ "imageDigest": digest(number).as_str() }]);
            let request = json!({ "repositoryName": "app", "imageIds": image_ids });
            let image = wire.post(target, request.to_string()).await.image();
            assert_eq!(image.get("imageSizeInBytes"), size.map(Value::from).as_ref(), "{size:?}");
        }
    }
}

#[tokio::test]
async fn r39_an_index_is_as_large_as_the_largest_of_its_manifests() {
    let wire = Wire::start().await;
    let app = repository("app");
    let size = async || {
        let request = json!({ "repositoryName": "app", "imageIds": [{ "imageTag": "index" }] });
        wire.ecr(request).await.image().get("imageSizeInBytes").cloned()
    };
    let manifests = Some(vec![digest(1), digest(2), digest(3)]);
    let index = Content { manifests, ..Content::default() };
    wire.apply(&app, time(1), pushed(9, Some("index"), index)).await;
    assert_eq!(size().await, None, "while no manifest is known");
    wire.push("app", time(2), 3, None).await;
    assert_eq!(size().await, None, "nor any size");
    for (number, bytes, largest) in [(1, 100, 100), (2, 300, 300), (3, 200, 300)] {
        let content = Content { size_in_bytes: Some(bytes), ..Content::default() };
        wire.apply(&app, time(3), pushed(number, None, content)).await;
        assert_eq!(size().await, Some(json!(largest)));
    }
}

#[tokio::test]
async fn r39_the_size_of_an_image_is_that_of_its_configuration_and_layers() {
    let wire = Wire::start().await;
    let event = sample("cncf-distribution/v2.8-push-manifest-tagged-with-references.json");
    wire.ingest("/events/distribution", event).await;
    for target in [ECR, ECR_PUBLIC] {
        let request =
            json!({ "repositoryName": "team/app", "imageIds": [{ "imageTag": "1.0.0" }] });
        let image = wire.post(target, request.to_string()).await.image();
        assert_eq!(image["imageSizeInBytes"], json!(37 + 3000));
    }
}

#[tokio::test]
async fn r39_an_image_may_have_a_thousand_tags_of_300_characters() {
    let wire = Wire::start().await;
    let tags: Vec<String> = (0..1000).map(|index| format!("{index:0>300}")).collect();
    wire.create("app").await;
    let row =
        Row { number: 1, pushed_at: time(0), status: ImageStatus::Active, tags: tags.clone() };
    put_rows(wire.store(), &repository("app"), &[row]).await;
    // The writer gets fewer, but no shorter ones.
    for (index, tag) in (0..).zip(&tags[..20]) {
        wire.push("pushed", time(index), 1, Some(tag)).await;
    }
    for target in [ECR, ECR_PUBLIC] {
        let listed = wire.post(target, json!({ "repositoryName": "app" }).to_string()).await;
        assert!(listed.image()["imageTags"] == json!(tags));
        for image_ids in [json!(null), json!([{ "imageTag": tags[13] }])] {
            let request = json!({ "repositoryName": "pushed", "imageIds": image_ids });
            let image = wire.post(target, request.to_string()).await.image();
            assert!(image["imageTags"] == json!(tags[..20]));
        }
    }
}

// Errors before the operation, and inside it.

#[tokio::test]
async fn r40_unknown_operations_have_no_message() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let body = r#"{"repositoryName":"app"}"#;
    let refused = |reply: Reply, what: &str| {
        let expected = (400, r#"{"__type":"UnknownOperationException"}"#);
        assert_eq!((reply.status, reply.body.as_str()), expected, "{what}");
        assert_eq!(reply.header("x-amzn-errortype"), Some("UnknownOperationException"), "{what}");
    };
    refused(wire.send(Method::POST, "/", &[], body).await, "no target");
    for target in [
        "",
        ".",
        "DescribeImages",
        ".DescribeImages",
        "AmazonEC2ContainerRegistry_V20150921",
        "AmazonEC2ContainerRegistry_V20150921.",
        "AmazonEC2ContainerRegistry_V20150921.NoSuch",
        "AmazonEC2ContainerRegistry_V20150921.DescribeImage",
        "AmazonEC2ContainerRegistry_V20150921.DescribeImagesX",
        "AmazonEC2ContainerRegistry_V20150921.DescribeImages.x",
        "AmazonEC2ContainerRegistry_V20150921..DescribeImages",
        "AmazonEC2ContainerRegistry_V20150921. DescribeImages",
        "AmazonEC2ContainerRegistry_V20150921#DescribeImages",
        "com.amazonaws.AmazonEC2ContainerRegistry_V20150921.DescribeImages",
        "AmazonEC2ContainerRegistry_V20150922.DescribeImages",
        "AmazonEC2ContainerRegistry.DescribeImages",
        "SpencerFrontendService.",
        "SpencerFrontendService.NoSuch",
        "SpencerFrontendService_V20201030.DescribeImages",
        "DynamoDB_20120810.GetItem",
        // The case is significant.
        "amazonec2containerregistry_v20150921.DescribeImages",
        "AmazonEC2ContainerRegistry_V20150921.describeImages",
        "AmazonEC2ContainerRegistry_V20150921.describeimages",
        "AmazonEC2ContainerRegistry_V20150921.DESCRIBEIMAGES",
        "AmazonEC2ContainerRegistry_V20150921.listImages",
        "spencerfrontendservice.DescribeImages",
        "SpencerFrontendService.describeImages",
        // The other service's.
        "SpencerFrontendService.BatchGetImage",
        "SpencerFrontendService.ListImages",
        "SpencerFrontendService.DescribeImageScanFindings",
        "AmazonEC2ContainerRegistry_V20150921.DescribeImageTags",
        "AmazonEC2ContainerRegistry_V20150921.DescribeRegistries",
        "AmazonEC2ContainerRegistry_V20150921.GetRepositoryCatalogData",
    ] {
        refused(wire.post(target, body).await, target);
    }
    let head =
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\nX-Amz-Target: ";
    for target in
        [&b"\xff\xfe"[..], "AmazonEC2ContainerRegistry_V20150921.DescribeImagés".as_bytes()]
    {
        refused(wire.raw(&[head, target, b"\r\n\r\n"].concat()).await, "bytes outside ASCII");
    }
}

#[tokio::test]
async fn r40_operations_of_the_services_that_the_catalog_does_not_serve() {
    let wire = Wire::start().await;
    let private = "AmazonEC2ContainerRegistry_V20150921";
    let public = "SpencerFrontendService";
    for (service, operation) in [
        (private, "ListImages"),
        (private, "BatchGetImage"),
        (private, "BatchDeleteImage"),
        (private, "PutImage"),
        (private, "DescribeRepositories"),
        (private, "DescribeImageScanFindings"),
        (private, "DescribeImageReplicationStatus"),
        (private, "GetAuthorizationToken"),
        (private, "UpdateImageStorageClass"),
        (private, "ListImageReferrers"),
        (private, "ValidatePullThroughCacheRule"),
        (public, "DescribeImageTags"),
        (public, "DescribeRegistries"),
        (public, "DescribeRepositories"),
        (public, "BatchDeleteImage"),
        (public, "GetAuthorizationToken"),
        (public, "GetRepositoryCatalogData"),
        (public, "UploadLayerPart"),
    ] {
        for body in ["{}", "", "no JSON"] {
            let reply = wire.post(&format!("{service}.{operation}"), body).await;
            let message = format!("The action {operation} isn't supported by this catalog.");
            reply.assert_error(400, "UnsupportedCommandException", &message);
        }
    }
    let reply = wire.post("AmazonEC2ContainerRegistry_V20150921.ListImages", "{}").await;
    assert_eq!(
        reply.body,
        r#"{"__type":"UnsupportedCommandException","message":"The action ListImages isn't supported by this catalog."}"#
    );
}

/// A catalog of an image, whose DynamoDB answers one operation with something else.
async fn failing(
    operation: &'static str,
    answer: Result<(u16, &'static str), &'static str>,
) -> Wire {
    let fails = Arc::new(AtomicBool::new(false));
    let store = {
        let fails = Arc::clone(&fails);
        meddled_store(move |called, _| {
            let answer =
                answer.map(|(status, body)| (status, body.to_owned())).map_err(str::to_owned);
            (called == operation && fails.load(Ordering::Relaxed)).then_some(answer)
        })
    };
    let wire = Wire::of(Catalog::start_with(store.await, &Keyring::generate_key().unwrap()).await);
    wire.push("app", time(0), 1, Some("v1")).await;
    fails.store(true, Ordering::Relaxed);
    wire
}

/// The operations of DynamoDB that a request comes to, and such a request.
fn reads() -> [(&'static str, Value); 4] {
    let listing = json!({ "repositoryName": "app" });
    let look_up = json!({ "repositoryName": "app", "imageIds": [{ "imageTag": "v1" }] });
    [
        ("GetItem", listing.clone()),
        ("GetItem", look_up.clone()),
        ("Query", listing),
        ("BatchGetItem", look_up),
    ]
}

#[tokio::test]
async fn r45_throttled_by_the_store_is_throttled() {
    for (operation, request) in reads() {
        for answer in [
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"The level of configured provisioned throughput for the table arn:aws:dynamodb:eu-central-1:999999999999:table/inside was exceeded."}"#,
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#RequestLimitExceeded","message":"Throughput exceeds the current throughput limit for your account."}"#,
            r#"{"__type":"com.amazon.coral.availability#ThrottlingException","message":"Rate of requests exceeds the allowed throughput."}"#,
        ] {
            let wire = failing(operation, Ok((400, answer))).await;
            for target in [ECR, ECR_PUBLIC] {
                let reply = wire.post(target, request.to_string()).await;
                let expected = r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#;
                assert_eq!((reply.status, reply.body.as_str()), (400, expected), "{operation}");
            }
        }
    }
}

#[tokio::test]
async fn r45_an_internal_error_says_nothing_of_the_inside() {
    for (operation, request) in reads() {
        for answer in [
            Ok((
                500,
                r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"inside"}"#,
            )),
            Ok((503, "")),
            Ok((500, "<html>inside</html>")),
            Ok((200, "not JSON from inside")),
            Ok((
                400,
                r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found: Table: inside not found"}"#,
            )),
            Ok((
                400,
                r#"{"__type":"com.amazon.coral.service#AccessDeniedException","message":"User: arn:aws:sts::999999999999:assumed-role/inside is not authorized to perform: dynamodb:Query"}"#,
            )),
            Ok((
                400,
                r#"{"__type":"com.amazon.coral.service#UnrecognizedClientException","message":"The security token included in the request is inside."}"#,
            )),
            Ok((
                400,
                r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"inside"}"#,
            )),
            Err("the connection to inside:8000 was refused"),
        ] {
            let wire = failing(operation, answer).await;
            for target in [ECR, ECR_PUBLIC] {
                let reply = wire.post(target, request.to_string()).await;
                let expected = r#"{"__type":"ServerException","message":"The catalog could not answer the request. Try again later."}"#;
                assert_eq!(
                    (reply.status, reply.body.as_str()),
                    (500, expected),
                    "{operation}: {answer:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn r45_an_item_that_cannot_be_read_is_an_internal_error() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let broken = Item::from([
        (REPOSITORY.to_owned(), AttributeValue::S(format!("{REGISTRY}/app"))),
        (SORT.to_owned(), AttributeValue::S("ACTIVE#0#inside".to_owned())),
        ("imageDigest".to_owned(), AttributeValue::S("inside".to_owned())),
    ]);
    put_items(wire.store(), vec![broken]).await;
    let reply = wire.ecr(json!({ "repositoryName": "app" })).await;
    reply.assert_error(
        500,
        "ServerException",
        "The catalog could not answer the request. Try again later.",
    );
}

#[tokio::test]
async fn r45_keys_that_are_never_processed_are_throttling() {
    let unprocessed = Arc::new(AtomicUsize::new(0));
    let store = {
        let unprocessed = Arc::clone(&unprocessed);
        meddled_store(move |operation, request| {
            let is_left = operation == "BatchGetItem"
                && unprocessed
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok();
            is_left.then(|| {
                let answer = json!({ "Responses": {}, "UnprocessedKeys": request["RequestItems"] });
                Ok((200, answer.to_string()))
            })
        })
    };
    let wire = Wire::of(Catalog::start_with(store.await, &Keyring::generate_key().unwrap()).await);
    wire.push("app", time(0), 1, Some("v1")).await;
    let request = json!({ "repositoryName": "app", "imageIds": [{ "imageTag": "v1" }] });
    unprocessed.store(3, Ordering::Relaxed);
    assert_eq!(wire.ecr(request.clone()).await.digests(), digests([1]), "they are asked for again");
    assert_eq!(unprocessed.load(Ordering::Relaxed), 0);
    unprocessed.store(usize::MAX, Ordering::Relaxed);
    wire.ecr(request).await.assert_error(400, "ThrottlingException", "Rate exceeded");
}
