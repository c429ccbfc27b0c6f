//! What is deployed to AWS: the template, and the functions' binaries, as far as they can be tested
//! without AWS.

mod functions;
mod recovery;
mod template;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use end_to_end::harness::{require, tools};

/// The project's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A program of the folder `deployment` among the tools; `None` if it is missing.
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
/// function. `None` if SAM is missing.
fn built(test: &str) -> Option<&'static Path> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let mut sam = tool(test, "sam")?;
    Some(BUILT.get_or_init(|| {
        let folder = root().join("target/sam");
        succeed(
            // The optimizations of the release profile take ten minutes and do not change behavior.
            sam.env("CARGO_PROFILE_RELEASE_LTO", "off")
                .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
                .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
                .args(["build", "--parameter-overrides", "Architecture=x86_64", "--build-dir"])
                .arg(&folder),
        );
        folder
    }))
}
