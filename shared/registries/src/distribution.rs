//! Registries that speak the OCI distribution API.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use catalog::table::causes;
use catalog::{Digest, Timestamp};
use jiff::fmt::rfc2822;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use reqwest::{Method, StatusCode};
use secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use subscriptions::Subscriptions;
use tokio::sync::Mutex;
use url::Url;

use crate::manifest;
use crate::{Answer, Listed, NoAnswer};

/// How the catalog introduces itself to registries, which tell of its own requests, too.
pub const USER_AGENT: &str = concat!("image-catalog/", env!("CARGO_PKG_VERSION"));

/// The most bytes of a manifest: what registries take.
const LARGEST_MANIFEST: usize = 4 * 1024 * 1024;

/// The most bytes of a page of tags or repositories.
const LARGEST_PAGE: usize = 16 * 1024 * 1024;

/// How many tags or repositories are asked for at once.
const PAGE: usize = 1000;

/// For how many repositories it is remembered what their registries want to be shown.
const MOST_REMEMBERED: usize = 1000;

/// How long a registry may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where a registry is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RegistryAddress {
    /// Its host, and its port if that is not the usual one.
    pub host: String,
    /// Whether it is asked over TLS.
    pub encrypted: bool,
    /// The subscription that has the credential which it wants to see.
    pub subscription: Option<String>,
}

impl RegistryAddress {
    /// The address in an URL, of which only scheme, host and port are used; nothing if it has none.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let encrypted = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str()?),
            None => url.host_str()?.to_owned(),
        };
        Some(Self { host, encrypted, subscription: None })
    }
}

/// Asks registries that speak the OCI distribution API.
pub struct Distribution {
    encrypted: Client,
    plain: Client,
    http: reqwest::Client,
    subscriptions: Arc<Secret<Subscriptions>>,
    /// What registries wanted to be shown last, for a repository at an address.
    shown: Mutex<HashMap<(RegistryAddress, String), Shown>>,
}

/// What a registry is shown with a request.
#[derive(Clone)]
enum Shown {
    Nothing,
    Token(String),
    Basic(String, String),
}

impl std::fmt::Debug for Distribution {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Distribution")
    }
}

struct Reply {
    status: StatusCode,
    digest: String,
    date: Option<Timestamp>,
    next: Option<String>,
    bytes: Vec<u8>,
}

impl Distribution {
    /// Shows the credentials of these subscriptions.
    #[must_use]
    pub fn new(subscriptions: Arc<Secret<Subscriptions>>) -> Self {
        let client = |protocol| {
            Client::new(ClientConfig {
                protocol,
                connect_timeout: Some(TIMEOUT),
                read_timeout: Some(TIMEOUT),
                user_agent: USER_AGENT,
                ..ClientConfig::default()
            })
        };
        Self {
            encrypted: client(ClientProtocol::Https),
            plain: client(ClientProtocol::Http),
            http: reqwest::Client::builder().user_agent(USER_AGENT).build().unwrap_or_default(),
            subscriptions,
            shown: Mutex::default(),
        }
    }

    /// A manifest, by its digest or by a tag.
    ///
    /// # Errors
    /// The registry does not answer, or not as it should.
    pub async fn manifest(
        &self,
        address: &RegistryAddress,
        name: &str,
        reference: &str,
    ) -> Result<Answer, NoAnswer> {
        let path = format!("{name}/manifests/{reference}");
        let reply = self
            .ask(Method::GET, address, name, &path, LARGEST_MANIFEST, &[StatusCode::NOT_FOUND])
            .await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(Answer::None("the registry does not know it".to_owned()));
        }
        if reply.bytes.len() > LARGEST_MANIFEST {
            return Ok(Answer::None(format!("it is larger than {LARGEST_MANIFEST} bytes")));
        }
        let Ok(digest) = Digest::parse(reference).or_else(|_| Digest::parse(&reply.digest)) else {
            return Err(NoAnswer(format!(
                "the registry answers with the digest '{}'",
                reply.digest
            )));
        };
        match manifest::read(&digest, &reply.bytes) {
            Ok(content) => Ok(Answer::Manifest(digest, Box::new(content))),
            Err(error) => Ok(Answer::None(error.to_string())),
        }
    }

    /// The digest of a manifest, if the registry has it.
    ///
    /// # Errors
    /// The registry does not answer, or not as it should.
    pub async fn digest(
        &self,
        address: &RegistryAddress,
        name: &str,
        reference: &str,
    ) -> Result<Option<Digest>, NoAnswer> {
        let path = format!("{name}/manifests/{reference}");
        let reply =
            self.ask(Method::HEAD, address, name, &path, 0, &[StatusCode::NOT_FOUND]).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Digest::parse(&reply.digest)
            .map(Some)
            .map_err(|_| NoAnswer("the registry tells no digest".to_owned()))
    }

    /// The tags of a repository.
    ///
    /// # Errors
    /// The registry does not answer, or not as it should.
    pub async fn tags(
        &self,
        address: &RegistryAddress,
        name: &str,
    ) -> Result<Listed<String>, NoAnswer> {
        self.list(address, name, &format!("{name}/tags/list"), "tags", &[StatusCode::NOT_FOUND])
            .await
    }

    /// All repositories; nothing if the registry does not list them, or not for everybody.
    ///
    /// # Errors
    /// The registry does not answer, or not as it should.
    pub async fn repositories(
        &self,
        address: &RegistryAddress,
    ) -> Result<Option<Vec<String>>, NoAnswer> {
        let refusals = [StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        Ok(self.list(address, "", "_catalog", "repositories", &refusals).await?.things)
    }

    /// All names of a list, page by page; nothing if it is refused.
    async fn list(
        &self,
        address: &RegistryAddress,
        name: &str,
        path: &str,
        member: &str,
        refusals: &[StatusCode],
    ) -> Result<Listed<String>, NoAnswer> {
        let mut names = Vec::new();
        let mut date = None;
        let mut asked = HashSet::new();
        let mut next = Some(format!("{path}?n={PAGE}"));
        while let Some(path) = next.take() {
            // What is refused half-way is no answer.
            let refusals = if asked.is_empty() { refusals } else { &[] };
            let reply = self.ask(Method::GET, address, name, &path, LARGEST_PAGE, refusals).await?;
            date = date.or(reply.date);
            if reply.status != StatusCode::OK {
                break;
            }
            let page: Value = serde_json::from_slice(&reply.bytes)
                .map_err(|error| NoAnswer(format!("the list {path} cannot be read: {error}")))?;
            // A repository without tags has `null`.
            let listed = page[member].as_array().into_iter().flatten();
            names.extend(listed.filter_map(|name| name.as_str().map(str::to_owned)));
            next = reply.next.filter(|path| asked.insert(path.clone()));
            if next.is_none() {
                return Ok(Listed { things: Some(names), date: known(date)? });
            }
        }
        Ok(Listed { things: None, date: known(date)? })
    }

    /// Asks for what is below `/v2/`, with the right to read a repository. Besides 200, these
    /// statuses are answers.
    async fn ask(
        &self,
        method: Method,
        address: &RegistryAddress,
        name: &str,
        path: &str,
        limit: usize,
        refusals: &[StatusCode],
    ) -> Result<Reply, NoAnswer> {
        let reply =
            tokio::time::timeout(TIMEOUT, self.send(method, address, name, path, limit)).await;
        let reply = reply
            .map_err(|_| NoAnswer("the registry took too long".to_owned()))?
            .map_err(NoAnswer)?;
        if reply.status != StatusCode::OK && !refusals.contains(&reply.status) {
            return Err(NoAnswer(format!(
                "the registry answers with the status {}",
                reply.status.as_u16()
            )));
        }
        Ok(reply)
    }

    async fn send(
        &self,
        method: Method,
        address: &RegistryAddress,
        name: &str,
        path: &str,
        limit: usize,
    ) -> Result<Reply, String> {
        let scheme = if address.encrypted { "https" } else { "http" };
        let url = format!("{scheme}://{}/v2/{path}", address.host);
        let request = async |shown| {
            let request =
                self.http.request(method.clone(), &url).header("accept", manifest::accepted());
            let request = match shown {
                Shown::Token(token) => request.bearer_auth(token),
                Shown::Basic(username, password) => request.basic_auth(username, Some(password)),
                Shown::Nothing => request,
            };
            request.send().await.map_err(|error| causes(&error))
        };
        let key = (address.clone(), name.to_owned());
        let remembered = self.shown.lock().await.get(&key).cloned();
        let mut response = match remembered {
            Some(shown) => request(shown).await?,
            None => request(self.find_out(&key).await?).await?,
        };
        // What was right before may have ended, or have been changed.
        if response.status() == StatusCode::UNAUTHORIZED {
            response = request(self.find_out(&key).await?).await?;
        }
        let header =
            |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let date = header("date").and_then(|date| rfc2822::parse(date).ok());
        let mut reply = Reply {
            status: response.status(),
            digest: header("docker-content-digest").unwrap_or_default().to_owned(),
            date: date.and_then(|date| Timestamp::try_from(date.timestamp()).ok()),
            next: header("link").and_then(next_page),
            bytes: Vec::new(),
        };
        while let Some(chunk) = response.chunk().await.map_err(|error| causes(&error))? {
            reply.bytes.extend(chunk);
            if reply.bytes.len() > limit {
                break;
            }
        }
        Ok(reply)
    }

    /// Finds out what a registry wants to be shown for a repository, and remembers it. The client
    /// is asked for that alone; it would read a reply of any size.
    async fn find_out(&self, key: &(RegistryAddress, String)) -> Result<Shown, String> {
        let (address, name) = key;
        let credential = self.credential(address).await?;
        let client = if address.encrypted { &self.encrypted } else { &self.plain };
        let reference =
            Reference::with_tag(address.host.clone(), name.clone(), "latest".to_owned());
        let token = client.auth(&reference, &credential, RegistryOperation::Pull).await;
        let shown = match (token.map_err(|error| causes(&error))?, credential) {
            (Some(token), _) => Shown::Token(token),
            (None, RegistryAuth::Basic(username, password)) => Shown::Basic(username, password),
            (None, _) => Shown::Nothing,
        };
        let mut remembered = self.shown.lock().await;
        if remembered.len() == MOST_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(key.clone(), shown.clone());
        Ok(shown)
    }

    /// The credential for a registry. Only the address that a subscription gives, or that its
    /// product has, ever sees it.
    async fn credential(&self, address: &RegistryAddress) -> Result<RegistryAuth, String> {
        let Some(id) = &address.subscription else { return Ok(RegistryAuth::Anonymous) };
        let subscriptions =
            self.subscriptions.value().await.map_err(|error| format!("no credential: {error}"))?;
        let credential = subscriptions.get(id).and_then(|known| known.registry_credential.as_ref());
        Ok(credential.map_or(RegistryAuth::Anonymous, |credential| {
            RegistryAuth::Basic(credential.username.clone(), credential.password.clone())
        }))
    }
}

/// The registry's time, but no later than this machine's: where events tell no time, they have that
/// of their arrival here.
fn known(date: Option<Timestamp>) -> Result<Timestamp, NoAnswer> {
    date.map(|date| date.min(Timestamp::now()))
        .ok_or_else(|| NoAnswer("the registry does not tell its time".to_owned()))
}

/// What is below `/v2/` of the next page that a `Link` header names: `</v2/…?n=…&last=…>;
/// rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let (address, _) = link.split_once('>')?;
    let (_, path) = address.split_once("/v2/")?;
    Some(path.to_owned())
}
