//! What the program prints when it is ready: the commands work as they are printed.

use std::fs;
use std::path::Path;
use std::process::Command;

use end_to_end::harness::stand_in::{StandIn, image_manifest};
use end_to_end::harness::{Process, command, require, without_aws_configuration};
use serde_json::{Value, json};

use super::folder;

/// The lines with commands of a program.
fn commands(process: &Process, program: &str) -> Vec<String> {
    let lines = process.greeting.lines().filter_map(|line| line.strip_prefix("  "));
    lines.filter(|line| line.split(' ').next() == Some(program)).map(str::to_owned).collect()
}

/// Runs a command as a user pastes it, and returns the images that it prints.
fn images(folder: &Path, line: &str) -> Vec<Value> {
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(folder).env("AWS_PAGER", "");
    shell.envs([("AWS_ACCESS_KEY_ID", "AKIDREADER"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
    without_aws_configuration(&mut shell);
    let output = shell.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {error}");
    let response: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{line}: {}", String::from_utf8_lossy(&output.stdout)));
    let images = response["imageDetails"].as_array();
    images.unwrap_or_else(|| panic!("{line}: {response}")).clone()
}

#[tokio::test]
async fn the_commands_of_the_greeting_work_as_printed() {
    let test = "the_commands_of_the_greeting_work_as_printed";
    let folder = folder("greeting");
    let mut demo = command(&folder);
    demo.args(["--demo", "--registry", "210987654321", "--region", "eu-central-1"]);
    let process = Process::start(demo);
    assert!(!process.log().contains("WARN"), "{}", process.log());
    let first = process.greeting.lines().next().unwrap();
    for part in [process.url.as_str(), "registry 210987654321", "with sample images in memory"] {
        assert!(first.contains(part), "{first} does not contain {part}");
    }
    for program in ["curl", "aws"] {
        let [line] = &commands(&process, program)[..] else { panic!("{}", process.greeting) };
        if require(test, program).is_some() {
            let images = images(&folder, line);
            assert_eq!(images.len(), 5, "{line}: {images:?}");
            assert!(images.iter().all(|image| image["registryId"] == "210987654321"), "{images:?}");
        }
    }
}

#[tokio::test]
async fn the_commands_read_a_repository_that_exists() {
    let test = "the_commands_read_a_repository_that_exists";
    let folder = folder("greeting_of_what_exists");
    let callers = json!([{
        "accessKeyId": "AKIDREADER", "secretAccessKey": "secret",
        "arn": "arn:aws:iam::123456789012:user/reader",
    }]);
    fs::write(folder.join("work/callers.json"), callers.to_string()).unwrap();
    Process::start_with_data(&folder).push("a/repository", 1, "v1").await;
    let signed = ["--callers", "callers.json"];
    let signed_for_others = ["--callers", "callers.json", "--signing-name", "execute-api"];
    for (options, service, has_aws) in [
        (&[][..], None, true),
        (&signed, Some("ecr or ecr-public"), true),
        (&signed_for_others, Some("execute-api"), false),
    ] {
        let mut command = command(&folder);
        command.args(["--data", "data"]).args(options);
        let process = Process::start(command);
        let first = process.greeting.lines().next().unwrap();
        let says = service.map(|service| {
            format!("signed for {service} in us-east-1 with an access key of callers.json")
        });
        assert!(first.contains(&says.clone().unwrap_or_default()), "{first}: {says:?}");
        assert_eq!(first.contains("signed"), says.is_some(), "{first}");
        assert_eq!(commands(&process, "aws").len(), usize::from(has_aws), "{}", process.greeting);
        for program in ["curl", "aws"] {
            if require(test, program).is_none() {
                continue;
            }
            for line in commands(&process, program) {
                let images = images(&folder, &line);
                assert_eq!(images[0]["imageTags"], json!(["v1"]), "{line}");
                assert_eq!(images[0]["repositoryName"], "a/repository", "{line}");
            }
        }
    }
}

/// Only this service has a repository.
#[tokio::test]
async fn the_commands_read_the_service_of_the_repository() {
    let test = "the_commands_read_the_service_of_the_repository";
    let folder = folder("greeting_of_a_public_repository");
    let started = Process::start_with_data(&folder);
    let event = end_to_end::harness::sample("aws-ecr-public/cloudtrail-put-image.json");
    let sent = started.http.post(format!("{}/events/ecr", started.url)).body(event).send();
    assert!(sent.await.unwrap().status().is_success());
    drop(started);
    let process = Process::start_with_data(&folder);
    for program in ["curl", "aws"] {
        let [line] = &commands(&process, program)[..] else { panic!("{}", process.greeting) };
        if require(test, program).is_some() {
            assert_eq!(images(&folder, line).len(), 1, "{line}");
        }
    }
}

#[tokio::test]
async fn an_empty_catalog_says_how_to_fill_it() {
    let folder = folder("greeting_of_an_empty_catalog");
    let process = Process::start_with_data(&folder);
    let first = process.greeting.lines().next().unwrap();
    assert!(first.ends_with(" Registry 123456789012 has no repository yet. Fill it:"), "{first}");
    assert!(!process.greeting.contains("describe-images"), "{}", process.greeting);
    assert!(process.greeting.contains(&format!("  {}/events/SOURCE ", process.url)));
    let registry = StandIn::start("team/app", &[("v1", image_manifest(100))]).await;
    let mut lines = process.greeting.lines().filter(|line| line.contains(" reconcile --from "));
    let line = lines.next().unwrap().replace("http://localhost:5000", &registry.url);
    let mut shell = tokio::task::spawn_blocking(move || {
        Command::new("sh").args(["-c", &line]).current_dir(folder.join("work")).output().unwrap()
    });
    let output = (&mut shell).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(process.tags("team/app").await, ["v1"]);
    // In memory, another process cannot fill it.
    let mut in_memory = command(&super::folder("greeting_in_memory"));
    in_memory.arg("--in-memory");
    let process = Process::start(in_memory);
    assert!(!process.greeting.contains("reconcile"), "{}", process.greeting);
    assert!(process.greeting.contains("/events/SOURCE"), "{}", process.greeting);
}

/// `0.0.0.0` is no address of a server.
#[tokio::test]
async fn on_all_addresses_the_commands_use_the_loopback_address() {
    let mut command = command(&folder("greeting_on_all_addresses"));
    command.args(["--demo", "--listen", "0.0.0.0:0"]);
    let process = Process::start(command);
    let port = process.url.rsplit(':').next().unwrap();
    for program in ["curl", "aws"] {
        let lines = commands(&process, program);
        assert!(lines[0].contains(&format!(" http://127.0.0.1:{port} ")), "{lines:?}");
    }
    assert!(process.log().contains("everybody who reaches"), "{}", process.log());
}
