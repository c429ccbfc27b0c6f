//! Pages and look-ups over the requests to DynamoDB that they need at least.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use catalog::Table;
use catalog::table::{Item, REPOSITORY as PARTITION, REPOSITORY_TAG_STATUS, SORT};
use describe_images::Api;
use describe_images::page_token::Keyring;
use end_to_end::harness::{Store, repository, time};
use http::{Request, StatusCode};
use image_catalog::aws::dynamodb::Engine;
use ingest_events::source::Origin;
use registries::Source;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::images::{digest, push_event, tag};
use crate::recorder::{Recorder, query};
use crate::report::{Bar, Report, times};
use crate::rounds::{in_turns, rounds, seconds_per_call};
use crate::servers;
use crate::throughput::NEVER_ALIKE;
use crate::wrk::{self, Load};

const REPOSITORY: &str = "team/app";
const IMAGES: u64 = 1_100;
/// The image that is looked up.
const LOOKED_UP: u64 = 50;

/// A store in memory, filled through the catalog's own ingestion, and its engine.
pub(crate) async fn filled(images: u64) -> (Engine, Store) {
    let engine = Engine::in_memory().unwrap();
    let store = Store::new(engine.client()).await;
    let ingest = store.ingest();
    let origin = Origin::new(Source::Ecr, repository(REPOSITORY).registry, time(0));
    for number in 0..images {
        let event = push_event(REPOSITORY, number).to_string();
        ingest.ingest(&origin, event.as_bytes()).await.unwrap();
    }
    (engine, store)
}

/// DescribeImages through the handler. Returns the body of the response.
pub(crate) async fn describe(api: Arc<Api>, request: Arc<Request<String>>) -> String {
    let response = api.handle(&request, None).await;
    assert_eq!(response.status(), StatusCode::OK, "{}", response.body());
    response.into_body()
}

pub(crate) fn request(body: &Value) -> Arc<Request<String>> {
    let target = "AmazonEC2ContainerRegistry_V20150921.DescribeImages";
    Arc::new(Request::post("/").header("x-amz-target", target).body(body.to_string()).unwrap())
}

pub(crate) fn page_of(images: usize) -> Value {
    json!({ "repositoryName": REPOSITORY, "maxResults": images })
}

pub(crate) fn look_up() -> Value {
    json!({ "repositoryName": REPOSITORY, "imageIds": [{ "imageTag": tag(LOOKED_UP) }] })
}

fn api(store: &Store) -> Arc<Api> {
    Arc::new(store.api(Keyring::parse(&Keyring::generate_key().unwrap()).unwrap()))
}

pub(crate) fn measure(runtime: &Runtime, report: &mut Report) {
    let (engine, store) = runtime.block_on(filled(IMAGES));
    pages(runtime, report, &engine, &store);
    rows(runtime, report, &engine, &store);
    look_ups(runtime, report, &store);
}

fn pages(runtime: &Runtime, report: &mut Report, engine: &Engine, store: &Store) {
    let api = api(store);
    let client = &store.table.client;
    let program = wrk::is_installed().then(|| servers::program(runtime, &[(REPOSITORY, IMAGES)]));
    for images in [100, 1_000] {
        let request = request(&page_of(images));
        let query_of_page = query_of_page(runtime, engine, images);
        let floor = |tasks| {
            let (client, input) = (client.clone(), query_of_page.clone());
            seconds_per_call(runtime, tasks, calls(images), move || {
                let (client, input) = (client.clone(), input.clone());
                async move { assert_eq!(query(&client, input).await, images as i32 + 1) }
            })
        };
        let page = |tasks| {
            let (api, request) = (Arc::clone(&api), Arc::clone(&request));
            seconds_per_call(runtime, tasks, calls(images), move || {
                let (api, request) = (Arc::clone(&api), Arc::clone(&request));
                async move { drop(describe(api, request).await) }
            })
        };
        if let Some(program) = &program {
            let (name, body) = (format!("page-{images}"), page_of(images));
            let (load, read) = (Load::new(&name, &body), Load::never_alike(&name, &body));
            let [over_http, read_over_http, query] = in_turns(
                rounds(),
                [
                    &mut || load.seconds_per_request(&program.url),
                    &mut || read.seconds_per_request(&program.url),
                    &mut || floor(1),
                ],
            );
            report.ratio(
                &format!("page of {images} through HTTP, over a Query of its rows by the SDK"),
                Bar::AtMost(1.15),
                &over_http.over(&query),
                times(&over_http, &query),
            );
            report.ratio(
                NEVER_ALIKE,
                Bar::None,
                &read_over_http.over(&query),
                times(&read_over_http, &query),
            );
        }
        for tasks in [1, 16] {
            let [page, query] = in_turns(rounds(), [&mut || page(tasks), &mut || floor(tasks)]);
            report.ratio(
                &format!("the same in process, {tasks} at the same time"),
                Bar::None,
                &page.over(&query),
                times(&page, &query),
            );
        }
    }
}

/// Calls of a round, so that it takes some tenths of a second.
fn calls(images: usize) -> usize {
    20_000 / images
}

/// The Query of a page, which reads the next image, too.
fn query_of_page(
    runtime: &Runtime,
    engine: &Engine,
    images: usize,
) -> aws_sdk_dynamodb::operation::query::QueryInput {
    let recorder = Recorder::default();
    runtime.block_on(async {
        let store = Store::new(recorder.client(engine)).await;
        recorder.take_queries();
        describe(api(&store), request(&page_of(images))).await;
    });
    recorder.take_queries().remove(0)
}

/// The Query over that of rows with an attribute for each member of an image.
fn rows(runtime: &Runtime, report: &mut Report, engine: &Engine, store: &Store) {
    let query_of_page = query_of_page(runtime, engine, 100);
    let with_attributes = runtime.block_on(rows_with_attributes());
    let seconds = |client: &Client| {
        let (client, input) = (client.clone(), query_of_page.clone());
        seconds_per_call(runtime, 1, calls(100), move || {
            let (client, input) = (client.clone(), input.clone());
            async move { assert_eq!(query(&client, input).await, 101) }
        })
    };
    let [this, other] = in_turns(
        rounds(),
        [&mut || seconds(&store.table.client), &mut || seconds(&with_attributes.client)],
    );
    report.ratio(
        "Query of 101 rows, over 101 rows with an attribute for each member (format 5)",
        Bar::AtMost(0.4),
        &this.over(&other),
        times(&this, &other),
    );
}

/// A table with the same images, each in a row as the format 5 had it.
async fn rows_with_attributes() -> Table {
    let table = Store::in_memory().await.table;
    let text = |text: String| AttributeValue::S(text);
    for number in 0..IMAGES {
        let (digest, end) = (digest(number), 253_402_300_799_999 - 1_767_225_600_000);
        let left = end - number * 1000;
        let partition = repository(REPOSITORY).to_string();
        let item = Item::from(
            [
                (PARTITION, text(partition.clone())),
                (SORT, text(format!("ACTIVE#{left:015}#1#{digest}"))),
                (REPOSITORY_TAG_STATUS, text(format!("{partition}#TAGGED"))),
                ("imageDigest", text(digest.to_string())),
                ("imageTags", AttributeValue::L(vec![text(tag(number).to_string())])),
                ("imageSizeInBytes", AttributeValue::N((50_000_000 + number).to_string())),
                ("imagePushedAt", text(time(number.cast_signed() * 1000).to_string())),
                ("imageStatus", text("ACTIVE".to_owned())),
                ("imageManifestMediaType", text(end_to_end::harness::OCI_IMAGE.to_owned())),
                ("artifactMediaType", text(end_to_end::harness::OCI_CONFIGURATION.to_owned())),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let put = table.client.put_item().table_name(&table.name).set_item(Some(item));
        put.send().await.unwrap();
    }
    table
}

/// A tag over a GetItem of its history.
fn look_ups(runtime: &Runtime, report: &mut Report, store: &Store) {
    let api = api(store);
    let request = request(&look_up());
    let key = runtime.block_on(key_of_tag(store));
    let floor = |tasks| {
        let (table, key) = (store.table.clone(), key.clone());
        seconds_per_call(runtime, tasks, 4_000, move || {
            let get = table.client.get_item().table_name(&table.name);
            let get = get.set_key(Some(key.clone())).send();
            async move { assert!(get.await.unwrap().item.is_some()) }
        })
    };
    let look_up = |tasks| {
        let (api, request) = (Arc::clone(&api), Arc::clone(&request));
        seconds_per_call(runtime, tasks, 2_000, move || {
            let (api, request) = (Arc::clone(&api), Arc::clone(&request));
            async move { drop(describe(api, request).await) }
        })
    };
    for (tasks, bar) in [(1, Bar::AtMost(2.2)), (16, Bar::None)] {
        let [look_up, get] = in_turns(rounds(), [&mut || look_up(tasks), &mut || floor(tasks)]);
        report.ratio(
            &format!("tag in process, {tasks} at the same time, over a GetItem by the SDK"),
            bar,
            &look_up.over(&get),
            times(&look_up, &get),
        );
    }
}

/// The key of the history of the tag.
async fn key_of_tag(store: &Store) -> Item {
    let name = tag(LOOKED_UP).to_string();
    let scan = store.table.client.scan().table_name(&store.table.name);
    let mut items = scan.into_paginator().items().send();
    while let Some(item) = items.try_next().await.unwrap() {
        if item[SORT].as_s().is_ok_and(|sort| sort.ends_with(&name)) {
            return [PARTITION, SORT].map(|name| (name.to_owned(), item[name].clone())).into();
        }
    }
    panic!("{name} has no history");
}
