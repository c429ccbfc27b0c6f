//! The payloads of the functions.

use std::collections::{BTreeMap, BTreeSet};

use end_to_end::harness::{REGION, api_gateway_event, digest, sample};
use http::Uri;
use serde_json::{Value, json};

/// A webhook as the HTTP API forwards it, which authorizes nobody.
pub(super) fn webhook(source: &str, authorization: &str, body: &str) -> Value {
    let mut event = api_gateway_event(body);
    for place in ["/rawPath", "/requestContext/http/path"] {
        *event.pointer_mut(place).unwrap() = json!(format!("/events/{source}"));
    }
    event["routeKey"] = json!("POST /events/{source}");
    event["requestContext"]["authorizer"].take();
    event["headers"] =
        json!({ "authorization": authorization, "content-type": "application/json" });
    event["body"] = json!(body);
    event["isBase64Encoded"] = json!(false);
    event
}

/// A request as the API of access keys forwards it: API Gateway authorizes nobody there.
pub(super) fn request_with_keys(
    url: &Uri,
    headers: impl IntoIterator<Item = (String, String)>,
    body: &str,
) -> Value {
    let mut event = api_gateway_event(body);
    event["rawPath"] = json!(url.path());
    event["rawQueryString"] = json!(url.query().unwrap_or_default());
    let host = url.host().unwrap();
    let mut joined = BTreeMap::from([
        ("host".to_owned(), host.to_owned()),
        ("content-length".to_owned(), body.len().to_string()),
        ("x-amzn-trace-id".to_owned(), "Root=1-6b027aa6-c79ebf6436c562e47069506c".to_owned()),
        ("x-forwarded-for".to_owned(), "192.0.2.1".to_owned()),
        ("x-forwarded-port".to_owned(), "443".to_owned()),
        ("x-forwarded-proto".to_owned(), "https".to_owned()),
    ]);
    for (name, value) in headers {
        let values = joined.entry(name.to_lowercase()).or_default();
        let is_first = values.is_empty() || ["host", "content-length"].contains(&name.as_str());
        *values = if is_first { value } else { format!("{values},{value}") };
    }
    event["headers"] = json!(joined);
    let context = &mut event["requestContext"];
    context["apiId"] = json!("k3y5k3y5k3");
    context["domainName"] = json!(host);
    context["http"]["path"] = json!(url.path());
    context.as_object_mut().unwrap().remove("authorizer");
    event
}

/// The attributes of a message. Those of notifications contain the subscription.
pub(super) fn attributes(id: &str) -> Value {
    if matches!(id, "too large" | "index") {
        let attribute = json!({
            "stringValue": "registry-1",
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": "String"
        });
        json!({ "subscription": attribute })
    } else {
        json!({})
    }
}

/// A batch as SQS delivers it, of messages by their ids.
pub(super) fn batch(messages: &[(&str, String)]) -> Value {
    let records: Vec<Value> = messages
        .iter()
        .map(|(id, body)| {
            json!({
                "messageId": id,
                "receiptHandle": format!("handle of {id}"),
                "body": body,
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": "1795305600000",
                    "SenderId": "AROAEXAMPLE",
                    "ApproximateFirstReceiveTimestamp": "1795305600001"
                },
                "messageAttributes": attributes(id),
                "md5OfBody": "00000000000000000000000000000000",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:EventsQueue",
                "awsRegion": "us-east-1"
            })
        })
        .collect();
    json!({ "Records": records })
}

/// A sample, in the functions' region.
pub(super) fn here(file: &str) -> Value {
    let mut event: Value = serde_json::from_str(&sample(&format!("aws-ecr/{file}"))).unwrap();
    for place in ["/region", "/awsRegion", "/detail/awsRegion"] {
        if let Some(region) = event.pointer_mut(place) {
            *region = json!(REGION);
        }
    }
    event
}

/// A push of an image, in the form of the sample.
pub(super) fn pushed(number: u64) -> String {
    let mut event = here("image-action-push.json");
    event["detail"]["image-digest"] = json!(digest(number));
    event["detail"]["image-tag"] = json!(format!("v{number}"));
    event.to_string()
}

/// A notification of an index of this many images.
pub(super) fn pushed_index(images: u64) -> Value {
    let file = sample("cncf-distribution/v2.8-push-index-tagged.json");
    let mut notification: Value = serde_json::from_str(&file).unwrap();
    let references: Vec<Value> = (0..images)
        .map(|number| {
            json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "size": 1,
                "digest": digest(number)
            })
        })
        .collect();
    notification["events"][0]["target"]["references"] = json!(references);
    notification
}

pub(super) fn failed(response: &Value) -> BTreeSet<&str> {
    let failures = response["batchItemFailures"].as_array().unwrap();
    failures.iter().map(|failure| failure["itemIdentifier"].as_str().unwrap()).collect()
}
