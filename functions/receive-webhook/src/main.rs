//! The Lambda function: reads its configuration, makes its clients once, and takes webhooks.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `SUBSCRIPTIONS_SECRET_ARN` | the secret with the list of subscriptions |
//! | `QUEUE_URL` | the queue that webhooks go into |
//!
//! and those of [`telemetry`].

use std::env;
use std::sync::Arc;

use aws_config::BehaviorVersion;
use lambda_http::{Error, Request, service_fn};
use receive_webhook::ReceiveWebhook;
use secret::Secret;
use subscriptions::Subscriptions;
use telemetry::Telemetry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let telemetry = Telemetry::init(&[])?;
    let required =
        |name: &str| env::var(name).map_err(|_| format!("the variable {name} is not set"));
    let configuration = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let subscriptions = Secret::stored(
        aws_sdk_secretsmanager::Client::new(&configuration),
        required("SUBSCRIPTIONS_SECRET_ARN")?,
        |versions| Ok(Subscriptions::parse(&versions.current)?),
    );
    let function = Arc::new(ReceiveWebhook::new(
        subscriptions,
        aws_sdk_sqs::Client::new(&configuration),
        required("QUEUE_URL")?,
    ));
    lambda_http::run(service_fn(move |request: Request| {
        let function = Arc::clone(&function);
        async move {
            let response = function.handle(request).await;
            telemetry.flush();
            Ok::<_, Error>(response)
        }
    }))
    .await
}
