//! The push times of images that the catalog does not have, in a registry that does not return them
//! in the OCI distribution API (rule 59).

use std::collections::BTreeMap;

use catalog::change::possible_push_time;
use catalog::image::Image;
use catalog::table::causes;
use catalog::{Digest, Timestamp};
use registries::push_times::{self, PushTimes};
use registries::{Descriptor, PushHints, RegistryUnavailable};

use super::{Contents, ObservedRepository, for_each};

/// Sets the assumed push times of images: those that the product's own API returns; else, as far as
/// they lie before the observation, the times at which the images were created; else
/// `Last-Modified`. Where there is none, the time of the observation counts.
pub(super) async fn assume(
    repository: &ObservedRepository<'_>,
    observed_at: Timestamp,
    unknown: &BTreeMap<Digest, PushHints>,
    known: &BTreeMap<&Digest, &Image>,
    contents: &mut Contents,
) -> Result<(), RegistryUnavailable> {
    if unknown.is_empty() {
        return Ok(());
    }
    let returned = returned(repository, contents).await;
    let possible = |time: Option<Timestamp>| possible_push_time(time?, observed_at);
    // Many images may have one configuration.
    let configurations: BTreeMap<&Digest, &Descriptor> = unknown
        .iter()
        .filter(|(digest, _)| !returned.contains_key(digest))
        .filter_map(|(_, hints)| hints.configuration.as_ref())
        .map(|configuration| (&configuration.digest, configuration))
        .collect();
    let created = for_each(configurations, async |(digest, configuration)| {
        let (oci, address) = (repository.oci, repository.address);
        Ok((digest, oci.created(address, repository.name, configuration).await?))
    })
    .await?;
    let created: BTreeMap<&Digest, Option<Timestamp>> = created.into_iter().collect();
    let time = |digest: &Digest, hints: &PushHints| {
        let created_at = || possible(*created.get(&hints.configuration.as_ref()?.digest)?);
        returned.get(digest).copied().or_else(created_at).or(possible(hints.created))
    };
    let mut times: BTreeMap<&Digest, Timestamp> =
        unknown.iter().filter_map(|(digest, hints)| Some((digest, time(digest, hints)?))).collect();

    let manifests = |digest: &Digest| contents.images.get(digest)?.content.manifests.as_deref();
    let pushed_at = |digest: &Digest| known.get(digest).map(|image| image.image_pushed_at);
    // An index cannot be pushed before its manifests.
    let latest = |digest: &Digest| {
        let manifests = manifests(digest).unwrap_or_default().iter();
        manifests.filter_map(|digest| times.get(digest).copied().or(pushed_at(digest))).max()
    };
    let later: Vec<_> = unknown
        .iter()
        .filter(|(digest, _)| !times.contains_key(digest))
        .filter_map(|(digest, hints)| {
            Some((digest, possible(latest(digest)).or(possible(hints.last_modified))?))
        })
        .collect();
    times.extend(later);
    // Nor can a manifest, such as the attestation of a build, be pushed after it.
    let mut earliest = BTreeMap::new();
    for index in contents.images.keys() {
        let Some(time) = times.get(index).copied().or(pushed_at(index)) else { continue };
        for manifest in manifests(index).unwrap_or_default() {
            let earliest = earliest.entry(manifest.clone()).or_insert(time);
            *earliest = time.min(*earliest);
        }
    }
    let times: BTreeMap<&Digest, Option<Timestamp>> = unknown
        .keys()
        .map(|digest| {
            let before_index = || possible(earliest.get(digest).copied());
            (digest, times.get(digest).copied().or_else(before_index))
        })
        .collect();
    for (digest, time) in times {
        if let Some(image) = contents.images.get_mut(digest) {
            image.assumed_pushed_at = time;
            image.is_stated = returned.contains_key(digest);
        }
    }
    Ok(())
}

/// The push times that the product's own API returns. An image cannot be pushed after the registry
/// returned it.
async fn returned(repository: &ObservedRepository<'_>, contents: &Contents) -> PushTimes {
    let ObservedRepository { oci, address, source, name } = *repository;
    let Some(source) = source else { return PushTimes::new() };
    match push_times::of_repository(oci, source, address, name).await {
        Ok(times) => {
            let mut times = times.unwrap_or_default();
            times.retain(|digest, time| {
                let found_at = contents.found_at.get(digest);
                found_at.is_some_and(|found_at| possible_push_time(*time, *found_at).is_some())
            });
            times
        }
        Err(error) => {
            let error = causes(&error);
            tracing::warn!(
                %source, repository = name, error,
                "the product's API returns no push times; they are assumed"
            );
            PushTimes::new()
        }
    }
}
