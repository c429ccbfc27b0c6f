//! moto's Amazon ECR, and an account that may send only so many requests a second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use aws_sdk_ecr::types::ImageDetail;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use end_to_end::harness::{InProcess, Moto, configuration, json_response, operation, print};
use registries::EcrClient;
use serde_json::{Value, json};

use super::{IMAGES, REPOSITORIES};

/// One request in so many is refused, whether or not the account may send it, beginning with the
/// third.
pub(super) const EVERY: usize = 500;

/// The parts of an image that the registry and the catalog must have in common.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) tags: BTreeSet<String>,
    pub(super) size: Option<i64>,
    pub(super) pushed_at: i64,
    pub(super) media_type: Option<String>,
}

pub(super) type Everything = BTreeMap<String, BTreeMap<String, Seen>>;

/// A server of moto, until it is dropped.
pub(super) struct Server {
    pub(super) moto: Moto,
    pub(super) limit: Arc<Limit>,
}

/// Limits the requests of the account.
pub(super) struct Limit {
    pub(super) http: reqwest::Client,
    pub(super) url: String,
    /// The requests per second that the account may send, and its burst.
    pub(super) rate: f64,
    pub(super) tokens: Mutex<(f64, Instant)>,
    /// Whether the service is unavailable.
    pub(super) is_down: AtomicBool,
    pub(super) requests: AtomicUsize,
    pub(super) throttled: AtomicUsize,
}

impl Server {
    pub(super) fn start(test: &str, rate: f64) -> Option<Self> {
        let moto = Moto::start_with_images(test, REPOSITORIES, IMAGES)?;
        let limit = Limit {
            http: reqwest::Client::new(),
            url: moto.url.clone(),
            rate,
            tokens: Mutex::new((rate, Instant::now())),
            is_down: AtomicBool::default(),
            requests: AtomicUsize::default(),
            throttled: AtomicUsize::default(),
        };
        Some(Self { moto, limit: Arc::new(limit) })
    }

    /// The client of the catalog.
    pub(super) fn ecr(&self) -> EcrClient {
        let limit = Arc::clone(&self.limit);
        let respond = move |request: HttpRequest| {
            let limit = Arc::clone(&limit);
            async move { limit.respond(request).await }
        };
        EcrClient::new(&configuration(InProcess(respond)))
    }

    /// A client that is not limited.
    pub(super) fn client(&self) -> aws_sdk_ecr::Client {
        let limit = Arc::clone(&self.limit);
        let respond = move |request: HttpRequest| {
            let limit = Arc::clone(&limit);
            async move { Ok(limit.pass_on(request).await) }
        };
        aws_sdk_ecr::Client::new(&configuration(InProcess(respond)))
    }

    /// All images, by repository.
    pub(super) async fn everything(&self) -> Everything {
        let client = self.client();
        let listed = client.describe_repositories().send().await.unwrap();
        let mut everything = Everything::new();
        for repository in listed.repositories() {
            let name = repository.repository_name().unwrap();
            let pages =
                client.describe_images().repository_name(name).into_paginator().items().send();
            let details: Vec<ImageDetail> = pages.collect::<Result<_, _>>().await.unwrap();
            let seen = |detail: ImageDetail| {
                let nanoseconds = detail.image_pushed_at.unwrap().as_nanos();
                let seen = Seen {
                    tags: detail.image_tags().iter().cloned().collect(),
                    size: detail.image_size_in_bytes,
                    // The nearest millisecond.
                    pushed_at: i64::try_from((nanoseconds + 500_000) / 1_000_000).unwrap(),
                    media_type: detail.image_manifest_media_type,
                };
                (detail.image_digest.unwrap(), seen)
            };
            everything.insert(name.to_owned(), details.into_iter().map(seen).collect());
        }
        everything
    }

    /// Prints the number of requests since the last call, and how many were throttled.
    pub(super) fn print(&self, what: &str, since: Instant) -> (usize, usize) {
        let requests = self.limit.requests.swap(0, Ordering::Relaxed);
        let throttled = self.limit.throttled.swap(0, Ordering::Relaxed);
        print(format!(
            "{what}: {:.1?}, {requests} requests to ECR, {throttled} of them throttled",
            since.elapsed()
        ));
        (requests, throttled)
    }
}

impl Limit {
    pub(super) async fn respond(
        &self,
        request: HttpRequest,
    ) -> Result<HttpResponse, ConnectorError> {
        if self.is_down.load(Ordering::Relaxed) {
            return Err(ConnectorError::io("the network is down".into()));
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let is_let_through = {
            let mut tokens = self.tokens.lock().unwrap();
            let (left, since) = *tokens;
            let left = self.rate.min(left + since.elapsed().as_secs_f64() * self.rate);
            *tokens = (if left >= 1.0 { left - 1.0 } else { left }, Instant::now());
            left >= 1.0
        };
        // Some requests are refused even if everything is slow.
        if is_let_through && number % EVERY != 3 {
            return Ok(self.pass_on(request).await);
        }
        self.throttled.fetch_add(1, Ordering::Relaxed);
        Ok(json_response(
            400,
            &json!({ "__type": "ThrottlingException", "message": "Rate exceeded" }),
        ))
    }

    /// moto's response. moto returns everything at once, so it is cut into pages here.
    pub(super) async fn pass_on(&self, request: HttpRequest) -> HttpResponse {
        const PAGE: usize = 200;
        let (name, body) = operation(&request);
        let mut passed_on = self.http.post(&self.url).body(body.to_string());
        for header in ["x-amz-target", "content-type", "authorization"] {
            passed_on = passed_on.header(header, request.headers().get(header).unwrap());
        }
        let response = passed_on.send().await.unwrap();
        let status = response.status().as_u16();
        let date = response.headers()["date"].to_str().unwrap().to_owned();
        let mut response: Value = response.json().await.unwrap();
        if name == "DescribeImages" && body["imageIds"].is_null() && status == 200 {
            let first: usize = body["nextToken"].as_str().map_or(0, |token| token.parse().unwrap());
            let images = response["imageDetails"].as_array_mut().unwrap();
            let last = images.len().min(first + PAGE);
            if last < images.len() {
                *images = images[first..last].to_vec();
                response["nextToken"] = json!(last.to_string());
            } else {
                *images = images[first..].to_vec();
            }
        }
        let mut response = json_response(status, &response);
        response.headers_mut().insert("date", date);
        response
    }
}
