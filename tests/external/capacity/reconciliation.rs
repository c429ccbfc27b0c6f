//! What a reconciliation with Amazon ECR reads and writes, by the engine's own reports.

use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use catalog::{RegistryId, Service};
use end_to_end::harness::{
    InProcess, REGISTRY, Store, configuration, digest, engine_client, json_response, operation,
    print,
};
use image_catalog::aws::dynamodb::Engine;
use reconcile::{Reconcile, ReconcileJob};
use registries::{EcrClient, Registries, RegistryTarget, Subscriptions};
use secret::Secret;
use serde_json::{Value, json};

const IMAGES: u64 = 100;

/// The units of all requests since the last look.
#[derive(Clone, Default)]
struct Meter(Arc<Mutex<Units>>);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Units {
    read: f64,
    write: f64,
}

impl Meter {
    /// A store whose requests are metered.
    async fn store(&self) -> Store {
        let (engine, meter) = (Engine::in_memory().unwrap(), self.clone());
        let client = InProcess(move |request: HttpRequest| {
            let (engine, meter) = (engine.clone(), meter.clone());
            async move {
                let (operation, _) = operation(&request);
                let response = engine.call(request).await?;
                let body: Value = serde_json::from_slice(response.body().bytes().unwrap()).unwrap();
                meter.add(&operation, &body["ConsumedCapacity"]);
                Ok(response)
            }
        });
        Store::new(aws_sdk_dynamodb::Client::from_conf(engine_client(client).build())).await
    }

    fn add(&self, operation: &str, consumed: &Value) {
        // Requests for several tables report each of them.
        let all = consumed.as_array().map_or(std::slice::from_ref(consumed), Vec::as_slice);
        let units: f64 = all.iter().filter_map(|one| one["CapacityUnits"].as_f64()).sum();
        let mut total = self.0.lock().unwrap();
        match operation {
            "GetItem" | "BatchGetItem" | "Query" | "Scan" => total.read += units,
            _ => total.write += units,
        }
    }

    fn take(&self) -> Units {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A repository of Amazon ECR with `IMAGES` images, each with a tag.
fn ecr() -> EcrClient {
    EcrClient::new(&configuration(InProcess(|request: HttpRequest| async move {
        let (operation, _) = operation(&request);
        let body = match operation.as_str() {
            "DescribeImages" => {
                let image = |number| {
                    json!({
                        "imageDigest": digest(number),
                        "imageTags": [format!("v{number}")],
                        "imageSizeInBytes": 50_000_000,
                        "imagePushedAt": 1_767_225_600 + number,
                        "imageManifestMediaType": "application/vnd.oci.image.manifest.v1+json",
                        "artifactMediaType": "application/vnd.oci.image.config.v1+json",
                        "imageStatus": "ACTIVE",
                    })
                };
                json!({ "imageDetails": (0..IMAGES).map(image).collect::<Vec<_>>() })
            }
            "DescribeRepositories" => json!({ "repositories": [{
                "repositoryName": "app",
                "repositoryArn": format!("arn:aws:ecr:us-east-1:{REGISTRY}:repository/app"),
                "repositoryUri": format!("{REGISTRY}.dkr.ecr.us-east-1.amazonaws.com/app"),
                "createdAt": 1_767_225_600,
                "imageTagMutability": "MUTABLE",
                "imageScanningConfiguration": { "scanOnPush": false },
                "encryptionConfiguration": { "encryptionType": "AES256" },
            }] }),
            "ListTagsForResource" => json!({ "tags": [{ "Key": "team", "Value": "a" }] }),
            other => panic!("{other}"),
        };
        let mut response = json_response(200, &body);
        response.headers_mut().insert("date", "Sun, 22 Nov 2026 00:00:00 GMT");
        Ok(response)
    })))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reconciliation_without_drift_only_reads_the_repository() {
    let meter = Meter::default();
    let store = meter.store().await;
    let subscriptions = Arc::new(Secret::known(Subscriptions::default()));
    let reconcile = Reconcile {
        reader: store.reader.clone(),
        writer: store.writer.clone(),
        registries: Registries::new(subscriptions, Some(ecr())),
        max_tags: usize::MAX,
    };
    let account = RegistryId::parse(REGISTRY).unwrap();
    let target = RegistryTarget::from_account(Service::Ecr, account);
    let job = ReconcileJob { name: "app".to_owned(), prune: false, after: None };
    let images = IMAGES as f64;
    meter.take();

    let drift = reconcile.find_drift(&target, &job).await.unwrap();
    let repaired = reconcile.repair(&drift, None).await.unwrap();
    assert_eq!((repaired.repaired, repaired.superseded), (drift.changes.len(), 0));
    let filled = meter.take();
    print(format!(
        "a reconciliation that finds {IMAGES} images with a tag each: for each image {} write units and {} read units",
        filled.write / images,
        filled.read / images
    ));

    assert!(filled.write <= 13.5 * images && filled.read <= 12.0 * images, "{filled:?}");

    let drift = reconcile.find_drift(&target, &job).await.unwrap();
    reconcile.repair(&drift, None).await.unwrap();
    let unchanged = meter.take();
    print(format!("a reconciliation without drift: {} read units", unchanged.read));
    assert!(drift.changes.is_empty(), "{drift:?}");
    assert_eq!(unchanged.write, 0.0);
    // A page of as many images, and the repository itself.
    assert!(unchanged.read <= 8.0, "{unchanged:?}");
}
