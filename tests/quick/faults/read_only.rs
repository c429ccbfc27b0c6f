//! Credentials that only read a table, such as that of a stack.

use catalog::reader::Filter;
use catalog::table::{StoreError, causes};
use catalog::{Change, ChangeKind, Reader, Table, Timestamp, Writer};
use end_to_end::harness::{Store, digest, repository, tag, time};

use crate::faults::engine::{Fault, FaultyEngine};

/// What a reader's role allows, in docs/operations.md.
const ALLOWED: [&str; 5] =
    ["BatchGetItem", "DescribeTable", "DescribeTimeToLive", "GetItem", "Query"];

fn pushed() -> Change {
    Change {
        repository: repository("team/app"),
        time: time(1),
        kind: ChangeKind::ImagePushed {
            digest: digest(1),
            tag: Some(tag("v1")),
            content: catalog::change::Content::default(),
        },
    }
}

fn refuse_all_but_reads(engine: &FaultyEngine) {
    engine.fail(|request| {
        (!ALLOWED.contains(&request.operation.as_str())).then_some(Fault::AccessDenied)
    });
}

#[tokio::test]
async fn a_table_of_others_is_served_with_credentials_that_only_read() {
    let engine = FaultyEngine::new(false);
    let store = Store::new(engine.client()).await;
    store.writer.apply(&pushed()).await.unwrap();
    refuse_all_but_reads(&engine);

    let store = Store::new(engine.client()).await;
    assert_eq!(engine.faults(), 0, "nothing is written at the start");
    let filter = Filter { tag_status: None, image_status: None };
    let page = store.page(&repository("team/app"), &filter, None, 10).await.unwrap();
    assert_eq!(page.images.len(), 1);

    let refused = store.writer.apply(&pushed_later()).await.unwrap_err();
    assert!(matches!(refused, StoreError::AccessDenied(_)), "{refused:?}");
    let text = causes(&refused);
    assert!(text.contains("is not authorized to perform"), "{text}");
}

fn pushed_later() -> Change {
    Change { time: time(2), ..pushed() }
}

/// A table that nothing was written to yet, and one that was restored, which lost its expiry.
#[tokio::test]
async fn neither_format_nor_expiry_is_needed_to_read() {
    let engine = FaultyEngine::new(false);
    let client = engine.client();
    let table = Table { client: client.clone(), name: "image-catalog".to_owned() };
    // Only the table itself.
    engine.fail(|request| {
        let makes = ["CreateTable", "DescribeTable"];
        (!makes.contains(&request.operation.as_str())).then_some(Fault::AccessDenied)
    });
    table.create_if_missing().await.unwrap_err();
    refuse_all_but_reads(&engine);
    table.create_if_missing().await.unwrap();
    let repositories = Reader::new(table.clone())
        .repositories(catalog::Service::Ecr, &repository("any").registry)
        .await
        .unwrap();
    assert_eq!(repositories, []);

    // Who may write makes up for both.
    engine.heal();
    table.create_if_missing().await.unwrap();
    Writer::new(table.clone(), Timestamp::now).apply(&pushed()).await.unwrap();
    table.check_format().await.unwrap();
}

/// A table that does not exist is named, and is not created.
#[tokio::test]
async fn a_missing_table_is_an_error_of_credentials_that_only_read() {
    let engine = FaultyEngine::new(false);
    refuse_all_but_reads(&engine);
    let table = Table { client: engine.client(), name: "image-catalog".to_owned() };
    let error = table.create_if_missing().await.unwrap_err();
    let text = causes(&error);
    assert!(text.contains("dynamodb:CreateTable"), "{text}");
}
