//! `image-catalog reconcile --from ecr` and `--from ecr-public`, which fill a catalog from another.

use catalog::Repository;
use end_to_end::harness::{
    Ended, Process, REGISTRY, command, folder, repository, without_aws_configuration,
};
use end_to_end::reference::cloud_trail::public_repository;
use serde_json::{Value, json};

use super::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, SHOP, details};

#[test]
fn reconcile_fills_a_catalog_from_another() {
    const ECR: &str = "AmazonEC2ContainerRegistry_V20150921";
    let folder = folder("reconcile_fills_a_catalog_from_another");
    for service in ["ecr", "ecr-public"] {
        let mut command = command(&folder);
        without_aws_configuration(&mut command);
        command.envs([
            ("AWS_ENDPOINT_URL_ECR", SHOP.catalog.url.as_str()),
            ("AWS_ENDPOINT_URL_ECR_PUBLIC", &SHOP.catalog.url),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        ]);
        command.args(["reconcile", "--data", "data", "--from", service, "--registry", REGISTRY]);
        let ended = Ended::run(&mut command);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains(" repositories reconciled, "), "{}", ended.stdout);
    }

    let process = Process::start_with_data(&folder);
    let request = |operation: &str, body: Value| -> Value {
        let request = process.http.post(&process.url).header("x-amz-target", operation).json(&body);
        SHOP.runtime.block_on(async { request.send().await.unwrap().json().await.unwrap() })
    };
    let read = |target: &str, repository: &Repository| {
        let all = json!({ "repositoryName": repository.name, "maxResults": 1000 });
        details(&request(&format!("{target}.DescribeImages"), all))
    };
    for repository in [repository("shop/api"), repository("shop/web")] {
        assert_eq!(read(ECR, &repository), SHOP.details(&repository));
    }
    let repository = public_repository("shop/api");
    assert_eq!(read("SpencerFrontendService", &repository), SHOP.details(&repository));

    let names = json!({ "repositoryNames": ["shop/web"] });
    let response = request(&format!("{ECR}.DescribeRepositories"), names);
    let web = &response["repositories"][0];
    assert_eq!(web["imageTagMutability"], "IMMUTABLE", "{response}");
    assert_eq!(web["imageScanningConfiguration"], json!({ "scanOnPush": true }), "{response}");
    assert_eq!(web["createdAt"], 1_767_225_599, "{response}");
}
