//! The program `image-catalog`: built, started, awaited, called, stopped and killed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Instant;

use serde_json::{Value, json};

use super::{KilledOnDrop, REGION, REGISTRY, START_LIMIT, digest, sample, time, wait_until};

/// The variable of the option `--listen`.
const LISTEN: &str = "IMAGE_CATALOG_LISTEN";

/// The binary `image-catalog`, built if necessary.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // With the features of the whole workspace, which the tests are built with.
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--workspace", "--bin", "image-catalog"]);
        build.args(["--profile", if cfg!(debug_assertions) { "test" } else { "release" }]);
        assert!(build.status().unwrap().success());
        let test = std::env::current_exe().unwrap();
        test.parent().and_then(Path::parent).unwrap().join("image-catalog")
    })
}

/// The program in the folder `work` of a test's folder, without this process's environment.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new(binary());
    let work = folder.join("work");
    fs::create_dir_all(&work).unwrap();
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    command.current_dir(&work).stdin(Stdio::null()).stderr(log);
    let variables = std::env::vars_os().map(|(name, _)| name);
    for variable in variables.filter(|name| name.to_string_lossy().starts_with("AWS_")) {
        command.env_remove(variable);
    }
    for variable in ["RUST_LOG", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", LISTEN] {
        command.env_remove(variable);
    }
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    // Files in these directories are found by the test.
    for variable in ["HOME", "TMPDIR", "SQLITE_TMPDIR"] {
        command.env(variable, &work);
    }
    command
}

/// The running program. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    pub child: KilledOnDrop,
    pub http: reqwest::Client,
    /// Its output.
    pub greeting: String,
    /// `http://127.0.0.1:<port>`
    pub url: String,
    lines: mpsc::Receiver<String>,
    log_file: PathBuf,
}

impl Process {
    /// Starts it, and waits for its greeting, after which it is ready.
    pub fn start(command: Command) -> Self {
        Self::spawn(command).ready()
    }

    /// Starts it with the directory `data` in its folder.
    pub fn start_with_data(folder: &Path) -> Self {
        let mut command = command(folder);
        command.args(["--data", "data"]);
        Self::start(command)
    }

    pub fn spawn(mut command: Command) -> Self {
        let has_address = command.get_args().any(|argument| argument == "--listen")
            || command.get_envs().any(|(name, value)| name == LISTEN && value.is_some());
        if !has_address {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let log_file = command.get_current_dir().unwrap().with_file_name("log");
        let mut child = KilledOnDrop(command.stdout(Stdio::piped()).spawn().unwrap());
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let (greeting, url) = (String::new(), String::new());
        Self { child, http: reqwest::Client::new(), greeting, url, lines, log_file }
    }

    #[must_use]
    pub fn ready(mut self) -> Self {
        let deadline = Instant::now() + START_LIMIT;
        // An empty line follows the address, and another one the commands.
        while self.greeting.matches("\n\n").count() < 2 {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.greeting.extend([line.as_str(), "\n"]),
                Err(error) => {
                    panic!("it does not greet ({error}): {}{}", self.greeting, self.log())
                }
            }
        }
        let address =
            self.greeting.split_once("http://").unwrap().1.split_whitespace().next().unwrap();
        self.url = format!("http://{address}");
        self
    }

    pub fn address(&self) -> SocketAddr {
        self.url["http://".len()..].parse().unwrap()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log_file).unwrap()
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status =
            Command::new("sh").args(["-c", r#"kill -s "$0" "$1""#, name, &id]).status().unwrap();
        assert!(status.success());
    }

    pub fn ended(&mut self) -> ExitStatus {
        wait_until("the process to end", START_LIMIT, || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap()
    }

    /// Stops it as a service manager does.
    pub fn stop(&mut self) {
        self.signal("TERM");
        assert_eq!(self.ended().code(), Some(0), "{}", self.log());
    }

    /// The private service's response, or its error.
    pub async fn describe(&self, request: Value) -> Result<Value, Value> {
        let response = self
            .http
            .post(format!("{}/", self.url))
            .header("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.DescribeImages")
            .json(&request)
            .send()
            .await
            .unwrap();
        let success = response.status().is_success();
        let body: Value = response.json().await.unwrap();
        if success { Ok(body) } else { Err(body) }
    }

    /// All tags of a repository, in order.
    pub async fn tags(&self, repository: &str) -> Vec<String> {
        let mut tags =
            tags_of(&self.describe(json!({ "repositoryName": repository })).await.unwrap());
        tags.sort();
        tags
    }

    /// Sends an event of a push. The time is the second with this number.
    pub async fn push(&self, repository: &str, number: u64, tag: &str) {
        let event = push_event(repository, number, tag);
        let response =
            self.http.post(format!("{}/events/ecr", self.url)).json(&event).send().await.unwrap();
        assert_eq!(response.status(), http::StatusCode::OK);
    }
}

/// The tags of all images of a page.
pub fn tags_of(page: &Value) -> Vec<String> {
    let images = page["imageDetails"].as_array().unwrap().iter();
    let tags = images.flat_map(|image| image["imageTags"].as_array().into_iter().flatten());
    tags.map(|tag| tag.as_str().unwrap().to_owned()).collect()
}

/// Amazon ECR's event of a push. The time is the second with this number.
pub fn push_event(repository: &str, number: u64, tag: &str) -> Value {
    let mut event: Value = serde_json::from_str(&sample("aws-ecr/image-action-push.json")).unwrap();
    event["account"] = json!(REGISTRY);
    event["region"] = json!(REGION);
    event["time"] = json!(time(i64::try_from(number).unwrap() * 1000));
    event["detail"]["repository-name"] = json!(repository);
    event["detail"]["image-digest"] = json!(digest(number));
    event["detail"]["image-tag"] = json!(tag);
    event
}
