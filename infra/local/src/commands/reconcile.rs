//! `image-catalog reconcile`: reconciles the catalog with a registry.

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use catalog::table::causes;
use catalog::{Reader, Reconciliations, Service, Timestamp, Writer};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _};
use futures_util::{StreamExt as _, stream};
use reconcile::drift::Description;
use reconcile::{Drift, Reconcile, ReconcileError, ReconcileJob, Repaired, RepositoryJobs};
use registries::{
    EcrClient, InvalidRegistryUrl, Registries, Registry, RegistryAddress, RegistryTarget,
    RegistryTargets, Subscriptions,
};
use secret::Secret;
use url::Url;

use super::{printable, progress, report};
use crate::data;
use crate::options::{Options, WithoutUser};
use crate::reconciliation::{CONCURRENT_REPOSITORIES, Reconciliation};

/// The exit code of a dry run that finds drift.
const DRIFT_FOUND: u8 = 2;

/// The options of `image-catalog reconcile`.
#[derive(Debug, Clone, Args)]
pub struct ReconcileOptions {
    /// The registry: its address, such as https://registry.example.com; the id of a subscription;
    /// or ecr or ecr-public for the account's registry in that service, with the AWS credentials of
    /// the environment
    #[arg(
        long, value_name = "URL|ID|ecr|ecr-public",
        value_parser = WithoutUser(|text| Ok(text.to_owned()))
    )]
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

/// Why a repository could not be reconciled.
#[derive(Debug, thiserror::Error)]
enum RepositoryError {
    #[error(transparent)]
    Reconcile(#[from] ReconcileError),
    #[error("neither the registry nor the catalog has a repository of this name")]
    NoSuchRepository,
}

/// Reconciles the catalog, and prints the drift. A repository that cannot be reconciled does not end
/// the command, but is an error at its end.
pub async fn run(
    options: &Options,
    command: &ReconcileOptions,
) -> Result<ExitCode, Box<dyn Error>> {
    let subscriptions = options.read_subscriptions()?.unwrap_or_default();
    let (target, targets) = match command.target(&subscriptions, options) {
        Ok(found) => found,
        // The same exit code as of other options that are not valid.
        Err(error) => Options::command().error(ErrorKind::ValueValidation, error).exit(),
    };
    let ecr = match target.registry {
        Registry::Ecr { .. } => Some(EcrClient::new(&options.aws().await?)),
        Registry::Oci(_) => None,
    };
    let table = if command.dry_run {
        data::open_table_to_read(options).await?
    } else {
        data::open_table(options).await?.table
    };
    let reconcile = Reconcile {
        reader: Reader::new(table.clone()),
        writer: Writer::new(table.clone(), Timestamp::now),
        registries: Registries::new(Arc::new(Secret::known(subscriptions)), ecr),
        max_tags: usize::MAX,
    };
    let spinner = progress::spinner("listing repositories");
    let begun = Reconciliation::begin();
    let RepositoryJobs { jobs, skipped, .. } = command.jobs(&reconcile, &targets, &target).await?;
    drop(spinner);
    let bar = progress::bar(jobs.len(), "{pos} of {len} repositories");
    let mut results = stream::iter(&jobs)
        .map(async |job| (job, command.reconcile_one(&reconcile, &target, job).await))
        .buffer_unordered(CONCURRENT_REPOSITORIES);
    let totals = Reconciliation { skipped: skipped.len(), ..begun };
    let mut summary = Summary { is_dry_run: command.dry_run, totals };
    for error in &skipped {
        // The name is the registry's.
        report(&format!("skipped: {}", printable(&error.to_string())))?;
    }
    while let Some((job, result)) = results.next().await {
        match result {
            Ok((drift, repaired)) => summary.add(&drift, &repaired, command.prune)?,
            Err(error) => summary.add_failed(job, &error)?,
        }
        bar.inc(1);
    }
    drop(bar);
    // The status of a catalog on this table shows it.
    if !command.dry_run && command.repository.is_empty() {
        summary.totals.ended_at = Timestamp::now();
        if let Err(error) = Reconciliations::new(table).put(&target.id, &summary.totals).await {
            tracing::warn!(error = causes(&error), "the reconciliation cannot be kept");
        }
    }
    summary.finish()
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
        let neither = || {
            format!(
                "'{}' is neither an http or https URL nor the id of a subscription nor 'ecr' nor \
                 'ecr-public'",
                self.from
            )
        };
        let url = Url::parse(&self.from).map_err(|_| neither())?;
        let address = RegistryAddress::from_whole_url(&url).map_err(|error| match error {
            InvalidRegistryUrl::Scheme => neither(),
            InvalidRegistryUrl::MoreThanHost => format!("invalid value '{}': {error}", self.from),
        })?;
        let target = options.registry_target(address);
        targets.targets.push(target.clone());
        Ok((target, targets))
    }

    async fn jobs(
        &self,
        reconcile: &Reconcile,
        targets: &RegistryTargets,
        target: &RegistryTarget,
    ) -> Result<RepositoryJobs, ReconcileError> {
        let mut all = RepositoryJobs::default();
        // Which repositories are pruned follows from the list of all.
        if self.repository.is_empty() || self.prune {
            all = reconcile.repositories(targets, target).await?;
        }
        if self.repository.is_empty() {
            all = all.checked()?;
        }
        let RepositoryJobs { jobs, skipped, .. } = &mut all;
        if !self.repository.is_empty() {
            jobs.retain(|job| self.repository.contains(&job.name));
            skipped.clear();
        }
        for name in &self.repository {
            if !jobs.iter().any(|job| job.name == *name) {
                jobs.push(ReconcileJob { name: name.clone(), prune: false, after: None });
            }
        }
        jobs.iter_mut().for_each(|job| job.prune &= self.prune);
        Ok(all)
    }

    async fn reconcile_one(
        &self,
        reconcile: &Reconcile,
        target: &RegistryTarget,
        job: &ReconcileJob,
    ) -> Result<(Drift, Repaired), RepositoryError> {
        let drift = reconcile.find_drift(target, job).await?;
        // One that the registry listed may have been deleted since.
        if drift.has_no_repository() && self.repository.contains(&job.name) {
            return Err(RepositoryError::NoSuchRepository);
        }
        let repaired = if self.dry_run {
            Repaired::default()
        } else {
            reconcile.repair(&drift, None).await.map_err(ReconcileError::from)?
        };
        Ok((drift, repaired))
    }
}

/// The results of all repositories.
struct Summary {
    is_dry_run: bool,
    totals: Reconciliation,
}

impl Summary {
    fn add(&mut self, drift: &Drift, repaired: &Repaired, prune: bool) -> io::Result<()> {
        self.totals.add(drift, repaired);
        for change in &drift.changes {
            report(&Description(change).to_string())?;
        }
        for (change, reason) in &repaired.failed {
            report(&format!("not repaired: {}: {reason}", Description(change)))?;
        }
        if drift.keeps_repository() {
            let reason = if prune {
                "another registry may have it, or this one returned no list"
            } else {
                "--prune deletes it"
            };
            let repository = &drift.repository;
            report(&format!("kept: {repository}: the registry does not have it; {reason}"))?;
        }
        Ok(())
    }

    fn add_failed(&mut self, job: &ReconcileJob, error: &RepositoryError) -> io::Result<()> {
        self.totals.failed += 1;
        let (repository, error) = (&job.name, causes(error));
        tracing::error!(repository, error, "a repository cannot be reconciled");
        report(&format!("failed: {repository}: {error}"))
    }

    /// Prints the numbers, and returns the exit code; an error if something remains.
    fn finish(&self) -> Result<ExitCode, Box<dyn Error>> {
        let totals = &self.totals;
        let found = if self.is_dry_run {
            format!("{} differences found", totals.drift)
        } else {
            format!("{} differences repaired", totals.repaired)
        };
        let others = [
            (totals.superseded, "superseded by newer events"),
            (totals.not_repaired, "not repaired"),
            (totals.kept, "repositories kept"),
            (totals.skipped, "repositories skipped"),
            (totals.failed, "repositories failed"),
        ];
        let (repositories, others) = (totals.repositories, list(", ", &others));
        report(&format!("{repositories} repositories reconciled, {found}{others}"))?;
        let remaining = [
            (totals.failed, "repositories could not be reconciled"),
            (totals.skipped, "repositories cannot be held by the catalog"),
            (totals.not_repaired, "differences could not be repaired"),
            // To a dry run, that is drift.
            (if self.is_dry_run { 0 } else { totals.kept }, "repositories were kept"),
        ];
        let remaining = list("; ", &remaining);
        if let Some(remaining) = remaining.strip_prefix("; ") {
            return Err(remaining.into());
        }
        let has_drift = self.is_dry_run && totals.drift + totals.kept > 0;
        Ok(if has_drift { ExitCode::from(DRIFT_FOUND) } else { ExitCode::SUCCESS })
    }
}

/// The numbers that are not 0, each after the separator.
fn list(separator: &str, numbers: &[(usize, &str)]) -> String {
    let numbers = numbers.iter().filter(|(number, _)| *number > 0);
    numbers.map(|(number, what)| format!("{separator}{number} {what}")).collect()
}
