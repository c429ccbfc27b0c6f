//! Reconciliation at an interval.

use std::sync::Arc;
use std::time::Duration;

use catalog::{Reconciliations, RegistryId, Service, Timestamp};
use end_to_end::harness::stand_in::{Extras, Listing, StandIn, image_manifest, index_manifest};
use end_to_end::harness::{REGISTRY, Store, eventually, repository};
use futures_util::FutureExt as _;
use image_catalog::aws::reconcile_schedule::ReconcileSchedule;
use image_catalog::reconciliation::Reconciliation;
use reconcile::Reconcile;
use registries::{
    Registries, Registry, RegistryAddress, RegistryTarget, RegistryTargets, Scope, Source,
    Subscriptions,
};
use secret::Secret;
use tokio::sync::oneshot;

const HOUR: Duration = Duration::from_hours(1);

/// A registry target with the id `registry`.
fn target(registry: &StandIn, source: Option<Source>) -> RegistryTarget {
    let address = RegistryAddress::from_url(&registry.url.parse().unwrap()).unwrap();
    RegistryTarget {
        id: "registry".to_owned(),
        registry: Registry::Oci(address),
        source,
        scope: Scope {
            service: Service::Ecr,
            registry_id: RegistryId::parse(REGISTRY).unwrap(),
            repository_prefix: None,
        },
    }
}

fn reconcile(store: &Store) -> Reconcile {
    Reconcile {
        reader: store.reader.clone(),
        writer: store.writer.clone(),
        registries: Registries::new(Arc::new(Secret::known(Subscriptions::default())), None),
        max_tags: usize::MAX,
    }
}

/// A schedule that runs until it is dropped.
struct Running {
    schedule: Arc<ReconcileSchedule>,
    _end: oneshot::Sender<()>,
}

impl Running {
    fn start(store: &Store, target: RegistryTarget, every: Duration, prunes: bool) -> Self {
        Self::start_all(store, vec![target], every, prunes)
    }

    fn start_all(store: &Store, all: Vec<RegistryTarget>, every: Duration, prunes: bool) -> Self {
        let mut targets = RegistryTargets::default();
        targets.targets.extend(all);
        let table = store.table.clone();
        let schedule = Arc::new(ReconcileSchedule::new(table, targets, Some(every), prunes));
        let (end, ended) = oneshot::channel();
        schedule.start(reconcile(store), ended.map(drop));
        Self { schedule, _end: end }
    }

    /// The last reconciliation, once it passes a check.
    async fn last(&self, is_expected: impl Fn(&Reconciliation) -> bool) -> Reconciliation {
        let last = || self.schedule.registries().remove(0).last.filter(&is_expected);
        eventually("a reconciliation", async || last().is_some()).await;
        last().unwrap()
    }
}

#[tokio::test]
async fn a_registry_is_reconciled_at_the_start_and_again_after_the_interval() {
    let store = Store::in_memory().await;
    let registry = StandIn::start("team/app", &[("v1", image_manifest(1))]).await;
    let running = Running::start(&store, target(&registry, None), Duration::from_millis(50), false);
    let first = running.last(|_| true).await;
    assert!(first.error.is_none() && first.failed == 0, "{first:?}");
    assert_eq!((first.repositories, first.drift, first.repaired), (1, 3, 3), "{first:?}");
    assert_eq!(
        store
            .page(&repository("team/app"), &Default::default(), None, 10)
            .await
            .unwrap()
            .images
            .len(),
        1
    );
    let second = running.last(|last| last.started_at > first.started_at).await;
    assert_eq!((second.repositories, second.drift), (1, 0), "{second:?}");
    assert!(second.started_at >= first.started_at.plus(Duration::from_millis(50)));
}

#[tokio::test]
async fn one_that_was_reconciled_within_the_interval_waits() {
    let store = Store::in_memory().await;
    let registry = StandIn::start("team/app", &[("v1", image_manifest(1))]).await;
    let first = {
        let running = Running::start(&store, target(&registry, None), HOUR, false);
        running.last(|_| true).await
    };
    let requests = registry.requests.lock().unwrap().len();
    // Another process, with another registry, which is due. If both were, the first one would be
    // reconciled before it.
    let other = StandIn::start("team/other", &[("v1", image_manifest(2))]).await;
    let other = RegistryTarget { id: "other".to_owned(), ..target(&other, None) };
    let targets = vec![target(&registry, None), other];
    let running = Running::start_all(&store, targets, HOUR, false);
    let is_reconciled = || running.schedule.registries().remove(1).last.is_some();
    eventually("the other reconciliation", async || is_reconciled()).await;
    let state = running.schedule.registries().remove(0);
    assert_eq!(state.next, Some(first.started_at.plus(HOUR)));
    assert_eq!(state.last, Some(first));
    assert_eq!(registry.requests.lock().unwrap().len(), requests);
}

/// The clock was a year ahead when it was written.
#[tokio::test]
async fn a_reconciliation_of_the_future_is_none() {
    let store = Store::in_memory().await;
    let registry = StandIn::start("team/app", &[("v1", image_manifest(1))]).await;
    let now = Timestamp::now();
    let ahead = now.plus(Duration::from_hours(365 * 24));
    let future = Reconciliation { started_at: ahead, ended_at: ahead, ..Reconciliation::begin() };
    Reconciliations::new(store.table.clone()).put("registry", &future).await.unwrap();
    let running = Running::start(&store, target(&registry, None), HOUR, false);
    let last = running.last(|_| true).await;
    assert!(now <= last.started_at && last.ended_at < ahead, "{last:?}");
    let next = running.schedule.registries().remove(0).next;
    assert_eq!(next, Some(last.started_at.plus(HOUR)));
}

#[tokio::test]
async fn a_registry_all_of_whose_repositories_failed_is_tried_again_soon() {
    let store = Store::in_memory().await;
    let registry = StandIn::start("team/app", &[("v1", image_manifest(1))]).await;
    let failed = Reconciliation { failed: 2, ..Reconciliation::begin() };
    let others_done = Reconciliation { repositories: 1, ..failed.clone() };
    for (last, delay) in [(failed, Duration::from_mins(5)), (others_done, HOUR)] {
        Reconciliations::new(store.table.clone()).put("registry", &last).await.unwrap();
        let running = Running::start(&store, target(&registry, None), HOUR, false);
        assert_eq!(running.last(|_| true).await, last);
        let next = running.schedule.registries().remove(0).next;
        assert_eq!(next, Some(last.ended_at.plus(delay)));
    }
}

#[tokio::test]
async fn a_registry_that_cannot_be_listed_is_tried_again_soon() {
    let store = Store::in_memory().await;
    let refused =
        Extras { listing: Listing::Refused("503 Service Unavailable"), ..Extras::default() };
    let registry = StandIn::start_with("team/app", &[("v1", image_manifest(1))], refused).await;
    let running = Running::start(&store, target(&registry, None), HOUR, false);
    let last = running.last(|_| true).await;
    let error = "the registry is unavailable: the response has the status 503";
    assert_eq!(last.error.as_deref(), Some(error));
    assert_eq!((last.repositories, last.failed), (0, 0));
    let next = running.schedule.registries().remove(0).next;
    assert_eq!(next, Some(last.ended_at.plus(Duration::from_mins(5))));
}

#[tokio::test]
async fn a_registry_without_a_list_and_without_repositories_is_a_failure() {
    let store = Store::in_memory().await;
    let missing = Extras { listing: Listing::Refused("404 Not Found"), ..Extras::default() };
    let registry = StandIn::start_with("team/app", &[], missing).await;
    let last = Running::start(&store, target(&registry, None), HOUR, false).last(|_| true).await;
    let error = "the registry does not list its repositories, and the catalog has none of it: is \
                 this its address?";
    assert_eq!(last.error.as_deref(), Some(error));
    // This product never returns a list.
    let store = Store::in_memory().await;
    let target = target(&registry, Some(Source::DockerHub));
    let last = Running::start(&store, target, HOUR, false).last(|_| true).await;
    assert_eq!(last.error, None);
}

/// The registry has an index that does not fit into an item of the table.
#[tokio::test]
async fn what_is_not_repaired_is_counted() {
    let store = Store::in_memory().await;
    let manifests = [("one", image_manifest(1)), ("huge", index_manifest(1001))];
    let registry = StandIn::start("team/app", &manifests).await;
    let last = Running::start(&store, target(&registry, None), HOUR, false).last(|_| true).await;
    assert_eq!((last.drift, last.repaired, last.not_repaired), (5, 4, 1), "{last:?}");
}

#[tokio::test]
async fn repositories_are_deleted_for_a_subscription_alone() {
    let before = StandIn::start("team/old", &[("v1", image_manifest(1))]).await;
    let now = StandIn::start("team/new", &[("v1", image_manifest(2))]).await;
    for (source, prunes, is_deleted) in [
        (Some(Source::Distribution), true, true),
        (Some(Source::Distribution), false, false),
        (None, true, false),
    ] {
        let store = Store::in_memory().await;
        Running::start(&store, target(&before, None), HOUR, false).last(|_| true).await;
        // A list of the second of the push is not later than it.
        let running =
            Running::start(&store, target(&now, source), Duration::from_millis(100), prunes);
        let exists = async || {
            store.page(&repository("team/old"), &Default::default(), None, 10).await.is_ok()
        };
        if is_deleted {
            eventually("the deletion", async || !exists().await).await;
        } else {
            let last = running.last(|last| last.repositories == 2).await;
            assert_eq!(last.kept, 1, "{last:?}");
            assert!(exists().await);
        }
    }
}
