//! The list of a registry's repositories: refused, missing, and never requested.

use std::sync::Arc;

use catalog::{Change, ChangeKind, Repository, RepositoryStatement};
use end_to_end::harness::stand_in::{Extras, Listing, StandIn, image_manifest};
use end_to_end::harness::{Store, repository, time};
use reconcile::job::MessageError;
use reconcile::{Reconcile, ReconcileError, ReconcileJob, RepositoryJobs};
use registries::{Registries, RegistryTargets, RegistryUnavailable, Subscriptions};
use secret::Secret;
use serde_json::{Value, json};

use super::Simulation;

/// A subscription `mirror` to a registry, with its right password or another one.
fn subscriptions(source: &str, url: &str, password: &str) -> Subscriptions {
    let subscription = json!({
        "id": "mirror", "source": source, "registryId": "210987654321",
        "credential": { "bearer": "token" },
        "registryUrl": url,
        "registryCredential": { "username": "reader", "password": password },
    });
    Subscriptions::parse(&json!([subscription]).to_string()).unwrap()
}

async fn listing_registry(listing: Listing, manifests: &[(&str, Value)]) -> StandIn {
    let extras = Extras { listing, ..Extras::default() };
    StandIn::start_with("team/app", manifests, extras).await
}

/// What is to be reconciled with that registry by a catalog that knows one repository of it.
async fn jobs(
    source: &str,
    listing: Listing,
    password: &str,
) -> Result<Vec<String>, ReconcileError> {
    let registry = listing_registry(listing, &[("v1", image_manifest(1))]).await;
    let subscriptions = subscriptions(source, &registry.url, password);
    Ok(names(all_jobs(subscriptions, &with_known_repository().await).await?))
}

fn names(jobs: RepositoryJobs) -> Vec<String> {
    let name = |job: ReconcileJob| {
        if job.prune { format!("{}, pruned", job.name) } else { job.name }
    };
    jobs.jobs.into_iter().map(name).collect()
}

async fn with_known_repository() -> Store {
    let store = Store::in_memory().await;
    let known = Repository {
        registry: catalog::RegistryId::parse("210987654321").unwrap(),
        ..repository("team/known")
    };
    let change = Change {
        repository: known,
        time: time(0),
        kind: ChangeKind::RepositoryStated(RepositoryStatement::default()),
    };
    store.writer.apply(&change).await.unwrap();
    store
}

async fn all_jobs(
    subscriptions: Subscriptions,
    store: &Store,
) -> Result<RepositoryJobs, ReconcileError> {
    let targets = RegistryTargets::new(None, &subscriptions);
    let reconcile = Reconcile {
        reader: store.reader.clone(),
        writer: store.writer.clone(),
        registries: Registries::new(Arc::new(Secret::known(subscriptions)), None),
        max_tags: usize::MAX,
    };
    reconcile.repositories(&targets, targets.get("mirror").unwrap()).await
}

#[tokio::test]
async fn a_list_that_is_refused_is_an_error() {
    for (status, number) in [("401 Unauthorized", 401), ("403 Forbidden", 403)] {
        let error = jobs("harbor", Listing::Refused(status), "secret").await.unwrap_err();
        let ReconcileError::Registry(RegistryUnavailable::ListRefused(refused)) = error else {
            panic!("{error:?}")
        };
        assert_eq!(refused, number);
    }
}

#[tokio::test]
async fn of_a_registry_without_a_list_the_known_repositories_are_reconciled() {
    for status in ["404 Not Found", "405 Method Not Allowed", "501 Not Implemented"] {
        let jobs = jobs("harbor", Listing::Refused(status), "secret").await.unwrap();
        assert_eq!(jobs, ["team/known"], "{status}");
    }
    assert_eq!(
        jobs("harbor", Listing::Everybody, "secret").await.unwrap(),
        ["team/app", "team/known, pruned"]
    );
}

#[tokio::test]
async fn docker_hub_github_and_quay_receive_no_request_for_a_list() {
    for source in ["docker-hub", "github", "quay"] {
        let jobs = jobs(source, Listing::Refused("401 Unauthorized"), "secret").await.unwrap();
        assert_eq!(jobs, ["team/known"], "{source}");
    }
}

/// Any web server answers as a registry without a list.
#[tokio::test]
async fn the_address_may_be_wrong_if_nothing_is_listed_and_nothing_is_known() {
    let registry = listing_registry(Listing::Refused("404 Not Found"), &[]).await;
    let store = Store::in_memory().await;
    let checked = async |source: &str, store: &Store| {
        all_jobs(subscriptions(source, &registry.url, "secret"), store).await.unwrap().checked()
    };
    let error = checked("harbor", &store).await.unwrap_err();
    assert!(matches!(error, ReconcileError::NothingKnown), "{error:?}");
    for source in ["docker-hub", "github", "quay"] {
        assert!(checked(source, &store).await.unwrap().jobs.is_empty(), "{source}");
    }
    let known = checked("harbor", &with_known_repository().await).await.unwrap();
    assert_eq!(names(known), ["team/known"]);
}

#[tokio::test]
async fn an_empty_list_is_a_list_and_deletes_nothing() {
    let empty = ("GET /v2/_catalog?n=1000".to_owned(), json!({ "repositories": [] }));
    let extras = Extras { api: [empty].into(), ..Extras::default() };
    let registry = StandIn::start_with("team/app", &[], extras).await;
    let subscriptions = subscriptions("harbor", &registry.url, "secret");
    let nothing = all_jobs(subscriptions.clone(), &Store::in_memory().await).await.unwrap();
    assert!(nothing.checked().unwrap().jobs.is_empty());
    let known = all_jobs(subscriptions, &with_known_repository().await).await.unwrap();
    assert!(!known.lacks_list);
    assert_eq!(names(known), ["team/known"]);
}

/// A token for a repository is not one for the list, which has a scope of its own.
#[tokio::test]
async fn a_registry_with_tokens_lists_its_repositories() {
    assert_eq!(
        jobs("distribution", Listing::Token, "secret").await.unwrap(),
        ["team/app", "team/known, pruned"]
    );
    let error = jobs("distribution", Listing::Token, "another").await.unwrap_err();
    assert!(
        matches!(error, ReconcileError::Registry(RegistryUnavailable::ListRefused(401))),
        "{error:?}"
    );
}

/// Follows the message of a registry whose list has this status.
async fn follow_message(status: &'static str) -> Result<(), MessageError> {
    let registry = listing_registry(Listing::Refused(status), &[]).await;
    let subscriptions = subscriptions("harbor", &registry.url, "another");
    let simulation = Simulation::new(0, 0).await;
    let mut jobs = simulation.jobs();
    jobs.subscriptions = Arc::new(Secret::known(subscriptions));
    jobs.reconcile.registries = Registries::new(Arc::clone(&jobs.subscriptions), None);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_mins(1);
    let message = r#"{"reconcile":"registry","from":"mirror"}"#;
    jobs.run(message, deadline).await
}

/// A new registry has no repository in the catalog until its first event.
#[tokio::test]
async fn the_schedule_accepts_a_registry_without_a_list() {
    follow_message("404 Not Found").await.unwrap();
}

/// The message is delivered again, and moves to the dead letters at last.
#[tokio::test]
async fn the_schedule_reports_a_list_that_is_refused() {
    let error = follow_message("401 Unauthorized").await.unwrap_err();
    let causes = catalog::table::causes(&error);
    assert!(
        causes.contains("the list of repositories is refused, with the status 401"),
        "{causes}"
    );
}
