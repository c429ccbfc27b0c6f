//! Push times: some products return in an API of their own what the OCI distribution API does not
//! contain. One file for each product.

mod docker_hub;
mod github;
mod harbor;
mod quay;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::{Digest, Timestamp};
use reqwest::{Method, RequestBuilder};
use serde::de::DeserializeOwned;

use crate::credential::BasicCredential;
use crate::oci::{MAX_PAGE_BYTES, TIMEOUT, read_body};
use crate::{OciClient, RegistryAddress, RegistryUnavailable, Source};

/// The hosts of products that have one for this API.
pub(crate) const HOSTS: [&str; 2] = [docker_hub::HOST, github::HOST];

/// The images or tags of a page. Each of these APIs has this maximum.
const PAGE_SIZE: usize = 100;

/// Of one repository. What is on later pages is not known.
const MAX_PAGES: usize = 1000;

/// For all pages of a repository.
const MAX_TIME: Duration = Duration::from_secs(60);

/// The first push of each image, as far as the product returns it.
pub type PushTimes = BTreeMap<Digest, Timestamp>;

/// Gets the push times of a repository's images; `None` if the product has no API for them.
pub async fn of_repository(
    oci: &OciClient,
    source: Source,
    address: &RegistryAddress,
    name: &str,
) -> Result<Option<PushTimes>, RegistryUnavailable> {
    let times = async {
        let api = Api::new(oci, source, address).await?;
        match source {
            Source::DockerHub => docker_hub::push_times(&api, name).await.map(Some),
            Source::Github => github::push_times(&api, name).await.map(Some),
            Source::Harbor => harbor::push_times(&api, name).await.map(Some),
            Source::Quay => quay::push_times(&api, name).await.map(Some),
            Source::Ecr | Source::Distribution | Source::Artifactory | Source::Zot => Ok(None),
        }
    };
    tokio::time::timeout(MAX_TIME, times).await.map_err(|_| RegistryUnavailable::TimedOut)?
}

/// The API of a product, with the credential of a subscription.
struct Api<'a> {
    http: &'a reqwest::Client,
    /// Scheme, host and port.
    origin: String,
    credential: Option<BasicCredential>,
}

impl<'a> Api<'a> {
    /// The API is at the registry's host, unless the product has one host for it.
    async fn new(
        oci: &'a OciClient,
        source: Source,
        address: &RegistryAddress,
    ) -> Result<Self, RegistryUnavailable> {
        let own_host = match source {
            Source::DockerHub => Some(docker_hub::HOST),
            Source::Github => Some(github::HOST),
            _ => None,
        };
        let own_host = own_host.filter(|_| source.host() == Some(address.host.as_str()));
        let scheme = if address.encrypted { "https" } else { "http" };
        let credential = oci.access(address).await?.credential;
        let origin = format!("{scheme}://{}", own_host.unwrap_or(&address.host));
        Ok(Self { http: &oci.http, origin, credential })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.origin))
    }

    /// Gets the pages of a list, until `read` returns that there are no more.
    async fn pages<P: DeserializeOwned>(
        &self,
        request: impl Fn(usize) -> RequestBuilder,
        read: impl Fn(P, &mut PushTimes) -> bool,
    ) -> Result<PushTimes, RegistryUnavailable> {
        let mut times = PushTimes::new();
        for page in 1..=MAX_PAGES {
            if !read(send(request(page)).await?, &mut times) {
                break;
            }
        }
        Ok(times)
    }
}

/// Sends a request, and returns the JSON of its response.
async fn send<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, RegistryUnavailable> {
    let read = async {
        let mut response = request.send().await.map_err(RegistryUnavailable::request)?;
        if !response.status().is_success() {
            return Err(RegistryUnavailable::Status(response.status().as_u16()));
        }
        let bytes = read_body(&mut response, MAX_PAGE_BYTES).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| RegistryUnavailable::InvalidList(Arc::new(error)))
    };
    tokio::time::timeout(TIMEOUT, read).await.map_err(|_| RegistryUnavailable::TimedOut)?
}

/// Adds the push time of a digest. Of several times, the first counts. Products may return neither.
fn add(times: &mut PushTimes, digest: Option<&str>, time: Option<Timestamp>) {
    let digest = digest.and_then(|digest| Digest::parse(digest).ok());
    if let (Some(digest), Some(time)) = (digest, time) {
        times.entry(digest).and_modify(|known| *known = time.min(*known)).or_insert(time);
    }
}

/// Parses a time; `None` if there is none.
fn parse_time(time: Option<&str>) -> Option<Timestamp> {
    time?.parse().ok()
}
