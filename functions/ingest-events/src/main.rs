//! The Lambda function `IngestEvents`.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `SUBSCRIPTIONS_SECRET_ARN` | the secret with the subscriptions |
//! | `DEAD_LETTER_QUEUE_URL` | the queue for messages that cannot be applied |
//! | `MAX_RECEIVE_COUNT` | how often a message is received until it goes there |
//! | `READER_ROLE` | the role for lookups in other accounts: [`OtherAccounts::reader_role`] |
//! | `AWS_REGION` | the region whose Amazon ECR events are accepted; Lambda sets it |
//!
//! and those of [`lambda::environment`] and [`lambda::telemetry`].

mod lambda;

use std::sync::Arc;

use ::lambda::{Environment, Telemetry, deadline, variable};
use aws_lambda_events::sqs::SqsEvent;
use ingest_events::Ingest;
use ingest_events::batch::apply_batch;
use ingest_events::dead_letter::DeadLetterQueue;
use ingest_events::ingest::{METRIC_UNITS, log_missing_registry_urls};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use registries::ecr::OtherAccounts;
use registries::{EcrClient, Subscriptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let telemetry = Telemetry::init(&METRIC_UNITS)?;
    let environment = Environment::load().await;
    let table = environment.table()?;
    let subscriptions =
        environment.secret("Subscriptions", "SUBSCRIPTIONS_SECRET_ARN", |text| {
            Ok(Subscriptions::parse(text)?)
        })?;
    let (format, subscribed) = tokio::join!(table.claim_format(), subscriptions.value());
    format?;
    match subscribed {
        Ok(subscriptions) => log_missing_registry_urls(&subscriptions),
        // The first message that needs them fails, and is delivered again.
        Err(error) => tracing::warn!(%error, "the subscriptions cannot be read"),
    }
    let own = environment.registry_id()?;
    let others = OtherAccounts { own: own.clone(), reader_role: variable("READER_ROLE")? };
    let ecr = Some(EcrClient::with_other_accounts(&environment.configuration, others));
    let ingest =
        Arc::new(Ingest::new(table, variable("AWS_REGION")?, subscriptions, ecr, Vec::new()));
    let default_registry = Arc::new(own);
    let dead_letters = Arc::new(DeadLetterQueue {
        client: aws_sdk_sqs::Client::new(&environment.configuration),
        url: variable("DEAD_LETTER_QUEUE_URL")?,
        max_receive_count: variable("MAX_RECEIVE_COUNT")?.parse()?,
    });
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| {
        let (ingest, default_registry) = (Arc::clone(&ingest), Arc::clone(&default_registry));
        let dead_letters = Arc::clone(&dead_letters);
        async move {
            let deadline = deadline(event.context.deadline);
            let batch = lambda::received(event.payload);
            let failed =
                apply_batch(&ingest, &default_registry, &dead_letters, batch, deadline).await;
            telemetry.flush();
            Ok::<_, Error>(lambda::response(failed))
        }
    }))
    .await
}
