//! Responses of several mebibytes.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use catalog::change::Content;
use catalog::history::ImageHistory;
use catalog::image::ImageStatus;
use catalog::packed::pack;
use catalog::table::{HISTORY, IMAGE, Item, PRIVATE, REPOSITORY, SORT};
use catalog::{ChangeKind, Repository, Service};
use end_to_end::harness::{digest, repository, tag, time};
use serde_json::{Value, json};

use super::meddled::giving_few;
use super::rows::{Row, put_items, put_rows};
use super::{ECR, ECR_PUBLIC, MEBIBYTE, Wire, digest_of, digests};

/// A page ends with a token before its response exceeds the limit, and the rest follows.
///
/// To push a million tags one after the other would take hours, so the rows of the images are put
/// directly; a small image proves that the rows equal the writer's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r33_pages_end_before_five_mebibytes() {
    const IMAGES: u64 = 1000;
    // The megabyte that DynamoDB returns at once holds no more than four of these images. The
    // engine reads all requested items before it applies that limit, which would take most of the
    // time.
    let wire = giving_few(Arc::new(AtomicU64::new(5))).await;
    let app = repository("app");
    wire.push("app", time(1), 1, Some("v1")).await;
    wire.push("app", time(2), 1, Some("v2")).await;
    wire.push("app", time(3), 2, None).await;
    wire.apply(&app, time(4), ChangeKind::ImageArchived { digest: digest(2) }).await;
    let written =
        wire.store().table.client.scan().table_name(&wire.store().table.name).send().await.unwrap();
    let of_app = AttributeValue::S(app.to_string());
    let is_listed = |item: &&Item| item.contains_key(IMAGE) && item[REPOSITORY] == of_app;
    let mut written: Vec<Item> = written.items().iter().filter(is_listed).cloned().collect();
    written.sort_by_key(|item| item[SORT].as_s().unwrap().clone());
    let archived = Row::new(2, time(3), ImageStatus::Archived, &[]);
    let [archived, once_archived] = [archived.item(&app), archived.once_archived(&app).unwrap()]
        .map(|mut item| {
            let private = r#"{"imageStatus":"ARCHIVED","lastArchivedAt":1767225600.004}"#;
            item.insert(PRIVATE.to_owned(), AttributeValue::S(private.to_owned()));
            item
        });
    let tagged = Row::new(1, time(1), ImageStatus::Active, &["v1", "v2"]).item(&app);
    assert_eq!(written, [tagged, archived, once_archived], "the rows are as the writer makes them");

    wire.create("big").await;
    // Few at once: a million tags must not be in memory twice.
    for number in (0..IMAGES).step_by(10) {
        let rows: Vec<Row> = (number..number + 10)
            .map(|number| {
                let rest = format!("{number:->297}");
                let tags = (0..1000).map(|index| format!("{index:03}{rest}")).collect();
                Row { number, pushed_at: time(0), status: ImageStatus::Active, tags }
            })
            .collect();
        put_rows(wire.store(), &repository("big"), &rows).await;
    }
    let mut seen = Vec::new();
    let mut request = json!({ "repositoryName": "big", "maxResults": 1000 });
    loop {
        let page = wire.ecr(request.clone()).await;
        assert!(page.body.len() <= 5 * MEBIBYTE, "{} bytes", page.body.len());
        let images = page.images();
        for image in images {
            let tags = image["imageTags"].as_array().unwrap();
            assert_eq!(tags.len(), 1000);
            assert!(tags.iter().all(|tag| tag.as_str().unwrap().len() == 300));
        }
        seen.extend(images.iter().map(digest_of));
        assert!(seen.len() <= 1000, "the listing does not end");
        match page.next_token() {
            // Each weighs 303 KB.
            Some(token) => {
                assert!(images.len() >= 16, "{} images: the page has room for more", images.len());
                request["nextToken"] = token.into();
            }
            None => break,
        }
    }
    assert_eq!(seen, digests(0..IMAGES));
}

/// Lambda gets a response as a JSON text inside of JSON, where each quotation mark becomes two
/// bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r33_pages_of_many_short_tags_fit_into_lambda() {
    const LAMBDA_LIMIT: usize = 6 * MEBIBYTE;
    let wire = Wire::start().await;
    wire.create("short").await;
    let rows: Vec<Row> = (0..1000)
        .map(|number| Row {
            number,
            pushed_at: time(0),
            status: ImageStatus::Active,
            tags: (0..1000).map(|index| format!("{index:03}")).collect(),
        })
        .collect();
    put_rows(wire.store(), &repository("short"), &rows).await;
    let page = wire.ecr(json!({ "repositoryName": "short", "maxResults": 1000 })).await;
    assert!(page.next_token().is_some(), "they do not fit into one page");
    let bytes = Value::from(page.body.as_str()).to_string().len();
    assert!((LAMBDA_LIMIT * 4 / 5..LAMBDA_LIMIT - 100_000).contains(&bytes), "{bytes} bytes");
}

/// Puts an image of the repository `app` of both services with more tags than can be pushed in a
/// short time. It cannot be looked up by a tag.
async fn put_image_with_tags(wire: &Wire, number: u64, tags: &[String]) {
    let store = wire.store();
    let mut history = ImageHistory::default();
    for name in tags {
        history.push(time(0), Some(&tag(name)), &Content::default());
    }
    let mut item = Item::from([
        (SORT.to_owned(), AttributeValue::S(format!("digest#{}", digest(number)))),
        (HISTORY.to_owned(), AttributeValue::B(Blob::new(pack(&history)))),
    ]);
    let row = Row { number, pushed_at: time(0), status: ImageStatus::Active, tags: tags.to_vec() };
    for service in Service::ALL {
        let app = Repository { service, ..repository("app") };
        item.insert(REPOSITORY.to_owned(), AttributeValue::S(app.to_string()));
        put_items(store, vec![item.clone()]).await;
        put_rows(store, &app, std::slice::from_ref(&row)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r61_a_reply_to_image_ids_that_would_pass_five_mebibytes_is_refused() {
    const LAMBDA_LIMIT: usize = 6_000_000;
    const TOO_LARGE: &str =
        "'the images must fit into a reply of 5242880 bytes; ask for fewer at once'";
    let in_json = |text: &str| Value::from(text).to_string().len();
    // As in a page: with its comma, in Lambda's JSON.
    let weight = |image: &Value| in_json(&image.to_string()) - "\"\"".len() + ",".len();
    let wire = Wire::start().await;
    let tags = |number: u64, count: usize| -> Vec<String> {
        (0..count).map(|index| format!("{number:0>3}{index:0>297}")).collect()
    };
    wire.create("app").await;
    for number in 1..=18 {
        put_image_with_tags(&wire, number, &tags(number, 1000)).await;
    }
    // Up to a hundred identifiers of these images.
    let ids = |numbers: &[u64]| -> Vec<Value> {
        let ids = numbers.iter().cycle().take(100);
        ids.map(|number| json!({ "imageDigest": digest(*number) })).collect()
    };
    let request = |ids: &[Value]| json!({ "repositoryName": "app", "imageIds": ids });
    let seventeen: Vec<u64> = (1..=17).collect();
    let eighteen: Vec<u64> = (1..=18).collect();

    for target in [ECR, ECR_PUBLIC] {
        let reply = wire.post(target, request(&ids(&eighteen)).to_string()).await;
        assert_eq!(reply.status, 400, "{reply:?}");
        reply.assert_violates("imageIds", TOO_LARGE);
    }
    let reply = wire.ecr(request(&ids(&seventeen))).await;
    assert_eq!(reply.digests(), digests(1..=17), "each image once");
    for (number, image) in (1..).zip(reply.images()) {
        assert!(image["imageTags"] == json!(tags(number, 1000)), "image {number} is not whole");
    }
    assert!(in_json(&reply.body) < LAMBDA_LIMIT, "{} bytes", in_json(&reply.body));

    // One more image fills the response to its last byte. Then it is one byte larger.
    wire.push("app", time(0), 100, Some("x")).await;
    let image = wire.ecr(request(&ids(&[100]))).await.image();
    let weighed: usize = reply.images().iter().map(weight).sum();
    let missing = 5 * MEBIBYTE - weighed - weight(&image);
    for (number, last, missing, status) in [(101, "y", missing, 200), (102, "z", missing + 1, 400)]
    {
        // A tag adds five bytes to its characters: most have 300, and two have the rest.
        let long = missing / 305 - 1;
        let rest = missing - 305 * long - 10;
        let mut tags = tags(number, long);
        tags.extend([
            last.repeat(rest / 2),
            last.repeat(rest.div_ceil(2) - 1) + "-",
            last.to_owned(),
        ]);
        put_image_with_tags(&wire, number, &tags).await;
        let numbers: Vec<u64> = (1..=17).chain([number]).collect();
        let reply = wire.ecr(request(&ids(&numbers))).await;
        assert_eq!(reply.status, status, "{number}: {reply:?}");
        if status == 200 {
            let weighed: usize = reply.images().iter().map(weight).sum();
            assert_eq!(weighed, 5 * MEBIBYTE);
            assert!(in_json(&reply.body) < LAMBDA_LIMIT, "{} bytes", in_json(&reply.body));
        }
    }

    // The limit is checked after all lookups.
    let mut requested = ids(&eighteen);
    requested[99] = json!({ "imageTag": "none" });
    wire.ecr(request(&requested)).await.assert_no_image("null", "none");
    // Images that the filter excludes do not count.
    let mut filtered = request(&ids(&eighteen));
    filtered["filter"] = json!({ "imageStatus": "ARCHIVED" });
    assert_eq!(wire.ecr(filtered).await.body, r#"{"imageDetails":[]}"#);

    let page = wire.ecr(json!({ "repositoryName": "app" })).await;
    assert!(page.next_token().is_some(), "a page ends before");
    assert_eq!(page.digests(), digests(1..=17));
}
