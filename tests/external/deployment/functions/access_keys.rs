//! The function `describe-images` behind the API of access keys, where API Gateway authorizes nobody.

use std::path::Path;
use std::sync::Arc;

use aws_sdk_ecr::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_ecr::error::ProvideErrorMetadata as _;
use catalog::change::Content;
use catalog::{Change, ChangeKind, Repository, Service};
use end_to_end::harness::signer::signature_headers;
use end_to_end::harness::{
    Ended, OCI_IMAGE, REGION, REGISTRY, api_gateway_event, clean_command, digest, folder,
    repository, require, tag, temporary_folder, time, tools,
};
use serde_json::{Value, json};

use super::gateway::Gateway;
use super::payloads::request_with_keys;
use super::surroundings::{Function, Surroundings};
use crate::tools::{Access, json_output, sdks, terraform};

/// The path of the API of access keys at its own address and at a domain name, without and with a
/// last `/`.
const PATHS: [&str; 3] = ["", "/keys", "/keys/"];

const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.DescribeImages";

const BODY: &str = r#"{"repositoryName":"my-repository-name"}"#;

fn keys() -> Value {
    json!([
        {
            "accessKeyId": "IMGCREADER", "secretAccessKey": "secret of the reader",
            "arn": "arn:aws:iam::123456789012:user/reader"
        },
        {
            "accessKeyId": "IMGCTEAM", "secretAccessKey": "secret of the team",
            "arn": "arn:aws:iam::123456789012:user/team", "repositories": ["123456789012/team/*"]
        },
        {
            "accessKeyId": "IMGCSESSION", "secretAccessKey": "secret of the session",
            "sessionToken": "token of the session", "expiration": "2999-01-01T00:00:00Z",
            "arn": "arn:aws:sts::123456789012:assumed-role/reader/session"
        },
        {
            "accessKeyId": "IMGCEXPIRED", "secretAccessKey": "secret of the session",
            "sessionToken": "token of the session", "expiration": "2026-01-01T00:00:00Z",
            "arn": "arn:aws:sts::123456789012:assumed-role/reader/session"
        },
        {
            "accessKeyId": "IMGCDISABLED", "secretAccessKey": "secret of nobody",
            "arn": "arn:aws:iam::123456789012:user/former", "disabled": true
        },
    ])
}

fn credentials(id: &str, secret: &str, token: Option<&str>) -> Credentials {
    Credentials::new(id, secret, token.map(str::to_owned), None, "tests")
}

fn reader() -> Credentials {
    credentials("IMGCREADER", "secret of the reader", None)
}

/// A secret of access keys in moto: its ARN.
fn create_secret(surroundings: &Surroundings, keys: &Value) -> String {
    let create = ["secretsmanager", "create-secret", "--name", "callers", "--secret-string"];
    let made = surroundings.moto.aws(&[&create[..], &[&keys.to_string()]].concat());
    made["ARN"].as_str().unwrap().to_owned()
}

/// Three images of `my-repository-name` in both services, pushed a second apart.
async fn push(surroundings: &Surroundings) {
    for number in 1..=3 {
        for service in Service::ALL {
            let repository = Repository { service, ..repository("my-repository-name") };
            let content = Content {
                manifest_media_type: Some(OCI_IMAGE.to_owned()),
                size_in_bytes: Some(i64::try_from(number).unwrap()),
                ..Content::default()
            };
            let (digest, tag) = (digest(number), Some(tag(&format!("v{number}"))));
            let kind = ChangeKind::ImagePushed { digest, tag, content };
            let time = time(i64::try_from(number).unwrap() * 1000);
            surroundings.store.writer.apply(&Change { repository, time, kind }).await.unwrap();
        }
    }
}

/// What the scripts of `tools` return of such an image.
fn details(number: u64) -> Value {
    json!({
        "digest": digest(number),
        "tags": [format!("v{number}")],
        "size": number,
        "pushedAt": time(i64::try_from(number).unwrap() * 1000).as_milliseconds() / 1000,
        "mediaType": OCI_IMAGE,
    })
}

/// The status and the body of a response.
async fn response(function: &Function, event: &Value) -> (u64, Value) {
    let (status, answer) = function.invoke(event).await;
    assert_eq!(status, 200, "{answer}");
    let body = answer["body"].as_str().unwrap();
    (answer["statusCode"].as_u64().unwrap(), serde_json::from_str(body).unwrap())
}

/// A signed request for a service, in the scope of a signing name.
fn signed(url: &str, credentials: &Credentials, signing_name: &str, body: &str) -> Value {
    let target =
        if signing_name == "ecr-public" { "SpencerFrontendService.DescribeImages" } else { TARGET };
    let headers = [("x-amz-target", target), ("content-type", "application/x-amz-json-1.1")];
    let signature = signature_headers(credentials, signing_name, url, &headers, body);
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    request_with_keys(&url.parse().unwrap(), headers.into_iter().chain(signature), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn sdks_that_sign_for_ecr_are_served() {
    let test = "sdks_that_sign_for_ecr_are_served";
    let Some(surroundings) = Surroundings::start(test).await else { return };
    let Some(python) = require(test, tools().join("python/bin/python3")) else { return };
    push(&surroundings).await;
    let secret = create_secret(&surroundings, &keys());
    let variables = [("CALLERS_SECRET_ARN", secret.as_str())];
    let function = Arc::new(surroundings.function_with("describe-images", &variables));
    let gateway = Gateway::start(Arc::clone(&function)).await;
    let expected = [3, 2, 1].map(|number| digest(number).to_string());
    for endpoint in PATHS.map(|path| format!("{}{path}", gateway.url)) {
        let configuration = aws_sdk_ecr::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static(REGION))
            .credentials_provider(reader())
            .endpoint_url(&endpoint);
        let client = aws_sdk_ecr::Client::from_conf(configuration.build());
        let request = client.describe_images().repository_name("my-repository-name");
        let mut found = Vec::new();
        let mut pages = request.into_paginator().page_size(2).send();
        while let Some(page) = pages.next().await {
            found.extend(page.unwrap().image_details.unwrap_or_default());
        }
        let digests: Vec<_> = found.iter().filter_map(|image| image.image_digest()).collect();
        assert_eq!(digests, expected, "{endpoint}");
        let error = client.describe_images().repository_name("none").send().await.unwrap_err();
        assert_eq!(error.code(), Some("RepositoryNotFoundException"), "{endpoint}");

        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("external/deployment/functions/access_keys.py");
        let mut command = clean_command(&python, &temporary_folder());
        command
            .arg("-B")
            .arg(script)
            .args([&endpoint, "my-repository-name"])
            .envs([("AWS_ACCESS_KEY_ID", "IMGCREADER")])
            .envs([("AWS_SECRET_ACCESS_KEY", "secret of the reader")]);
        let ended = tokio::task::block_in_place(|| Ended::run(&mut command));
        assert_eq!(ended.code, Some(0), "{endpoint}: {}", ended.stderr);
        let found: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(found, json!({ "ecr": expected, "ecr-public": expected }), "{endpoint}");
    }
    // Who read, and with which key.
    let lines = function.lines();
    let line = lines.iter().find(|line| line["message"] == "answered a request").unwrap();
    assert_eq!(line["caller"], "arn:aws:iam::123456789012:user/reader");
    assert_eq!(line["access_key_id"], "IMGCREADER");
    let log = format!("{lines:?}");
    for secret in ["secret of", "Signature"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

/// What each client reads of a standalone catalog, it reads of the function.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_sign_for_ecr_are_served() {
    let test = "clients_that_sign_for_ecr_are_served";
    let Some(surroundings) = Surroundings::start(test).await else { return };
    push(&surroundings).await;
    let secret = create_secret(&surroundings, &keys());
    let variables = [("CALLERS_SECRET_ARN", secret.as_str())];
    let function = Arc::new(surroundings.function_with("describe-images", &variables));
    let gateway = Gateway::start(function).await;
    let images = [3, 2, 1].map(details);
    for path in ["", "/keys"] {
        let url = format!("{}{path}", gateway.url);
        let access = Access {
            url: &url,
            access_key_id: "IMGCREADER",
            secret_access_key: "secret of the reader",
        };
        tokio::task::block_in_place(|| {
            let sdks = [
                sdks::javascript_v2(test, &access),
                sdks::aioboto3(test, &access),
                sdks::go_v2(test, &access),
            ];
            for mut sdk in sdks.into_iter().flatten() {
                let read = json_output(sdk.args(["my-repository-name", "v2"]));
                let expected = json!({ "pages": images, "byTag": images[1] });
                assert_eq!(read, json!([expected, expected]), "{sdk:?}");
            }
            if let Some(aws) = require(test, tools().join("python/bin/aws")) {
                for service in ["ecr", "ecr-public"] {
                    let mut aws = access.command(&aws, &folder(test));
                    aws.args([service, "describe-images", "--repository-name"]);
                    aws.args(["my-repository-name", "--page-size", "2", "--output", "json"]);
                    let read = json_output(&mut aws);
                    let read = read["imageDetails"].as_array().unwrap().iter();
                    let digests = read.map(|image| &image["imageDigest"]);
                    let expected = images.iter().map(|image| &image["digest"]);
                    assert!(digests.eq(expected), "{service}");
                }
            }
            let data = json!({
                "aws_ecr_image": {
                    "tagged": { "repository_name": "my-repository-name", "image_tag": "v2" },
                    "newest": { "repository_name": "my-repository-name", "most_recent": true },
                },
                "aws_ecr_repositories": { "all": {} },
            });
            let output = json!({
                "tagged": { "value": "${data.aws_ecr_image.tagged.image_digest}" },
                "newest": { "value": "${data.aws_ecr_image.newest.image_digest}" },
                "registry": { "value": "${data.aws_ecr_image.newest.registry_id}" },
                "all": { "value": "${data.aws_ecr_repositories.all.names}" },
            });
            if let Some(read) = terraform::read(test, &access, &data, &output) {
                let value = |name: &str| read[name]["value"].clone();
                assert_eq!(value("tagged"), images[1]["digest"]);
                assert_eq!(value("newest"), images[0]["digest"]);
                assert_eq!(value("registry"), REGISTRY);
                assert_eq!(value("all"), json!(["my-repository-name"]));
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_keys_scopes_and_bodies_are_refused() {
    let test = "other_keys_scopes_and_bodies_are_refused";
    let Some(surroundings) = Surroundings::start(test).await else { return };
    push(&surroundings).await;
    let secret = create_secret(&surroundings, &keys());
    let variables = [("CALLERS_SECRET_ARN", secret.as_str())];
    let function = surroundings.function_with("describe-images", &variables);
    let url = "https://k3y5k3y5k3.execute-api.us-east-1.amazonaws.com/";
    let session = |id, token| credentials(id, "secret of the session", token);
    let token = Some("token of the session");
    let ecr = "ecr";
    for (who, signing_name, expected) in [
        (reader(), ecr, None),
        (reader(), "ecr-public", None),
        (session("IMGCSESSION", token), ecr, None),
        (reader(), "execute-api", Some("InvalidSignatureException")),
        (reader(), "s3", Some("InvalidSignatureException")),
        (credentials("IMGCREADER", "another", None), ecr, Some("InvalidSignatureException")),
        (credentials("AKIDEXAMPLE", "unknown", None), ecr, Some("UnrecognizedClientException")),
        (session("IMGCSESSION", None), ecr, Some("UnrecognizedClientException")),
        (session("IMGCSESSION", Some("other")), ecr, Some("UnrecognizedClientException")),
        (session("IMGCEXPIRED", token), ecr, Some("ExpiredTokenException")),
        (
            credentials("IMGCDISABLED", "secret of nobody", None),
            ecr,
            Some("UnrecognizedClientException"),
        ),
        (credentials("IMGCTEAM", "secret of the team", None), ecr, Some("AccessDeniedException")),
        (
            credentials("IMGCTEAM", "secret of the team", None),
            "ecr-public",
            Some("AccessDeniedException"),
        ),
    ] {
        let (status, body) = response(&function, &signed(url, &who, signing_name, BODY)).await;
        let case = format!("{} {signing_name}: {body}", who.access_key_id());
        assert_eq!(status, if expected.is_some() { 400 } else { 200 }, "{case}");
        assert_eq!(body["__type"].as_str(), expected, "{case}");
    }
    // Another body, host, path or target than that which is signed.
    let right = signed(url, &reader(), ecr, BODY);
    let mut plain = right.clone();
    plain["body"] = json!(BODY);
    plain["isBase64Encoded"] = json!(false);
    assert_eq!(response(&function, &plain).await.0, 200);
    for (place, value) in [
        ("/body", json!("e30=")),
        ("/rawPath", json!("/keys/")),
        ("/rawQueryString", json!("a=b")),
        ("/headers/host", json!("catalog.example.com")),
        ("/headers/x-amz-target", json!("AmazonEC2ContainerRegistry_V20150921.ListImages")),
        ("/headers/x-amz-date", json!("20260101T000000Z")),
    ] {
        let mut event = right.clone();
        *event.pointer_mut(place).unwrap() = value;
        let (status, body) = response(&function, &event).await;
        assert_eq!(status, 400, "{place}: {body}");
        assert_eq!(body["__type"], "InvalidSignatureException", "{place}");
    }
    // A header that is there twice, and one that is not signed.
    for (name, value) in [("x-amz-date", "20260101T000000Z"), ("x-amz-acl", "private")] {
        let mut event = right.clone();
        let header = &mut event["headers"][name];
        *header = header.as_str().map_or(json!(value), |first| json!(format!("{first},{value}")));
        let (_, body) = response(&function, &event).await;
        assert_eq!(body["__type"], "IncompleteSignatureException", "{name}");
    }
}

/// Only API Gateway says whom IAM has authorized. Neither a path nor a header of a client does.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_served_whom_neither_iam_nor_a_signature_names() {
    let test = "nobody_is_served_whom_neither_iam_nor_a_signature_names";
    let Some(surroundings) = Surroundings::start(test).await else { return };
    push(&surroundings).await;
    let secret = create_secret(&surroundings, &keys());
    let variables = [("CALLERS_SECRET_ARN", secret.as_str())];
    let with_keys = surroundings.function_with("describe-images", &variables);
    let without = surroundings.function("describe-images");
    let url = "https://k3y5k3y5k3.execute-api.us-east-1.amazonaws.com/";

    // The caller of IAM stays, whatever the function's own keys are.
    for function in [&with_keys, &without] {
        let (status, page) = function.request(BODY).await;
        assert_eq!((status, page["imageDetails"].as_array().unwrap().len()), (200, 3));
    }
    // Without a secret, no signature is of use.
    let (_, refused) = response(&without, &signed(url, &reader(), "ecr", BODY)).await;
    assert_eq!(refused["__type"], "MissingAuthenticationTokenException");

    // A signature for IAM, which API Gateway has not checked.
    let authorizers = [
        Value::Null,
        json!({}),
        json!({ "iam": null }),
        json!({ "iam": { "userArn": "arn:aws:iam::123456789012:user/reader" } }),
        json!({ "iam": { "accountId": "" } }),
        json!({ "iam": { "accountId": "12345678901x" } }),
        json!({ "jwt": { "claims": { "sub": "123456789012" }, "scopes": null } }),
        json!({ "lambda": { "accountId": "123456789012" } }),
    ];
    for authorizer in authorizers {
        let mut event = api_gateway_event(BODY);
        event["requestContext"]["authorizer"] = authorizer.clone();
        for (function, expected) in [
            (&with_keys, "UnrecognizedClientException"),
            (&without, "MissingAuthenticationTokenException"),
        ] {
            let (status, refused) = response(function, &event).await;
            assert_eq!((status, &refused["__type"]), (400, &json!(expected)), "{authorizer}");
        }
    }
    // Without a signature, at every path.
    for path in [
        "/",
        "//",
        "/DescribeImages",
        "/keys",
        "/keys/",
        "/keys//",
        "/keys/../",
        "/keys/../DescribeImages",
        "/keys/%2e%2e/",
        "/%2F",
        "/keys%2F..%2F",
        "/events/harbor",
    ] {
        let mut event = request_with_keys(&url.parse().unwrap(), [], BODY);
        event["rawPath"] = json!(path);
        event["requestContext"]["http"]["path"] = json!(path);
        event["headers"]["x-amz-target"] = json!(TARGET);
        for (name, value) in [
            ("x-amzn-iam-account-id", "123456789012"),
            ("requestcontext", "{}"),
            ("x-amz-account-id", "123456789012"),
        ] {
            event["headers"][name] = json!(value);
        }
        for function in [&with_keys, &without] {
            let (status, refused) = response(function, &event).await;
            let expected = json!("MissingAuthenticationTokenException");
            assert_eq!((status, &refused["__type"]), (400, &expected), "{path}");
        }
    }
    // Whatever the path and the query are, also if they cannot be in a URI.
    for text in
        ["a=%", "a=%zz", "a={}|^`", "X-Amz-Signature=%ff", "a=<b>", "a b", "\u{e4}", "#?", "\"\\"]
    {
        for member in ["rawPath", "rawQueryString"] {
            let mut event = request_with_keys(&url.parse().unwrap(), [], BODY);
            let prefix = if member == "rawPath" { "/" } else { "" };
            event[member] = json!(format!("{prefix}{text}"));
            let (status, refused) = response(&with_keys, &event).await;
            assert_eq!(status, 400, "{member} {text}: {refused}");
        }
    }
    // A secret that cannot be read serves nobody, and says no more than that.
    let variables = [(
        "CALLERS_SECRET_ARN",
        "arn:aws:secretsmanager:us-east-1:123456789012:secret:none-abcdef",
    )];
    let unreadable = surroundings.function_with("describe-images", &variables);
    let (status, failed) = response(&unreadable, &signed(url, &reader(), "ecr", BODY)).await;
    assert_eq!((status, &failed["__type"]), (500, &json!("ServerException")));
    assert!(!failed.to_string().contains("secret"), "{failed}");
    let metrics = unreadable.metrics(&["Secret"]);
    // In the init phase, and for the request.
    assert_eq!((&metrics["SecretReadsFailed"], &metrics["Secret"]), (&json!(2), &json!("Callers")));
}
