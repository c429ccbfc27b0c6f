//! From an HTTP request to a message of the queue. It is answered with 202 once it is there.

use std::fmt::Display;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::MessageAttributeValue;
use catalog::Timestamp;
use catalog::table::causes;
use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Request, Response};
use metrics::counter;
use secret::Secret;
use serde_json::json;
use subscriptions::Subscriptions;

use crate::webhook::{self, Refusal};

/// Takes webhooks.
#[derive(Debug)]
pub struct ReceiveWebhook {
    subscriptions: Secret<Subscriptions>,
    client: Client,
    queue_url: String,
}

/// Why a webhook is not in the queue.
enum Failure {
    /// It is not taken.
    Refused(Refusal),
    /// It could not be put there, for this reason.
    Failed(String),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl ReceiveWebhook {
    /// Takes webhooks of these subscriptions, and puts them into the queue.
    #[must_use]
    pub fn new(subscriptions: Secret<Subscriptions>, client: Client, queue_url: String) -> Self {
        Self { subscriptions, client, queue_url }
    }

    /// Answers one webhook. Every failure is a reply, too.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        let name = request.uri().path().strip_prefix("/events/").unwrap_or_default();
        let (status, message) = match self.receive(name, &request).await {
            Ok(subscription) => {
                tracing::info!(
                    source = name,
                    subscription,
                    result = "Success",
                    "a webhook is in the queue"
                );
                (StatusCode::ACCEPTED, "the event is in the queue".to_owned())
            }
            Err(Failure::Refused(refusal)) => {
                tracing::info!(status = refusal.status().as_u16(), result = %refusal, "refused a webhook");
                (refusal.status(), refusal.to_string())
            }
            Err(Failure::Failed(error)) => {
                tracing::error!(source = name, error, "a webhook is not in the queue");
                let message = "the event could not be put into the queue now; send it again";
                (StatusCode::SERVICE_UNAVAILABLE, message.to_owned())
            }
        };
        counter!("Webhooks", "Status" => status.as_str().to_owned()).increment(1);
        let mut response = Response::new(Body::Text(json!({ "message": message }).to_string()));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    /// Puts a webhook into the queue, and tells whose it is.
    async fn receive(&self, name: &str, request: &Request) -> Result<String, Failure> {
        let source = webhook::source(name)?;
        let failed = |error: &dyn Display| Failure::Failed(error.to_string());
        let subscriptions = self.subscriptions.value().await.map_err(|error| failed(&error))?;
        let query = request.uri().query().unwrap_or_default();
        let webhook =
            webhook::receive(&subscriptions, source, query, request.headers(), request.body())?;
        let body = std::str::from_utf8(&webhook.body).map_err(|_| Refusal::NoText)?;
        let id = webhook.subscription.id.clone();
        let attribute = |value: &str| {
            let attribute =
                MessageAttributeValue::builder().data_type("String").string_value(value).build();
            attribute.map_err(|error| failed(&error))
        };
        self.client
            .send_message()
            .queue_url(&self.queue_url)
            .message_body(body)
            .message_attributes("subscription", attribute(&id)?)
            // Of events that tell no time it is theirs, however late they are applied.
            .message_attributes("receivedAt", attribute(&Timestamp::now().to_string())?)
            .send()
            .await
            .map_err(|error| Failure::Failed(causes(&error)))?;
        Ok(id)
    }
}
