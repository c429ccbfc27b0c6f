//! What functions send before their first invocation, and in it.

use end_to_end::harness::sample;
use serde_json::{Value, json};

use super::payloads::webhook;
use super::surroundings::{Function, Requests, Surroundings};

/// Starts a function whose requests are recorded, also those for credentials.
fn start(surroundings: &Surroundings, requests: &Requests, name: &'static str) -> Function {
    let dynamodb = requests.to(&surroundings.wire.url);
    let others = requests.to(&surroundings.moto.url);
    let function = surroundings.function_with(
        name,
        &[
            ("AWS_ENDPOINT_URL_DYNAMODB", &dynamodb),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &others),
            ("AWS_ENDPOINT_URL_SQS", &others),
            ("AWS_ENDPOINT_URL_STS", &others),
            ("AWS_ENDPOINT_URL_ECR", &others),
            ("AWS_ENDPOINT_URL", &others),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &others),
        ],
    );
    function.wait_until_started();
    function
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_sends_only_what_it_needs() {
    let test = "the_first_request_sends_only_what_it_needs";
    let Some(surroundings) = Surroundings::start(test).await else { return };
    surroundings.push(1).await;
    let requests = Requests::default();
    let page = json!({ "repositoryName": "my-repository-name" });
    let newest = json!({ "repositoryName": "my-repository-name", "maxResults": 1 });
    let tag = json!({ "repositoryName": "my-repository-name", "imageIds": [{ "imageTag": "v1" }] });
    let sent: [(&Value, &[&str]); 3] =
        [(&page, &["query"]), (&newest, &["query"]), (&tag, &["getitem", "getitem"])];
    for (request, sent) in sent {
        let function = start(&surroundings, &requests, "describe-images");
        // The format of the table, and the page token keys: the current one and the previous one.
        assert_eq!(requests.take(), ["getitem", "getsecretvalue", "getsecretvalue"]);
        for _ in 0..2 {
            assert_eq!(function.request(&request.to_string()).await.0, 200);
            assert_eq!(requests.take(), sent, "{request}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_webhook_is_only_sent_to_the_queue() {
    let test = "the_first_webhook_is_only_sent_to_the_queue";
    let Some(surroundings) = Surroundings::start(test).await else { return };
    let requests = Requests::default();
    let function = start(&surroundings, &requests, "receive-webhook");
    assert_eq!(requests.take(), ["getsecretvalue"]);
    let body = sample("harbor/push-artifact.json");
    for _ in 0..2 {
        let webhook = webhook("harbor", "Bearer token of harbor", &body);
        assert_eq!(function.invoke(&webhook).await.1["statusCode"], 202);
        assert_eq!(requests.take(), ["sendmessage"]);
    }
}
