//! `image-catalog keys`: access keys in a file, and in a secret.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_ecr::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_ecr::error::ProvideErrorMetadata as _;
use end_to_end::harness::{Moto, Process, REGION, command, proxy, require, tools};
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
    let expired = json!({
        "accessKeyId": "EXPIRED", "secretAccessKey": "s", "arn": ARN,
        "expiration": "2026-01-01T00:00:00Z"
    });
    let mut entries = after;
    entries.as_array_mut().unwrap().push(expired);
    fs::write(&elsewhere, entries.to_string()).unwrap();
    let before = fs::read_to_string(&elsewhere).unwrap();
    for (arguments, part) in [
        (&["disable", "NONE"][..], "callers.json: there is no access key 'NONE'"),
        (&["rotate", "NONE"], "callers.json: there is no access key 'NONE'"),
        (&["rotate", "SESSION"], "'SESSION' is the key of a session"),
        (&["rotate", member(&second, "AccessKeyId")], "is disabled, and cannot be rotated: add"),
        (
            &["rotate", "EXPIRED"],
            "'EXPIRED' expired at 2026-01-01T00:00:00Z, and cannot be rotated",
        ),
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

/// A link to a file that is missing is not replaced: its file would be expected elsewhere.
#[test]
fn a_link_to_no_file_is_refused() {
    let folder = folder("keys_of_a_link");
    let link = folder.join("work/callers.json");
    fs::create_dir_all(folder.join("work")).unwrap();
    symlink(folder.join("none.json"), &link).unwrap();
    let error = refused(keys(&folder, &["add", ARN, "--callers", "callers.json"]));
    assert!(
        error.contains("callers.json: it is a symbolic link to a file that does not exist"),
        "{error}"
    );
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(!folder.join("none.json").exists());
}

/// The error says what is changed nevertheless.
#[test]
fn output_that_cannot_be_written_is_an_error() {
    let folder = folder("keys_without_output");
    let log = folder.join("stderr");
    let failed = |arguments: &[&str]| -> String {
        let mut command =
            keys(&folder, &[arguments, &["--callers", "callers of us.json"]].concat());
        command.stdout(OpenOptions::new().write(true).open("/dev/full").unwrap());
        command.stderr(File::create(&log).unwrap());
        assert_eq!(command.status().unwrap().code(), Some(1), "{command:?}");
        let error = fs::read_to_string(&log).unwrap();
        assert!(error.contains("No space left on device"), "{error}");
        assert!(!error.contains("panicked"), "{error}");
        error
    };
    let list = || {
        let list = parsed(keys(&folder, &["list", "--callers", "callers of us.json"]));
        list["AccessKeyMetadata"].as_array().unwrap().clone()
    };
    let created = |error: &str, key: &Value| {
        let id = key["AccessKeyId"].as_str().unwrap();
        let expected = format!(
            "'{id}' is stored, but its secret access key cannot be printed, and nobody knows it: \
             run image-catalog keys disable {id} --callers 'callers of us.json'"
        );
        assert!(error.contains(&expected), "{error}");
        id.to_owned()
    };
    let error = failed(&["add", ARN]);
    let id = created(&error, &list()[0]);
    let error = failed(&["rotate", &id]);
    created(&error, &list()[1]);
    failed(&["list"]);
    let error = failed(&["disable", &id]);
    let expected = format!("'{id}' is disabled, but that cannot be printed");
    assert!(error.contains(&expected), "{error}");
    assert_eq!(list()[0]["Status"], "Inactive");
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

/// A command for the keys of a secret.
fn keys_of_secret(folder: &Path, url: &str, arguments: &[&str], secret: &str) -> Command {
    let mut command = keys(folder, &[arguments, &["--secret", secret]].concat());
    command
        .env("AWS_ENDPOINT_URL_SECRETS_MANAGER", url)
        .envs([("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")])
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// A proxy to moto. `there` may change a request that makes a version the current one. With
/// `is_lost`, the response to it is lost.
fn wire(
    moto: &Moto,
    there: impl Fn(String) -> String + Clone + Send + 'static,
    is_lost: bool,
) -> String {
    let is_waited_for = Arc::new(AtomicBool::new(false));
    let is_answered = Arc::clone(&is_waited_for);
    let request = move |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        if !text.contains("UpdateSecretVersionStage") {
            return text.into_bytes();
        }
        is_waited_for.store(is_lost, Ordering::Relaxed);
        there(text).into_bytes()
    };
    let response = move |bytes: Vec<u8>| {
        if is_answered.swap(false, Ordering::Relaxed) {
            b"HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".to_vec()
        } else {
            bytes
        }
    };
    proxy(TcpListener::bind("127.0.0.1:0").unwrap(), &moto.url, request, response)
}

/// The version that a command writes may become the current one without the command being told.
#[test]
fn a_change_that_is_made_or_not_is_reported_as_such() {
    let test = "a_change_that_is_made_or_not_is_reported_as_such";
    let Some(moto) = Moto::start(test) else { return };
    if require(test, tools().join("python/bin/aws")).is_none() {
        return;
    }
    let folder = folder("keys_of_a_secret_on_a_wire");
    let create = ["secretsmanager", "create-secret", "--name", "callers", "--secret-string", "[]"];
    moto.aws(&create);
    let add = |url: &str| keys_of_secret(&folder, url, &["add", ARN], "callers");
    let listed = || {
        let list = parsed(keys_of_secret(&folder, &moto.url, &["list"], "callers"));
        let list = list["AccessKeyMetadata"].as_array().unwrap().clone();
        list.iter().map(|key| key["AccessKeyId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // It is made, and the response is lost. A second try is refused.
    let first = parsed(add(&wire(&moto, |request| request, true)));
    assert_eq!(listed(), [member(&first, "AccessKeyId")]);

    // It is refused.
    let refuse =
        |request: String| request.replace("UpdateSecretVersionStage", "UpdateSecretVersionStagX");
    let error = refused(add(&wire(&moto, refuse, false)));
    assert!(error.contains("nothing is changed: "), "{error}");
    assert_eq!(listed(), [member(&first, "AccessKeyId")]);

    // Another change comes first.
    let (other_folder, url) = (folder.clone(), moto.url.clone());
    let overtake = move |request: String| {
        printed(keys_of_secret(&other_folder, &url, &["add", ARN], "callers"));
        request
    };
    let error = refused(add(&wire(&moto, overtake, false)));
    let expected = "the secret was changed by somebody else meanwhile, so that this change is most \
                    probably missing; image-catalog keys list shows that: ";
    assert!(error.contains(expected), "{error}");
    let both = listed();
    assert_eq!((both.len(), &*both[0]), (2, member(&first, "AccessKeyId")), "{both:?}");

    // Nothing can be sent after the change.
    let is_broken = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&is_broken);
    let url = wire(
        &moto,
        move |request| {
            breaks.store(true, Ordering::Relaxed);
            request
        },
        true,
    );
    let cut = move |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        let is_broken = is_broken.load(Ordering::Relaxed);
        if is_broken { text.replace("GetSecretValue", "GetSecretValuX") } else { text }.into_bytes()
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = add(&proxy(listener, &url, cut, |bytes| bytes));
    command.env("AWS_MAX_ATTEMPTS", "1");
    let error = refused(command);
    let expected = "whether the secret is changed is not known; image-catalog keys list shows that";
    assert!(error.contains(expected), "{error}");
    assert_eq!(listed().len(), 3, "it is changed");
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
    let of_secret =
        |arguments: &[&str], secret: &str| keys_of_secret(&folder, &moto.url, arguments, secret);
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
