//! Quay: `start_ts` of a tag, the time since which it points to its manifest. The manifests that an
//! index lists have no tags, so their push times are not known.
//!
//! <https://docs.redhat.com/en/documentation/red_hat_quay/3/html/red_hat_quay_api_guide>

use catalog::Timestamp;
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;

use super::{Api, PAGE_SIZE, PushTimes, add};
use crate::RegistryUnavailable;

/// The name with which an OAuth access token is the password at Quay's registry. Its API accepts no
/// other credential of the registry, not even that of a robot account.
const OAUTH_TOKEN: &str = "$oauthtoken";

#[derive(Deserialize)]
struct Page {
    tags: Vec<Tag>,
    #[serde(default)]
    has_additional: bool,
}

#[derive(Deserialize)]
struct Tag {
    manifest_digest: Option<String>,
    /// In seconds since the beginning of 1970.
    start_ts: Option<i64>,
}

pub(super) async fn push_times(
    api: &Api<'_>,
    name: &str,
) -> Result<PushTimes, RegistryUnavailable> {
    let token = api.credential.as_ref().filter(|credential| credential.username == OAUTH_TOKEN);
    let request = |page: usize| -> RequestBuilder {
        let query = format!("?onlyActiveTags=true&limit={PAGE_SIZE}&page={page}");
        let request = api.request(Method::GET, &format!("/api/v1/repository/{name}/tag/{query}"));
        match token {
            Some(token) => request.bearer_auth(&token.password),
            None => request,
        }
    };
    api.pages(request, |page: Page, times| {
        for tag in &page.tags {
            let time = tag.start_ts.map(|seconds| seconds.saturating_mul(1000));
            let time = time.and_then(|time| Timestamp::from_milliseconds(time).ok());
            add(times, tag.manifest_digest.as_deref(), time);
        }
        page.has_additional
    })
    .await
}
