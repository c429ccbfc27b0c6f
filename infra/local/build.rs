//! Sets `IMAGE_CATALOG_VERSION`, which `image-catalog --version` prints: the version of the package
//! and the commit.
//!
//! The commit is that of the variable `IMAGE_CATALOG_COMMIT`, or else that of the Git repository,
//! if this file is part of one. A build for development has none: every commit would build all
//! tests anew.

use std::env;
use std::path::Path;
use std::process::Command;

const COMMIT: &str = "IMAGE_CATALOG_COMMIT";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={COMMIT}");
    let given = env::var(COMMIT).ok().filter(|commit| !commit.is_empty());
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let build = match given {
        Some(commit) if !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            println!("cargo::error={COMMIT} is not a commit: {commit:?}");
            return;
        }
        Some(commit) => format!(" ({commit})"),
        None if is_release => commit().map(|commit| format!(" ({commit})")).unwrap_or_default(),
        None => " (development build)".to_owned(),
    };
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo::rustc-env=IMAGE_CATALOG_VERSION={version}{build}");
}

/// The commit of the repository that this file is part of, which need not be the one around it: the
/// source may have been unpacked anywhere.
fn commit() -> Option<String> {
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    // What HEAD is moved to is a line of its log, also when HEAD stays on its branch.
    for name in ["HEAD", "logs/HEAD"] {
        let file = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&file).exists() {
            println!("cargo::rerun-if-changed={file}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// What a command of Git prints. `None` if it fails, or if there is no Git.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
