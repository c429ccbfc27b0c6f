//! The push times that products return in APIs of their own (rule 59): a first fill, and live
//! pushes, of stand-ins whose responses have the form of the products' documents.

use std::collections::BTreeMap;

use catalog::change::Content;
use catalog::{Change, ChangeKind, Digest, Timestamp};
use end_to_end::harness::stand_in::{Extras, Request, StandIn, digest_of};
use end_to_end::harness::{DOCKER_CONFIGURATION, OCI_CONFIGURATION, OCI_IMAGE, REGISTRY, Store};
use end_to_end::harness::{digest, repository, tag};
use reconcile::ReconcileJob;
use registries::{Registry, RegistryTargets, Subscriptions};
use serde_json::{Value, json};

use super::push_times::image;
use super::{listed, reconcile};

/// More than a page of any of these APIs.
const IMAGES: usize = 150;

const NAME: &str = "team/back-end/app";

/// The images of a year, all created at the same time, in the order of their digests, which is not
/// that of their pushes.
struct Year {
    images: Vec<(Value, Value)>,
    tags: Vec<String>,
}

impl Year {
    fn new() -> Self {
        let created = json!("2025-01-01T00:00:00Z");
        let mut images: Vec<_> = (0..IMAGES).map(|number| image(number, &created)).collect();
        images.sort_by_key(|(_, manifest)| digest_of(manifest));
        Self { images, tags: (0..IMAGES).map(|number| format!("{number}.0")).collect() }
    }

    fn digest(&self, number: usize) -> Digest {
        digest_of(&self.images[number].1)
    }

    /// In an order of its own: 7 and 150 have no common divisor.
    fn pushed_at(number: usize) -> Timestamp {
        let days = (number * 7 % IMAGES) as i64;
        let first: Timestamp = "2025-06-01T10:20:30.400Z".parse().unwrap();
        Timestamp::from_milliseconds(first.as_milliseconds() + days * 2 * 24 * 3_600_000).unwrap()
    }

    /// Milliseconds, as Harbor writes them.
    fn written(number: usize) -> String {
        format!("{:.3}", jiff::Timestamp::from(Self::pushed_at(number)))
    }

    /// The digests of the images that were pushed last, the last one first.
    fn newest(&self, number: usize) -> Vec<Digest> {
        let mut images: Vec<usize> = (0..IMAGES).collect();
        images.sort_by_key(|number| std::cmp::Reverse(Self::pushed_at(*number)));
        images[..number].iter().map(|number| self.digest(*number)).collect()
    }
}

/// A page of the API: a range of images, and whether more follow.
type Page = (std::ops::Range<usize>, bool);

fn pages() -> [Page; 2] {
    [(0..100, true), (100..IMAGES, false)]
}

/// Fills a catalog from a registry of a product with this API, while pushes are live.
async fn fill(
    source: &str,
    credential: (&str, &str),
    api: BTreeMap<String, Value>,
) -> Vec<Request> {
    let year = Year::new();
    let extras = Extras {
        configurations: year
            .images
            .iter()
            .map(|(configuration, _)| configuration.clone())
            .collect(),
        api,
        ..Extras::default()
    };
    let manifests = year.images.iter().map(|(_, manifest)| manifest.clone());
    let tagged: Vec<(&str, Value)> = year.tags.iter().map(String::as_str).zip(manifests).collect();
    let registry = StandIn::start_with(NAME, &tagged, extras).await;
    let list = json!([{
        "id": "one",
        "source": source,
        "registryId": REGISTRY,
        "credential": { "bearer": "token" },
        "registryUrl": registry.url,
        "registryCredential": { "username": credential.0, "password": credential.1 },
    }]);
    let subscriptions = Subscriptions::parse(&list.to_string()).unwrap();
    let targets = RegistryTargets::new(None, &subscriptions);
    let target = targets.get("one").unwrap();
    let store = Store::in_memory().await;
    let live: Vec<Digest> = (0..3).map(|number| digest(1_000_000 + number)).collect();
    let push = async |number: usize| {
        let kind = ChangeKind::ImagePushed {
            digest: live[number].clone(),
            tag: Some(tag("live")),
            content: Content::default(),
        };
        let time = Timestamp::now();
        let change = Change { repository: repository(NAME), time, kind };
        store.writer.apply(&change).await.unwrap();
    };
    let newest_are_right = async |pushed: usize, is_filled: bool| {
        let images = listed(&store, &repository(NAME)).await.unwrap();
        let digests: Vec<Digest> = images.into_iter().map(|image| image.image_digest).collect();
        let mut expected: Vec<Digest> = live[..pushed].iter().rev().cloned().collect();
        if is_filled {
            expected.extend(year.newest(IMAGES));
        }
        // `maxResults` 1, 2, 3 and so on.
        assert_eq!(digests, expected, "{source}, after {pushed} pushes");
    };
    push(0).await;
    newest_are_right(1, false).await;
    let reconcile = reconcile(&store, subscriptions, None);
    let job = ReconcileJob { name: NAME.to_owned(), prune: false, after: None };
    let drift = reconcile.find_drift(target, &job).await.unwrap();
    push(1).await;
    newest_are_right(2, false).await;
    // The catalog has an image that the registry does not have. It is another test's.
    let is_found = |change: &Change| matches!(change.kind, ChangeKind::ImageFound { .. });
    let found: Vec<Change> = drift.changes.into_iter().filter(is_found).collect();
    assert_eq!(found.len(), 2 * IMAGES);
    for (number, result) in reconcile.apply(&found, None).await.unwrap() {
        assert!(result.is_ok(), "{number}: {result:?}");
    }
    newest_are_right(2, true).await;
    push(2).await;
    newest_are_right(3, true).await;
    registry.requests.lock().unwrap().clone()
}

fn of_blobs(requests: &[Request]) -> usize {
    requests.iter().filter(|request| request.target.contains("/blobs/")).count()
}

/// The requests to the API, each of which has this authorization.
fn assert_api(requests: &[Request], part: &str, authorization: &str) {
    let of_api: Vec<&Request> =
        requests.iter().filter(|request| request.target.contains(part)).collect();
    assert_eq!(of_api.len(), 2, "{of_api:#?}");
    for request in of_api {
        assert_eq!(request.authorization.as_deref(), Some(authorization), "{request:?}");
    }
    assert_eq!(of_blobs(requests), 0, "all times are known");
}

/// `GET …/artifacts` of `api/v2.0/swagger.yaml`.
fn harbor() -> BTreeMap<String, Value> {
    let year = Year::new();
    let artifact = |number: usize| {
        json!({
            "accessories": null,
            "digest": year.digest(number),
            "extra_attrs": { "architecture": "amd64", "created": "2025-01-01T00:00:00Z" },
            "id": number,
            "labels": null,
            "manifest_media_type": OCI_IMAGE,
            "media_type": OCI_CONFIGURATION,
            "project_id": 7,
            "pull_time": "0001-01-01T00:00:00.000Z",
            "push_time": Year::written(number),
            "references": null,
            "repository_id": 5,
            "size": 35_804_754,
            "tags": null,
            "type": "IMAGE",
        })
    };
    let path = "/api/v2.0/projects/team/repositories/back-end%252Fapp/artifacts";
    let page = |(number, (images, _)): (usize, Page)| {
        let query = format!("?page={}&page_size=100&with_tag=false", number + 1);
        (format!("GET {path}{query}"), images.map(artifact).collect())
    };
    pages().into_iter().enumerate().map(page).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r59_harbor_returns_push_times() {
    let requests = fill("harbor", ("robot$catalog", "secret"), harbor()).await;
    assert_api(&requests, "/api/v2.0/", "Basic cm9ib3QkY2F0YWxvZzpzZWNyZXQ=");
}

/// `GET /api/v1/repository/{repository}/tag/`. Whole seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r59_quay_returns_push_times() {
    let year = Year::new();
    let tag = |number: usize| {
        json!({
            "name": year.tags[number],
            "reversion": false,
            "start_ts": Year::pushed_at(number).as_seconds(),
            "manifest_digest": year.digest(number),
            "is_manifest_list": false,
            "size": 103_582_366,
            "last_modified": "Sat, 30 May 2020 06:46:18 -0000",
        })
    };
    let page = |(number, (images, has_additional)): (usize, Page)| {
        let number = number + 1;
        let query = format!("?onlyActiveTags=true&limit=100&page={number}");
        let tags: Vec<Value> = images.map(tag).collect();
        let body = json!({ "tags": tags, "page": number, "has_additional": has_additional });
        (format!("GET /api/v1/repository/{NAME}/tag/{query}"), body)
    };
    let api = pages().into_iter().enumerate().map(page).collect();
    let requests = fill("quay", ("$oauthtoken", "secret"), api).await;
    assert_api(&requests, "/api/v1/", "Bearer secret");
}

/// `GET /v2/namespaces/{namespace}/repositories/{repository}/tags`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r59_docker_hub_returns_push_times() {
    let year = Year::new();
    let tag = |number: usize| {
        json!({
            "creator": 1_495_011,
            "id": number,
            "images": [{
                "architecture": "amd64",
                "features": "",
                "variant": null,
                "digest": year.digest(number),
                "os": "linux",
                "os_features": "",
                "os_version": null,
                "size": 1_521_559_708,
                "status": "active",
                "last_pulled": null,
                "last_pushed": Year::written(number),
            }],
            "last_updated": "2026-06-23T09:48:42.07709Z",
            "name": year.tags[number],
            "full_size": 1_521_559_708,
            "v2": true,
            "tag_status": "active",
            "tag_last_pulled": null,
            // A second tag, later than the first push.
            "tag_last_pushed": "2026-06-23T09:48:42.07709Z",
            "media_type": DOCKER_CONFIGURATION,
            "content_type": "image",
            "digest": year.digest(number),
        })
    };
    let path = "/v2/namespaces/team/repositories/back-end/app/tags";
    let page = |(number, (images, is_followed)): (usize, Page)| {
        let results: Vec<Value> = images.map(tag).collect();
        let next =
            is_followed.then(|| format!("https://hub.docker.com{path}?page=2&page_size=100"));
        let body = json!({ "count": IMAGES, "next": next, "previous": null, "results": results });
        (format!("GET {path}?page={}&page_size=100", number + 1), body)
    };
    let mut api: BTreeMap<String, Value> = pages().into_iter().enumerate().map(page).collect();
    api.insert("POST /v2/auth/token".to_owned(), json!({ "access_token": "a JWT" }));
    let requests = fill("docker-hub", ("myusername", "dckr_pat_secret"), api).await;
    assert_api(&requests, "/v2/namespaces/", "Bearer a JWT");
    let of_token = requests.iter().find(|request| request.target.contains("/v2/auth/")).unwrap();
    let body: Value = serde_json::from_str(&of_token.body).unwrap();
    assert_eq!(body, json!({ "identifier": "myusername", "secret": "dckr_pat_secret" }));
}

/// `GET /users/{username}/packages/container/{package}/versions`, after that of an organization,
/// which does not exist.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r59_github_returns_push_times() {
    let year = Year::new();
    let version = |number: usize| {
        json!({
            "id": number,
            "name": year.digest(number),
            "url": "https://api.github.com/users/team/packages/container/app/versions/1",
            "package_html_url": "https://github.com/users/team/packages/container/package/app",
            "created_at": Year::written(number),
            "updated_at": "2026-03-19T11:27:59Z",
            "html_url": "https://github.com/users/team/packages/container/app/1",
            "metadata": { "package_type": "container", "container": { "tags": [year.tags[number]] } },
        })
    };
    let page = |(number, (images, _)): (usize, Page)| {
        let path = "/users/team/packages/container/back-end%2Fapp/versions";
        let query = format!("?per_page=100&page={}", number + 1);
        (format!("GET {path}{query}"), images.map(version).collect())
    };
    let api = pages().into_iter().enumerate().map(page).collect();
    let requests = fill("github", ("octocat", "ghp_secret"), api).await;
    assert_api(&requests, "/users/", "Bearer ghp_secret");
    assert!(requests.iter().any(|request| request.target.starts_with("GET /orgs/team/")));
}

/// A page of the API that is refused or malformed counts as no page at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r59_an_api_that_is_unavailable_leaves_the_times_of_the_images() {
    let year = Year::new();
    let manifests: Vec<(&str, Value)> =
        (0..3).map(|number| (year.tags[number].as_str(), year.images[number].1.clone())).collect();
    let first = harbor().into_keys().next().unwrap();
    for api in [
        BTreeMap::new(),
        BTreeMap::from([(first.clone(), json!({ "errors": [] }))]),
        BTreeMap::from([(first.clone(), json!([{ "digest": 7 }]))]),
        BTreeMap::from([(
            first,
            json!([{ "push_time": null }, { "digest": "x", "push_time": "y" }]),
        )]),
    ] {
        let extras = Extras {
            configurations: year.images.iter().map(|(one, _)| one.clone()).collect(),
            api,
            ..Extras::default()
        };
        let registry = StandIn::start_with(NAME, &manifests, extras).await;
        let list = json!([{
            "id": "one",
            "source": "harbor",
            "registryId": REGISTRY,
            "credential": { "bearer": "token" },
            "registryUrl": registry.url,
        }]);
        let subscriptions = Subscriptions::parse(&list.to_string()).unwrap();
        let targets = RegistryTargets::new(None, &subscriptions);
        let store = Store::in_memory().await;
        let reconcile = reconcile(&store, subscriptions, None);
        let job = ReconcileJob { name: NAME.to_owned(), prune: false, after: None };
        let drift = reconcile.find_drift(targets.get("one").unwrap(), &job).await.unwrap();
        assert_eq!(reconcile.repair(&drift, None).await.unwrap().repaired, 7);
        let created: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
        for image in listed(&store, &repository(NAME)).await.unwrap() {
            assert_eq!(image.image_pushed_at, created);
        }
    }
}

#[test]
fn products_that_are_services_are_reconciled_without_an_address() {
    let subscription = |source: &str| {
        let credential = if source == "github" {
            json!({ "hmac": "key" })
        } else {
            json!({ "bearer": "token" })
        };
        json!({ "id": source, "source": source, "registryId": REGISTRY, "credential": credential })
    };
    let list = ["docker-hub", "github", "quay", "harbor"].map(subscription);
    let subscriptions = Subscriptions::parse(&json!(list).to_string()).unwrap();
    let targets = RegistryTargets::new(None, &subscriptions);
    let host = |id: &str| match &targets.get(id)?.registry {
        Registry::Oci(address) => Some(address.host.as_str()),
        Registry::Ecr { .. } => None,
    };
    assert_eq!(host("docker-hub"), Some("registry-1.docker.io"));
    assert_eq!(host("github"), Some("ghcr.io"));
    assert_eq!(host("quay"), Some("quay.io"));
    assert_eq!(host("harbor"), None);
}
