//! Webhooks: the real payloads of every product, what each does to the catalog, and what it has to
//! show.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use catalog::{RegistryId, Timestamp};
use end_to_end::harness::{Catalog, REGION, Store, sample};
use ingest_events::source::{Meaning, Origin, Statement};
use registries::{Distribution, Registry, RegistryAddress};
use secret::Secret;
use serde_json::{Value, json};
use subscriptions::Subscriptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const REGISTRY: &str = "210987654321";

const SOURCES: [&str; 8] =
    ["ecr", "distribution", "harbor", "quay", "github", "docker-hub", "artifactory", "zot"];

/// A catalog that listens to one registry of each kind, all of the registry id [`REGISTRY`], each
/// with a bearer token of its own. None of them can be asked anything: nobody listens at their
/// address.
async fn catalog() -> Catalog {
    let subscriptions: Vec<Value> = SOURCES
        .iter()
        .map(|source| {
            let mut subscription = json!({
                "id": format!("{source}-1"),
                "source": source,
                "registryId": REGISTRY,
                "credential": { "bearer": format!("token of {source}") },
            });
            if matches!(*source, "quay" | "docker-hub" | "github") {
                subscription["registryUrl"] = json!("http://127.0.0.1:9");
            }
            subscription
        })
        .collect();
    Catalog::start_subscribed(Store::in_memory().await, &json!(subscriptions)).await
}

/// Sends a webhook, and reads the status and the answer.
async fn send(url: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> (u16, Value) {
    let mut request = reqwest::Client::new().post(url).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Sends a sample, as its product would with its token, and expects it to be taken.
async fn take(catalog: &Catalog, source: &str, file: &str) {
    assert_eq!(deliver(catalog, source, file).await, (200, report(1, 0)), "{file}");
}

async fn deliver(catalog: &Catalog, source: &str, file: &str) -> (u16, Value) {
    let event: Value = serde_json::from_str(&sample(file)).unwrap();
    let token = format!("Bearer token of {source}");
    let mut headers = vec![("authorization", token.as_str())];
    if source == "artifactory" {
        headers = vec![("x-jfrog-event-auth", "token of artifactory")];
    }
    let url = format!("{}/events/{source}", catalog.url);
    // The samples of zot are requests: headers, and the body.
    let Some(sent) = event["headers"].as_object() else {
        return send(&url, &headers, event.to_string()).await;
    };
    headers.extend(sent.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())));
    send(&url, &headers, event["body"].to_string()).await
}

fn report(applied: u64, ignored: u64) -> Value {
    json!({ "applied": applied, "ignored": ignored, "malformed": [] })
}

/// The images of a repository, as the private service tells them.
async fn images(catalog: &Catalog, repository: &str) -> Value {
    let request = json!({ "registryId": REGISTRY, "repositoryName": repository });
    let target = [("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.DescribeImages")];
    let (_, mut answer) = send(&catalog.url, &target, request.to_string()).await;
    let Some(images) = answer["imageDetails"].as_array_mut() else {
        return answer["__type"].take();
    };
    for image in &mut *images {
        let image = image.as_object_mut().unwrap();
        assert_eq!(image.remove("registryId").unwrap(), REGISTRY);
        assert_eq!(image.remove("repositoryName").unwrap(), repository);
        image.remove("imageStatus");
    }
    answer["imageDetails"].take()
}

/// What registries have yet to be asked.
async fn open_questions(catalog: &Catalog) -> Vec<String> {
    let table = &catalog.store.table;
    let open = table
        .client
        .query()
        .table_name(&table.name)
        .key_condition_expression("repository = :questions")
        .expression_attribute_values(":questions", catalog::table::questions())
        .send()
        .await
        .unwrap();
    open.items().iter().map(|item| item["sort"].as_s().unwrap().clone()).collect()
}

/// An image without the time of its push, which is that of its event's arrival.
fn without_time(mut images: Value) -> Value {
    for image in images.as_array_mut().unwrap() {
        assert!(
            image.as_object_mut().unwrap().remove("imagePushedAt").unwrap().as_f64() > Some(1.7e9)
        );
    }
    images
}

const HARBOR_IMAGE: &str =
    "sha256:954b378c375d852eb3c63ab88978f640b4348b01c1b3456a024a81536dafbbf4";

#[tokio::test]
async fn harbor() {
    for push in ["harbor/push-artifact.json", "harbor/push-artifact-cloudevents.json"] {
        let catalog = catalog().await;
        take(&catalog, "harbor", push).await;
        let pushed_at = if push.contains("cloudevents") { 1_680_501_886 } else { 1_680_501_893 };
        let mut image = json!({ "imageDigest": HARBOR_IMAGE, "imagePushedAt": pushed_at });
        assert_eq!(images(&catalog, "harbor/alpine").await, json!([image]), "{push}");
        take(&catalog, "harbor", "harbor/pull-artifact.json").await;
        image["lastRecordedPullTime"] = json!(1_680_502_372);
        assert_eq!(images(&catalog, "harbor/alpine").await, json!([image]));
        take(&catalog, "harbor", "harbor/scanning-completed.json").await;
        image["imageScanStatus"] = json!({ "status": "COMPLETE" });
        image["imageScanFindingsSummary"] =
            json!({ "imageScanCompletedAt": 1_680_502_375, "findingSeverityCounts": {} });
        assert_eq!(images(&catalog, "harbor/alpine").await, json!([image]));
        // Another image is deleted; this one stays.
        take(&catalog, "harbor", "harbor/delete-artifact.json").await;
        take(&catalog, "harbor", "harbor/delete-artifact-cloudevents.json").await;
        assert_eq!(images(&catalog, "harbor/alpine").await, json!([image]));
    }
}

#[tokio::test]
async fn harbor_deletes_an_image_with_its_tags() {
    let catalog = catalog().await;
    let mut push: Value = serde_json::from_str(&sample("harbor/delete-artifact.json")).unwrap();
    push["type"] = json!("PUSH_ARTIFACT");
    push["occur_at"] = json!(1_680_502_000);
    let url = format!("{}/events/harbor", catalog.url);
    let header = [("authorization", "token of harbor")];
    assert_eq!(send(&url, &header, push.to_string()).await, (200, report(1, 0)));
    assert_eq!(images(&catalog, "harbor/alpine").await[0]["imageTags"], json!(["3.8"]));
    take(&catalog, "harbor", "harbor/delete-artifact.json").await;
    assert_eq!(images(&catalog, "harbor/alpine").await, json!([]));
}

#[tokio::test]
async fn quay_and_docker_hub_tell_of_tags_that_only_the_registry_can_explain() {
    let catalog = catalog().await;
    // The registry does not answer: the events are taken, and what they ask for stays open.
    for file in [
        "quay/repo-push.json",
        "quay/repo-push-test-notification.json",
        "quay/repo-push-2013-updated-tags-map.json",
    ] {
        take(&catalog, "quay", file).await;
    }
    take(&catalog, "docker-hub", "docker-hub/push.json").await;
    let open = open_questions(&catalog).await;
    assert_eq!(
        open,
        [
            "210987654321/devtable/ubuntu#latest",
            "210987654321/dgangaia/test#latest",
            "210987654321/mynamespace/repository#foo",
            "210987654321/mynamespace/repository#latest",
            "210987654321/svendowideit/testhook#latest",
        ]
    );
}

/// Private repositories of theirs need a credential; nobody else gets to see it.
#[test]
fn quay_and_docker_hub_are_asked_at_their_own_hosts_with_the_credential_of_the_subscription() {
    for (source, file, host) in [
        ("quay", "quay/repo-push.json", "quay.io"),
        ("docker-hub", "docker-hub/push.json", "registry-1.docker.io"),
    ] {
        let list = json!([{
            "id": "one",
            "source": source,
            "registryId": REGISTRY,
            "credential": { "bearer": "token" },
            "registryCredential": { "username": "robot", "password": "secret" },
        }]);
        let subscriptions = Subscriptions::parse(&list.to_string()).unwrap();
        let origin = Origin::of(subscriptions.get("one").unwrap().clone(), Timestamp::now());
        let event: Value = serde_json::from_str(&sample(file)).unwrap();
        let meaning = ingest_events::source::interpret(&event, &origin, REGION).unwrap();
        let Meaning::Statements(statements) = meaning else { panic!("{meaning:?}") };
        let Some(Statement::Push(question)) = statements.first() else { panic!("{statements:?}") };
        let address = RegistryAddress {
            host: host.to_owned(),
            encrypted: true,
            subscription: Some("one".to_owned()),
        };
        assert_eq!(question.registry, Registry::Distribution(address));
    }
}

#[tokio::test]
async fn github() {
    for file in [
        "github-packages/package-published-docker.json",
        "github-packages/registry_package-published-docker.json",
    ] {
        let catalog = catalog().await;
        take(&catalog, "github", file).await;
        // Configuration and layers of the sample's manifest, added up.
        assert_eq!(
            without_time(images(&catalog, "codertocat/hello-world").await),
            json!([{
                "imageDigest": "sha256:6c62fb45fe66bfb1ea9a66abc38f6a0cc974292b",
                "imageSizeInBytes": 119_433_709,
                "imageManifestMediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "artifactMediaType": "application/vnd.docker.container.image.v1+json",
            }])
        );
        let url = format!("{}/events/github", catalog.url);
        let header = [("authorization", "Bearer token of github")];
        for greeting in [r#"{"zen":"Keep it logically awesome.","hook_id":1}"#] {
            assert_eq!(send(&url, &header, greeting).await, (200, report(0, 1)));
        }
    }
}

#[tokio::test]
async fn artifactory() {
    let catalog = catalog().await;
    take(&catalog, "artifactory", "jfrog-artifactory/docker-pushed.json").await;
    let digest = "sha256:35c4a2c15539c6c1e4e5fa4e554dac323ad0107d8eb5c582d6ff386b383b7dce";
    assert_eq!(
        without_time(images(&catalog, "docker-remote-cache/library/ubuntu").await),
        json!([{ "imageDigest": digest, "imageTags": ["latest"] }])
    );
    let mut deleted: Value =
        serde_json::from_str(&sample("jfrog-artifactory/docker-pushed.json")).unwrap();
    deleted["event_type"] = json!("deleted");
    let url = format!("{}/events/artifactory", catalog.url);
    let header = [("x-jfrog-event-auth", "token of artifactory")];
    // As newer versions send it: the rest in `data`.
    let deleted = json!({ "domain": "docker", "event_type": "deleted", "data": deleted });
    assert_eq!(send(&url, &header, deleted.to_string()).await, (200, report(1, 0)));
    assert_eq!(images(&catalog, "docker-remote-cache/library/ubuntu").await, json!([]));
    // The other sample has made-up words for a checksum and a name.
    let (status, answer) =
        deliver(&catalog, "artifactory", "jfrog-artifactory/docker-deleted.json").await;
    assert_eq!(status, 400);
    assert!(answer["malformed"][0]["reason"].as_str().unwrap().contains("sha256"), "{answer}");
}

#[tokio::test]
async fn zot() {
    let catalog = catalog().await;
    take(&catalog, "zot", "zot/repository-created.json").await;
    assert_eq!(images(&catalog, "golang").await, json!([]));
    take(&catalog, "zot", "zot/image-updated.json").await;
    let mut image = json!({
        "imageDigest": "sha256:7d98b5fd6dd1c7c18a9ef806890d8a5a8549b430a2ebc37362b62d278bb81a73",
        "imageTags": ["latest"],
        "imagePushedAt": 1_767_323_045.678,
        "imageSizeInBytes": 3037,
        "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactMediaType": "application/vnd.oci.image.config.v1+json",
    });
    assert_eq!(images(&catalog, "golang").await, json!([image]));
    take(&catalog, "zot", "zot/image-scanned.json").await;
    image["imageScanStatus"] = json!({ "status": "COMPLETE" });
    image["imageScanFindingsSummary"] = json!({
        "imageScanCompletedAt": 1_767_323_045.678,
        "findingSeverityCounts": { "HIGH": 1, "LOW": 1, "MEDIUM": 1 },
    });
    assert_eq!(images(&catalog, "golang").await, json!([image]));
    let mut deleted: Value = serde_json::from_str(&sample("zot/image-deleted.json")).unwrap();
    let later = json!("2026-01-02T04:00:00Z");
    deleted["headers"]["Ce-Time"] = later.clone();
    let structured = json!({
        "specversion": "1.0", "id": "1", "source": "zotregistry.dev", "type": "zotregistry.image.deleted",
        "time": later, "data": deleted["body"],
    });
    let url = format!("{}/events/zot", catalog.url);
    let header = [("authorization", "Bearer token of zot")];
    assert_eq!(send(&url, &header, structured.to_string()).await, (200, report(1, 0)));
    image.as_object_mut().unwrap().remove("imageTags");
    assert_eq!(images(&catalog, "golang").await, json!([image]), "the tag goes, the image stays");
}

#[tokio::test]
async fn ecr_and_distribution_have_credentials_too() {
    let catalog = catalog().await;
    let mut push: Value =
        serde_json::from_str(&sample("aws-ecr/image-action-push-untagged.json")).unwrap();
    push["region"] = json!("us-east-1");
    let url = format!("{}/events/ecr", catalog.url);
    let header = [("authorization", "Bearer token of ecr")];
    assert_eq!(send(&url, &header, push.to_string()).await, (200, report(1, 0)));
    take(
        &catalog,
        "distribution",
        "cncf-distribution/v2.8-push-manifest-tagged-with-references.json",
    )
    .await;
    assert_eq!(images(&catalog, "team/app").await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn who_shows_no_credential_is_refused_and_nothing_is_applied() {
    let catalog = catalog().await;
    let unauthorized =
        (401, json!({ "message": "the credential of a subscription must be shown" }));
    for source in SOURCES {
        let url = format!("{}/events/{source}", catalog.url);
        let right = format!("Bearer token of {source}");
        let other = SOURCES.iter().find(|other| **other != source).unwrap();
        for (url, headers) in [
            (url.clone(), vec![]),
            (url.clone(), vec![("authorization", "Bearer ")]),
            (url.clone(), vec![("authorization", "")]),
            (url.clone(), vec![("authorization", "Bearer token of nobody")]),
            (url.clone(), vec![("authorization", "Basic dG9rZW46b2Y=")]),
            (url.clone(), vec![("x-jfrog-event-auth", "Bearer")]),
            (url.clone(), vec![("x-hub-signature-256", "sha256=00")]),
            (format!("{url}?token=wrong"), vec![]),
            (format!("{url}?token="), vec![]),
            // The right token, but of another subscription.
            (format!("{url}?subscription={other}-1"), vec![("authorization", right.as_str())]),
            (format!("{url}?subscription=none"), vec![("authorization", right.as_str())]),
        ] {
            assert_eq!(send(&url, &headers, "{}").await, unauthorized, "{url} {headers:?}");
        }
    }
    let everything =
        catalog.store.table.client.scan().table_name(&catalog.store.table.name).send().await;
    assert_eq!(everything.unwrap().count, 1, "nothing but the number of the format");
    // An address tells nothing of who is subscribed.
    let (status, answer) = send(&format!("{}/events/carrier-pigeon", catalog.url), &[], "{}").await;
    assert_eq!(
        (status, answer),
        (404, json!({ "message": "there is no source 'carrier-pigeon'" }))
    );
}

#[tokio::test]
async fn the_token_of_one_who_cannot_send_headers_is_in_the_address() {
    let catalog = catalog().await;
    for (source, body) in
        [("quay", sample("quay/repo-push.json")), ("docker-hub", sample("docker-hub/push.json"))]
    {
        let url = format!("{}/events/{source}?token=token%20of%20{source}", catalog.url);
        assert_eq!(send(&url, &[], body).await, (200, report(1, 0)));
    }
    // Others can, and so must.
    let url = format!("{}/events/harbor?token=token%20of%20harbor", catalog.url);
    assert_eq!(send(&url, &[], sample("harbor/push-artifact.json")).await.0, 401);
}

fn signature(key: &str, body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), body.as_bytes());
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn signatures_and_passwords_and_prefixes() {
    let subscriptions = json!([
        {
            "id": "github", "source": "github", "registryId": REGISTRY, "repositoryPrefix": "ghcr",
            "credential": { "hmac": "It's a Secret to Everybody" }
        },
        {
            "id": "artifactory", "source": "artifactory", "registryId": REGISTRY,
            "credential": { "hmac": "key" }
        },
        {
            "id": "harbor", "source": "harbor", "registryId": "000000000001",
            "credential": { "basic": { "username": "harbor", "password": "pass:word" } }
        },
        {
            "id": "harbor-2", "source": "harbor", "registryId": REGISTRY,
            "credential": { "basic": { "username": "harbor", "password": "another" } }
        },
    ]);
    let catalog = Catalog::start_subscribed(Store::in_memory().await, &subscriptions).await;

    // The example of GitHub's documentation.
    let body = "Hello, World!";
    let documented = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(signature("It's a Secret to Everybody", body), documented);
    let body = sample("github-packages/package-published-docker.json");
    let url = format!("{}/events/github", catalog.url);
    let right = format!("sha256={}", signature("It's a Secret to Everybody", &body));
    assert_eq!(
        send(&url, &[("x-hub-signature-256", &right)], body.clone()).await,
        (200, report(1, 0))
    );
    assert_eq!(images(&catalog, "ghcr/codertocat/hello-world").await.as_array().unwrap().len(), 1);
    for wrong in [
        format!("sha256={}", signature("another key", &body)),
        format!("sha256={}", signature("It's a Secret to Everybody", &format!("{body} "))),
        "sha256=".to_owned(),
        right[..right.len() - 2].to_owned(),
        "sha256=zz".to_owned(),
    ] {
        assert_eq!(
            send(&url, &[("x-hub-signature-256", &wrong)], body.clone()).await.0,
            401,
            "{wrong}"
        );
    }
    assert_eq!(send(&url, &[("x-hub-signature", &right)], body).await.0, 401, "the old header");

    let body = sample("jfrog-artifactory/docker-pushed.json");
    let url = format!("{}/events/artifactory", catalog.url);
    let right = signature("key", &body);
    assert_eq!(send(&url, &[("x-jfrog-event-auth", "key")], body.clone()).await.0, 401);
    assert_eq!(send(&url, &[("x-jfrog-event-auth", &right)], body).await, (200, report(1, 0)));

    // Two of a kind: the credential tells them apart.
    let body = sample("harbor/push-artifact.json");
    let url = format!("{}/events/harbor", catalog.url);
    let basic = |pair: &str| format!("Basic {}", aws_smithy_types::base64::encode(pair));
    assert_eq!(
        send(&url, &[("authorization", &basic("harbor:another"))], body.clone()).await.0,
        200
    );
    assert_eq!(images(&catalog, "harbor/alpine").await.as_array().unwrap().len(), 1);
    assert_eq!(
        send(&url, &[("authorization", &basic("harbor:pass:word"))], body.clone()).await.0,
        200
    );
    assert_eq!(send(&url, &[("authorization", &basic("harbor:wrong"))], body).await.0, 401);
    let first = json!({ "registryId": "000000000001", "repositoryName": "harbor/alpine" });
    let (status, _) =
        send(&format!("{}/DescribeImages", catalog.url), &[], first.to_string()).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn hostile_bodies_get_an_orderly_answer_and_change_nothing() {
    let catalog = catalog().await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let long = format!(r#"{{"type":"{}"}}"#, "a".repeat(500_000));
    for source in SOURCES {
        let url = format!("{}/events/{source}", catalog.url);
        let token = format!("Bearer token of {source}");
        let headers =
            [("authorization", token.as_str()), ("x-jfrog-event-auth", "token of artifactory")];
        for body in [
            "",
            "{",
            "null",
            "\"text\"",
            "[1]",
            "{}",
            "\u{feff}{}",
            r#"{"type":"PUSH_ARTIFACT","occur_at":1e300,"event_data":{"resources":[{"digest":"sha256:aa"}],"repository":{"repo_full_name":"a/b"}}}"#,
            r#"{"type":"PUSH_ARTIFACT","occur_at":1,"event_data":{"resources":[{"digest":"../../etc"}],"repository":{"repo_full_name":"../x"}}}"#,
            r#"{"repository":"../../etc/passwd","updated_tags":["latest"]}"#,
            r#"{"repository":"a/b","updated_tags":["la/test","\u0000"]}"#,
            r#"{"push_data":{"pushed_at":-1e20,"tag":"latest"},"repository":{"repo_name":"a/b"}}"#,
            r#"{"action":"published","package":{"package_version":{"package_url":"","container_metadata":{"manifest":{"digest":"sha256:aa"}}}}}"#,
            r#"{"event_type":"pushed","repo_key":"..","name":"manifest.json","sha256":"aa","image_name":"..","tag":"x"}"#,
            r#"{"type":"zotregistry.image.updated","time":"yesterday","data":{"name":"x"}}"#,
            &deep,
            &long,
        ] {
            let (status, answer) = send(&url, &headers, body.to_owned()).await;
            let start: String = body.chars().take(60).collect();
            assert!(matches!(status, 200 | 400), "{source} {start}: {status} {answer}");
            assert!(status == 400 || answer["applied"] == 0, "{source} {start}: {answer}");
        }
        let too_large = "a".repeat(1_000_001);
        let (status, answer) = send(&url, &headers, too_large).await;
        assert_eq!(
            (status, answer),
            (413, json!({ "message": "the body must not be larger than 1000000 bytes" }))
        );
    }
    let everything =
        catalog.store.table.client.scan().table_name(&catalog.store.table.name).send().await;
    assert_eq!(everything.unwrap().count, 1, "nothing but the number of the format");
}

/// Makes the bytes that a registry answers with.
type Answer = &'static (dyn Fn() -> Vec<u8> + Sync);

/// A registry that answers every request for a manifest in one way, and whatever else with 200.
async fn registry_that_answers(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = vec![0; 16 * 1024];
                let length = client.read(&mut request).await.unwrap_or_default();
                if String::from_utf8_lossy(&request[..length]).contains("/manifests/") {
                    let _ = client.write_all(&answer()).await;
                    // It says no more, and does not hang up.
                    std::future::pending::<()>().await;
                }
                let _ = client
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    .await;
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_registry_that_is_slow_or_lies_or_never_ends_does_no_harm() {
    fn reply(head: &str, body: &[u8]) -> Vec<u8> {
        let length = body.len();
        [format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n").as_bytes(), body].concat()
    }
    let answers: [(&str, Answer, bool); 6] = [
        ("nothing", &Vec::new, true),
        ("half a head", &|| b"HTTP/1.1 200".to_vec(), true),
        ("an error", &|| reply("500 Internal Server Error", b""), true),
        ("no such manifest", &|| reply("404 Not Found", b""), false),
        (
            "another manifest",
            &|| reply("200 OK", br#"{"schemaVersion":2,"config":{"digest":"sha256:aa","size":1}}"#),
            false,
        ),
        ("100 MB", &|| reply("200 OK", &vec![b' '; 100_000_000]), false),
    ];
    for (name, answer, asks_again) in answers {
        let subscriptions = json!([{
            "id": "harbor", "source": "harbor", "registryId": REGISTRY, "credential": { "bearer": "token" },
            "registryUrl": registry_that_answers(answer).await,
        }]);
        let catalog = Catalog::start_subscribed(Store::in_memory().await, &subscriptions).await;
        let started = Instant::now();
        let url = format!("{}/events/harbor", catalog.url);
        let taken =
            send(&url, &[("authorization", "token")], sample("harbor/push-artifact.json")).await;
        assert_eq!(taken, (200, report(1, 0)), "{name}");
        assert!(started.elapsed() < Duration::from_secs(8), "{name}: {:?}", started.elapsed());
        assert_eq!(
            images(&catalog, "harbor/alpine").await,
            json!([{ "imageDigest": HARBOR_IMAGE, "imagePushedAt": 1_680_501_893 }]),
            "{name}"
        );
        assert_eq!(open_questions(&catalog).await.len(), usize::from(asks_again), "{name}");
    }
}

/// A registry that shows its manifests to one user alone, and counts who asks what it wants to be
/// shown.
#[tokio::test]
async fn a_registry_is_shown_its_credential_once_it_asks_for_it() {
    let manifest = r#"{"schemaVersion":2,"config":{"digest":"sha256:aa","size":1},"layers":[]}"#;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, manifest.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = format!("sha256:{hash}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let challenges = Arc::new(AtomicUsize::new(0));
    let (counted, told) = (Arc::clone(&challenges), digest.clone());
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 16 * 1024];
            let length = client.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let right = format!("Basic {}", aws_smithy_types::base64::encode("robot:pass:word"));
            let answer = if request.contains("/manifests/") && request.contains(&right) {
                let length = manifest.len();
                format!(
                    "200 OK\r\ndocker-content-digest: {told}\r\ncontent-length: {length}\r\n\r\n{manifest}"
                )
            } else {
                counted.fetch_add(1, Ordering::Relaxed);
                "401 Unauthorized\r\nwww-authenticate: Basic realm=\"r\"\r\ncontent-length: 0\r\n\r\n"
                    .to_owned()
            };
            let _ = client
                .write_all(
                    format!("HTTP/1.1 {}", answer.replacen("\r\n", "\r\nconnection: close\r\n", 1))
                        .as_bytes(),
                )
                .await;
        }
    });
    let subscription = |password: &str| {
        json!([{
            "id": "quay", "source": "quay", "registryId": REGISTRY, "credential": { "bearer": "token" },
            "registryUrl": format!("http://{address}"),
            "registryCredential": { "username": "robot", "password": password },
        }])
    };
    let body = r#"{"repository":"team/app","updated_tags":["v1","v2","v3"]}"#;
    let catalog =
        Catalog::start_subscribed(Store::in_memory().await, &subscription("pass:word")).await;
    let url = format!("{}/events/quay?token=token", catalog.url);
    assert_eq!(send(&url, &[], body).await, (200, report(1, 0)));
    let images = without_time(images(&catalog, "team/app").await);
    assert_eq!(
        images,
        json!([{ "imageDigest": digest, "imageTags": ["v1", "v2", "v3"], "imageSizeInBytes": 1 }])
    );
    assert_eq!(challenges.load(Ordering::Relaxed), 1, "what it wants to be shown is remembered");

    // The wrong password gets nothing; the questions stay open.
    let catalog = Catalog::start_subscribed(Store::in_memory().await, &subscription("wrong")).await;
    let url = format!("{}/events/quay?token=token", catalog.url);
    assert_eq!(send(&url, &[], body).await, (200, report(1, 0)));
    assert_eq!(open_questions(&catalog).await.len(), 3);
}

/// A list of which a page is missing is none; what is missing from it would be taken for deleted.
#[tokio::test]
async fn a_list_that_breaks_off_is_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 16 * 1024];
            let length = client.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let first = r#"{"name":"team/app","tags":["v1"]}"#;
            let (status, more, body) = if request.contains("last=")
                || request.contains("/team/gone/")
            {
                ("404 Not Found", "", "{}")
            } else {
                ("200 OK", "link: </v2/team/app/tags/list?n=1&last=v1>; rel=\"next\"\r\n", first)
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ndate: Sun, 22 Nov 2026 00:00:00 GMT\r\n{more}content-length: {length}\r\n\
                 connection: close\r\n\r\n{body}"
            );
            let _ = client.write_all(answer.as_bytes()).await;
        }
    });
    let address = RegistryAddress::of_url(&url).unwrap();
    let distribution = Distribution::new(Arc::new(Secret::known(Subscriptions::default())));
    let error = distribution.tags(&address, "team/app").await.unwrap_err();
    assert_eq!(error.to_string(), "the registry answers with the status 404");
    assert_eq!(distribution.tags(&address, "team/gone").await.unwrap().things, None);
}

#[test]
fn a_list_of_subscriptions_says_what_is_wrong_with_it() {
    let right = json!({
        "id": "a", "source": "harbor", "registryId": REGISTRY, "credential": { "bearer": "token" },
    });
    let with = |name: &str, value: Value| {
        let mut subscription = right.clone();
        subscription[name] = value;
        json!([subscription])
    };
    for (list, says) in [
        (json!([right, right]), "the subscription 'a': there is another one of this id"),
        (with("id", json!("a b")), "1 to 64 letters"),
        (with("id", json!("ecr")), "'ecr' stands for the account's own Amazon ECR"),
        (with("source", json!("carrier-pigeon")), "unknown variant `carrier-pigeon`"),
        (with("registryId", json!("1")), "must have length greater than or equal to 12"),
        (with("credential", json!({ "bearer": "" })), "its credential is empty"),
        (with("credential", json!({ "hmac": "key" })), "harbor does not sign its events"),
        (with("repositoryPrefix", json!("Upper")), "no repository can begin with 'Upper/'"),
        (with("registryUrl", json!("ftp://host")), "is not an address of http or https"),
        (with("registryurl", json!("https://host")), "unknown field `registryurl`"),
        (json!({}), "invalid type"),
    ] {
        let error = subscriptions::Subscriptions::parse(&list.to_string()).unwrap_err().to_string();
        assert!(error.contains(says), "{list}: {error}");
    }
    let parsed = subscriptions::Subscriptions::parse(&json!([right]).to_string()).unwrap();
    assert_eq!(parsed.get("a").unwrap().registry_id, RegistryId::parse(REGISTRY).unwrap());
    assert!(!format!("{parsed:?}").contains("token"), "no secret is ever printed");
}
