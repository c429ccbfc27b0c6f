//! Random inputs to everything that reads bytes of others: no panic, no error of the server, and an
//! answer within a second. `FUZZ_SECONDS` and `FUZZ_SEED` are described at [`runner::fuzz`].

mod mutator;
mod runner;
mod servers;

use std::path::Path;

use aws_lc_rs::digest::{SHA256, SHA512, digest as hash};
use catalog::change::Content;
use catalog::{Change, ChangeKind, Digest};
use describe_images::page_token::Keyring;
use end_to_end::harness::stand_in::{image_manifest, index_manifest};
use end_to_end::harness::{REGION, Store, authentication, digest, repository, time};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use ingest_events::source::{Effect, Meaning, Origin, interpret};
use receive_webhook::webhook;
use registries::{Source, Subscriptions, manifest};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use self::runner::{fuzz, runtime};
use super::authentication::callers;
use super::signatures::{BODY, Signer};
use super::webhooks::signature;

/// The registry id of the subscriptions.
const SUBSCRIBED: &str = "210987654321";

/// A subscription of each source, with the bearer token `token`.
fn subscriptions() -> Value {
    let subscriptions = Source::ALL.map(|source| {
        let mut subscription = json!({
            "id": format!("{source}-1"), "source": source.as_str(), "registryId": SUBSCRIBED,
            "credential": { "bearer": "token" },
        });
        if source != Source::Ecr {
            subscription["repositoryPrefix"] = json!("team");
        }
        // Their lookups would be requests to the product's own host.
        if matches!(source, Source::Quay | Source::DockerHub) {
            subscription["registryUrl"] = json!("http://127.0.0.1:9");
        }
        subscription
    });
    json!(subscriptions)
}

/// The sample events of a source, in the order of their names.
fn samples(source: Source) -> Vec<String> {
    let folders: &[&str] = match source {
        Source::Ecr => &["aws-ecr", "aws-ecr-public", "aws-inspector2"],
        Source::Distribution => &["cncf-distribution"],
        Source::Harbor => &["harbor"],
        Source::Quay => &["quay"],
        Source::Github => &["github-packages"],
        Source::DockerHub => &["docker-hub"],
        Source::Artifactory => &["jfrog-artifactory"],
        Source::Zot => &["zot"],
    };
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/events");
    let mut files: Vec<_> = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(events.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let text = |file: &Path| {
        let sample: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        // The samples of zot are requests: headers with the attributes, and the body.
        let Some(headers) = sample["headers"].as_object() else { return sample.to_string() };
        let attribute = |(name, value): (&String, &Value)| {
            Some((name.to_lowercase().strip_prefix("ce-")?.to_owned(), value.clone()))
        };
        let mut event: serde_json::Map<_, _> = headers.iter().filter_map(attribute).collect();
        event.insert("data".to_owned(), sample["body"].clone());
        Value::from(event).to_string()
    };
    files.iter().map(|file| text(file)).collect()
}

/// The first byte of an input is for the source, the others are the event.
fn event_seeds() -> Vec<Vec<u8>> {
    let of_source = |(number, source): (u8, Source)| {
        samples(source).into_iter().map(move |sample| [&[number], sample.as_bytes()].concat())
    };
    (0..).zip(Source::ALL).flat_map(of_source).collect()
}

fn source_and_event(input: &[u8]) -> (Source, &[u8]) {
    let (number, event) = input.split_first().unwrap_or((&0, &[]));
    (Source::ALL[usize::from(*number) % Source::ALL.len()], event)
}

#[test]
fn events() {
    let subscriptions = Subscriptions::parse(&subscriptions().to_string()).unwrap();
    let origins = Source::ALL.map(|source| {
        let subscription = subscriptions.iter().find(|known| known.source == source).unwrap();
        Origin::from_subscription(subscription.clone(), time(0))
    });
    let check = |source: Source, event: &RawValue| {
        let origin = origins.iter().find(|origin| origin.source == source).unwrap();
        let Ok(Meaning::Effects(effects)) = interpret(event, origin, REGION).meaning else {
            return;
        };
        for effect in effects {
            let repository = match effect {
                Effect::Change(change) => change.repository,
                Effect::Lookup(lookup) => lookup.repository,
            };
            // What Amazon's events name is checked when they are applied.
            let may_change = origin.subscription.as_ref().unwrap().may_change(&repository);
            assert!(may_change || source == Source::Ecr, "{repository}");
        }
    };
    let mut server = servers::Server::start();
    // Of each list, one is also delivered through HTTP.
    fuzz("fuzz::events", &event_seeds(), 64, |inputs| {
        for input in inputs {
            let (source, event) = source_and_event(input);
            if let Ok(event) = serde_json::from_slice(event) {
                check(source, event);
            }
        }
        let (source, event) = source_and_event(&inputs[0]);
        server.send(&[servers::delivery(source, event)]);
    });
}

#[test]
fn requests() {
    let mut server = servers::Server::start();
    fuzz("fuzz::requests", &servers::seeds(), 64, |inputs| server.send(inputs));
}

#[test]
fn page_tokens() {
    let runtime = runtime();
    let keys = "01".repeat(32);
    let api = runtime.block_on(async {
        let store = Store::in_memory().await;
        for number in 1..=3 {
            let kind = ChangeKind::ImagePushed {
                digest: digest(number),
                tag: None,
                content: Content::default(),
            };
            let change = Change { repository: repository("app"), time: time(0), kind };
            store.writer.apply(&change).await.unwrap();
        }
        store.api(Keyring::parse(&keys).unwrap())
    });
    let page = |token: Option<&str>, size: usize| {
        let body = json!({ "repositoryName": "app", "maxResults": size, "nextToken": token });
        let target = "AmazonEC2ContainerRegistry_V20150921.DescribeImages";
        let request = Request::post("/").header("x-amz-target", target);
        let request = request.body(body.to_string()).unwrap();
        let response = runtime.block_on(api.handle(&request, None));
        (response.status().as_u16(), response.into_body())
    };
    let tokens = [1, 2].map(|size| {
        let body: Value = serde_json::from_str(&page(None, size).1).unwrap();
        body["nextToken"].as_str().unwrap().to_owned()
    });
    // A token as text, and the bytes in it.
    let mut seeds: Vec<Vec<u8>> = tokens.iter().map(|token| token.clone().into_bytes()).collect();
    for token in &tokens {
        let padding = "=".repeat((4 - token.len() % 4) % 4);
        let text = token.replace('-', "+").replace('_', "/") + &padding;
        seeds.push(aws_smithy_types::base64::decode(text).unwrap());
    }
    fuzz("fuzz::page_tokens", &seeds, 1, |inputs| {
        let text = String::from_utf8_lossy(&inputs[0]).into_owned();
        let encoded = aws_smithy_types::base64::encode(&inputs[0]);
        let encoded = encoded.replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned();
        for token in [text, encoded] {
            let (status, body) = page(Some(&token), 1);
            let expected = if tokens.contains(&token) { 200 } else { 400 };
            assert_eq!(status, expected, "{body}");
            // What is in a file of keys is the operator's, and may be wrong, too.
            let _ = Keyring::parse(&token);
        }
    });
}

/// A line as a header, if it can be one.
fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
}

/// A request without its body, as far as its lines can be parts of one.
fn head(text: &[u8]) -> Option<http::request::Parts> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let mut line = lines.next()?.split(|byte| *byte == b' ');
    let request = Request::builder().method(line.next()?).uri(line.next()?);
    let request = lines
        .filter_map(header)
        .fold(request, |request, (name, value)| request.header(name, value));
    Some(request.body(()).ok()?.into_parts().0)
}

#[test]
fn signatures() {
    let runtime = runtime();
    let signer = runtime.block_on(Signer::start());
    let authentication = authentication(&callers(), None);
    let requests = [signer.right_request(), signer.right_presigned()];
    let heads = requests.map(|request| request.split_once("\n\n").unwrap().0.to_owned());
    let right = heads.each_ref().map(|head| {
        let (_, signature) = head.split_once("Signature=").unwrap();
        signature[..64].to_owned()
    });
    let seeds = heads.map(String::into_bytes);
    let is_accepted = |input: &[u8]| {
        let Some(head) = head(input) else { return false };
        let signed = authentication.authenticate(&head, BODY.as_bytes(), signer.time);
        runtime.block_on(signed).is_ok()
    };
    for seed in &seeds {
        assert!(is_accepted(seed));
    }
    fuzz("fuzz::signatures", &seeds, 1, |inputs| {
        if is_accepted(&inputs[0]) {
            // It differs from a right one in what is not signed.
            let text = String::from_utf8_lossy(&inputs[0]);
            assert!(right.iter().any(|signature| text.contains(signature)));
        }
    });
}

#[test]
fn manifests() {
    let mut artifact = image_manifest(100);
    artifact["artifactType"] = json!("application/vnd.example");
    artifact["subject"] = image_manifest(1)["config"].clone();
    artifact["annotations"] = json!({ "org.opencontainers.image.created": "2026-01-01T00:00:00Z" });
    artifact["layers"] = json!([artifact["config"], artifact["config"]]);
    let legacy =
        json!({ "schemaVersion": 1, "name": "app", "fsLayers": [{ "blobSum": digest(1) }] });
    let zot: Value = serde_json::from_str(&samples(Source::Zot)[1]).unwrap();
    let seeds = [artifact, image_manifest(0), index_manifest(3), legacy, zot];
    let seeds = seeds.map(|manifest| manifest.to_string().into_bytes());
    fuzz("fuzz::manifests", &seeds, 1, |inputs| {
        for (name, algorithm) in [("sha256", &SHA256), ("sha512", &SHA512)] {
            let hash = hash(algorithm, &inputs[0]);
            let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            let right = Digest::parse(&format!("{name}:{hash}")).unwrap();
            if let Ok(content) = manifest::read(&right, &inputs[0]) {
                assert!(content.size_in_bytes.is_none_or(|size| size >= 0), "{content:?}");
            }
        }
        assert!(manifest::read(&digest(1), &inputs[0]).is_err());
    });
}

/// A query, lines of headers, and after an empty line a body.
fn delivery_parts(input: &[u8]) -> (String, HeaderMap, &[u8]) {
    let end = input.windows(2).position(|two| two == b"\n\n").unwrap_or(input.len());
    let mut lines = input[..end].split(|byte| *byte == b'\n');
    let query = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(header) {
        headers.append(name, value);
    }
    (query, headers, input.get(end + 2..).unwrap_or_default())
}

#[test]
fn credentials() {
    let secret = "secret of this";
    let pair = aws_smithy_types::base64::encode(format!("user:{secret}"));
    let subscription = |id: String, source: Source, credential: Value| {
        let source = source.as_str();
        json!({ "id": id, "source": source, "registryId": SUBSCRIBED, "credential": credential })
    };
    let list: Vec<Value> = Source::ALL
        .into_iter()
        .flat_map(|source| {
            let basic = json!({ "basic": { "username": "user", "password": secret } });
            let mut of_source = vec![
                subscription(format!("{source}-bearer"), source, json!({ "bearer": secret })),
                subscription(format!("{source}-basic"), source, basic),
            ];
            if matches!(source, Source::Github | Source::Artifactory) {
                let key = json!({ "hmac": secret });
                of_source.push(subscription(format!("{source}-hmac"), source, key));
            }
            of_source
        })
        .collect();
    let subscriptions = Subscriptions::parse(&json!(list).to_string()).unwrap();
    let body = r#"{"specversion":"1.0"}"#;
    let signed = signature(secret, body);
    let seeds = [
        format!("\nauthorization: Bearer {secret}\n\n{body}"),
        format!("\nauthorization: Basic {pair}\nce-specversion: 1.0\nce-type: a\n\n{body}"),
        format!("\nx-hub-signature-256: sha256={signed}\n\n{body}"),
        format!("\nx-jfrog-event-auth: {signed}\n\n{body}"),
        format!("subscription=quay-bearer&token={}\n\n{body}", secret.replace(' ', "+")),
        format!("token={}&x=%zz\n\n{body}", secret.replace(' ', "%20")),
    ];
    let seeds = seeds.map(String::into_bytes);
    fuzz("fuzz::credentials", &seeds, 1, |inputs| {
        let (query, headers, body) = delivery_parts(&inputs[0]);
        for source in Source::ALL {
            let checked = webhook::check_head(&subscriptions, source, &query, &headers);
            let received = webhook::receive(&subscriptions, source, &query, &headers, body);
            if received.is_err() {
                continue;
            }
            assert!(checked.is_ok(), "the body makes no difference to it");
            let right = signature(secret, &String::from_utf8_lossy(body));
            let is_shown = headers.values().any(|value| {
                let value = String::from_utf8_lossy(value.as_bytes());
                value.contains(secret)
                    || value.contains(&pair)
                    || value.to_lowercase().contains(&right)
            });
            // The query is encoded.
            let is_in_query = query.contains("token=") && query.contains("this");
            assert!(is_shown || is_in_query, "{source}");
        }
    });
}
