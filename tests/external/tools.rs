//! Tools that read Amazon ECR. Each does what its users do with it on a catalog of 400 images,
//! which verifies its signatures, and its result is compared with what was pushed.
//! `docs/clients.md` has a row for each.

mod aws_cli;
mod cdk_assets;
mod curl;
mod custodian;
mod reconcile;
pub(crate) mod sdks;
mod serverless;
pub(crate) mod terraform;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use catalog::{Digest, Repository};
use end_to_end::harness::stand_in::{digest_of, image_manifest};
use end_to_end::harness::{
    Catalog, Ended, OCI_IMAGE, OCI_INDEX, REGION, REGISTRY, Store, clean_command, repository, tag,
    time,
};
use end_to_end::reference::cloud_trail::{Call, index_of, public_repository};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::clients::send;

const ACCESS_KEY_ID: &str = "AKIDREADER";
const SECRET_ACCESS_KEY: &str = "the secret of the reader";

/// The catalog that the tools read.
static SHOP: LazyLock<Shop> = LazyLock::new(Shop::start);

struct Shop {
    catalog: Catalog,
    images: Vec<Image>,
    runtime: Runtime,
}

/// A catalog, and an access key of it.
pub(crate) struct Access<'a> {
    pub(crate) url: &'a str,
    pub(crate) access_key_id: &'a str,
    pub(crate) secret_access_key: &'a str,
}

/// An image that was pushed in this second, once for each tag.
struct Image {
    repository: Repository,
    second: i64,
    manifest: Value,
    size: u64,
    tags: BTreeSet<String>,
}

/// The images of the private repositories `shop/api` and `shop/web`, and of the public `shop/api`.
/// They were pushed a second apart. A third of them has no tag, some have several, and every tenth
/// is an index of the image before it.
fn images() -> Vec<Image> {
    let repositories = [
        (repository("shop/api"), 250, 1_000),
        (repository("shop/web"), 50, 2_000),
        (public_repository("shop/api"), 100, 3_000),
    ];
    let images = |(repository, count, size): (Repository, u64, u64)| {
        (0..count).map(move |number| {
            let size = size + number;
            let mut tags = BTreeSet::new();
            if number % 3 > 0 {
                tags.insert(format!("v{number}"));
            }
            if number % 50 == 1 {
                tags.insert(format!("release-{number}"));
            }
            if number == count - 2 {
                tags.insert("latest".to_owned());
            }
            let (manifest, size) = if number % 10 == 9 {
                (index_of(&[&image_manifest(size - 1)]), size - 1)
            } else {
                (image_manifest(size), size)
            };
            let (repository, second) = (repository.clone(), number.cast_signed());
            Image { repository, second, manifest, size, tags }
        })
    };
    repositories.into_iter().flat_map(images).collect()
}

impl Image {
    fn digest(&self) -> Digest {
        digest_of(&self.manifest)
    }

    fn media_type(&self) -> &'static str {
        if self.manifest["manifests"].is_array() { OCI_INDEX } else { OCI_IMAGE }
    }

    /// In seconds since 1970.
    fn pushed_at(&self) -> i64 {
        time(self.second * 1000).as_milliseconds() / 1000
    }

    /// What a tool returns of it.
    fn details(&self) -> Value {
        json!({
            "digest": self.digest(),
            "tags": self.tags,
            "size": self.size,
            "pushedAt": self.pushed_at(),
            "mediaType": self.media_type(),
        })
    }
}

impl Shop {
    /// Before its images, `shop/web` was created, with immutable tags, scans on push, and the
    /// resource tag `team=shop`.
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let images = images();
        let mut created = Call::CreateRepository.record(&repository("shop/web"), -1);
        created["requestParameters"] = json!({
            "repositoryName": "shop/web",
            "imageTagMutability": "IMMUTABLE",
            "imageScanningConfiguration": { "scanOnPush": true },
            "tags": [{ "key": "team", "value": "shop" }],
        });
        let mut records = vec![created];
        for image in &images {
            let mut put = |tag| {
                let call = Call::PutImage { manifest: image.manifest.clone(), tag };
                records.push(call.record(&image.repository, image.second));
            };
            image.tags.iter().for_each(|name| put(Some(tag(name))));
            if image.tags.is_empty() {
                put(None);
            }
        }
        let callers = json!([{
            "accessKeyId": ACCESS_KEY_ID,
            "secretAccessKey": SECRET_ACCESS_KEY,
            "arn": format!("arn:aws:iam::{REGISTRY}:user/reader"),
        }]);
        let catalog = runtime.block_on(async {
            let store = Store::in_memory().await;
            send(&store, &records).await;
            Catalog::start_for(store, &callers, None).await
        });
        Self { catalog, images, runtime }
    }

    /// The images of a repository, the newest first.
    fn images(&self, repository: &Repository) -> impl Iterator<Item = &Image> {
        self.images.iter().rev().filter(move |image| image.repository == *repository)
    }

    /// What a tool returns of a whole repository.
    fn details(&self, repository: &Repository) -> Value {
        self.images(repository).map(Image::details).collect()
    }

    /// The image of a repository that has this tag.
    fn tagged(&self, repository: &Repository, tag: &str) -> &Image {
        self.images(repository).find(|image| image.tags.contains(tag)).unwrap()
    }

    fn access(&self) -> Access<'_> {
        Access {
            url: &self.catalog.url,
            access_key_id: ACCESS_KEY_ID,
            secret_access_key: SECRET_ACCESS_KEY,
        }
    }

    fn command(&self, program: &Path, folder: &Path) -> Command {
        self.access().command(program, folder)
    }
}

impl Access<'_> {
    /// A program in a folder. Its environment has the address of the catalog and the access key,
    /// and no other configuration.
    pub(crate) fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = clean_command(program, folder);
        command.current_dir(folder).stdin(Stdio::null()).envs([
            ("AWS_ENDPOINT_URL_ECR", self.url),
            ("AWS_ENDPOINT_URL_ECR_PUBLIC", self.url),
            ("AWS_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", self.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", self.secret_access_key),
        ]);
        command
    }
}

/// The output of a command that must succeed.
fn output(command: &mut Command) -> String {
    let ended = Ended::run(command);
    assert_eq!(ended.code, Some(0), "{command:?}: {}{}", ended.stdout, ended.stderr);
    ended.stdout
}

pub(crate) fn json_output(command: &mut Command) -> Value {
    serde_json::from_str(&output(command)).unwrap()
}

/// What a response of DescribeImages contains of its images, as [`Image::details`] has it.
fn details(response: &Value) -> Value {
    let images = response["imageDetails"].as_array().unwrap().iter();
    let details = images.map(|image| {
        json!({
            "digest": image["imageDigest"],
            "tags": image.get("imageTags").unwrap_or(&json!([])),
            "size": image["imageSizeInBytes"],
            "pushedAt": image["imagePushedAt"],
            "mediaType": image["imageManifestMediaType"],
        })
    });
    details.collect()
}

/// A file in the folder of the scripts.
fn script(name: &str) -> String {
    format!("{}/external/tools/scripts/{name}", env!("CARGO_MANIFEST_DIR"))
}
