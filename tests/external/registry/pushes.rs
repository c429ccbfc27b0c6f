//! Pushes, deletions and pulls are listed within the limit.

use catalog::reader::Filter;
use end_to_end::harness::{
    DOCKER_CONFIGURATION, DOCKER_IMAGE, DOCKER_LIST, DockerRegistry, repository,
};
use serde_json::Value;

use super::REPOSITORY;
use super::layout::Layout;
use super::setup::{Done, Setup, assert_pushed_during, find, milliseconds, now};

pub(super) async fn an_oci_image(setup: Setup) {
    let image = setup.image("one", &[100, 2_000]);
    let push = setup.push(&image, "v1", &[]);
    let listed = setup.expect("an OCI image", &push, &[image.detail(&["v1"])]).await;
    assert_pushed_during(&listed, &image, &push);
    setup.assert_equals_registry().await;
}

pub(super) async fn a_docker_image(setup: Setup) {
    let mut image = setup.image("one", &[100, 2_000]);
    let push = setup.push(&image, "v1", &["--format", "v2s2"]);
    // skopeo writes a new manifest; configuration and layers stay unchanged.
    image.digest = push.digest.clone();
    image.media_type = DOCKER_IMAGE;
    image.configuration_media_type = Some(DOCKER_CONFIGURATION);
    let listed = setup.expect("a Docker image", &push, &[image.detail(&["v1"])]).await;
    assert_pushed_during(&listed, &image, &push);
    setup.assert_equals_registry().await;
}

pub(super) async fn an_index(setup: Setup) {
    let images = setup.images_of_platforms();
    let index = setup.index("all", &images);
    let push = setup.push(&index, "v1", &["--all"]);
    let mut expected: Vec<Value> = images.iter().map(|image| image.detail(&[])).collect();
    expected.push(index.detail(&["v1"]));
    let listed = setup.expect("an OCI index", &push, &expected).await;
    for image in images.iter().chain([&index]) {
        assert_pushed_during(&listed, image, &push);
    }
    setup.assert_equals_registry().await;
}

pub(super) async fn a_docker_list(setup: Setup) {
    let mut images = setup.images_of_platforms();
    let mut list = setup.index("all", &images);
    let push = setup.push(&list, "v1", &["--all", "--format", "v2s2"]);
    // skopeo writes new manifests; those of the images are in the list, in order.
    list.digest = push.digest.clone();
    list.media_type = DOCKER_LIST;
    let manifest = manifest_of(&setup.registry, &list.digest).await;
    assert_eq!(manifest["manifests"].as_array().unwrap().len(), images.len());
    for (image, descriptor) in images.iter_mut().zip(manifest["manifests"].as_array().unwrap()) {
        image.digest = descriptor["digest"].as_str().unwrap().to_owned();
        image.media_type = DOCKER_IMAGE;
        image.configuration_media_type = Some(DOCKER_CONFIGURATION);
    }
    let mut expected: Vec<Value> = images.iter().map(|image| image.detail(&[])).collect();
    expected.push(list.detail(&["v1"]));
    setup.expect("a Docker manifest list", &push, &expected).await;
    setup.assert_equals_registry().await;
}

pub(super) async fn a_second_tag(setup: Setup) {
    let image = setup.image("one", &[100]);
    let first = setup.push(&image, "v1", &[]);
    setup.expect("an OCI image", &first, &[image.detail(&["v1"])]).await;
    let second = setup.push(&image, "latest", &[]);
    let listed = setup.expect("a second tag", &second, &[image.detail(&["latest", "v1"])]).await;
    // The time of the first push of the digest counts.
    assert_pushed_during(&listed, &image, &first);
    setup.assert_equals_registry().await;
}

pub(super) async fn a_tag_that_moves(setup: Setup) {
    let (one, two) = (setup.image("one", &[100]), setup.image("two", &[200, 300]));
    let push = setup.push(&one, "latest", &[]);
    setup.expect("an OCI image", &push, &[one.detail(&["latest"])]).await;
    let push = setup.push(&two, "latest", &[]);
    let listed =
        setup.expect("a tag that moves", &push, &[one.detail(&[]), two.detail(&["latest"])]).await;
    assert_pushed_during(&listed, &two, &push);
    let push = setup.push(&one, "latest", &[]);
    setup.expect("a tag that moves back", &push, &[one.detail(&["latest"]), two.detail(&[])]).await;
    setup.assert_equals_registry().await;
}

pub(super) async fn a_deletion_by_digest(setup: Setup) {
    let (one, two) = (setup.image("one", &[100]), setup.image("two", &[200, 300]));
    setup.push(&one, "v1", &[]);
    setup.push(&one, "latest", &[]);
    let push = setup.push(&two, "v2", &[]);
    let both = [one.detail(&["latest", "v1"]), two.detail(&["v2"])];
    setup.expect("two images", &push, &both).await;

    let deletion = setup.delete(&one);
    setup.expect("a deletion", &deletion, &[two.detail(&["v2"])]).await;
    assert_eq!(
        setup.registry.head(REPOSITORY, &one.digest).await,
        None,
        "the registry has it no longer, either"
    );
    setup.assert_equals_registry().await;

    let again = setup.push(&one, "v1", &[]);
    let listed = setup
        .expect("a push after a deletion", &again, &[one.detail(&["v1"]), two.detail(&["v2"])])
        .await;
    assert_pushed_during(&listed, &one, &again);
    setup.assert_equals_registry().await;
}

pub(super) async fn what_happened_while_the_catalog_was_down(mut setup: Setup) {
    let (one, two, three) =
        (setup.image("one", &[100]), setup.image("two", &[200]), setup.image("three", &[300]));
    let push = setup.push(&one, "v1", &[]);
    setup.expect("an OCI image", &push, &[one.detail(&["v1"])]).await;

    setup.catalog.stop().await;
    setup.push(&two, "v2", &[]);
    setup.push(&three, "v1", &[]);
    setup.delete(&one);
    let table = &setup.catalog.store;
    let known = table.page(&repository(REPOSITORY), &Filter::default(), None, 1000).await.unwrap();
    let known: Vec<&str> = known.images.iter().map(|image| image.image_digest.as_str()).collect();
    assert_eq!(known, [one.digest.as_str()], "the catalog was really down");

    let from = now();
    setup.catalog.start().await;
    let back = Done::since(from);
    let expected = [two.detail(&["v2"]), three.detail(&["v1"])];
    setup.expect("the return of the catalog to what it missed", &back, &expected).await;
    setup.assert_equals_registry().await;
}

pub(super) async fn pulls(setup: Setup) {
    let (one, two) = (setup.image("one", &[100]), setup.image("two", &[200]));
    setup.push(&one, "v1", &[]);
    let push = setup.push(&two, "v2", &[]);
    setup.expect("two images", &push, &[one.detail(&["v1"]), two.detail(&["v2"])]).await;

    let pull = setup.pull("v1");
    let pulled_at = |listed: &[Value], image: &Layout| {
        milliseconds(&find(listed, image)["lastRecordedPullTime"])
    };
    let listed = setup
        .poll("a pull", &pull, async || {
            let listed = setup.catalog.describe().await;
            match pulled_at(&listed, &one) {
                Some(time) if pull.during.contains(&time) => Ok(listed),
                other => {
                    Err(format!("lastRecordedPullTime is {other:?}, not one of {:?}", pull.during))
                }
            }
        })
        .await;
    // The registry notifies in order, so the catalog's own requests have already been reported.
    assert_eq!(pulled_at(&listed, &two), None, "the other image was not pulled");
}

pub(super) async fn manifest_of(registry: &DockerRegistry, digest: &str) -> Value {
    let url = registry.url(&format!("/v2/{REPOSITORY}/manifests/{digest}"));
    let response = registry.http.get(url).header("accept", DOCKER_LIST).send().await.unwrap();
    response.error_for_status().unwrap().json().await.unwrap()
}
