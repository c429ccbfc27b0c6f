//! `image-catalog keys`: access keys in a file, and in a secret.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use aws_sdk_ecr::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_ecr::error::ProvideErrorMetadata as _;
use end_to_end::harness::{Moto, Process, REGION, command, require, tools};
use serde_json::{Value, json};

use super::{folder, run};

const ARN: &str = "arn:aws:iam::123456789012:user/terraform";

/// The command, in the folder of a test.
fn keys(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = command(folder);
    command.arg("keys").args(arguments);
    command
}

/// What a command that succeeds prints.
fn printed(mut command: Command) -> String {
    let Output { status, stdout, stderr } = run(&mut command);
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

fn parsed(command: Command) -> Value {
    serde_json::from_str(&printed(command)).unwrap()
}

/// What a command that fails reports.
fn refused(mut command: Command) -> String {
    let Output { status, stdout, stderr } = run(&mut command);
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(!status.success() && stdout.is_empty(), "{command:?}: {stderr}");
    stderr
}

fn member<'a>(key: &'a Value, name: &str) -> &'a str {
    key["AccessKey"][name].as_str().unwrap()
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

/// The code of the error of a request with a key, if any.
async fn read(process: &Process, key: &Value) -> Option<String> {
    let secret = member(key, "SecretAccessKey");
    let credentials = Credentials::new(member(key, "AccessKeyId"), secret, None, None, "tests");
    let configuration = aws_sdk_ecr::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(credentials)
        .retry_config(aws_sdk_ecr::config::retry::RetryConfig::disabled())
        .endpoint_url(&process.url)
        .build();
    let client = aws_sdk_ecr::Client::from_conf(configuration);
    let read = client.describe_images().repository_name("demo/app").send().await;
    read.err().map(|error| error.code().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_key_is_valid_until_a_minute_after_it_is_disabled() {
    let folder = folder("keys");
    let of_file =
        |arguments: &[&str]| keys(&folder, &[arguments, &["--callers", "callers.json"]].concat());
    let first = parsed(of_file(&["add", ARN]));
    let id = member(&first, "AccessKeyId");
    let mut command = command(&folder);
    command.args(["--in-memory", "--callers", "callers.json"]);
    let process = Process::start(command);
    let exists = Some("RepositoryNotFoundException".to_owned());
    assert_eq!(read(&process, &first).await, exists);

    let second = parsed(of_file(&["rotate", id]));
    assert_ne!(member(&second, "AccessKeyId"), id);
    assert_ne!(member(&second, "SecretAccessKey"), member(&first, "SecretAccessKey"));
    assert_eq!(member(&second, "Arn"), ARN);
    assert_eq!(read(&process, &first).await, exists, "the earlier key stays valid");
    printed(of_file(&["disable", id]));
    let disabled = Instant::now();
    while read(&process, &first).await == exists {
        assert!(disabled.elapsed() < Duration::from_secs(65), "it is still valid");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(read(&process, &first).await.unwrap(), "UnrecognizedClientException");
    assert_eq!(read(&process, &second).await, exists, "the second key is known by then");
    // Who read, and with which key; never with which secret.
    let log = process.log();
    for part in [id, member(&second, "AccessKeyId"), ARN] {
        assert!(log.contains(part), "{part} is not in {log}");
    }
    for key in [&first, &second] {
        assert!(!log.contains(member(key, "SecretAccessKey")));
    }
}

#[test]
fn keys_are_printed_once_and_kept_for_their_owner() {
    let folder = folder("keys_of_a_file");
    let work = folder.join("work");
    let file = work.join("callers.json");
    let of_file =
        |arguments: &[&str]| keys(&folder, &[arguments, &["--callers", "callers.json"]].concat());
    let patterns = ["123456789012/team/*", "ecr-public/123456789012/*"];
    let first = parsed(of_file(&["add", ARN]));
    let second = parsed(of_file(&[
        "add",
        ARN,
        "--repositories",
        patterns[0],
        "--repositories",
        patterns[1],
    ]));
    assert_eq!(mode(&file), 0o600);
    for key in [&first, &second] {
        let (id, secret) = (member(key, "AccessKeyId"), member(key, "SecretAccessKey"));
        assert_eq!((id.len(), secret.len()), (20, 40));
        let is_base_32 = |character: char| matches!(character, 'A'..='Z' | '2'..='7');
        assert!(id.starts_with("IMGC") && id.chars().all(is_base_32), "{id}");
    }
    let listed = parsed(of_file(&["list"]));
    assert_eq!(
        listed,
        json!({ "AccessKeyMetadata": [
            { "AccessKeyId": member(&first, "AccessKeyId"), "Arn": ARN, "Status": "Active" },
            {
                "AccessKeyId": member(&second, "AccessKeyId"), "Arn": ARN, "Status": "Active",
                "Repositories": patterns
            },
        ] })
    );
    // A file of others stays behind its link, with its content, and becomes one of the owner alone.
    let elsewhere = folder.join("elsewhere.json");
    fs::rename(&file, &elsewhere).unwrap();
    fs::set_permissions(&elsewhere, Permissions::from_mode(0o644)).unwrap();
    symlink(&elsewhere, &file).unwrap();
    let mut entries: Value =
        serde_json::from_str(&fs::read_to_string(&elsewhere).unwrap()).unwrap();
    entries[0]["expiration"] = json!("2999-01-01T00:00:00Z");
    let session = json!({
        "accessKeyId": "SESSION", "secretAccessKey": "s", "sessionToken": "t", "arn": ARN
    });
    entries.as_array_mut().unwrap().push(session);
    fs::write(&elsewhere, entries.to_string()).unwrap();
    let third = parsed(of_file(&["rotate", member(&first, "AccessKeyId")]));
    assert_eq!(third["AccessKey"]["Expiration"], "2999-01-01T00:00:00Z");
    printed(of_file(&["disable", member(&second, "AccessKeyId")]));
    assert!(fs::symlink_metadata(&file).unwrap().is_symlink());
    assert_eq!(mode(&elsewhere), 0o640, "of its owner and its group");
    entries[1]["disabled"] = json!(true);
    let after: Value = serde_json::from_str(&fs::read_to_string(&elsewhere).unwrap()).unwrap();
    assert_eq!(after.as_array().unwrap()[..3], entries.as_array().unwrap()[..]);
    assert_eq!(after.as_array().unwrap().len(), 4);
    let listed = printed(of_file(&["list"]));
    assert!(listed.contains("Inactive"), "{listed}");
    for key in [&first, &second, &third] {
        assert!(!listed.contains(member(key, "SecretAccessKey")), "{listed}");
    }

    // What is not possible changes nothing.
    let before = fs::read_to_string(&elsewhere).unwrap();
    for (arguments, part) in [
        (&["disable", "NONE"][..], "callers.json: there is no access key 'NONE'"),
        (&["rotate", "NONE"], "callers.json: there is no access key 'NONE'"),
        (&["rotate", "SESSION"], "'SESSION' is the key of a session"),
        (&["add", "terraform"], "'terraform' is no ARN with an account"),
        (&["add", ARN, "--repositories", "team/*"], "'team/*' matches no repository"),
        (&["add", ARN, "--repositories", "123456789012/"], "'123456789012/' matches no"),
    ] {
        let error = refused(of_file(arguments));
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
    for arguments in [&["list"][..], &["list", "--callers", "a", "--secret", "b"], &["remove"]] {
        assert!(refused(keys(&folder, arguments)).contains("Usage"), "{arguments:?}");
    }
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), before);
    // An error contains no secret.
    for content in [r#""secret of nobody""#, r#"[{ "accessKeyId": 1 }]"#, "[", ""] {
        fs::write(&elsewhere, content).unwrap();
        let error = refused(of_file(&["add", ARN]));
        assert!(error.contains("callers.json: "), "{error}");
        assert!(!error.contains("secret of"), "{error}");
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), content);
    }
}

#[test]
fn changes_at_the_same_time_do_not_undo_each_other() {
    let folder = folder("keys_at_the_same_time");
    let arguments = ["add", ARN, "--callers", "callers.json"];
    let started: Vec<_> = (0..20)
        .map(|_| keys(&folder, &arguments).stdout(std::process::Stdio::piped()).spawn().unwrap())
        .collect();
    let ids: BTreeSet<String> = started
        .into_iter()
        .map(|process| {
            let output = process.wait_with_output().unwrap();
            let key: Value = serde_json::from_slice(&output.stdout).unwrap();
            member(&key, "AccessKeyId").to_owned()
        })
        .collect();
    let list = parsed(keys(&folder, &["list", "--callers", "callers.json"]));
    let list = list["AccessKeyMetadata"].as_array().unwrap();
    let listed = list.iter().map(|key| key["AccessKeyId"].as_str().unwrap().to_owned());
    assert_eq!((ids.len(), listed.collect::<BTreeSet<_>>()), (20, ids));
    let files: Vec<_> = fs::read_dir(folder.join("work"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(files, ["callers.json"]);
}

#[test]
fn keys_of_a_secret_are_changed_there() {
    let test = "keys_of_a_secret_are_changed_there";
    let Some(moto) = Moto::start(test) else { return };
    if require(test, tools().join("python/bin/aws")).is_none() {
        return;
    }
    let folder = folder("keys_of_a_secret");
    let create = ["secretsmanager", "create-secret", "--name", "callers", "--secret-string", "[]"];
    let secret = moto.aws(&create)["ARN"].as_str().unwrap().to_owned();
    let of_secret = |arguments: &[&str], secret: &str| {
        let mut command = keys(&folder, &[arguments, &["--secret", secret]].concat());
        command
            .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &moto.url)
            .envs([("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")])
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command
    };
    let first = parsed(of_secret(&["add", ARN], &secret));
    let second = parsed(of_secret(&["rotate", member(&first, "AccessKeyId")], "callers"));
    printed(of_secret(&["disable", member(&first, "AccessKeyId")], &secret));
    let current = || {
        let read = ["secretsmanager", "get-secret-value", "--secret-id", "callers"];
        let read = moto.aws(&[&read[..], &["--version-stage", "AWSCURRENT"]].concat());
        serde_json::from_str::<Value>(read["SecretString"].as_str().unwrap()).unwrap()
    };
    let expected = json!([
        {
            "accessKeyId": member(&first, "AccessKeyId"),
            "secretAccessKey": member(&first, "SecretAccessKey"), "arn": ARN, "disabled": true
        },
        {
            "accessKeyId": member(&second, "AccessKeyId"),
            "secretAccessKey": member(&second, "SecretAccessKey"), "arn": ARN
        },
    ]);
    assert_eq!(current(), expected);
    let listed = printed(of_secret(&["list"], "callers"));
    assert!(listed.contains("Inactive") && listed.contains(member(&second, "AccessKeyId")));
    for key in [&first, &second] {
        assert!(!listed.contains(member(key, "SecretAccessKey")), "{listed}");
    }
    let error = refused(of_secret(&["disable", "NONE"], &secret));
    assert!(error.contains("there is no access key 'NONE'"), "{error}");
    let error = refused(of_secret(&["list"], "none"));
    assert!(error.contains("ResourceNotFoundException") || error.contains("can't find"), "{error}");
    assert_eq!(current(), expected);
}
