//! The Lambda function: reads its configuration, makes its clients once, and applies batches.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `TABLE_NAME` | the catalog's table |
//! | `REGISTRY_ID` | the registry of notifications that come without one |
//! | `AWS_REGION` | the region whose ECR events are taken; Lambda sets it |

use std::env;
use std::sync::Arc;

use aws_config::BehaviorVersion;
use aws_lambda_events::sqs::SqsEvent;
use catalog::{RegistryId, Table, Timestamp, Writer};
use ingest_events::{Ingest, handler};
use lambda_runtime::{Error, LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt().json().without_time().init();
    let required = |name: &str| env::var(name).map_err(|_| format!("the variable {name} is not set"));
    let configuration = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let table =
        Table { client: aws_sdk_dynamodb::Client::new(&configuration), name: required("TABLE_NAME")? };
    let ingest = Arc::new(Ingest::new(Writer::new(table, Timestamp::now), required("AWS_REGION")?));
    let default_registry = Arc::new(RegistryId::parse(&required("REGISTRY_ID")?)?);
    lambda_runtime::run(service_fn(move |batch: LambdaEvent<SqsEvent>| {
        let (ingest, default_registry) = (Arc::clone(&ingest), Arc::clone(&default_registry));
        async move { Ok::<_, Error>(handler::handle(&ingest, &default_registry, batch.payload).await) }
    }))
    .await
}
