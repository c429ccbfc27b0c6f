//! What the catalog has to be told, so that it says what the registry says.

use std::collections::{BTreeMap, BTreeSet};

use catalog::change::{Change, Content};
use catalog::image::Image;
use catalog::{ChangeKind, Digest, Repository, Tag};
use registries::client::{Answer, NoAnswer};

use crate::{Observation, Reconcile, for_each};

/// The changes that turn what is known into what was observed. Of images that are missing, or whose size
/// is, the manifests are asked for, and for those that an index lists, too; of images that no tag points at,
/// whether they are still there.
pub(crate) async fn between(
    reconcile: &Reconcile,
    name: &str,
    repository: &Repository,
    observed: &Observation,
    known: Option<&[Image]>,
) -> Result<Vec<Change>, NoAnswer> {
    let images: BTreeMap<&Digest, &Image> =
        known.unwrap_or_default().iter().map(|image| (&image.image_digest, image)).collect();
    let known_tags: BTreeMap<&Tag, &Digest> = images
        .values()
        .flat_map(|image| image.image_tags.iter().map(|tag| (tag, &image.image_digest)))
        .collect();
    let contents = contents(reconcile, name, observed, &images).await?;

    let mut kinds = Vec::new();
    if known.is_none() {
        kinds.push(ChangeKind::RepositoryCreated);
    }
    let tagged: BTreeSet<&Digest> = observed.tags.values().collect();
    for (digest, content) in &contents {
        // There are manifests that do not tell a size, which the catalog then knows already.
        let tells = content.size_in_bytes.is_some() || content.manifests.is_some();
        if images.contains_key(digest) && !tells {
            continue;
        }
        kinds.push(ChangeKind::ImagePushed { digest: digest.clone(), tag: None, content: content.clone() });
    }
    for (tag, digest) in &observed.tags {
        if known_tags.get(tag) != Some(&digest) {
            let (digest, tag) = (digest.clone(), Some(tag.clone()));
            kinds.push(ChangeKind::ImagePushed { digest, tag, content: Content::default() });
        }
    }
    for tag in known_tags.keys().filter(|tag| !observed.tags.contains_key(**tag)) {
        kinds.push(ChangeKind::TagDeleted { tag: (*tag).clone() });
    }
    let unseen =
        images.keys().filter(|digest| !tagged.contains(**digest) && !contents.contains_key(**digest));
    let gone = for_each(unseen, async |digest| {
        let there = reconcile.registries.digest(&reconcile.address, name, digest.as_str()).await?;
        Ok(if there.is_none() { Some((*digest).clone()) } else { None })
    })
    .await?;
    kinds.extend(gone.into_iter().flatten().map(|digest| ChangeKind::ImageDeleted { digest }));
    let change = |kind| Change { repository: repository.clone(), time: observed.time, kind };
    Ok(kinds.into_iter().map(change).collect())
}

/// What the manifests say of images that the catalog does not have, or of which it knows no size.
async fn contents(
    reconcile: &Reconcile,
    name: &str,
    observed: &Observation,
    images: &BTreeMap<&Digest, &Image>,
) -> Result<BTreeMap<Digest, Content>, NoAnswer> {
    let is_complete =
        |digest: &Digest| images.get(digest).is_some_and(|image| image.image_size_in_bytes.is_some());
    let mut contents = BTreeMap::new();
    let mut wanted: BTreeSet<Digest> = observed.tags.values().cloned().collect();
    while !wanted.is_empty() {
        let asked = std::mem::take(&mut wanted);
        let incomplete = asked.iter().filter(|digest| !is_complete(digest));
        let answers = for_each(incomplete, async |digest| {
            reconcile.registries.manifest(&reconcile.address, name, digest.as_str()).await
        })
        .await?;
        for answer in answers {
            // One that is gone by now is no longer anybody's.
            let Answer::Manifest(digest, content) = answer else { continue };
            let manifests = content.manifests.clone().unwrap_or_default();
            contents.insert(digest, *content);
            wanted.extend(manifests.into_iter().filter(|manifest| !contents.contains_key(manifest)));
        }
    }
    Ok(contents)
}
