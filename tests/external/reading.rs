//! Reads from DynamoDB Local while a repository changes.

use std::time::Duration;

use end_to_end::harness::{DynamoDbLocal, Store};
use end_to_end::reference::reading;
use end_to_end::reference::reading::run::{ONE_AT_A_TIME, Plan, run_on};

async fn run(plan: Plan) {
    let _one_at_a_time = ONE_AT_A_TIME.lock().await;
    let Some(local) = DynamoDbLocal::start(plan.test).await else { return };
    let store = Store::new(local.client()).await;
    let errors = run_on("DynamoDB Local", store, Duration::ZERO, &plan).await;
    assert!(errors.is_empty(), "{errors:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_moves_is_always_found() {
    run(reading::a_tag_that_moves_is_always_found()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_exists_is_always_found_by_its_digest() {
    run(reading::an_image_that_exists_is_always_found_by_its_digest()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digest_and_a_tag_that_fit_are_found_together() {
    run(reading::a_digest_and_a_tag_that_fit_are_found_together()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_identifiers_none_is_missing() {
    run(reading::of_several_identifiers_none_is_missing()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_existed_all_the_time_is_listed_exactly_once() {
    run(reading::an_image_that_existed_all_the_time_is_listed_exactly_once()).await;
}
