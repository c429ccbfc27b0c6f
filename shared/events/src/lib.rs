//! The message of the event queue: `receive-webhook` sends it, `ingest-events` receives it, and
//! `image-catalog replay` receives it from the dead-letter queue.
//!
//! The body is a delivery: one or several events as their source sent them. The message attributes
//! are:
//!
//! | attribute | meaning |
//! | --- | --- |
//! | `subscription` | the id of the subscription whose registry sent the events |
//! | `receivedAt` | when the catalog received them |
//! | `reason` | of a dead letter: why it could not be applied |
//!
//! EventBridge sets no attributes. A message without them is an event of Amazon ECR, or the
//! catalog's own request to retry pending lookups.

use std::collections::HashMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{BuildError, SdkError};
use aws_sdk_sqs::operation::send_message::SendMessageError;
use aws_sdk_sqs::types::{self, MessageAttributeValue, MessageSystemAttributeName};
use catalog::Timestamp;

const SUBSCRIPTION: &str = "subscription";
const RECEIVED_AT: &str = "receivedAt";
const REASON: &str = "reason";

/// Characters of a reason. A message has room for it beside its body.
const MAX_REASON_LENGTH: usize = 1000;

/// The `detail-type` with which `template.yaml` has EventBridge request a retry of pending lookups.
const RETRY_PENDING_LOOKUPS: &str = "Retry Pending Lookups";

/// A message of the event queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub body: String,
    /// `None` for Amazon ECR's events.
    pub subscription: Option<String>,
    /// The time of events that contain none. It stays the same however often, and from whichever
    /// queue, the message is received.
    pub received_at: Timestamp,
}

/// A message could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Attribute(#[from] BuildError),
    #[error("Amazon SQS did not accept the message")]
    Sqs(#[from] Box<SdkError<SendMessageError>>),
}

impl Message {
    /// A message as it was received. `sent_timestamp` is SQS's own attribute of that name, the
    /// milliseconds since the beginning of 1970; it is the time of messages without `receivedAt`.
    #[must_use]
    pub fn received<'a>(
        body: String,
        attribute: impl Fn(&str) -> Option<&'a str>,
        sent_timestamp: Option<&str>,
    ) -> Self {
        let sent_at = || Timestamp::from_milliseconds(sent_timestamp?.parse().ok()?).ok();
        let received_at = attribute(RECEIVED_AT).and_then(|time| time.parse().ok());
        Self {
            body,
            subscription: attribute(SUBSCRIPTION).map(str::to_owned),
            received_at: received_at.or_else(sent_at).unwrap_or_else(Timestamp::now),
        }
    }

    /// Whether it requests a retry of pending lookups.
    #[must_use]
    pub fn retries_pending_lookups(&self) -> bool {
        self.subscription.is_none()
            && serde_json::from_str::<serde_json::Value>(&self.body)
                .is_ok_and(|body| body["detail-type"] == RETRY_PENDING_LOOKUPS)
    }

    /// Sends it to a queue.
    pub async fn send(&self, client: &Client, queue_url: &str) -> Result<(), SendError> {
        self.send_with(client, queue_url, self.attributes()?).await
    }

    /// Sends it to the dead-letter queue, with the reason.
    pub async fn send_dead_letter(
        &self,
        client: &Client,
        queue_url: &str,
        reason: &str,
    ) -> Result<(), SendError> {
        // The reason may contain control characters of the body, which SQS does not accept.
        let printable = |character: char| if character.is_control() { ' ' } else { character };
        let reason: String = reason.chars().map(printable).take(MAX_REASON_LENGTH).collect();
        let mut attributes = self.attributes()?;
        attributes.insert(REASON.to_owned(), text(&reason)?);
        self.send_with(client, queue_url, attributes).await
    }

    fn attributes(&self) -> Result<HashMap<String, MessageAttributeValue>, BuildError> {
        let received_at = (RECEIVED_AT.to_owned(), text(&self.received_at.to_string())?);
        let mut attributes = HashMap::from([received_at]);
        if let Some(subscription) = &self.subscription {
            attributes.insert(SUBSCRIPTION.to_owned(), text(subscription)?);
        }
        Ok(attributes)
    }

    async fn send_with(
        &self,
        client: &Client,
        queue_url: &str,
        attributes: HashMap<String, MessageAttributeValue>,
    ) -> Result<(), SendError> {
        client
            .send_message()
            .queue_url(queue_url)
            .message_body(&self.body)
            .set_message_attributes(Some(attributes))
            .send()
            .await
            .map_err(Box::new)?;
        Ok(())
    }
}

impl From<&types::Message> for Message {
    fn from(message: &types::Message) -> Self {
        let attribute =
            |name: &str| message.message_attributes.as_ref()?.get(name)?.string_value.as_deref();
        let sent_timestamp = message
            .attributes
            .as_ref()
            .and_then(|attributes| attributes.get(&MessageSystemAttributeName::SentTimestamp));
        let body = message.body.clone().unwrap_or_default();
        Self::received(body, attribute, sent_timestamp.map(String::as_str))
    }
}

fn text(value: &str) -> Result<MessageAttributeValue, BuildError> {
    MessageAttributeValue::builder().data_type("String").string_value(value).build()
}
