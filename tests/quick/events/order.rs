//! The order of images that were pushed in the same second.

use end_to_end::harness::{Catalog, OCI_CONFIGURATION, OCI_IMAGE, OCI_INDEX, Random};
use serde_json::json;

use super::{CatalogClient as _, pages_of_one, push};

/// The events of Amazon ECR for buildx's push of an image of two platforms with provenance: one for
/// each of two images and of an attestation, by digest, and one for each index, with a tag. A
/// client that looks for the newest image expects the index.
#[tokio::test]
async fn r57_of_one_second_the_index_is_the_newest() {
    const REPOSITORIES: usize = 20;
    let mut random = Random(57);
    for tags in [&["latest"][..], &["latest", "v1"]] {
        let catalog = Catalog::start().await;
        let (mut newest, mut in_order) = (0, 0);
        for number in 0..REPOSITORIES {
            let repository = format!("app-{number:02}");
            let mut any_digest = || {
                let parts: [u64; 4] = std::array::from_fn(|_| random.next());
                let digits: String = parts.iter().map(|part| format!("{part:016x}")).collect();
                format!("sha256:{digits}")
            };
            let (mut others, mut indexes) = (Vec::new(), Vec::new());
            let mut events = Vec::new();
            for tag in [&["", "", ""], tags].concat() {
                let digest = any_digest();
                let mut event = push(7, 0, tag);
                event["detail"]["repository-name"] = json!(repository);
                event["detail"]["image-digest"] = json!(digest);
                if tag.is_empty() {
                    event["detail"]["manifest-media-type"] = json!(OCI_IMAGE);
                    event["detail"]["artifact-media-type"] = json!(OCI_CONFIGURATION);
                    others.push(digest);
                } else {
                    event["detail"]["manifest-media-type"] = json!(OCI_INDEX);
                    indexes.push(digest);
                }
                events.push(event);
            }
            while !events.is_empty() {
                let place = usize::try_from(random.below(events.len() as u64)).unwrap();
                catalog.ecr(&events.swap_remove(place)).await;
            }
            let page =
                catalog.describe(json!({ "repositoryName": repository, "maxResults": 1 })).await.1;
            let first = page["imageDetails"][0]["imageDigest"].as_str().unwrap().to_owned();
            newest += usize::from(indexes.contains(&first));
            others.sort();
            indexes.sort();
            in_order += usize::from(
                pages_of_one(&catalog, &repository).await == [indexes, others].concat(),
            );
        }
        assert_eq!(newest, REPOSITORIES, "an index tagged {tags:?} is the newest in so many");
        assert_eq!(in_order, REPOSITORIES, "page by page all are there in order in so many");
    }
}
