//! A client of the OCI distribution API.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use catalog::{Digest, Timestamp};
use http::header::LOCATION;
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, StatusCode};
use secret::Secret;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::time::timeout;
use url::Url;

use crate::authorization::{self, Authorization};
use crate::credential::BasicCredential;
use crate::resolver::Resolver;
use crate::source::Source;
use crate::subscription::{Subscription, Subscriptions};
use crate::{
    Descriptor, FoundManifest, Listed, ManifestLookup, ManifestNotFound, PushHints,
    RegistryUnavailable, manifest, parse_http_date,
};

/// The `User-Agent` of the catalog's requests. Registries send events of these requests, too.
pub const USER_AGENT: &str = concat!("image-catalog/", env!("CARGO_PKG_VERSION"));

/// The bytes that the OCI distribution specification has registries accept at least.
const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// The configuration of an image; those of real images have some kilobytes.
const MAX_CONFIGURATION_BYTES: usize = 4 * 1024 * 1024;

/// Of a page of tags, repositories or push times.
pub(crate) const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Of all pages of a list: a million tags, and some.
const MAX_LIST_BYTES: usize = 64 * 1024 * 1024;

/// Of a list. An empty name has three bytes there, and takes more memory.
const MAX_NAMES: usize = 1_000_000;

/// Of a list. A registry may return less than [`PAGE_SIZE`] at a time.
const MAX_PAGES: usize = 10_000;

/// Tags or repositories of one request.
const PAGE_SIZE: usize = 1000;

/// The repositories whose authorization is kept for the next request.
const MAX_AUTHORIZATIONS: usize = 250;

const MAX_REDIRECTS: usize = 5;

/// Of a digest in an error, in characters.
const MAX_DIGEST_LENGTH: usize = 100;

/// For one response until its body begins.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// For one body: the largest manifest at four mebibytes a minute, and some.
const BODY_TIMEOUT: Duration = Duration::from_secs(75);

/// The address of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RegistryAddress {
    /// The host, with the port unless it is the default one.
    pub host: String,
    /// Whether requests use TLS.
    pub encrypted: bool,
    /// The id of the subscription with the registry credential.
    pub subscription: Option<String>,
}

/// Why a URL is not the address of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRegistryUrl {
    #[error("it is not an http or https URL")]
    Scheme,
    #[error("it must have no path, query or fragment: requests go to /v2/ of the host")]
    MoreThanHost,
}

impl RegistryAddress {
    /// The registry at a URL that has nothing but a scheme, a host and a port: requests would go
    /// elsewhere than the rest of it says.
    pub fn from_whole_url(url: &Url) -> Result<Self, InvalidRegistryUrl> {
        let address = Self::from_url(url).ok_or(InvalidRegistryUrl::Scheme)?;
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidRegistryUrl::MoreThanHost);
        }
        Ok(address)
    }

    /// The scheme, host and port of a URL. `None` unless the scheme is http or https.
    #[must_use]
    pub fn from_url(url: &Url) -> Option<Self> {
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

    /// The URL of a path below `/v2/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{self}/v2/{path}")
    }

    /// What `docker pull` takes for a repository.
    #[must_use]
    pub fn repository_uri(&self, name: &str) -> String {
        // Images of Docker Hub are pulled under another name than that of its API.
        let is_docker_hub = Source::DockerHub.host() == Some(self.host.as_str());
        let host = if is_docker_hub { "docker.io" } else { &self.host };
        format!("{host}/{name}")
    }

    /// Whether it is the address of a product that is a service of its own.
    #[must_use]
    pub fn is_of_service(&self) -> bool {
        self.encrypted
            && Source::ALL.into_iter().any(|source| source.host() == Some(self.host.as_str()))
    }

    /// A host that is reached over TLS.
    #[must_use]
    pub fn from_host(host: &str) -> Self {
        Self { host: host.to_owned(), encrypted: true, subscription: None }
    }
}

/// The scheme, the host and the port.
impl fmt::Display for RegistryAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.encrypted { "https" } else { "http" };
        write!(formatter, "{scheme}://{}", self.host)
    }
}

/// What a subscription permits for the registry at its address.
#[derive(Default)]
pub(crate) struct Access {
    pub(crate) credential: Option<BasicCredential>,
    /// Hosts of the registry besides that of its address.
    pub(crate) further_hosts: Vec<String>,
}

impl Access {
    /// Whether requests may be sent to a URL that the registry named: to its own host, or to one
    /// that its subscription or its product names. TLS is left only where the registry has none.
    pub(crate) fn allows(&self, address: &RegistryAddress, url: &Url) -> bool {
        let has_scheme = match url.scheme() {
            "https" => true,
            "http" => !address.encrypted,
            _ => false,
        };
        let has_user = !url.username().is_empty() || url.password().is_some();
        let Some(host) = url.host_str().filter(|_| has_scheme && !has_user) else { return false };
        Url::parse(&address.url("")).is_ok_and(|own| own.host_str() == Some(host))
            || self.further_hosts.iter().any(|further| further == host)
            || Source::further_hosts(&address.host).contains(&host)
    }
}

/// A client of registries that implement the OCI distribution API.
pub struct OciClient {
    pub(crate) http: reqwest::Client,
    subscriptions: Arc<Secret<Subscriptions>>,
    /// By address and repository.
    authorizations: Mutex<HashMap<(RegistryAddress, String), Authorization>>,
}

impl fmt::Debug for OciClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OciClient")
    }
}

/// A page of tags or of repositories.
#[derive(Deserialize)]
struct Page {
    /// A repository without tags has `null`.
    #[serde(alias = "tags", alias = "repositories", deserialize_with = "Option::deserialize")]
    names: Option<Vec<String>>,
}

struct Response {
    status: StatusCode,
    digest: String,
    date: Option<Timestamp>,
    last_modified: Option<Timestamp>,
    next: Option<String>,
    bytes: Vec<u8>,
}

impl OciClient {
    /// Requests contain the registry credentials of these subscriptions.
    ///
    /// # Panics
    /// If there is no TLS backend; it is compiled in.
    #[must_use]
    pub fn new(subscriptions: Arc<Secret<Subscriptions>>) -> Self {
        let http = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .dns_resolver(Resolver);
        Self {
            http: http.build().expect("the TLS backend is compiled in"),
            subscriptions,
            authorizations: Mutex::default(),
        }
    }

    /// Gets a manifest by its digest or by a tag.
    pub async fn manifest(
        &self,
        address: &RegistryAddress,
        name: &str,
        reference: &str,
    ) -> Result<ManifestLookup, RegistryUnavailable> {
        let path = format!("{name}/manifests/{reference}");
        let response = self
            .request(
                Method::GET,
                address,
                name,
                &path,
                MAX_MANIFEST_BYTES,
                &[StatusCode::NOT_FOUND],
            )
            .await?;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(ManifestLookup::NotFound(ManifestNotFound::Unknown));
        }
        if response.bytes.len() > MAX_MANIFEST_BYTES {
            return Ok(ManifestLookup::NotFound(ManifestNotFound::TooLarge(MAX_MANIFEST_BYTES)));
        }
        let digest = match Digest::parse(reference) {
            Ok(digest) => digest,
            Err(_) => response.digest()?,
        };
        Ok(match manifest::read_all(&digest, &response.bytes) {
            Ok(read) => {
                let hints = PushHints {
                    date: response.date,
                    last_modified: response.last_modified,
                    created: read.created,
                    configuration: read.configuration,
                };
                let content = read.content;
                let found = FoundManifest { digest, content, pushed_at: None, hints };
                ManifestLookup::Found(Box::new(found))
            }
            Err(error) => ManifestLookup::NotFound(ManifestNotFound::Invalid(error)),
        })
    }

    /// Gets the time at which an image was created, from its configuration; `None` if the
    /// configuration does not contain it, is too large, or cannot be read.
    pub async fn created(
        &self,
        address: &RegistryAddress,
        name: &str,
        configuration: &Descriptor,
    ) -> Result<Option<Timestamp>, RegistryUnavailable> {
        const MAX_BYTES: usize = MAX_CONFIGURATION_BYTES;
        if usize::try_from(configuration.size).is_ok_and(|size| size > MAX_BYTES) {
            return Ok(None);
        }
        let path = format!("{name}/blobs/{}", configuration.digest);
        match self.request(Method::GET, address, name, &path, MAX_BYTES, &[]).await {
            Ok(response) => Ok(manifest::created(&configuration.digest, &response.bytes)),
            // A later request may succeed.
            Err(error @ RegistryUnavailable::Status(429 | 500..)) => Err(error),
            Err(RegistryUnavailable::Status(status)) => {
                let configuration = configuration.digest.as_str();
                tracing::warn!(name, configuration, status, "a configuration cannot be read");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Gets the digest of a manifest, with the registry's own time of its response if it contains
    /// one; `None` if the registry does not have the manifest.
    pub async fn digest(
        &self,
        address: &RegistryAddress,
        name: &str,
        reference: &str,
    ) -> Result<Option<(Digest, Option<Timestamp>)>, RegistryUnavailable> {
        let path = format!("{name}/manifests/{reference}");
        let response =
            self.request(Method::HEAD, address, name, &path, 0, &[StatusCode::NOT_FOUND]).await?;
        if response.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some((response.digest()?, response.date)))
    }

    /// Lists the tags of a repository.
    pub async fn tags(
        &self,
        address: &RegistryAddress,
        name: &str,
    ) -> Result<Listed<String>, RegistryUnavailable> {
        self.list(address, name, &format!("{name}/tags/list"), &[StatusCode::NOT_FOUND]).await
    }

    /// Lists all repositories; `None` if the registry has no list of them. That it refuses the list
    /// is an error: the credential may be wrong.
    pub async fn repositories(
        &self,
        address: &RegistryAddress,
    ) -> Result<Option<Vec<String>>, RegistryUnavailable> {
        let no_list =
            [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED];
        match self.list(address, "", "_catalog", &no_list).await {
            Err(RegistryUnavailable::Status(status @ (401 | 403))) => {
                Err(RegistryUnavailable::ListRefused(status))
            }
            listed => Ok(listed?.items),
        }
    }

    /// All names of a list, page by page. The statuses in `refusals` mean that there is no list.
    async fn list(
        &self,
        address: &RegistryAddress,
        name: &str,
        path: &str,
        refusals: &[StatusCode],
    ) -> Result<Listed<String>, RegistryUnavailable> {
        let mut names = Vec::new();
        let mut date = None;
        let mut requested = HashSet::new();
        let mut bytes = 0;
        let mut next = Some(format!("{path}?n={PAGE_SIZE}"));
        while let Some(path) = next.take() {
            // A list that is refused after its first page is not complete.
            let refusals = if requested.is_empty() { refusals } else { &[] };
            let response =
                self.request(Method::GET, address, name, &path, MAX_PAGE_BYTES, refusals).await?;
            date = date.or(response.date);
            if response.status != StatusCode::OK {
                break;
            }
            bytes += response.bytes.len();
            if bytes > MAX_LIST_BYTES || requested.len() == MAX_PAGES {
                return Err(RegistryUnavailable::ListTooLarge);
            }
            let page: Page = serde_json::from_slice(&response.bytes)
                .map_err(|error| RegistryUnavailable::InvalidList(Arc::new(error)))?;
            names.extend(page.names.into_iter().flatten());
            if names.len() > MAX_NAMES {
                return Err(RegistryUnavailable::ListTooLarge);
            }
            next = response.next.filter(|path| requested.insert(path.clone()));
            if next.is_none() {
                return Ok(Listed { items: Some(names), date: checked(date)? });
            }
        }
        Ok(Listed { items: None, date: checked(date)? })
    }

    /// Sends a request for a path below `/v2/`, authorized to read a repository. Returns responses
    /// with the status 200, or with one of `refusals`.
    async fn request(
        &self,
        method: Method,
        address: &RegistryAddress,
        name: &str,
        path: &str,
        max_bytes: usize,
        refusals: &[StatusCode],
    ) -> Result<Response, RegistryUnavailable> {
        let response = self.send(method, address, name, path, max_bytes).await?;
        if response.status != StatusCode::OK && !refusals.contains(&response.status) {
            return Err(RegistryUnavailable::Status(response.status.as_u16()));
        }
        Ok(response)
    }

    async fn send(
        &self,
        method: Method,
        address: &RegistryAddress,
        name: &str,
        path: &str,
        max_bytes: usize,
    ) -> Result<Response, RegistryUnavailable> {
        let mut response = self.send_authorized(&method, address, name, path).await?;
        let header =
            |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let time = |name| header(name).and_then(parse_http_date);
        let mut read = Response {
            status: response.status(),
            digest: header("docker-content-digest").unwrap_or_default().to_owned(),
            date: time("date"),
            last_modified: time("last-modified"),
            next: header("link").and_then(next_page),
            bytes: Vec::new(),
        };
        read.bytes = timeout(BODY_TIMEOUT, read_body(&mut response, max_bytes))
            .await
            .map_err(|_| RegistryUnavailable::TimedOut)??;
        Ok(read)
    }

    /// Sends a request with the authorization for a repository, and follows redirects.
    async fn send_authorized(
        &self,
        method: &Method,
        address: &RegistryAddress,
        name: &str,
        path: &str,
    ) -> Result<reqwest::Response, RegistryUnavailable> {
        let url = Url::parse(&address.url(path)).map_err(RegistryUnavailable::request)?;
        // The path may be that of a `Link` header.
        if !url.path().starts_with("/v2/") {
            return Err(RegistryUnavailable::OutsideApi);
        }
        let access = self.access(address).await?;
        let key = (address.clone(), name.to_owned());
        let kept = self.authorizations.lock().await.get(&key).cloned();
        let mut authorization = match kept {
            Some(authorization) => authorization,
            None => self.authorize(&key, &access).await?,
        };
        let mut response = self.try_send(method, url.clone(), &authorization).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            // The authorization that was kept may have expired.
            authorization = self.authorize(&key, &access).await?;
            response = self.try_send(method, url.clone(), &authorization).await?;
        }
        for _ in 0..MAX_REDIRECTS {
            let Some(target) = redirect_target(&response) else { break };
            if !access.allows(address, &target) {
                let origin = target.origin().ascii_serialization();
                return Err(RegistryUnavailable::Redirected(origin));
            }
            // The credential is for the registry alone. Others have signed URLs.
            let is_own = target.origin() == url.origin();
            let authorization = if is_own { &authorization } else { &Authorization::Anonymous };
            response = self.try_send(method, target, authorization).await?;
        }
        Ok(response)
    }

    async fn try_send(
        &self,
        method: &Method,
        url: Url,
        authorization: &Authorization,
    ) -> Result<reqwest::Response, RegistryUnavailable> {
        let request = self.http.request(method.clone(), url).header("accept", manifest::accepted());
        send(authorization.add_to(request)).await
    }

    /// Negotiates the authorization for a repository, or for the list of all if the name is empty,
    /// and keeps it.
    async fn authorize(
        &self,
        key: &(RegistryAddress, String),
        access: &Access,
    ) -> Result<Authorization, RegistryUnavailable> {
        let (address, name) = key;
        let authorization = authorization::negotiate(&self.http, address, name, access).await?;
        let mut authorizations = self.authorizations.lock().await;
        if authorizations.len() == MAX_AUTHORIZATIONS {
            authorizations.clear();
        }
        authorizations.insert(key.clone(), authorization.clone());
        Ok(authorization)
    }

    /// Whether the subscription of an address exists, and still has this address; also if the
    /// subscriptions cannot be read now, so that no lookup is lost.
    pub async fn is_named(&self, address: &RegistryAddress) -> bool {
        !matches!(self.access(address).await, Err(RegistryUnavailable::NotNamed(_)))
    }

    /// What the subscription of an address permits. A lookup may be older than the subscription's
    /// present address, to which alone requests are sent.
    pub(crate) async fn access(
        &self,
        address: &RegistryAddress,
    ) -> Result<Access, RegistryUnavailable> {
        let Some(id) = &address.subscription else { return Ok(Access::default()) };
        let subscriptions = self
            .subscriptions
            .value()
            .await
            .map_err(|error| RegistryUnavailable::Credential(error.into()))?;
        let is_at_address = |subscription: &&Subscription| {
            subscription.registry_address(subscription.source.host()).as_ref() == Some(address)
        };
        let access = subscriptions.get(id).filter(is_at_address).map(|subscription| Access {
            credential: subscription.registry_credential.clone(),
            further_hosts: subscription.registry_hosts.clone(),
        });
        access.ok_or_else(|| RegistryUnavailable::NotNamed(address.host.clone()))
    }
}

/// Sends a request, and waits for the head of its response.
pub(crate) async fn send(
    request: RequestBuilder,
) -> Result<reqwest::Response, RegistryUnavailable> {
    let response = timeout(TIMEOUT, request.send()).await;
    response.map_err(|_| RegistryUnavailable::TimedOut)?.map_err(RegistryUnavailable::request)
}

/// Where a response redirects a request to.
fn redirect_target(response: &reqwest::Response) -> Option<Url> {
    let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection());
    response.url().join(location?.to_str().ok()?).ok()
}

/// Reads a body until it passes the limit, so that its length shows whether it does.
pub(crate) async fn read_body(
    response: &mut reqwest::Response,
    max_bytes: usize,
) -> Result<Vec<u8>, RegistryUnavailable> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(RegistryUnavailable::request)? {
        bytes.extend(chunk);
        if bytes.len() > max_bytes {
            break;
        }
    }
    Ok(bytes)
}

impl Response {
    fn digest(&self) -> Result<Digest, RegistryUnavailable> {
        let beginning = || self.digest.chars().take(MAX_DIGEST_LENGTH).collect();
        Digest::parse(&self.digest).map_err(|_| RegistryUnavailable::InvalidDigest(beginning()))
    }
}

/// The registry's time, but not later than the time here, which events without a time have.
fn checked(date: Option<Timestamp>) -> Result<Timestamp, RegistryUnavailable> {
    date.map(|date| date.min(Timestamp::now())).ok_or(RegistryUnavailable::NoDate)
}

/// The path below `/v2/` in a `Link` header: `</v2/…?n=…&last=…>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let (address, _) = link.split_once('>')?;
    let (_, path) = address.split_once("/v2/")?;
    Some(path.to_owned())
}
