//! The docker-registry, and its contents.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Instant;

use end_to_end::harness::{DockerRegistry, OCI_CONFIGURATION, OCI_IMAGE, OCI_INDEX, OCI_LAYER};
use serde_json::{Value, json};

use super::{DELIVERY_LIMIT, IMAGES, INDEXES, Listing, POLL_INTERVAL, REPOSITORIES};

/// A repository of the registry, and the manifests that can be pushed to it.
pub(super) struct Repository {
    pub(super) name: String,
    /// Images, then indexes of them.
    pub(super) manifests: Vec<Manifest>,
}

pub(super) struct Manifest {
    pub(super) media_type: &'static str,
    pub(super) text: String,
    pub(super) digest: String,
    /// The expected size in the catalog.
    pub(super) size: i64,
    /// Notifications of concurrent pushes and deletions of one digest can have the wrong order, and
    /// an untagged image cannot be listed to repair that.
    pub(super) alone: tokio::sync::Mutex<()>,
}

impl Manifest {
    pub(super) fn new(media_type: &'static str, manifest: &Value, size: i64) -> Self {
        let text = manifest.to_string();
        let digest = sha256(text.as_bytes());
        Self { media_type, text, digest, size, alone: tokio::sync::Mutex::default() }
    }

    pub(super) fn descriptor(&self) -> Value {
        descriptor(self.media_type, &self.digest, self.text.len())
    }
}

pub(super) fn descriptor(media_type: &str, digest: &str, size: usize) -> Value {
    json!({ "mediaType": media_type, "digest": digest, "size": size })
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    hash.as_ref().iter().fold("sha256:".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The registry's figures of its notifications.
#[derive(Debug, Clone, Copy)]
pub(super) struct Notifications {
    /// Pending notifications, without the one in flight.
    pub(super) pending: u64,
    pub(super) events: u64,
    pub(super) successes: u64,
    /// Deliveries that failed or got no response.
    pub(super) failures: u64,
}

impl std::fmt::Display for Notifications {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} notifications, {} deliveries of them in vain,",
            self.successes, self.failures
        )
    }
}

/// docker-registry, and the manifests that can be pushed to it.
pub(super) struct Registry {
    pub(super) server: DockerRegistry,
}

impl Registry {
    pub(super) async fn kill_and_start(self) -> Self {
        Self { server: self.server.kill_and_start().await }
    }

    pub(super) fn manifest_url(&self, repository: &Repository, reference: &str) -> String {
        format!("{}/v2/{}/manifests/{reference}", self.server.url(""), repository.name)
    }

    /// Uploads the blobs. Returns the manifests that can be pushed.
    pub(super) async fn fill(&self, indexes: bool) -> Vec<Repository> {
        let mut repositories = Vec::new();
        for number in 0..REPOSITORIES {
            let name = format!("team-{}/app-{number}", number % 3);
            let configuration =
                json!({ "architecture": "amd64", "os": "linux", "author": name }).to_string();
            self.upload(&name, configuration.as_bytes()).await;
            let mut layers = Vec::new();
            for layer in 0..6 {
                let bytes = vec![b'0' + layer; 100 << layer];
                self.upload(&name, &bytes).await;
                layers.push((sha256(&bytes), bytes.len()));
            }
            let mut manifests: Vec<Manifest> =
                (1..=IMAGES).map(|image| image_of(image, &configuration, &layers)).collect();
            for index in (0..INDEXES).filter(|_| indexes) {
                let images = &manifests[index * 3..index * 3 + 3];
                let manifest = json!({
                    "schemaVersion": 2,
                    "mediaType": OCI_INDEX,
                    "manifests": images.iter().map(Manifest::descriptor).collect::<Vec<_>>(),
                });
                let size = images.iter().map(|image| image.size).max().unwrap();
                manifests.push(Manifest::new(OCI_INDEX, &manifest, size));
            }
            repositories.push(Repository { name, manifests });
        }
        repositories
    }

    pub(super) async fn upload(&self, repository: &str, bytes: &[u8]) {
        let start = self
            .server
            .http
            .post(format!("{}/v2/{repository}/blobs/uploads/", self.server.url("")));
        let started = start.send().await.unwrap().error_for_status().unwrap();
        let location = started.headers()["location"].to_str().unwrap();
        let url = format!("{location}&digest={}", sha256(bytes));
        self.server
            .http
            .put(url)
            .body(bytes.to_vec())
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap();
    }

    pub(super) async fn notifications(&self) -> Notifications {
        let variables: Value = self
            .server
            .http
            .get(&self.server.debug_url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let metrics = &variables["registry"]["notifications"]["endpoints"][0]["Metrics"];
        let count =
            |name: &str| metrics[name].as_u64().unwrap_or_else(|| panic!("no {name}: {metrics}"));
        Notifications {
            pending: count("Pending"),
            events: count("Events"),
            successes: count("Successes"),
            failures: count("Failures") + count("Errors"),
        }
    }

    pub(super) async fn wait_until_delivered(&self) -> Notifications {
        let deadline = Instant::now() + DELIVERY_LIMIT;
        loop {
            let notifications = self.notifications().await;
            // The notification in flight is not counted as pending.
            if notifications.pending == 0 && notifications.successes >= notifications.events {
                return notifications;
            }
            assert!(Instant::now() < deadline, "the registry does not deliver: {notifications:?}");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// The registry's clock, as it sends it: in whole seconds.
    pub(super) async fn date(&self) -> String {
        let response =
            self.server.http.get(format!("{}/v2/", self.server.url(""))).send().await.unwrap();
        response.headers()["date"].to_str().unwrap().to_owned()
    }

    pub(super) async fn wait_for_another_second(&self) {
        let date = self.date().await;
        while self.date().await == date {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// The contents of a repository. The registry lists tags only. Every digest that was ever
    /// pushed is looked up.
    pub(super) async fn listing(&self, repository: &Repository) -> Listing {
        let mut listing = Listing::new();
        for manifest in &repository.manifests {
            if self.head(repository, &manifest.digest).await.is_some() {
                listing.insert(manifest.digest.clone(), (BTreeSet::new(), Some(manifest.size)));
            }
        }
        let url = format!("{}/v2/{}/tags/list", self.server.url(""), repository.name);
        let tags: Value = self.server.http.get(url).send().await.unwrap().json().await.unwrap();
        for tag in tags["tags"].as_array().into_iter().flatten() {
            let tag = tag.as_str().unwrap();
            // A deletion may leave a tag that points to nothing.
            if let Some(digest) = self.head(repository, tag).await {
                listing.get_mut(&digest).unwrap().0.insert(tag.to_owned());
            }
        }
        listing
    }

    /// The digest of a tag or digest, if it exists in the registry.
    pub(super) async fn head(&self, repository: &Repository, reference: &str) -> Option<String> {
        Some(self.server.head(&repository.name, reference).await?.0)
    }
}

/// An image with the layers that are the bits of its number, so that each has a different size.
pub(super) fn image_of(number: usize, configuration: &str, layers: &[(String, usize)]) -> Manifest {
    let has_layer = |layer: &usize| number & (1 << layer) != 0;
    let layers: Vec<&(String, usize)> =
        (0..layers.len()).filter(has_layer).map(|layer| &layers[layer]).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE,
        "config": descriptor(OCI_CONFIGURATION, &sha256(configuration.as_bytes()), configuration.len()),
        "layers": layers
            .iter()
            .map(|(digest, size)| descriptor(OCI_LAYER, digest, *size))
            .collect::<Vec<_>>(),
    });
    let size = configuration.len() + layers.iter().map(|(_, size)| size).sum::<usize>();
    Manifest::new(OCI_IMAGE, &manifest, i64::try_from(size).unwrap())
}
