//! Deletions of images, tags and repositories.

use end_to_end::harness::Catalog;
use serde_json::{Value, json};

use super::{CatalogClient as _, assert_in_any_order, cloudtrail, delete, image, push};

#[tokio::test]
async fn r48_a_repository_exists_from_its_first_event_to_its_deletion() {
    let catalog = Catalog::start().await;
    assert_eq!(catalog.error("app").await, "RepositoryNotFoundException");
    catalog.ecr(&cloudtrail("CreateRepository", 1, json!({}))).await;
    assert_eq!(catalog.images("app").await, [] as [Value; 0], "it exists, without images");
    catalog.ecr(&push(2, 1, "v1")).await;
    catalog.ecr(&cloudtrail("DeleteRepository", 3, json!({}))).await;
    assert_eq!(catalog.error("app").await, "RepositoryNotFoundException");
    let by_tag = json!({ "repositoryName": "app", "imageIds": [{ "imageTag": "v1" }] });
    assert_eq!(catalog.describe(by_tag).await.1["__type"], "RepositoryNotFoundException");
    catalog.ecr(&push(4, 2, "v2")).await;
    assert_eq!(catalog.images("app").await, [image(2, &["v2"], 4)]);
}

#[tokio::test]
async fn r48_a_deletion_takes_earlier_images_in_any_order() {
    let events = [
        push(1, 1, "v1"),
        push(2, 2, "v2"),
        cloudtrail("DeleteRepository", 3, json!({})),
        push(4, 2, "v2"),
    ];
    assert_in_any_order(&events, &[image(2, &["v2"], 4)]).await;
}

#[tokio::test]
async fn r48_a_delete_event_makes_a_repository_known_but_does_not_bring_it_back() {
    let catalog = Catalog::start().await;
    catalog.ecr(&delete(1, 1, "v1")).await;
    assert_eq!(catalog.images("app").await, [] as [Value; 0]);
    catalog.ecr(&cloudtrail("DeleteRepository", 2, json!({}))).await;
    catalog.ecr(&delete(3, 1, "v1")).await;
    assert_eq!(catalog.error("app").await, "RepositoryNotFoundException");
}

#[tokio::test]
async fn r49_an_image_is_deleted_with_its_last_tag_only_if_that_tag_is_removed() {
    let two_tags = [push(1, 1, "v1"), push(2, 1, "v2")];
    let one_removed = [two_tags.to_vec(), vec![delete(3, 1, "v1")]].concat();
    assert_in_any_order(&one_removed, &[image(1, &["v2"], 1)]).await;
    let both_removed = [one_removed.clone(), vec![delete(4, 1, "v2")]].concat();
    assert_in_any_order(&both_removed, &[]).await;
    // The last tag is moved to another image: the first image stays, untagged.
    let one_moved = [one_removed, vec![push(4, 2, "v2")]].concat();
    assert_in_any_order(&one_moved, &[image(2, &["v2"], 4), image(1, &[], 1)]).await;
}

#[tokio::test]
async fn r49_a_removed_tag_that_points_elsewhere_by_then_stays() {
    let events = [push(1, 1, "v1"), push(2, 2, "v1"), delete(3, 1, "v1")];
    assert_in_any_order(&events, &[image(2, &["v1"], 2), image(1, &[], 1)]).await;
    let older = [push(1, 1, "v1"), delete(2, 1, "v1"), push(3, 1, "v1")];
    assert_in_any_order(&older, &[image(1, &["v1"], 3)]).await;
}

#[tokio::test]
async fn r49_a_delete_without_a_tag_takes_the_image_and_all_its_tags() {
    let events = [push(1, 1, "v1"), push(2, 1, "v2"), push(3, 2, "v3"), delete(4, 1, "")];
    assert_in_any_order(&events, &[image(2, &["v3"], 3)]).await;
}
