//! Changes of several transactions, cut off after each of their requests.

use std::collections::BTreeSet;

use catalog::{Change, ChangeKind};
use end_to_end::harness::{digest, print, repository, tag, time};
use end_to_end::reference::model;

use super::{
    LONG, changes, deliver, faulty_store, ingest, is_between, push, push_of_index, push_of_size,
};
use crate::faults::engine::Fault;
use crate::faults::messages::{message, source_of};

#[tokio::test]
async fn a_push_that_moves_a_tag() {
    let before = [push(1, "latest"), push(1, "v1"), push(2, "v2")];
    let (moved, later) = (push(2, "latest"), push(1, "v2"));
    assert_whole_or_not_at_all("a push that moves a tag", &before, moved, later).await;
}

#[tokio::test]
async fn a_push_of_an_index() {
    let before = [push_of_size(1, "", 100), push_of_size(2, "", 200), push(3, "latest")];
    let (index, later) = (push_of_index(4, "latest", [1, 2, 5]), push_of_size(5, "", 300));
    assert_whole_or_not_at_all("a push of an index", &before, index, later).await;
}

/// With too many manifests for one transaction.
#[tokio::test]
async fn a_push_of_a_large_index() {
    let before = [push_of_size(1, "", 100), push_of_size(150, "", 200), push(300, "latest")];
    let (index, later) = (push_of_index(400, "latest", 1..=150), push_of_size(75, "", 300));
    assert_whole_or_not_at_all("a push of an index of 150 manifests", &before, index, later).await;
}

#[tokio::test]
async fn a_push_of_what_an_index_lists() {
    let before = [push_of_index(3, "latest", [1, 2]), push_of_size(1, "", 100)];
    let (manifest, later) = (push_of_size(2, "v1", 200), push_of_index(4, "", [3]));
    let all = changes(&repository("app"), before.into_iter().chain([manifest, later]));
    // The index is updated after the manifest, in a transaction of its own.
    cut_off_anywhere("a push of what an index lists", &all, false).await;
}

#[tokio::test]
async fn a_deletion_of_an_image() {
    // More tags than expire at once.
    let tags = (0..45).map(|number| push(1, &format!("v{number}")));
    let before: Vec<ChangeKind> = tags.chain([push(2, "latest")]).collect();
    let deletion = ChangeKind::ImageDeleted { digest: digest(1) };
    assert_whole_or_not_at_all("a deletion of an image", &before, deletion, push(1, "v44")).await;
}

#[tokio::test]
async fn a_deletion_of_the_last_tag_of_an_image() {
    let before = [push(1, "v1"), push(2, "latest")];
    let deletion = ChangeKind::ImageUntagged { digest: digest(1), tag: tag("v1") };
    assert_whole_or_not_at_all("a deletion of the last tag", &before, deletion, push(1, "")).await;
}

#[tokio::test]
async fn a_deletion_of_a_repository() {
    let before = [push(1, "v1"), push(2, "v2"), push(3, ""), push_of_index(4, "latest", [1, 2])];
    let deletion = ChangeKind::RepositoryDeleted;
    let mut all = changes(&repository("app"), before.into_iter().chain([deletion, push(2, "v3")]));
    all.iter_mut().zip(0..).for_each(|(change, at)| change.time = time(at));
    cut_off_anywhere("a deletion of a repository", &all, false).await;
}

/// A deletion of a repository that already exists again. Images that were pushed since stay listed
/// at any time.
#[tokio::test]
async fn a_deletion_of_a_repository_that_comes_late() {
    let before = [push(1, "v1"), push(2, "v2"), push(3, ""), push(4, "v4")];
    let repository = repository("app");
    let mut all = changes(&repository, before);
    let again = changes(&repository, [push(1, "v1"), push(2, "v3"), push(3, "latest")]);
    all.extend(again.into_iter().map(|change| Change { time: time(100), ..change }));
    all.push(Change { time: time(50), kind: ChangeKind::RepositoryDeleted, ..all[0].clone() });
    all.push(Change { time: time(101), kind: push(2, "v4"), ..all[0].clone() });
    cut_off_anywhere("a deletion of a repository that comes late", &all, false).await;
}

/// Cuts off a change after each of its requests; the response to the last one is lost. Reads then
/// return the state before the change or the state after it. When the message is delivered again,
/// they return the state after it, and a later change is applied correctly.
async fn assert_whole_or_not_at_all(
    what: &str,
    before: &[ChangeKind],
    kind: ChangeKind,
    later: ChangeKind,
) {
    let all = changes(&repository("app"), before.iter().cloned().chain([kind, later]));
    cut_off_anywhere(what, &all, true).await;
}

/// Cuts off the last change but one.
async fn cut_off_anywhere(what: &str, all: &[Change], whole_at_once: bool) {
    let (up_to_change, later) = (&all[..all.len() - 1], &all[all.len() - 1]);
    let (before, change) = (&all[..all.len() - 2], &all[all.len() - 2]);
    let repository = change.repository.clone();
    let requested = model::identifiers(all);
    let states = [model::responses(before, &requested), model::responses(up_to_change, &requested)];
    let message = message("change", source_of(&change.kind), std::slice::from_ref(change));
    let mut cuts = 0;
    for requests in 0.. {
        let (engine, store) = faulty_store(true).await;
        for change in before {
            store.writer.apply(change).await.unwrap();
        }
        let mut number = 0;
        engine.fail(move |_| {
            number += 1;
            match number {
                number if number < requests => None,
                number if number == requests => Some(Fault::ResponseLost),
                _ => Some(Fault::NotConnected),
            }
        });
        let ingest = ingest(&store);
        let failed = deliver(&ingest, vec![message.clone()], LONG).await;
        engine.heal();
        let cut = store.responses(&repository, &requested).await.unwrap();
        assert!(
            states.contains(&cut) || (!whole_at_once && is_between(&states, cut.as_ref())),
            "{what}: the end after {requests} requests leaves {cut:#?}"
        );
        if failed.is_empty() {
            assert_eq!(cut, states[1], "{what} was not delivered again after {requests} requests");
            break;
        }
        cuts += 1;
        assert_eq!(deliver(&ingest, vec![message.clone()], LONG).await, BTreeSet::new());
        store.assert_equals_model(&repository, up_to_change).await;
        store.writer.apply(later).await.unwrap();
        store.assert_equals_model(&repository, all).await;
    }
    print(format!("faults: {what}: whole or not at all after {cuts} cuts"));
    assert!(cuts > 4, "{what} was cut off");
}
