//! Options, and the program's output.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use end_to_end::harness::{Process, command, require, without_aws_configuration};
use serde_json::{Value, json};

use super::{OPTIONS, files, folder, run};

#[tokio::test]
async fn the_commands_of_the_greeting_work_as_printed() {
    let mut command = command(&folder("greeting"));
    command.args([
        "--in-memory",
        "--demo",
        "--registry",
        "210987654321",
        "--region",
        "eu-central-1",
    ]);
    let process = Process::start(command);
    assert!(!process.log().contains("WARN"), "{}", process.log());
    let first = process.greeting.lines().next().unwrap();
    for part in [process.url.as_str(), "210987654321", "in memory"] {
        assert!(first.contains(part), "{first} does not name {part}");
    }
    let printed = |program: &str| {
        let of_program = |line: &&str| line.split_whitespace().next() == Some(program);
        process.greeting.lines().find(of_program).unwrap().trim().to_owned()
    };
    let (curl, aws) = (printed("curl"), printed("aws"));
    for (program, line) in [("curl", curl), ("aws", aws)] {
        if require("the commands of the greeting", program).is_none() {
            continue;
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).env("AWS_PAGER", "");
        without_aws_configuration(&mut shell);
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        let response: Value = serde_json::from_slice(&output.stdout).unwrap();
        let images = response["imageDetails"].as_array().unwrap();
        assert_eq!(
            images.len(),
            3,
            "{line}: the demonstration has an index of two images: {response}"
        );
        assert!(images.iter().all(|image| image["registryId"] == "210987654321"), "{response}");
    }
}

/// Without them, `imageSizeInBytes` stays absent.
#[tokio::test]
async fn it_says_at_the_start_which_registries_are_not_asked() {
    let folder = folder("not_asked");
    let subscription = |id: &str, source: &str, url: Option<&str>| {
        let mut subscription = json!({
            "id": id, "source": source, "registryId": "210987654321",
            "credential": { "bearer": "token" },
        });
        if let Some(url) = url {
            subscription["registryUrl"] = json!(url);
        }
        subscription
    };
    let subscriptions = json!([
        subscription("harbor-1", "harbor", None),
        subscription("harbor-2", "harbor", Some("https://harbor.example")),
        subscription("artifactory-1", "artifactory", None),
        subscription("quay-1", "quay", None),
        subscription("zot-1", "zot", None),
    ]);
    fs::write(folder.join("work/subscriptions.json"), subscriptions.to_string()).unwrap();
    let log = |options: &[&str]| {
        let _ = fs::remove_file(folder.join("log"));
        let mut command = command(&folder);
        command.arg("--in-memory").args(options);
        command.envs([("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
        let mut process = Process::start(command);
        process.stop();
        process.log()
    };
    let ecr = "without --ecr-lookups there are no lookups in Amazon ECR";
    let others = "without --registry-url there are no lookups in other registries";
    let alone = log(&[]);
    assert_eq!((alone.matches(ecr).count(), alone.matches(others).count()), (1, 1), "{alone}");
    assert!(!alone.contains("everybody"), "{alone}");
    let open = log(&["--listen", "0.0.0.0:0"]);
    for what in ["without --subscriptions everybody", "without --callers everybody"] {
        assert_eq!(open.matches(what).count(), 1, "{open}");
    }
    let with_address = log(&["--registry-url", "https://registry.example"]);
    assert!(!with_address.contains(others), "{with_address}");
    let with_lookups = log(&["--ecr-lookups", "--subscriptions", "subscriptions.json"]);
    assert!(!with_lookups.contains(ecr) && !with_lookups.contains(others), "{with_lookups}");
    let lines: Vec<&str> =
        with_lookups.lines().filter(|line| line.contains("registryUrl")).collect();
    assert_eq!(lines.len(), 2, "{with_lookups}");
    assert!(lines[0].contains("harbor-1") && lines[1].contains("artifactory-1"), "{with_lookups}");
}

#[tokio::test]
async fn a_demonstration_fills_an_empty_catalog_only() {
    let folder = folder("demonstration");
    let start = |options: &[&str]| {
        let mut command = command(&folder);
        command.args(["--data", "data"]).args(options);
        Process::start(command)
    };
    let mut process = start(&[]);
    process.push("other/app", 1, "v1").await;
    process.stop();

    let mut process = start(&["--demo"]);
    let error = process.describe(json!({ "repositoryName": "team/app" })).await.unwrap_err();
    assert_eq!(error["__type"], "RepositoryNotFoundException");
    assert_eq!(process.tags("other/app").await, ["v1"]);
    assert!(process.log().contains("the catalog is not empty"), "{}", process.log());
    process.stop();

    fs::remove_dir_all(folder.join("work/data")).unwrap();
    let mut process = start(&["--demo"]);
    let demonstration = process.describe(json!({ "repositoryName": "team/app" })).await.unwrap();
    assert_eq!(demonstration["imageDetails"].as_array().unwrap().len(), 3);
    process.stop();
    let process = start(&["--demo"]);
    assert_eq!(
        process.describe(json!({ "repositoryName": "team/app" })).await.unwrap(),
        demonstration
    );
}

#[test]
fn help_lists_the_options() {
    let folder = folder("help");
    let output = run(command(&folder).arg("--help"));
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    for part in OPTIONS.iter().chain(&["AWS_ENDPOINT_URL_DYNAMODB", "RUST_LOG", "127.0.0.1:5015"]) {
        assert!(help.contains(part), "the help does not name {part}:\n{help}");
    }
    assert!(files(&folder.join("work")).is_empty());
}

#[test]
fn wrong_options_are_refused() {
    let folder = folder("wrong_options");
    let wrong: [(&[&str], &[&str]); 9] = [
        (&["--registry", "12"], &["--registry", "'12'", "length"]),
        (&["--registry", "12345678901x"], &["--registry", "'12345678901x'", "[0-9]{12}"]),
        (&["--listen", "nonsense"], &["--listen", "'nonsense'", "address"]),
        (&["--in-memory", "--data", "x"], &["--in-memory", "--data"]),
        (&["--data"], &["--data", "value"]),
        (&["--region"], &["--region", "value"]),
        (&["--registry-url", "ftp://a.example"], &["--registry-url", "not an http or https URL"]),
        (&["--unknown"], &["--unknown"]),
        (&["argument"], &["'argument'"]),
    ];
    for (options, parts) in wrong {
        let output = run(command(&folder).args(options));
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{options:?}: {error}");
        assert!(output.stdout.is_empty(), "{options:?}");
        for part in parts {
            assert!(error.contains(part), "{options:?}: {part} is not in: {error}");
        }
    }
    assert!(files(&folder.join("work")).is_empty());
}

#[test]
fn a_port_in_use_is_named() {
    let folder = folder("port_in_use");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let output = run(command(&folder).args(["--listen", &address]));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(&format!("cannot listen on {address}")), "{error}");
    assert!(error.contains("in use"), "{error}");
    assert!(output.stdout.is_empty(), "no greeting");
    assert!(files(&folder.join("work")).is_empty(), "the data of the other process is left alone");
}
