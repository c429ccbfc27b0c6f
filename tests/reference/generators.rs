//! Random changes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::time::Duration;

use catalog::change::Content;
use catalog::image::{FindingsSummary, INDEX_MEDIA_TYPES, Scan};
use catalog::{Change, ChangeKind, Repository, RepositoryStatement, Tag, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::harness::{digest, tag, time};

const DAY: Duration = Duration::from_hours(24);

/// The number of digests in changes.
pub const DIGESTS: u64 = 4;

fn any_digest() -> impl Strategy<Value = u64> {
    1..=DIGESTS
}

/// The manifest of digest 4 is an index of 1 to 3, that of 3 an index of 1 and 2.
fn any_content(number: u64) -> impl Strategy<Value = Content> {
    let manifests = match number {
        4 => Some(vec![digest(1), digest(2), digest(3)]),
        3 => Some(vec![digest(1), digest(2)]),
        _ => None,
    };
    let size = if manifests.is_some() {
        Just(None).boxed()
    } else {
        proptest::option::of(1..5_i64).boxed()
    };
    let media_type =
        proptest::option::of(select(vec!["a/a".to_owned(), INDEX_MEDIA_TYPES[0].to_owned()]));
    (media_type.clone(), media_type, size, proptest::option::of(Just(manifests))).prop_map(
        |(manifest_media_type, artifact_media_type, size_in_bytes, manifests)| Content {
            manifest_media_type,
            artifact_media_type,
            size_in_bytes,
            manifests: manifests.flatten(),
            subject: None,
        },
    )
}

/// A scan with any of its members, or with none.
pub fn any_scan() -> impl Strategy<Value = Scan> {
    let some_time = || proptest::option::of(any_time().prop_map(time));
    let counts = proptest::option::of(
        (0..3_i64).prop_map(|high| BTreeMap::from([("HIGH".to_owned(), high)])),
    );
    let findings = (some_time(), some_time(), counts).prop_map(
        |(completed_at, vulnerability_source_updated_at, finding_severity_counts)| {
            FindingsSummary {
                completed_at,
                vulnerability_source_updated_at,
                finding_severity_counts,
            }
        },
    );
    let text = |texts: &[&'static str]| {
        proptest::option::of(select(texts.to_vec()).prop_map(str::to_owned))
    };
    (text(&["ACTIVE", "COMPLETE"]), text(&["a", "b"]), proptest::option::of(findings))
        .prop_map(|(status, description, findings)| Scan { status, description, findings })
}

/// Changes of a few digests and these tags.
pub fn any_kind(tags: Vec<Tag>) -> impl Strategy<Value = ChangeKind> {
    let any_tag = move || select(tags.clone());
    let pushed_tag = any_tag.clone();
    let push = any_digest().prop_flat_map(move |number| {
        (proptest::option::weighted(0.8, pushed_tag()), any_content(number)).prop_map(
            move |(tag, content)| ChangeKind::ImagePushed { digest: digest(number), tag, content },
        )
    });
    let scan = (any_digest(), any_scan())
        .prop_map(|(number, scan)| ChangeKind::ImageScanned { digest: digest(number), scan });
    let observed =
        any_digest().prop_flat_map(|number| {
            (any_time(), any_content(number)).prop_map(move |(at, content)| {
                ChangeKind::ImageObserved { digest: digest(number), pushed_at: time(at), content }
            })
        });
    let found_tag = any_tag.clone();
    let found = any_digest().prop_flat_map(move |number| {
        let tag = proptest::option::of(found_tag());
        (tag, any_time(), any_time(), any::<bool>(), any_content(number)).prop_map(
            move |(tag, pushed_at, found_at, is_stated, content)| ChangeKind::ImageFound {
                digest: digest(number),
                tag,
                pushed_at: time(pushed_at),
                found_at: time(found_at),
                is_stated,
                content,
            },
        )
    });
    prop_oneof![
        10 => push,
        2 => observed,
        3 => found,
        2 => any_digest().prop_map(|number| ChangeKind::ImageDeleted { digest: digest(number) }),
        4 => (any_digest(), any_tag())
            .prop_map(|(number, tag)| ChangeKind::ImageUntagged { digest: digest(number), tag }),
        2 => any_tag().prop_map(|tag| ChangeKind::TagDeleted { tag }),
        1 => Just(ChangeKind::RepositoryStated(RepositoryStatement::default())),
        1 => Just(ChangeKind::RepositoryDeleted),
        1 => scan,
        1 => any_digest().prop_map(|number| ChangeKind::ImagePulled { digest: digest(number) }),
        1 => any_digest().prop_map(|number| ChangeKind::ImageArchived { digest: digest(number) }),
        1 => (any_digest(), any_time()).prop_map(|(number, at)| ChangeKind::ImageRestored {
            digest: digest(number),
            activated_at: time(at)
        }),
    ]
}

/// Few times, so that many changes have the same time.
pub fn any_time() -> impl Strategy<Value = i64> {
    0..8_i64
}

/// A change in a period, and each time at which its event arrives.
#[derive(Debug, Clone)]
pub struct Event {
    /// The number of the period.
    pub period: usize,
    pub kind: ChangeKind,
    /// The time of the change.
    pub at: Timestamp,
    /// The times at which the event arrives.
    pub arrivals: Vec<Timestamp>,
}

impl Event {
    /// The change, in a repository.
    pub fn change(&self, repository: &Repository) -> Change {
        Change { repository: repository.clone(), time: self.at, kind: self.kind.clone() }
    }
}

/// The start of a period. Everything of the previous period may have expired by then.
pub fn period_start(period: usize) -> Timestamp {
    time(0).plus(u32::try_from(period).unwrap() * 100 * DAY)
}

/// Times of a period: some that many events share, and some days apart.
fn any_offset() -> impl Strategy<Value = Duration> {
    prop_oneof![
        4 => any_time().prop_map(|at| Duration::from_millis(at.unsigned_abs())),
        4 => (0..200_u64).prop_map(Duration::from_millis),
        2 => (0..20_u32).prop_map(|days| days * DAY),
    ]
}

fn any_lateness(most: Duration) -> impl Strategy<Value = Duration> {
    let most = u64::try_from(most.as_millis()).unwrap();
    prop_oneof![
        4 => Just(Duration::ZERO),
        4 => (0..300_u64).prop_map(Duration::from_millis),
        2 => (0..=most).prop_map(Duration::from_millis),
    ]
}

/// Short tags, and tags of the maximum length, of which few fit into an item.
fn any_tags() -> impl Strategy<Value = Vec<Tag>> {
    select(vec![
        vec!["latest".to_owned(), "v1".to_owned(), "v2".to_owned()],
        vec!["a".repeat(300), "b".repeat(300), "c".repeat(200)],
    ])
    .prop_map(|names| names.iter().map(|name| tag(name)).collect())
}

/// Events within a few minutes, or in periods between which everything may expire. Each arrives
/// once or twice, at most this late.
pub fn any_events(periods: usize, lateness: Duration) -> impl Strategy<Value = Vec<Event>> {
    any_tags().prop_flat_map(move |tags| {
        let event = (0..periods, any_kind(tags), any_offset(), vec(any_lateness(lateness), 1..3))
            .prop_map(move |(period, kind, offset, lateness)| {
                let shorter = if periods > 1 { 1 } else { 1000 };
                let at = period_start(period).plus(offset / shorter);
                let kind = if periods > 1 { with_all(kind, at) } else { kind };
                let arrivals = lateness.into_iter().map(|late| at.plus(late / shorter)).collect();
                Event { period, kind, at, arrivals }
            });
        vec(event, 1..200)
    })
}

/// When a deleted image has expired, its manifest and the time of its deletion are lost. So every
/// event contains the whole manifest, and none contains an earlier push.
fn with_all(mut kind: ChangeKind, at: Timestamp) -> ChangeKind {
    if let ChangeKind::ImagePushed { content, .. }
    | ChangeKind::ImageObserved { content, .. }
    | ChangeKind::ImageFound { content, .. } = &mut kind
    {
        let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
        *content = Content {
            manifest_media_type: Some(media_type),
            size_in_bytes: Some(1),
            ..Content::default()
        };
    }
    if let ChangeKind::ImageObserved { pushed_at, .. } | ChangeKind::ImageFound { pushed_at, .. } =
        &mut kind
    {
        *pushed_at = at;
    }
    kind
}

/// The arrivals of a period, in order.
pub fn arrivals(events: &[Event], period: usize) -> Vec<(Timestamp, &Event)> {
    let mut arrivals: Vec<(Timestamp, &Event)> = events
        .iter()
        .filter(|event| event.period == period)
        .flat_map(|event| event.arrivals.iter().map(move |arrival| (*arrival, event)))
        .collect();
    arrivals.sort_by_key(|(arrival, _)| *arrival);
    arrivals
}
