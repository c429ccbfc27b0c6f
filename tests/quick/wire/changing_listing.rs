//! Random listings, also while they change.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use catalog::change::Content;
use catalog::{Change, ChangeKind, Digest};
use end_to_end::harness::{digest, repository, time};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::meddled::giving_few;
use super::{
    ECR, ECR_PUBLIC, Reply, Wire, at, digest_of, digests, listed, order_of, pages, pushed,
};

/// An image of a random repository.
#[derive(Debug, Clone)]
struct Known {
    nanoseconds: u32,
    tagged: bool,
    archived: bool,
}

impl Known {
    /// Few milliseconds, so that pages end between images of the same one.
    fn any() -> impl Strategy<Value = Self> {
        (0..3_u32, select(vec![0_u32, 1, 999_999]), any::<bool>(), proptest::bool::weighted(0.3))
            .prop_map(|(milliseconds, rest, tagged, archived)| Self {
                nanoseconds: milliseconds * 1_000_000 + rest,
                tagged,
                archived,
            })
    }

    async fn put(&self, wire: &Wire, name: &str, number: u64) {
        let pushed_at = at(&format!("2026-01-01T00:00:00.{:09}Z", self.nanoseconds));
        let tag_name = format!("v{number}");
        wire.push(name, pushed_at, number, self.tagged.then_some(tag_name.as_str())).await;
        if self.archived {
            let kind = ChangeKind::ImageArchived { digest: digest(number) };
            wire.apply(&repository(name), time(50), kind).await;
        }
    }

    /// The image's place in a listing, if it passes a filter.
    fn listed(&self, number: u64, filter: &Value) -> Option<(Reverse<u32>, u64)> {
        let passes = |wanted: &Value, default: &str, is: &str| {
            let wanted = wanted.as_str().unwrap_or(default);
            wanted == "ANY" || wanted == is
        };
        let tag_status = if self.tagged { "TAGGED" } else { "UNTAGGED" };
        let image_status = if self.archived { "ARCHIVED" } else { "ACTIVE" };
        let is_listed = passes(&filter["tagStatus"], "ANY", tag_status)
            && passes(&filter["imageStatus"], "ACTIVE", image_status);
        is_listed.then_some((Reverse(self.nanoseconds / 1_000_000), number))
    }
}

fn any_filter() -> impl Strategy<Value = Value> {
    let tag_status = select(vec![json!(null), json!("ANY"), json!("TAGGED"), json!("UNTAGGED")]);
    let image_status = select(vec![json!(null), json!("ANY"), json!("ACTIVE"), json!("ARCHIVED")]);
    (tag_status, image_status).prop_map(
        |(tag_status, image_status)| json!({ "tagStatus": tag_status, "imageStatus": image_status }),
    )
}

/// Changes of a repository between two pages.
#[derive(Debug, Clone)]
enum Between {
    /// A new image is pushed.
    New(Known),
    Delete(Index),
    /// The image in the token is deleted.
    DeleteLast,
    /// An image is deleted and pushed again, and so is the newest.
    Renew,
}

fn any_between() -> impl Strategy<Value = Vec<Between>> {
    let between = prop_oneof![
        3 => Known::any().prop_map(Between::New),
        2 => any::<Index>().prop_map(Between::Delete),
        2 => Just(Between::DeleteLast),
        1 => Just(Between::Renew),
    ];
    vec(between, 0..3)
}

#[derive(Debug, Clone)]
struct Listing {
    images: BTreeMap<u64, Known>,
    filter: Value,
    /// They take turns.
    page_sizes: Vec<usize>,
    /// The number of items that DynamoDB returns at once.
    max_items: u64,
    /// They take turns.
    between: Vec<Vec<Between>>,
}

fn any_listing(
    between: impl Strategy<Value = Vec<Vec<Between>>>,
) -> impl Strategy<Value = Listing> {
    let images = btree_map((0..40_u64).prop_map(|number| 2 * number), Known::any(), 0..16);
    (images, any_filter(), vec(1..6_usize, 1..4), 1..5_u64, between).prop_map(
        |(images, filter, page_sizes, max_items, between)| Listing {
            images,
            filter,
            page_sizes,
            max_items,
            between,
        },
    )
}

/// Runs a property on a catalog whose DynamoDB returns as few items at once as the listing
/// requires; each case has a repository of its own.
fn check_listings(
    cases: u32,
    listings: &impl Strategy<Value = Listing>,
    property: impl AsyncFn(&Wire, &str, &Listing),
) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let max_items = Arc::new(AtomicU64::new(u64::MAX));
    let wire = runtime.block_on(giving_few(Arc::clone(&max_items)));
    let number = AtomicUsize::new(0);
    let configuration =
        Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let result = TestRunner::new(configuration).run(listings, |listing| {
        let name = format!("listing-{}", number.fetch_add(1, Ordering::Relaxed));
        max_items.store(listing.max_items, Ordering::Relaxed);
        runtime.block_on(async {
            wire.create(&name).await;
            for (number, known) in &listing.images {
                known.put(&wire, &name, *number).await;
            }
            property(&wire, &name, &listing).await;
        });
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// The digests of a list after a plain filter and sort.
fn expected(images: &BTreeMap<u64, Known>, filter: &Value) -> Vec<String> {
    let mut listed: Vec<_> =
        images.iter().filter_map(|(number, known)| known.listed(*number, filter)).collect();
    listed.sort_unstable();
    digests(listed.into_iter().map(|(_, number)| number))
}

#[test]
fn r30_r33_r34_joined_pages_equal_a_plain_filter_and_sort() {
    check_listings(200, &any_listing(Just(Vec::new())), async |wire, name, listing| {
        let request = json!({ "repositoryName": name, "filter": listing.filter });
        let sizes: Vec<Option<usize>> = listing.page_sizes.iter().copied().map(Some).collect();
        let pages = pages(wire, ECR, &request, &sizes).await;
        let joined: Vec<String> = pages.iter().flat_map(Reply::digests).collect();
        assert_eq!(joined, expected(&listing.images, &listing.filter));
        let (last, full) = pages.split_last().unwrap();
        for (page, size) in full.iter().zip(listing.page_sizes.iter().cycle()) {
            assert_eq!(page.images().len(), *size);
        }
        assert!(
            !last.images().is_empty() || full.is_empty(),
            "a token was returned although nothing follows"
        );
        // The public service lists what is active, whatever the filter.
        let joined: Vec<String> = self::pages(wire, ECR_PUBLIC, &request, &sizes)
            .await
            .iter()
            .flat_map(Reply::digests)
            .collect();
        assert_eq!(joined, expected(&listing.images, &json!({})));
    });
}

#[test]
fn r36_a_listing_has_every_image_that_existed_all_the_time_exactly_once() {
    let listings = any_listing(vec(any_between(), 1..6));
    check_listings(200, &listings, async |wire, name, listing| {
        let repository = repository(name);
        let numbers: Vec<u64> = listing.images.keys().copied().collect();
        let mut stayed = listing.images.clone();
        let mut next_number = 1;
        let mut joined: Vec<Value> = Vec::new();
        let mut token: Option<String> = None;
        for (size, between) in listing.page_sizes.iter().cycle().zip(listing.between.iter().cycle())
        {
            let page = wire
                .ecr(json!({
                    "repositoryName": name, "filter": listing.filter, "maxResults": size, "nextToken": token,
                }))
                .await;
            joined.extend_from_slice(page.images());
            assert!(joined.len() < 200, "the listing does not end");
            token = page.next_token();
            if token.is_none() {
                break;
            }
            assert_eq!(page.images().len(), *size, "pages are exact whatever happens between them");
            let delete = async |digest: &Digest| {
                wire.apply(
                    &repository,
                    time(100),
                    ChangeKind::ImageDeleted { digest: digest.clone() },
                )
                .await;
            };
            let last = Digest::parse(&digest_of(joined.last().unwrap())).unwrap();
            for between in between {
                match between {
                    Between::New(known) => {
                        // Unused odd numbers, not in order.
                        known.put(wire, name, (next_number * 37) % 101 * 2 + 1).await;
                        next_number += 1;
                    }
                    Between::Delete(_) if numbers.is_empty() => {}
                    Between::Delete(index) => {
                        let number = *index.get(&numbers);
                        delete(&digest(number)).await;
                        stayed.remove(&number);
                    }
                    Between::DeleteLast | Between::Renew => {
                        delete(&last).await;
                        stayed.retain(|number, _| digest(*number) != last);
                        if matches!(between, Between::Renew) {
                            let kind = ChangeKind::ImagePushed {
                                digest: last.clone(),
                                tag: None,
                                content: Content::default(),
                            };
                            wire.apply(&repository, time(200), kind).await;
                        }
                    }
                }
            }
        }
        let order: Vec<_> = joined.iter().map(order_of).collect();
        assert!(
            order.is_sorted_by(|before, after| before < after),
            "in order, nothing twice: {order:?}"
        );
        let all: BTreeSet<String> = joined.iter().map(digest_of).collect();
        assert_eq!(all.len(), joined.len(), "nothing twice, also not as the newest");
        let stayed = expected(&stayed, &listing.filter);
        let seen: Vec<String> =
            joined.iter().map(digest_of).filter(|digest| stayed.contains(digest)).collect();
        assert_eq!(seen, stayed);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r36_listings_hold_while_others_push_and_delete_all_the_time() {
    // Few items at once, so that pushes and deletions also happen between the parts of one page.
    let wire = giving_few(Arc::new(AtomicU64::new(2))).await;
    let stayed: Vec<u64> = (0..24).map(|number| number * 1000).collect();
    for number in &stayed {
        wire.push("app", time(0), *number, None).await;
    }
    let ended = Arc::new(AtomicBool::new(false));
    let churn = {
        let (writer, ended) = (wire.store().writer.clone(), Arc::clone(&ended));
        tokio::spawn(async move {
            let mut changes = 0_i64;
            // One image after the other is pushed and deleted between those that stay.
            for number in
                (1..).map(|round: u64| (round * 7919) % 24_000).filter(|number| number % 1000 != 0)
            {
                let pushed = pushed(number, None, Content::default());
                let deleted = ChangeKind::ImageDeleted { digest: digest(number) };
                for (at, kind) in [(0, pushed), (changes + 1, deleted)] {
                    let change = Change { repository: repository("app"), time: time(at), kind };
                    writer.apply(&change).await.unwrap();
                    changes += 1;
                }
                if ended.load(Ordering::Relaxed) {
                    break;
                }
            }
            changes
        })
    };
    for size in [1, 2, 3, 5, 7, 24, 100] {
        let pages = pages(&wire, ECR, &json!({ "repositoryName": "app" }), &[Some(size)]).await;
        let order: Vec<_> = pages.iter().flat_map(Reply::images).map(order_of).collect();
        assert!(order.is_sorted_by(|before, after| before < after), "by {size}: {order:?}");
        let stayed = digests(stayed.iter().copied());
        let joined = pages.iter().flat_map(Reply::digests);
        let seen: Vec<String> = joined.filter(|digest| stayed.contains(digest)).collect();
        assert_eq!(seen, stayed, "by {size}");
    }
    ended.store(true, Ordering::Relaxed);
    assert!(churn.await.unwrap() > 20, "something happened meanwhile");
}

#[tokio::test]
async fn r36_a_token_continues_when_everything_before_and_after_it_is_deleted() {
    let (wire, token) = listed().await;
    for number in 1..=3 {
        let kind = ChangeKind::ImageDeleted { digest: digest(number) };
        wire.apply(&repository("app"), time(1), kind).await;
    }
    let request = json!({ "repositoryName": "app", "nextToken": token });
    let page = wire.ecr(request.clone()).await;
    assert_eq!((page.digests(), page.next_token()), (digests([4]), None));
    wire.apply(&repository("app"), time(1), ChangeKind::ImageDeleted { digest: digest(4) }).await;
    assert_eq!(wire.ecr(request).await.body, r#"{"imageDetails":[]}"#);
}
