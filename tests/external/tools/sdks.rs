//! SDKs that `clients` does not test: each reads all images of `shop/api` in both services, page by
//! page, and the image of a tag.

use std::path::Path;
use std::process::Command;

use end_to_end::harness::{folder, repository, require, temporary_folder, tools};
use end_to_end::reference::cloud_trail::public_repository;
use serde_json::json;

use super::{Access, SHOP, json_output, script};

/// The AWS SDK for JavaScript v2, with its script; `None` if it is missing. The arguments of every
/// script are a repository, which it reads in both services, and a tag.
pub(crate) fn javascript_v2(test: &str, access: &Access<'_>) -> Option<Command> {
    let modules = tools().join("serverless/node_modules");
    let (_, node) = (require(test, modules.join("aws-sdk"))?, require(test, "node")?);
    let mut command = access.command(&node, &folder(test));
    // The version 2 of the SDK is no longer developed, which it says at every start.
    command.env("AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE", "1");
    command.env("NODE_PATH", &modules).arg(script("read.cjs"));
    Some(command)
}

pub(crate) fn aioboto3(test: &str, access: &Access<'_>) -> Option<Command> {
    let python = require(test, tools().join("aioboto3/bin/python3"))?;
    let mut command = access.command(&python, &folder(test));
    command.arg(script("read.py"));
    Some(command)
}

pub(crate) fn go_v2(test: &str, access: &Access<'_>) -> Option<Command> {
    const DEBIAN_SOURCES: &str = "/usr/share/gocode";
    let sdk = Path::new(DEBIAN_SOURCES).join("src/github.com/aws/aws-sdk-go-v2/service/ecr");
    let (_, go) = (require(test, sdk)?, require(test, "go")?);
    let mut command = access.command(&go, &folder(test));
    // What was compiled once is kept for later runs.
    command
        .env("GO111MODULE", "off")
        .env("GOPATH", DEBIAN_SOURCES)
        .env("GOCACHE", temporary_folder().join("../go-cache"))
        .args(["run", &script("read.go")]);
    Some(command)
}

#[test]
fn the_javascript_sdk_v2_reads_both_services() {
    reads_both_services("the_javascript_sdk_v2_reads_both_services", javascript_v2);
}

#[test]
fn aioboto3_reads_both_services() {
    reads_both_services("aioboto3_reads_both_services", aioboto3);
}

#[test]
fn the_go_sdk_v2_reads_both_services() {
    reads_both_services("the_go_sdk_v2_reads_both_services", go_v2);
}

fn reads_both_services(test: &str, sdk: fn(&str, &Access<'_>) -> Option<Command>) {
    let Some(mut command) = sdk(test, &SHOP.access()) else { return };
    let read = json_output(command.args(["shop/api", "latest"]));
    let expected = [repository("shop/api"), public_repository("shop/api")].map(|repository| {
        json!({
            "pages": SHOP.details(&repository),
            "byTag": SHOP.tagged(&repository, "latest").details(),
        })
    });
    assert_eq!(read, json!(expected));
}
