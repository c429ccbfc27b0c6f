//! The function `reconcile`.

use std::collections::BTreeSet;

use catalog::{Change, ChangeKind, RepositoryStatement, Service};
use end_to_end::harness::{digest, repository, time};
use serde_json::json;

use super::payloads::{batch, failed};
use super::surroundings::Surroundings;

/// Processes the queue until it is empty, beginning with the message of the schedule.
#[tokio::test(flavor = "multi_thread")]
async fn reconcile_processes_its_queue() {
    let Some(surroundings) = Surroundings::start("reconcile_processes_its_queue").await else {
        return;
    };
    let aws = |arguments: &[&str]| surroundings.moto.aws(arguments);
    let manifest = |name: &str| {
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "size": 5 },
            "annotations": { "name": name },
            "layers": [],
        })
        .to_string()
    };
    for name in ["team/app", "team/tool"] {
        aws(&["ecr", "create-repository", "--repository-name", name]);
        for tag in ["v1", "v2"] {
            let manifest = manifest(&format!("{name}:{tag}"));
            let digest = digest(if tag == "v1" { 1 } else { 2 }).to_string();
            let put = ["ecr", "put-image", "--repository-name", name, "--image-tag", tag];
            aws(&[&put[..], &["--image-digest", &digest, "--image-manifest", &manifest]].concat());
        }
    }
    // Both registries of the subscriptions cannot be listed. Their repositories must stay.
    let harbor = catalog::Repository {
        registry: catalog::RegistryId::parse("210987654321").unwrap(),
        ..repository("harbor/alpine")
    };
    let apply = async |repository: &catalog::Repository, kind| {
        let change = Change { repository: repository.clone(), time: time(0), kind };
        surroundings.store.writer.apply(&change).await.unwrap();
    };
    apply(&harbor, ChangeKind::RepositoryStated(RepositoryStatement::default())).await;
    // A repository of the account must stay, too: a subscription without an address may have it.
    apply(&repository("gone"), ChangeKind::RepositoryStated(RepositoryStatement::default())).await;

    let function = surroundings.function("reconcile");
    let mut waiting = vec![r#"{"reconcile": "registries"}"#.to_owned()];
    let mut processed = Vec::new();
    while let Some(body) = waiting.pop() {
        let (status, response) = function.invoke(&batch(&[("message", body.clone())])).await;
        assert_eq!((status, failed(&response)), (200, BTreeSet::new()), "{body}");
        processed.push(body);
        let received = surroundings.received(&surroundings.queue_url);
        waiting.extend(received.iter().map(|message| message["Body"].as_str().unwrap().to_owned()));
    }
    processed.sort();
    assert_eq!(
        processed,
        [
            r#"{"reconcile": "registries"}"#,
            r#"{"reconcile":"registry","from":"ecr"}"#,
            r#"{"reconcile":"repository","from":"ecr","name":"team/app","prune":false}"#,
            r#"{"reconcile":"repository","from":"ecr","name":"team/tool","prune":false}"#,
        ]
    );
    let filter = catalog::reader::Filter { tag_status: None, image_status: None };
    for name in ["team/app", "team/tool"] {
        let listed = surroundings.store.page(&repository(name), &filter, None, 10).await.unwrap();
        let mut tags: Vec<String> = listed
            .images
            .iter()
            .flat_map(|image| &image.image_tags)
            .map(ToString::to_string)
            .collect();
        tags.sort();
        assert_eq!(tags, ["v1", "v2"], "{name}");
        assert!(listed.images.iter().all(|image| image.image_size_in_bytes == Some(5)));
    }
    let mut known = surroundings
        .store
        .reader
        .repositories(Service::Ecr, &repository("any").registry)
        .await
        .unwrap();
    known.sort_by_key(ToString::to_string);
    assert_eq!(known, [repository("gone"), repository("team/app"), repository("team/tool")]);
    assert_eq!(function.metrics(&[])["RepositoriesReconciled"], 1);
    let drift = function.metrics(&["Kind"]);
    assert!(drift["Drift"].as_u64() > Some(0), "{drift}");
    let line = function
        .lines()
        .into_iter()
        .find(|line| line["message"] == "found the drift of a repository")
        .unwrap();
    assert_eq!(line["drift"], 5, "the repository, two images, two tags: {line}");

    // Messages that cannot be processed are delivered again.
    let strange = batch(&[
        ("no such registry", r#"{"reconcile":"registry","from":"harbor-1"}"#.to_owned()),
        ("no message", "{}".to_owned()),
    ]);
    let (_, response) = function.invoke(&strange).await;
    assert_eq!(failed(&response), BTreeSet::from(["no such registry", "no message"]));
}
