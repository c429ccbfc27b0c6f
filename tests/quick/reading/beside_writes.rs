//! Reads beside a write that takes long.

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::types::AttributeValue;
use catalog::image::Image;
use catalog::reader::Filter;
use catalog::table::{REPOSITORY, SORT};
use end_to_end::harness::{Store, folder, repository};
use end_to_end::reference::table::push;
use image_catalog::aws::dynamodb::Engine;
use rusqlite::Connection;

/// Another process holds the lock for writes, so that a write waits. Reads do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_does_not_wait_for_a_write() {
    let file = folder("beside_a_write").join("database");
    let store = Store::new(Engine::open(&file).unwrap().client()).await;
    let repository = repository("app");
    store.writer.apply(&push(&repository, 1, 1, "v1")).await.unwrap();
    let other = Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // It fails after five seconds, and is not repeated.
    let retries = aws_sdk_dynamodb::Config::builder().retry_config(RetryConfig::disabled());
    let [partition, sort] = [REPOSITORY, SORT].map(str::to_owned);
    let write = store.table.client.put_item().table_name(&store.table.name);
    let write = write
        .item(partition, AttributeValue::S("other".to_owned()))
        .item(sort, AttributeValue::S("item".to_owned()))
        .customize()
        .config_override(retries);
    let write = tokio::spawn(write.send());
    let read = async || -> Vec<Image> {
        store.page(&repository, &Filter::default(), None, 10).await.unwrap().images
    };
    for _ in 0..200 {
        assert_eq!(read().await.len(), 1);
    }
    assert!(!write.is_finished(), "the reads waited until the write failed");
    other.execute_batch("ROLLBACK").unwrap();
    write.await.unwrap().unwrap();
}
