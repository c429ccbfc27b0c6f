//! `make bench`: what the catalog takes, over what it would take at least, and beside others. Every
//! scenario is measured in turns with what it is compared with. The table and the plots go to the
//! folder `target/bench`.
//!
//! - `pages`: pages and look-ups over the requests to DynamoDB that they need
//! - `throughput`: requests a second, beside emulators of AWS
//! - `large`: a large repository over a small one
//! - `units`: read and write units
//! - `ingest`: a batch of events over its transactions
//! - `start`: the start of the standalone program

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

mod images;
mod ingest;
mod large;
mod pages;
mod plots;
mod recorder;
mod report;
mod rounds;
mod servers;
mod start;
mod throughput;
mod units;
mod wrk;

use std::fs;
use std::path::Path;

use mimalloc::MiMalloc;
use tokio::runtime::Runtime;

use self::report::Report;

/// The standalone program's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Group = fn(&Runtime, &mut Report);

const GROUPS: [(&str, Group); 6] = [
    ("units", units::measure),
    ("start", start::measure),
    ("ingest", ingest::measure),
    ("pages", pages::measure),
    ("throughput", throughput::measure),
    ("large", large::measure),
];

/// Measures the groups that the arguments name, or all of them.
fn main() {
    let named: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    // The build is not measured.
    end_to_end::harness::binary();
    // Like the standalone program's.
    let runtime = Runtime::new().unwrap();
    let mut report = Report::default();
    for (name, measure) in GROUPS {
        if named.is_empty() || named.iter().any(|named| named == name) {
            measure(&runtime, &mut report);
        }
    }
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    let folder = all.join(named.join("-"));
    fs::create_dir_all(&folder).unwrap();
    report.write(&folder.join("performance.md"), &all.join("cold-start.md"));
    plots::draw(&report, &folder);
}
