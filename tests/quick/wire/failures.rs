//! Responses when the store fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;
use catalog::table::{IMAGE, Item, REPOSITORY, SORT};
use describe_images::page_token::Keyring;
use end_to_end::harness::{Catalog, REGISTRY, time};
use serde_json::{Value, json};

use super::meddled::meddled_store;
use super::rows::put_items;
use super::{ECR, ECR_PUBLIC, Wire, digests};

/// A catalog of an image, whose DynamoDB fails one operation with a given response.
async fn failing(
    operation: &'static str,
    response: Result<(u16, &'static str), &'static str>,
) -> Wire {
    let fails = Arc::new(AtomicBool::new(false));
    let store = {
        let fails = Arc::clone(&fails);
        meddled_store(move |called, _| {
            let response =
                response.map(|(status, body)| (status, body.to_owned())).map_err(str::to_owned);
            (called == operation && fails.load(Ordering::Relaxed)).then_some(response)
        })
    };
    let wire = Wire::of(Catalog::start_with(store.await, &Keyring::generate_key().unwrap()).await);
    wire.push("app", time(0), 1, Some("v1")).await;
    wire.create("empty").await;
    fails.store(true, Ordering::Relaxed);
    wire
}

/// The operations of DynamoDB, each with a request that sends it.
fn reads() -> [(&'static str, Value); 3] {
    [
        ("GetItem", json!({ "repositoryName": "empty" })),
        ("Query", json!({ "repositoryName": "app" })),
        (
            "BatchGetItem",
            json!({
                "repositoryName": "app",
                "imageIds": [{ "imageTag": "v1" }, { "imageTag": "v2" }],
            }),
        ),
    ]
}

#[tokio::test]
async fn r45_throttled_by_the_store_is_throttled() {
    for (operation, request) in reads() {
        for response in [
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"The level of configured provisioned throughput for the table arn:aws:dynamodb:eu-central-1:999999999999:table/inside was exceeded."}"#,
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#RequestLimitExceeded","message":"Throughput exceeds the current throughput limit for your account."}"#,
            r#"{"__type":"com.amazon.coral.availability#ThrottlingException","message":"Rate of requests exceeds the allowed throughput."}"#,
        ] {
            let wire = failing(operation, Ok((400, response))).await;
            for target in [ECR, ECR_PUBLIC] {
                let reply = wire.post(target, request.to_string()).await;
                let expected = r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#;
                assert_eq!((reply.status, reply.body.as_str()), (400, expected), "{operation}");
            }
        }
    }
}

#[tokio::test]
async fn r45_an_internal_error_contains_no_details() {
    for (operation, request) in reads() {
        for response in [
            Ok((
                500,
                r#"{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError","message":"inside"}"#,
            )),
            Ok((503, "")),
            Ok((500, "<html>inside</html>")),
            Ok((200, "not JSON from inside")),
            Ok((
                400,
                r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found: Table: inside not found"}"#,
            )),
            Ok((
                400,
                r#"{"__type":"com.amazon.coral.service#AccessDeniedException","message":"User: arn:aws:sts::999999999999:assumed-role/inside is not authorized to perform: dynamodb:Query"}"#,
            )),
            Ok((
                400,
                r#"{"__type":"com.amazon.coral.service#UnrecognizedClientException","message":"The security token included in the request is inside."}"#,
            )),
            Ok((
                400,
                r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"inside"}"#,
            )),
            Err("the connection to inside:8000 was refused"),
        ] {
            let wire = failing(operation, response).await;
            for target in [ECR, ECR_PUBLIC] {
                let reply = wire.post(target, request.to_string()).await;
                let expected = r#"{"__type":"ServerException","message":"The catalog could not answer the request. Try again later."}"#;
                assert_eq!(
                    (reply.status, reply.body.as_str()),
                    (500, expected),
                    "{operation}: {response:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn r45_an_item_that_cannot_be_read_is_an_internal_error() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let broken = Item::from([
        (REPOSITORY.to_owned(), AttributeValue::S(format!("{REGISTRY}/app"))),
        (SORT.to_owned(), AttributeValue::S("ACTIVE#0#inside".to_owned())),
        (IMAGE.to_owned(), AttributeValue::S("{}".to_owned())),
    ]);
    put_items(wire.store(), vec![broken]).await;
    let reply = wire.ecr(json!({ "repositoryName": "app" })).await;
    reply.assert_error(
        500,
        "ServerException",
        "The catalog could not answer the request. Try again later.",
    );
}

#[tokio::test]
async fn r45_keys_that_are_never_processed_are_throttling() {
    let unprocessed = Arc::new(AtomicUsize::new(0));
    let store = {
        let unprocessed = Arc::clone(&unprocessed);
        meddled_store(move |operation, request| {
            let is_left = operation == "BatchGetItem"
                && unprocessed
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok();
            is_left.then(|| {
                let response =
                    json!({ "Responses": {}, "UnprocessedKeys": request["RequestItems"] });
                Ok((200, response.to_string()))
            })
        })
    };
    let wire = Wire::of(Catalog::start_with(store.await, &Keyring::generate_key().unwrap()).await);
    for tag in ["v1", "v2"] {
        wire.push("app", time(0), 1, Some(tag)).await;
    }
    let image_ids = json!([{ "imageTag": "v1" }, { "imageTag": "v2" }]);
    let request = json!({ "repositoryName": "app", "imageIds": image_ids });
    unprocessed.store(3, Ordering::Relaxed);
    assert_eq!(wire.ecr(request.clone()).await.digests(), digests([1]), "they are requested again");
    assert_eq!(unprocessed.load(Ordering::Relaxed), 0);
    unprocessed.store(usize::MAX, Ordering::Relaxed);
    wire.ecr(request).await.assert_error(400, "ThrottlingException", "Rate exceeded");
}
