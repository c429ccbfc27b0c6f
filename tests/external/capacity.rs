//! What reads and writes cost, in DynamoDB's own units, whatever the size of the repository.

mod reconciliation;
mod repositories;

use aws_sdk_dynamodb::types::AttributeValue;
use catalog::change::Content;
use catalog::image::{ImageStatus, Position, TagStatus};
use catalog::reader::{Filter, ImageIdentifier};
use catalog::table::{REPOSITORY_TAG_STATUS, SORT, StoreError};
use catalog::writer::Applied;
use catalog::{Change, ChangeKind, Repository};
use end_to_end::harness::{Page, Store, digest, item_bytes, print, repository, tag, time};

const PAGE: usize = 100;

/// A push of an image like any other, each at its own time.
fn push(repository: &Repository, number: u64, tag_name: Option<&str>) -> Change {
    Change {
        repository: repository.clone(),
        time: time(i64::try_from(number).unwrap()),
        kind: ChangeKind::ImagePushed {
            digest: digest(number),
            tag: tag_name.map(tag),
            content: Content {
                manifest_media_type: Some("application/vnd.oci.image.manifest.v1+json".to_owned()),
                artifact_media_type: Some("application/vnd.oci.image.config.v1+json".to_owned()),
                size_in_bytes: Some(50_000_000),
                ..Content::default()
            },
        },
    }
}

/// Pushes images 0 to `images - 1`. Three are tagged, none of them in the first, the middle or the
/// last page.
async fn fill(store: &Store, repository: &Repository, images: u64) {
    const WRITERS: usize = 4;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (store, repository) = (store.clone(), repository.clone());
        writers.spawn(async move {
            for number in (writer as u64..images).step_by(WRITERS) {
                let tag_name = (number % (images / 4) == 150).then(|| format!("v{number}"));
                let push = push(&repository, number, tag_name.as_deref().filter(|_| number > 150));
                store.writer.apply(&push).await.unwrap();
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
}

/// The page after the image of this number. The listing goes from the highest number down.
async fn page(store: &Store, repository: &Repository, filter: &Filter, after: Option<u64>) -> Page {
    let position = after.map(|number| Position {
        pushed_at_milliseconds: time(i64::try_from(number).unwrap()).as_milliseconds(),
        is_index: false,
        digest: digest(number),
    });
    store.page(repository, filter, position.as_ref(), PAGE).await.unwrap()
}

/// The bytes of a repository's images in the table and its index, including the hundred bytes of
/// overhead that DynamoDB counts per item.
async fn stored_bytes(store: &Store, repository: &Repository) -> usize {
    let partition = AttributeValue::S(repository.to_string());
    let items = store
        .table
        .client
        .query()
        .table_name(&store.table.name)
        .key_condition_expression("repository = :repository")
        .expression_attribute_values(":repository", partition)
        .send()
        .await
        .unwrap();
    items
        .items()
        .iter()
        .filter(|item| item[SORT].as_s().is_ok_and(|sort| sort != "repository"))
        .map(|item| {
            let bytes = 100 + item_bytes(item);
            if item.contains_key(REPOSITORY_TAG_STATUS) { 2 * bytes } else { bytes }
        })
        .sum()
}

/// The write and the read units of a change.
fn capacity_of(applied: Result<Applied, StoreError>) -> (f64, f64) {
    let applied = applied.unwrap();
    (applied.write_units, applied.read_units)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_pushes_cost_the_same_in_small_and_large_repositories() {
    let store = Store::in_memory().await;
    let all = Filter { image_status: Some(ImageStatus::Active), tag_status: None };
    let tagged = Filter { tag_status: Some(TagStatus::Tagged), ..all };
    let mut pages = Vec::new();
    let mut pushes = Vec::new();
    for images in [1_000, 100_000] {
        let repository = repository(&format!("images-{images}"));
        fill(&store, &repository, images).await;
        print(format!(
            "{images} images; read units of a page of {PAGE}, of the 3 tagged, units of a push:"
        ));

        let first = page(&store, &repository, &all, None).await;
        let middle = page(&store, &repository, &all, Some(images / 2)).await;
        let last = page(&store, &repository, &all, Some(PAGE as u64)).await;
        assert!(
            first.images.len() == PAGE && middle.images.len() == PAGE && last.images.len() == PAGE
        );
        assert!(first.more && middle.more && !last.more);
        let units = [&first, &middle, &last].map(|page| page.consumed_capacity);
        let found = async |digest, tag| {
            let identifier = [ImageIdentifier { digest, tag }];
            let found = store.reader.find(&repository, &identifier).await.unwrap();
            assert!(found.images[0].is_some());
            found.consumed_capacity
        };
        let by_tag = found(None, Some(tag(&format!("v{}", images / 4 + 150)))).await;
        let by_digest = found(Some(digest(7)), None).await;
        print(format!("  read units of a look-up by tag: {by_tag}; by digest: {by_digest}"));
        assert_eq!((by_tag, by_digest), (1.0, 0.5), "a hit is read once, and may be from the past");
        let three = page(&store, &repository, &tagged, None).await;
        assert!(three.images.len() == 3 && !three.more);
        print(format!(
            "  pages first, middle, last: {units:?}; tagged: {}",
            three.consumed_capacity
        ));
        assert!(units.iter().all(|unit| unit == &units[0]), "wherever the page is");
        pages.push((units, three.consumed_capacity));

        let mut written = Vec::new();
        for (number, tag_name) in [
            (images, None),
            (images + 1, Some("new")),
            (images + 2, Some("new")),
            (images + 2, Some("other")),
        ] {
            written
                .push(capacity_of(store.writer.apply(&push(&repository, number, tag_name)).await));
        }
        let found = push(&repository, images + 3, Some("found"));
        let ChangeKind::ImagePushed { digest, content, .. } = found.kind.clone() else {
            panic!("a push")
        };
        let kind = ChangeKind::ImageObserved { digest, pushed_at: found.time, content };
        let observed = Change { kind, ..found.clone() };
        written.push(capacity_of(store.writer.apply(&observed).await));
        written.push(capacity_of(store.writer.apply(&found).await));
        let again = store.writer.apply(&push(&repository, images, None)).await.unwrap();
        assert!(!again.written && again.write_units == 0.0, "a repetition writes nothing");
        print(format!(
            "  pushes without a tag, under a new tag, moving it, adding a second tag; an image that a comparison \
             finds, its tag; write and read units: {written:?}"
        ));
        pushes.push(written);
    }
    let [untagged, tagged] = [None, Some("v1")].map(|tag_name| {
        let (store, repository) =
            (store.clone(), repository(&format!("one-image-{}", tag_name.is_some())));
        async move {
            store.writer.apply(&push(&repository, 0, tag_name)).await.unwrap();
            stored_bytes(&store, &repository).await
        }
    });
    print(format!("bytes that an image takes: {}; with a tag: {}", untagged.await, tagged.await));
    assert_eq!(pages[0], pages[1], "read units do not grow with the repository");
    assert_eq!(pushes[0], pushes[1], "units do not grow with the repository");
}

/// A tag moves between two images, and each time the repository is listed. Both histories are
/// larger than one item long before the last pushes are measured.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_costs_as_much_after_ten_thousand_moves_of_its_tag_as_after_one() {
    const MEASURED: u64 = 100;
    let store = Store::in_memory().await;
    let repository = repository("app");
    let mut units = Vec::new();
    for moves in 0..10_000 + MEASURED {
        let kind = push(&repository, 1 + moves % 2, Some("latest")).kind;
        let at = time(i64::try_from(moves).unwrap());
        let change = Change { repository: repository.clone(), time: at, kind };
        units.push(store.writer.apply(&change).await.unwrap().write_units);
    }
    // Some pushes move events out of an item, which costs more. The mean is what counts.
    let mean = |first: u64, pushes: u64| {
        let first = usize::try_from(first).unwrap();
        let pushes = usize::try_from(pushes).unwrap();
        units[first..first + pushes].iter().sum::<f64>() / pushes as f64
    };
    let [one, thirty, ten_thousand] = [mean(1, 1), mean(30, MEASURED), mean(10_000, MEASURED)];
    let largest = units.iter().copied().fold(0.0, f64::max);
    print(format!(
        "write units of a push after 1 move of its tag: {one}; after 30: {thirty:.1}; after 10,000: {ten_thousand:.1}; \
         the largest of all: {largest}"
    ));
    assert!(ten_thousand <= 2.0 * one, "{ten_thousand} units after {one}");
}
