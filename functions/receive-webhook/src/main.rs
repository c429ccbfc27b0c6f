//! The Lambda function `ReceiveWebhook`.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `SUBSCRIPTIONS_SECRET_ARN` | the secret with the subscriptions |
//! | `QUEUE_URL` | the event queue |
//!
//! and those of [`lambda::telemetry`].

use std::sync::Arc;

use lambda::{Environment, Telemetry, http_api, variable};
use lambda_http::{Error, Request, service_fn};
use receive_webhook::ReceiveWebhook;
use registries::Subscriptions;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let telemetry = Telemetry::init(&[])?;
    let environment = Environment::load().await;
    let subscriptions =
        environment.secret("Subscriptions", "SUBSCRIPTIONS_SECRET_ARN", |text| {
            Ok(Subscriptions::parse(text)?)
        })?;
    // Every webhook is authenticated with them, and the init phase has more of a processor.
    subscriptions.preload().await;
    let client = aws_sdk_sqs::Client::new(&environment.configuration);
    let function = Arc::new(ReceiveWebhook::new(subscriptions, client, variable("QUEUE_URL")?));
    http_api::run(service_fn(move |request: Request| {
        let function = Arc::clone(&function);
        async move {
            let response = function.handle(&request).await;
            telemetry.flush();
            Ok::<_, Error>(response)
        }
    }))
    .await
}
