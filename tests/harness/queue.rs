//! Batches of messages, as the event queue delivers them.

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use catalog::RegistryId;
use events::Message;
use ingest_events::Ingest;
use ingest_events::batch::{self, ReceivedMessage};
use ingest_events::dead_letter::DeadLetterQueue;
use tokio::time::Instant;

use super::{InProcess, REGISTRY, configuration};

/// A message that SQS delivers for the first time.
pub fn received_message(id: &str, body: &str, attributes: &[(&str, &str)]) -> ReceivedMessage {
    let attribute =
        |name: &str| attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    ReceivedMessage {
        id: id.to_owned(),
        message: Message::received(body.to_owned(), attribute, None),
        receive_count: 1,
    }
}

/// Applies a batch without dead letters. Returns the ids of the messages that failed.
pub async fn apply_batch(
    ingest: &Ingest,
    batch: Vec<ReceivedMessage>,
    deadline: Instant,
) -> Vec<String> {
    let refused = InProcess(|request: HttpRequest| async move { panic!("{request:?}") });
    let dead_letters = DeadLetterQueue {
        client: aws_sdk_sqs::Client::new(&configuration(refused)),
        url: String::new(),
        max_receive_count: u32::MAX,
    };
    let registry = RegistryId::parse(REGISTRY).unwrap();
    batch::apply_batch(ingest, &registry, &dead_letters, batch, deadline).await
}
