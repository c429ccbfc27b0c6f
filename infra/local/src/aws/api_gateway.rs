//! The HTTP server: both services at `/`, events at `/events/<source>`, and the page.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use catalog::identifier::UnknownService;
use catalog::table::causes;
use catalog::{RegistryId, Service, Timestamp};
use describe_images::Api;
use describe_images::access_keys::Authentication;
use describe_images::api::MAX_BODY_BYTES as MAX_REQUEST_BYTES;
use describe_images::error::ApiError;
use ingest_events::Ingest;
use ingest_events::ingest::{IngestError, Ingested, Report};
use ingest_events::source::Origin;
use receive_webhook::webhook::{self, MAX_BODY_BYTES, Refusal};
use registries::{Source, Subscriptions};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::body::{BodyError, discard, read};
use super::connections::{self, Connection, Limits};
use super::web_pages;
use crate::page::Page;

/// The HTTP server.
#[derive(Debug)]
pub struct Server {
    pub api: Api,
    /// Without it, requests need no signature.
    pub authentication: Option<Authentication>,
    pub ingest: Arc<Ingest>,
    /// Without it, events need no credential.
    pub subscriptions: Option<Subscriptions>,
    /// The registry of events that contain none.
    pub default_registry: RegistryId,
    /// The service of events that contain none.
    pub default_service: Service,
    /// Without it, there is no page for browsers.
    pub page: Option<Page>,
}

/// Requests whose bodies are complete, and that are processed at the same time. The others wait. A
/// large response takes a few times its size until it is sent.
const CONCURRENT_REQUESTS: usize = 16;

/// Deliveries that are applied at the same time. The others wait.
const CONCURRENT_DELIVERIES: usize = 8;

/// The server, and what it processes.
struct Running {
    server: Server,
    requests: Semaphore,
    deliveries: Semaphore,
}

/// Why a parameter of the address of events is not valid.
#[derive(Debug, thiserror::Error)]
enum InvalidParameter {
    #[error("the parameter 'registry' must be 12 digits")]
    Registry,
    #[error("the parameter 'service' is not valid: {0}")]
    Service(UnknownService),
}

impl Server {
    /// The origin of a delivery without a subscription: the registry and the service are those in
    /// the query of its address, or the default ones.
    fn origin(&self, source: Source, query: &str) -> Result<Origin, InvalidParameter> {
        let parameter = |name: &str| {
            url::form_urlencoded::parse(query.as_bytes())
                .find(|(key, _)| key == name)
                .map(|(_, value)| value)
        };
        let registry = match parameter("registry") {
            Some(registry) => registry.parse().map_err(|_| InvalidParameter::Registry)?,
            None => self.default_registry.clone(),
        };
        let service = match parameter("service") {
            Some(service) => service.parse().map_err(InvalidParameter::Service)?,
            None => self.default_service,
        };
        Ok(Origin { service, ..Origin::new(source, registry, Timestamp::now()) })
    }

    fn router(self, is_loopback: bool) -> Router {
        let refuse_foreign =
            middleware::from_fn(move |request, next| refuse_foreign(request, next, is_loopback));
        let (mut events, mut api) = (Router::new(), Router::new());
        events = events.route("/events/{source}", post(ingest));
        if let Some(page) = &self.page {
            let index = page.index(self.authentication.is_some());
            api = api.route("/", index.fallback(answer)).merge(Page::files());
        }
        api = api.fallback(answer);
        if self.subscriptions.is_none() {
            events = events.layer(refuse_foreign.clone());
        }
        if self.authentication.is_none() {
            api = api.layer(refuse_foreign);
        }
        let health = Router::new().route("/healthz", get(async || "ok\n"));
        let running = Running {
            server: self,
            requests: Semaphore::new(CONCURRENT_REQUESTS),
            deliveries: Semaphore::new(CONCURRENT_DELIVERIES),
        };
        health.merge(events).merge(api).with_state(Arc::new(running))
    }

    /// Serves until `ended`, and then completes the requests that are in progress.
    pub async fn run(
        self,
        listener: TcpListener,
        limits: Limits,
        ended: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let is_loopback = listener.local_addr()?.ip().is_loopback();
        connections::serve(listener, self.router(is_loopback), limits, ended).await;
        Ok(())
    }
}

/// Refuses the requests of web pages of other sites.
async fn refuse_foreign(request: Request, next: Next, is_loopback: bool) -> Response {
    match web_pages::check(request.headers(), is_loopback) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            tracing::warn!(reason = %error, "refused a request");
            refusal(StatusCode::FORBIDDEN, &error.to_string())
        }
    }
}

/// Answers a request with the code that runs on Lambda. A body that is too large is refused there.
async fn answer(
    State(running): State<Arc<Running>>,
    Extension(connection): Extension<Arc<Connection>>,
    request: Request,
) -> Response {
    let Running { server, requests, .. } = &*running;
    let (head, body) = request.into_parts();
    let now = Timestamp::now().into();
    let signed = match &server.authentication {
        Some(authentication) => match authentication.check_head(&head, now).await {
            Ok(signed) => Some(signed),
            Err(error) => {
                discard(&connection, body).await;
                return Api::refuse(error).map(Body::from);
            }
        },
        None => None,
    };
    let body = match read(&connection, body, MAX_REQUEST_BYTES).await {
        Ok(body) => body,
        Err(error) => return Api::refuse(unreadable(&error)).map(Body::from),
    };
    let mut caller = None;
    if let Some(signed) = signed
        && body.len() <= MAX_REQUEST_BYTES
    {
        match signed.check_body(&head, &body) {
            Ok(authenticated) => caller = Some(authenticated),
            Err(error) => return Api::refuse(error).map(Body::from),
        }
    }
    let _slot = requests.acquire().await;
    let request = Request::from_parts(head, body);
    server.api.handle(&request, caller.as_ref()).await.map(Body::from)
}

fn unreadable(error: &BodyError) -> ApiError {
    match error {
        BodyError::Incomplete(_) => {
            ApiError::Serialization("The request body ended early.".to_owned())
        }
        BodyError::TooManyBytes(_) => ApiError::Throttling,
    }
}

/// Applies the events of a webhook, and then answers it. What registries return is added later: a
/// sender does not wait for it, and may be the registry itself.
async fn ingest(
    State(running): State<Arc<Running>>,
    Extension(connection): Extension<Arc<Connection>>,
    Path(source): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Running { server, deliveries, .. } = &*running;
    let query = query.unwrap_or_default();
    let checked = webhook::source(&source).and_then(|source| {
        let subscriptions = server.subscriptions.as_ref();
        let checked = subscriptions
            .map(|subscriptions| webhook::check_head(subscriptions, source, &query, &headers));
        checked.transpose().map(|_| source)
    });
    let source = match checked {
        Ok(source) => source,
        Err(error) => {
            discard(&connection, body).await;
            return refuse(&source, &error);
        }
    };
    let body = match read(&connection, body, MAX_BODY_BYTES).await {
        Ok(body) if body.len() > MAX_BODY_BYTES => {
            return refuse(source.as_str(), &Refusal::TooLarge);
        }
        Ok(body) => body,
        Err(error @ BodyError::Incomplete(_)) => {
            return refusal(StatusCode::BAD_REQUEST, &causes(&error));
        }
        Err(error @ BodyError::TooManyBytes(_)) => {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, &error.to_string());
        }
    };
    let _slot = deliveries.acquire().await;
    let (origin, body) = match &server.subscriptions {
        Some(subscriptions) => {
            match webhook::receive(subscriptions, source, &query, &headers, &body) {
                Ok(webhook) => (
                    Origin::from_subscription(webhook.subscription.clone(), Timestamp::now()),
                    webhook.body,
                ),
                Err(error) => return refuse(source.as_str(), &error),
            }
        }
        None => match server.origin(source, &query) {
            Ok(origin) => (origin, webhook::event(source, &headers, &body)),
            Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        },
    };
    let result = apply(&server.ingest, &origin, &body).await;
    log_delivery(&origin, &result);
    match result {
        // A distribution registry would repeat a notification that fails for ever, and send none of
        // those after it.
        Ok(report) if report.malformed.is_empty() || source == Source::Distribution => {
            Json(report).into_response()
        }
        Ok(report) => (StatusCode::BAD_REQUEST, Json(report)).into_response(),
        Err(IngestError::Delivery(error)) => refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        Err(IngestError::Store(error)) => {
            tracing::error!(error = causes(&error), "events could not be applied");
            refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "the events could not be applied now; send them again",
            )
        }
    }
}

/// Logs what became of a delivery from an authenticated sender, or where none is required.
fn log_delivery(origin: &Origin, result: &Result<Report, IngestError>) {
    let subscription = origin.subscription.as_ref().map(|subscription| subscription.id.as_str());
    let source = origin.source.as_str();
    match result {
        Ok(report) => tracing::info!(
            source,
            subscription,
            applied = report.applied,
            ignored = report.ignored,
            malformed = report.malformed_count(),
            "received a delivery"
        ),
        Err(error) => {
            tracing::warn!(source, subscription, reason = causes(error), "refused a delivery");
        }
    }
}

/// Refuses a delivery. Its source may be any text.
fn refuse(source: &str, reason: &Refusal) -> Response {
    let source: String = source.chars().take(64).collect();
    let message = reason.to_string();
    tracing::warn!(source, reason = message, "refused a delivery");
    refusal(reason.status(), &message)
}

async fn apply(ingest: &Arc<Ingest>, origin: &Origin, body: &[u8]) -> Result<Report, IngestError> {
    let Ingested { report, lookups } = ingest.ingest(origin, body).await?;
    ingest.complete_later(lookups).await?;
    Ok(report)
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}
