//! Harbor: `push_time` of an artifact. A robot account needs the permission to list artifacts.
//!
//! <https://github.com/goharbor/harbor/blob/main/api/v2.0/swagger.yaml>

use reqwest::{Method, RequestBuilder};
use serde::Deserialize;

use super::{Api, PAGE_SIZE, PushTimes, add, parse_time};
use crate::RegistryUnavailable;

#[derive(Deserialize)]
struct Artifact {
    digest: Option<String>,
    push_time: Option<String>,
}

pub(super) async fn push_times(
    api: &Api<'_>,
    name: &str,
) -> Result<PushTimes, RegistryUnavailable> {
    let (project, repository) = name.split_once('/').unwrap_or((name, ""));
    // Harbor decodes the name of a repository twice.
    let repository = repository.replace('/', "%252F");
    let path = format!("/api/v2.0/projects/{project}/repositories/{repository}/artifacts");
    let request = |page: usize| -> RequestBuilder {
        let query = format!("?page={page}&page_size={PAGE_SIZE}&with_tag=false");
        let request = api.request(Method::GET, &format!("{path}{query}"));
        match &api.credential {
            Some(credential) => {
                request.basic_auth(&credential.username, Some(&credential.password))
            }
            None => request,
        }
    };
    api.pages(request, |artifacts: Vec<Artifact>, times| {
        let known = times.len();
        for artifact in &artifacts {
            add(times, artifact.digest.as_deref(), parse_time(artifact.push_time.as_deref()));
        }
        artifacts.len() == PAGE_SIZE && times.len() > known
    })
    .await
}
