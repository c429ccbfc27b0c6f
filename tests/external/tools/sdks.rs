//! SDKs that `clients` does not test: each reads all images of `shop/api` in both services, page by
//! page, and the image of a tag.

use std::path::Path;
use std::process::Command;

use end_to_end::harness::{folder, repository, require, temporary_folder, tools};
use end_to_end::reference::cloud_trail::public_repository;
use serde_json::json;

use super::{SHOP, json_output, script};

#[test]
fn the_javascript_sdk_v2_reads_both_services() {
    let test = "the_javascript_sdk_v2_reads_both_services";
    let modules = tools().join("serverless/node_modules");
    let (Some(_), Some(node)) = (require(test, modules.join("aws-sdk")), require(test, "node"))
    else {
        return;
    };
    reads_both_services(test, &node, |command| {
        // The version 2 of the SDK is no longer developed, which it says at every start.
        command.env("AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE", "1");
        command.env("NODE_PATH", &modules).arg(script("read.cjs"))
    });
}

#[test]
fn aioboto3_reads_both_services() {
    let test = "aioboto3_reads_both_services";
    let Some(python) = require(test, tools().join("aioboto3/bin/python3")) else { return };
    reads_both_services(test, &python, |command| command.arg(script("read.py")));
}

#[test]
fn the_go_sdk_v2_reads_both_services() {
    const DEBIAN_SOURCES: &str = "/usr/share/gocode";
    let test = "the_go_sdk_v2_reads_both_services";
    let sdk = Path::new(DEBIAN_SOURCES).join("src/github.com/aws/aws-sdk-go-v2/service/ecr");
    let (Some(_), Some(go)) = (require(test, sdk), require(test, "go")) else { return };
    // What was compiled once is kept for later runs.
    let cache = temporary_folder().join("../go-cache");
    reads_both_services(test, &go, |command| {
        command
            .env("GO111MODULE", "off")
            .env("GOPATH", DEBIAN_SOURCES)
            .env("GOCACHE", &cache)
            .args(["run", &script("read.go")])
    });
}

/// `with_script` adds the script to the command of its interpreter. The script prints what it read
/// of both services.
fn reads_both_services(
    test: &str,
    interpreter: &Path,
    with_script: impl FnOnce(&mut Command) -> &mut Command,
) {
    let mut command = SHOP.command(interpreter, &folder(test));
    let read = json_output(with_script(&mut command).args(["shop/api", "latest"]));
    let expected = [repository("shop/api"), public_repository("shop/api")].map(|repository| {
        json!({
            "pages": SHOP.details(&repository),
            "byTag": SHOP.tagged(&repository, "latest").details(),
        })
    });
    assert_eq!(read, json!(expected));
}
