//! GitHub Packages: `created_at` of a version, which is a manifest. The password must be a personal
//! access token (classic) with `read:packages`, also for public packages.
//!
//! <https://docs.github.com/rest/packages/packages>

use reqwest::{Method, RequestBuilder};
use serde::Deserialize;

use super::{Api, PAGE_SIZE, PushTimes, add, parse_time};
use crate::RegistryUnavailable;

pub(super) const HOST: &str = "api.github.com";

#[derive(Deserialize)]
struct Version {
    /// The digest.
    name: Option<String>,
    created_at: Option<String>,
}

/// The owner is an organization or a user.
pub(super) async fn push_times(
    api: &Api<'_>,
    name: &str,
) -> Result<PushTimes, RegistryUnavailable> {
    match push_times_of(api, "orgs", name).await {
        Err(RegistryUnavailable::Status(404)) => push_times_of(api, "users", name).await,
        times => times,
    }
}

async fn push_times_of(
    api: &Api<'_>,
    owners: &str,
    name: &str,
) -> Result<PushTimes, RegistryUnavailable> {
    let (owner, package) = name.split_once('/').unwrap_or((name, ""));
    let package = package.replace('/', "%2F");
    let path = format!("/{owners}/{owner}/packages/container/{package}/versions");
    let request = |page: usize| -> RequestBuilder {
        let query = format!("?per_page={PAGE_SIZE}&page={page}");
        let request = api
            .request(Method::GET, &format!("{path}{query}"))
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28");
        match &api.credential {
            Some(credential) => request.bearer_auth(&credential.password),
            None => request,
        }
    };
    api.pages(request, |versions: Vec<Version>, times| {
        let known = times.len();
        for version in &versions {
            add(times, version.name.as_deref(), parse_time(version.created_at.as_deref()));
        }
        versions.len() == PAGE_SIZE && times.len() > known
    })
    .await
}
