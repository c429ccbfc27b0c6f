//! `image-catalog reconcile`: compares the catalog with what a registry itself says.

use std::error::Error;
use std::sync::Arc;

use catalog::{Reader, RegistryId, Table, Timestamp, Writer};
use clap::Args;
use futures_util::{StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use reconcile::difference::Described;
use reconcile::followed::ECR;
use reconcile::{Followed, FollowedRegistries, Reconcile, ReconcileError, Repaired, ToCompare};
use registries::{Ecr, Registries, Registry, RegistryAddress};
use secret::Secret;
use subscriptions::Subscriptions;

/// How many repositories are compared side by side.
const CONCURRENT_REPOSITORIES: usize = 4;

/// The options of `image-catalog reconcile`.
#[derive(Debug, Clone, Args)]
pub struct ReconcileOptions {
    /// The registry: its address, such as https://registry.example.com; the id of a subscription,
    /// which has the address, the credential, the registry id and the prefix; or ecr, for Amazon
    /// ECR, which is asked with the AWS credentials of the environment
    #[arg(long, value_name = "URL|ID|ecr")]
    from: String,
    /// Only these repositories, by the registry's own names; else all that it lists
    #[arg(long, value_name = "NAME")]
    repository: Vec<String>,
    /// Only print what differs
    #[arg(long)]
    dry_run: bool,
    /// Also remove repositories that the registry does not have; but not those that may be of
    /// another one of the subscriptions. For a registry that has its registry id for itself
    #[arg(long)]
    prune: bool,
}

/// A registry to compare with.
#[derive(Debug)]
pub struct Reconciling {
    options: ReconcileOptions,
    followed: Followed,
    all: FollowedRegistries,
    subscriptions: Subscriptions,
}

impl ReconcileOptions {
    /// What the options mean, where these subscriptions are, and this registry id for what has
    /// none.
    ///
    /// # Errors
    /// They name no registry.
    pub fn of(
        self,
        subscriptions: Subscriptions,
        registry: &RegistryId,
    ) -> Result<Reconciling, String> {
        let account = (self.from == ECR).then(|| registry.clone());
        let mut all = FollowedRegistries::new(account, &subscriptions);
        let followed = match (all.get(&self.from), subscriptions.get(&self.from)) {
            (Some(followed), _) => followed.clone(),
            (None, Some(subscription)) => {
                return Err(format!("the subscription '{}' has no registryUrl", subscription.id));
            }
            (None, None) => {
                let address = RegistryAddress::of_url(&self.from).ok_or_else(|| {
                    format!(
                        "'{}' is neither an address of http or https nor the id of a subscription nor 'ecr'",
                        self.from
                    )
                })?;
                let followed = Followed {
                    id: self.from.clone(),
                    registry: Registry::Distribution(address),
                    registry_id: registry.clone(),
                    repository_prefix: None,
                };
                all.registries.push(followed.clone());
                followed
            }
        };
        Ok(Reconciling { options: self, followed, all, subscriptions })
    }
}

impl Reconciling {
    /// Whether Amazon ECR is what is asked.
    #[must_use]
    pub fn asks_ecr(&self) -> bool {
        matches!(self.followed.registry, Registry::Ecr(_))
    }

    /// Compares, prints what differs, and repairs it unless only a dry run is wanted. A repository
    /// that cannot be compared does not keep the others waiting.
    ///
    /// # Errors
    /// The registry cannot be asked at all, a repository could not be compared, or a difference not
    /// be repaired.
    pub async fn run(self, table: Table, ecr: Option<Ecr>) -> Result<(), Box<dyn Error>> {
        let Self { options, followed, all, subscriptions } = self;
        let reconcile = Reconcile {
            reader: Reader::new(table.clone()),
            writer: Writer::new(table, Timestamp::now),
            registries: Registries::new(Arc::new(Secret::known(subscriptions)), ecr),
            tags_at_once: usize::MAX,
        };
        let is_named = |listed: &ToCompare| {
            options.repository.is_empty() || options.repository.contains(&listed.name)
        };
        let mut listed = Vec::new();
        // Whether a repository is to be pruned, follows from all of them.
        if options.repository.is_empty() || options.prune {
            listed = reconcile.repositories(&all, &followed).await?;
            listed.retain(is_named);
        }
        for name in &options.repository {
            if !listed.iter().any(|listed| listed.name == *name) {
                listed.push(ToCompare { name: name.clone(), prune: false, after: None });
            }
        }
        listed.iter_mut().for_each(|listed| listed.prune &= options.prune);
        let bar = progress_bar(listed.len());
        let repositories = listed.len();
        let mut outcomes = stream::iter(&listed)
            .map(async |listed| {
                let outcome = async {
                    let comparison = reconcile.compare(&followed, listed).await?;
                    let repaired = if options.dry_run {
                        Repaired::default()
                    } else {
                        reconcile.repair(&comparison, None).await?
                    };
                    Ok::<_, ReconcileError>((comparison.differences, repaired))
                };
                (listed, outcome.await)
            })
            .buffer_unordered(CONCURRENT_REPOSITORIES);
        let (mut found, mut all, mut failures) = (0, Repaired::default(), 0);
        while let Some((listed, compared)) = outcomes.next().await {
            bar.suspend(|| match compared {
                Ok((differences, repaired)) => {
                    found += differences.len();
                    differences.iter().for_each(|change| println!("{}", Described(change)));
                    for (change, reason) in &repaired.failed {
                        println!("not repaired: {}: {reason}", Described(change));
                    }
                    all.repaired += repaired.repaired;
                    all.superseded += repaired.superseded;
                    all.failed.extend(repaired.failed);
                }
                Err(error) => {
                    failures += 1;
                    tracing::error!(repository = listed.name, %error, "a repository cannot be compared");
                }
            });
            bar.inc(1);
        }
        bar.finish_and_clear();
        print!("{} repositories compared, ", repositories - failures);
        if options.dry_run {
            println!("{found} differences found");
        } else {
            print!("{} differences repaired", all.repaired);
            if all.superseded > 0 {
                print!(", {} superseded by newer events", all.superseded);
            }
            let failed = all.failed.len();
            println!(
                "{}",
                if failed > 0 { format!(", {failed} not repaired") } else { String::new() }
            );
        }
        if failures > 0 {
            return Err(format!(
                "{failures} repositories could not be compared; it can be done again"
            )
            .into());
        }
        if !all.failed.is_empty() {
            return Err(format!("{} differences could not be repaired", all.failed.len()).into());
        }
        Ok(())
    }
}

/// On standard error, where a person sees it; elsewhere nothing is shown.
fn progress_bar(repositories: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} repositories, {eta} left");
    ProgressBar::new(repositories as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
