//! The file of the keys that seal page tokens.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use describe_images::page_token::Keyring;
use end_to_end::harness::{Process, command, tags_of};
use serde_json::{Value, json};

use super::{folder, run};

#[tokio::test]
async fn only_the_owner_can_read_the_keys() {
    let folder = folder("key_file_mode");
    let _process = Process::start_with_data(&folder);
    let mode = |path: &str| {
        fs::metadata(folder.join("work").join(path)).unwrap().permissions().mode() & 0o7777
    };
    assert_eq!(mode("data/page-token-keys"), 0o600);
    assert_eq!(mode("data"), 0o700);
}

#[tokio::test]
async fn tokens_outlive_a_restart_and_a_rotation() {
    let folder = folder("rotation");
    let mut process = Process::start_with_data(&folder);
    for number in 1..=3 {
        process.push("team/app", number, &format!("v{number}")).await;
    }
    let old = first_page(&process).await;
    assert_eq!(page(&process, &old).await.unwrap(), ["v2"]);
    process.stop();

    let mut process = Process::start_with_data(&folder);
    assert_eq!(page(&process, &old).await.unwrap(), ["v2"], "after a restart");
    process.stop();

    let key = fs::read_to_string(key_file(&folder)).unwrap();
    let new_key = Keyring::generate_key().unwrap();
    fs::write(key_file(&folder), format!("{new_key}{key}")).unwrap();
    let mut process = Process::start_with_data(&folder);
    assert_eq!(page(&process, &old).await.unwrap(), ["v2"], "after a new key was put on top");
    let new = first_page(&process).await;
    process.stop();

    fs::write(key_file(&folder), &new_key).unwrap();
    let process = Process::start_with_data(&folder);
    assert_eq!(page(&process, &new).await.unwrap(), ["v2"], "the key on top sealed the token");
    let error = page(&process, &old).await.unwrap_err();
    assert_eq!(error["__type"], "InvalidParameterException", "after the old key was removed");
    assert_eq!(
        error["message"],
        "Invalid parameter at 'nextToken' failed to satisfy constraint: 'Invalid token'"
    );
}

#[test]
fn a_broken_key_file_is_named_and_kept() {
    let folder = folder("broken_keys");
    fs::create_dir_all(key_file(&folder).parent().unwrap()).unwrap();
    let key = Keyring::generate_key().unwrap();
    for text in ["", "\n", "nonsense\n", &key[1..], &format!("{key}{}", &key[1..])] {
        fs::write(key_file(&folder), text).unwrap();
        let output = run(command(&folder).args(["--data", "data", "--listen", "127.0.0.1:0"]));
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text:?}: {error}");
        assert!(error.contains("data/page-token-keys: "), "{text:?}: {error}");
        assert!(error.contains("64 hexadecimal digits"), "{text:?}: {error}");
        assert!(!error.contains(&key[1..10]), "a key is in the log: {error}");
        assert!(output.stdout.is_empty(), "no greeting");
        assert_eq!(fs::read_to_string(key_file(&folder)).unwrap(), text);
    }
}

fn key_file(folder: &Path) -> PathBuf {
    folder.join("work/data/page-token-keys")
}

/// The token of a first page of one image.
async fn first_page(process: &Process) -> String {
    let request = json!({ "repositoryName": "team/app", "maxResults": 1 });
    let page = process.describe(request).await.unwrap();
    assert_eq!(page["imageDetails"][0]["imageTags"], json!(["v3"]));
    page["nextToken"].as_str().unwrap().to_owned()
}

/// The tags on the page of a token, or the error.
async fn page(process: &Process, token: &str) -> Result<Vec<String>, Value> {
    let request = json!({ "repositoryName": "team/app", "maxResults": 1, "nextToken": token });
    process.describe(request).await.map(|page| tags_of(&page))
}
