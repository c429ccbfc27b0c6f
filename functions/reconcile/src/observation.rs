//! What a registry says of a repository.

use std::collections::BTreeMap;

use catalog::{Digest, Tag, Timestamp};
use registries::client::NoAnswer;
use registries::{Registries, RegistryAddress};

use crate::for_each;

/// What a registry says of a repository.
#[derive(Debug)]
pub struct Observation {
    /// When, at the latest, it began to be so, by the registry's own clock.
    pub time: Timestamp,
    /// What each tag points at.
    pub tags: BTreeMap<Tag, Digest>,
}

impl Observation {
    /// Asks for all tags of a repository; nothing if the registry does not know it.
    pub(crate) async fn make(
        registries: &Registries,
        address: &RegistryAddress,
        name: &str,
    ) -> Result<Option<Self>, NoAnswer> {
        let Some(listed) = registries.tags(address, name).await? else { return Ok(None) };
        let tags = listed.names.iter().filter_map(|name| Tag::parse(name).ok());
        let pairs = for_each(tags, async |tag| {
            let digest = registries.digest(address, name, tag.as_str()).await?;
            // It may have gone since the list was made.
            Ok(digest.map(|digest| (tag, digest)))
        })
        .await?;
        Ok(Some(Self { time: listed.date, tags: pairs.into_iter().flatten().collect() }))
    }
}
