//! A catalog that receives random requests, and the requests.

use std::time::Duration;

use catalog::change::Content;
use catalog::{Change, ChangeKind};
use end_to_end::harness::{Catalog, Store, digest, repository, tag, time};
use futures_util::future::join_all;
use image_catalog::aws::connections::Limits;
use registries::Source;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::runner::runtime;
use super::{samples, subscriptions};

/// After so many requests there is a new catalog, because what was pushed is in memory.
const REQUESTS_OF_A_CATALOG: usize = 10_000;

/// A request that is not complete keeps a connection for so long.
const WAIT: Duration = Duration::from_millis(20);

const HANG: Duration = Duration::from_secs(20);

/// The image in this response is not of a subscription's registry.
const HONEST: &str = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
    X-Amz-Target: AmazonEC2ContainerRegistry_V20150921.DescribeImages\r\nContent-Length: 25\r\n\r\n\
    {\"repositoryName\": \"app\"}";

pub(super) struct Server {
    runtime: Runtime,
    catalog: Catalog,
    requests: usize,
    /// The body of the response to the honest request.
    expected: String,
}

impl Server {
    pub(super) fn start() -> Self {
        let runtime = runtime();
        let catalog = runtime.block_on(start());
        let expected = runtime.block_on(honest_response(&catalog.url));
        assert!(expected.contains("imageDigest"), "{expected}");
        Self { runtime, catalog, requests: 0, expected }
    }

    /// Sends requests at the same time. None is answered with an error of the server, and an honest
    /// one after them is answered as ever.
    pub(super) fn send(&mut self, requests: &[Vec<u8>]) {
        self.requests += requests.len();
        if self.requests > REQUESTS_OF_A_CATALOG {
            self.catalog = self.runtime.block_on(start());
            self.requests = 0;
        }
        let url = &self.catalog.url;
        let responses = join_all(requests.iter().map(|request| exchange(url, request)));
        for response in self.runtime.block_on(responses) {
            for status in statuses(&response) {
                assert!(status < 500, "{}", response.escape_ascii());
            }
        }
        assert_eq!(self.runtime.block_on(honest_response(url)), self.expected);
    }
}

async fn start() -> Catalog {
    let store = Store::in_memory().await;
    let (tag, content) = (Some(tag("latest")), Content::default());
    let kind = ChangeKind::ImagePushed { digest: digest(1), tag, content };
    let change = Change { repository: repository("app"), time: time(0), kind };
    store.writer.apply(&change).await.unwrap();
    let limits = Limits { wait: WAIT, ..Limits::of_process() };
    Catalog::start_subscribed_limited(store, &subscriptions(), limits).await
}

/// Sends bytes, and reads until the server closes the connection, which it does after a while.
async fn exchange(url: &str, request: &[u8]) -> Vec<u8> {
    let exchange = async {
        let mut stream = TcpStream::connect(&url["http://".len()..]).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let mut response = Vec::new();
        // The server may close the connection before it has read everything.
        let (_, _) = tokio::join!(writer.write_all(request), reader.read_to_end(&mut response));
        response
    };
    timeout(HANG, exchange).await.unwrap_or_else(|_| panic!("no end of the connection"))
}

/// The body of the response to an honest request. If other tests take the processors for longer
/// than [`WAIT`], its connection is closed, too.
async fn honest_response(url: &str) -> String {
    for _ in 0..100 {
        let response = exchange(url, HONEST.as_bytes()).await;
        if let Some((_, body)) = String::from_utf8_lossy(&response).split_once("\r\n\r\n") {
            return body.to_owned();
        }
    }
    panic!("no response to an honest request")
}

/// The statuses of all responses of a connection.
fn statuses(mut bytes: &[u8]) -> Vec<u16> {
    let mut statuses = Vec::new();
    while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let Some(line) = head.strip_prefix("http/1.") else { break };
        statuses.push(line[2..5].parse().unwrap());
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        bytes = bytes.get(end + 4 + length..).unwrap_or_default();
    }
    statuses
}

/// A request with a body.
fn request(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// An event with the credential of a source.
pub(super) fn delivery(source: Source, event: &[u8]) -> Vec<u8> {
    let (query, header) = match source {
        Source::Quay | Source::DockerHub => ("?token=token", ""),
        Source::Artifactory => ("", "X-JFrog-Event-Auth: token\r\n"),
        _ => ("", "Authorization: Bearer token\r\n"),
    };
    request(&format!("/events/{source}{query}"), &format!("{header}Connection: close\r\n"), event)
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let ecr = "X-Amz-Target: AmazonEC2ContainerRegistry_V20150921.DescribeImages\r\n";
    let listing = json!({
        "registryId": "123456789012", "repositoryName": "app", "maxResults": 1, "nextToken": null,
        "filter": { "tagStatus": "TAGGED", "imageStatus": "ANY" },
    });
    let images = json!({
        "repositoryName": "app",
        "imageIds": [{ "imageTag": "latest" }, { "imageDigest": digest(1) }],
    });
    let [listing, images] = [listing, images].map(|body| body.to_string().into_bytes());
    let mut seeds = vec![
        request("/", ecr, &listing),
        request("/", ecr, &images),
        request("/DescribeImages", "", &listing),
        request("/", &format!("{ecr}Expect: 100-continue\r\n"), &listing),
        [request("/", ecr, &listing), request("/", ecr, &images)].concat(),
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_vec(),
        b"HEAD /healthz HTTP/1.0\r\n\r\n".to_vec(),
        format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\n{ecr}Transfer-Encoding: chunked\r\n\r\n\
             19;a=b\r\n{{\"repositoryName\": \"app\"}}\r\n0\r\nTrailer: a\r\n\r\n"
        )
        .into_bytes(),
    ];
    let siblings = json!({
        "registryId": "123456789012", "repositoryName": "app", "maxResults": 1,
        "repositoryNames": ["app"],
        "resourceArn": "arn:aws:ecr:us-east-1:123456789012:repository/app",
    });
    let siblings = siblings.to_string().into_bytes();
    for operation in ["DescribeRepositories", "ListTagsForResource", "ListImages"] {
        let target = format!("X-Amz-Target: AmazonEC2ContainerRegistry_V20150921.{operation}\r\n");
        seeds.push(request("/", &target, &siblings));
    }
    for operation in ["DescribeRepositories", "DescribeImageTags", "DescribeRegistries"] {
        let target = format!("X-Amz-Target: SpencerFrontendService.{operation}\r\n");
        seeds.push(request("/", &target, &siblings));
    }
    let first = |source: Source| delivery(source, samples(source)[0].as_bytes());
    seeds.extend(Source::ALL.map(first));
    seeds
}
