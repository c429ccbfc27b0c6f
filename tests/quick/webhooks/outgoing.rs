//! Where the catalog's requests go: to the registries that its operator names, whatever events and
//! registries say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use end_to_end::harness::responder::{Responder, read_head, response};
use end_to_end::harness::stand_in::{StandIn, digest_of, image_manifest};
use end_to_end::harness::{Catalog, OCI_IMAGE, Store, eventually, time};
use registries::{OciClient, RegistryAddress, Subscriptions};
use secret::Secret;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::{REGISTRY, images, pending_lookups, report, retry_in_vain, send};

/// A distribution registry's notification of a push, which names an address.
fn notification(manifest: &Value, url: &str) -> String {
    let digest = digest_of(manifest);
    json!({ "events": [{
        "timestamp": time(1),
        "action": "push",
        "target": {
            "mediaType": OCI_IMAGE,
            "digest": digest,
            "repository": "team/app",
            "tag": "v1",
            "url": format!("{url}/v2/team/app/manifests/{digest}"),
        },
    }] })
    .to_string()
}

fn subscription(registry_url: Option<&str>, hosts: &[&str]) -> Value {
    let mut subscription = json!({
        "id": "registry",
        "source": "distribution",
        "registryId": REGISTRY,
        "credential": { "bearer": "token" },
        "registryHosts": hosts,
        "registryCredential": { "username": "reader", "password": "secret" },
    });
    if let Some(url) = registry_url {
        subscription["registryUrl"] = json!(url);
    }
    json!([subscription])
}

/// Sends the notification to a catalog, and waits until its lookup is completed.
async fn complete(catalog: &Catalog, notification: String) -> Value {
    let url = format!("{}/events/distribution?registry={REGISTRY}", catalog.url);
    let accepted = send(&url, &[("authorization", "token")], notification).await;
    assert_eq!(accepted, (200, report(1, 0)));
    eventually("the lookup", async || pending_lookups(catalog).await.is_empty()).await;
    images(catalog, "team/app").await[0]["imageSizeInBytes"].clone()
}

#[tokio::test]
async fn an_event_does_not_choose_where_requests_go() {
    let manifest = image_manifest(100);
    let registry = StandIn::start("team/app", &[("v1", manifest.clone())]).await;
    let event = || notification(&manifest, &registry.url);
    let open = Catalog::start_with(Store::in_memory().await, &keys()).await;
    assert_eq!(complete(&open, event()).await, Value::Null);
    let subscribed =
        Catalog::start_subscribed(Store::in_memory().await, &subscription(None, &[])).await;
    assert_eq!(complete(&subscribed, event()).await, Value::Null);
    let another = Store::in_memory().await.looking_up(&registry.url.replace("127.0.0.1", "[::1]"));
    assert_eq!(complete(&Catalog::start_with(another, &keys()).await, event()).await, Value::Null);
    assert_eq!(*registry.requests.lock().unwrap(), [], "none was sent");

    let named = Store::in_memory().await.looking_up(&registry.url);
    assert_eq!(complete(&Catalog::start_with(named, &keys()).await, event()).await, json!(100));
}

fn keys() -> String {
    describe_images::page_token::Keyring::generate_key().unwrap()
}

/// A registry whose responses without a token name a token service at another host.
async fn registry_with_token_service(manifest: &Value, token_port: u16) -> Responder {
    let manifest = manifest.to_string();
    Responder::start(move |request| {
        if !request.to_ascii_lowercase().contains("authorization: bearer right") {
            let realm = format!("http://localhost:{token_port}/token");
            let challenge = format!("www-authenticate: Bearer realm=\"{realm}\"\r\n");
            response("401 Unauthorized", &challenge, "")
        } else {
            response("200 OK", "", &manifest)
        }
    })
    .await
}

#[tokio::test]
async fn a_registry_does_not_choose_who_receives_its_credential() {
    let manifest = image_manifest(100);
    let tokens = Responder::start(|_| response("200 OK", "", r#"{"token":"right"}"#)).await;
    let registry = registry_with_token_service(&manifest, tokens.port).await;
    let url = format!("http://127.0.0.1:{}", registry.port);
    let catalog = async |hosts: &[&str]| {
        let subscription = subscription(Some(&url), hosts);
        Catalog::start_subscribed(Store::in_memory().await, &subscription).await
    };
    let refused = catalog(&[]).await;
    let address = format!("{}/events/distribution", refused.url);
    let event = notification(&manifest, "http://127.0.0.1:9");
    let accepted = send(&address, &[("authorization", "token")], event.clone()).await;
    assert_eq!(accepted, (200, report(1, 0)));
    eventually("the challenge", async || !registry.requests().is_empty()).await;
    retry_in_vain(&refused, &subscription(Some(&url), &[])).await;
    assert_eq!(tokens.requests(), Vec::<String>::new());
    assert_eq!(pending_lookups(&refused).await.len(), 1);

    assert_eq!(complete(&catalog(&["localhost"]).await, event).await, json!(100));
    let requests = tokens.requests();
    assert!(requests[0].contains("scope=repository%3Ateam%2Fapp%3Apull"), "{requests:?}");
    let credential = format!("Basic {}", aws_smithy_types::base64::encode("reader:secret"));
    assert!(requests[0].contains(&credential), "{requests:?}");
    for request in registry.requests() {
        assert!(!request.contains("Basic"), "{request}");
    }
}

#[tokio::test]
async fn a_redirect_goes_to_a_named_host_without_the_credential() {
    let manifest = image_manifest(100);
    let text = manifest.to_string();
    let storage = Responder::start(move |_| response("200 OK", "", &text)).await;
    let location = format!("location: http://localhost:{}/internal\r\n", storage.port);
    let registry = Responder::start(move |request| {
        if request.contains("/manifests/") {
            response("307 Temporary Redirect", &location, "")
        } else {
            response("200 OK", "", "")
        }
    })
    .await;
    let url = format!("http://127.0.0.1:{}", registry.port);
    let client = |hosts: &[&str]| {
        let subscriptions = subscription(Some(&url), hosts).to_string();
        OciClient::new(Arc::new(Secret::known(Subscriptions::parse(&subscriptions).unwrap())))
    };
    let address = RegistryAddress {
        subscription: Some("registry".to_owned()),
        ..RegistryAddress::from_url(&url.parse().unwrap()).unwrap()
    };
    let digest = digest_of(&manifest).to_string();
    let error = client(&[]).manifest(&address, "team/app", &digest).await.unwrap_err();
    let origin = format!("http://localhost:{}", storage.port);
    let expected =
        format!("the registry redirects to {origin}, whose host its subscription does not name");
    assert_eq!(error.to_string(), expected);
    assert_eq!(storage.requests(), Vec::<String>::new());

    client(&["localhost"]).manifest(&address, "team/app", &digest).await.unwrap();
    let requests = storage.requests();
    assert_eq!(requests.len(), 1);
    assert!(!requests[0].to_ascii_lowercase().contains("authorization"), "{requests:?}");
    assert!(registry.requests().iter().any(|request| request.contains("Basic")));
}

#[tokio::test]
async fn a_token_without_end_is_not_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let realm = format!("www-authenticate: Bearer realm=\"{url}/token\"\r\n");
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let request = read_head(&mut client).await;
            if !request.contains(" /token") {
                let _ = client.write_all(response("401 Unauthorized", &realm, "").as_bytes()).await;
                continue;
            }
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n{\"token\":\"";
            let mut chunk = head.as_bytes().to_vec();
            while client.write_all(&chunk).await.is_ok() {
                counted.fetch_add(chunk.len(), Ordering::Relaxed);
                chunk = vec![b'a'; 64 * 1024];
            }
        }
    });
    let address = RegistryAddress::from_url(&url.parse().unwrap()).unwrap();
    let oci = OciClient::new(Arc::new(Secret::known(Subscriptions::default())));
    let error = oci.tags(&address, "team/app").await.unwrap_err();
    assert_eq!(error.to_string(), "the response contains no token, or one that is too large");
    // The rest is in the buffers of the connection.
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent < 16 * 1024 * 1024, "{sent} bytes were sent");
}

#[tokio::test]
async fn a_list_without_end_is_an_error() {
    let page = json!({ "name": "team/app", "tags": vec!["a".repeat(127); 60_000] }).to_string();
    let number = AtomicUsize::new(0);
    let registry = Responder::start(move |request| {
        if !request.contains("/tags/list") {
            return response("404 Not Found", "", "");
        }
        let number = number.fetch_add(1, Ordering::Relaxed);
        let next = format!("link: </v2/team/app/tags/list?last={number}>; rel=\"next\"\r\n");
        response("200 OK", &next, &page)
    })
    .await;
    let url = format!("http://127.0.0.1:{}", registry.port);
    let address = RegistryAddress::from_url(&url.parse().unwrap()).unwrap();
    let oci = OciClient::new(Arc::new(Secret::known(Subscriptions::default())));
    let error = oci.tags(&address, "team/app").await.unwrap_err();
    assert_eq!(error.to_string(), "the list is too large");
    let pages = registry.requests().iter().filter(|request| request.contains("/tags/")).count();
    assert_eq!(pages, 9, "of 7.8 MB each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_of_an_authorization_may_take_its_time() {
    let manifest = image_manifest(100);
    let text = manifest.to_string();
    let registry = Responder::start(move |request| {
        std::thread::sleep(Duration::from_secs(2));
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        if request.contains(" /token") {
            response("200 OK", "", r#"{"token":"right"}"#)
        } else if request.contains("authorization: Bearer right") {
            response("200 OK", "", &text)
        } else {
            let challenge = format!("www-authenticate: Bearer realm=\"http://{host}/token\"\r\n");
            response("401 Unauthorized", &challenge, "")
        }
    })
    .await;
    let url = format!("http://127.0.0.1:{}", registry.port);
    let address = RegistryAddress::from_url(&url.parse().unwrap()).unwrap();
    let oci = OciClient::new(Arc::new(Secret::known(Subscriptions::default())));
    oci.manifest(&address, "team/app", digest_of(&manifest).as_str()).await.unwrap();
    assert_eq!(registry.requests().len(), 3, "six seconds");
}
