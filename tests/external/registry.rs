//! A registry that notifies the catalog: Debian's docker-registry. skopeo pushes to it, deletes
//! from it and pulls from it. Every test runs twice: with notifications that contain a manifest's
//! references, and without, where the catalog looks up the manifest in the registry.

mod comparisons;
mod first_fill;
mod layout;
mod manifest_lookups;
mod pushes;
mod readme;
mod scheduled;
mod setup;

use std::time::Duration;

use catalog::reader::Filter;
use end_to_end::harness::{Store, repository};
use tokio::sync::Mutex;

use self::comparisons::{a_catalog_without_notifications, two_thousand_images_from_before};
use self::first_fill::a_first_fill_between_live_pushes;
use self::manifest_lookups::{a_notification_with_only_a_tag, a_registry_that_is_unavailable};
use self::pushes::{
    a_deletion_by_digest, a_docker_image, a_docker_list, a_second_tag, a_tag_that_moves, an_index,
    an_oci_image, pulls, what_happened_while_the_catalog_was_down,
};
use self::scheduled::a_program_that_reconciles_at_an_interval;
use self::setup::Setup;

/// The catalog must list a change this soon after the client returned.
const LIMIT: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(2);
const REPOSITORY: &str = "team/app";

/// The printed figures are those of one catalog and one registry alone.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

macro_rules! with_and_without_references {
    ($($test:ident),* $(,)?) => {
        mod with_references {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    if let Some(setup) = super::Setup::start(stringify!($test), true).await {
                        super::$test(setup).await;
                    }
                }
            )*
        }

        mod without_references {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    if let Some(setup) = super::Setup::start(stringify!($test), false).await {
                        super::$test(setup).await;
                    }
                }
            )*
        }
    };
}

with_and_without_references!(
    an_oci_image,
    a_docker_image,
    an_index,
    a_docker_list,
    a_second_tag,
    a_tag_that_moves,
    a_deletion_by_digest,
    what_happened_while_the_catalog_was_down,
    pulls,
    a_notification_with_only_a_tag,
    a_registry_that_is_unavailable,
    a_catalog_without_notifications,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_images_from_before_the_catalog() {
    if let Some(setup) = Setup::start("two_thousand_images_from_before_the_catalog", true).await {
        two_thousand_images_from_before(setup).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconciliation_at_an_interval() {
    if let Some(setup) = Setup::start("reconciliation_at_an_interval", true).await {
        a_program_that_reconciles_at_an_interval(setup).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r59_a_first_fill_of_images_of_a_year() {
    if let Some(setup) = Setup::start("r59_a_first_fill_of_images_of_a_year", true).await {
        a_first_fill_between_live_pushes(setup).await;
    }
}

/// Digest, tags and size of each image; empty if the repository does not exist.
async fn described(store: &Store) -> Vec<(String, Vec<String>, Option<i64>)> {
    let filter = Filter { tag_status: None, image_status: None };
    let mut images = Vec::new();
    loop {
        let after = images.last().map(catalog::Image::position);
        let page = store.page(&repository(REPOSITORY), &filter, after.as_ref(), 1000).await;
        let Ok(page) = page else { return Vec::new() };
        images.extend(page.images);
        if !page.more {
            break;
        }
    }
    let described = images.into_iter().map(|image| {
        let tags = image.image_tags.iter().map(ToString::to_string).collect();
        (image.image_digest.to_string(), tags, image.image_size_in_bytes)
    });
    described.collect()
}
