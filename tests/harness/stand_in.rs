//! A registry in this process. It implements the part of the distribution API that reconciliation
//! uses, and can have contents that no real registry accepts.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::SHA256;
use catalog::{Digest, Tag, Timestamp};
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A registry with one repository, until it is dropped.
#[derive(Debug)]
pub struct StandIn {
    /// `http://127.0.0.1:<port>`
    pub url: String,
    serving: JoinHandle<()>,
}

/// Who may list the repositories of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    Everybody,
    /// Nobody: the response has this status.
    Refused(&'static str),
    /// Who has the token for it, which the user `reader` with the password `secret` gets.
    Token,
}

/// In the header `Authorization`: `reader:secret`.
const BASIC: &str = "authorization: basic cmvhzgvyonnly3jlda==";

#[derive(Debug)]
struct Contents {
    url: String,
    listing: Listing,
    repository: String,
    tags: BTreeMap<Tag, Digest>,
    manifests: BTreeMap<Digest, String>,
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
        Self::start_with(Listing::Everybody, repository, manifests).await
    }

    /// The same, with a list of its repositories that not everybody may read.
    pub async fn start_with(
        listing: Listing,
        repository: &str,
        manifests: &[(&str, Value)],
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let contents = Arc::new(Contents {
            url: url.clone(),
            listing,
            repository: repository.to_owned(),
            tags: manifests
                .iter()
                .map(|(tag, manifest)| (crate::harness::tag(tag), digest_of(manifest)))
                .collect(),
            manifests: manifests
                .iter()
                .map(|(_, manifest)| (digest_of(manifest), manifest.to_string()))
                .collect(),
        });
        let serving = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let contents = Arc::clone(&contents);
                tokio::spawn(async move { contents.respond(client).await });
            }
        });
        Self { url, serving }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Contents {
    /// Responds to the one request of a connection. No request has a body.
    async fn respond(&self, mut client: TcpStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match client.read_buf(&mut request).await {
                Ok(bytes) if bytes > 0 => {}
                _ => return,
            }
        }
        let request = String::from_utf8(request).unwrap();
        let mut line = request.split_whitespace();
        let (method, target) = (line.next().unwrap(), line.next().unwrap());
        let path = target.split('?').next().unwrap();
        let manifests = format!("/v2/{}/manifests/", self.repository);
        let headers = request.to_ascii_lowercase();
        let (status, digest, body) = if path == "/v2/" {
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
            match self.listing {
                Listing::Refused(status) => (status, None, String::new()),
                Listing::Token if !headers.contains("authorization: bearer list\r\n") => {
                    ("401 Unauthorized", None, String::new())
                }
                _ => ("200 OK", None, json!({ "repositories": [self.repository] }).to_string()),
            }
        } else if path == format!("/v2/{}/tags/list", self.repository) {
            let tags: Vec<&Tag> = self.tags.keys().collect();
            ("200 OK", None, json!({ "name": self.repository, "tags": tags }).to_string())
        } else if let Some((digest, manifest)) =
            path.strip_prefix(&manifests).and_then(|name| self.manifest(name))
        {
            ("200 OK", Some(digest), manifest.clone())
        } else {
            ("404 Not Found", None, String::new())
        };
        let now = jiff::Timestamp::from(Timestamp::now());
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap();
        let digest = digest.map(|digest| format!("docker-content-digest: {digest}\r\n"));
        let challenge = (status.starts_with("401") && self.listing == Listing::Token).then(|| {
            let realm = format!("{}/token", self.url);
            format!("www-authenticate: Bearer realm=\"{realm}\",service=\"registry\"\r\n")
        });
        let mut response = format!(
            "HTTP/1.1 {status}\r\ndate: {date}\r\ncontent-length: {}\r\n{}{}connection: close\r\n\r\n",
            body.len(),
            digest.unwrap_or_default(),
            challenge.unwrap_or_default(),
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
