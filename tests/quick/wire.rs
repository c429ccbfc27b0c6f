//! The responses of DescribeImages over HTTP, byte for byte, to any request.
//!
//! The name of each test begins with the numbers of the rules in `docs/compatibility.md` that it
//! proves. Rules 3, 4, 5 and 7 are also checked on every response of every test.

mod changing_listing;
mod describe_image_tags;
mod describe_registries;
mod describe_repositories;
mod details;
mod endpoint;
mod failures;
mod image_ids;
mod json;
mod large_replies;
mod list_images;
mod list_tags_for_resource;
mod listing;
mod lookup;
mod max_results_and_filter;
mod meddled;
mod names;
mod operations;
mod order_of_checks;
mod page_token;
mod request_body;
mod response;
mod rows;

use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use catalog::change::Content;
use catalog::{Change, ChangeKind, Repository, RepositoryStatement, Service, Timestamp};
use end_to_end::harness::{Catalog, REGISTRY, Store, digest, repository, tag, time};
use http::HeaderMap;
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

    /// Sends a request of an operation with a body of any bytes.
    async fn post(&self, target: &str, body: impl Into<reqwest::Body>) -> Reply {
        self.send(Method::POST, "/", &[("x-amz-target", target)], body).await
    }

    /// Sends a request to the private service.
    async fn ecr(&self, body: Value) -> Reply {
        self.post(ECR, body.to_string()).await
    }

    /// Sends a request to the public service.
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

    /// Applies a change to the repository of this name in both services.
    async fn apply(&self, repository: &Repository, at: Timestamp, kind: ChangeKind) {
        for service in Service::ALL {
            let repository = Repository { service, ..repository.clone() };
            let change = Change { repository, time: at, kind: kind.clone() };
            self.store().writer.apply(&change).await.unwrap();
        }
    }

    /// An empty repository.
    async fn create(&self, name: &str) {
        self.apply(
            &repository(name),
            time(0),
            ChangeKind::RepositoryStated(RepositoryStatement::default()),
        )
        .await;
    }

    /// Pushes an image without any other data.
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

/// Parses an HTTP response.
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

/// A response that follows the rules of all responses.
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: String,
    json: Value,
}

impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {:?} {:.5000}", self.status, self.headers, self.body)
    }
}

impl Reply {
    /// Rules 3, 4, 5 and 7, for every response to every request of this file.
    fn new(status: u16, headers: HeaderMap, body: String) -> Self {
        let json = serde_json::from_str(&body).unwrap_or_default();
        let reply = Self { status, headers, body, json };
        assert_eq!(reply.header("content-type"), Some("application/x-amz-json-1.1"), "{reply:?}");
        assert!(is_uuid(reply.header("x-amzn-requestid").unwrap_or_default()), "{reply:?}");
        let error_type = reply.header("x-amzn-errortype");
        if reply.body.is_empty() {
            // The response to HEAD.
            assert!(error_type.is_some(), "{reply:?}");
            return reply;
        }
        let body = &reply.json;
        assert!(!has_null(body), "{reply:?}");
        assert_eq!(error_type, body["__type"].as_str(), "{reply:?}");
        if reply.status == 200 {
            let lists = [
                "imageDetails",
                "imageIds",
                "imageTagDetails",
                "registries",
                "repositories",
                "tags",
            ];
            assert!(
                lists.into_iter().any(|name| body[name].is_array()) && error_type.is_none(),
                "{reply:?}"
            );
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

    /// In the repository `app`.
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

/// The place of an image in a listing, as far as a response contains it.
fn order_of(image: &Value) -> (Reverse<i64>, String) {
    let seconds = image["imagePushedAt"].as_f64().unwrap();
    (Reverse((seconds * 1000.0).round() as i64), digest_of(image))
}

fn digests(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(|number| digest(number).to_string()).collect()
}

/// All pages of a listing. The page sizes take turns; `None` is the default.
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
