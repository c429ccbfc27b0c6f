//! A registry that notifies the catalog: Debian's docker-registry, which skopeo pushes to, deletes
//! from and pulls from. Every test runs twice: with notifications that list what a manifest refers
//! to, and without, where the catalog asks the registry for the manifest.

mod comparisons;
mod layout;
mod manifest_lookups;
mod pushes;
mod setup;

use std::time::Duration;

use catalog::reader::Filter;
use end_to_end::harness::{Store, repository};
use tokio::sync::Mutex;

use self::comparisons::{a_catalog_that_heard_nothing, two_thousand_images_from_before};
use self::manifest_lookups::{
    a_push_of_which_only_the_tag_is_told, a_registry_that_does_not_answer,
};
use self::pushes::{
    a_deletion_by_digest, a_docker_image, a_docker_list, a_second_tag, a_tag_that_moves, an_index,
    an_oci_image, pulls, what_happened_while_the_catalog_was_down,
};
use self::setup::Setup;

/// How soon after the client returned the catalog has to know.
const LIMIT: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(2);
const REPOSITORY: &str = "team/app";

/// The figures that are printed are those of one catalog and one registry alone.
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
    a_push_of_which_only_the_tag_is_told,
    a_registry_that_does_not_answer,
    a_catalog_that_heard_nothing,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_images_from_before_the_catalog() {
    if let Some(setup) = Setup::start("two_thousand_images_from_before_the_catalog", true).await {
        two_thousand_images_from_before(setup).await;
    }
}

/// Digest, tags and size of each image; nothing where the repository is not known.
async fn described(store: &Store) -> Vec<(String, Vec<String>, Option<i64>)> {
    let filter = Filter { tag_status: None, image_status: None };
    let mut images = Vec::new();
    loop {
        let after = images.last().map(catalog::Image::position);
        let page = store
            .reader
            .list(&repository(REPOSITORY), &filter, after.as_ref(), 1000, |_| false)
            .await;
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
