//! Another writer that applies a whole change between any two requests of one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use catalog::reader::Filter;
use catalog::table::{EXPIRES_AT, SORT};
use catalog::{Change, ChangeKind, Repository, Table, Writer};
use end_to_end::harness::{InProcess, Store, digest, engine_client, print, repository, tag, time};
use end_to_end::reference::model;
use image_catalog::aws::dynamodb::Engine;

use super::{push, push_of_index, push_of_size};

/// Changes that concern each other, after earlier ones.
struct Pair {
    what: &'static str,
    before: Vec<ChangeKind>,
    changes: [ChangeKind; 2],
}

fn pairs() -> Vec<Pair> {
    let pair = |what, before, changes| Pair { what, before, changes };
    let deletion = |number| ChangeKind::ImageDeleted { digest: digest(number) };
    let untagged =
        |number, name| ChangeKind::ImageUntagged { digest: digest(number), tag: tag(name) };
    let tag_deletion = |name| ChangeKind::TagDeleted { tag: tag(name) };
    vec![
        pair(
            "an index and its manifest",
            vec![push(9, "")],
            [push_of_index(1, "v1", [2]), push_of_size(2, "", 5)],
        ),
        pair(
            "two indexes, of which one lists the other",
            vec![push_of_size(3, "", 5)],
            [push_of_index(1, "v1", [2]), push_of_index(2, "", [3])],
        ),
        pair(
            "an index that gets the tag of its manifest",
            vec![push(2, "v1")],
            [push_of_index(1, "v1", [2]), push_of_size(2, "", 5)],
        ),
        pair(
            "an index that takes several transactions, and its manifest",
            vec![push(9, "")],
            [push_of_index(1, "v1", 2..=120), push_of_size(2, "", 5)],
        ),
        pair(
            "an index of an index, and the manifest of that",
            vec![push_of_index(2, "", [3])],
            [push_of_index(1, "v1", [2]), push_of_size(3, "", 5)],
        ),
        pair(
            "two pushes of one manifest, which an index lists",
            vec![push_of_index(1, "v1", [2])],
            [push_of_size(2, "", 5), push(2, "v2")],
        ),
        pair(
            "a push and a deletion of the repository",
            vec![push(1, "v1"), push(2, "v2")],
            [push(3, "v2"), ChangeKind::RepositoryDeleted],
        ),
        pair(
            "a push of a known image and a deletion of the repository",
            vec![push(1, "v1")],
            [push(1, "v2"), ChangeKind::RepositoryDeleted],
        ),
        pair(
            "an index and a deletion of the repository",
            vec![push_of_size(2, "v2", 5)],
            [push_of_index(1, "v1", [2]), ChangeKind::RepositoryDeleted],
        ),
        pair(
            "the size of a manifest and a deletion of the repository",
            vec![push_of_index(1, "v1", [2])],
            [push_of_size(2, "", 5), ChangeKind::RepositoryDeleted],
        ),
        pair(
            "the size of a manifest and a deletion of its index",
            vec![push_of_index(1, "v1", [2])],
            [push_of_size(2, "", 5), deletion(1)],
        ),
        pair(
            "a repository that is pushed again, and its next deletion",
            vec![push(1, "v1"), ChangeKind::RepositoryDeleted],
            [push(1, "v1"), ChangeKind::RepositoryDeleted],
        ),
        pair(
            "two deletions of the repository",
            vec![push(1, "v1")],
            [ChangeKind::RepositoryDeleted, ChangeKind::RepositoryDeleted],
        ),
        pair(
            "the first push of a repository and its deletion",
            vec![],
            [push(1, "v1"), ChangeKind::RepositoryDeleted],
        ),
        pair("two moves of a tag", vec![push(1, "v1")], [push(2, "v1"), push(3, "v1")]),
        pair(
            "a move of a tag and a deletion of the image that had it",
            vec![push(1, "v1")],
            [push(2, "v1"), deletion(1)],
        ),
        pair(
            "a move of a tag and a deletion of the image that gets it",
            vec![push(1, "v1"), push(2, "v2")],
            [push(2, "v1"), deletion(2)],
        ),
        pair(
            "a move of a tag and its deletion",
            vec![push(1, "v1"), push(1, "v2")],
            [push(2, "v1"), tag_deletion("v1")],
        ),
        pair(
            "a move of a tag and its removal from the image that had it",
            vec![push(1, "v1")],
            [push(2, "v1"), untagged(1, "v1")],
        ),
        pair(
            "two tags of an image that are removed",
            vec![push(1, "v1"), push(1, "v2")],
            [untagged(1, "v1"), untagged(1, "v2")],
        ),
        pair(
            "a tag that is removed and pushed again",
            vec![push(1, "v1")],
            [untagged(1, "v1"), push(1, "v1")],
        ),
        pair(
            "a tag that is removed and a move of the other one",
            vec![push(1, "v1"), push(1, "v2")],
            [untagged(1, "v1"), push(2, "v2")],
        ),
        pair(
            "a deletion of an image with many tags and a move of one",
            (0..=40).map(|number| push(1, &format!("t{number}"))).collect(),
            [deletion(1), push(2, "t40")],
        ),
        pair(
            "a deletion of an image and a push of it",
            vec![push(1, "v1"), push(1, "v2")],
            [deletion(1), push(1, "v2")],
        ),
    ]
}

#[tokio::test]
async fn changes_that_concern_each_other_do_not_miss_each_other() {
    let mut interruptions = 0;
    for Pair { what, before, changes: [one, other] } in pairs() {
        for (first, second) in [(&one, &other), (&other, &one)] {
            let kinds = before.iter().chain([first, second]).cloned();
            let all = super::changes(&repository("app"), kinds);
            // Either of them comes in between, whichever is older.
            for interrupted in [all.len() - 2, all.len() - 1] {
                interruptions += interrupt(what, &all, interrupted).await;
            }
        }
    }
    print(format!("another writer between two requests, {interruptions} times"));
    assert!(interruptions > 200);
}

/// No tag of an image expires.
async fn assert_stays(store: &Store, repository: &Repository) {
    let filter = Filter::default();
    let page = store.page(repository, &filter, None, 1_000).await;
    let images = page.map(|page| page.images).unwrap_or_default();
    let tags = images.iter().flat_map(|image| &image.image_tags);
    let tags: BTreeSet<String> = tags.map(|tag| format!("tag#{tag}")).collect();
    let items = store.items().await;
    let expires: Vec<_> = items.iter().filter(|item| item.contains_key(EXPIRES_AT)).collect();
    let sorts = expires.iter().map(|item| item[SORT].as_s().unwrap());
    let expiring: Vec<_> = sorts.filter(|sort| tags.contains(*sort)).collect();
    assert!(expiring.is_empty(), "{expiring:?} expire");
}

/// Applies the last two changes, one between any two requests of the other. Returns the number of
/// requests.
async fn interrupt(what: &str, all: &[Change], interrupted: usize) -> usize {
    let before = &all[..all.len() - 2];
    let change = &all[interrupted];
    let other = &all[2 * all.len() - 3 - interrupted];
    for place in 0.. {
        let engine = Engine::in_memory().unwrap();
        let store = Store::new(engine.client()).await.at(time(1_000));
        for change in before {
            store.writer.apply(change).await.unwrap();
        }
        let requests = Arc::new(AtomicUsize::new(0));
        let client = InProcess({
            let (requests, writer, other) =
                (Arc::clone(&requests), store.writer.clone(), other.clone());
            move |request: HttpRequest| {
                let number = requests.fetch_add(1, Ordering::Relaxed);
                let (engine, writer, other) = (engine.clone(), writer.clone(), other.clone());
                async move {
                    if number == place {
                        writer.apply(&other).await.unwrap();
                    }
                    engine.call(request).await
                }
            }
        });
        let client = aws_sdk_dynamodb::Client::from_conf(engine_client(client).build());
        let table = Table { client, ..store.table.clone() };
        Writer::new(table, || time(1_000)).apply(change).await.unwrap();
        if requests.load(Ordering::Relaxed) <= place {
            return place;
        }
        let requested = model::identifiers(all);
        assert_eq!(
            store.responses(&change.repository, &requested).await.unwrap(),
            model::responses(all, &requested),
            "{what}: {other:?} before request {place} of {change:?}"
        );
        assert_stays(&store, &change.repository).await;
    }
    unreachable!("every change ends")
}
