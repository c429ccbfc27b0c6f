//! Amazon ECR Public: its client, lookups in it, and reconciliation with it. The server is another
//! catalog, whose public service answers as Amazon ECR Public does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::Region;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use catalog::change::Content;
use catalog::image::Image;
use catalog::{Change, ChangeKind, RegistryId, Repository, Service, Timestamp};
use end_to_end::harness::{
    Catalog, InProcess, REGION, REGISTRY, Store, configuration, digest, json_response, operation,
    repository, tag, time,
};
use end_to_end::reference::cloud_trail::public_repository;
use ingest_events::Ingest;
use ingest_events::source::Origin;
use reconcile::Reconcile;
use reconcile::job::{Jobs, MessageError};
use registries::{
    EcrClient, ManifestLookup, Registries, Registry, RegistryTarget, RegistryTargets, Source,
    Subscriptions,
};
use secret::Secret;
use serde_json::{Value, json};

use super::{Simulation, listed, reconcile, simulated_name};

fn account() -> RegistryId {
    RegistryId::parse(REGISTRY).unwrap()
}

/// An account's registries in both services.
struct Account {
    catalog: Catalog,
    /// The host and the target of each request.
    requests: Arc<Mutex<Vec<(String, String)>>>,
    /// The second of the `Date` in responses.
    second: Arc<AtomicU32>,
}

impl Account {
    async fn start() -> Self {
        let catalog = Catalog::start().await;
        Self { catalog, requests: Arc::default(), second: Arc::default() }
    }

    async fn push(&self, repository: &Repository, milliseconds: i64, number: u64, name: &str) {
        let content = Content {
            manifest_media_type: Some("a/a".to_owned()),
            size_in_bytes: Some(number.cast_signed()),
            ..Content::default()
        };
        let kind =
            ChangeKind::ImagePushed { digest: digest(number), tag: Some(tag(name)), content };
        self.apply(repository, milliseconds, kind).await;
    }

    async fn apply(&self, repository: &Repository, milliseconds: i64, kind: ChangeKind) {
        let change = Change { repository: repository.clone(), time: time(milliseconds), kind };
        self.catalog.store.writer.apply(&change).await.unwrap();
    }

    /// The client of a catalog in this region.
    fn client(&self, region: &'static str) -> EcrClient {
        let (url, requests) = (self.catalog.url.clone(), Arc::clone(&self.requests));
        let (reader, second) = (self.catalog.store.reader.clone(), Arc::clone(&self.second));
        let respond = move |request: HttpRequest| {
            let (url, requests) = (url.clone(), Arc::clone(&requests));
            let second = second.load(Ordering::Relaxed);
            let reader = reader.clone();
            async move {
                let host = request.uri().split('/').nth(2).unwrap_or_default().to_owned();
                let target = request.headers().get("x-amz-target").unwrap().to_owned();
                requests.lock().unwrap().push((host, target.clone()));
                let (operation, body) = operation(&request);
                if operation == "DescribeRepositories" {
                    let service = if target.starts_with("Spencer") {
                        Service::EcrPublic
                    } else {
                        Service::Ecr
                    };
                    let all = reader.repositories(service, &account()).await.unwrap();
                    let named: Vec<Value> = all
                        .iter()
                        .map(|repository| json!({ "repositoryName": repository.name }))
                        .collect();
                    return Ok(json_response(200, &json!({ "repositories": named })));
                }
                let request = reqwest::Client::new().post(&url).header("x-amz-target", target);
                let response = request.body(body.to_string()).send().await;
                let response = response.map_err(|error| ConnectorError::io(error.into()))?;
                let date = format!("Sun, 22 Nov 2026 00:00:{second:02} GMT");
                let status = response.status().as_u16();
                let mut response = json_response(status, &response.json().await.unwrap());
                response.headers_mut().insert("date", date);
                Ok(response)
            }
        };
        let configuration = configuration(InProcess(respond)).into_builder();
        EcrClient::new(&configuration.region(Region::from_static(region)).build())
    }
}

/// Reconciles all repositories of the service. Returns the number of differences.
async fn reconcile_all(reconcile: &Reconcile, service: Service) -> usize {
    let target = RegistryTarget::from_account(service, account());
    let all = RegistryTargets::new(Some(&account()), &Subscriptions::default());
    let mut differences = 0;
    for job in reconcile.repositories(&all, &target).await.unwrap().jobs {
        let drift = reconcile.find_drift(&target, &job).await.unwrap();
        let repaired = reconcile.repair(&drift, None).await.unwrap();
        assert_eq!(repaired.repaired, drift.changes.len(), "{:#?}", drift.changes);
        differences += drift.changes.len();
    }
    differences
}

async fn everything(store: &Store, service: Service) -> BTreeMap<Repository, Vec<Image>> {
    let mut everything = BTreeMap::new();
    for repository in store.reader.repositories(service, &account()).await.unwrap() {
        let images = listed(store, &repository).await.unwrap();
        everything.insert(repository, images);
    }
    everything
}

#[tokio::test]
async fn each_service_is_filled_from_its_own_registry_and_its_drift_is_repaired() {
    let there = Account::start().await;
    let (private, public) = (repository("team/app"), public_repository("team/app"));
    there.push(&private, 1_234, 1, "v1").await;
    there.push(&public, 2_345, 2, "v1").await;
    there.push(&public, 3_456, 3, "latest").await;
    there.push(&public_repository("team/only"), 0, 4, "v4").await;
    let here = Store::in_memory().await;
    let reconcile = reconcile(&here, Subscriptions::default(), Some(there.client(REGION)));
    for (service, differences) in [(Service::EcrPublic, 8), (Service::Ecr, 3)] {
        assert_eq!(reconcile_all(&reconcile, service).await, differences);
        assert_eq!(reconcile_all(&reconcile, service).await, 0);
        let expected = everything(&there.catalog.store, service).await;
        assert_eq!(everything(&here, service).await, expected, "exact to the millisecond");
    }

    // A deletion, a moved tag and a deleted repository, without events.
    there.apply(&public, 5_000, ChangeKind::ImageDeleted { digest: digest(2) }).await;
    there.push(&public, 6_000, 5, "latest").await;
    let only = public_repository("team/only");
    there.apply(&only, 6_000, ChangeKind::RepositoryDeleted).await;
    there.second.store(1, Ordering::Relaxed);
    assert_eq!(reconcile_all(&reconcile, Service::Ecr).await, 0);
    assert_eq!(reconcile_all(&reconcile, Service::EcrPublic).await, 4);
    let expected = everything(&there.catalog.store, Service::EcrPublic).await;
    assert_eq!(everything(&here, Service::EcrPublic).await, expected);
}

/// Rule 57: an event contains whole seconds, and ECR's `imagePushedAt` is exact.
#[tokio::test]
async fn r57_the_exact_time_of_a_push_replaces_the_second_of_its_event() {
    for repository in [repository("app"), public_repository("app")] {
        let there = Account::start().await;
        there.push(&repository, 1_234, 1, "v1").await;
        there.push(&repository, 1_567, 2, "v2").await;
        let here = Store::in_memory().await;
        for number in [1, 2] {
            let content = Content {
                manifest_media_type: Some("a/a".to_owned()),
                size_in_bytes: Some(number),
                ..Content::default()
            };
            let kind = ChangeKind::ImagePushed {
                digest: digest(number.cast_unsigned()),
                tag: Some(tag(&format!("v{number}"))),
                content,
            };
            // EventBridge's seconds, in the wrong order.
            let change =
                Change { repository: repository.clone(), time: time(3_000 - number * 1_000), kind };
            here.writer.apply(&change).await.unwrap();
        }
        let reconcile = reconcile(&here, Subscriptions::default(), Some(there.client(REGION)));
        assert_eq!(reconcile_all(&reconcile, repository.service).await, 2);
        let images = listed(&here, &repository).await.unwrap();
        let times: Vec<Timestamp> = images.iter().map(|image| image.image_pushed_at).collect();
        assert_eq!(times, [time(1_567), time(1_234)]);
        assert_eq!(reconcile_all(&reconcile, repository.service).await, 0);
    }
}

/// Amazon ECR Public is in us-east-1, whatever region the catalog follows. Lookups in repositories
/// of one name go to the service of each, and those of one service share a request.
#[tokio::test]
async fn lookups_go_to_the_service_of_their_repository() {
    let there = Account::start().await;
    there.push(&repository("app"), 1_234, 1, "v1").await;
    for number in [2, 3] {
        there.push(&public_repository("app"), 2_345, number, &format!("v{number}")).await;
    }
    let subscriptions = Arc::new(Secret::known(Subscriptions::default()));
    let registries = Registries::new(subscriptions, Some(there.client("eu-central-1")));
    let look_up = async |service, number: u64| {
        let registry = Registry::Ecr { service, account: account() };
        let digest = digest(number);
        match registries.manifest(&registry, "app", digest.as_str()).await.unwrap() {
            ManifestLookup::Found(found) => Some((found.content.size_in_bytes, found.pushed_at)),
            ManifestLookup::NotFound(_) => None,
        }
    };
    let found = futures_util::join!(
        look_up(Service::Ecr, 1),
        look_up(Service::EcrPublic, 2),
        look_up(Service::EcrPublic, 3),
    );
    let size = |number, milliseconds| Some((Some(number), Some(time(milliseconds))));
    assert_eq!(found, (size(1, 1_234), size(2, 2_345), size(3, 2_345)));
    let mut requests = std::mem::take(&mut *there.requests.lock().unwrap());
    requests.sort();
    assert_eq!(
        requests,
        [
            (
                "api.ecr-public.us-east-1.amazonaws.com".to_owned(),
                "SpencerFrontendService.DescribeImages".to_owned()
            ),
            (
                "api.ecr.eu-central-1.amazonaws.com".to_owned(),
                "AmazonEC2ContainerRegistry_V20150921.DescribeImages".to_owned()
            ),
        ]
    );
    assert_eq!(look_up(Service::Ecr, 2).await, None);
    assert_eq!(look_up(Service::EcrPublic, 1).await, None);
}

/// A record without a readable manifest leads to a lookup.
#[tokio::test]
async fn a_record_without_a_manifest_is_completed_by_a_lookup_in_ecr_public() {
    let there = Account::start().await;
    there.push(&public_repository("app"), 778, 7, "v7").await;
    let here = Store::in_memory().await;
    let ecr = Some(there.client(REGION));
    let subscriptions = Secret::known(Subscriptions::default());
    let ingest = Ingest::new(here.table.clone(), REGION.to_owned(), subscriptions, ecr, Vec::new());
    let record = json!({
        "eventSource": "ecr-public.amazonaws.com",
        "eventName": "PutImage",
        "eventTime": time(0),
        "awsRegion": "us-east-1",
        "recipientAccountId": REGISTRY,
        "requestParameters": { "repositoryName": "app" },
        "responseElements": { "image": { "imageId": { "imageDigest": digest(7) } } },
    });
    let origin = Origin::new(Source::Ecr, account(), Timestamp::now());
    let ingested = ingest.ingest(&origin, record.to_string().as_bytes()).await.unwrap();
    assert_eq!(ingested.report.applied, 1);
    let until = tokio::time::Instant::now() + Duration::from_mins(1);
    ingest.complete(&ingested.lookups, until).await.unwrap();
    let images = listed(&here, &public_repository("app")).await.unwrap();
    assert_eq!(images[0].image_size_in_bytes, Some(7));
    assert_eq!(images[0].image_pushed_at, time(778), "the exact time");
    assert_eq!(listed(&here, &repository("app")).await, None);
}

/// `template.yaml` has a parameter for accounts without Amazon ECR Public.
#[tokio::test]
async fn the_schedule_reconciles_ecr_public_only_if_it_is_wanted() {
    for has_ecr_public in [true, false] {
        let simulation = Simulation::new(2, 1).await;
        let jobs = Jobs { has_ecr_public, ..simulation.jobs() };
        let deadline = || tokio::time::Instant::now() + Duration::from_mins(1);
        let mut messages = VecDeque::from([r#"{"reconcile":"registries"}"#.to_owned()]);
        while let Some(message) = messages.pop_front() {
            jobs.run(&message, deadline()).await.unwrap();
            messages.extend(simulation.waiting.lock().unwrap().drain(..));
        }
        assert_eq!(simulation.images().await, 2);
        let public = public_repository(&simulated_name(0));
        let public = listed(&simulation.store, &public).await;
        assert_eq!(public.map(|images| images.len()), has_ecr_public.then_some(1));

        let message = r#"{"reconcile":"registry","from":"ecr-public"}"#;
        match jobs.run(message, deadline()).await {
            Ok(()) => assert!(has_ecr_public),
            Err(MessageError::UnknownRegistry(id)) => {
                assert_eq!((has_ecr_public, id.as_str()), (false, "ecr-public"));
            }
            Err(error) => panic!("{error}"),
        }
    }
}
