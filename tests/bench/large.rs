//! A large repository over a small one, in one database, and the memory of the program that serves
//! it.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use catalog::image::ImageStatus;
use catalog::reader::{Filter, ImageIdentifier};
use end_to_end::harness::{Process, Store, command, folder, print, repository, time};
use image_catalog::data::open_engine;
use ingest_events::source::Origin;
use registries::Source;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::images::{push_event, tag};
use crate::report::{Bar, Report, times};
use crate::rounds::{in_turns, long_rounds, variable};
use crate::wrk::{self, Load};

const SMALL: (&str, u64) = ("small", 1_000);
const LARGE: &str = "large";

/// Unless `IMAGES` in the environment is another number.
const IMAGES: usize = 100_000;

/// Events of a delivery.
const DELIVERY: usize = 100;

/// Memory while so many connections request pages.
const CONNECTIONS: usize = 16;

pub(crate) fn measure(runtime: &Runtime, report: &mut Report) {
    let images = variable("IMAGES").unwrap_or(IMAGES) as u64;
    let data = large_folder();
    let (small, large) = runtime.block_on(async {
        let engine = open_engine(&data, "image-catalog").await.unwrap();
        let store = Store::new(engine.client()).await;
        fill(&store, SMALL.0, SMALL.1).await;
        fill(&store, LARGE, images).await;
        (units(&store, SMALL.0).await, units(&store, LARGE).await)
    });
    let over = format!("of {images} images over {}", SMALL.1);
    report.exact(&format!("page {over}, read units"), 1.1, large.0 / small.0, "");
    report.exact(&format!("look-up {over}, read units"), 1.1, large.1 / small.1, "");
    if wrk::is_installed() {
        served(report, &data, images, &over);
    }
    fs::remove_dir_all(&data).unwrap();
}

/// In memory, if the system has a folder there: the images are written faster, and what is read is
/// in memory in either case.
fn large_folder() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if !memory.is_dir() {
        return folder("large");
    }
    let folder = memory.join(format!("image-catalog-bench-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// By deliveries of events.
async fn fill(store: &Store, repository_name: &str, images: u64) {
    let started = Instant::now();
    let ingest = store.ingest();
    let origin = Origin::new(Source::Ecr, repository(repository_name).registry, time(0));
    let numbers: Vec<u64> = (0..images).collect();
    for numbers in numbers.chunks(DELIVERY) {
        let events: Vec<Value> =
            numbers.iter().map(|number| push_event(repository_name, *number)).collect();
        let ingested = ingest.ingest(&origin, json!(events).to_string().as_bytes()).await.unwrap();
        assert_eq!(ingested.report.applied, numbers.len());
    }
    print(format!("filled {repository_name} with {images} images in {:.0?}", started.elapsed()));
}

/// The read units of a page of 100 and of a look-up.
async fn units(store: &Store, repository_name: &str) -> (f64, f64) {
    let repository = repository(repository_name);
    let filter = Filter { image_status: Some(ImageStatus::Active), tag_status: None };
    let page = store.page(&repository, &filter, None, 100).await.unwrap();
    let identifier = ImageIdentifier { digest: None, tag: Some(tag(500)) };
    let found = store.reader.find(&repository, &[identifier]).await.unwrap();
    assert!(found.images[0].is_some());
    (page.consumed_capacity, found.consumed_capacity)
}

/// Times, and the memory afterwards.
fn served(report: &mut Report, data: &PathBuf, images: u64, over: &str) {
    let mut command = command(&folder("large-program"));
    command.arg("--data").arg(data);
    let process = Process::start(command);
    let page = |name| json!({ "repositoryName": name, "maxResults": 100 });
    let look_up = |name| json!({ "repositoryName": name, "imageIds": [{ "imageTag": tag(500) }] });
    let mut compare = |what: &str, small: &Value, large: &Value| {
        let [small, large] = [("small", small), ("large", large)]
            .map(|(name, body)| Load::never_alike(&format!("{what}-{name}"), body));
        let [large, small] = in_turns(
            long_rounds(),
            [&mut || large.seconds_per_request(&process.url), &mut || {
                small.seconds_per_request(&process.url)
            }],
        );
        let figures = times(&large, &small);
        let what = format!("{what} {over}, time");
        report.ratio(&what, Bar::AtMost(1.1), &large.over(&small), figures);
    };
    compare("page", &page(SMALL.0), &page(LARGE));
    compare("look-up", &look_up(SMALL.0), &look_up(LARGE));

    let load = Load::never_alike("memory", &page(LARGE));
    load.requests_per_second(&process.url, CONNECTIONS, 2);
    let status = fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kibibytes: f64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    let what = format!("standalone, peak memory with {images} images, {CONNECTIONS} connections");
    report.exact(&what, 64.0, kibibytes / 1024.0, "MiB");
}
