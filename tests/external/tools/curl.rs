//! curl, which signs with `--aws-sigv4`.

use end_to_end::harness::{REGION, folder, repository, require};
use end_to_end::reference::cloud_trail::public_repository;
use serde_json::{Value, json};

use super::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, SHOP, details, json_output};

#[test]
fn curl_reads_both_services() {
    let test = "curl_reads_both_services";
    let Some(curl) = require(test, "curl") else { return };
    let folder = folder(test);
    let request = |service: &str, prefix: &str, secret: &str, body: Value| {
        let mut command = SHOP.command(&curl, &folder);
        command.args(["--silent", "--show-error", &SHOP.catalog.url]);
        command.args(["--aws-sigv4", &format!("aws:amz:{REGION}:{service}")]);
        command.args(["--user", &format!("{ACCESS_KEY_ID}:{secret}")]);
        command.args(["--header", &format!("x-amz-target: {prefix}.DescribeImages")]);
        command.args(["--header", "content-type: application/x-amz-json-1.1"]);
        json_output(command.args(["--data", &body.to_string()]))
    };
    let services = [
        ("ecr", "AmazonEC2ContainerRegistry_V20150921", repository("shop/api")),
        ("ecr-public", "SpencerFrontendService", public_repository("shop/api")),
    ];
    for (service, prefix, repository) in services {
        let all = json!({ "repositoryName": "shop/api", "maxResults": 1000 });
        let response = request(service, prefix, SECRET_ACCESS_KEY, all.clone());
        assert_eq!(details(&response), SHOP.details(&repository), "{service}");

        let latest =
            json!({ "repositoryName": "shop/api", "imageIds": [{ "imageTag": "latest" }] });
        let response = request(service, prefix, SECRET_ACCESS_KEY, latest);
        let digest = SHOP.tagged(&repository, "latest").digest();
        assert_eq!(response["imageDetails"][0]["imageDigest"], json!(digest), "{service}");

        let response = request(service, prefix, "another secret", all);
        assert_eq!(response["__type"], "InvalidSignatureException", "{service}");
    }
}
