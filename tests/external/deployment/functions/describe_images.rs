//! The function `describe-images`, which API Gateway invokes.

use std::time::Instant;

use end_to_end::harness::{digest, print};
use serde_json::{Value, json};

use super::surroundings::Surroundings;

#[tokio::test(flavor = "multi_thread")]
async fn describe_images_serves_api_gateway() {
    let Some(surroundings) = Surroundings::start("describe_images_serves_api_gateway").await else {
        return;
    };
    for number in 1..=3 {
        surroundings.push(number).await;
    }
    let page = r#"{"repositoryName":"my-repository-name","maxResults":2}"#;
    let mut function = surroundings.function("describe-images");
    let (status, first) = function.request(page).await;
    let cold = function.started.elapsed();
    assert_eq!(status, 200);
    let digests = |page: &Value| -> Vec<Value> {
        page["imageDetails"]
            .as_array()
            .unwrap()
            .iter()
            .map(|image| image["imageDigest"].clone())
            .collect()
    };
    assert_eq!(digests(&first), [json!(digest(3)), json!(digest(2))]);
    let warm_started = Instant::now();
    assert_eq!(digests(&function.request(page).await.1), [json!(digest(3)), json!(digest(2))]);
    let warm = warm_started.elapsed();
    print(format!(
        "describe-images answers {cold:.1?} after its start, and {warm:.1?} once it runs"
    ));

    // New tokens are sealed with another key. Tokens of the previous key still open, in any
    // process.
    let key = "0123456789abcdef".repeat(4);
    surroundings.moto.aws(&[
        "secretsmanager",
        "put-secret-value",
        "--secret-id",
        &surroundings.secret,
        "--secret-string",
        &key,
    ]);
    let written = (function.lines(), function.metrics(&[]));
    drop(function);
    function = surroundings.function("describe-images");
    let token = first["nextToken"].as_str().unwrap();
    let next = json!({ "repositoryName": "my-repository-name", "nextToken": token });
    assert_eq!(digests(&function.request(&next.to_string()).await.1), [json!(digest(1))]);

    let (status, refused) = function.request(r#"{"repositoryName":"none"}"#).await;
    assert_eq!((status, &refused["__type"]), (400, &json!("RepositoryNotFoundException")));
    let message = refused["message"].as_str().unwrap();
    assert!(message.ends_with("in the registry with id '123456789012'"), "{message}");
    let errors = function.metrics(&["Error"]);
    assert_eq!(
        (&errors["Errors"], &errors["Error"]),
        (&json!(1), &json!("RepositoryNotFoundException"))
    );

    let large = format!(
        r#"{{"repositoryName":"my-repository-name","nextToken":"{}"}}"#,
        "a".repeat(1024 * 1024)
    );
    let (status, refused) = function.request(&large).await;
    assert_eq!((status, &refused["__type"]), (413, &json!("RequestEntityTooLargeException")));

    // A level of the log does not concern the metrics.
    let quiet = surroundings.function_with("describe-images", &[("LOG_LEVEL", "WARN")]);
    assert_eq!(quiet.request(page).await.0, 200);
    assert_eq!(quiet.metrics(&[])["Requests"], 1);
    assert!(quiet.lines().iter().all(|line| line.get("level").is_none()), "{:?}", quiet.lines());

    let (lines, metrics) = written;
    let line = lines.iter().find(|line| line["message"] == "answered a request").unwrap();
    for (name, value) in [
        ("level", "INFO"),
        ("operation", "DescribeImages"),
        ("service", "ecr"),
        ("registry", "123456789012"),
        ("repository", "my-repository-name"),
        ("result", "Success"),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    assert_eq!(line["items"], 2);
    assert!(line["timestamp"].is_string() && line["request_id"].is_string(), "{line}");
    assert!(line["span"]["requestId"].is_string(), "Lambda's own: {line}");
    assert!(
        line["latency"].as_f64() > Some(0.0) && line["consumed_capacity"].as_f64() > Some(0.0),
        "{line}"
    );

    assert_eq!(metrics["_aws"]["CloudWatchMetrics"][0]["Namespace"], "ImageCatalog");
    assert_eq!(metrics["Stack"], "catalog");
    assert_eq!(metrics["Requests"], 1);
    assert_eq!(metrics["Items"], json!([2.0]));
    assert!(metrics["Latency"][0].as_f64() > Some(0.0), "{metrics}");
    assert!(metrics["ConsumedReadCapacity"][0].as_f64() > Some(0.0), "{metrics}");
    let names = metrics["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
    assert!(names.contains(&json!({ "Name": "Latency", "Unit": "Milliseconds" })), "{metrics}");

    let log = format!("{lines:?} {:?}", function.lines());
    for secret in [token, "AKIDEXAMPLE", "Signature", "secret of the function", &key, "nextToken"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
