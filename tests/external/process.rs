//! The program `image-catalog` itself: its options, its signals, its files, and recovery after it
//! is killed.

mod attacks;
mod aws_config;
mod crashes;
mod demo;
mod figures;
mod greeting;
mod keys;
mod lookups;
mod ls;
mod metrics;
mod options;
mod page_token_keys;
mod reconcile;
mod replay;
mod secrets;
mod shells;
mod signals;
mod status;
mod stores;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use catalog::Timestamp;
use end_to_end::harness::{KilledOnDrop, REGION, REGISTRY, command, wait_until};
use serde_json::{Value, json};

/// How long a process may take to end, or for any other step.
const LIMIT: Duration = Duration::from_secs(5);
const OPTIONS: [&str; 23] = [
    "aws-config",
    "reconcile",
    "replay",
    "keys",
    "ls",
    "status",
    "completions",
    "man",
    "--listen",
    "--data",
    "--in-memory",
    "--registry",
    "--service",
    "--region",
    "--callers",
    "--signing-name",
    "--subscriptions",
    "--ecr-lookups",
    "--reconcile-every",
    "--metrics-listen",
    "--table",
    "--demo",
    "--no-page",
];

/// An empty folder for one test, with the folder `work` in it.
fn folder(test: &str) -> PathBuf {
    let folder = end_to_end::harness::folder(&format!("process/{test}"));
    fs::create_dir(folder.join("work")).unwrap();
    folder
}

/// The program after a command of the shell that limits it.
fn limited(folder: &Path, limit: &str) -> Command {
    let inner = command(folder);
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!(r#"{limit} && exec "$0" "$@""#)]).arg(inner.get_program());
    limited.current_dir(inner.get_current_dir().unwrap());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let log = fs::File::create(folder.join("log")).unwrap();
    limited.stdin(Stdio::null()).stderr(log);
    limited
}

/// Runs a program to its end, within the limit.
fn run(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = KilledOnDrop(child);
    wait_until("the program to end", LIMIT, || child.0.try_wait().unwrap().is_some());
    let mut output =
        Output { status: child.0.wait().unwrap(), stdout: Vec::new(), stderr: Vec::new() };
    child.0.stdout.take().unwrap().read_to_end(&mut output.stdout).unwrap();
    child.0.stderr.take().unwrap().read_to_end(&mut output.stderr).unwrap();
    output
}

/// The error of a start that leaves no files in the working directory.
fn refused_start(folder: &Path, command: &mut Command) -> String {
    let output = run(command);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(output.stdout.is_empty(), "there is no greeting: {error}");
    assert!(files(&folder.join("work")).is_empty(), "no files are left: {error}");
    error
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The envelope of Amazon EventBridge.
fn event_bridge_event(detail_type: &str, at: Timestamp, detail: &Value) -> Value {
    json!({
        "version": "0",
        "id": "13cde686-328b-6117-af20-0e5566167482",
        "detail-type": detail_type,
        "source": "aws.ecr",
        "account": REGISTRY,
        "time": at,
        "region": REGION,
        "resources": [],
        "detail": detail
    })
}
