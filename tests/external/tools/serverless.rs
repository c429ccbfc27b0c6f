//! The Serverless Framework. `serverless package` replaces the tag of a function's image by its
//! digest.

use std::fs;

use end_to_end::harness::{REGISTRY, folder, repository, require, tools};
use serde_json::{Value, json};

use super::{SHOP, output};

#[test]
fn serverless_deploys_the_image_of_a_tag() {
    let test = "serverless_deploys_the_image_of_a_tag";
    let program = tools().join("serverless/node_modules/.bin/serverless");
    let (Some(serverless), Some(_)) = (require(test, program), require(test, "node")) else {
        return;
    };
    let folder = folder(test);
    let image = format!("{REGISTRY}.dkr.ecr.us-east-1.amazonaws.com/shop/api");
    let service = json!({
        "service": "shop",
        "frameworkVersion": "3",
        "provider": { "name": "aws", "region": "us-east-1", "deploymentBucket": "shop" },
        "functions": { "api": { "image": format!("{image}:latest") } },
        "plugins": ["./catalog.js"],
    });
    fs::write(folder.join("serverless.json"), service.to_string()).unwrap();
    // The plugin of docs/clients.md: the framework's SDK reads no address from the environment.
    let plugin = "module.exports = class {
        constructor(serverless) {
            const { sdk } = serverless.getProvider('aws');
            sdk.config.ecr = { endpoint: process.env.AWS_ENDPOINT_URL_ECR };
        }
    };";
    fs::write(folder.join("catalog.js"), plugin).unwrap();

    let mut command = SHOP.command(&serverless, &folder);
    command.env("SLS_TELEMETRY_DISABLED", "1").env("SLS_NOTIFICATIONS_MODE", "off");
    output(command.arg("package"));

    let template = folder.join(".serverless/cloudformation-template-update-stack.json");
    let template: Value = serde_json::from_str(&fs::read_to_string(template).unwrap()).unwrap();
    let code = &template["Resources"]["ApiLambdaFunction"]["Properties"]["Code"];
    let digest = SHOP.tagged(&repository("shop/api"), "latest").digest();
    assert_eq!(code["ImageUri"], format!("{image}@{digest}"));
}
