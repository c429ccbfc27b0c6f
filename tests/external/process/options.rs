//! Options, and the program's output.

use std::fs;
use std::net::TcpListener;
use std::process::Stdio;

use end_to_end::harness::{KilledOnDrop, Process, command, free_port, wait_until_ready};
use serde_json::json;

use super::{OPTIONS, files, folder, refused_start, run};

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
    let wrong: [(&[&str], &[&str]); 26] = [
        (&["--registry", "12"], &["--registry", "'12'", "length"]),
        (&["--registry", "12345678901x"], &["--registry", "'12345678901x'", "[0-9]{12}"]),
        (&["--listen", "nonsense"], &["--listen", "'nonsense'", "address", "localhost:5015"]),
        (&["--listen", "localhost"], &["'localhost'", "not an address with a port"]),
        (&["--listen", "localhost:http"], &["'localhost:http'", "not an address with a port"]),
        (&["--listen", ":5015"], &["':5015'", "not an address with a port"]),
        (&["--listen", "::1:5015"], &["'::1:5015'", "not an address with a port"]),
        (&["--regoin", "eu-west-1"], &["--regoin", "a similar argument exists: '--region'"]),
        (&["reconcil"], &["'reconcil'", "a similar subcommand exists: 'reconcile'"]),
        (&["--in-memory", "--data", "x"], &["--in-memory", "--data"]),
        (&["--demo", "--data", "x"], &["--demo", "--data"]),
        (&["status", "--data", "x"], &["--data", "cannot be used with 'status'"]),
        (&["--data", "x", "status"], &["--data", "cannot be used with 'status'"]),
        (&["--data", "x", "ls", "--endpoint", "http://127.0.0.1"], &["--data", "--endpoint"]),
        (&["--data"], &["--data", "value"]),
        (&["--region"], &["--region", "value"]),
        (&["--registry-url", "ftp://a.example"], &["--registry-url", "not an http or https URL"]),
        (&["--registry-url", "http://a.example/b"], &["--registry-url", "must have no path"]),
        (&["--registry-url", "http://a.example?b"], &["--registry-url", "must have no path"]),
        (&["--table", ""], &["--table", "value"]),
        (&["--callers", "x", "--signing-name", ""], &["--signing-name", "value"]),
        (&["--reconcile-every", "1"], &["--reconcile-every", "'1'"]),
        (&["--reconcile-every", "0s"], &["--reconcile-every", "at least a second"]),
        (&["--metrics-listen", "nonsense"], &["--metrics-listen", "'nonsense'", "address"]),
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

/// Clients of such a name try IPv4, too.
#[tokio::test]
async fn a_name_is_resolved_to_listen_on_its_ipv4_address() {
    let mut command = command(&folder("listen_on_a_name"));
    command.args(["--in-memory", "--listen", "localhost:0"]);
    let process = Process::start(command);
    assert!(process.address().ip().is_loopback() && process.address().is_ipv4(), "{process:?}");
    assert!(!process.log().contains("everybody"), "{}", process.log());
}

#[test]
fn a_name_without_an_address_is_an_error() {
    let folder = folder("listen_on_no_name");
    let error = refused_start(&folder, command(&folder).args(["--listen", "catalog.invalid:5015"]));
    assert!(error.contains("cannot listen on catalog.invalid:5015: "), "{error}");
}

/// As in `image-catalog | head -1`.
#[tokio::test]
async fn it_serves_where_nobody_reads_the_greeting() {
    let folder = folder("unread_greeting");
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = command(&folder);
    command.args(["--in-memory", "--listen", &address]).stdout(Stdio::piped());
    let mut child = KilledOnDrop(command.spawn().unwrap());
    drop(child.stdout.take());
    wait_until_ready(&format!("http://{address}/healthz")).await;
    assert!(child.try_wait().unwrap().is_none());
}

/// As where the disk of the log is full.
#[tokio::test]
async fn it_serves_where_its_log_cannot_be_written() {
    let folder = folder("unwritable_log");
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = command(&folder);
    command.args(["--in-memory", "--listen", &address]).stdout(Stdio::null());
    command.stderr(fs::File::create("/dev/full").unwrap());
    let mut child = KilledOnDrop(command.spawn().unwrap());
    wait_until_ready(&format!("http://{address}/healthz")).await;
    let request = reqwest::Client::new()
        .post(format!("http://{address}/"))
        .header("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.DescribeImages")
        .body(r#"{"repositoryName":"team/app"}"#);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 400);
    assert!(response.text().await.unwrap().contains("RepositoryNotFoundException"));
    assert!(child.try_wait().unwrap().is_none());
}

/// To the AWS CLI, an empty endpoint is none. Another catalog serves what it has of these services.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_endpoint_of_a_service_is_that_of_all() {
    let aws = Process::start_with_data(&folder("empty_endpoint_of_another"));
    aws.push("team/app", 1, "v1").await;
    let queue = format!("{}/queue", aws.url);
    let folder = folder("empty_endpoint");
    let not_served = "UnknownOperationException";
    for (variable, arguments, code, text) in [
        (
            "ECR",
            &["reconcile", "--data", "data", "--from", "ecr"][..],
            0,
            "1 repositories reconciled",
        ),
        (
            "ECR_PUBLIC",
            &["reconcile", "--data", "data", "--from", "ecr-public"],
            0,
            "0 repositories reconciled",
        ),
        ("SECRETS_MANAGER", &["keys", "list", "--secret", "keys"], 1, not_served),
        ("SQS", &["replay", "--data", "data", "--queue", &queue], 1, not_served),
    ] {
        let mut command = command(&folder);
        command.args(arguments).env("AWS_ENDPOINT_URL", &aws.url);
        command.env(format!("AWS_ENDPOINT_URL_{variable}"), "");
        command.envs([("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]);
        let output = run(&mut command);
        let texts = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{variable}: {texts}");
        assert!(texts.contains(text), "{variable}: {texts}");
    }
}

/// Who starts it in another directory than they meant sees that.
#[tokio::test]
async fn a_new_directory_is_named_with_its_whole_path() {
    let folder = folder("new_directory");
    let data = folder.join("work/data");
    let created = format!("created a new, empty catalog in {}\n", data.display());
    let mut process = Process::start_with_data(&folder);
    assert!(process.log().contains(&created), "{}", process.log());
    assert!(process.greeting.contains(&format!("its data in {}", data.display())), "{process:?}");
    process.stop();
    fs::remove_file(folder.join("log")).unwrap();
    let process = Process::start_with_data(&folder);
    assert!(!process.log().contains("created"), "{}", process.log());
}

#[test]
fn a_port_in_use_is_named() {
    let folder = folder("port_in_use");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let error = refused_start(&folder, command(&folder).args(["--listen", &address]));
    assert!(error.contains(&format!("cannot listen on {address}")), "{error}");
    assert!(error.contains("in use"), "{error}");
}
