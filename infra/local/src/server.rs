//! HTTP: both services at `/`, events at `/events/<source>`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use catalog::{RegistryId, Timestamp};
use describe_images::DescribeImages;
use describe_images::error::DescribeImagesError;
use describe_images::handler::LARGEST_BODY as LARGEST_REQUEST;
use futures_util::StreamExt as _;
use ingest_events::Ingest;
use ingest_events::ingest::IngestError;
use ingest_events::source::Origin;
use lambda_http::Body;
use receive_webhook::webhook;
use serde_json::json;
use subscriptions::{Source, Subscriptions};
use tokio::net::TcpListener;

use crate::authentication::Authentication;

/// The most bytes of a delivery of events; what API Gateway allows.
const LARGEST_BODY: usize = 10 * 1024 * 1024;

/// How long requests under way may take to end once the process is told to.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// What answers requests.
#[derive(Debug)]
pub struct Server {
    /// Answers DescribeImages.
    pub describe_images: DescribeImages,
    /// Whose requests are answered; anybody's without it.
    pub authentication: Option<Authentication>,
    /// Applies events.
    pub ingest: Arc<Ingest>,
    /// Whose events are taken; anybody's without it.
    pub subscriptions: Option<Subscriptions>,
    /// The registry of notifications that name none.
    pub default_registry: RegistryId,
}

impl Server {
    /// The registry that the address of an event names; nothing if it is none.
    fn registry_of(&self, query: &str) -> Option<RegistryId> {
        match url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "registry") {
            Some((_, registry)) => RegistryId::parse(&registry).ok(),
            None => Some(self.default_registry.clone()),
        }
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/events/{source}", post(ingest))
            .fallback(answer)
            .layer(DefaultBodyLimit::max(LARGEST_BODY))
            .with_state(Arc::new(self))
    }

    /// Answers requests until `ended`, then those under way.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn run(
        self,
        listener: TcpListener,
        ended: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let (stop, stopping) = tokio::sync::oneshot::channel();
        let serving = axum::serve(listener, self.router()).with_graceful_shutdown(async move {
            ended.await;
            let _ = stop.send(());
        });
        let deadline = async {
            // An error means that serving ended by itself.
            let _ = stopping.await;
            tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
        };
        tokio::select! {
            result = serving.into_future() => result,
            () = deadline => {
                tracing::warn!("requests under way did not end in time");
                Ok(())
            }
        }
    }
}

/// Hands a request to the same handler that Lambda runs, with no more of its body than the handler
/// needs to see that it is too large.
async fn answer(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let mut chunks = body.into_data_stream();
    let mut body = Vec::new();
    while body.len() <= LARGEST_REQUEST {
        match chunks.next().await {
            Some(Ok(chunk)) => body.extend(chunk),
            Some(Err(_)) => {
                let error = DescribeImagesError::Serialization("The request body ended early.".to_owned());
                return into_axum(DescribeImages::refuse(error));
            }
            None => break,
        }
    }
    if let Some(authentication) = &server.authentication {
        match authentication.authenticate(&head, &body, Timestamp::now().into()) {
            Ok(caller) => drop(head.extensions.insert(caller)),
            Err(error) => return into_axum(DescribeImages::refuse(error)),
        }
    }
    let request = lambda_http::Request::from_parts(head, Body::Binary(body));
    into_axum(server.describe_images.handle(request).await)
}

fn into_axum(response: lambda_http::Response<Body>) -> Response {
    response.map(|body| match body {
        Body::Text(text) => text.into(),
        Body::Binary(bytes) => bytes.into(),
        _ => axum::body::Body::empty(),
    })
}

/// Applies the events of a webhook before it is answered.
async fn ingest(
    State(server): State<Arc<Server>>,
    Path(source): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return refusal(rejection.status(), &rejection.body_text()),
    };
    let query = query.unwrap_or_default();
    let source = match webhook::source(&source) {
        Ok(source) => source,
        Err(error) => return refusal(error.status(), &error.to_string()),
    };
    let (origin, body) = match &server.subscriptions {
        Some(subscriptions) => match webhook::receive(subscriptions, source, &query, &headers, &body) {
            Ok(webhook) => (Origin::of(webhook.subscription.clone(), Timestamp::now()), webhook.body),
            Err(error) => return refusal(error.status(), &error.to_string()),
        },
        None => match server.registry_of(&query) {
            Some(registry) => {
                (Origin::new(source, registry, Timestamp::now()), webhook::structured(&headers, &body))
            }
            None => return refusal(StatusCode::BAD_REQUEST, "the parameter 'registry' must be 12 digits"),
        },
    };
    match server.ingest.ingest(&origin, &body).await {
        // A distribution registry would repeat what cannot be applied for ever, and deliver nothing else.
        Ok(report) if report.malformed.is_empty() || source == Source::Distribution => {
            Json(report).into_response()
        }
        Ok(report) => (StatusCode::BAD_REQUEST, Json(report)).into_response(),
        Err(IngestError::Delivery(error)) => refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(IngestError::Store(error)) => {
            tracing::error!(%error, "events could not be applied");
            refusal(StatusCode::SERVICE_UNAVAILABLE, "the events could not be applied now; send them again")
        }
    }
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}
