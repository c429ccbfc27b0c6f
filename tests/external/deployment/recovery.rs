//! The commands of `docs/recovery.md`, in their order, on a server of moto.

use std::path::Path;
use std::process::Command;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use catalog::change::Content;
use catalog::{Change, ChangeKind};
use end_to_end::harness::{Moto, Store, digest, folder, repository, require, tag, time, tools};
use serde_json::{Value, json};

use crate::deployment::{root, succeed};

/// The values of the page's placeholders; the longer names first, because they contain others.
const VALUES: [(&str, &str); 6] = [
    ("FORMER-SUBSCRIPTIONS-SECRET-ARN", "former-subscriptions"),
    ("FORMER-PAGE-TOKEN-SECRET-ARN", "former-page-token"),
    ("SUBSCRIPTIONS-SECRET-ARN", "subscriptions"),
    ("RESTORED", "restored"),
    ("TABLE", "image-catalog"),
    ("STACK", "catalog"),
];

/// The commands of a section: before the deployment, and after it.
fn commands(section: &str) -> [Vec<String>; 2] {
    let page = std::fs::read_to_string(root().join("docs/recovery.md")).unwrap();
    let (_, section) = page.split_once(&format!("\n## {section}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut commands: Vec<String> = section
        .lines()
        .filter_map(|line| line.strip_prefix("       "))
        .map(|command| {
            VALUES
                .iter()
                .fold(command.to_owned(), |command, (name, value)| command.replace(name, value))
        })
        .collect();
    let deployed = commands.iter().position(|command| command.starts_with("sam build")).unwrap();
    let after = commands.split_off(deployed + 1);
    let deploy = commands.pop().unwrap();
    assert!(deploy.contains("sam deploy --parameter-overrides ExistingTable="), "{deploy}");
    [commands, after]
}

/// Runs commands in a shell, those of AWS CLI against a server of moto.
fn run(moto: &Moto, folder: &Path, commands: &[String]) {
    let path = std::env::var("PATH").unwrap();
    for command in commands.iter().filter(|command| !command.starts_with("sam ")) {
        succeed(
            Command::new("sh")
                .args(["-euc", command])
                .current_dir(folder)
                .env("PATH", format!("{}:{path}", tools().join("python/bin").display()))
                .envs([("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")])
                .envs([("AWS_ENDPOINT_URL", moto.url.as_str()), ("AWS_REGION", "us-east-1")])
                .env("AWS_DEFAULT_REGION", "us-east-1"),
        );
    }
}

/// A client of moto's DynamoDB.
fn client(moto: &Moto) -> aws_sdk_dynamodb::Client {
    let configuration = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "tests"))
        .endpoint_url(&moto.url)
        .build();
    aws_sdk_dynamodb::Client::from_conf(configuration)
}

#[tokio::test]
async fn a_restored_table_has_the_images_and_the_settings_of_the_stack() {
    let test = "a_restored_table_has_the_images_and_the_settings_of_the_stack";
    let Some(moto) = Moto::start(test) else { return };
    if require(test, tools().join("python/bin/aws")).is_none() {
        return;
    }
    let store = Store::new(client(&moto)).await;
    let change = Change {
        repository: repository("team/app"),
        time: time(1),
        kind: ChangeKind::ImagePushed {
            digest: digest(1),
            tag: Some(tag("v1")),
            content: Content::default(),
        },
    };
    store.writer.apply(&change).await.unwrap();
    let folder = folder("restore");
    let [before, after] = commands("Return to a former state of the table");
    run(&moto, &folder, &before);

    let table = ["--table-name", "restored"];
    let described = |operation: &str| moto.aws(&[&["dynamodb", operation][..], &table].concat());
    let table = described("describe-table")["Table"].clone();
    assert_eq!(table["DeletionProtectionEnabled"], true);
    assert_eq!(table["GlobalSecondaryIndexes"][0]["IndexName"], "tag-status");
    assert_eq!(
        described("describe-time-to-live")["TimeToLiveDescription"],
        json!({ "AttributeName": "expiresAt", "TimeToLiveStatus": "ENABLED" })
    );
    let backups = described("describe-continuous-backups");
    let recovery = &backups["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"];
    assert_eq!(recovery["PointInTimeRecoveryStatus"], "ENABLED");
    let restored = catalog::Table { client: client(&moto), name: "restored".to_owned() };
    restored.check_format().await.unwrap();
    let reader = catalog::Reader::new(restored);
    let filter = catalog::reader::Filter { tag_status: None, image_status: None };
    let mut listing = reader.list(&repository("team/app"), &filter, None, 10).await.unwrap();
    let image = listing.next().await.unwrap().unwrap().image().unwrap();
    assert_eq!(image.image_digest, digest(1));

    run(&moto, &folder, &after);
    assert_eq!(moto.aws(&["dynamodb", "list-tables"])["TableNames"], json!(["restored"]));
}

#[test]
fn the_secrets_of_a_deleted_stack_move_to_the_next_one() {
    let test = "the_secrets_of_a_deleted_stack_move_to_the_next_one";
    let Some(moto) = Moto::start(test) else { return };
    if require(test, tools().join("python/bin/aws")).is_none() {
        return;
    }
    let secrets = [
        ("former-subscriptions", r#"[{"id": "harbor"}]"#),
        ("former-page-token", "0123456789abcdef"),
        ("subscriptions", "[]"),
    ];
    for (name, value) in secrets {
        let create = ["secretsmanager", "create-secret", "--name", name, "--secret-string", value];
        moto.aws(&create);
    }
    let template = json!({
        "Resources": { "Queue": { "Type": "AWS::SQS::Queue" } },
        "Outputs": { "TableName": { "Value": "image-catalog" } },
    });
    let create = ["cloudformation", "create-stack", "--stack-name", "catalog"];
    moto.aws(&[&create[..], &["--template-body", &template.to_string()]].concat());
    let folder = folder("return");
    let [before, after] = commands("Delete a stack and return");
    run(&moto, &folder, &before);
    let outputs = std::fs::read_to_string(folder.join("outputs.json")).unwrap();
    let outputs: Value = serde_json::from_str(&outputs).unwrap();
    assert_eq!(outputs[0]["OutputValue"], "image-catalog");

    run(&moto, &folder, &after);
    let get = ["secretsmanager", "get-secret-value", "--secret-id", "subscriptions"];
    // The shell's output ends with a line feed, which JSON allows.
    let copied = moto.aws(&get)["SecretString"].as_str().unwrap().trim_end().to_owned();
    assert_eq!(copied, secrets[0].1);
    assert!(!folder.join("subscriptions.json").exists());
    let listed = moto.aws(&["secretsmanager", "list-secrets"]);
    let names: Vec<&Value> =
        listed["SecretList"].as_array().unwrap().iter().map(|secret| &secret["Name"]).collect();
    assert_eq!(names, ["subscriptions"]);
}
