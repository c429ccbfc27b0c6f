//! The ways to install the standalone program: the container image, Compose, Helm and systemd; and
//! what they rely on: its version and its health check.

mod chart;
mod compose;
mod container;
mod health;
mod podman;
mod systemd;
mod version;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The project's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// An empty folder for one test.
fn folder(test: &str) -> PathBuf {
    end_to_end::harness::folder(&format!("install/{test}"))
}

/// Runs a program that must succeed, and returns its standard output.
fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let stdout = String::from_utf8(stdout).unwrap();
    assert!(
        status.success(),
        "{command:?}: {status}\n{stdout}{}",
        String::from_utf8_lossy(&stderr)
    );
    stdout
}
