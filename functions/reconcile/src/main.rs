//! The Lambda function `Reconcile`.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `SUBSCRIPTIONS_SECRET_ARN` | the secret with the subscriptions |
//! | `QUEUE_URL` | the reconcile queue |
//! | `ECR_PUBLIC` | `true` if registries in Amazon ECR Public are reconciled, too |
//! | `OTHER_REGISTRIES` | other accounts whose registries are reconciled, separated by commas |
//! | `READER_ROLE` | the role that reads those: [`OtherAccounts::reader_role`] |
//!
//! and those of [`lambda::environment`] and [`lambda::telemetry`].

mod lambda;

use std::sync::Arc;

use ::lambda::{Environment, Telemetry, deadline, variable};
use aws_lambda_events::sqs::SqsEvent;
use catalog::{Reader, RegistryId, Timestamp, Writer};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use reconcile::Reconcile;
use reconcile::job::Jobs;
use registries::ecr::OtherAccounts;
use registries::{EcrClient, Registries, Subscriptions};

/// A lookup of a tag is a request, and on an empty catalog a few more.
const MAX_TAGS: usize = 1000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let telemetry = Telemetry::init(&[])?;
    let environment = Environment::load().await;
    let table = environment.table()?;
    table.claim_format().await?;
    let subscriptions =
        Arc::new(environment.secret("Subscriptions", "SUBSCRIPTIONS_SECRET_ARN", |text| {
            Ok(Subscriptions::parse(text)?)
        })?);
    let account = environment.registry_id()?;
    let others = OtherAccounts { own: account.clone(), reader_role: variable("READER_ROLE")? };
    let ecr = EcrClient::with_other_accounts(&environment.configuration, others);
    let jobs = Arc::new(Jobs {
        reconcile: Reconcile {
            reader: Reader::new(table.clone()),
            writer: Writer::new(table, Timestamp::now),
            registries: Registries::new(Arc::clone(&subscriptions), Some(ecr)),
            max_tags: MAX_TAGS,
        },
        account,
        other_accounts: variable("OTHER_REGISTRIES")?
            .split_terminator(',')
            .map(RegistryId::parse)
            .collect::<Result<_, _>>()?,
        has_ecr_public: variable("ECR_PUBLIC")?.parse()?,
        subscriptions,
        client: aws_sdk_sqs::Client::new(&environment.configuration),
        queue_url: variable("QUEUE_URL")?,
    });
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| {
        let jobs = Arc::clone(&jobs);
        async move {
            let deadline = deadline(event.context.deadline);
            let response = lambda::handle(&jobs, event.payload, deadline).await;
            telemetry.flush();
            Ok::<_, Error>(response)
        }
    }))
    .await
}
