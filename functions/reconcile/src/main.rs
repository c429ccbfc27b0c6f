//! The Lambda function: reads its configuration, makes its clients once, and compares what the
//! queue says.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `TABLE_NAME` | the catalog's table |
//! | `REGISTRY_ID` | the account whose Amazon ECR, of this region, is compared |
//! | `SUBSCRIPTIONS_SECRET_ARN` | the secret with the list of subscriptions, whose registries are compared |
//! | `QUEUE_URL` | the queue that says what to compare |
//!
//! and those of [`telemetry`].

use std::env;
use std::sync::Arc;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_lambda_events::sqs::SqsEvent;
use catalog::{Reader, RegistryId, Table, Timestamp, Writer};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use reconcile::Reconcile;
use reconcile::handler::Handler;
use registries::{Ecr, Registries};
use secret::Secret;
use subscriptions::Subscriptions;
use telemetry::Telemetry;
use tokio::time::Instant;

/// What is kept of a function's time for its answer, once nothing more is begun.
const TIME_TO_ANSWER: Duration = Duration::from_secs(1);

/// How many tags of a repository are compared in one run; each is a question to its registry, and
/// on an empty catalog a few more.
const TAGS_AT_ONCE: usize = 1000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let telemetry = Telemetry::init(&[])?;
    let required =
        |name: &str| env::var(name).map_err(|_| format!("the variable {name} is not set"));
    let configuration = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let table = Table {
        client: aws_sdk_dynamodb::Client::new(&configuration),
        name: required("TABLE_NAME")?,
    };
    table.claim_format().await?;
    let subscriptions = Arc::new(Secret::stored(
        aws_sdk_secretsmanager::Client::new(&configuration),
        required("SUBSCRIPTIONS_SECRET_ARN")?,
        |versions| Ok(Subscriptions::parse(&versions.current)?),
    ));
    let handler = Arc::new(Handler {
        reconcile: Reconcile {
            reader: Reader::new(table.clone()),
            writer: Writer::new(table, Timestamp::now),
            registries: Registries::new(Arc::clone(&subscriptions), Some(Ecr::new(&configuration))),
            tags_at_once: TAGS_AT_ONCE,
        },
        account: RegistryId::parse(&required("REGISTRY_ID")?)?,
        subscriptions,
        client: aws_sdk_sqs::Client::new(&configuration),
        queue_url: required("QUEUE_URL")?,
    });
    lambda_runtime::run(service_fn(move |batch: LambdaEvent<SqsEvent>| {
        let handler = Arc::clone(&handler);
        async move {
            let now = Timestamp::now().as_milliseconds().cast_unsigned();
            let remaining = Duration::from_millis(batch.context.deadline.saturating_sub(now));
            let deadline = Instant::now() + remaining.saturating_sub(TIME_TO_ANSWER);
            let response = handler.handle(batch.payload, deadline).await;
            telemetry.flush();
            Ok::<_, Error>(response)
        }
    }))
    .await
}
