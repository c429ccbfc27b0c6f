//! The Lambda function `DescribeImages`.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `PAGE_TOKEN_SECRET_ARN` | the secret with the page token keys |
//! | `CALLERS_SECRET_ARN` | the secret with the access keys of callers, if there is one |
//! | `AWS_REGION` | the region in the ARNs of repositories, and of signatures; Lambda sets it |
//!
//! and those of [`lambda::environment`] and [`lambda::telemetry`].

mod lambda;

use std::sync::Arc;

use ::lambda::{Environment, Telemetry, http_api, variable};
use catalog::Reader;
use describe_images::Api;
use describe_images::access_keys::{self, AccessKeys, Authentication};
use describe_images::api::METRIC_UNITS;
use describe_images::page_token::Keyring;
use lambda_http::{Error, Request, service_fn};
use secret::Secret;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let telemetry = Telemetry::init(&METRIC_UNITS)?;
    let environment = Environment::load().await;
    let table = environment.table()?;
    // Tokens that were sealed with the previous key stay valid.
    let keyring = environment
        .secret("PageTokens", "PAGE_TOKEN_SECRET_ARN", |text| Ok(Keyring::parse(text)?))?
        .with_previous_version();
    let access_keys = match variable("CALLERS_SECRET_ARN") {
        Ok(_) => {
            let keys = environment
                .secret("Callers", "CALLERS_SECRET_ARN", |text| Ok(AccessKeys::parse(text)?))?
                .read_every(access_keys::LIFETIME)
                .valid_for(access_keys::MAX_AGE);
            Some(keys)
        }
        Err(_) => None,
    };
    // The init phase has more of a processor than an invocation. What the first invocation needs is
    // there afterwards: the secrets, and the connection to DynamoDB.
    let (format, (), ()) =
        tokio::join!(table.check_format(), keyring.preload(), preload(access_keys.as_ref()));
    format?;
    let region = variable("AWS_REGION")?;
    let api = Api::new(Reader::new(table), keyring, environment.registry_id()?, region.clone());
    let access_keys = access_keys.map(|keys| Authentication::new(keys, region, None));
    let function = Arc::new((api, access_keys));
    http_api::run(service_fn(move |request: Request| {
        let function = Arc::clone(&function);
        async move {
            let (api, access_keys) = &*function;
            let response = lambda::answer(api, access_keys.as_ref(), request).await;
            telemetry.flush();
            Ok::<_, Error>(lambda::Text(response))
        }
    }))
    .await
}

async fn preload(access_keys: Option<&Secret<AccessKeys>>) {
    if let Some(keys) = access_keys {
        keys.preload().await;
    }
}
