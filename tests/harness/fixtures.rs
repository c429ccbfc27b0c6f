//! Values and payloads of tests.

use std::path::Path;

use aws_sdk_dynamodb::types::AttributeValue;
use catalog::{Digest, RegistryId, Repository, RepositoryName, Service, Tag, Timestamp};
use serde_json::{Value, json};

/// The default registry.
pub const REGISTRY: &str = "123456789012";

/// The region whose ECR events are accepted.
pub const REGION: &str = "us-east-1";

pub const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_CONFIGURATION: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Digest number `number`.
pub fn digest(number: u64) -> Digest {
    Digest::parse(&format!("sha256:{number:064x}")).unwrap()
}

pub fn tag(name: &str) -> Tag {
    Tag::parse(name).unwrap()
}

/// A repository of the registry [`REGISTRY`] in Amazon ECR.
pub fn repository(name: &str) -> Repository {
    Repository {
        service: Service::Ecr,
        registry: RegistryId::parse(REGISTRY).unwrap(),
        name: RepositoryName::parse(name).unwrap(),
    }
}

/// This many milliseconds after the beginning of 2026.
pub fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(1_767_225_600_000 + milliseconds).unwrap()
}

/// The bytes of an item, by DynamoDB's own rules.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
pub fn item_bytes(item: &catalog::table::Item) -> usize {
    fn value_bytes(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::B(bytes) => bytes.as_ref().len(),
            AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
            AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
            AttributeValue::L(values) => {
                3 + values.iter().map(|value| 1 + value_bytes(value)).sum::<usize>()
            }
            AttributeValue::M(map) => {
                3 + map
                    .iter()
                    .map(|(name, value)| 1 + name.len() + value_bytes(value))
                    .sum::<usize>()
            }
            _ => 1,
        }
    }
    item.iter().map(|(name, value)| name.len() + value_bytes(value)).sum()
}

/// A request as an HTTP API of API Gateway forwards it, with a body of an unknown media type,
/// signed by a caller of the account 123456789012.
pub fn api_gateway_event(body: &str) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "POST /",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {
            "accept-encoding": "identity",
            "authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/us-east-1/execute-api/aws4_request, \
                              SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=f0e8bdb8",
            "content-length": body.len().to_string(),
            "content-type": "application/x-amz-json-1.1",
            "host": "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
            "user-agent": "aws-cli/2.9.19",
            "x-amz-date": "20261122T000000Z",
            "x-amz-target": "AmazonEC2ContainerRegistry_V20150921.DescribeImages",
            "x-amzn-trace-id": "Root=1-6b027aa6-c79ebf6436c562e47069506c",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https"
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "a1b2c3d4e5",
            "authorizer": {
                "iam": {
                    "accessKey": "AKIDEXAMPLE",
                    "accountId": "123456789012",
                    "callerId": "AIDAEXAMPLE",
                    "cognitoIdentity": null,
                    "principalOrgId": "o-example",
                    "userArn": "arn:aws:iam::123456789012:user/reader",
                    "userId": "AIDAEXAMPLE"
                }
            },
            "domainName": "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "a1b2c3d4e5",
            "http": {
                "method": "POST",
                "path": "/",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "aws-cli/2.9.19"
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "POST /",
            "stage": "$default",
            "time": "22/Nov/2026:00:00:00 +0000",
            "timeEpoch": 1_795_305_600_000_u64
        },
        "body": aws_smithy_types::base64::encode(body),
        "isBase64Encoded": true
    })
}

/// A sample event, by its path in `fixtures/events/`.
pub fn sample(path: &str) -> String {
    std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/events").join(path),
    )
    .unwrap()
}

/// The number of random histories of a property, unless it is set by `HISTORIES` in the
/// environment, as `make test` does.
pub fn histories() -> u32 {
    std::env::var("HISTORIES").map_or(400, |histories| histories.parse().unwrap())
}
