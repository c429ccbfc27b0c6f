//! Hostile bodies and registries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use end_to_end::harness::responder::{Responder, response};
use end_to_end::harness::{Catalog, Store, eventually, sample};
use registries::{OciClient, RegistryAddress, Subscriptions};
use secret::Secret;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{
    HARBOR_IMAGE, REGISTRY, SOURCES, catalog, images, pending_lookups, report, retry_in_vain, send,
    without_time,
};

#[tokio::test]
async fn hostile_bodies_get_an_orderly_response_and_change_nothing() {
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
            r#"{"type":"SCANNING_COMPLETED","occur_at":1,"event_data":{"resources":[{"digest":"sha256:aa","scan_overview":{"x":{"scan_status":"Success","summary":{"summary":{"None":9223372036854775807,"Negligible":9223372036854775807}}}}}],"repository":{"repo_full_name":"x"}}}"#,
            &deep,
            &long,
        ] {
            let (status, response) = send(&url, &headers, body.to_owned()).await;
            let start: String = body.chars().take(60).collect();
            assert!(matches!(status, 200 | 400), "{source} {start}: {status} {response}");
            assert!(status == 400 || response["applied"] == 0, "{source} {start}: {response}");
        }
        let too_large = "a".repeat(1_000_001);
        let (status, response) = send(&url, &headers, too_large).await;
        assert_eq!(
            (status, response),
            (413, json!({ "message": "the body must not be larger than 1000000 bytes" }))
        );
    }
    let everything =
        catalog.store.table.client.scan().table_name(&catalog.store.table.name).send().await;
    assert_eq!(everything.unwrap().count, 1, "nothing but the number of the format");
}

#[tokio::test]
async fn the_reasons_of_malformed_events_are_bounded() {
    let catalog = Catalog::start().await;
    let zeros = format!("[{}0]", "0,".repeat(999));
    let (status, response) = send(&format!("{}/events/ecr", catalog.url), &[], zeros).await;
    assert_eq!(status, 400);
    assert_eq!(response["malformed"].as_array().unwrap().len(), 10);
    assert_eq!(response["furtherMalformed"], 1000 - 10);
    assert!(response.to_string().len() < 4000, "{response}");
}

#[tokio::test]
async fn the_events_of_a_delivery_and_the_changes_of_an_event_are_bounded() {
    let catalog = Catalog::start().await;
    let zeros = format!("[{}0]", "0,".repeat(499_000));
    let (status, response) = send(&format!("{}/events/ecr", catalog.url), &[], zeros).await;
    let message = "499001 events are too many; the maximum is 1000";
    assert_eq!((status, response), (400, json!({ "message": message })));
    for (tags, reason) in
        [(40_000, "it has more than 3000 changes"), (200_000, "it has more than 50000 values")]
    {
        let event = json!({ "repository": "app/web", "updated_tags": vec!["v"; tags] });
        let (status, response) =
            send(&format!("{}/events/quay", catalog.url), &[], event.to_string()).await;
        let malformed = json!([{ "event": 0, "reason": reason }]);
        assert_eq!((status, &response["malformed"]), (400, &malformed));
    }
    assert!(pending_lookups(&catalog).await.is_empty());
    let many = vec![json!({ "imageDigest": "a:1", "imageTag": "a" }); 4_000];
    let others = vec![json!({ "imageDigest": "a:0" }); 15_000];
    let record = json!({
        "eventSource": "ecr.amazonaws.com", "eventName": "BatchDeleteImage",
        "eventTime": "2026-01-01T00:00:00Z", "awsRegion": "us-east-1",
        "requestParameters": { "repositoryName": "team/app", "imageIds": others },
        "responseElements": { "imageIds": many },
    });
    let (_, response) = send(&format!("{}/events/ecr", catalog.url), &[], record.to_string()).await;
    assert_eq!(response["malformed"][0]["reason"], "it has more than 3000 changes");
}

#[tokio::test]
async fn a_web_page_of_another_site_sends_no_events_and_reads_no_images() {
    let catalog = Catalog::start().await;
    let event = sample("aws-ecr/image-action-push.json");
    for path in ["/events/ecr", "/", "/DescribeImages"] {
        let url = format!("{}{path}", catalog.url);
        for header in [("origin", "https://attacker.example"), ("host", "attacker.example")] {
            let headers = [header, ("content-type", "text/plain")];
            let (status, response) = send(&url, &headers, event.clone()).await;
            assert_eq!(status, 403, "{path} {header:?}: {response}");
        }
    }
    let scan = catalog.store.table.client.scan().table_name(&catalog.store.table.name);
    assert_eq!(scan.send().await.unwrap().count, 1, "nothing but the number of the format");
}

/// Makes the bytes of a registry's response.
type Response = &'static (dyn Fn() -> Vec<u8> + Sync);

/// A registry with the same response to every request of a manifest, and with 200 to all others.
async fn registry_with_response(response: Response) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = vec![0; 16 * 1024];
                let length = client.read(&mut request).await.unwrap_or_default();
                if String::from_utf8_lossy(&request[..length]).contains("/manifests/") {
                    let _ = client.write_all(&response()).await;
                    // It sends no more, and does not close the connection.
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
    let responses: [(&str, Response, bool); 6] = [
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
    for (name, response, is_retried) in responses {
        let subscriptions = json!([{
            "id": "harbor", "source": "harbor", "registryId": REGISTRY, "credential": { "bearer": "token" },
            "registryUrl": registry_with_response(response).await,
        }]);
        let catalog = Catalog::start_subscribed(Store::in_memory().await, &subscriptions).await;
        let started = Instant::now();
        let url = format!("{}/events/harbor", catalog.url);
        let taken =
            send(&url, &[("authorization", "token")], sample("harbor/push-artifact.json")).await;
        assert_eq!(taken, (200, report(1, 0)), "{name}");
        // Less than a lookup may take.
        assert!(started.elapsed() < Duration::from_secs(4), "{name}: {:?}", started.elapsed());
        let is_listed = async || {
            let expected = json!([{ "imageDigest": HARBOR_IMAGE, "imagePushedAt": 1_680_501_893 }]);
            assert_eq!(images(&catalog, "harbor/alpine").await, expected, "{name}");
        };
        is_listed().await;
        if is_retried {
            retry_in_vain(&catalog, &subscriptions).await;
            assert_eq!(pending_lookups(&catalog).await.len(), 1, "{name}");
        } else {
            eventually(name, async || pending_lookups(&catalog).await.is_empty()).await;
        }
        is_listed().await;
    }
}

/// A registry that requires authentication for its manifests, and counts its challenges.
#[tokio::test]
async fn a_registry_is_sent_its_credential_after_its_challenge() {
    let manifest = r#"{"schemaVersion":2,"config":{"digest":"sha256:aa","size":1},"layers":[]}"#;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, manifest.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = format!("sha256:{hash}");
    let sent = digest.clone();
    let registry = Responder::start(move |request| {
        let right = format!("Basic {}", aws_smithy_types::base64::encode("robot:pass:word"));
        if request.contains("/manifests/") && request.contains(&right) {
            response("200 OK", &format!("docker-content-digest: {sent}\r\n"), manifest)
        } else {
            response("401 Unauthorized", "www-authenticate: Basic realm=\"r\"\r\n", "")
        }
    })
    .await;
    let challenges = || {
        let requests = registry.requests();
        requests.iter().filter(|request| !request.contains("authorization: Basic")).count()
    };
    let subscription = |password: &str| {
        json!([{
            "id": "quay", "source": "quay", "registryId": REGISTRY, "credential": { "bearer": "token" },
            "registryUrl": registry.url(),
            "registryCredential": { "username": "robot", "password": password },
        }])
    };
    let body = r#"{"repository":"team/app","updated_tags":["v1","v2","v3"]}"#;
    let catalog =
        Catalog::start_subscribed(Store::in_memory().await, &subscription("pass:word")).await;
    let url = format!("{}/events/quay?token=token", catalog.url);
    let completed = async || {
        assert_eq!(send(&url, &[], body).await, (200, report(1, 0)));
        eventually("the lookups", async || pending_lookups(&catalog).await.is_empty()).await;
    };
    completed().await;
    let images = without_time(images(&catalog, "team/app").await);
    assert_eq!(
        images,
        json!([{ "imageDigest": digest, "imageTags": ["v1", "v2", "v3"], "imageSizeInBytes": 1 }])
    );
    // The lookups of a delivery begin at the same time.
    let first = challenges();
    assert!((1..=3).contains(&first), "{first}");
    completed().await;
    assert_eq!(challenges(), first, "the challenge is remembered");

    // With the wrong password all lookups stay pending.
    let wrong = subscription("wrong");
    let catalog = Catalog::start_subscribed(Store::in_memory().await, &wrong).await;
    let url = format!("{}/events/quay?token=token", catalog.url);
    assert_eq!(send(&url, &[], body).await, (200, report(1, 0)));
    retry_in_vain(&catalog, &wrong).await;
    assert_eq!(pending_lookups(&catalog).await.len(), 3);
}

/// A listing without all its pages is an error: missing tags would count as deleted.
#[tokio::test]
async fn a_listing_that_breaks_off_is_an_error() {
    let registry = Responder::start(|request| {
        if request.contains("last=") || request.contains("/team/gone/") {
            return response("404 Not Found", "", "{}");
        }
        let next = "link: </v2/team/app/tags/list?n=1&last=v1>; rel=\"next\"\r\n";
        response("200 OK", next, r#"{"name":"team/app","tags":["v1"]}"#)
    })
    .await;
    let address = RegistryAddress::from_url(&registry.url().parse().unwrap()).unwrap();
    let oci = OciClient::new(Arc::new(Secret::known(Subscriptions::default())));
    let error = oci.tags(&address, "team/app").await.unwrap_err();
    assert_eq!(error.to_string(), "the response has the status 404");
    assert_eq!(oci.tags(&address, "team/gone").await.unwrap().items, None);
}
