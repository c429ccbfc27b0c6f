//! The Lambda function: reads its configuration, makes its clients once, and answers.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `TABLE_NAME` | the catalog's table |
//! | `REGISTRY_ID` | the registry of requests that neither name one nor are signed |
//! | `PAGE_TOKEN_SECRET_ARN` | the secret with the page token keys |
//!
//! and those of [`telemetry`].

use std::env;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;

use aws_config::BehaviorVersion;
use catalog::{Reader, RegistryId, Table};
use describe_images::DescribeImages;
use describe_images::handler::METRIC_UNITS;
use describe_images::page_token::Keyring;
use lambda_http::{Body, Error, IntoResponse, Request, Response, service_fn};
use secret::Secret;
use telemetry::Telemetry;

/// A reply that goes out as the text that it is. Of a media type that it does not know, as this
/// one, lambda_http would make Base64, a third longer, which Lambda's limit has no room for.
struct Text(Response<Body>);

impl IntoResponse for Text {
    fn into_response(self) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(ready(self.0))
    }
}

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
    table.check_format().await?;
    // The key before the current one opens tokens, too.
    let keyring = Secret::stored(
        aws_sdk_secretsmanager::Client::new(&configuration),
        required("PAGE_TOKEN_SECRET_ARN")?,
        |versions| Ok(Keyring::parse(&format!("{}\n{}", versions.current, versions.previous))?),
    );
    let function = Arc::new(DescribeImages::new(
        Reader::new(table),
        keyring,
        RegistryId::parse(&required("REGISTRY_ID")?)?,
    ));
    lambda_http::run(service_fn(move |request: Request| {
        let function = Arc::clone(&function);
        async move {
            let response = function.handle(request).await;
            telemetry.flush();
            Ok::<_, Error>(Text(response))
        }
    }))
    .await
}
