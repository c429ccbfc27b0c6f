//! The reconciliation with all registries at an interval, in place of the schedule of EventBridge
//! and the reconcile queue. One registry is reconciled at a time.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use catalog::table::{StoreError, causes};
use catalog::{Reconciliations, Table, Timestamp};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use reconcile::{Drift, Reconcile, ReconcileError, ReconcileJob, Repaired, RepositoryJobs};
use registries::{Registry, RegistryTarget, RegistryTargets};
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::reconciliation::{CONCURRENT_REPOSITORIES, Reconciliation};
use crate::status::cut;

/// How often the last reconciliations are read again: a command may have made one.
const CHECK_INTERVAL: Duration = Duration::from_mins(1);

/// After a reconciliation that is a failure.
const RETRY_DELAY: Duration = Duration::from_mins(5);

/// The registries, and when each was and will be reconciled.
#[derive(Debug)]
pub struct ReconcileSchedule {
    targets: RegistryTargets,
    every: Option<Duration>,
    prunes: bool,
    table: Reconciliations,
    state: Mutex<State>,
    since: Timestamp,
}

#[derive(Debug, Default)]
struct State {
    /// By the id of the registry.
    last: BTreeMap<String, Reconciliation>,
    /// The registry that is being reconciled, and since when.
    running: Option<(String, Timestamp)>,
}

/// The reconciliations of a registry.
#[derive(Debug)]
pub struct RegistryState<'a> {
    pub target: &'a RegistryTarget,
    pub running_since: Option<Timestamp>,
    pub last: Option<Reconciliation>,
    /// `None` without an interval.
    pub next: Option<Timestamp>,
}

impl ReconcileSchedule {
    /// Reconciles with these registries at this interval, if there is one. `prunes` is whether all
    /// images of the catalog belong to one of them, so that repositories that none has are deleted.
    #[must_use]
    pub fn new(
        table: Table,
        targets: RegistryTargets,
        every: Option<Duration>,
        prunes: bool,
    ) -> Self {
        let (table, state) = (Reconciliations::new(table), Mutex::default());
        Self { targets, every, prunes, table, state, since: Timestamp::now() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The registries, as of the last refresh.
    pub fn registries(&self) -> Vec<RegistryState<'_>> {
        let state = self.state();
        let targets = self.targets.targets.iter();
        let registries = targets.map(|target| {
            let last = state.last.get(&target.id);
            let running = state.running.as_ref().filter(|(id, _)| *id == target.id);
            RegistryState {
                target,
                running_since: running.map(|(_, since)| *since),
                last: last.cloned(),
                next: self.next(last),
            }
        });
        registries.collect()
    }

    /// When a registry with this last reconciliation is to be reconciled.
    fn next(&self, last: Option<&Reconciliation>) -> Option<Timestamp> {
        let (every, now) = (self.every?, Timestamp::now());
        Some(match last {
            None => self.since.min(now),
            // The clock was ahead.
            Some(last) if last.started_at.max(last.ended_at) > now => now,
            Some(last) if last.is_failure() => last.ended_at.plus(every.min(RETRY_DELAY)),
            Some(last) => last.started_at.plus(every),
        })
    }

    /// Reads the last reconciliations, which other processes may have made. One of the future is
    /// none: the clock was ahead, and it would hide all those until then.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let read = self.table.list::<Reconciliation>().await?;
        let now = Timestamp::now();
        let mut state = self.state();
        for (id, read) in read.into_iter().filter(|(_, read)| read.ended_at <= now) {
            if state.last.get(&id).is_none_or(|known| known.ended_at < read.ended_at) {
                state.last.insert(id, read);
            }
        }
        Ok(())
    }

    /// Reads the last reconciliations regularly, for the metrics of a process that makes none.
    pub async fn keep_refreshed(self: Arc<Self>) {
        let mut interval = interval(CHECK_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.try_refresh().await;
        }
    }

    async fn try_refresh(&self) {
        if let Err(error) = self.refresh().await {
            tracing::warn!(error = causes(&error), "the last reconciliations cannot be read");
        }
    }

    /// Reconciles with each registry when it is due, until `ended`; on a thread of its own, because
    /// the comparison of a large repository would keep requests waiting.
    pub fn start(
        self: &Arc<Self>,
        reconcile: Reconcile,
        ended: impl Future<Output = ()> + Send + 'static,
    ) {
        let (schedule, runtime) = (Arc::clone(self), Handle::current());
        tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = schedule.run(&reconcile) => {}
                    () = ended => {}
                }
            });
        });
    }

    async fn run(&self, reconcile: &Reconcile) {
        loop {
            self.try_refresh().await;
            let registries = self.registries();
            let next = registries.iter().filter_map(|state| Some((state.next?, state.target)));
            let Some((next, target)) = next.min_by_key(|(next, _)| *next) else { return };
            let left = next.as_milliseconds() - Timestamp::now().as_milliseconds();
            match u64::try_from(left) {
                Ok(left @ 1..) => sleep(Duration::from_millis(left).min(CHECK_INTERVAL)).await,
                _ => self.reconcile(reconcile, target).await,
            }
        }
    }

    async fn reconcile(&self, reconcile: &Reconcile, target: &RegistryTarget) {
        let mut last = Reconciliation::begin();
        self.state().running = Some((target.id.clone(), last.started_at));
        // A defect must not end the schedule.
        let all = AssertUnwindSafe(self.reconcile_all(reconcile, target, &mut last)).catch_unwind();
        match all.await {
            Err(_) => last.error = Some("the reconciliation panicked".to_owned()),
            Ok(Ok(())) => tracing::info!(
                registry = target.id,
                repositories = last.repositories,
                drift = last.drift,
                repaired = last.repaired,
                failed = last.failed,
                "reconciled with a registry"
            ),
            Ok(Err(error)) => {
                let error = causes(&error);
                tracing::error!(registry = target.id, error, "a registry cannot be reconciled");
                last.error = Some(cut(&error));
            }
        }
        last.ended_at = Timestamp::now();
        let kept = self.table.put(&target.id, &last).await;
        let mut state = self.state();
        state.running = None;
        state.last.insert(target.id.clone(), last);
        drop(state);
        if let Err(error) = kept {
            tracing::warn!(error = causes(&error), "a reconciliation cannot be kept");
        }
    }

    async fn reconcile_all(
        &self,
        reconcile: &Reconcile,
        target: &RegistryTarget,
        last: &mut Reconciliation,
    ) -> Result<(), ReconcileError> {
        let RepositoryJobs { jobs, skipped, .. } =
            reconcile.repositories(&self.targets, target).await?.checked()?;
        last.skipped = skipped.len();
        let prunes = self.prunes(target);
        let results = jobs.into_iter().map(|job| async move {
            let job = ReconcileJob { prune: job.prune && prunes, ..job };
            let result = reconcile_repository(reconcile, target, &job).await;
            (job.name, result)
        });
        let mut results = stream::iter(results).buffer_unordered(CONCURRENT_REPOSITORIES);
        while let Some((repository, result)) = results.next().await {
            match result {
                Ok((drift, repaired)) => last.add(&drift, &repaired),
                Err(error) => {
                    last.failed += 1;
                    let (registry, error) = (&target.id, causes(&error));
                    tracing::error!(
                        registry,
                        repository,
                        error,
                        "a repository cannot be reconciled"
                    );
                }
            }
        }
        Ok(())
    }

    /// Whether repositories are deleted that a registry does not have. One that `--registry-url`
    /// names is not said to be the only one of its repositories.
    fn prunes(&self, target: &RegistryTarget) -> bool {
        let has_subscription = target.source.is_some();
        self.prunes && (has_subscription || matches!(target.registry, Registry::Ecr { .. }))
    }
}

async fn reconcile_repository(
    reconcile: &Reconcile,
    target: &RegistryTarget,
    job: &ReconcileJob,
) -> Result<(Drift, Repaired), ReconcileError> {
    let drift = reconcile.find_drift(target, job).await?;
    let repaired = reconcile.repair(&drift, None).await?;
    Ok((drift, repaired))
}
