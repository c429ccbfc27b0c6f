//! Tests of all functions.

use std::collections::BTreeSet;

use end_to_end::harness::{api_gateway_event, print};
use serde_json::json;

use super::payloads::{batch, failed, here, pushed, pushed_index};
use super::surroundings::Surroundings;
use crate::deployment::built;

#[tokio::test(flavor = "multi_thread")]
async fn events_of_other_triggers_get_a_clear_error() {
    let Some(surroundings) =
        Surroundings::start("events_of_other_triggers_get_a_clear_error").await
    else {
        return;
    };
    for (name, event, expected) in [
        (
            "describe-images",
            batch(&[("message", pushed(1))]),
            "expects a JSON payload from Amazon API Gateway",
        ),
        ("ingest-events", api_gateway_event("{}"), "missing field `Records`"),
        ("reconcile", api_gateway_event("{}"), "missing field `Records`"),
    ] {
        let function = surroundings.function(name);
        let (status, response) = function.invoke(&event).await;
        assert_eq!(status, 500, "{name}: {response}");
        let message = response["errorMessage"].as_str().unwrap();
        assert!(message.contains(expected), "{name}: {message}");
        // The function continues.
        assert_eq!(function.invoke(&event).await.0, 500, "{name}");
    }
}

/// Each function sends exactly the operations that its role allows. `template/policies.rs` tests
/// the roles.
#[tokio::test(flavor = "multi_thread")]
async fn the_functions_send_what_their_roles_allow() {
    let Some(surroundings) = Surroundings::start("the_functions_send_what_their_roles_allow").await
    else {
        return;
    };
    let take = || std::mem::take(&mut *surroundings.wire.operations.lock().unwrap());
    let ingest = surroundings.function("ingest-events");
    let untagged = here("image-action-delete.json").to_string();
    let created = here("eventbridge-cloudtrail-create-repository.json").to_string();
    let index = pushed_index(2).to_string();
    let mut deleted = here("eventbridge-cloudtrail-create-repository.json");
    deleted["detail"]["eventName"] = json!("DeleteRepository");
    let messages = batch(&[
        ("pushed", pushed(1)),
        ("pushed too", pushed(2)),
        ("deleted", untagged),
        ("created", created),
        ("index", index),
        ("gone", deleted.to_string()),
        (
            "reminder",
            r#"{"source": "image-catalog", "detail-type": "Retry Pending Lookups"}"#.to_owned(),
        ),
    ]);
    let (_, response) = ingest.invoke(&messages).await;
    assert_eq!(failed(&response), BTreeSet::new());
    let operations = BTreeSet::from(
        ["batchgetitem", "getitem", "query", "transactwriteitems"].map(str::to_owned),
    );
    assert_eq!(take(), operations);
    drop(ingest);

    surroundings.moto.aws(&["ecr", "create-repository", "--repository-name", "team/app"]);
    let reconcile = surroundings.function("reconcile");
    for body in [
        r#"{"reconcile":"registry","from":"ecr"}"#,
        r#"{"reconcile":"repository","from":"ecr","name":"team/app","prune":true}"#,
    ] {
        let (_, response) = reconcile.invoke(&batch(&[("message", body.to_owned())])).await;
        assert_eq!(failed(&response), BTreeSet::new());
    }
    assert_eq!(take(), operations);
    drop(reconcile);

    let describe = surroundings.function("describe-images");
    for body in [
        r#"{"repositoryName":"my-repository-name"}"#.to_owned(),
        r#"{"repositoryName":"my-repository-name","filter":{"tagStatus":"TAGGED"}}"#.to_owned(),
        r#"{"repositoryName":"my-repository-name","filter":{"tagStatus":"UNTAGGED","imageStatus":"ARCHIVED"}}"#.to_owned(),
        json!({ "repositoryName": "my-repository-name", "imageIds": [{ "imageTag": "v1" }] }).to_string(),
        json!({
            "repositoryName": "my-repository-name",
            "imageIds": [{ "imageTag": "v1" }, { "imageTag": "v2" }],
        })
        .to_string(),
    ] {
        assert_eq!(describe.request(&body).await.0, 200, "{body}");
    }
    assert_eq!(take(), BTreeSet::from(["batchgetitem", "getitem", "query"].map(str::to_owned)));
}

/// provided.al2023 has glibc 2.34.
#[test]
fn the_binaries_run_on_amazon_linux_2023() {
    let Some(built) = built("the_binaries_run_on_amazon_linux_2023") else { return };
    for function in crate::deployment::template::FUNCTIONS {
        let binary = std::fs::read(built.join(function).join("bootstrap")).unwrap();
        let versions: BTreeSet<(u32, u32)> = binary
            .windows(6)
            .enumerate()
            .filter(|(_, window)| window == b"GLIBC_")
            .filter_map(|(at, _)| {
                let version: String = binary[at + 6..]
                    .iter()
                    .map(|byte| char::from(*byte))
                    .take_while(|c| c.is_ascii_digit() || *c == '.')
                    .collect();
                let mut numbers = version.split('.').map(str::parse);
                Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
            })
            .collect();
        let newest = versions.last().unwrap();
        print(format!("{function} needs glibc {}.{}", newest.0, newest.1));
        assert!(*newest <= (2, 34), "{function}: {versions:?}");
    }
}
