//! Listings: their filter, their pages and their order.

use catalog::change::Content;
use catalog::image::ImageStatus;
use catalog::{ChangeKind, Digest, Repository, Service};
use end_to_end::harness::{digest, repository, tag, time};
use serde_json::json;

use super::rows::{Row, put_rows};
use super::{ECR, ECR_PUBLIC, Reply, Wire, at, digests, pages};

#[tokio::test]
async fn r30_a_listing_is_filtered() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let statuses = [ImageStatus::Active, ImageStatus::Archived, ImageStatus::Activating];
    let images = statuses.iter().flat_map(|status| [(*status, &[][..]), (*status, &["v1", "v2"])]);
    let rows: Vec<Row> = (1..)
        .zip(images)
        .map(|(number, (status, tags))| Row::new(number, time(0), status, tags))
        .collect();
    put_rows(wire.store(), &repository("app"), &rows).await;
    // For each pair of images, the odd one has no tag.
    for (filter, expected) in [
        (json!(null), vec![1, 2]),
        (json!({}), vec![1, 2]),
        (json!({ "imageStatus": "ACTIVE" }), vec![1, 2]),
        (json!({ "imageStatus": "ARCHIVED" }), vec![3, 4]),
        (json!({ "imageStatus": "ACTIVATING" }), vec![5, 6]),
        (json!({ "imageStatus": "ANY" }), vec![1, 2, 3, 4, 5, 6]),
        (json!({ "tagStatus": "ANY" }), vec![1, 2]),
        (json!({ "tagStatus": "TAGGED" }), vec![2]),
        (json!({ "tagStatus": "UNTAGGED" }), vec![1]),
        (json!({ "tagStatus": "TAGGED", "imageStatus": "ANY" }), vec![2, 4, 6]),
        (json!({ "tagStatus": "UNTAGGED", "imageStatus": "ANY" }), vec![1, 3, 5]),
        (json!({ "tagStatus": "TAGGED", "imageStatus": "ARCHIVED" }), vec![4]),
        (json!({ "tagStatus": "UNTAGGED", "imageStatus": "ACTIVATING" }), vec![5]),
    ] {
        let reply = wire.ecr(json!({ "repositoryName": "app", "filter": filter })).await;
        assert_eq!(reply.digests(), digests(expected), "{filter}");
    }
}

#[tokio::test]
async fn r30_an_image_changes_sides_with_its_tags_and_its_status() {
    let wire = Wire::start().await;
    let app = repository("app");
    let sides = async || {
        let mut sides = Vec::new();
        for (tag_status, image_status) in [
            ("TAGGED", "ACTIVE"),
            ("UNTAGGED", "ACTIVE"),
            ("TAGGED", "ARCHIVED"),
            ("UNTAGGED", "ARCHIVED"),
        ] {
            let filter = json!({ "tagStatus": tag_status, "imageStatus": image_status });
            let reply = wire.ecr(json!({ "repositoryName": "app", "filter": filter })).await;
            sides.extend(reply.digests().into_iter().map(|_| (tag_status, image_status)));
        }
        sides
    };
    wire.push("app", time(0), 1, None).await;
    assert_eq!(sides().await, [("UNTAGGED", "ACTIVE")]);
    wire.push("app", time(1), 1, Some("v1")).await;
    assert_eq!(sides().await, [("TAGGED", "ACTIVE")]);
    wire.apply(&app, time(2), ChangeKind::ImageArchived { digest: digest(1) }).await;
    assert_eq!(sides().await, [("TAGGED", "ARCHIVED")]);
    wire.apply(&app, time(3), ChangeKind::TagDeleted { tag: tag("v1") }).await;
    assert_eq!(sides().await, [("UNTAGGED", "ARCHIVED")]);
    let kind = ChangeKind::ImageRestored { digest: digest(1), activated_at: time(4) };
    wire.apply(&app, time(4), kind).await;
    assert_eq!(sides().await, [("UNTAGGED", "ACTIVE")]);
}

#[tokio::test]
async fn r32_a_page_has_100_results_by_default_and_1000_at_most() {
    let wire = Wire::start().await;
    for (name, count) in
        [("app-99", 99), ("app-100", 100), ("app-101", 101), ("app-1000", 1000), ("app-1001", 1001)]
    {
        wire.create(name).await;
        let rows: Vec<Row> =
            (0..count).map(|number| Row::new(number, time(0), ImageStatus::Active, &[])).collect();
        for service in Service::ALL {
            let repository = Repository { service, ..repository(name) };
            put_rows(wire.store(), &repository, &rows).await;
        }
    }
    let page =
        async |target: &str, name: &str, max_results: Option<usize>, token: Option<String>| {
            let request =
                json!({ "repositoryName": name, "maxResults": max_results, "nextToken": token });
            let reply = wire.post(target, request.to_string()).await;
            (reply.images().len(), reply.next_token())
        };
    for target in [ECR, ECR_PUBLIC] {
        assert_eq!(page(target, "app-99", None, None).await, (99, None));
        assert_eq!(page(target, "app-100", None, None).await, (100, None));
        let (length, token) = page(target, "app-101", None, None).await;
        assert_eq!(length, 100);
        assert!(token.is_some());
        assert_eq!(page(target, "app-101", None, token).await, (1, None));
        assert_eq!(page(target, "app-1000", Some(1000), None).await, (1000, None));
        let (length, token) = page(target, "app-1001", Some(1000), None).await;
        assert_eq!(length, 1000);
        assert!(token.is_some());
        assert_eq!(page(target, "app-1001", Some(1000), token).await, (1, None));
        let (length, token) = page(target, "app-1001", Some(1), None).await;
        assert_eq!((length, token.is_some()), (1, true));
    }
}

#[tokio::test]
async fn r33_pages_are_exact_also_under_a_filter_and_at_an_exact_multiple() {
    let wire = Wire::start().await;
    wire.create("app").await;
    // One in six passes the narrowest filter, and these are far apart.
    let rows: Vec<Row> = (0..72)
        .map(|number| {
            let status = ImageStatus::ALL[usize::try_from(number % 3).unwrap()];
            let tags: &[&str] = if number % 2 == 0 { &["v1"] } else { &[] };
            Row::new(number, time(i64::try_from(number / 5).unwrap()), status, tags)
        })
        .collect();
    put_rows(wire.store(), &repository("app"), &rows).await;
    for (filter, count) in [
        (json!({ "imageStatus": "ANY" }), 72),
        (json!({}), 24),
        (json!({ "tagStatus": "TAGGED", "imageStatus": "ANY" }), 36),
        (json!({ "tagStatus": "UNTAGGED", "imageStatus": "ARCHIVED" }), 12),
    ] {
        let request = json!({ "repositoryName": "app", "filter": filter });
        for size in [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 24, 36, 71, 72, 73] {
            let pages = pages(&wire, ECR, &request, &[Some(size)]).await;
            let lengths: Vec<usize> = pages.iter().map(|page| page.images().len()).collect();
            let mut expected = vec![size; count / size];
            expected.extend((count % size > 0).then_some(count % size));
            assert_eq!(lengths, expected, "{filter} by {size}");
        }
    }
}

#[tokio::test]
async fn r34_the_newest_come_first_and_equal_milliseconds_go_by_digest() {
    let wire = Wire::start().await;
    // Parts of a millisecond do not affect the order, although they are stored.
    for (pushed_at, number) in [
        ("2026-01-01T00:00:00.001Z", 0x30),
        ("2026-01-01T00:00:00.001000001Z", 0x20),
        ("2026-01-01T00:00:00.001999999Z", 0x40),
        ("2026-01-01T00:00:00.001500000Z", 0x10),
        ("2026-01-01T00:00:00.002Z", 0xff),
        ("2026-01-01T00:00:00.000999999Z", 0x01),
        ("2025-12-31T23:59:59.999Z", 0x02),
        ("2026-01-01T01:00:00+01:00", 0x03),
        ("1969-12-31T23:59:59.999Z", 0x04),
        ("2030-01-01T00:00:00Z", 0x05),
    ] {
        wire.push("app", at(pushed_at), number, None).await;
    }
    let expected = digests([0x05, 0xff, 0x10, 0x20, 0x30, 0x40, 0x01, 0x03, 0x02, 0x04]);
    for target in [ECR, ECR_PUBLIC] {
        let request = json!({ "repositoryName": "app" });
        assert_eq!(wire.post(target, request.to_string()).await.digests(), expected);
        for size in 1..=11 {
            let pages = pages(&wire, target, &request, &[Some(size)]).await;
            let joined: Vec<String> = pages.iter().flat_map(Reply::digests).collect();
            assert_eq!(joined, expected, "by {size}");
        }
    }
    let latest = wire.ecr(json!({ "repositoryName": "app", "maxResults": 1 })).await;
    assert_eq!(latest.digests(), digests([0x05]), "the latest image");
}

#[tokio::test]
async fn r34_digests_of_any_length_and_algorithm_are_in_byte_order_across_pages() {
    let wire = Wire::start().await;
    // One is a prefix of the other, and '+' and '-' come before ':'.
    let mut written = [
        "a:0",
        "a:00",
        "a:0a",
        "a:1",
        "a+b:0",
        "a-b:0",
        "a.b:0",
        "a_b:0",
        "aa:0",
        "sha256:aa",
        "sha256:aaa",
        "sha512:aa",
    ];
    for digest in written.iter().rev() {
        let kind = ChangeKind::ImagePushed {
            digest: Digest::parse(digest).unwrap(),
            tag: None,
            content: Content::default(),
        };
        wire.apply(&repository("app"), time(0), kind).await;
    }
    written.sort_unstable();
    for size in 1..=13 {
        let pages = pages(&wire, ECR, &json!({ "repositoryName": "app" }), &[Some(size)]).await;
        let joined: Vec<String> = pages.iter().flat_map(Reply::digests).collect();
        assert_eq!(joined, written, "by {size}");
    }
}
