//! AWS CLI 1, with the address of the catalog in the environment and in `~/.aws/config`. `clients`
//! tests what it does with an address.

use std::fs;
use std::process::Command;

use end_to_end::harness::{folder, repository, require, tools};
use end_to_end::reference::cloud_trail::public_repository;
use serde_json::{Value, json};

use super::{SHOP, json_output};

#[test]
fn the_aws_cli_reads_the_address_from_environment_and_configuration() {
    let test = "the_aws_cli_reads_the_address_from_environment_and_configuration";
    let Some(aws) = require(test, tools().join("python/bin/aws")) else { return };
    let folder = folder(test);
    let read = |command: &mut Command, service: &str| {
        command.args([service, "describe-images", "--repository-name", "shop/api"]);
        json_output(command.args(["--query", "imageDetails[].imageDigest", "--output", "json"]))
    };
    let services = [("ecr", repository("shop/api")), ("ecr-public", public_repository("shop/api"))];
    let digests = services.map(|(service, repository)| {
        let digests: Value = SHOP.images(&repository).map(|image| json!(image.digest())).collect();
        (service, digests)
    });
    for (service, digests) in &digests {
        assert_eq!(read(&mut SHOP.command(&aws, &folder), service), *digests, "{service}");
    }

    fs::create_dir(folder.join(".aws")).unwrap();
    let url = &SHOP.catalog.url;
    let configuration = format!(
        "[default]\nservices = catalog\n[services catalog]\n\
         ecr =\n  endpoint_url = {url}\necr_public =\n  endpoint_url = {url}\n"
    );
    fs::write(folder.join(".aws/config"), configuration).unwrap();
    for (service, digests) in &digests {
        let mut command = SHOP.command(&aws, &folder);
        command.env_remove("AWS_ENDPOINT_URL_ECR").env_remove("AWS_ENDPOINT_URL_ECR_PUBLIC");
        assert_eq!(read(&mut command, service), *digests, "{service}");
    }
}
