//! How long a start takes, and how much memory it needs.

use std::fs;
use std::time::Instant;

use end_to_end::harness::{Process, binary, print};

use super::{LIMIT, folder};

/// Figures; what is asserted is far from them.
#[tokio::test]
async fn start_time_and_memory() {
    const MOST_RESIDENT_KIBIBYTES: u64 = 200 * 1024;
    let folder = folder("start");
    // Building it is not measured.
    binary();
    for data in ["a new directory", "a directory that was there"] {
        let started = Instant::now();
        let mut process = Process::start_with_data(&folder);
        let response = process.http.get(format!("{}/healthz", process.url)).send().await.unwrap();
        assert_eq!(response.status(), http::StatusCode::OK);
        let healthy = started.elapsed();
        if data == "a new directory" {
            process.push("team/app", 1, "v1").await;
        }
        let asked = Instant::now();
        assert_eq!(process.tags("team/app").await, ["v1"]);
        let described = asked.elapsed();
        let status = fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident: u64 = resident.split_whitespace().next().unwrap().parse().unwrap();
        print(format!(
            "process (development profile), {data}: GET /healthz answered {:.1} ms after the start; \
             the first DescribeImages took {:.1} ms; then {:.1} MiB resident",
            healthy.as_secs_f64() * 1000.0,
            described.as_secs_f64() * 1000.0,
            resident as f64 / 1024.0,
        ));
        assert!(healthy + described < LIMIT);
        assert!(resident < MOST_RESIDENT_KIBIBYTES);
        process.stop();
    }
}
