//! The catalog, in a process that is killed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use end_to_end::harness::{Process, command, free_port};
use serde_json::{Value, json};

use super::registry::{Registry, Repository};
use super::{CATALOG, Listing, REGISTRY};

/// The program `image-catalog` with its own data. It is killed when this is dropped.
pub(super) struct Catalog {
    pub(super) folder: PathBuf,
    pub(super) address: SocketAddr,
    pub(super) process: Process,
    registry_url: String,
}

impl Catalog {
    pub(super) fn start(folder: &Path, registry_url: String) -> Self {
        let address = SocketAddr::from((CATALOG, free_port()));
        let process = Self::serve(folder, address, &registry_url);
        Self { folder: folder.to_owned(), address, process, registry_url }
    }

    pub(super) fn command(folder: &Path) -> Command {
        let mut command = command(folder);
        command.args(["--data", "data"]).env("RUST_LOG", "warn");
        command
    }

    fn serve(folder: &Path, address: SocketAddr, registry_url: &str) -> Process {
        let mut command = Self::command(folder);
        command.args(["--listen", &address.to_string(), "--registry-url", registry_url]);
        Process::start(command)
    }

    pub(super) fn kill_and_start(&mut self) {
        self.process.child.kill();
        self.process = Self::serve(&self.folder, self.address, &self.registry_url);
    }

    /// Reconciles it with the registry, by another process beside the serving one. Returns the last
    /// line of output.
    pub(super) fn reconcile(&self, registry: &Registry) -> String {
        let mut command = Self::command(&self.folder);
        command.args(["reconcile", "--from", &registry.server.url(""), "--registry", REGISTRY]);
        let output = command.stdout(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{}", self.process.log());
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().last().unwrap().to_owned()
    }

    /// Lists a repository, page by page.
    pub(super) async fn listing(&self, repository: &Repository) -> Listing {
        let mut listing = Listing::new();
        let mut token = Value::Null;
        loop {
            let mut request = json!({
                "registryId": REGISTRY,
                "repositoryName": repository.name,
                "maxResults": 7,
                "filter": { "imageStatus": "ANY" },
            });
            if !token.is_null() {
                request["nextToken"] = token;
            }
            let request = self
                .process
                .http
                .post(format!("http://{}/DescribeImages", self.address))
                .header("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.DescribeImages")
                .body(request.to_string());
            let response = request.send().await.unwrap();
            let success = response.status().is_success();
            let page: Value = response.json().await.unwrap();
            assert!(success, "{}: {page}", repository.name);
            for image in page["imageDetails"].as_array().unwrap() {
                let tags = image["imageTags"].as_array().into_iter().flatten();
                let tags = tags.map(|tag| tag.as_str().unwrap().to_owned()).collect();
                let digest = image["imageDigest"].as_str().unwrap().to_owned();
                let before = listing.insert(digest, (tags, image["imageSizeInBytes"].as_i64()));
                assert!(before.is_none(), "{} lists an image twice", repository.name);
            }
            token = page["nextToken"].clone();
            if token.is_null() {
                return listing;
            }
        }
    }
}
