//! The dead-letter queue: messages that could not be applied, each with the reason.

use aws_sdk_sqs::Client;
use catalog::table::causes;
use events::Message;

/// The dead-letter queue.
#[derive(Debug, Clone)]
pub struct DeadLetterQueue {
    pub client: Client,
    pub url: String,
    /// The `maxReceiveCount` of the event queue. SQS moves messages that this function could not
    /// move, without a reason.
    pub max_receive_count: u32,
}

impl DeadLetterQueue {
    /// Moves a message that was received for the last time. Returns whether it was moved; if not,
    /// SQS moves it.
    pub(crate) async fn take(&self, message: &Message, receive_count: u32, reason: &str) -> bool {
        if receive_count < self.max_receive_count {
            return false;
        }
        match message.send_dead_letter(&self.client, &self.url, reason).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(error = causes(&error), "a dead letter cannot be sent");
                false
            }
        }
    }
}
