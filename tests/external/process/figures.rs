//! Start time and memory.

use std::fs;
use std::time::Instant;

use end_to_end::harness::{Process, binary, print};

use super::{LIMIT, folder};

/// Prints figures. The limits are far above them.
#[tokio::test]
async fn start_time_and_memory() {
    const MAX_RESIDENT_KIBIBYTES: u64 = 200 * 1024;
    let folder = folder("start");
    // The build is not measured.
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
        let requested_at = Instant::now();
        assert_eq!(process.tags("team/app").await, ["v1"]);
        let described = requested_at.elapsed();
        let status = fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident: u64 = resident.split_whitespace().next().unwrap().parse().unwrap();
        print(format!(
            "process (profile of the tests), {data}: GET /healthz answered {:.1} ms after the \
             start; the first DescribeImages took {:.1} ms; then {:.1} MiB resident",
            healthy.as_secs_f64() * 1000.0,
            described.as_secs_f64() * 1000.0,
            resident as f64 / 1024.0,
        ));
        assert!(healthy + described < LIMIT);
        assert!(resident < MAX_RESIDENT_KIBIBYTES);
        process.stop();
    }
}
