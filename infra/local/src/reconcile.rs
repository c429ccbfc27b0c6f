//! `image-catalog reconcile`: compares the catalog with what a registry itself says.

use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;

use catalog::{Change, ChangeKind, Reader, RegistryId, Table, Timestamp, Writer};
use clap::Args;
use reconcile::Reconcile;
use registries::{Registries, RegistryAddress};
use secret::Secret;
use subscriptions::Subscriptions;

/// The options of `image-catalog reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileOptions {
    /// Address of the registry, such as https://registry.example.com; or the id of a subscription, which
    /// has the address, the credential, the registry id and the prefix
    #[arg(long, value_name = "URL|ID")]
    from: String,
    /// Only these repositories, by the registry's own names; else all that it lists
    #[arg(long, value_name = "NAME")]
    repository: Vec<String>,
    /// Only print what differs
    #[arg(long)]
    dry_run: bool,
}

/// Compares, prints what differs, and repairs it unless only a dry run is wanted. A repository that cannot
/// be compared does not keep the others waiting.
///
/// # Errors
/// The registry cannot be asked at all, or a repository could not be compared.
pub async fn run(
    options: &ReconcileOptions,
    table: Table,
    subscriptions: Subscriptions,
    registry: &RegistryId,
) -> Result<(), Box<dyn Error>> {
    let subscription = subscriptions.get(&options.from).cloned();
    let url = match &subscription {
        Some(subscription) => {
            let url = subscription.registry_url.as_ref().map(ToString::to_string);
            url.ok_or_else(|| format!("the subscription '{}' has no registryUrl", subscription.id))?
        }
        None => options.from.clone(),
    };
    let address = RegistryAddress::of_url(&url).ok_or_else(|| {
        format!("'{url}' is neither an address of http or https nor the id of a subscription")
    })?;
    let reconcile = Reconcile {
        reader: Reader::new(table.clone()),
        writer: (!options.dry_run).then(|| Writer::new(table, Timestamp::now)),
        registries: Registries::new(Arc::new(Secret::known(subscriptions))),
        address: RegistryAddress {
            subscription: subscription.as_ref().map(|known| known.id.clone()),
            ..address
        },
        registry: subscription.as_ref().map_or(registry, |known| &known.registry_id).clone(),
        repository_prefix: subscription.and_then(|known| known.repository_prefix),
    };
    let repositories = if options.repository.is_empty() {
        reconcile.repositories().await?
    } else {
        options.repository.clone()
    };
    let (mut differences, mut failures) = (0, 0);
    for (number, name) in repositories.iter().enumerate() {
        match reconcile.repository(name).await {
            Ok(changes) => {
                differences += changes.len();
                for change in &changes {
                    println!("{}: {}", change.repository, Described(change));
                }
            }
            Err(error) => {
                failures += 1;
                tracing::error!(repository = name, %error, "a repository cannot be compared");
            }
        }
        tracing::info!(repository = name, "compared {} of {}", number + 1, repositories.len());
    }
    let done = if options.dry_run { "found" } else { "repaired" };
    println!("{} repositories compared, {differences} differences {done}", repositories.len() - failures);
    if failures > 0 {
        return Err(format!("{failures} repositories could not be compared; it can be done again").into());
    }
    Ok(())
}

/// A difference in words.
struct Described<'a>(&'a Change);

impl Display for Described<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0.kind {
            ChangeKind::ImagePushed { digest, tag: Some(tag), .. } => {
                write!(formatter, "the tag {tag} points at {digest}")
            }
            ChangeKind::ImagePushed { digest, tag: None, .. } => {
                write!(formatter, "the image {digest} is there, and what its manifest says")
            }
            ChangeKind::TagDeleted { tag } => write!(formatter, "the tag {tag} is gone"),
            ChangeKind::ImageDeleted { digest } => write!(formatter, "the image {digest} is gone"),
            ChangeKind::RepositoryCreated => formatter.write_str("the repository is there"),
            other => write!(formatter, "{other:?}"),
        }
    }
}
