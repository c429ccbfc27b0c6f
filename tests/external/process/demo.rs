//! `--demo`: sample images of both services, which are the same at every start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use catalog::Timestamp;
use end_to_end::harness::{Process, command};
use serde_json::{Value, json};

use super::{files, folder};

/// The services' targets.
const ECR: &str = "AmazonEC2ContainerRegistry_V20150921";
const ECR_PUBLIC: &str = "SpencerFrontendService";

fn start(folder: &Path) -> Process {
    let mut command = command(folder);
    command.arg("--demo");
    Process::start(command)
}

/// All items of a list that an operation returns, page by page.
async fn all(process: &Process, target: &str, operation: &str, request: &Value) -> Vec<Value> {
    let mut items = Vec::new();
    let mut request = request.clone();
    loop {
        let sent = process
            .http
            .post(&process.url)
            .header("x-amz-target", format!("{target}.{operation}"))
            .json(&request);
        let response: Value = sent.send().await.unwrap().json().await.unwrap();
        let list = if operation == "DescribeImages" { "imageDetails" } else { "repositories" };
        let page = response[list].as_array().unwrap_or_else(|| panic!("{request}: {response}"));
        items.extend(page.clone());
        match &response["nextToken"] {
            Value::Null => return items,
            token => request["nextToken"] = token.clone(),
        }
    }
}

/// The images by the name of their repository.
async fn images(process: &Process) -> BTreeMap<String, Vec<Value>> {
    let mut images = BTreeMap::new();
    for target in [ECR, ECR_PUBLIC] {
        for repository in all(process, target, "DescribeRepositories", &json!({})).await {
            let name = repository["repositoryName"].as_str().unwrap().to_owned();
            assert!(repository["repositoryUri"].as_str().unwrap().ends_with(&name), "{repository}");
            let mut request = json!({ "repositoryName": name });
            if target == ECR {
                request["filter"] = json!({ "imageStatus": "ANY" });
            }
            images.insert(name, all(process, target, "DescribeImages", &request).await);
        }
    }
    images
}

fn tagged<'a>(images: &'a [Value], tag: &str) -> &'a Value {
    let has_tag = |image: &&Value| {
        image["imageTags"].as_array().is_some_and(|tags| tags.contains(&json!(tag)))
    };
    let mut found = images.iter().filter(has_tag);
    let image = found.next().unwrap_or_else(|| panic!("no image has the tag {tag}"));
    assert_eq!(found.next(), None, "two images have the tag {tag}");
    image
}

#[tokio::test]
async fn the_sample_images_show_what_the_catalog_holds() {
    let process = start(&folder("demo"));
    let repositories = images(&process).await;
    let names: Vec<&str> = repositories.keys().map(String::as_str).collect();
    let expected =
        ["shop/api", "shop/chart", "shop/web", "shop/worker", "tools/cli", "vendor/postgres"];
    assert_eq!(names, expected);
    let all: Vec<&Value> = repositories.values().flatten().collect();
    assert!((80..=200).contains(&all.len()), "{} images", all.len());

    let has = |member: &str| all.iter().filter(|image| !image[member].is_null()).count();
    assert_eq!(has("imageSizeInBytes"), all.len(), "each has a size");
    assert_eq!(has("imageManifestMediaType"), all.len());
    assert!(has("subjectManifestDigest") >= 10, "signatures and SBOMs");
    assert!(has("imageScanStatus") >= 50 && has("imageScanFindingsSummary") >= 50);
    assert!(has("lastRecordedPullTime") >= 5);
    assert!(all.len() - has("imageTags") >= 50, "images of an index have no tags");
    let archived = |image: &&&Value| image["imageStatus"] == "ARCHIVED";
    assert!(all.iter().filter(archived).count() >= 10);

    let api = &repositories["shop/api"];
    let latest = tagged(api, "latest");
    for tag in ["1.4.2", "1.4", "1"] {
        assert_eq!(tagged(api, tag)["imageDigest"], latest["imageDigest"], "{tag}");
    }
    assert_eq!(tagged(api, "1.3.1"), tagged(api, "1.3"));
    assert_eq!(
        tagged(&repositories["shop/worker"], "stable"),
        tagged(&repositories["shop/worker"], "0.12.2")
    );

    let now = Timestamp::now().as_seconds() as f64;
    let days = |image: &&Value| (now - image["imagePushedAt"].as_f64().unwrap()) / 86_400.0;
    assert!(all.iter().all(|image| (0.0..130.0).contains(&days(image))));
    assert!(
        all.iter().any(|image| days(image) > 100.0) && all.iter().any(|image| days(image) < 2.0)
    );
}

#[tokio::test]
async fn the_digests_are_the_same_at_every_start_and_nothing_is_kept() {
    let digests = async |process: &Process| -> BTreeSet<String> {
        let images = images(process).await;
        images.values().flatten().map(|image| image["imageDigest"].to_string()).collect()
    };
    let folder = folder("demo_twice");
    let (mut first, second) = (start(&folder), start(&folder));
    assert_eq!(digests(&first).await, digests(&second).await);
    first.stop();
    assert!(files(&folder.join("work")).is_empty());
}

/// The log is for what happens.
#[tokio::test]
async fn the_samples_fill_no_log() {
    let process = start(&folder("demo_log"));
    assert_eq!(process.log(), "");
    process.push("team/app", 1, "v1").await;
    assert!(process.log().contains("applied a change"), "{}", process.log());
}

/// What is in memory does not belong into a table that others read.
#[test]
fn another_dynamodb_is_left_alone() {
    for (option, location) in
        [("--demo", "with sample images in memory"), ("--in-memory", "its data in memory")]
    {
        let mut command = command(&folder(&format!("{option}_beside_dynamodb")));
        command.arg(option).env("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9");
        let process = Process::start(command);
        assert!(process.greeting.contains(location), "{option}: {}", process.greeting);
    }
}
