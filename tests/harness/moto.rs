//! moto, a simulation of AWS services.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{KilledOnDrop, START_LIMIT, free_port, require, tools, wait_until};

/// A server, until it is dropped.
#[derive(Debug)]
pub struct Moto {
    /// `http://127.0.0.1:<port>`
    pub url: String,
    _process: KilledOnDrop,
}

impl Moto {
    /// An empty server; `None` if moto is missing.
    pub fn start(test: &str) -> Option<Self> {
        let server = require(test, tools().join("deployment/bin/moto_server"))?;
        Some(Self::spawn(|port| {
            let mut command = Command::new(server);
            command.args(["-p", &port.to_string()]);
            command
        }))
    }

    /// A server whose Amazon ECR has this many repositories of this many images.
    pub fn start_with_images(test: &str, repositories: usize, images: usize) -> Option<Self> {
        let python = require(test, tools().join("deployment/bin/python3"))?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/moto_with_images.py");
        Some(Self::spawn(|port| {
            let mut command = Command::new(python);
            command.arg(script).args([
                port.to_string(),
                repositories.to_string(),
                images.to_string(),
            ]);
            command
        }))
    }

    fn spawn(command: impl FnOnce(u16) -> Command) -> Self {
        let port = free_port();
        let mut command = command(port);
        command.env("AWS_DEFAULT_REGION", "us-east-1").env("AWS_EC2_METADATA_DISABLED", "true");
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let moto =
            Self { url: format!("http://127.0.0.1:{port}"), _process: KilledOnDrop(process) };
        wait_until("moto", START_LIMIT, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        moto
    }

    /// Runs a command of AWS CLI against this server, and parses its output.
    pub fn aws(&self, arguments: &[&str]) -> Value {
        self.aws_as("key", arguments)
    }

    /// The same in the account of an access key.
    pub fn aws_as(&self, access_key: &str, arguments: &[&str]) -> Value {
        let mut command = Command::new(tools().join("python/bin/aws"));
        command
            .args(arguments)
            .args(["--endpoint-url", &self.url, "--output", "json"])
            .envs([("AWS_ACCESS_KEY_ID", access_key), ("AWS_SECRET_ACCESS_KEY", "secret")])
            .env("AWS_DEFAULT_REGION", "us-east-1");
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {error}");
        if output.stdout.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&output.stdout).unwrap()
        }
    }
}
