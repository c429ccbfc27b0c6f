//! The laws of histories, in memory, on the code of the writer: the state is a function of the set
//! of changes, nothing that exists is lost, and no item grows with the past.

mod lateness;
mod sizes;
mod state;

use std::time::Duration;

use catalog::change::Content;
use catalog::{Change, ChangeKind, Timestamp};
use end_to_end::harness::{digest, repository, tag};

const DAY: Duration = Duration::from_hours(24);

/// The size limit of an item, apart from the current tags of its image.
const MAX_ITEM_BYTES: usize = 64 * 1024;

fn push(at: Timestamp, number: u64, tag_name: &str) -> Change {
    change(
        at,
        ChangeKind::ImagePushed {
            digest: digest(number),
            tag: Some(tag(tag_name)),
            content: Content::default(),
        },
    )
}

fn change(at: Timestamp, kind: ChangeKind) -> Change {
    Change { repository: repository("app"), time: at, kind }
}
