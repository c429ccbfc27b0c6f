//! `image-catalog reconcile`.

use end_to_end::harness::stand_in::{StandIn, digest_of, image_manifest, index_manifest};
use end_to_end::harness::{Catalog, Process, REGISTRY, command, time};
use end_to_end::reference::cloud_trail::{Call, public_repository};
use serde_json::{Value, json};

use super::{folder, run};

/// The registry has an index that does not fit into an item of the table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_repaired_is_named_and_counted_apart() {
    let folder = folder("not_repaired");
    let huge = index_manifest(1001);
    let registry =
        StandIn::start("team/app", &[("one", image_manifest(1)), ("huge", huge.clone())]).await;
    let difference =
        format!("{REGISTRY}/team/app: the image {} is missing or incomplete", digest_of(&huge));
    let failed = format!(
        "not repaired: {difference}: an image has more tags, or lists more manifests, than one DynamoDB item can hold"
    );
    // First four repairs: the repository, an image, and both tags. Then none.
    for repaired in [4, 0] {
        let output =
            run(command(&folder).args(["reconcile", "--data", "data", "--from", &registry.url]));
        let (stdout, log) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr));
        assert_eq!(output.status.code(), Some(1), "{stdout}{log:?}");
        let lines: Vec<&str> = stdout.lines().collect();
        assert!(
            lines.contains(&difference.as_str()) && lines.contains(&failed.as_str()),
            "{stdout}"
        );
        let sum =
            format!("1 repositories reconciled, {repaired} differences repaired, 1 not repaired");
        assert_eq!(lines.last(), Some(&sum.as_str()), "{stdout}");
        assert!(log.unwrap().contains("1 differences could not be repaired"));
    }
    let process = Process::start_with_data(&folder);
    assert_eq!(process.tags("team/app").await, ["huge", "one"]);
}

/// Another catalog stands in for Amazon ECR Public: its public service answers as that does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_ecr_public_the_public_repositories_are_filled() {
    let folder = folder("ecr_public");
    let there = Catalog::start().await;
    let repository = public_repository("team/app");
    let push = Call::PutImage { manifest: image_manifest(7), tag: None };
    let mut change = push.change(&repository, 0);
    change.time = time(1_234);
    there.store.writer.apply(&change).await.unwrap();
    let reconcile = || {
        let output = run(command(&folder)
            .args(["reconcile", "--data", "data", "--region", "eu-central-1"])
            .args(["--from", "ecr-public", "--repository", "team/app"])
            .env("AWS_ENDPOINT_URL_ECR_PUBLIC", &there.url)
            .envs([("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")]));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let name = format!("ecr-public/{REGISTRY}/team/app");
    let image = digest_of(&image_manifest(7));
    assert_eq!(
        reconcile(),
        format!(
            "{name}: the repository was created\n{name}: the image {image} is missing or incomplete\n\
             1 repositories reconciled, 2 differences repaired\n"
        )
    );
    assert_eq!(reconcile(), "1 repositories reconciled, 0 differences repaired\n");

    let process = Process::start_with_data(&folder);
    let request = json!({ "repositoryName": "team/app" });
    let url = format!("{}/DescribeImages", process.url);
    let response = process.http.post(url).json(&request).send().await.unwrap();
    let response: Value = response.json().await.unwrap();
    assert_eq!(response["imageDetails"][0]["imageSizeInBytes"], 7);
    assert_eq!(response["imageDetails"][0]["imagePushedAt"], json!(1_767_225_601.234));
    let error = process.describe(request).await.unwrap_err();
    assert_eq!(error["__type"], "RepositoryNotFoundException", "in the private service");
}
