//! Debian's docker-registry, a registry of the CNCF's distribution that notifies the catalog.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{
    DOCKER_IMAGE, DOCKER_LIST, KilledOnDrop, OCI_IMAGE, OCI_INDEX, free_port, require,
    wait_until_ready,
};

/// The registry's notifications, and their endpoint.
#[derive(Debug, Clone)]
pub struct Notifications {
    /// The port of the registry.
    pub port: u16,
    pub url: String,
    /// Whether they contain a manifest's references.
    pub references: bool,
}

/// A registry, until it is dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    /// `127.0.0.1:<port>`
    pub address: String,
    /// The URL of its figures, as JSON.
    pub debug_url: String,
    pub http: reqwest::Client,
    program: PathBuf,
    folder: PathBuf,
    process: KilledOnDrop,
}

impl DockerRegistry {
    /// Starts it on an empty folder, and waits until it is ready; `None` if it is missing.
    pub async fn start(test: &str, folder: &Path, notifications: &Notifications) -> Option<Self> {
        Self::start_with(test, folder, notifications, None).await
    }

    /// The same, for the user `reader` with the password `password` alone.
    pub async fn start_with_password(
        test: &str,
        folder: &Path,
        notifications: &Notifications,
    ) -> Option<Self> {
        // `htpasswd -nbB reader password`
        let user = "reader:$2y$05$abcdefghijklmnopqrstuuWG29KuyeAicPCJODk1zjyGvyQUU2awu\n";
        let file = folder.join("htpasswd");
        fs::write(&file, user).unwrap();
        let auth = json!({ "htpasswd": { "realm": "registry", "path": file } });
        Self::start_with(test, folder, notifications, Some(auth)).await
    }

    async fn start_with(
        test: &str,
        folder: &Path,
        notifications: &Notifications,
        auth: Option<Value>,
    ) -> Option<Self> {
        let program = require(test, "docker-registry")?;
        let (port, debug_port) = (notifications.port, free_port());
        let mut configuration = json!({
            "version": 0.1,
            "log": { "level": "error", "accesslog": { "disabled": true } },
            "storage": {
                "filesystem": { "rootdirectory": folder.join("storage"), "maxthreads": 100 },
                "delete": { "enabled": true },
                "maintenance": { "uploadpurging": { "enabled": false } },
            },
            "http": {
                "addr": format!("127.0.0.1:{port}"),
                "debug": { "addr": format!("127.0.0.1:{debug_port}") },
            },
            "notifications": {
                "events": { "includereferences": notifications.references },
                "endpoints": [{
                    "name": "catalog",
                    "url": notifications.url,
                    "timeout": "1s",
                    "threshold": 1,
                    "backoff": "50ms",
                }],
            },
        });
        if let Some(auth) = auth {
            configuration["auth"] = auth;
        }
        // JSON is YAML.
        fs::write(folder.join("config.yml"), configuration.to_string()).unwrap();
        let registry = Self {
            address: format!("127.0.0.1:{port}"),
            debug_url: format!("http://127.0.0.1:{debug_port}/debug/vars"),
            http: reqwest::Client::new(),
            process: Self::spawn(&program, folder),
            program,
            folder: folder.to_owned(),
        };
        registry.wait_until_ready().await;
        Some(registry)
    }

    /// Kills it and starts it again. Pending notifications are lost.
    #[must_use]
    pub async fn kill_and_start(mut self) -> Self {
        self.process.kill();
        self.process = Self::spawn(&self.program, &self.folder);
        self.http = reqwest::Client::new();
        self.wait_until_ready().await;
        self
    }

    fn spawn(program: &Path, folder: &Path) -> KilledOnDrop {
        let mut command = Command::new(program);
        command.arg("serve").arg(folder.join("config.yml"));
        let log = folder.join("registry-log");
        let log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        KilledOnDrop(process.unwrap())
    }

    async fn wait_until_ready(&self) {
        wait_until_ready(&self.url("/v2/")).await;
        wait_until_ready(&self.debug_url).await;
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Digest and media type of a tag or digest, if it exists in the registry.
    pub async fn head(&self, repository: &str, reference: &str) -> Option<(String, String)> {
        let url = self.url(&format!("/v2/{repository}/manifests/{reference}"));
        let accepted = [OCI_IMAGE, OCI_INDEX, DOCKER_IMAGE, DOCKER_LIST].join(", ");
        let response = self.http.head(url).header("accept", accepted).send().await.unwrap();
        if response.status() == http::StatusCode::NOT_FOUND {
            return None;
        }
        let response = response.error_for_status().unwrap();
        let header = |name| response.headers()[name].to_str().unwrap().to_owned();
        Some((header("docker-content-digest"), header("content-type")))
    }
}
