//! `image-catalog replay`.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use end_to_end::harness::{KilledOnDrop, Process, command, push_event, sample};
use serde_json::json;

use super::{folder, run};

fn replay(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(command(folder).args(["replay", "--data", "data"]).args(arguments));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_file_of_events_is_applied_and_what_cannot_be_is_named() {
    let folder = folder("replay");
    let mut malformed = push_event("team/app", 2, "v2");
    malformed["time"] = json!("yesterday");
    // Written by hand: one event on several lines, and a list of two.
    let events = format!(
        "{:#}\n{malformed}\n\n{}",
        push_event("team/app", 1, "v1"),
        json!([push_event("team/app", 3, "v3"), push_event("other/app", 4, "v4")])
    );
    fs::write(folder.join("work/events.json"), events).unwrap();
    for _ in 0..2 {
        let (status, stdout, log) = replay(&folder, &["--file", "events.json"]);
        assert_eq!(status, Some(1), "{log}");
        assert!(stdout.starts_with("delivery 2: 'time' is not valid: "), "{stdout}");
        assert!(stdout.ends_with("\n2 deliveries applied, 1 not applied\n"), "{stdout}");
        assert!(log.contains("1 deliveries could not be applied"), "{log}");
    }
    let process = Process::start_with_data(&folder);
    let mut tags = process.tags("team/app").await;
    tags.sort();
    assert_eq!(tags, ["v1", "v3"]);
    assert_eq!(process.tags("other/app").await, ["v4"]);
}

/// Their time is that of the file, however often they are applied.
#[tokio::test]
async fn events_without_a_time_are_as_old_as_their_file() {
    let folder = folder("replay_times");
    let file = folder.join("work/webhooks.json");
    fs::write(&file, sample("jfrog-artifactory/docker-pushed.json")).unwrap();
    let written = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    fs::File::options().write(true).open(&file).unwrap().set_modified(written).unwrap();
    let repository = "docker-remote-cache/library/ubuntu";
    let pushed_at = async || {
        let process = Process::start_with_data(&folder);
        let described = process.describe(json!({ "repositoryName": repository })).await.unwrap();
        described["imageDetails"][0]["imagePushedAt"].clone()
    };
    for _ in 0..2 {
        let (status, stdout, log) =
            replay(&folder, &["--file", "webhooks.json", "--source", "artifactory"]);
        assert_eq!(
            (status, stdout.as_str()),
            (Some(0), "1 deliveries applied, 0 not applied\n"),
            "{log}"
        );
        assert_eq!(pushed_at().await, 1_767_225_600.0);
    }
    let earlier = ["--source", "artifactory", "--received-at", "2025-12-31T00:00:00Z"];
    assert_eq!(replay(&folder, &[&["--file", "webhooks.json"], &earlier[..]].concat()).0, Some(0));
    assert_eq!(pushed_at().await, 1_767_139_200.0);
}

#[test]
fn what_cannot_be_replayed_is_an_error() {
    let folder = folder("replay_wrong");
    fs::write(folder.join("work/cut.json"), r#"{"detail-type": "ECR"#).unwrap();
    for (arguments, code, part) in [
        // No message is taken out of the queue if the table does not exist.
        (
            &["--queue", "http://127.0.0.1:9/queue"][..],
            1,
            "process/replay_wrong/work/data, and AWS_ENDPOINT_URL_DYNAMODB is not set",
        ),
        (&["--file", "missing.json"], 1, "missing.json: No such file"),
        (&["--file", "cut.json", "--subscription", "x"], 1, "there is no subscription x"),
        (
            &["--file", "cut.json", "--source", "pigeon"],
            2,
            "the sources are ecr, distribution, harbor",
        ),
        (&["--file", "cut.json", "--received-at", "noon"], 2, "--received-at"),
        (&[], 2, "--file <FILE>"),
    ] {
        let (status, stdout, log) = replay(&folder, arguments);
        assert_eq!(status, Some(code), "{arguments:?}: {log}");
        assert!(log.contains(part) && stdout.is_empty(), "{arguments:?}: {log}");
    }
}

#[tokio::test]
async fn a_file_that_breaks_off_is_applied_up_to_there() {
    let folder = folder("replay_cut");
    let events = format!("{}\n{{\"detail-type\": \"ECR", push_event("team/app", 1, "v1"));
    fs::write(folder.join("work/cut.json"), events).unwrap();
    let (status, stdout, log) = replay(&folder, &["--file", "cut.json"]);
    let expected = "delivery 2: EOF while parsing a string at line 2 column 20\n\
                    1 deliveries applied, 1 not applied\n";
    assert_eq!((status, stdout.as_str()), (Some(1), expected), "{log}");
}

/// As in `image-catalog replay … | head -1`.
#[tokio::test]
async fn events_are_applied_to_the_last_where_nobody_reads_the_output() {
    let folder = folder("replay_unread");
    let mut events = "{}\n".repeat(20);
    events.push_str(&push_event("team/app", 1, "v1").to_string());
    fs::write(folder.join("work/events.json"), events).unwrap();
    let mut command = command(&folder);
    command.args(["replay", "--data", "data", "--file", "events.json"]);
    let mut child = KilledOnDrop(command.stdout(Stdio::piped()).spawn().unwrap());
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let log = fs::read_to_string(folder.join("log")).unwrap();
    assert!(log.ends_with("error: 20 deliveries could not be applied\n"), "{log}");
    assert_eq!(Process::start_with_data(&folder).tags("team/app").await, ["v1"]);
}
