//! Explore.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
use catalog::change::Content;
use catalog::{Change, ChangeKind};
use end_to_end::{Catalog, digest, print, repository, tag, time};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explore() {
    let catalog = Catalog::start().await;
    let content = |size| Content {
        manifest_media_type: Some("application/vnd.oci.image.manifest.v1+json".to_owned()),
        artifact_media_type: Some("application/vnd.oci.image.config.v1+json".to_owned()),
        size_in_bytes: Some(size),
        manifests: None,
        subject: None,
    };
    for (at, number, t) in [(0, 3, Some("v1")), (1000, 2, None), (2500, 1, Some("v2")), (3000, 1, Some("latest")), (-1, 4, Some("old"))] {
        let change = Change {
            repository: repository("team/app"),
            time: time(at),
            kind: ChangeKind::ImagePushed { digest: digest(number), tag: t.map(tag), content: content(1000 + number as i64) },
        };
        catalog.store.writer.apply(&change).await.unwrap();
    }
    let kind = ChangeKind::ImageArchived { digest: digest(4) };
    catalog.store.writer.apply(&Change { repository: repository("team/app"), time: time(5000), kind }).await.unwrap();
    let started = std::time::Instant::now();
    for i in 0..2500_u64 {
        let change = Change {
            repository: repository("big"),
            time: time((i % 13) as i64),
            kind: ChangeKind::ImagePushed { digest: digest(i.wrapping_mul(0x9E37_79B9_7F4A_7C15)), tag: Some(i).filter(|i| i % 3 != 0).map(|i| tag(&format!("t{i}"))), content: content(i as i64) },
        };
        catalog.store.writer.apply(&change).await.unwrap();
    }
    print(format!("seeded in {:?}", started.elapsed()));
    std::fs::write("/tmp/x/url", &catalog.url).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1800)).await;
}
