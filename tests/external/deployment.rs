//! What is deployed to AWS: the template, and the functions' binaries, as far as they can be tried
//! without AWS.

mod functions;
mod template;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use end_to_end::harness::{free_port, require, tools};
use serde_json::Value;

/// The project's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A program of the folder `deployment` among the tools; nothing where it is missing.
fn tool(test: &str, name: &str) -> Option<Command> {
    let program = require(test, tools().join("deployment/bin").join(name))?;
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new(&program);
    command
        .current_dir(root())
        // SAM looks there for cargo-lambda, which looks there for zig.
        .env("PATH", format!("{}:{path}", program.parent().unwrap().display()))
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("SAM_CLI_TELEMETRY", "0")
        .env_remove("CARGO_TARGET_DIR");
    Some(command)
}

/// Runs a program that must succeed.
fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The folder that `sam build` fills, once: the template, and a folder with `bootstrap` for each
/// function. Nothing where SAM is missing.
fn built(test: &str) -> Option<&'static Path> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let mut sam = tool(test, "sam")?;
    Some(BUILT.get_or_init(|| {
        let folder = root().join("target/sam");
        succeed(
            sam.args(["build", "--parameter-overrides", "Architecture=x86_64", "--build-dir"])
                .arg(&folder),
        );
        folder
    }))
}

/// A server of moto, which speaks many of AWS's services, until it is dropped.
struct Moto {
    url: String,
    process: Child,
}

impl Moto {
    fn start(test: &str) -> Option<Self> {
        let mut server = tool(test, "moto_server")?;
        let port = free_port();
        let process = server
            .args(["-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moto = Self { url: format!("http://127.0.0.1:{port}"), process };
        wait_for("moto", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(moto)
    }

    /// Runs a command of AWS CLI there, and reads what it prints.
    fn aws(&self, arguments: &[&str]) -> Value {
        let output = succeed(
            Command::new(tools().join("python/bin/aws"))
                .args(arguments)
                .args(["--endpoint-url", &self.url, "--output", "json"])
                .envs([("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")])
                .env("AWS_DEFAULT_REGION", "us-east-1"),
        );
        if output.stdout.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&output.stdout).unwrap()
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until something is so.
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
