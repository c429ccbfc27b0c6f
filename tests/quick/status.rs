//! What the process knows of its own work: `GET /status`, `/metrics`, `/healthz` and `/readyz`.

mod schedule;

use std::sync::Arc;

use aws_sdk_ecr::config::Credentials;
use catalog::change::Content;
use catalog::reader::ImageTotals;
use catalog::{Change, ChangeKind, Repository, Service, Timestamp};
use end_to_end::harness::signer::get_signature_headers;
use end_to_end::harness::{Catalog, OCI_IMAGE, Store, digest, repository, sample, tag, time};
use image_catalog::aws::reconcile_schedule::ReconcileSchedule;
use image_catalog::status::Status;
use image_catalog::status::deliveries::Deliveries;
use registries::{RegistryTargets, Subscriptions};
use serde_json::{Value, json};

use crate::authentication;
use crate::webhooks::send;

const SUBSCRIPTION: &str = "harbor-berlin";

/// The status and the body of a response to `GET`.
async fn get(url: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = reqwest::Client::new().get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn status(catalog: &Catalog) -> Value {
    let (status, body) = get(&format!("{}/status", catalog.url), &[]).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// Two subscriptions of a registry id that is not the default one.
fn subscriptions() -> Value {
    json!([
        {
            "id": SUBSCRIPTION, "source": "harbor", "registryId": "210987654321",
            "credential": { "bearer": "token of harbor" }, "registryUrl": "http://127.0.0.1:9",
        },
        {
            "id": "quay-1", "source": "quay", "registryId": "210987654321",
            "credential": { "bearer": "token of quay" }, "registryUrl": "http://127.0.0.1:9",
        },
    ])
}

async fn subscribed() -> Catalog {
    Catalog::start_subscribed(Store::in_memory().await, &subscriptions()).await
}

fn source<'a>(status: &'a Value, source: &str, subscription: Option<&str>) -> &'a Value {
    let sources = status["sources"].as_array().unwrap();
    let mut found = sources.iter().filter(|each| {
        each["source"] == source && each.get("subscription").and_then(Value::as_str) == subscription
    });
    found.next().unwrap_or_else(|| panic!("no {source} {subscription:?} in {status:#}"))
}

/// The numbers of a source, in the order of the status.
fn numbers(source: &Value) -> [u64; 6] {
    ["deliveries", "applied", "ignored", "tooLate", "malformed", "refused"]
        .map(|name| source[name].as_u64().unwrap())
}

#[tokio::test]
async fn deliveries_are_counted_by_source_and_subscription() {
    let before = Timestamp::now();
    let catalog = subscribed().await;
    let nothing = status(&catalog).await;
    for (name, id) in [("harbor", SUBSCRIPTION), ("quay", "quay-1")] {
        let source = source(&nothing, name, Some(id));
        assert_eq!(numbers(source), [0; 6]);
        assert_eq!((&source["lastDelivery"], &source["refusals"]), (&Value::Null, &json!([])));
    }
    assert_eq!(nothing["sources"].as_array().unwrap().len(), 2);

    let url = format!("{}/events/harbor", catalog.url);
    let token = [("authorization", "Bearer token of harbor")];
    let push = sample("harbor/push-artifact.json");
    assert_eq!(send(&url, &token, push.clone()).await.0, 200);
    let malformed = r#"{"type":"PUSH_ARTIFACT"}"#;
    assert_eq!(send(&url, &token, malformed).await.0, 400);
    // Refused: without the credential, with another one, of a subscription that is named or not.
    assert_eq!(send(&url, &[], push.clone()).await.0, 401);
    let named = format!("{url}?subscription={SUBSCRIPTION}");
    let wrong = [("authorization", "Bearer secret-guess")];
    assert_eq!(send(&named, &wrong, push.clone()).await.0, 401);
    assert_eq!(send(&format!("{url}?subscription=quay-1"), &wrong, push.clone()).await.0, 401);
    assert_eq!(send(&format!("{}/events/habor", catalog.url), &token, push).await.0, 404);
    assert_eq!(send(&url, &token, vec![b' '; 1_000_001]).await.0, 413);
    assert_eq!(send(&url, &token, "not JSON").await.0, 400);

    let text = status(&catalog).await;
    assert!(!text.to_string().contains("secret"), "{text}");
    let harbor = source(&text, "harbor", Some(SUBSCRIPTION));
    assert_eq!(numbers(harbor), [2, 1, 0, 0, 1, 2], "{text:#}");
    let last: Timestamp = harbor["lastDelivery"].as_str().unwrap().parse().unwrap();
    assert!(before < last && last < Timestamp::now());
    let refusals = harbor["refusals"].as_array().unwrap();
    let statuses: Vec<_> = refusals.iter().map(|refusal| refusal["status"].clone()).collect();
    assert_eq!(statuses, [400, 401, 400], "the newest first: {refusals:?}");
    let reasons = ["the body is not valid JSON", "the credential of a subscription must be shown"];
    for (refusal, reason) in refusals.iter().zip(reasons) {
        assert!(refusal["reason"].as_str().unwrap().starts_with(reason), "{refusal}");
    }
    assert_eq!(refusals[2]["reason"], "there is neither 'occur_at' nor 'time'");
    let unknown = source(&text, "harbor", None);
    assert_eq!(numbers(unknown), [0, 0, 0, 0, 0, 3], "{text:#}");
    let reason = "there is no source 'habor'";
    assert_eq!(source(&text, "unknown", None)["refusals"][0]["reason"], reason);
    assert_eq!(numbers(source(&text, "quay", Some("quay-1"))), [0; 6]);
    for name in ["time", "since"] {
        text[name].as_str().unwrap().parse::<Timestamp>().unwrap();
    }
    assert!(text.get("tableError").is_none());
}

#[tokio::test]
async fn refusals_are_bounded() {
    let catalog = Catalog::start().await;
    for number in 0..12 {
        let url = format!("{}/events/harbor?service={number}", catalog.url);
        assert_eq!(send(&url, &[], "{}").await.0, 400);
        let name = format!("{number}{}", "x".repeat(1000));
        assert_eq!(send(&format!("{}/events/{name}", catalog.url), &[], "{}").await.0, 404);
    }
    let long = json!({ "type": "PUSH_ARTIFACT", "event_data": { "resources": [
        { "digest": "x".repeat(1000), "resource_url": "x" }
    ] } });
    let (code, _) = send(&format!("{}/events/harbor", catalog.url), &[], long.to_string()).await;
    assert_eq!(code, 400);
    let status = status(&catalog).await;
    assert_eq!(status["sources"].as_array().unwrap().len(), 2, "{status:#}");
    for name in ["harbor", "unknown"] {
        let source = source(&status, name, None);
        assert_eq!(source["refused"], 12);
        let refusals = source["refusals"].as_array().unwrap();
        assert_eq!(refusals.len(), 10);
        let length = |refusal: &Value| refusal["reason"].as_str().unwrap().chars().count();
        assert!(refusals.iter().all(|refusal| length(refusal) <= 300), "{refusals:?}");
    }
    let newest = &source(&status, "unknown", None)["refusals"][0]["reason"];
    assert!(newest.as_str().unwrap().starts_with("there is no source '11x"), "{newest}");
}

#[tokio::test]
async fn without_subscriptions_deliveries_are_counted_by_source() {
    let catalog = Catalog::start().await;
    let push = sample("aws-ecr/image-action-push-untagged.json");
    assert_eq!(send(&format!("{}/events/ecr", catalog.url), &[], push).await.0, 200);
    let page = [("origin", "https://attacker.example")];
    assert_eq!(send(&format!("{}/events/ecr", catalog.url), &page, "{}").await.0, 403);
    let status = status(&catalog).await;
    let ecr = source(&status, "ecr", None);
    assert_eq!(numbers(ecr), [1, 1, 0, 0, 0, 1], "{status:#}");
    let refusal = &ecr["refusals"][0];
    assert_eq!(refusal["status"], 403);
    assert_eq!(refusal["reason"], "a web page of another site may send no requests");
}

#[tokio::test]
async fn pending_lookups_are_listed_by_registry() {
    // Nothing listens there.
    let store = Store::in_memory().await.looking_up("http://127.0.0.1:9");
    let catalog = Catalog::start_with(store, &keys()).await;
    assert_eq!(status(&catalog).await["pendingLookups"], json!([]));
    let event = |number: u64| {
        json!({
            "id": number.to_string(),
            "timestamp": time(i64::try_from(number).unwrap()),
            "action": "push",
            "target": {
                "mediaType": OCI_IMAGE,
                "digest": digest(number),
                "repository": "team/app",
                "url": format!("http://127.0.0.1:9/v2/team/app/manifests/{}", digest(number)),
            },
        })
    };
    let notification = json!({ "events": [event(2), event(1)] });
    let url = format!("{}/events/distribution", catalog.url);
    assert_eq!(send(&url, &[], notification.to_string()).await.0, 200);
    let expected = json!([{ "registry": "127.0.0.1:9", "number": 2, "oldest": time(1) }]);
    assert_eq!(status(&catalog).await["pendingLookups"], expected);
    let (_, metrics) = get(&format!("{}/metrics", catalog.url), &[]).await;
    let line = "\nimage_catalog_pending_lookups{registry=\"127.0.0.1:9\"} 2\n";
    assert!(metrics.contains(line), "{metrics}");
}

/// The status, requested with a signature.
async fn get_signed(url: &str, id: &str, secret: &str, signing_name: &str) -> (u16, Value) {
    let credentials = Credentials::new(id, secret, None, None, "tests");
    let headers = get_signature_headers(&credentials, signing_name, url);
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (status, body) = get(url, &headers).await;
    (status, serde_json::from_str(&body).unwrap())
}

/// Where callers must sign, the status needs a signature, and the permission to read everything.
#[tokio::test]
async fn a_restricted_caller_and_others_do_not_get_the_status() {
    let catalog = authentication::catalog(None).await;
    let url = format!("{}/status", catalog.url);
    let signed = async |id: &str, secret: &str, signing_name: &str| {
        get_signed(&url, id, secret, signing_name).await
    };
    let (status, body) = signed("AKIDREADER", "reader's", "ecr").await;
    assert_eq!(status, 200, "{body}");
    assert!(body["sources"].is_array(), "{body}");
    for (id, secret, signing_name, error) in [
        ("AKIDREADER", "wrong", "ecr", "InvalidSignatureException"),
        ("AKIDREADER", "reader's", "execute-api", "InvalidSignatureException"),
        ("AKIDUNKNOWN", "reader's", "ecr", "UnrecognizedClientException"),
        ("AKIDDISABLED", "former's", "ecr", "UnrecognizedClientException"),
        ("AKIDTEAM", "team's", "ecr", "AccessDeniedException"),
        ("AKIDOTHER", "other's", "ecr", "AccessDeniedException"),
    ] {
        let (status, body) = signed(id, secret, signing_name).await;
        assert_eq!(body["__type"], error, "{id}: {status} {body}");
    }
    let (status, body) = get(&url, &[]).await;
    assert_eq!(status, 400, "{body}");
    assert!(body.contains("MissingAuthenticationTokenException"), "{body}");
    // Prometheus cannot sign, so the metrics are elsewhere.
    let (status, body) = get(&format!("{}/metrics", catalog.url), &[]).await;
    assert!(body.contains("MissingAuthenticationTokenException"), "{status}: {body}");
    for path in ["healthz", "readyz"] {
        let response = get(&format!("{}/{path}", catalog.url), &[]).await;
        assert_eq!(response, (200, "ok\n".to_owned()), "{path}");
    }
}

/// A subscription has another registry id than the default one: its status is in the response, too.
#[tokio::test]
async fn the_status_needs_the_permission_for_the_registries_of_subscriptions() {
    let caller = |id: &str, repositories: &[&str]| {
        json!({
            "accessKeyId": id, "secretAccessKey": "secret",
            "arn": "arn:aws:iam::123456789012:user/caller", "repositories": repositories,
        })
    };
    let default = ["123456789012/*", "ecr-public/123456789012/*"];
    let callers = json!([
        caller("AKIDDEFAULT", &default),
        caller("AKIDONESERVICE", &[&default[..], &["210987654321/*"]].concat()),
        caller("AKIDALL", &["*"]),
    ]);
    let store = Store::in_memory().await;
    let catalog = Catalog::start_subscribed_for(store, &subscriptions(), &callers).await;
    let url = format!("{}/status", catalog.url);
    for id in ["AKIDDEFAULT", "AKIDONESERVICE"] {
        let (_, body) = get_signed(&url, id, "secret", "ecr").await;
        assert_eq!(body["__type"], "AccessDeniedException", "{id}: {body}");
    }
    let (status, body) = get_signed(&url, "AKIDALL", "secret", "ecr-public").await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn web_pages_of_other_sites_get_neither_status_nor_metrics() {
    let catalog = Catalog::start().await;
    for path in ["status", "metrics"] {
        let url = format!("{}/{path}", catalog.url);
        for header in [("origin", "https://attacker.example"), ("host", "attacker.example")] {
            assert_eq!(get(&url, &[header]).await.0, 403, "{path} {header:?}");
        }
        assert_eq!(get(&url, &[("origin", &catalog.url)]).await.0, 200, "{path}");
        // Other methods are for the API, which knows no such path.
        let response = reqwest::Client::new().post(&url).body("{}").send().await.unwrap();
        assert_eq!(response.headers()["x-amzn-errortype"], "NotFoundException", "{path}");
    }
}

#[tokio::test]
async fn a_catalog_that_cannot_read_its_table_is_not_ready() {
    let mut store = Store::in_memory().await;
    store.table.name = "missing".to_owned();
    let catalog = Catalog::start_with(store, &keys()).await;
    let (code, reason) = get(&format!("{}/readyz", catalog.url), &[]).await;
    assert_eq!((code, reason.as_str()), (503, "the request to DynamoDB failed\n"));
    assert_eq!(get(&format!("{}/healthz", catalog.url), &[]).await, (200, "ok\n".to_owned()));
    // The rest of the status is there.
    let status = status(&catalog).await;
    let error = status["tableError"].as_str().unwrap();
    assert!(error.starts_with("the request to DynamoDB failed: "), "{error}");
    assert_eq!(status["sources"], json!([]));
}

/// Every metric has a text and a type.
#[tokio::test]
async fn metrics_are_in_prometheus_format() {
    let catalog = subscribed().await;
    let response = reqwest::get(format!("{}/metrics", catalog.url)).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = response.text().await.unwrap();
    let expected = format!(
        "# HELP image_catalog_build_info 1, with the version of the program.\n\
         # TYPE image_catalog_build_info gauge\n\
         image_catalog_build_info{{version=\"{}\"}} 1\n",
        env!("CARGO_PKG_VERSION")
    );
    assert!(text.contains(&expected), "{text}");
    // No lookup is pending for a registry that could have some.
    let none = "\nimage_catalog_pending_lookups{registry=\"127.0.0.1:9\"} 0\n";
    assert!(text.contains(none), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(text.contains(&format!("# HELP {name} ")), "{line}");
        assert!(text.contains(&format!("# TYPE {name} ")), "{line}");
    }
}

/// The repositories in the metrics are those with most images.
#[tokio::test]
async fn the_repositories_in_the_metrics_are_bounded() {
    let store = Store::in_memory().await;
    let table = store.table.clone();
    let targets = RegistryTargets::default();
    let schedule = Arc::new(ReconcileSchedule::new(table.clone(), targets, None, false));
    let deliveries = Deliveries::new(&Subscriptions::default());
    let status = Status::new(table, deliveries, schedule, None);
    status.set_images((0..101).map(|number| {
        (repository(&format!("team/{number}")), ImageTotals { images: number, bytes: 7 })
    }));
    let metrics = status.metrics(&store.ingest()).await;
    let lines = |start: &str| metrics.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!(lines("image_catalog_repository_images{"), 100, "{metrics}");
    assert_eq!(lines("image_catalog_repository_images_bytes{"), 100, "{metrics}");
    assert!(!metrics.contains("repository=\"team/0\""), "{metrics}");
    assert_eq!(lines("image_catalog_repositories 101"), 1, "{metrics}");
    assert_eq!(lines("image_catalog_images 5050"), 1, "{metrics}");
    assert_eq!(lines("image_catalog_images_bytes 707"), 1, "{metrics}");
}

#[tokio::test]
async fn the_images_of_all_repositories_and_their_bytes_are_counted() {
    let store = Store::in_memory().await;
    let private = repository("team/app");
    let public = Repository { service: Service::EcrPublic, ..private.clone() };
    // More than are read at a time; the sizes of some are not known, and one is as large as can be.
    let mut changes = Vec::new();
    for number in 0..600 {
        let name = format!("v{number}");
        let tag_name = (number % 2 == 0).then_some(name.as_str());
        let size = (number % 3 != 0).then_some(1_000);
        changes.push(push(&private, number, tag_name, size));
    }
    changes.push(push(&public, 1, Some("v1"), Some(i64::MAX)));
    changes.push(push(&public, 2, None, Some(7)));
    // A repository without images is not counted.
    changes.push(push(&repository("team/empty"), 1, None, Some(7)));
    let kind = ChangeKind::ImageDeleted { digest: digest(1) };
    changes.push(Change { repository: repository("team/empty"), time: time(9_000), kind });
    for change in &changes {
        store.writer.apply(change).await.unwrap();
    }

    let mut count = store.reader.count_images();
    while count.read().await.unwrap() {}
    let expected = [
        (private, ImageTotals { images: 600, bytes: 400_000 }),
        (public, ImageTotals { images: 2, bytes: (1 << 63) + 6 }),
    ];
    assert_eq!(count.finish(), expected.into());
}

fn push(repository: &Repository, number: u64, name: Option<&str>, size: Option<i64>) -> Change {
    let content = Content { size_in_bytes: size, ..Content::default() };
    let kind = ChangeKind::ImagePushed { digest: digest(number), tag: name.map(tag), content };
    Change { repository: repository.clone(), time: time(1_000), kind }
}

fn keys() -> String {
    describe_images::page_token::Keyring::generate_key().unwrap()
}
