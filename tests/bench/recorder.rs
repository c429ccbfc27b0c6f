//! The requests that the catalog sends to DynamoDB, and the same requests by the SDK alone: the
//! floor, below which the catalog cannot be.

use std::mem;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::operation::query::QueryInput;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsInput;
use aws_smithy_runtime_api::client::interceptors::context::BeforeSerializationInterceptorContextRef;
use end_to_end::harness::engine_client;
use image_catalog::aws::dynamodb::Engine;

/// Records the requests of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder {
    queries: Arc<Mutex<Vec<QueryInput>>>,
    transactions: Arc<Mutex<Vec<TransactWriteItemsInput>>>,
}

impl Recorder {
    pub(crate) fn client(&self, engine: &Engine) -> Client {
        Client::from_conf(engine_client(engine.clone()).interceptor(self.clone()).build())
    }

    pub(crate) fn take_queries(&self) -> Vec<QueryInput> {
        mem::take(&mut self.queries.lock().unwrap())
    }

    pub(crate) fn take_transactions(&self) -> Vec<TransactWriteItemsInput> {
        mem::take(&mut self.transactions.lock().unwrap())
    }
}

impl Intercept for Recorder {
    fn name(&self) -> &'static str {
        "Recorder"
    }

    fn read_before_serialization(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(query) = context.input().downcast_ref::<QueryInput>() {
            self.queries.lock().unwrap().push(query.clone());
        }
        if let Some(transaction) = context.input().downcast_ref::<TransactWriteItemsInput>() {
            self.transactions.lock().unwrap().push(transaction.clone());
        }
        Ok(())
    }
}

/// Sends a Query again. Returns how many items it found.
pub(crate) async fn query(client: &Client, input: QueryInput) -> i32 {
    let QueryInput { key_condition_expression, expression_attribute_names, .. } = input;
    let output = client
        .query()
        .set_table_name(input.table_name)
        .set_index_name(input.index_name)
        .set_key_condition_expression(key_condition_expression)
        .set_expression_attribute_names(expression_attribute_names)
        .set_expression_attribute_values(input.expression_attribute_values)
        .set_limit(input.limit)
        .set_consistent_read(input.consistent_read)
        .set_exclusive_start_key(input.exclusive_start_key)
        .set_return_consumed_capacity(input.return_consumed_capacity)
        .send()
        .await
        .unwrap();
    output.count
}

/// Writes a transaction again, to another table.
pub(crate) async fn transact(client: &Client, input: TransactWriteItemsInput) {
    client
        .transact_write_items()
        .set_transact_items(input.transact_items)
        .set_return_consumed_capacity(input.return_consumed_capacity)
        .send()
        .await
        .unwrap();
}
