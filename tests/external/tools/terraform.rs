//! Terraform's data sources of Amazon ECR.
//!
//! Terraform and its AWS provider are in no package registry. The test runs where the machine has
//! both. The provider is in a folder in which Terraform itself looks, or in `/opt/tf-plugins`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::harness::{REGION, REGISTRY, find, folder, print, repository};
use serde_json::{Value, json};

use super::{Access, SHOP, json_output};

/// A folder with the AWS provider, as a `filesystem_mirror` of Terraform has it.
fn provider_mirror() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".terraform.d/plugins"));
    let folders = [
        std::env::var_os("TF_PLUGIN_CACHE_DIR").map(PathBuf::from),
        home,
        Some(PathBuf::from("/usr/local/share/terraform/plugins")),
        Some(PathBuf::from("/usr/share/terraform/plugins")),
        Some(PathBuf::from("/opt/tf-plugins")),
    ];
    folders
        .into_iter()
        .flatten()
        .find(|folder| folder.join("registry.terraform.io/hashicorp/aws").is_dir())
}

/// The outputs of a configuration with data sources; `None` if Terraform or its provider is missing.
pub(crate) fn read(test: &str, access: &Access<'_>, data: &Value, output: &Value) -> Option<Value> {
    let (Some(terraform), Some(mirror)) = (find(Path::new("terraform")), provider_mirror()) else {
        print(format!("skipped {test}: this machine has no Terraform with its AWS provider"));
        return None;
    };
    let folder = folder(test);
    let configuration = json!({
        "terraform": { "required_providers": { "aws": { "source": "hashicorp/aws" } } },
        "provider": { "aws": {
            "region": REGION,
            "endpoints": { "ecr": access.url, "ecrpublic": access.url },
            "skip_credentials_validation": true,
            "skip_requesting_account_id": true,
            "skip_metadata_api_check": true,
        } },
        "data": data,
        "output": output,
    });
    fs::write(folder.join("main.tf.json"), configuration.to_string()).unwrap();
    let terraform = |arguments: &[&str]| -> Command {
        let mut command = access.command(&terraform, &folder);
        // Terraform requests its newest version from its vendor.
        command.env("CHECKPOINT_DISABLE", "1").args(arguments);
        command
    };
    let mirror = format!("-plugin-dir={}", mirror.display());
    super::output(&mut terraform(&["init", "-input=false", &mirror]));
    super::output(&mut terraform(&["apply", "-input=false", "-auto-approve"]));
    Some(json_output(&mut terraform(&["output", "-json"])))
}

#[test]
fn terraform_reads_images_and_repositories() {
    let data = json!({
        "aws_ecr_image": {
            "tagged": { "repository_name": "shop/api", "image_tag": "latest" },
            "newest": { "repository_name": "shop/api", "most_recent": true },
        },
        "aws_ecr_repository": { "web": { "name": "shop/web" } },
        "aws_ecr_repositories": { "all": {} },
    });
    let output = json!({
        "tagged": { "value": "${data.aws_ecr_image.tagged}" },
        "newest": { "value": "${data.aws_ecr_image.newest}" },
        "web": { "value": "${data.aws_ecr_repository.web}" },
        "all": { "value": "${data.aws_ecr_repositories.all.names}" },
    });
    let test = "terraform_reads_images_and_repositories";
    let Some(mut read) = read(test, &SHOP.access(), &data, &output) else { return };
    let mut value = |name: &str| read[name]["value"].take();

    let uri = |name: &str| format!("{REGISTRY}.dkr.ecr.{REGION}.amazonaws.com/{name}");
    let api = repository("shop/api");
    for (name, image) in
        [("tagged", SHOP.tagged(&api, "latest")), ("newest", SHOP.images(&api).next().unwrap())]
    {
        let found = value(name);
        let members = [
            "image_digest",
            "image_tags",
            "image_size_in_bytes",
            "image_pushed_at",
            "image_uri",
            "registry_id",
        ];
        let expected = json!([
            image.digest(),
            image.tags,
            image.size,
            image.pushed_at(),
            format!("{}@{}", uri("shop/api"), image.digest()),
            REGISTRY,
        ]);
        assert_eq!(json!(members.map(|member| &found[member])), expected, "{name}");
    }
    let web = value("web");
    let members = [
        "arn",
        "repository_url",
        "image_tag_mutability",
        "image_scanning_configuration",
        "tags",
        "most_recent_image_tags",
    ];
    let newest = SHOP.images(&repository("shop/web")).next().unwrap();
    let expected = json!([
        format!("arn:aws:ecr:{REGION}:{REGISTRY}:repository/shop/web"),
        uri("shop/web"),
        "IMMUTABLE",
        [{ "scan_on_push": true }],
        { "team": "shop" },
        newest.tags,
    ]);
    assert_eq!(json!(members.map(|member| &web[member])), expected);
    assert_eq!(value("all"), json!(["shop/api", "shop/web"]));
}
