//! `image-catalog reconcile`.

use end_to_end::harness::stand_in::{StandIn, digest_of, image_manifest, index_manifest};
use end_to_end::harness::{Process, REGISTRY, command};

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
