//! The table in DynamoDB Local equals the model, as it does in the embedded engine.

use std::time::Instant;

use catalog::Deliveries;
use end_to_end::harness::{DynamoDbLocal, Store, histories, print, time};
use end_to_end::reference::table::{
    check_histories, check_late_deletion, check_long_histories, runtime,
};

#[test]
fn any_order_any_repetition_and_concurrent_writers_give_the_same_table_on_dynamodb_local() {
    let runtime = runtime();
    let Some(local) = runtime.block_on(DynamoDbLocal::start("the histories on DynamoDB Local"))
    else {
        return;
    };
    let store = runtime.block_on(Store::new(local.client())).at(time(1_000));
    let cases = histories() / 20;
    let started = Instant::now();
    check_histories(&runtime, &store, cases);
    print(format!("{cases} histories on DynamoDB Local in {:.1?}", started.elapsed()));
}

#[test]
fn long_histories_give_the_same_table_whatever_has_expired_on_dynamodb_local() {
    let runtime = runtime();
    let Some(local) = runtime.block_on(DynamoDbLocal::start("long histories on DynamoDB Local"))
    else {
        return;
    };
    let cases = (histories() / 200).max(1);
    let started = Instant::now();
    check_long_histories(&runtime, &local.client(), cases);
    print(format!("{cases} long histories on DynamoDB Local in {:.1?}", started.elapsed()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_deletion_of_a_repository_never_hides_what_was_pushed_since_on_dynamodb_local() {
    let test = "a late deletion of a repository on DynamoDB Local";
    let Some(local) = DynamoDbLocal::start(test).await else { return };
    check_late_deletion(&Store::new(local.client()).await, "DynamoDB Local", 60, 10).await;
}

#[tokio::test]
async fn a_signed_delivery_keeps_its_first_time_on_dynamodb_local() {
    let Some(local) = DynamoDbLocal::start("signed deliveries on DynamoDB Local").await else {
        return;
    };
    let deliveries = Deliveries::new(Store::new(local.client()).await.table);
    for (received_at, first) in [(5, 5), (9, 5), (3, 3)] {
        let found = deliveries.first_received_at("github#00", time(received_at)).await.unwrap();
        assert_eq!(found, time(first));
    }
}
