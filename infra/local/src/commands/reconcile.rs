//! `image-catalog reconcile`: reconciles the catalog with a registry.

use std::error::Error;
use std::sync::Arc;

use catalog::table::causes;
use catalog::{Change, Reader, Service, Timestamp, Writer};
use clap::Args;
use futures_util::{StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use reconcile::drift::Description;
use reconcile::{Reconcile, ReconcileError, ReconcileJob, Repaired};
use registries::{
    EcrClient, Registries, Registry, RegistryAddress, RegistryTarget, RegistryTargets, Scope,
    Subscriptions,
};
use secret::Secret;
use url::Url;

use crate::data;
use crate::options::Options;

const CONCURRENT_REPOSITORIES: usize = 4;

/// The options of `image-catalog reconcile`.
#[derive(Debug, Clone, Args)]
pub struct ReconcileOptions {
    /// The registry: its address, such as https://registry.example.com; the id of a subscription
    /// with a registryUrl; or ecr or ecr-public for the account's registry in that service, with the
    /// AWS credentials of the environment
    #[arg(long, value_name = "URL|ID|ecr|ecr-public")]
    from: String,
    /// Name of a repository in the registry; may be repeated [default: all that the registry lists]
    #[arg(long, value_name = "NAME")]
    repository: Vec<String>,
    /// Only print the drift
    #[arg(long)]
    dry_run: bool,
    /// Also delete repositories that the registry does not have, and that can belong to no other
    /// subscription
    #[arg(long)]
    prune: bool,
}

/// Reconciles the catalog, and prints the drift. A repository that cannot be reconciled does not end
/// the command, but is an error at its end.
pub async fn run(options: &Options, command: &ReconcileOptions) -> Result<(), Box<dyn Error>> {
    let subscriptions = options.read_subscriptions()?.unwrap_or_default();
    let (target, targets) = command.target(&subscriptions, options)?;
    let ecr = match target.registry {
        Registry::Ecr { .. } => Some(EcrClient::new(&options.aws().await)),
        Registry::Oci(_) => None,
    };
    let (table, _) = data::open_table(options).await?;
    let reconcile = Reconcile {
        reader: Reader::new(table.clone()),
        writer: Writer::new(table, Timestamp::now),
        registries: Registries::new(Arc::new(Secret::known(subscriptions)), ecr),
        max_tags: usize::MAX,
    };
    let jobs = command.jobs(&reconcile, &targets, &target).await?;
    let bar = progress_bar(jobs.len());
    let mut results = stream::iter(&jobs)
        .map(async |job| (job, command.reconcile_one(&reconcile, &target, job).await))
        .buffer_unordered(CONCURRENT_REPOSITORIES);
    let mut summary = Summary::default();
    while let Some((job, result)) = results.next().await {
        bar.suspend(|| summary.add(job, result));
        bar.inc(1);
    }
    bar.finish_and_clear();
    summary.print(command.dry_run)
}

impl ReconcileOptions {
    /// The registry of the options, and all registries.
    fn target(
        &self,
        subscriptions: &Subscriptions,
        options: &Options,
    ) -> Result<(RegistryTarget, RegistryTargets), String> {
        let account = self.from.parse::<Service>().is_ok().then_some(&options.registry);
        let mut targets = RegistryTargets::new(account, subscriptions);
        if let Some(target) = targets.get(&self.from) {
            return Ok((target.clone(), targets));
        }
        if let Some(subscription) = subscriptions.get(&self.from) {
            return Err(format!("the subscription '{}' has no registryUrl", subscription.id));
        }
        let url = Url::parse(&self.from).ok();
        let address = url.as_ref().and_then(RegistryAddress::from_url).ok_or_else(|| {
            format!(
                "'{}' is neither an http or https URL nor the id of a subscription nor 'ecr' nor \
                 'ecr-public'",
                self.from
            )
        })?;
        let target = RegistryTarget {
            id: self.from.clone(),
            registry: Registry::Oci(address),
            source: None,
            scope: Scope {
                service: options.service,
                registry_id: options.registry.clone(),
                repository_prefix: None,
            },
        };
        targets.targets.push(target.clone());
        Ok((target, targets))
    }

    async fn jobs(
        &self,
        reconcile: &Reconcile,
        targets: &RegistryTargets,
        target: &RegistryTarget,
    ) -> Result<Vec<ReconcileJob>, ReconcileError> {
        let mut jobs = Vec::new();
        // Which repositories are pruned follows from the list of all.
        if self.repository.is_empty() || self.prune {
            jobs = reconcile.repositories(targets, target).await?;
        }
        if !self.repository.is_empty() {
            jobs.retain(|job| self.repository.contains(&job.name));
        }
        for name in &self.repository {
            if !jobs.iter().any(|job| job.name == *name) {
                jobs.push(ReconcileJob { name: name.clone(), prune: false, after: None });
            }
        }
        jobs.iter_mut().for_each(|job| job.prune &= self.prune);
        Ok(jobs)
    }

    async fn reconcile_one(
        &self,
        reconcile: &Reconcile,
        target: &RegistryTarget,
        job: &ReconcileJob,
    ) -> Result<(Vec<Change>, Repaired), ReconcileError> {
        let drift = reconcile.find_drift(target, job).await?;
        let repaired =
            if self.dry_run { Repaired::default() } else { reconcile.repair(&drift, None).await? };
        Ok((drift.changes, repaired))
    }
}

/// The results of all repositories.
#[derive(Default)]
struct Summary {
    repositories: usize,
    found: usize,
    repaired: usize,
    superseded: usize,
    not_repaired: usize,
    failed_repositories: usize,
}

impl Summary {
    fn add(&mut self, job: &ReconcileJob, result: Result<(Vec<Change>, Repaired), ReconcileError>) {
        match result {
            Ok((changes, repaired)) => {
                self.repositories += 1;
                self.found += changes.len();
                changes.iter().for_each(|change| println!("{}", Description(change)));
                for (change, reason) in &repaired.failed {
                    println!("not repaired: {}: {reason}", Description(change));
                }
                self.repaired += repaired.repaired;
                self.superseded += repaired.superseded;
                self.not_repaired += repaired.failed.len();
            }
            Err(error) => {
                self.failed_repositories += 1;
                let (repository, error) = (&job.name, causes(&error));
                tracing::error!(repository, error, "a repository cannot be reconciled");
            }
        }
    }

    fn print(&self, dry_run: bool) -> Result<(), Box<dyn Error>> {
        print!("{} repositories reconciled, ", self.repositories);
        if dry_run {
            println!("{} differences found", self.found);
        } else {
            print!("{} differences repaired", self.repaired);
            if self.superseded > 0 {
                print!(", {} superseded by newer events", self.superseded);
            }
            if self.not_repaired > 0 {
                print!(", {} not repaired", self.not_repaired);
            }
            println!();
        }
        if self.failed_repositories > 0 {
            let failed = self.failed_repositories;
            return Err(format!("{failed} repositories could not be reconciled; try again").into());
        }
        if self.not_repaired > 0 {
            let not_repaired = self.not_repaired;
            return Err(format!("{not_repaired} differences could not be repaired").into());
        }
        Ok(())
    }
}

/// On standard error if that is a terminal.
fn progress_bar(repositories: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} repositories, {eta} left");
    ProgressBar::new(repositories as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
