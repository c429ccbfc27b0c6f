//! `image-catalog reconcile`.

use std::fs;
use std::path::Path;

use catalog::Timestamp;
use end_to_end::harness::stand_in::{
    Extras, Listing, StandIn, digest_of, image_manifest, index_manifest,
};
use end_to_end::harness::{Catalog, Process, REGISTRY, command, time, wait_until};
use end_to_end::reference::cloud_trail::{Call, public_repository};
use serde_json::{Value, json};

use super::{LIMIT, folder, run};

/// Runs the command. Returns its exit code, its output and its log.
fn reconciled(folder: &Path, url: &str, options: &[&str]) -> (Option<i32>, String, String) {
    let mut command = command(folder);
    let output = run(command.args(["reconcile", "--data", "data", "--from", url]).args(options));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_the_registry_does_not_have_is_kept_and_named() {
    let folder = folder("kept");
    let before = StandIn::start("team/app", &[("one", image_manifest(1))]).await;
    let now = StandIn::start("team/other", &[("two", image_manifest(2))]).await;
    let outcome = |url: &str, options: &[&str]| {
        let (code, output, _) = reconciled(&folder, url, options);
        (code.unwrap(), output)
    };
    Process::start_with_data(&folder).stop();
    let (code, found) = outcome(&before.url, &["--dry-run"]);
    assert_eq!(code, 2, "the drift of a dry run: {found}");
    assert!(found.ends_with("1 repositories reconciled, 3 differences found\n"), "{found}");
    assert_eq!(outcome(&before.url, &[]), (0, found.replace("found", "repaired")));
    let nothing = "1 repositories reconciled, 0 differences found\n".to_owned();
    assert_eq!(outcome(&before.url, &["--dry-run"]), (0, nothing));

    let kept =
        format!("kept: {REGISTRY}/team/app: the registry does not have it; --prune deletes it\n");
    let (code, output) = outcome(&now.url, &["--repository", "team/app"]);
    let summary = "1 repositories reconciled, 0 differences repaired, 1 repositories kept\n";
    assert_eq!((code, output), (1, format!("{kept}{summary}")));
    let (code, output) = outcome(&now.url, &[]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains(&kept), "{output}");
    let summary = "2 repositories reconciled, 3 differences repaired, 1 repositories kept\n";
    assert!(output.ends_with(summary), "{output}");
    let (code, output) = outcome(&now.url, &["--dry-run"]);
    let summary = "2 repositories reconciled, 0 differences found, 1 repositories kept\n";
    assert_eq!((code, output), (2, format!("{kept}{summary}")));
    let (code, output) = outcome(&now.url, &["--dry-run", "--prune"]);
    assert_eq!(code, 2, "{output}");
    // The registry's time of its list is in whole seconds: a deletion in the second of the push
    // would come before it.
    let second = || Timestamp::now().as_milliseconds() / 1000;
    let before = second();
    wait_until("another second", LIMIT, || second() > before);
    let (code, output) = outcome(&now.url, &["--prune"]);
    let deleted = format!("{REGISTRY}/team/app: the repository was deleted\n");
    let summary = "2 repositories reconciled, 1 differences repaired\n";
    assert_eq!((code, output), (0, format!("{deleted}{summary}")));
    let nothing = "1 repositories reconciled, 0 differences repaired\n".to_owned();
    assert_eq!(outcome(&now.url, &["--prune"]), (0, nothing));
}

#[test]
fn a_registry_that_is_not_one_is_an_option_that_is_not_valid() {
    let folder = folder("not_a_registry");
    for from in ["nobody", "ftp://registry.example", ""] {
        let (code, output, stderr) = reconciled(&folder, from, &[]);
        let log = stderr + &fs::read_to_string(folder.join("log")).unwrap();
        assert_eq!((code, output.as_str()), (Some(2), ""), "{log}");
        assert!(log.contains(&format!("'{from}' is neither an http or https URL")), "{log}");
    }
    let (code, output, stderr) = reconciled(&folder, "http://127.0.0.1:9/library", &[]);
    let log = stderr + &fs::read_to_string(folder.join("log")).unwrap();
    assert_eq!((code, output.as_str()), (Some(2), ""), "{log}");
    assert!(log.contains("'http://127.0.0.1:9/library': it must have no path"), "{log}");
}

/// It only reads, so that it does not create one, such as in a wrong directory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_without_a_catalog_is_an_error() {
    let folder = folder("dry_run_without_a_catalog");
    let registry = StandIn::start("team/app", &[("one", image_manifest(1))]).await;
    let (code, output, log) = reconciled(&folder, &registry.url, &["--dry-run"]);
    assert_eq!((code, output.as_str()), (Some(1), ""), "{log}");
    let data = folder.join("work/data");
    assert!(log.contains(&format!("there is no catalog in {}", data.display())), "{log}");
    assert!(!data.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_nobody_has_is_an_error() {
    let folder = folder("nobody");
    let registry = StandIn::start("team/app", &[("one", image_manifest(1))]).await;
    for options in [&[][..], &["--dry-run"], &["--prune"]] {
        let named = ["--repository", "team/app", "--repository", "team/ap"];
        let (code, output, log) =
            reconciled(&folder, &registry.url, &[&named[..], options].concat());
        assert_eq!(code, Some(1), "{output}{log}");
        let failed = "failed: team/ap: neither the registry nor the catalog has a repository of \
                      this name\n";
        assert!(output.contains(failed), "{output}");
        assert!(output.ends_with(", 1 repositories failed\n"), "{output}");
        assert!(output.contains("1 repositories reconciled, "), "{output}");
        assert!(log.contains("1 repositories could not be reconciled"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_refuses_its_list_is_an_error() {
    let folder = folder("refused");
    let start = async |listing| {
        StandIn::start_with(
            "team/app",
            &[("one", image_manifest(1))],
            Extras { listing, ..Extras::default() },
        )
        .await
    };
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let registry = start(Listing::Refused(status)).await;
        for options in [&[][..], &["--dry-run"]] {
            let (code, output, log) = reconciled(&folder, &registry.url, options);
            assert_eq!((code, output.as_str()), (Some(1), ""), "{log}");
            let refused =
                format!("list of repositories is refused, with the status {}", &status[..3]);
            assert!(log.contains(&refused), "{log}");
        }
        // Named repositories need no list.
        let named = ["--repository", "team/app"];
        let (code, output, log) = reconciled(&folder, &registry.url, &named);
        assert_eq!(code, Some(0), "{output}{log}");
    }
    let registry = start(Listing::Refused("404 Not Found")).await;
    // Any web server answers so.
    let (code, output, log) = reconciled(&self::folder("nothing-known"), &registry.url, &[]);
    assert_eq!((code, output.as_str()), (Some(1), ""), "{log}");
    assert!(log.contains("the catalog has none of it: is this its address?"), "{log}");
    // Another catalog, because the URI of the repository differs, too.
    let folder = self::folder("no-list");
    let (code, _, log) = reconciled(&folder, &registry.url, &["--repository", "team/app"]);
    assert_eq!(code, Some(0), "{log}");
    let (code, output, _) = reconciled(&folder, &registry.url, &[]);
    let known = "1 repositories reconciled, 0 differences repaired\n";
    assert_eq!((code, output.as_str()), (Some(0), known));

    // No list is requested from Docker Hub.
    let registry = start(Listing::Refused("401 Unauthorized")).await;
    let subscription = json!([{
        "id": "hub", "source": "docker-hub", "registryId": REGISTRY,
        "credential": { "bearer": "token" }, "registryUrl": registry.url,
    }]);
    let folder = self::folder("no-list-of-docker-hub");
    fs::write(folder.join("work/subscriptions.json"), subscription.to_string()).unwrap();
    let options = ["--subscriptions", "subscriptions.json"];
    let named = [&options[..], &["--repository", "team/app"]].concat();
    let (code, _, log) = reconciled(&folder, "hub", &named);
    assert_eq!(code, Some(0), "{log}");
    let (code, output, log) = reconciled(&folder, "hub", &options);
    assert_eq!((code, output.as_str()), (Some(0), known), "{log}");
}

/// The registry has an index that does not fit into an item of the table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_the_catalog_cannot_hold_is_skipped_and_named() {
    let folder = folder("skipped");
    let registry = StandIn::start("UPPER\u{1b}[31m", &[("v1", image_manifest(1))]).await;
    let (code, output, log) = reconciled(&folder, &registry.url, &[]);
    let rule = "must satisfy regular expression '[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*\
                (/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*'";
    let expected = format!(
        "skipped: the catalog cannot hold a repository named 'UPPER\u{fffd}[31m': {rule}\n\
         0 repositories reconciled, 0 differences repaired, 1 repositories skipped\n"
    );
    assert_eq!((code, output), (Some(1), expected), "{log}");
    assert!(!log.contains('\u{1b}'), "{log}");
}

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
            "{name}: the repository is missing or incomplete\n{name}: the image {image} is missing or incomplete\n\
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
