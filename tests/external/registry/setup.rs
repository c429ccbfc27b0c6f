//! A docker-registry that notifies a catalog, and skopeo, which pushes to it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use catalog::{RegistryId, Timestamp};
use describe_images::page_token::Keyring;
use end_to_end::harness::{
    Catalog, DockerRegistry, Notifications, REGISTRY, Store, folder, free_port, print, require,
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::MutexGuard;

use super::layout::Layout;
use super::{LIMIT, ONE_AT_A_TIME, POLL_INTERVAL, REPOSITORY, described};

/// A registry, the catalog that it notifies, and a folder for both.
pub(super) struct Setup {
    pub(super) name: String,
    pub(super) registry: DockerRegistry,
    pub(super) catalog: StoppableCatalog,
    pub(super) folder: PathBuf,
    pub(super) skopeo: PathBuf,
    pub(super) _turn: MutexGuard<'static, ()>,
}

/// An operation, and its time.
pub(super) struct Done {
    /// The digest of the pushed image, as skopeo prints it.
    pub(super) digest: String,
    /// In milliseconds since the beginning of 1970.
    pub(super) during: RangeInclusive<i64>,
    pub(super) returned: Instant,
}

impl Done {
    /// An operation that ends now.
    pub(super) fn since(from: i64) -> Self {
        let returned = Instant::now();
        Self { digest: String::new(), during: from..=now(), returned }
    }
}

impl Setup {
    pub(super) async fn start(test: &str, references: bool) -> Option<Self> {
        let skopeo = require(test, "skopeo")?;
        let turn = ONE_AT_A_TIME.lock().await;
        let mode = if references { "with references" } else { "without references" };
        let folder = folder(&format!("registry/{mode}/{test}"));
        let port = free_port();
        let mut catalog = StoppableCatalog::new(&format!("http://127.0.0.1:{port}")).await;
        catalog.start().await;
        let url = format!("http://{}/events/distribution?registry={REGISTRY}", catalog.address);
        let registry =
            DockerRegistry::start(test, &folder, &Notifications { port, url, references }).await?;
        Some(Self {
            name: format!("registry {mode}"),
            registry,
            catalog,
            folder,
            skopeo,
            _turn: turn,
        })
    }

    /// The number of images in the catalog, once it is the expected one or the time limit has
    /// passed.
    pub(super) async fn images_after(&self, done: &Done, expected: usize) -> usize {
        loop {
            let images = described(&self.catalog.store).await.len();
            if images == expected || done.returned.elapsed() > LIMIT {
                return images;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// The next full second of the registry's clock: its times have no fraction.
    pub(super) fn next_second(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + Duration::from_millis(1001)
    }

    pub(super) fn image(&self, name: &str, layers: &[usize]) -> Layout {
        Layout::image(&self.folder.join(name), name, "amd64", layers)
    }

    /// The second image is the largest.
    pub(super) fn images_of_platforms(&self) -> Vec<Layout> {
        [("amd64", 300), ("arm64", 5_000), ("s390x", 20)]
            .map(|(architecture, size)| {
                Layout::image(&self.folder.join("all"), architecture, architecture, &[size, 10])
            })
            .to_vec()
    }

    pub(super) fn index(&self, name: &str, images: &[Layout]) -> Layout {
        Layout::index(&self.folder.join(name), images)
    }

    pub(super) fn push(&self, layout: &Layout, tag: &str, options: &[&str]) -> Done {
        let digest_file = self.folder.join("digest");
        let mut push =
            self.skopeo(&["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"]);
        push.args(options).arg("--digestfile").arg(&digest_file);
        push.arg(layout.address())
            .arg(format!("docker://{}/{REPOSITORY}:{tag}", self.registry.address));
        let done = run(push);
        Done { digest: fs::read_to_string(digest_file).unwrap(), ..done }
    }

    pub(super) fn delete(&self, layout: &Layout) -> Done {
        let mut delete = self.skopeo(&["delete", "--insecure-policy", "--tls-verify=false"]);
        delete.arg(format!("docker://{}/{REPOSITORY}@{}", self.registry.address, layout.digest));
        run(delete)
    }

    pub(super) fn pull(&self, tag: &str) -> Done {
        let mut pull =
            self.skopeo(&["copy", "--quiet", "--insecure-policy", "--src-tls-verify=false"]);
        pull.arg(format!("docker://{}/{REPOSITORY}:{tag}", self.registry.address));
        pull.arg(format!("dir:{}", self.folder.join("pulled").display()));
        run(pull)
    }

    /// skopeo's files stay in the test's own folder.
    pub(super) fn skopeo(&self, arguments: &[&str]) -> Command {
        let home = self.folder.join("home");
        fs::create_dir_all(&home).unwrap();
        let mut command = Command::new(&self.skopeo);
        command.args(arguments);
        for variable in [
            "HOME",
            "TMPDIR",
            "XDG_CACHE_HOME",
            "XDG_CONFIG_HOME",
            "XDG_DATA_HOME",
            "XDG_RUNTIME_DIR",
        ] {
            command.env(variable, &home);
        }
        command
    }

    /// Waits until the catalog lists exactly these images of the repository, times excepted. Prints
    /// how long that took.
    pub(super) async fn expect(&self, what: &str, done: &Done, expected: &[Value]) -> Vec<Value> {
        let by_digest = |details: &[Value]| -> BTreeMap<String, Value> {
            let digest = |detail: &Value| detail["imageDigest"].as_str().unwrap().to_owned();
            details.iter().map(|detail| (digest(detail), without_times(detail))).collect()
        };
        let expected = by_digest(expected);
        let listed = self
            .poll(what, done, async || {
                let listed = self.catalog.describe().await;
                let found = by_digest(&listed);
                if found.len() == listed.len() && found == expected {
                    Ok(listed)
                } else {
                    Err(format!("the catalog lists {found:#?}, not {expected:#?}"))
                }
            })
            .await;
        let newest_first = |a: &Value, b: &Value| {
            milliseconds(&a["imagePushedAt"]).unwrap() >= milliseconds(&b["imagePushedAt"]).unwrap()
        };
        assert!(listed.is_sorted_by(newest_first));
        listed
    }

    pub(super) async fn poll<T>(
        &self,
        what: &str,
        done: &Done,
        mut attempt: impl AsyncFnMut() -> Result<T, String>,
    ) -> T {
        loop {
            let result = attempt().await;
            let elapsed = done.returned.elapsed();
            match result {
                Ok(found) => {
                    assert!(
                        elapsed <= LIMIT,
                        "{what}: known only {elapsed:?} after the client returned"
                    );
                    let milliseconds = elapsed.as_secs_f64() * 1000.0;
                    print(format!(
                        "{}: {what}: known {milliseconds:.1} ms after the client returned",
                        self.name
                    ));
                    return found;
                }
                Err(difference) => {
                    assert!(elapsed <= LIMIT, "{what}: {elapsed:?} later {difference}")
                }
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// The catalog lists the same tags and manifests as the registry.
    pub(super) async fn assert_equals_registry(&self) {
        let listed = self.catalog.describe().await;
        let mut tags = BTreeMap::new();
        for detail in &listed {
            let digest = detail["imageDigest"].as_str().unwrap().to_owned();
            let media_type = detail["imageManifestMediaType"].as_str().unwrap().to_owned();
            let manifest = (digest, media_type);
            assert_eq!(
                self.registry.head(REPOSITORY, &manifest.0).await.as_ref(),
                Some(&manifest),
                "by its digest"
            );
            for tag in detail["imageTags"].as_array().into_iter().flatten() {
                tags.insert(tag.as_str().unwrap().to_owned(), manifest.clone());
            }
        }
        let url = self.registry.url(&format!("/v2/{REPOSITORY}/tags/list"));
        let listing = self.registry.http.get(url).send().await.unwrap();
        let listing: Value = listing.error_for_status().unwrap().json().await.unwrap();
        let mut own_tags = BTreeMap::new();
        for tag in listing["tags"].as_array().into_iter().flatten() {
            let tag = tag.as_str().unwrap();
            own_tags.insert(tag.to_owned(), self.registry.head(REPOSITORY, tag).await.unwrap());
        }
        assert_eq!(tags, own_tags, "the tags of the catalog and of the registry");
    }
}

pub(super) fn run(mut command: Command) -> Done {
    let from = now();
    let output = command.stdin(Stdio::null()).output().unwrap();
    let done = Done::since(from);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    done
}

/// By the same clock as the registry's.
pub(super) fn now() -> i64 {
    Timestamp::now().as_milliseconds()
}

/// The milliseconds of a time as the service writes it.
pub(super) fn milliseconds(time: &Value) -> Option<i64> {
    time.as_f64().map(|seconds| (seconds * 1000.0).round() as i64)
}

pub(super) fn without_times(detail: &Value) -> Value {
    let mut detail = detail.clone();
    let members = detail.as_object_mut().unwrap();
    members.remove("imagePushedAt");
    members.remove("lastRecordedPullTime");
    detail
}

pub(super) fn find<'a>(listed: &'a [Value], image: &Layout) -> &'a Value {
    listed.iter().find(|detail| detail["imageDigest"] == image.digest.as_str()).unwrap()
}

pub(super) fn assert_pushed_during(listed: &[Value], image: &Layout, push: &Done) {
    let pushed_at = milliseconds(&find(listed, image)["imagePushedAt"]).unwrap();
    assert!(push.during.contains(&pushed_at), "{pushed_at} is not in {:?}", push.during);
}

/// A catalog that can be stopped and started on the same port, with the same table.
pub(super) struct StoppableCatalog {
    pub(super) address: SocketAddr,
    pub(super) store: Store,
    pub(super) keys: String,
    pub(super) http: reqwest::Client,
    pub(super) running: Option<Catalog>,
}

impl StoppableCatalog {
    /// A catalog with lookups in a registry.
    pub(super) async fn new(registry_url: &str) -> Self {
        // The port is released, and bound again by the start.
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        Self {
            address,
            store: Store::in_memory().await.looking_up(registry_url),
            keys: Keyring::generate_key().unwrap(),
            http: reqwest::Client::new(),
            running: None,
        }
    }

    pub(super) async fn start(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        // Not the registry in the URL of the notifications.
        let default_registry = RegistryId::parse("999999999999").unwrap();
        let catalog = Catalog::listen(listener, self.store.clone(), &self.keys, default_registry);
        self.running = Some(catalog);
    }

    /// Returns when connections are refused, including those that the registry keeps open.
    pub(super) async fn stop(&mut self) {
        // The next request must not use a connection that is being closed.
        self.http = reqwest::Client::new();
        self.running.take().unwrap().stop().await;
        assert!(TcpStream::connect(self.address).await.is_err(), "the catalog still listens");
    }

    /// All images of the repository.
    pub(super) async fn describe(&self) -> Vec<Value> {
        let request = json!({
            "registryId": REGISTRY,
            "repositoryName": REPOSITORY,
            "maxResults": 1000,
            "filter": { "imageStatus": "ANY" }
        });
        let response = self
            .http
            .post(format!("http://{}/", self.address))
            .header("x-amz-target", "AmazonEC2ContainerRegistry_V20150921.DescribeImages")
            .json(&request)
            .send()
            .await
            .unwrap();
        let success = response.status().is_success();
        let body: Value = response.json().await.unwrap();
        if success {
            return body["imageDetails"].as_array().unwrap().clone();
        }
        assert_eq!(body["__type"], "RepositoryNotFoundException", "{body}");
        Vec::new()
    }
}
