//! The Lambda function: reads its configuration, makes its clients once, and answers.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `TABLE_NAME` | the catalog's table |
//! | `REGISTRY_ID` | the registry of requests that name none |
//! | `PAGE_TOKEN_SECRET_ARN` | the secret with the page token keys |

use std::env;
use std::sync::Arc;

use aws_config::BehaviorVersion;
use catalog::{Reader, RegistryId, Table};
use describe_images::DescribeImages;
use describe_images::page_token_keys::{PageTokenKeys, PageTokenSecret};
use lambda_http::{Error, Request, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt().json().without_time().init();
    let required = |name: &str| env::var(name).map_err(|_| format!("the variable {name} is not set"));
    let configuration = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let table =
        Table { client: aws_sdk_dynamodb::Client::new(&configuration), name: required("TABLE_NAME")? };
    let secret = PageTokenSecret::new(
        aws_sdk_secretsmanager::Client::new(&configuration),
        required("PAGE_TOKEN_SECRET_ARN")?,
    );
    let function = Arc::new(DescribeImages::new(
        Reader::new(table),
        PageTokenKeys::Secret(secret),
        RegistryId::parse(&required("REGISTRY_ID")?)?,
    ));
    lambda_http::run(service_fn(move |request: Request| {
        let function = Arc::clone(&function);
        async move { Ok::<_, Error>(function.handle(request).await) }
    }))
    .await
}
