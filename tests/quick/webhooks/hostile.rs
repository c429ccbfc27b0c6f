//! Bodies and registries that mean harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use end_to_end::harness::{Catalog, Store, sample};
use registries::{Distribution, RegistryAddress};
use secret::Secret;
use serde_json::json;
use subscriptions::Subscriptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{
    HARBOR_IMAGE, REGISTRY, SOURCES, catalog, images, open_questions, report, send, without_time,
};

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
