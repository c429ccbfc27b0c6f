//! Which messages of a batch are delivered again.

use ingest_events::batch::ReceivedMessage;
use std::collections::BTreeSet;

use catalog::Change;
use catalog::change::Content;
use end_to_end::harness::{digest, repository, time};
use registries::Source;
use serde_json::json;
use tokio::task::JoinSet;

use super::{LONG, changes, deliver, faulty_store, ingest, push, push_of_size, with_content};
use crate::faults::engine::Fault;
use crate::faults::messages::{OCI_IMAGE, message, text_message};

#[tokio::test]
async fn just_what_cannot_be_written_is_delivered_again() {
    let mut tests = JoinSet::new();
    for fault in [
        Fault::ServerError,
        Fault::NotConnected,
        Fault::TimedOut,
        Fault::Throttled,
        Fault::ThroughputExceeded,
        Fault::Cancelled("ConditionalCheckFailed"),
        Fault::Cancelled("ThrottlingError"),
    ] {
        tests.spawn(check(fault, "/broken", "of the broken repository"));
        tests.spawn(check(fault, digest(66).as_str().to_owned().leak(), "of the broken digest"));
    }
    tests.join_all().await;
}

/// All requests that contain a text fail. Two messages cause such requests.
async fn check(fault: Fault, text: &'static str, broken: &'static str) {
    let (engine, store) = faulty_store(true).await;
    engine.fail(move |request| request.text.contains(text).then_some(fault));
    let ingest = ingest(&store);
    let good: Vec<Vec<Change>> = (0..4)
        .map(|number| {
            let kinds = [push(1, "latest"), push_of_size(2, "latest", 2000), push(3, "v1")];
            changes(&repository(&format!("good-{number}")), kinds)
        })
        .collect();
    let broken_repository = changes(&repository("broken"), [push(4, "v1")]);
    let broken_digest = changes(&repository("digests"), [push(66, "v1"), push(5, "v2")]);
    let mut messages: Vec<ReceivedMessage> = (0..)
        .zip(&good)
        .flat_map(|(number, changes)| {
            let [one, two, three] = &changes[..] else { panic!("three changes") };
            [
                message(&format!("{number}: 1"), Source::Ecr, std::slice::from_ref(one)),
                message(&format!("{number}: 2"), Source::Distribution, std::slice::from_ref(two)),
                message(&format!("{number}: 3"), Source::Ecr, std::slice::from_ref(three)),
            ]
        })
        .collect();
    messages.extend([
        message("of the broken repository", Source::Ecr, &broken_repository),
        message("of the broken digest", Source::Ecr, &broken_digest[..1]),
        message("beside the broken digest", Source::Ecr, &broken_digest[1..]),
        text_message("poison", &json!({ "detail-type": "ECR Image Action" }), None),
        text_message("unknown subscription", &json!({ "events": [] }), Some("carrier pigeon")),
    ]);
    let failed = deliver(&ingest, messages.clone(), LONG).await;
    assert_eq!(
        failed,
        BTreeSet::from([broken, "poison", "unknown subscription"].map(str::to_owned))
    );
    engine.heal();
    for changes in &good {
        store.assert_equals_model(&changes[0].repository, changes).await;
    }
    let of_digests =
        if broken == "of the broken digest" { &broken_digest[1..] } else { &broken_digest };
    store.assert_equals_model(&broken_digest[0].repository, of_digests).await;

    messages.retain(|message| failed.contains(&message.id));
    let failed = deliver(&ingest, messages, LONG).await;
    assert_eq!(failed, BTreeSet::from(["poison", "unknown subscription"].map(str::to_owned)));
    store.assert_equals_model(&broken_repository[0].repository, &broken_repository).await;
    store.assert_equals_model(&broken_digest[0].repository, &broken_digest).await;
}

/// Pending lookups are not lost, either.
#[tokio::test]
async fn a_lookup_that_cannot_be_stored_fails_its_message() {
    // Nothing listens on this port.
    let nowhere = format!("http://127.0.0.1:{}", end_to_end::harness::free_port());
    let notification = json!({ "events": [{
        "timestamp": time(1),
        "action": "push",
        "target": {
            "mediaType": OCI_IMAGE,
            "digest": digest(1),
            "repository": "app",
            "tag": "v1",
            "url": format!("{nowhere}/v2/app"),
        },
    }] });
    let message = text_message("push", &notification, Some("registry"));
    let once = ["push".to_owned()];
    for fault in [Fault::ServerError, Fault::Conflict, Fault::Throttled, Fault::ResponseLost] {
        let (engine, store) = faulty_store(true).await;
        let store = store.looking_up(&nowhere);
        let ingest = ingest(&store);
        engine.fail(move |request| (request.operation == "PutItem").then_some(fault));
        assert_eq!(
            deliver(&ingest, vec![message.clone()], LONG).await,
            BTreeSet::from(once.clone())
        );
        assert!(engine.faults() > 0);
        engine.heal();
        // What the event contains was applied before.
        let kind = with_content(
            push(1, "v1"),
            Content { manifest_media_type: Some(OCI_IMAGE.to_owned()), ..Content::default() },
        );
        let expected = changes(&repository("app"), [kind]);
        store.assert_equals_model(&repository("app"), &expected).await;
        assert_eq!(deliver(&ingest, vec![message.clone()], LONG).await, BTreeSet::new());
        let items = store.table.client.scan().table_name(&store.table.name).send().await.unwrap();
        let lookups = items.items().iter().filter(|item| item.contains_key("lookup")).count();
        assert_eq!(lookups, 1, "{fault:?}");
        store.assert_equals_model(&repository("app"), &expected).await;
    }
}
