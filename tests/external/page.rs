//! The page for browsers, in Chromium. Each test of the page is a script in the folder `page`,
//! which drives the browser with `playwright-core`.

mod responses;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::LazyLock;

use catalog::{Reconciliations, RegistryId, Repository};
use end_to_end::harness::stand_in::{digest_of, image_manifest};
use end_to_end::harness::{
    Catalog, Ended, OCI_IMAGE, REGION, REGISTRY, Store, digest, print, push_event, repository,
    require, sample, tag, time, tools,
};
use end_to_end::reference::cloud_trail::{Call, index_of, public_repository};
use image_catalog::reconciliation::Reconciliation;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::clients::send;

/// Images of `load/app`.
const LOAD: u64 = 2_500;

/// The repositories `team-…/service-…`.
const SERVICES: usize = 120;

/// A catalog that several tests read.
static SHOP: LazyLock<Serving> = LazyLock::new(|| {
    Serving::start(async |store| {
        send(&store, &shop()).await;
        Catalog::start_with_page(store, None, None).await
    })
});

/// A catalog that serves while a test waits for a script.
struct Serving {
    catalog: Catalog,
    _runtime: Runtime,
}

impl Serving {
    fn start(catalog: impl AsyncFnOnce(Store) -> Catalog) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let catalog = runtime.block_on(async { catalog(Store::in_memory().await).await });
        Self { catalog, _runtime: runtime }
    }
}

/// A manifest of an artifact about another one.
fn signature_of(subject: &Value) -> Value {
    let mut manifest = image_manifest(300);
    manifest["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+json");
    manifest["artifactType"] = json!("application/vnd.dev.cosign.artifact.sig.v1+json");
    manifest["subject"] = json!({
        "mediaType": subject["mediaType"], "digest": digest_of(subject), "size": 7,
    });
    manifest
}

/// An event of Amazon ECR about an image, in this second.
fn event(detail_type: &str, repository: &str, second: i64, detail: &Value) -> Value {
    let mut event = json!({
        "version": "0", "id": "1", "detail-type": detail_type, "source": "aws.ecr",
        "account": REGISTRY, "time": time(second * 1000), "region": REGION, "resources": [],
        "detail": detail,
    });
    event["detail"]["repository-name"] = json!(repository);
    event
}

fn action(kind: &str, repository: &str, second: i64, image: &Value) -> Value {
    let mut detail = json!({ "action-type": kind, "result": "SUCCESS" });
    detail.as_object_mut().unwrap().extend(image.as_object().unwrap().clone());
    event("ECR Image Action", repository, second, &detail)
}

/// The newest image of `shop/api` but its signature.
fn stable() -> Value {
    image_manifest(2_000)
}

/// The archived image of `shop/api`.
fn archived() -> Value {
    image_manifest(1_000)
}

/// `shop/api` has one image of each kind; of most others see the constants.
fn shop() -> Vec<Value> {
    let (api, public) = (repository("shop/api"), public_repository("shop/api"));
    let theirs = Repository {
        registry: RegistryId::parse("210987654321").unwrap(),
        ..repository("theirs/app")
    };
    let put = |manifest: Value, name: Option<&str>| Call::PutImage { manifest, tag: name.map(tag) };
    let (first, second) = (image_manifest(1_500), image_manifest(1_600));
    let calls = [
        (0, &api, Call::CreateRepository),
        (1, &api, put(archived(), Some("v1"))),
        (2, &api, put(first.clone(), None)),
        (3, &api, put(index_of(&[&first, &second]), Some("index"))),
        (4, &api, put(stable(), Some("v2"))),
        (4, &api, put(stable(), Some("stable"))),
        (5, &api, put(signature_of(&stable()), Some("signature"))),
        (0, &public, Call::CreateRepository),
        (1, &public, put(stable(), Some("v1"))),
        (0, &repository("shop/empty"), Call::CreateRepository),
        (0, &theirs, put(first, None)),
    ];
    let mut records: Vec<Value> =
        calls.iter().map(|(second, repository, call)| call.record(repository, *second)).collect();
    records.push(action(
        "UPDATE_STORAGE_CLASS",
        "shop/api",
        6,
        &json!({ "target-storage-class": "ARCHIVE", "image-digest": digest_of(&archived()) }),
    ));
    let findings = json!({
        "scan-status": "COMPLETE", "image-digest": digest_of(&stable()), "image-tags": [],
        "finding-severity-counts": { "LOW": 20, "CRITICAL": 1 },
    });
    records.push(event("ECR Image Scan", "shop/api", 7, &findings));
    // Names and tags of the greatest length.
    let long = format!("shop/long/{}", "x".repeat(240));
    for number in 0..30 {
        let name = format!("{number:02}{}", "y".repeat(126));
        records.push(
            Call::PutImage { manifest: image_manifest(1), tag: Some(tag(&name)) }
                .record(&repository("shop/long"), number),
        );
    }
    records.push(Call::CreateRepository.record(&repository(&long), 0));
    records.extend(
        service_names().iter().map(|name| Call::CreateRepository.record(&repository(name), 0)),
    );
    records.extend((1..=LOAD).map(|number| push_event("load/app", number, &format!("v{number}"))));
    records
}

fn service_names() -> Vec<String> {
    (0..SERVICES).map(|number| format!("team-{}/service-{number}", number % 7)).collect()
}

/// What the page is to show of [`SHOP`].
fn expected() -> Value {
    let mut repositories: BTreeSet<String> = service_names().into_iter().collect();
    repositories.extend(["shop/api", "shop/empty", "shop/long", "load/app"].map(str::to_owned));
    repositories.insert(format!("shop/long/{}", "x".repeat(240)));
    json!({
        "repositories": repositories,
        "load": LOAD,
        "stable": digest_of(&stable()),
        "archived": digest_of(&archived()),
        "active": ["signature", "stable", "index", "untagged"],
        "all": ["signature", "stable", "index", "untagged", "v1"],
        // Kind, size, scan and status.
        "cells": [
            [
                format!("Artifact of {}", &digest_of(&stable()).as_str()[7..19]),
                "300 B", "– unknown", "Active",
            ],
            ["Image", "2.00 kB", "1 critical 20 low", "Active"],
            ["Index", "1.50 kB", "– unknown", "Active"],
            ["Image", "1.50 kB", "– unknown", "Active"],
            ["Image", "1.00 kB", "– unknown", "Archived"],
        ],
    })
}

/// Runs a script that must succeed, with the address of a catalog and its arguments. Without
/// Chromium, the test is skipped.
fn run(test: &str, script: &str, catalog: impl FnOnce() -> String, arguments: &[&str]) {
    let folder = tools().join("page");
    let needed = [folder.join("node_modules/playwright-core"), "chromium".into(), "node".into()];
    let found = needed.map(|program| require(test, program));
    let [Some(_), Some(chromium), Some(node)] = &found else { return };
    let path = std::env::join_paths([tools().join("python/bin"), "/usr/bin".into(), "/bin".into()]);
    let mut command = Command::new(node);
    command
        .arg(format!("{}/external/page/{script}.mjs", env!("CARGO_MANIFEST_DIR")))
        .arg(catalog())
        .args(arguments)
        .env("TOOLS_FOLDER", folder)
        .env("CHROMIUM", chromium)
        .env("PATH", path.unwrap());
    end_to_end::harness::without_aws_configuration(&mut command);
    let ended = Ended::run(&mut command);
    assert_eq!(ended.code, Some(0), "{script}: {}{}", ended.stdout, ended.stderr);
    ended.stdout.lines().for_each(print);
}

fn run_in_shop(test: &str, script: &str, arguments: &[&str]) {
    run(test, script, || SHOP.catalog.url.clone(), arguments);
}

fn browse(test: &str, part: &str) {
    run_in_shop(test, "browse", &[&expected().to_string(), part]);
}

#[test]
fn the_first_view_is_small_and_takes_one_request() {
    browse("the_first_view_is_small_and_takes_one_request", "firstView");
}

#[test]
fn repositories_are_searched_by_a_part_of_their_names() {
    browse("repositories_are_searched_by_a_part_of_their_names", "search");
}

#[test]
fn pages_show_each_of_2500_images_once() {
    browse("pages_show_each_of_2500_images_once", "pages");
}

#[test]
fn filters_are_those_of_describe_images() {
    browse("filters_are_those_of_describe_images", "filters");
}

#[test]
fn images_are_looked_up_by_tag_and_digest() {
    browse("images_are_looked_up_by_tag_and_digest", "lookUps");
}

#[test]
fn references_and_commands_are_copied() {
    browse("references_and_commands_are_copied", "copies");
}

#[test]
fn the_copied_commands_return_what_is_shown() {
    let test = "the_copied_commands_return_what_is_shown";
    if require(test, tools().join("python/bin/aws")).is_some() {
        run_in_shop(test, "commands", &[]);
    }
}

#[test]
fn values_are_computed_as_shells_and_services_do() {
    run_in_shop("values_are_computed_as_shells_and_services_do", "values", &[]);
}

#[test]
fn the_keyboard_is_enough() {
    run_in_shop("the_keyboard_is_enough", "keyboard", &[]);
}

#[test]
fn everything_is_accessible_and_fits_in_light_and_dark() {
    let test = "everything_is_accessible_and_fits_in_light_and_dark";
    let signing =
        Serving::start(async |store| Catalog::start_with_page(store, Some(&json!([])), None).await);
    let arguments = json!({ "signingUrl": signing.catalog.url });
    run_in_shop(test, "accessibility", &[&arguments.to_string()]);
}

#[test]
fn what_arrives_is_shown_in_place() {
    let events = json!({
        "push": push_event("live/app", 100, "new"),
        "move": action("PUSH", "live/app", 101, &json!({
            "image-digest": digest(60), "image-tag": "moved",
        })),
        "deletion": action("DELETE", "live/app", 102, &json!({ "image-digest": digest(30) })),
        "later": push_event("live/later", 1, "first"),
    });
    let serving = Serving::start(async |store| {
        let images: Vec<Value> =
            (1..=60).map(|number| push_event("live/app", number, &format!("v{number}"))).collect();
        send(&store, &images).await;
        Catalog::start_with_page(store, None, None).await
    });
    let test = "what_arrives_is_shown_in_place";
    run(test, "live", || serving.catalog.url.clone(), &[&events.to_string()]);
}

#[test]
fn the_status_is_shown_and_stays_current() {
    let subscription = |source: &str, id: &str| {
        json!({
            "id": id, "source": source, "registryId": REGISTRY,
            "credential": { "bearer": format!("token of {source}") },
            // Nothing listens there.
            "registryUrl": "http://127.0.0.1:9",
        })
    };
    let subscriptions = json!([
        subscription("harbor", "harbor-berlin"),
        subscription("distribution", "distribution-1"),
    ]);
    let reconciliation = Reconciliation {
        repositories: 1_200,
        drift: 9,
        repaired: 5,
        not_repaired: 1,
        kept: 1,
        failed: 2,
        ..Reconciliation::begin()
    };
    let notification = json!({ "events": [{
        "id": "1",
        "timestamp": time(1_000),
        "action": "push",
        "target": {
            "mediaType": OCI_IMAGE,
            "digest": digest(1),
            "repository": "team/app",
            "url": format!("http://127.0.0.1:9/v2/team/app/manifests/{}", digest(1)),
        },
    }] });
    let deliveries = json!({
        "push": sample("harbor/push-artifact.json"),
        "notification": notification.to_string(),
    });
    let serving = Serving::start(async |store| {
        let reconciliations = Reconciliations::new(store.table.clone());
        reconciliations.put("harbor-berlin", &reconciliation).await.unwrap();
        Catalog::start_subscribed_with_page(store, &subscriptions).await
    });
    let test = "the_status_is_shown_and_stays_current";
    run(test, "status", || serving.catalog.url.clone(), &[&deliveries.to_string()]);
}

/// Signs in at a catalog whose signatures are for this name.
fn sign_in(test: &str, signing_name: Option<&str>) {
    let key = |id: &str, session_token: Option<&str>, repositories: Option<&str>| {
        json!({
            "accessKeyId": id,
            "secretAccessKey": format!("the /+= ü secret of {id}"),
            "sessionToken": session_token,
            "arn": format!("arn:aws:iam::{REGISTRY}:user/reader"),
            "repositories": repositories.map(|repository| vec![repository]),
        })
    };
    let limited = format!("{REGISTRY}/shop/api");
    let keys = [
        key("AKIDREADER", None, None),
        key("AKIDSESSION", Some("a token/+="), None),
        key("AKIDLIMITED", None, Some(&limited)),
    ];
    let serving = Serving::start(async |store| {
        let put = |size| Call::PutImage { manifest: image_manifest(size), tag: Some(tag("v1")) };
        let (api, web) = (repository("shop/api"), repository("shop/web"));
        let public = public_repository("shop/api");
        let records = [(&api, put(1)), (&web, put(2)), (&public, put(3))];
        let records = records.map(|(repository, call)| call.record(repository, 0));
        send(&store, &records).await;
        Catalog::start_with_page(store, Some(&json!(keys)), signing_name).await
    });
    let [reader, session, limited] = keys;
    let arguments = json!({
        "reader": reader, "session": session, "limited": limited,
        "hasCommand": signing_name.is_none(),
    });
    run(test, "sign-in", || serving.catalog.url.clone(), &[&arguments.to_string()]);
}

#[test]
fn requests_are_signed_where_callers_must_sign() {
    sign_in("requests_are_signed_where_callers_must_sign", None);
}

#[test]
fn requests_are_signed_for_the_signing_name() {
    sign_in("requests_are_signed_for_the_signing_name", Some("execute-api"));
}
