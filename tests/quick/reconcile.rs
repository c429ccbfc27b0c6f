//! Drift between a registry and the catalog, and reconciliation through a queue.

mod assumed;
mod ecr_public;
mod lists;
mod product_times;
mod property;
mod push_times;
mod queue;
mod repairs;
mod scans;
mod targets;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use catalog::image::Image;
use catalog::reader::Filter;
use catalog::{RegistryId, Repository, Service};
use end_to_end::harness::stand_in::StandIn;
use end_to_end::harness::{
    InProcess, REGISTRY, Store, configuration, digest, json_response, operation, repository, time,
};
use reconcile::Reconcile;
use reconcile::job::Jobs;
use registries::{
    EcrClient, Registries, Registry, RegistryAddress, RegistryTarget, Scope, Subscriptions,
};
use secret::Secret;
use serde_json::{Value, json};

async fn listed(store: &Store, repository: &Repository) -> Option<Vec<Image>> {
    let filter = Filter { tag_status: None, image_status: None };
    Some(store.page(repository, &filter, None, 1_000_000).await.ok()?.images)
}

/// A simulated Amazon ECR and a simulated queue, in this process.
struct Simulation {
    store: Store,
    repositories: usize,
    images: usize,
    waiting: Arc<Mutex<VecDeque<String>>>,
    /// Whether the queue refuses one of its next messages.
    is_refusing: Arc<AtomicBool>,
}

fn simulated_name(number: usize) -> String {
    format!("team-{:02}/app-{number:05}", number % 100)
}

impl Simulation {
    async fn new(repositories: usize, images: usize) -> Self {
        let store = Store::in_memory().await;
        Self { store, repositories, images, waiting: Arc::default(), is_refusing: Arc::default() }
    }

    fn ecr(&self) -> EcrClient {
        let (repositories, images) = (self.repositories, self.images);
        EcrClient::new(&configuration(InProcess(move |request: HttpRequest| async move {
            let (operation, body) = operation(&request);
            if operation == "ListTagsForResource" {
                return Ok(json_response(200, &json!({ "tags": [] })));
            }
            if let Some(names) = body["repositoryNames"].as_array() {
                let described = |name: &Value| json!({ "repositoryName": name, "repositoryArn": "arn", "createdAt": 1 });
                let repositories: Vec<Value> = names.iter().map(described).collect();
                return Ok(json_response(200, &json!({ "repositories": repositories })));
            }
            let most = usize::try_from(body["maxResults"].as_u64().unwrap()).unwrap();
            let first: usize = body["nextToken"].as_str().map_or(0, |token| token.parse().unwrap());
            let page = |total: usize| (first..total.min(first + most), total > first + most);
            let (mut response, more) = if operation == "DescribeRepositories" {
                let (numbers, more) = page(repositories);
                let named: Vec<Value> = numbers
                    .map(|number| json!({ "repositoryName": simulated_name(number) }))
                    .collect();
                (json!({ "repositories": named }), more)
            } else {
                let (numbers, more) = page(images);
                let details: Vec<Value> = numbers
                    .map(|number| {
                        json!({
                            "imageDigest": digest(number as u64),
                            "imageTags": [format!("v{number}")],
                            "imageSizeInBytes": 1000 + number,
                            "imagePushedAt": 1_767_225_600 + number,
                        })
                    })
                    .collect();
                (json!({ "imageDetails": details }), more)
            };
            if more {
                response["nextToken"] = json!((first + most).to_string());
            }
            let mut response = json_response(200, &response);
            response.headers_mut().insert("date", "Sun, 22 Nov 2026 00:00:00 GMT");
            Ok(response)
        })))
    }

    fn queue(&self) -> aws_sdk_sqs::Client {
        let (waiting, is_refusing) = (Arc::clone(&self.waiting), Arc::clone(&self.is_refusing));
        aws_sdk_sqs::Client::new(&configuration(InProcess(move |request: HttpRequest| {
            let (operation, body) = operation(&request);
            assert_eq!(operation, "SendMessageBatch");
            let entries = body["Entries"].as_array().unwrap();
            assert!((1..=10).contains(&entries.len()));
            let (mut successful, mut failed) = (Vec::new(), Vec::new());
            for entry in entries {
                if is_refusing.swap(false, Ordering::Relaxed) {
                    failed.push(
                        json!({ "Id": entry["Id"], "Code": "InternalError", "SenderFault": false }),
                    );
                    continue;
                }
                waiting
                    .lock()
                    .unwrap()
                    .push_back(entry["MessageBody"].as_str().unwrap().to_owned());
                let sum = "00000000000000000000000000000000";
                successful.push(
                    json!({ "Id": entry["Id"], "MessageId": "message", "MD5OfMessageBody": sum }),
                );
            }
            async move { Ok(json_response(200, &json!({ "Successful": successful, "Failed": failed }))) }
        })))
    }

    fn jobs(&self) -> Jobs {
        let subscriptions = Arc::new(Secret::known(Subscriptions::default()));
        Jobs {
            reconcile: Reconcile {
                reader: self.store.reader.clone(),
                writer: self.store.writer.clone(),
                registries: Registries::new(Arc::clone(&subscriptions), Some(self.ecr())),
                max_tags: usize::MAX,
            },
            account: RegistryId::parse(REGISTRY).unwrap(),
            other_accounts: Vec::new(),
            has_ecr_public: false,
            subscriptions,
            client: self.queue(),
            queue_url: "http://queue".to_owned(),
        }
    }

    /// Delivers a message to the function, with a time limit. Returns whether it succeeded.
    async fn deliver(&self, jobs: &Jobs, body: &str, limit: Duration) -> bool {
        jobs.run(body, tokio::time::Instant::now() + limit).await.is_ok()
    }

    async fn images(&self) -> usize {
        let mut images = 0;
        for number in 0..self.repositories {
            let repository = repository(&simulated_name(number));
            images += listed(&self.store, &repository).await.unwrap().len();
        }
        images
    }
}

/// A time with enough distance from the next one.
fn minutes(number: i64) -> catalog::Timestamp {
    time(number * 120_000)
}

/// Reconciles a store with the registries of subscriptions, and with Amazon's.
fn reconcile(store: &Store, subscriptions: Subscriptions, ecr: Option<EcrClient>) -> Reconcile {
    Reconcile {
        reader: store.reader.clone(),
        writer: store.writer.clone(),
        registries: Registries::new(Arc::new(Secret::known(subscriptions)), ecr),
        max_tags: usize::MAX,
    }
}

/// A registry without a subscription.
fn target(registry: &StandIn) -> RegistryTarget {
    RegistryTarget {
        id: "registry".to_owned(),
        registry: Registry::Oci(RegistryAddress::from_url(&registry.url.parse().unwrap()).unwrap()),
        source: None,
        scope: Scope {
            service: Service::Ecr,
            registry_id: RegistryId::parse(REGISTRY).unwrap(),
            repository_prefix: None,
        },
    }
}
