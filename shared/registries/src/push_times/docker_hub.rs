//! Docker Hub: the last push of each tag, and of each image of a tag.
//!
//! <https://docs.docker.com/reference/api/hub/latest/>

use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, PAGE_SIZE, PushTimes, add, parse_time, send};
use crate::RegistryUnavailable;
use crate::credential::BasicCredential;

pub(super) const HOST: &str = "hub.docker.com";

#[derive(Deserialize)]
struct AccessToken {
    access_token: String,
}

#[derive(Deserialize)]
struct Page {
    results: Vec<Tag>,
    /// The address of the next page.
    next: Option<Value>,
}

#[derive(Deserialize)]
struct Tag {
    /// That of the index, if the tag points to one. Old tags have none.
    digest: Option<String>,
    tag_last_pushed: Option<String>,
    images: Option<Vec<Image>>,
}

#[derive(Deserialize)]
struct Image {
    digest: Option<String>,
    last_pushed: Option<String>,
}

pub(super) async fn push_times(
    api: &Api<'_>,
    name: &str,
) -> Result<PushTimes, RegistryUnavailable> {
    let token = match &api.credential {
        Some(credential) => Some(access_token(api, credential).await?),
        None => None,
    };
    // Official images have no namespace in their names.
    let (namespace, repository) = name.split_once('/').unwrap_or(("library", name));
    let path = format!("/v2/namespaces/{namespace}/repositories/{repository}/tags");
    let request = |page: usize| -> RequestBuilder {
        let query = format!("?page={page}&page_size={PAGE_SIZE}");
        let request = api.request(Method::GET, &format!("{path}{query}"));
        match &token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    };
    api.pages(request, |page: Page, times| {
        for tag in &page.results {
            add(times, tag.digest.as_deref(), parse_time(tag.tag_last_pushed.as_deref()));
            for image in tag.images.iter().flatten() {
                add(times, image.digest.as_deref(), parse_time(image.last_pushed.as_deref()));
            }
        }
        page.next.is_some()
    })
    .await
}

/// A password or a personal access token is no bearer token of this API.
async fn access_token(
    api: &Api<'_>,
    credential: &BasicCredential,
) -> Result<String, RegistryUnavailable> {
    let body = json!({ "identifier": credential.username, "secret": credential.password });
    let request = api.request(Method::POST, "/v2/auth/token");
    let request = request.header("content-type", "application/json").body(body.to_string());
    Ok(send::<AccessToken>(request).await?.access_token)
}
