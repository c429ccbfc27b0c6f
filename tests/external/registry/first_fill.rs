//! A first fill of a registry that returns no push times, between live pushes (rule 59).

use std::cmp::Reverse;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use catalog::Timestamp;
use end_to_end::harness::stand_in::digest_of;
use end_to_end::harness::{OCI_CONFIGURATION, OCI_IMAGE, REGISTRY, print};
use reconcile::ReconcileJob;
use serde_json::{Value, json};

use super::comparisons::{reconcile, target};
use super::setup::{Setup, milliseconds, now};
use super::{POLL_INTERVAL, REPOSITORY};

const IMAGES: usize = 200;

/// The pushes before, during and after the fill.
const PUSHES: [usize; 3] = [3, 40, 10];

/// The catalog lists a push this soon, also beside a fill on a slow machine.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(20);

/// The tags that live pushes move off images of the year, which keep their own.
const MOVED_TAGS: usize = 10;

/// An image without layers.
struct Image {
    manifest: String,
    digest: String,
    created: Timestamp,
}

impl Image {
    /// Uploads the configuration of an image, and returns the image.
    async fn new(setup: &Setup, number: usize, created: Timestamp) -> Self {
        let configuration = json!({
            "architecture": "amd64",
            "os": "linux",
            "author": number,
            "created": created,
            "rootfs": { "type": "layers", "diff_ids": [] },
        });
        let text = configuration.to_string();
        let digest = digest_of(&configuration);
        let http = &setup.registry.http;
        let start = http.post(setup.registry.url(&format!("/v2/{REPOSITORY}/blobs/uploads/")));
        let started = start.send().await.unwrap().error_for_status().unwrap();
        let location = started.headers()["location"].to_str().unwrap();
        let uploaded = http.put(format!("{location}&digest={digest}")).body(text.clone());
        uploaded.send().await.unwrap().error_for_status().unwrap();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE,
            "config": { "mediaType": OCI_CONFIGURATION, "digest": digest, "size": text.len() },
            "layers": [],
        });
        Self { digest: digest_of(&manifest).to_string(), manifest: manifest.to_string(), created }
    }

    /// Pushes the image, and returns the milliseconds in which that happened.
    async fn push(&self, setup: &Setup, tag: &str) -> RangeInclusive<i64> {
        let url = setup.registry.url(&format!("/v2/{REPOSITORY}/manifests/{tag}"));
        let request = setup.registry.http.put(url).header("content-type", OCI_IMAGE);
        let from = now();
        request.body(self.manifest.clone()).send().await.unwrap().error_for_status().unwrap();
        from..=now()
    }
}

/// The digests and the push times of the newest images.
async fn newest(setup: &Setup, max_results: usize) -> Vec<(String, i64)> {
    let request =
        json!({ "registryId": REGISTRY, "repositoryName": REPOSITORY, "maxResults": max_results });
    let response = setup
        .catalog
        .http
        .post(format!("http://{}/", setup.catalog.address))
        .header("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.DescribeImages")
        .json(&request)
        .send()
        .await
        .unwrap();
    let body: Value = response.json().await.unwrap();
    let image = |detail: &Value| {
        let digest = detail["imageDigest"].as_str().unwrap().to_owned();
        (digest, milliseconds(&detail["imagePushedAt"]).unwrap())
    };
    body["imageDetails"].as_array().into_iter().flatten().map(image).collect()
}

async fn newest_digests(setup: &Setup, max_results: usize) -> Vec<String> {
    newest(setup, max_results).await.into_iter().map(|(digest, _)| digest).collect()
}

/// The images that were pushed live, the last one first, and when.
type Pushed = Vec<(String, RangeInclusive<i64>)>;

/// Pushes an image, under a new tag or under one that the fill reads meanwhile. As soon as it
/// is in the catalog, each number of the newest images is right.
async fn push_live(setup: &Setup, pushed: &mut Pushed) {
    let number = IMAGES + pushed.len();
    // It was built a year and more before it is pushed.
    let created = "2025-01-01T00:00:00Z".parse().unwrap();
    let image = Image::new(setup, number, created).await;
    let tag = match number % 2 {
        0 => format!("moved{}", number / 2 % MOVED_TAGS),
        _ => format!("live{number}"),
    };
    let during = image.push(setup, &tag).await;
    pushed.insert(0, (image.digest.clone(), during));
    let deadline = Instant::now() + ARRIVAL_LIMIT;
    while newest_digests(setup, 1).await != [image.digest.clone()] {
        let listed = newest(setup, 3).await;
        assert!(Instant::now() < deadline, "{listed:?} is listed after {pushed:?}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    for max_results in 1..=pushed.len().min(10) {
        let expected: Vec<&String> =
            pushed[..max_results].iter().map(|(digest, _)| digest).collect();
        let newest = newest_digests(setup, max_results).await;
        assert_eq!(newest.iter().collect::<Vec<_>>(), expected);
    }
}

pub(super) async fn a_first_fill_between_live_pushes(mut setup: Setup) {
    // The catalog does not receive the events of a year.
    setup.catalog.stop().await;
    let first: Timestamp = "2025-11-20T06:30:00Z".parse().unwrap();
    let mut images = Vec::new();
    for number in 0..IMAGES {
        // Not in the order in which they are pushed: 77 and 200 have no common divisor.
        let hours = (number * 77 % IMAGES) as i64 * 365 * 24 / IMAGES as i64;
        let created = first.as_milliseconds() + hours * 3_600_000 + number as i64;
        let created = Timestamp::from_milliseconds(created).unwrap();
        let image = Image::new(&setup, number, created).await;
        image.push(&setup, &format!("v{number}")).await;
        if number < MOVED_TAGS {
            image.push(&setup, &format!("moved{number}")).await;
        }
        images.push(image);
    }
    setup.registry = setup.registry.kill_and_start().await;
    setup.catalog.start().await;
    images.sort_by_key(|image| Reverse(image.created));

    let mut pushed = Pushed::new();
    for _ in 0..PUSHES[0] {
        push_live(&setup, &mut pushed).await;
    }
    let started = Instant::now();
    let fill = async {
        let reconcile = reconcile(&setup.catalog.store, usize::MAX);
        let job = ReconcileJob { name: REPOSITORY.to_owned(), prune: false, after: None };
        let drift = reconcile.find_drift(&target(&setup), &job).await.unwrap();
        let repaired = reconcile.repair(&drift, None).await.unwrap();
        assert_eq!(repaired.repaired + repaired.superseded, drift.changes.len(), "{repaired:#?}");
        started.elapsed()
    };
    let push = async {
        for _ in 0..PUSHES[1] {
            push_live(&setup, &mut pushed).await;
        }
        started.elapsed()
    };
    let (filled, pushed_until) = tokio::join!(fill, push);
    print(format!(
        "{IMAGES} images: filled in {filled:.1?}, beside {} pushes in {pushed_until:.1?}",
        PUSHES[1]
    ));
    for _ in 0..PUSHES[2] {
        push_live(&setup, &mut pushed).await;
    }

    // The whole listing: the pushes, each at its time, and then the images of the year.
    let listed = newest(&setup, 1000).await;
    let digests: Vec<&String> = listed.iter().map(|(digest, _)| digest).collect();
    let expected = pushed.iter().map(|(digest, _)| digest);
    let expected: Vec<&String> = expected.chain(images.iter().map(|image| &image.digest)).collect();
    assert_eq!(digests, expected);
    for ((_, time), (digest, during)) in listed.iter().zip(&pushed) {
        assert!(during.contains(time), "{digest}: {time} is not in {during:?}");
    }
    for ((_, time), image) in listed[pushed.len()..].iter().zip(&images) {
        assert_eq!(*time, image.created.as_milliseconds());
    }
}
