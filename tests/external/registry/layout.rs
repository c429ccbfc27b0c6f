//! Images and indexes in folders, to be pushed.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::harness::{OCI_CONFIGURATION, OCI_IMAGE, OCI_INDEX, OCI_LAYER, REGISTRY};
use serde_json::{Value, json};

use super::REPOSITORY;

/// An image or an index in a folder, to be pushed, and the data of its manifest.
#[derive(Clone)]
pub(super) struct Layout {
    pub(super) folder: PathBuf,
    pub(super) digest: String,
    pub(super) manifest_size: usize,
    pub(super) architecture: String,
    pub(super) media_type: &'static str,
    pub(super) configuration_media_type: Option<&'static str>,
    /// The expected size in the catalog.
    pub(super) size: usize,
}

impl Layout {
    /// An image with layers of these sizes. Different names make different images.
    pub(super) fn image(folder: &Path, name: &str, architecture: &str, layers: &[usize]) -> Self {
        // skopeo detects this prefix as compressed, and leaves the layer unchanged.
        let layer = |(number, size): (usize, &usize)| {
            let filling = format!("{name} {number} ").into_bytes().into_iter().cycle();
            let bytes: Vec<u8> =
                [0x1f, 0x8b, 0x08].into_iter().chain(filling).take(*size).collect();
            (write_blob(folder, &bytes), *size)
        };
        let layers: Vec<(String, usize)> = layers.iter().enumerate().map(layer).collect();
        let digests: Vec<&String> = layers.iter().map(|(digest, _)| digest).collect();
        let configuration = json!({
            "architecture": architecture,
            "os": "linux",
            "author": name,
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": digests }
        });
        let configuration = configuration.to_string();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE,
            "config": descriptor(
                OCI_CONFIGURATION,
                &write_blob(folder, configuration.as_bytes()),
                configuration.len()
            ),
            "layers": layers
                .iter()
                .map(|(digest, size)| descriptor(OCI_LAYER, digest, *size))
                .collect::<Vec<_>>(),
        });
        Self {
            architecture: architecture.to_owned(),
            configuration_media_type: Some(OCI_CONFIGURATION),
            size: configuration.len() + layers.iter().map(|(_, size)| size).sum::<usize>(),
            ..Self::write(folder, OCI_IMAGE, &manifest)
        }
    }

    /// An index of images that are in the same folder.
    pub(super) fn index(folder: &Path, images: &[Self]) -> Self {
        let describe = |image: &Self| {
            let mut descriptor = descriptor(image.media_type, &image.digest, image.manifest_size);
            descriptor["platform"] = json!({ "architecture": image.architecture, "os": "linux" });
            descriptor
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": images.iter().map(describe).collect::<Vec<_>>(),
        });
        Self {
            size: images.iter().map(|image| image.size).max().unwrap(),
            ..Self::write(folder, OCI_INDEX, &manifest)
        }
    }

    /// Writes the manifest of the folder.
    pub(super) fn write(folder: &Path, media_type: &'static str, manifest: &Value) -> Self {
        let manifest = manifest.to_string();
        let digest = write_blob(folder, manifest.as_bytes());
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor(media_type, &digest, manifest.len())] });
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        fs::write(folder.join("index.json"), index.to_string()).unwrap();
        Self {
            folder: folder.to_owned(),
            digest,
            manifest_size: manifest.len(),
            architecture: String::new(),
            media_type,
            configuration_media_type: None,
            size: 0,
        }
    }

    pub(super) fn address(&self) -> String {
        format!("oci:{}", self.folder.display())
    }

    /// The expected image in the catalog, without times.
    pub(super) fn detail(&self, tags: &[&str]) -> Value {
        let mut detail = json!({
            "registryId": REGISTRY,
            "repositoryName": REPOSITORY,
            "imageDigest": self.digest,
            "imageSizeInBytes": self.size,
            "imageManifestMediaType": self.media_type,
            "imageStatus": "ACTIVE"
        });
        if !tags.is_empty() {
            detail["imageTags"] = json!(tags);
        }
        if let Some(media_type) = self.configuration_media_type {
            detail["artifactMediaType"] = json!(media_type);
        }
        detail
    }
}

pub(super) fn descriptor(media_type: &str, digest: &str, size: usize) -> Value {
    json!({ "mediaType": media_type, "digest": digest, "size": size })
}

/// Writes a blob of a layout; returns its digest.
pub(super) fn write_blob(folder: &Path, bytes: &[u8]) -> String {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let new = blobs.join("new");
    fs::write(&new, bytes).unwrap();
    let output =
        Command::new("sha256sum").args([OsStr::new("--"), new.as_os_str()]).output().unwrap();
    let digest = String::from_utf8(output.stdout).unwrap()[..64].to_owned();
    fs::rename(&new, blobs.join(&digest)).unwrap();
    format!("sha256:{digest}")
}
