//! External programs: their paths, and how they are started, awaited and ended.

use std::fmt::Display;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long a program may take to start or to end while other tests run.
pub const START_LIMIT: Duration = Duration::from_secs(60);

const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Prints a line that the test runner does not capture.
pub fn print(line: impl Display) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// The folder of the tools of `install-tools`.
pub fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools")
}

/// A program by its path; a bare name is looked up in `PATH`.
pub fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return Some(program.to_owned()).filter(|program| program.exists());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|program| program.is_file())
}

/// A program that a test needs. If it is missing, the test is skipped, which is printed; in CI it
/// fails.
pub fn require(test: &str, program: impl AsRef<Path>) -> Option<PathBuf> {
    let program = program.as_ref();
    let found = find(program);
    if found.is_none() {
        let reason =
            format!("skipped {test}: there is no {}; `make tools` installs it", program.display());
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        print(reason);
    }
    found
}

/// A folder for the tests' files, of this binary alone: other binaries may run at the same time.
pub fn temporary_folder() -> PathBuf {
    let binary = std::env::current_exe().unwrap();
    let temporary = binary.ancestors().nth(3).unwrap().join("tmp");
    let folder = temporary.join(binary.file_name().unwrap());
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// An empty folder in there, for the test with this name.
pub fn folder(name: &str) -> PathBuf {
    let folder = temporary_folder().join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// An unused port, for programs that cannot choose one.
///
/// It is below those that systems choose for outgoing connections. Otherwise, a connection of
/// another test could take it before the program does.
pub fn free_port() -> u16 {
    std::iter::repeat_with(|| 10_000 + RandomState::new().hash_one(()) % 20_000)
        .map(|port| u16::try_from(port).unwrap())
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

/// A process that does not outlive its test.
#[derive(Debug)]
pub struct KilledOnDrop(pub Child);

impl KilledOnDrop {
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Deref for KilledOnDrop {
    type Target = Child;
    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for KilledOnDrop {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {limit:?} for {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Waits until a condition that takes requests is true.
pub async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    eventually_within(START_LIMIT, what, condition).await;
}

/// The same with another limit.
pub async fn eventually_within(limit: Duration, what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited {limit:?} for {what}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Waits until there is any response, including an error.
pub async fn wait_until_ready(url: &str) {
    let http = reqwest::Client::new();
    let what = format!("a response from {url}");
    eventually(&what, async || http.get(url).send().await.is_ok()).await;
}

/// Removes the user's own profiles.
pub fn without_aws_configuration(command: &mut Command) {
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command.env_remove("AWS_PROFILE");
}

/// An AWS client with no other configuration than its home directory and what is added later.
pub fn clean_command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home)
        .env("TZ", "UTC")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_PAGER", "");
    command
}

/// A program's exit status and output.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn run(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}
