//! The HTTP server: both services at `/`, events at `/events/<source>`, the page for browsers, and
//! what the process knows of its own work at `/status`, `/metrics`, `/healthz` and `/readyz`.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
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
use describe_images::caller::Caller;
use describe_images::error::ApiError;
use describe_images::service::Operation;
use futures_util::FutureExt as _;
use futures_util::future::OptionFuture;
use ingest_events::Ingest;
use ingest_events::ingest::{IngestError, Ingested, Report};
use ingest_events::source::Origin;
use metrics::counter;
use receive_webhook::webhook::{self, MAX_BODY_BYTES, Refusal};
use registries::{Source, Subscriptions};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::body::{BodyError, discard, read};
use super::connections::{self, Connection, Limits};
use super::web_pages::{self, ForeignRequest};
use crate::page::Page;
use crate::status::Status;
use crate::status::deliveries::Sender;
use crate::status::metrics::CONTENT_TYPE as METRICS_CONTENT_TYPE;

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
    pub status: Arc<Status>,
}

/// Requests whose bodies are complete, and that are processed at the same time. The others wait. A
/// large response takes a few times its size until it is sent.
const CONCURRENT_REQUESTS: usize = 16;

/// Deliveries that are applied at the same time. The others wait.
const CONCURRENT_DELIVERIES: usize = 8;

/// Connections of the listener for the metrics.
const METRICS_CONNECTIONS: usize = 16;

/// The server, and what it processes.
struct Running {
    server: Server,
    /// Whether only this computer reaches it.
    is_loopback: bool,
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
        let registry = match parameter(query, "registry") {
            Some(registry) => registry.parse().map_err(|_| InvalidParameter::Registry)?,
            None => self.default_registry.clone(),
        };
        let service = match parameter(query, "service") {
            Some(service) => service.parse().map_err(InvalidParameter::Service)?,
            None => self.default_service,
        };
        Ok(Origin { service, ..Origin::new(source, registry, Timestamp::now()) })
    }

    /// The sender of a delivery that was not authenticated: the subscription that its address
    /// names, if there is one.
    fn sender(&self, source: Option<Source>, query: &str) -> Sender {
        let id = parameter(query, "subscription");
        let subscription = self.subscriptions.as_ref().zip(id);
        let subscription = subscription.and_then(|(known, id)| known.get(&id));
        let subscription = subscription.filter(|known| Some(known.source) == source);
        Sender::new(source, subscription.map(|known| known.id.as_str()))
    }

    /// Serves until `ended`, and then completes the requests that are in progress. The listener
    /// for the metrics serves nothing else.
    pub async fn run(
        self,
        listener: TcpListener,
        metrics_listener: Option<TcpListener>,
        limits: Limits,
        ended: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let is_loopback = listener.local_addr()?.ip().is_loopback();
        let running = Arc::new(Running {
            server: self,
            is_loopback,
            requests: Semaphore::new(CONCURRENT_REQUESTS),
            deliveries: Semaphore::new(CONCURRENT_DELIVERIES),
        });
        let ended = ended.shared();
        let metrics = match metrics_listener {
            None => None,
            Some(listener) => {
                let is_loopback = listener.local_addr()?.ip().is_loopback();
                let router = metrics_router(&running, is_loopback);
                let limits = Limits { connections: METRICS_CONNECTIONS, ..limits };
                Some(connections::serve(listener, router, limits, ended.clone()))
            }
        };
        let all = connections::serve(listener, router(&running), limits, ended);
        tokio::join!(all, OptionFuture::from(metrics));
        Ok(())
    }
}

/// Everything. Without signatures, the metrics are as open as the API; with them, they have a
/// listener of their own, because Prometheus cannot sign.
fn router(running: &Arc<Running>) -> Router {
    let Running { server, is_loopback, .. } = &**running;
    let mut api = Router::new().route("/status", get(show_status).fallback(answer));
    if server.authentication.is_none() {
        api = api.route("/metrics", get(show_metrics).fallback(answer));
    }
    if let Some(page) = &server.page {
        let index = page.index(server.authentication.is_some());
        let files = Page::files().method_not_allowed_fallback(answer);
        api = api.route("/", index.fallback(answer)).merge(files);
    }
    api = api.fallback(answer);
    if server.authentication.is_none() {
        api = without_web_pages(api, *is_loopback);
    }
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(check_table))
        .route("/events/{source}", post(ingest))
        .merge(api)
        .with_state(Arc::clone(running))
}

fn metrics_router(running: &Arc<Running>, is_loopback: bool) -> Router {
    let router = Router::new().route("/metrics", get(show_metrics));
    without_web_pages(router, is_loopback).with_state(Arc::clone(running))
}

/// The same, without the requests of web pages of other sites.
fn without_web_pages(router: Router<Arc<Running>>, is_loopback: bool) -> Router<Arc<Running>> {
    router
        .layer(middleware::from_fn(move |request, next| refuse_foreign(request, next, is_loopback)))
}

/// A parameter of an address.
fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut parameters = url::form_urlencoded::parse(query.as_bytes());
    parameters.find(|(key, _)| key == name).map(|(_, value)| value)
}

/// Refuses the requests of web pages of other sites.
async fn refuse_foreign(request: Request, next: Next, is_loopback: bool) -> Response {
    match web_pages::check(request.headers(), is_loopback) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            counter!("ForeignRequests").increment(1);
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
    let (body, caller) = match server.read(&connection, &head, body, MAX_REQUEST_BYTES).await {
        Ok(read) => read,
        Err(error) => return Api::refuse(error).map(Body::from),
    };
    let _slot = requests.acquire().await;
    let request = Request::from_parts(head, body);
    server.api.handle(&request, caller.as_ref()).await.map(Body::from)
}

impl Server {
    /// Reads the body of a request, and authenticates it if requests must be signed. One whose body
    /// passes the limit has no caller.
    async fn read(
        &self,
        connection: &Connection,
        head: &Parts,
        body: Body,
        limit: usize,
    ) -> Result<(Vec<u8>, Option<Caller>), ApiError> {
        let signed = match &self.authentication {
            Some(authentication) => {
                match authentication.check_head(head, Timestamp::now().into()).await {
                    Ok(signed) => Some(signed),
                    Err(error) => {
                        discard(connection, body).await;
                        return Err(error);
                    }
                }
            }
            None => None,
        };
        let body = read(connection, body, limit).await.map_err(|error| unreadable(&error))?;
        let signed = signed.filter(|_| body.len() <= limit);
        let caller = signed.map(|signed| signed.check_body(head, &body)).transpose()?;
        Ok((body, caller))
    }

    /// Whether a request may have the status. Its reasons can contain the name of any repository of
    /// the default registry, and of those of the subscriptions.
    async fn authorize_status(
        &self,
        connection: &Connection,
        head: &Parts,
        body: Body,
    ) -> Result<(), ApiError> {
        let (body, caller) = self.read(connection, head, body, 0).await?;
        if !body.is_empty() {
            return Err(ApiError::RequestTooLarge);
        }
        let Some(caller) = caller else { return Ok(()) };
        let subscriptions = self.subscriptions.iter().flat_map(|known| known.iter());
        let others = subscriptions.map(|subscription| &subscription.registry_id);
        for registry in std::iter::once(&self.default_registry).chain(others) {
            for service in Service::ALL {
                caller.authorize_all(Operation::DescribeRepositories, service, registry)?;
            }
        }
        Ok(())
    }
}

/// Answers `GET /status`.
async fn show_status(
    State(running): State<Arc<Running>>,
    Extension(connection): Extension<Arc<Connection>>,
    request: Request,
) -> Response {
    let Running { server, requests, .. } = &*running;
    let (head, body) = request.into_parts();
    if let Err(error) = server.authorize_status(&connection, &head, body).await {
        return Api::refuse(error).map(Body::from);
    }
    let _slot = requests.acquire().await;
    Json(server.status.response(&server.ingest).await).into_response()
}

async fn show_metrics(State(running): State<Arc<Running>>) -> Response {
    let server = &running.server;
    let text = server.status.metrics(&server.ingest).await;
    ([(CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response()
}

/// Whether the catalog can answer requests.
async fn check_table(State(running): State<Arc<Running>>) -> Response {
    match running.server.status.check().await {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason + "\n").into_response(),
    }
}

fn unreadable(error: &BodyError) -> ApiError {
    match error {
        BodyError::Incomplete(_) => {
            ApiError::Serialization("The request body ended early.".to_owned())
        }
        BodyError::TooManyBytes(_) => ApiError::Throttling,
    }
}

/// Why a delivery is not applied.
#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error(transparent)]
    Foreign(#[from] ForeignRequest),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Parameter(#[from] InvalidParameter),
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

impl DeliveryError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Foreign(_) => StatusCode::FORBIDDEN,
            Self::Refused(refusal) => refusal.status(),
            Self::Body(BodyError::Incomplete(_))
            | Self::Parameter(_)
            | Self::Ingest(IngestError::Delivery(_)) => StatusCode::BAD_REQUEST,
            Self::Body(BodyError::TooManyBytes(_)) | Self::Ingest(IngestError::Store(_)) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// What the sender gets.
    fn message(&self) -> String {
        match self {
            Self::Ingest(IngestError::Store(_)) => {
                "the events could not be applied now; send them again".to_owned()
            }
            error => causes(error),
        }
    }
}

/// Applies the events of a webhook, and then answers it. What registries return is added later: a
/// sender does not wait for it, and may be the registry itself.
async fn ingest(
    State(running): State<Arc<Running>>,
    Extension(connection): Extension<Arc<Connection>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let server = &running.server;
    let query = query.unwrap_or_default();
    let source = webhook::source(&name);
    let received = receive(&running, &connection, source.clone(), &query, &headers, body).await;
    let (origin, body) = match received {
        Ok(received) => received,
        Err(error) => return refuse(server, server.sender(source.ok(), &query), &name, &error),
    };
    let subscription = origin.subscription.as_ref().map(|known| known.id.as_str());
    let sender = Sender::new(Some(origin.source), subscription);
    let _slot = running.deliveries.acquire().await;
    let report = match apply(&server.ingest, &origin, &body).await {
        Ok(report) => report,
        Err(error) => return refuse(server, sender, &name, &error.into()),
    };
    tracing::info!(
        source = origin.source.as_str(),
        subscription,
        applied = report.applied,
        ignored = report.ignored,
        malformed = report.malformed_count(),
        "received a delivery"
    );
    // A distribution registry would repeat a notification that fails for ever, and send none of
    // those after it.
    let is_accepted = report.malformed.is_empty() || origin.source == Source::Distribution;
    let status = if is_accepted { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    server.status.deliveries.add(sender, &report, status);
    (status, Json(report)).into_response()
}

/// Reads a webhook, and authenticates it if events need a credential.
async fn receive(
    running: &Running,
    connection: &Connection,
    source: Result<Source, Refusal>,
    query: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Origin, Vec<u8>), DeliveryError> {
    let server = &running.server;
    let subscriptions = server.subscriptions.as_ref();
    if subscriptions.is_none() {
        web_pages::check(headers, running.is_loopback)?;
    }
    let checked = source.and_then(|source| {
        let checked = subscriptions
            .map(|subscriptions| webhook::check_head(subscriptions, source, query, headers));
        checked.transpose().map(|_| source)
    });
    let source = match checked {
        Ok(source) => source,
        Err(error) => {
            discard(connection, body).await;
            return Err(error.into());
        }
    };
    let body = read(connection, body, MAX_BODY_BYTES).await?;
    if body.len() > MAX_BODY_BYTES {
        return Err(Refusal::TooLarge.into());
    }
    let (origin, structured) = match subscriptions {
        Some(subscriptions) => {
            let webhook = webhook::receive(subscriptions, source, query, headers, &body)?;
            let subscription = webhook.subscription.clone();
            (Origin::from_subscription(subscription, Timestamp::now()), webhook.body)
        }
        None => (server.origin(source, query)?, webhook::event(source, headers, &body)),
    };
    let structured = match structured {
        Cow::Owned(structured) => Some(structured),
        Cow::Borrowed(_) => None,
    };
    Ok((origin, structured.unwrap_or(body)))
}

/// Refuses a delivery. The name of its source may be any text.
fn refuse(server: &Server, sender: Sender, name: &str, error: &DeliveryError) -> Response {
    let source: String = name.chars().take(64).collect();
    let (subscription, reason) = (sender.subscription(), causes(error));
    if let DeliveryError::Ingest(IngestError::Store(_)) = error {
        tracing::error!(source, subscription, reason, "events could not be applied");
    } else {
        tracing::warn!(source, subscription, reason, "refused a delivery");
    }
    server.status.deliveries.refuse(sender.clone(), error.status(), &reason);
    refusal(error.status(), &error.message())
}

async fn apply(ingest: &Arc<Ingest>, origin: &Origin, body: &[u8]) -> Result<Report, IngestError> {
    let Ingested { report, lookups } = ingest.ingest(origin, body).await?;
    ingest.complete_later(lookups).await?;
    Ok(report)
}

fn refusal(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}
