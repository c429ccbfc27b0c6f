//! The Lambda function `DescribeImages`.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `PAGE_TOKEN_SECRET_ARN` | the secret with the page token keys |
//! | `AWS_REGION` | the region in the ARNs of repositories; Lambda sets it |
//!
//! and those of [`lambda::environment`] and [`lambda::telemetry`].

mod lambda;

use std::sync::Arc;

use ::lambda::{Environment, Telemetry, variable};
use catalog::Reader;
use describe_images::Api;
use describe_images::api::METRIC_UNITS;
use describe_images::page_token::Keyring;
use lambda_http::{Error, Request, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let telemetry = Telemetry::init(&METRIC_UNITS)?;
    let environment = Environment::load().await;
    let table = environment.table()?;
    table.check_format().await?;
    // Tokens that were sealed with the previous key stay valid.
    let keyring = environment.secret("PAGE_TOKEN_SECRET_ARN", |versions| {
        Ok(Keyring::parse(&format!("{}\n{}", versions.current, versions.previous))?)
    })?;
    let api = Arc::new(Api::new(
        Reader::new(table),
        keyring,
        environment.registry_id()?,
        variable("AWS_REGION")?,
    ));
    lambda_http::run(service_fn(move |request: Request| {
        let api = Arc::clone(&api);
        async move {
            let response = api.handle(&request, lambda::caller(&request).as_ref()).await;
            telemetry.flush();
            Ok::<_, Error>(lambda::Text(response))
        }
    }))
    .await
}
