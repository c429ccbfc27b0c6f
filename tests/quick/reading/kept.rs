//! Responses that are kept until the store changes.

use std::sync::Arc;

use catalog::identifier::Glob;
use describe_images::Api;
use describe_images::cache::ResponseCache;
use describe_images::caller::{Caller, Permissions};
use describe_images::page_token::Keyring;
use end_to_end::harness::{REGION, Store, digest, folder, repository};
use end_to_end::reference::table::push;
use http::{Request, StatusCode};
use image_catalog::aws::dynamodb::Engine;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const MAX_BYTES: usize = 1024 * 1024;

/// A store, and its API with a cache.
async fn open(engine: Engine, max_bytes: usize) -> (Store, Arc<Api>) {
    let store = Store::new(engine.client()).await;
    let api = store.api(Keyring::parse(&Keyring::generate_key().unwrap()).unwrap());
    (store, Arc::new(api.with_cache(ResponseCache::new(max_bytes, move || engine.version()))))
}

/// An engine in memory, and one in a file.
fn engines(test: &str) -> [Engine; 2] {
    [Engine::in_memory().unwrap(), Engine::open(&folder(test).join("database")).unwrap()]
}

async fn describe(api: &Api, body: Value, caller: Option<&Caller>) -> (StatusCode, Value) {
    let target = "AmazonEC2ContainerRegistry_V20150921.DescribeImages";
    let request = Request::post("/").header("x-amz-target", target).body(body.to_string()).unwrap();
    let response = api.handle(&request, caller).await;
    (response.status(), serde_json::from_str(response.body()).unwrap())
}

/// The first page of one image.
async fn page(api: &Api) -> Value {
    let body = json!({ "repositoryName": "app", "maxResults": 1 });
    let (status, page) = describe(api, body, None).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    page
}

async fn push_number(store: &Store, number: u64) {
    let change = push(&repository("app"), number.cast_signed(), number, "latest");
    store.writer.apply(&change).await.unwrap();
}

/// The same token: each token has a random part.
#[tokio::test]
async fn a_response_is_returned_again_until_the_store_changes() {
    for engine in engines("kept") {
        let (store, api) = open(engine, MAX_BYTES).await;
        push_number(&store, 1).await;
        push_number(&store, 2).await;
        let first = page(&api).await;
        assert!(first["nextToken"].is_string());
        assert_eq!(page(&api).await, first);
        push_number(&store, 3).await;
        let third = page(&api).await;
        assert_eq!(third["imageDetails"][0]["imageDigest"], digest(3).as_str());
    }
}

#[tokio::test]
async fn what_is_larger_than_the_cache_is_not_kept() {
    let (store, api) = open(Engine::in_memory().unwrap(), 500).await;
    push_number(&store, 1).await;
    push_number(&store, 2).await;
    let (first, second) = (page(&api).await, page(&api).await);
    assert_eq!(first["imageDetails"], second["imageDetails"]);
    assert_ne!(first["nextToken"], second["nextToken"]);
}

/// As `image-catalog reconcile` does beside a server.
#[tokio::test]
async fn changes_of_others_who_open_the_file_are_seen() {
    let file = folder("kept_by_two").join("database");
    let (store, api) = open(Engine::open(&file).unwrap(), MAX_BYTES).await;
    let (other, _) = open(Engine::open(&file).unwrap(), MAX_BYTES).await;
    push_number(&store, 1).await;
    for number in 2..50 {
        page(&api).await;
        push_number(&other, number).await;
        assert_eq!(page(&api).await["imageDetails"][0]["imageDigest"], digest(number).as_str());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_response_is_from_before_a_push_that_was_answered() {
    for engine in engines("kept_while_read") {
        let (store, api) = open(engine, MAX_BYTES).await;
        push_number(&store, 1).await;
        let mut readers = JoinSet::new();
        for _ in 0..4 {
            let api = Arc::clone(&api);
            readers.spawn(async move {
                loop {
                    page(&api).await;
                    // What is kept is returned without waiting for anything.
                    tokio::task::yield_now().await;
                }
            });
        }
        for number in 2..300 {
            push_number(&store, number).await;
            for read in 0..3 {
                let page = page(&api).await;
                let newest = &page["imageDetails"][0]["imageDigest"];
                assert_eq!(newest, digest(number).as_str(), "read {read}");
            }
        }
        assert!(readers.try_join_next().is_none(), "a reader has failed");
    }
}

#[tokio::test]
async fn what_one_caller_may_read_is_not_returned_to_another() {
    let (store, api) = open(Engine::in_memory().unwrap(), MAX_BYTES).await;
    push_number(&store, 1).await;
    let caller = |pattern: &str| Caller {
        account: repository("app").registry,
        permissions: Some(Permissions {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            arn: "arn:aws:iam::123456789012:user/example".to_owned(),
            region: REGION.to_owned(),
            repositories: vec![Glob::parse(pattern)],
        }),
    };
    let body = json!({ "repositoryName": "app" });
    for (pattern, expected) in
        [("*", StatusCode::OK), ("123456789012/other", StatusCode::BAD_REQUEST)]
    {
        let (status, response) = describe(&api, body.clone(), Some(&caller(pattern))).await;
        assert_eq!(status, expected, "{response}");
    }
}
