//! A registry in this process. It implements the part of the distribution API that reconciliation
//! uses, and can have contents that no real registry accepts, and a product's own API.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::SHA256;
use catalog::{Digest, Tag, Timestamp};
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A registry with one repository, until it is dropped.
#[derive(Debug)]
pub struct StandIn {
    /// `http://127.0.0.1:<port>`
    pub url: String,
    /// The requests, each with its `Authorization` and its body.
    pub requests: Arc<Mutex<Vec<Request>>>,
    serving: JoinHandle<()>,
}

/// Who may list the repositories of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Listing {
    #[default]
    Everybody,
    /// Nobody: the response has this status.
    Refused(&'static str),
    /// Who has the token for it, which the user `reader` with the password `secret` gets.
    Token,
}

/// In the header `Authorization`: `reader:secret`.
const BASIC: &str = "authorization: basic cmvhzgvyonnly3jlda==";

/// What a registry has besides tagged manifests.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    pub listing: Listing,
    /// The manifests of indexes, which have no tags.
    pub untagged: Vec<Value>,
    pub configurations: Vec<Value>,
    /// How long before the other responses that of the tags was sent: a slow registry.
    pub list_age: Duration,
    pub last_modified: Option<&'static str>,
    /// The responses of a product's own API, by method and path with its query.
    pub api: BTreeMap<String, Value>,
}

/// A request that a registry received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method, and the path with its query.
    pub target: String,
    pub authorization: Option<String>,
    pub body: String,
}

#[derive(Debug)]
struct Contents {
    url: String,
    repository: String,
    tags: BTreeMap<Tag, Digest>,
    manifests: BTreeMap<Digest, String>,
    configurations: BTreeMap<Digest, String>,
    extras: Extras,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// The digest of a manifest's text.
pub fn digest_of(manifest: &Value) -> Digest {
    let hash = aws_lc_rs::digest::digest(&SHA256, manifest.to_string().as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Digest::parse(&format!("sha256:{hash}")).unwrap()
}

/// A manifest of an image of this many bytes.
pub fn image_manifest(size: u64) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": crate::harness::digest(size),
            "size": size,
        },
        "layers": [],
    })
}

/// A manifest of an index with this many equal manifests.
pub fn index_manifest(manifests: usize) -> Value {
    let manifest = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": crate::harness::digest(1),
        "size": 500,
    });
    json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": vec![manifest; manifests],
    })
}

impl StandIn {
    /// Starts a registry with manifests, each with a tag.
    pub async fn start(repository: &str, manifests: &[(&str, Value)]) -> Self {
        Self::start_with(repository, manifests, Extras::default()).await
    }

    /// Starts a registry that has more than that.
    pub async fn start_with(repository: &str, manifests: &[(&str, Value)], extras: Extras) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let texts = |values: &[Value]| -> BTreeMap<Digest, String> {
            values.iter().map(|value| (digest_of(value), value.to_string())).collect()
        };
        let requests = Arc::default();
        let contents = Arc::new(Contents {
            url: url.clone(),
            repository: repository.to_owned(),
            tags: manifests
                .iter()
                .map(|(tag, manifest)| (crate::harness::tag(tag), digest_of(manifest)))
                .collect(),
            manifests: manifests
                .iter()
                .map(|(_, manifest)| (digest_of(manifest), manifest.to_string()))
                .chain(texts(&extras.untagged))
                .collect(),
            configurations: texts(&extras.configurations),
            extras,
            requests: Arc::clone(&requests),
        });
        let serving = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let contents = Arc::clone(&contents);
                tokio::spawn(async move { contents.respond(client).await });
            }
        });
        Self { url, requests, serving }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Contents {
    /// Responds to the one request of a connection.
    async fn respond(&self, client: TcpStream) {
        let mut client = BufReader::new(client);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match client.read_u8().await {
                Ok(byte) => request.push(byte),
                Err(_) => return,
            }
        }
        let request = String::from_utf8(request).unwrap();
        let header = |name: &str| {
            request.lines().find_map(|line| {
                let (key, value) = line.split_once(": ")?;
                key.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        let mut body =
            vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
        client.read_exact(&mut body).await.unwrap();
        let mut line = request.split_whitespace();
        let (method, target) = (line.next().unwrap(), line.next().unwrap());
        let path = target.split('?').next().unwrap();
        let called = format!("{method} {target}");
        self.requests.lock().unwrap().push(Request {
            target: called.clone(),
            authorization: header("authorization"),
            body: String::from_utf8(body).unwrap(),
        });
        let manifests = format!("/v2/{}/manifests/", self.repository);
        let blobs = format!("/v2/{}/blobs/", self.repository);
        let headers = request.to_ascii_lowercase();
        let mut age = Duration::ZERO;
        let (status, digest, body) = if let Some(response) = self.extras.api.get(&called) {
            ("200 OK", None, response.to_string())
        } else if path == "/v2/" {
            ("200 OK", None, String::new())
        } else if path == "/token" {
            if !headers.contains(BASIC) {
                ("401 Unauthorized", None, String::new())
            } else if target.contains("scope=registry%3Acatalog%3A*") {
                ("200 OK", None, json!({ "token": "list" }).to_string())
            } else {
                ("200 OK", None, json!({ "token": "pull" }).to_string())
            }
        } else if path == "/v2/_catalog" {
            match self.extras.listing {
                Listing::Refused(status) => (status, None, String::new()),
                Listing::Token if !headers.contains("authorization: bearer list\r\n") => {
                    ("401 Unauthorized", None, String::new())
                }
                _ => ("200 OK", None, json!({ "repositories": [self.repository] }).to_string()),
            }
        } else if path == format!("/v2/{}/tags/list", self.repository) {
            let tags: Vec<&Tag> = self.tags.keys().collect();
            age = self.extras.list_age;
            ("200 OK", None, json!({ "name": self.repository, "tags": tags }).to_string())
        } else if let Some((digest, manifest)) =
            path.strip_prefix(&manifests).and_then(|name| self.manifest(name))
        {
            ("200 OK", Some(digest), manifest.clone())
        } else if let Some(configuration) = path
            .strip_prefix(&blobs)
            .and_then(|digest| self.configurations.get(&Digest::parse(digest).ok()?))
        {
            ("200 OK", None, configuration.clone())
        } else {
            ("404 Not Found", None, String::new())
        };
        let now = jiff::Timestamp::from(Timestamp::now().minus(age));
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap();
        let digest = digest.map(|digest| format!("docker-content-digest: {digest}\r\n"));
        let challenge =
            (status.starts_with("401") && self.extras.listing == Listing::Token).then(|| {
                let realm = format!("{}/token", self.url);
                format!("www-authenticate: Bearer realm=\"{realm}\",service=\"registry\"\r\n")
            });
        let modified = self.extras.last_modified.filter(|_| digest.is_some());
        let modified = modified.map(|time| format!("last-modified: {time}\r\n"));
        let mut response = format!(
            "HTTP/1.1 {status}\r\ndate: {date}\r\ncontent-length: {}\r\n{}{}{}connection: close\r\n\r\n",
            body.len(),
            digest.unwrap_or_default(),
            challenge.unwrap_or_default(),
            modified.unwrap_or_default(),
        );
        if method != "HEAD" {
            response.push_str(&body);
        }
        let _ = client.write_all(response.as_bytes()).await;
    }

    fn manifest(&self, name: &str) -> Option<(&Digest, &String)> {
        let by_tag = || self.tags.get(&Tag::parse(name).ok()?).cloned();
        self.manifests.get_key_value(&Digest::parse(name).ok().or_else(by_tag)?)
    }
}
