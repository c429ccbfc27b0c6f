//! A function as it is written by hand: API Gateway's request in, one GetItem, a text out.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `TABLE_NAME` | the table |
//! | `PARTITION`, `SORT` | the key of the item |
//! | `WARMED` | if it is set, the item is also read before the first invocation |

use std::env;

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_http::{Error, Request, service_fn};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let client = Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await);
    let (table, partition, sort) =
        (env::var("TABLE_NAME")?, env::var("PARTITION")?, env::var("SORT")?);
    let read = || async {
        let item = client
            .get_item()
            .table_name(&table)
            .key("repository", AttributeValue::S(partition.clone()))
            .key("sort", AttributeValue::S(sort.clone()))
            .send()
            .await?;
        let attributes = item.item.ok_or("there is no item")?.len();
        Ok::<_, Error>(format!("hello, {attributes} attributes"))
    };
    if env::var_os("WARMED").is_some() {
        read().await?;
    }
    lambda_http::run(service_fn(|_: Request| read())).await
}
