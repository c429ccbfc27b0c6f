//! Read and write units, as the embedded engine reports them. They are the same in every run.

use catalog::change::Content;
use catalog::image::ImageStatus;
use catalog::reader::Filter;
use catalog::{Change, ChangeKind};
use end_to_end::harness::{OCI_CONFIGURATION, OCI_IMAGE, Store, digest, repository, tag, time};
use tokio::runtime::Runtime;

use crate::report::Report;

const REPOSITORY: &str = "images-1000";
const MOVES: u64 = 10_000;
const MEASURED: u64 = 100;

/// A push in this millisecond.
fn push(number: u64, millisecond: u64, tag_name: Option<&str>) -> Change {
    Change {
        repository: repository(REPOSITORY),
        time: time(millisecond.cast_signed()),
        kind: ChangeKind::ImagePushed {
            digest: digest(number),
            tag: tag_name.map(tag),
            content: Content {
                manifest_media_type: Some(OCI_IMAGE.to_owned()),
                artifact_media_type: Some(OCI_CONFIGURATION.to_owned()),
                size_in_bytes: Some(50_000_000),
                ..Content::default()
            },
        },
    }
}

pub(crate) fn measure(runtime: &Runtime, report: &mut Report) {
    runtime.block_on(async {
        let store = Store::in_memory().await;
        let write = async |change| store.writer.apply(&change).await.unwrap().write_units;
        for number in 0..1_000 {
            write(push(number, number, None)).await;
        }
        let filter = Filter { image_status: Some(ImageStatus::Active), tag_status: None };
        let page = store.page(&repository(REPOSITORY), &filter, None, 100).await.unwrap();
        report.exact("page of 100, units", 5.0, page.consumed_capacity, "read units");

        let untagged = write(push(1_000, 1_000, None)).await;
        report.exact("push without a tag, units", 5.0, untagged, "write units");
        let tagged = write(push(1_001, 1_001, Some("latest"))).await;
        report.exact("push under a new tag, units", 7.0, tagged, "write units");

        let mut moves = Vec::new();
        for number in 0..MOVES + MEASURED {
            moves.push(write(push(1_002 + number % 2, 1_002 + number, Some("latest"))).await);
        }
        report.exact(
            "push that moves a tag for the second time, units",
            11.0,
            moves[1],
            "write units",
        );
        let last: f64 = moves.iter().rev().take(MEASURED as usize).sum::<f64>() / MEASURED as f64;
        let what = format!("the same, units, mean of {MEASURED} pushes after {MOVES} moves");
        report.exact(&what, 11.0, last, "write units");
    });
}
