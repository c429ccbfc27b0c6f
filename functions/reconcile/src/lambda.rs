//! The event and the response of the function: a batch of messages from Amazon SQS.

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use catalog::table::causes;
use reconcile::job::Jobs;
use tokio::time::Instant;

/// Follows the messages, and returns those that SQS is to deliver again.
pub(crate) async fn handle(jobs: &Jobs, batch: SqsEvent, deadline: Instant) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    for message in batch.records {
        let body = message.body.as_deref().unwrap_or_default();
        if let Err(error) = jobs.run(body, deadline).await {
            let message_id = message.message_id.unwrap_or_default();
            tracing::warn!(message_id, body, reason = causes(&error), "a message has failed");
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = message_id;
            response.batch_item_failures.push(failure);
        }
    }
    response
}
