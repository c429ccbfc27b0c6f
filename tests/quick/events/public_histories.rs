//! Random histories of Amazon ECR Public, told by CloudTrail alone.

use std::sync::atomic::{AtomicUsize, Ordering};

use catalog::image::Image;
use catalog::{Change, Repository};
use end_to_end::harness::stand_in::{digest_of, image_manifest};
use end_to_end::harness::{Catalog, histories, tag};
use end_to_end::reference::cloud_trail::{Call, index_of, public_repository};
use end_to_end::reference::model::{self, Responses};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

/// The calls of a repository, each with its second, and the order of their records, of which each
/// arrives twice.
#[derive(Debug, Clone)]
struct History {
    calls: Vec<(i64, Call)>,
    arrivals: Vec<usize>,
}

fn any_call() -> impl Strategy<Value = Call> {
    let (small, large) = (image_manifest(5), image_manifest(7));
    let index = index_of(&[&small, &large]);
    let any_manifest = move || select(vec![small.clone(), large.clone(), index.clone()]);
    let any_digest = any_manifest.clone();
    let any_digest = move || any_digest().prop_map(|manifest| digest_of(&manifest));
    let any_tag = || select(vec!["latest", "v1"]).prop_map(tag);
    prop_oneof![
        8 => (any_manifest(), proptest::option::weighted(0.8, any_tag()))
            .prop_map(|(manifest, tag)| Call::PutImage { manifest, tag }),
        2 => any_digest().prop_map(|digest| Call::DeleteImage { digest }),
        3 => (any_digest(), any_tag()).prop_map(|(digest, tag)| Call::DeleteTag { digest, tag }),
        1 => Just(Call::CreateRepository),
        1 => Just(Call::DeleteRepository),
    ]
}

fn any_history() -> impl Strategy<Value = History> {
    vec((0..8_i64, any_call()), 1..14).prop_flat_map(|calls| {
        let twice: Vec<usize> = (0..calls.len()).chain(0..calls.len()).collect();
        Just(twice)
            .prop_shuffle()
            .prop_map(move |arrivals| History { calls: calls.clone(), arrivals })
    })
}

/// An image as the public service describes it.
fn detail(repository: &Repository, image: &Image) -> Value {
    let mut detail = json!({
        "registryId": repository.registry,
        "repositoryName": repository.name,
        "imageDigest": image.image_digest,
        "imagePushedAt": image.image_pushed_at.as_milliseconds() / 1000,
        "imageManifestMediaType": image.image_manifest_media_type,
    });
    let optional = [
        ("imageTags", json!(image.image_tags), !image.image_tags.is_empty()),
        ("imageSizeInBytes", json!(image.image_size_in_bytes), image.image_size_in_bytes.is_some()),
        (
            "artifactMediaType",
            json!(image.artifact_media_type),
            image.artifact_media_type.is_some(),
        ),
    ];
    for (name, value, is_known) in optional {
        if is_known {
            detail[name] = value;
        }
    }
    detail
}

/// A catalog, and a client of it.
struct Client {
    catalog: Catalog,
    http: reqwest::Client,
}

impl Client {
    async fn send(&self, path: &str, target: &str, body: Value) -> Value {
        let request = self.http.post(format!("{}{path}", self.catalog.url));
        let request = request.header("x-amz-target", target).body(body.to_string());
        request.send().await.unwrap().json().await.unwrap()
    }

    async fn describe(&self, request: Value) -> Value {
        self.send("/", "SpencerFrontendService.DescribeImages", request).await
    }

    async fn check(&self, repository: &Repository, history: &History) {
        let record = |place: &usize| {
            let (second, call) = &history.calls[*place];
            call.record(repository, *second)
        };
        let records: Vec<Value> = history.arrivals.iter().map(record).collect();
        let report = json!({ "applied": records.len(), "ignored": 0, "malformed": [] });
        assert_eq!(self.send("/events/ecr", "", json!(records)).await, report);

        let name = &repository.name;
        let changes: Vec<Change> =
            history.calls.iter().map(|(second, call)| call.change(repository, *second)).collect();
        let listed = self.describe(json!({ "repositoryName": name })).await;
        match model::responses(&changes, &model::identifiers(&changes)) {
            None => assert_eq!(listed["__type"], "RepositoryNotFoundException"),
            Some(responses) => {
                let images = model::fold(&changes).unwrap();
                let details: Vec<Value> =
                    images.iter().map(|image| detail(repository, image)).collect();
                assert_eq!(listed, json!({ "imageDetails": details }));
                self.check_first_page(repository, &details).await;
                self.check_lookups(repository, responses).await;
            }
        }
        // No private repository has come of it.
        let target = "AmazonEC2ContainerRegistry_V20150921.DescribeImages";
        let private = self.send("/", target, json!({ "repositoryName": name })).await;
        assert_eq!(private["__type"], "RepositoryNotFoundException");
    }

    async fn check_first_page(&self, repository: &Repository, details: &[Value]) {
        let request = json!({ "repositoryName": repository.name, "maxResults": 1 });
        let page = self.describe(request).await;
        assert_eq!(page["imageDetails"], json!(details[..details.len().min(1)]));
        assert_eq!(page.get("nextToken").is_some(), details.len() > 1);
    }

    async fn check_lookups(&self, repository: &Repository, responses: Responses) {
        for (identifier, found) in responses.found {
            let id = match (&identifier.digest, &identifier.tag) {
                (Some(digest), _) => json!({ "imageDigest": digest }),
                (None, tag) => json!({ "imageTag": tag }),
            };
            let request = json!({ "repositoryName": repository.name, "imageIds": [id] });
            let response = self.describe(request).await;
            match found {
                Some(image) => {
                    let details = [detail(repository, &image)];
                    assert_eq!(response, json!({ "imageDetails": details }));
                }
                None => assert_eq!(response["__type"], "ImageNotFoundException"),
            }
        }
    }
}

#[test]
fn r46_r54_the_public_service_answers_what_cloudtrail_told_in_any_order() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client =
        Client { catalog: runtime.block_on(Catalog::start()), http: reqwest::Client::new() };
    let number = AtomicUsize::new(0);
    let config = Config { cases: histories(), failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&any_history(), |history| {
            let name = format!("r{}", number.fetch_add(1, Ordering::Relaxed));
            runtime.block_on(client.check(&public_repository(&name), &history));
            Ok(())
        })
        .unwrap();
}
