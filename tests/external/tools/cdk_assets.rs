//! `cdk-assets`, with which the AWS CDK publishes images. It asks whether the image of an asset is
//! in its repository already.

use std::fs;

use end_to_end::harness::{Ended, REGION, REGISTRY, folder, require, tools};
use serde_json::json;

use super::SHOP;

#[test]
fn cdk_assets_publishes_only_what_is_missing() {
    let test = "cdk_assets_publishes_only_what_is_missing";
    let program = tools().join("cdk-assets/node_modules/.bin/cdk-assets");
    let (Some(cdk_assets), Some(_)) = (require(test, program), require(test, "node")) else {
        return;
    };
    let folder = folder(test);
    let asset = |tag: &str| {
        let destination =
            json!({ "repositoryName": "shop/api", "imageTag": tag, "region": REGION });
        json!({ "source": { "executable": ["false"] }, "destinations": { "shop": destination } })
    };
    let assets = json!({
        "version": "36.0.0",
        "dockerImages": {
            "published": asset("v241"),
            "missing": asset("v1000"),
        },
    });
    fs::write(folder.join("assets.json"), assets.to_string()).unwrap();
    let publish = |asset: &str| {
        let mut command = SHOP.command(&cdk_assets, &folder);
        let ended = Ended::run(command.args(["--verbose", "publish", asset]));
        (ended.code, ended.stdout + &ended.stderr)
    };
    let uri = |tag: &str| format!("{REGISTRY}.dkr.ecr.{REGION}.amazonaws.com/shop/api:{tag}");

    let (code, output) = publish("published");
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains(&format!("found: Found {}", uri("v241"))), "{output}");

    // To push the image, it requests the password of the registry, which the catalog does not have.
    let (code, output) = publish("missing");
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains(&format!("check: Check {}", uri("v1000"))), "{output}");
    assert!(!output.contains("found: "), "{output}");
    let unsupported = "The action GetAuthorizationToken isn't supported by this catalog.";
    assert!(output.contains(unsupported), "{output}");
}
