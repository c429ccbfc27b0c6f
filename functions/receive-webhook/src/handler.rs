//! An HTTP request to a message of the event queue. The response is 202 once the message is there.

use aws_sdk_sqs::Client;
use catalog::Timestamp;
use catalog::table::causes;
use events::{Message, SendError};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use metrics::counter;
use registries::Subscriptions;
use secret::Secret;
use serde_json::json;

use crate::webhook::{self, Refusal};

/// Accepts webhooks.
#[derive(Debug)]
pub struct ReceiveWebhook {
    subscriptions: Secret<Subscriptions>,
    client: Client,
    queue_url: String,
}

/// Why a webhook is not in the queue.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the subscriptions cannot be read")]
    Subscriptions(#[source] secret::Error),
    #[error(transparent)]
    Queue(#[from] SendError),
}

impl ReceiveWebhook {
    /// Accepts the webhooks of these subscriptions, and sends them to the queue.
    #[must_use]
    pub fn new(subscriptions: Secret<Subscriptions>, client: Client, queue_url: String) -> Self {
        Self { subscriptions, client, queue_url }
    }

    /// Answers a request. Errors are responses, too.
    pub async fn handle<B: AsRef<[u8]>>(&self, request: &Request<B>) -> Response<String> {
        let name = request.uri().path().strip_prefix("/events/").unwrap_or_default();
        let (status, message) = match self.receive(name, request).await {
            Ok(subscription) => {
                tracing::info!(source = name, subscription, result = "Success", "queued a webhook");
                (StatusCode::ACCEPTED, "the event is in the queue".to_owned())
            }
            Err(Failure::Refused(refusal)) => {
                let status = refusal.status();
                tracing::info!(status = status.as_u16(), result = %refusal, "refused a webhook");
                (status, refusal.to_string())
            }
            Err(failure) => {
                tracing::error!(source = name, error = causes(&failure), "a webhook is not queued");
                let message = "the event could not be put into the queue now; send it again";
                (StatusCode::SERVICE_UNAVAILABLE, message.to_owned())
            }
        };
        counter!("Webhooks", "Status" => status.as_str().to_owned()).increment(1);
        let mut response = Response::new(json!({ "message": message }).to_string());
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    /// Sends a webhook to the queue. Returns the id of its subscription.
    async fn receive<B: AsRef<[u8]>>(
        &self,
        name: &str,
        request: &Request<B>,
    ) -> Result<String, Failure> {
        let source = webhook::source(name)?;
        let subscriptions = self.subscriptions.value().await.map_err(Failure::Subscriptions)?;
        let query = request.uri().query().unwrap_or_default();
        let body = request.body().as_ref();
        let webhook = webhook::receive(&subscriptions, source, query, request.headers(), body)?;
        let body = std::str::from_utf8(&webhook.body).map_err(|_| Refusal::InvalidText)?;
        let id = &webhook.subscription.id;
        let message = Message {
            body: body.to_owned(),
            subscription: Some(id.clone()),
            received_at: Timestamp::now(),
        };
        message.send(&self.client, &self.queue_url).await?;
        Ok(id.clone())
    }
}
