//! Cloud Custodian, with a policy for images and one for repositories.

use std::collections::BTreeSet;
use std::fs;

use catalog::Service;
use end_to_end::harness::{Ended, Moto, OCI_INDEX, REGION, REGISTRY, folder, require, tools};
use serde_json::{Value, json};

use super::{Image, SHOP};

#[test]
fn custodian_finds_images_and_repositories() {
    let test = "custodian_finds_images_and_repositories";
    let Some(custodian) = require(test, tools().join("custodian/bin/custodian")) else { return };
    // Custodian requests the account's id from AWS STS.
    let Some(sts) = Moto::start(test) else { return };
    let folder = folder(test);
    let run = |policies: Value| {
        fs::write(folder.join("policies.json"), json!({ "policies": policies }).to_string())
            .unwrap();
        let mut command = SHOP.command(&custodian, &folder);
        command.env("AWS_ENDPOINT_URL_STS", &sts.url).args(["run", "--cache-period", "0"]);
        Ended::run(command.args(["--region", REGION, "--output-dir", "found", "policies.json"]))
    };
    let found = |policy: &str| -> Vec<Value> {
        let file = folder.join("found").join(policy).join("resources.json");
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
    };
    let policy = |name: &str, resource: &str, filters: Value| -> Value {
        json!({ "name": name, "resource": resource, "filters": filters })
    };

    let ended = run(json!([
        policy("untagged", "aws.ecr-image", json!([{ "imageTags": "absent" }])),
        policy("indexes", "aws.ecr-image", json!([{ "imageManifestMediaType": OCI_INDEX }])),
        policy("repositories", "aws.ecr", json!([])),
        policy(
            "team",
            "aws.ecr",
            json!([{ "tag:team": "shop" }, { "imageTagMutability": "IMMUTABLE" }])
        ),
    ]));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let arn = |name: &str| format!("arn:aws:ecr:{REGION}:{REGISTRY}:repository/{name}");
    let found_arns = |policy: &str, member: &str| -> BTreeSet<String> {
        found(policy).iter().map(|found| found[member].as_str().unwrap().to_owned()).collect()
    };
    let image_arns = |is_expected: fn(&Image) -> bool| -> BTreeSet<String> {
        let private = SHOP.images.iter().filter(|image| image.repository.service == Service::Ecr);
        let expected = private.filter(|image| is_expected(image));
        let arn =
            |image: &Image| format!("{}/{}", arn(image.repository.name.as_str()), image.digest());
        expected.map(arn).collect()
    };
    let untagged = image_arns(|image| image.tags.is_empty());
    assert_eq!(found_arns("untagged", "imageArn"), untagged);
    let indexes = image_arns(|image| image.media_type() == OCI_INDEX);
    assert_eq!(found_arns("indexes", "imageArn"), indexes);
    let all = BTreeSet::from([arn("shop/api"), arn("shop/web")]);
    assert_eq!(found_arns("repositories", "repositoryArn"), all);
    assert_eq!(found_arns("team", "repositoryArn"), BTreeSet::from([arn("shop/web")]));

    // The filter needs the policy of the repository.
    let ended = run(json!([policy("shared", "aws.ecr", json!([{ "type": "cross-account" }]))]));
    assert_ne!(ended.code, Some(0), "{ended:?}");
    let unsupported = "The action GetRepositoryPolicy isn't supported by this catalog.";
    assert!(ended.stderr.contains(unsupported), "{}", ended.stderr);
}
