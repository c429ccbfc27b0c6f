//! DynamoDB Local.

use std::process::{Command, Stdio};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};

use super::{KilledOnDrop, free_port, require, tools, wait_until_ready};

/// The vendor's standalone DynamoDB, until it is dropped.
#[derive(Debug)]
pub struct DynamoDbLocal {
    /// `http://127.0.0.1:<port>`
    pub url: String,
    _process: KilledOnDrop,
}

impl DynamoDbLocal {
    /// Starts it, in memory, and waits until it is ready; `None` if it, or Java, is missing.
    pub async fn start(test: &str) -> Option<Self> {
        let java = require(test, "java")?;
        let archive = require(test, tools().join("dynamodb-local/DynamoDBLocal.jar"))?;
        let port = free_port();
        let process = Command::new(java)
            // It creates a file in its working directory.
            .current_dir(archive.parent().unwrap())
            .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
            .arg(format!(
                "-Djava.library.path={}",
                archive.with_file_name("DynamoDBLocal_lib").display()
            ))
            .arg("-jar")
            .arg(archive)
            .args(["-inMemory", "-sharedDb", "-disableTelemetry", "-port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let local =
            Self { url: format!("http://127.0.0.1:{port}"), _process: KilledOnDrop(process) };
        wait_until_ready(&local.url).await;
        Some(local)
    }

    /// A client of this engine.
    pub fn client(&self) -> aws_sdk_dynamodb::Client {
        let configuration = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("local"))
            .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
            .endpoint_url(&self.url)
            .build();
        aws_sdk_dynamodb::Client::from_conf(configuration)
    }
}
