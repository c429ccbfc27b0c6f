//! Messages that cannot be applied, as often as they are tried. They go to a queue of their own,
//! each with the reason, as the message attribute `reason`, and with all that it takes to apply it
//! later.

use std::collections::HashMap;

use aws_lambda_events::sqs::SqsMessage;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::MessageAttributeValue;
use catalog::Timestamp;
use catalog::table::causes;

use crate::handler::RECEIVED_AT;

/// The most characters of a reason; a message has room for that beside its body.
const LONGEST_REASON: usize = 1000;

/// Where messages go that cannot be applied.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    /// The client of the queue.
    pub client: Client,
    /// The queue.
    pub queue_url: String,
    /// How often a message is tried. It is also the `maxReceiveCount` of the queue that it comes
    /// from, which moves those that this does not get to move, without a reason.
    pub maximum_tries: u32,
}

impl DeadLetters {
    /// Moves a message that was not applied if it is not to be tried again. Tells whether it was
    /// moved.
    pub(crate) async fn take(
        &self,
        message: &SqsMessage,
        reason: &str,
        received_at: Timestamp,
    ) -> bool {
        let tries =
            message.attributes.get("ApproximateReceiveCount").and_then(|tries| tries.parse().ok());
        if tries.unwrap_or(0) < self.maximum_tries {
            return false;
        }
        let moved = match attributes(message, reason, received_at) {
            Ok(attributes) => {
                let body = message.body.clone().unwrap_or_default();
                let send = self.client.send_message().queue_url(&self.queue_url).message_body(body);
                send.set_message_attributes(Some(attributes))
                    .send()
                    .await
                    .map_err(|error| causes(&error))
            }
            Err(error) => Err(error.to_string()),
        };
        match moved {
            Ok(_) => true,
            Err(error) => {
                // The queue that it came from does it then.
                tracing::warn!(error, "a dead letter cannot be moved");
                false
            }
        }
    }
}

/// The attributes that a message has already, the reason, and when it first came.
fn attributes(
    message: &SqsMessage,
    reason: &str,
    received_at: Timestamp,
) -> Result<HashMap<String, MessageAttributeValue>, BuildError> {
    // Characters that a message cannot have may come from its own body.
    let plain = |character: char| if character.is_control() { ' ' } else { character };
    let reason: String = reason.chars().map(plain).take(LONGEST_REASON).collect();
    let text = |value: &str| {
        MessageAttributeValue::builder().data_type("String").string_value(value).build()
    };
    let mut attributes = HashMap::from([
        ("reason".to_owned(), text(&reason)?),
        (RECEIVED_AT.to_owned(), text(&received_at.to_string())?),
    ]);
    for (name, attribute) in &message.message_attributes {
        if let Some(value) = &attribute.string_value
            && !attributes.contains_key(name)
        {
            attributes.insert(name.clone(), text(value)?);
        }
    }
    Ok(attributes)
}
