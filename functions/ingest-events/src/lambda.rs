//! The event and the response of the function: a batch of messages from Amazon SQS.

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use events::Message;
use ingest_events::batch::ReceivedMessage;

pub(crate) fn received(event: SqsEvent) -> Vec<ReceivedMessage> {
    event.records.into_iter().map(message).collect()
}

fn message(record: SqsMessage) -> ReceivedMessage {
    let attribute = |name: &str| record.message_attributes.get(name)?.string_value.as_deref();
    let system_attribute = |name: &str| record.attributes.get(name).map(String::as_str);
    let receive_count = system_attribute("ApproximateReceiveCount");
    let body = record.body.clone().unwrap_or_default();
    ReceivedMessage {
        message: Message::received(body, attribute, system_attribute("SentTimestamp")),
        receive_count: receive_count.and_then(|count| count.parse().ok()).unwrap_or_default(),
        id: record.message_id.unwrap_or_default(),
    }
}

/// The response that has SQS deliver these messages again.
pub(crate) fn response(failed: Vec<String>) -> SqsBatchResponse {
    let failure = |id| {
        let mut failure = BatchItemFailure::default();
        failure.item_identifier = id;
        failure
    };
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failed.into_iter().map(failure).collect();
    response
}
