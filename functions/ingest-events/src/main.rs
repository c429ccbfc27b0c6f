//! The Lambda function: reads its configuration, makes its clients once, and applies batches.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `TABLE_NAME` | the catalog's table |
//! | `REGISTRY_ID` | the registry of this account |
//! | `SUBSCRIPTIONS_SECRET_ARN` | the secret with the list of subscriptions |
//! | `DEAD_LETTER_QUEUE_URL` | the queue for messages that cannot be applied |
//! | `MAXIMUM_TRIES` | how often a message is tried until it goes there |
//! | `AWS_REGION` | the region whose ECR events are taken; Lambda sets it |
//!
//! and those of [`telemetry`].

use std::env;
use std::sync::Arc;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_lambda_events::sqs::SqsEvent;
use catalog::{RegistryId, Table, Timestamp};
use ingest_events::dead_letter::DeadLetters;
use ingest_events::ingest::METRIC_UNITS;
use ingest_events::{Ingest, handler};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use registries::Ecr;
use secret::Secret;
use subscriptions::Subscriptions;
use telemetry::Telemetry;
use tokio::time::Instant;

/// What is kept of a function's time for its answer, once nothing more is begun.
const TIME_TO_ANSWER: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let telemetry = Telemetry::init(&METRIC_UNITS)?;
    let required =
        |name: &str| env::var(name).map_err(|_| format!("the variable {name} is not set"));
    let configuration = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let table = Table {
        client: aws_sdk_dynamodb::Client::new(&configuration),
        name: required("TABLE_NAME")?,
    };
    table.claim_format().await?;
    let subscriptions = Secret::stored(
        aws_sdk_secretsmanager::Client::new(&configuration),
        required("SUBSCRIPTIONS_SECRET_ARN")?,
        |versions| Ok(Subscriptions::parse(&versions.current)?),
    );
    let ecr = Some(Ecr::new(&configuration));
    let ingest = Arc::new(Ingest::new(table, required("AWS_REGION")?, subscriptions, ecr));
    let default_registry = Arc::new(RegistryId::parse(&required("REGISTRY_ID")?)?);
    let dead_letters = Arc::new(DeadLetters {
        client: aws_sdk_sqs::Client::new(&configuration),
        queue_url: required("DEAD_LETTER_QUEUE_URL")?,
        maximum_tries: required("MAXIMUM_TRIES")?.parse()?,
    });
    lambda_runtime::run(service_fn(move |batch: LambdaEvent<SqsEvent>| {
        let (ingest, default_registry) = (Arc::clone(&ingest), Arc::clone(&default_registry));
        let dead_letters = Arc::clone(&dead_letters);
        async move {
            let now = Timestamp::now().as_milliseconds().cast_unsigned();
            let remaining = Duration::from_millis(batch.context.deadline.saturating_sub(now));
            let deadline = Instant::now() + remaining.saturating_sub(TIME_TO_ANSWER);
            let response = handler::handle(
                &ingest,
                &default_registry,
                Some(&*dead_letters),
                batch.payload,
                deadline,
            )
            .await;
            telemetry.flush();
            Ok::<_, Error>(response)
        }
    }))
    .await
}
