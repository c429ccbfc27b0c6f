//! What holds for all functions.

use std::collections::BTreeSet;

use end_to_end::harness::print;
use serde_json::json;

use super::payloads::{batch, failed, here, pushed, pushed_index, request};
use super::surroundings::Surroundings;
use crate::deployment::built;

#[tokio::test(flavor = "multi_thread")]
async fn events_of_other_triggers_get_a_clear_error() {
    let Some(surroundings) =
        Surroundings::start("events_of_other_triggers_get_a_clear_error").await
    else {
        return;
    };
    for (name, event, says) in [
        (
            "describe-images",
            batch(&[("message", pushed(1))]),
            "expects a JSON payload from Amazon API Gateway",
        ),
        ("ingest-events", request("{}"), "missing field `Records`"),
        ("reconcile", request("{}"), "missing field `Records`"),
    ] {
        let function = surroundings.function(name);
        let (status, answer) = function.invoke(&event).await;
        assert_eq!(status, 500, "{name}: {answer}");
        let message = answer["errorMessage"].as_str().unwrap();
        assert!(message.contains(says), "{name}: {message}");
        // It goes on.
        assert_eq!(function.invoke(&event).await.0, 500, "{name}");
    }
}

/// Each function's role allows just the operations that it asks for, which `template.rs` knows.
#[tokio::test(flavor = "multi_thread")]
async fn the_functions_ask_for_what_their_roles_allow() {
    let Some(surroundings) =
        Surroundings::start("the_functions_ask_for_what_their_roles_allow").await
    else {
        return;
    };
    let take = || std::mem::take(&mut *surroundings.wire.operations.lock().unwrap());
    let ingest = surroundings.function("ingest-events");
    let untagged = here("image-action-delete.json").to_string();
    let created = here("eventbridge-cloudtrail-create-repository.json").to_string();
    let index = pushed_index(2).to_string();
    let mut gone = here("eventbridge-cloudtrail-create-repository.json");
    gone["detail"]["eventName"] = json!("DeleteRepository");
    let messages = batch(&[
        ("pushed", pushed(1)),
        ("deleted", untagged),
        ("created", created),
        ("index", index),
        ("gone", gone.to_string()),
        ("reminder", r#"{"source": "image-catalog", "detail-type": "Ask Again"}"#.to_owned()),
    ]);
    let (_, answer) = ingest.invoke(&messages).await;
    assert_eq!(failed(&answer), BTreeSet::new());
    let operations = BTreeSet::from(
        ["batchgetitem", "getitem", "query", "transactwriteitems"].map(str::to_owned),
    );
    assert_eq!(take(), operations);
    drop(ingest);

    surroundings.moto.aws(&["ecr", "create-repository", "--repository-name", "team/app"]);
    let reconcile = surroundings.function("reconcile");
    for body in [
        r#"{"compare":"registry","from":"ecr"}"#,
        r#"{"compare":"repository","from":"ecr","name":"team/app","prune":true}"#,
    ] {
        let (_, answer) = reconcile.invoke(&batch(&[("message", body.to_owned())])).await;
        assert_eq!(failed(&answer), BTreeSet::new());
    }
    assert_eq!(take(), operations);
    drop(reconcile);

    let describe = surroundings.function("describe-images");
    for body in [
        r#"{"repositoryName":"my-repository-name"}"#.to_owned(),
        r#"{"repositoryName":"my-repository-name","filter":{"tagStatus":"TAGGED"}}"#.to_owned(),
        r#"{"repositoryName":"my-repository-name","filter":{"tagStatus":"UNTAGGED","imageStatus":"ARCHIVED"}}"#.to_owned(),
        json!({ "repositoryName": "my-repository-name", "imageIds": [{ "imageTag": "v1" }] }).to_string(),
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
