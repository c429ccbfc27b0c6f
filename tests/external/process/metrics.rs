//! The metrics: Prometheus's own check of them, and Prometheus itself, which answers every query of
//! the dashboard.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use end_to_end::harness::stand_in::{StandIn, image_manifest, index_manifest};
use end_to_end::harness::{
    KilledOnDrop, OCI_IMAGE, Process, REGISTRY, command, digest, eventually_within, free_port,
    require, time,
};
use serde_json::{Value, json};

use super::folder;

/// For Prometheus to have some samples of everything.
const LIMIT: Duration = Duration::from_secs(60);

/// No registry listens there.
const UNAVAILABLE: &str = "http://127.0.0.1:9";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The queries of the dashboard, with values of its variables.
fn queries() -> Vec<String> {
    let dashboard = fs::read_to_string(root().join("infra/grafana/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let queries = targets.map(|target| {
        let query = target["expr"].as_str().unwrap();
        query
            .replace("$job", "image-catalog")
            .replace("$instance", ".*")
            .replace("$__rate_interval", "1m")
    });
    queries.collect()
}

/// The metrics in a text: names of this program, and of processes.
fn names(text: &str) -> BTreeSet<String> {
    let words =
        text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    let names =
        words.filter(|word| word.starts_with("image_catalog_") || word.starts_with("process_"));
    names.map(|name| name.trim_end_matches("_bucket").to_owned()).collect()
}

/// The metrics that have a type.
fn typed(metrics: &str) -> BTreeSet<String> {
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// The metrics in the table of the documentation.
fn documented() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let (_, section) = text.split_once("\n### Metrics for Prometheus\n").unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|'));
    names(&rows.map(|row| row.split(" | ").next().unwrap()).collect::<Vec<_>>().join("\n"))
}

/// A catalog with images from before, and its metrics at an address of their own.
async fn start(folder: &Path, registry: &StandIn) -> (Process, String) {
    let mut before = Process::start_with_data(folder);
    for number in 1..=3 {
        before.push("team/app", number, &format!("v{number}")).await;
    }
    before.stop();
    let mut command = command(folder);
    command.args(["--data", "data", "--reconcile-every", "1d", "--metrics-listen", "127.0.0.1:0"]);
    command.args(["--registry-url", &registry.url, "--registry-url", UNAVAILABLE]);
    let process = Process::start(command);
    let log = process.log();
    let (_, url) = log.split_once("the metrics are at ").unwrap();
    let url = url.split(',').next().unwrap().to_owned();
    (process, url)
}

/// Requests and events, good ones and others.
async fn traffic(process: &Process) {
    process.describe(json!({ "repositoryName": "team/app" })).await.unwrap();
    process.describe(json!({ "repositoryName": "team/none" })).await.unwrap_err();
    let page = process.http.get(format!("{}/status", process.url));
    let refused = page.header("origin", "https://attacker.example").send().await.unwrap();
    assert_eq!(refused.status(), 403);
    process.push("team/app", 4, "v4").await;
    let event = json!({
        "id": "1",
        "timestamp": time(1),
        "action": "push",
        "target": {
            "mediaType": OCI_IMAGE,
            "digest": digest(5),
            "repository": "team/other",
            "url": format!("{UNAVAILABLE}/v2/team/other/manifests/{}", digest(5)),
        },
    });
    for events in [json!([event]), json!([{ "action": "push" }])] {
        let request = process.http.post(format!("{}/events/distribution", process.url));
        let response = request.json(&json!({ "events": events })).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
    let unknown = process.http.post(format!("{}/events/unknown", process.url));
    assert_eq!(unknown.json(&json!({})).send().await.unwrap().status(), 404);
}

async fn get(process: &Process, url: &str) -> String {
    process.http.get(url).send().await.unwrap().error_for_status().unwrap().text().await.unwrap()
}

/// What `promtool check metrics` has to say.
fn checked(promtool: &Path, metrics: &str) -> (bool, String) {
    let mut check = Command::new(promtool);
    check.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut check = check.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let texts = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(texts).unwrap())
}

/// Starts Prometheus, which scrapes an address several times a second. Returns its own address.
fn prometheus(program: &Path, folder: &Path, address: &str) -> (KilledOnDrop, String) {
    let configuration = json!({
        "global": { "scrape_interval": "250ms", "scrape_timeout": "250ms" },
        "scrape_configs": [{
            "job_name": "image-catalog",
            "static_configs": [{ "targets": [address] }],
        }],
    });
    // JSON is YAML.
    let file = folder.join("prometheus.yml");
    fs::write(&file, configuration.to_string()).unwrap();
    let own = format!("127.0.0.1:{}", free_port());
    let log = fs::File::create(folder.join("prometheus.log")).unwrap();
    let mut command = Command::new(program);
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()));
    command.arg(format!("--web.listen-address={own}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    (KilledOnDrop(command.spawn().unwrap()), format!("http://{own}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_accepts_the_metrics_and_prometheus_answers_the_dashboard() {
    let test = "promtool_accepts_the_metrics_and_prometheus_answers_the_dashboard";
    let Some(promtool) = require(test, "promtool") else { return };
    let Some(program) = require(test, "prometheus") else { return };
    let folder = folder("metrics");
    // One difference cannot be repaired: the index does not fit into an item of the table.
    let manifests = [("one", image_manifest(1)), ("huge", index_manifest(1001))];
    let registry = StandIn::start("team/app", &manifests).await;
    let (process, metrics_url) = start(&folder, &registry).await;
    traffic(&process).await;
    let (_prometheus, prometheus_url) =
        prometheus(&program, &folder, metrics_url["http://".len()..].trim_end_matches("/metrics"));

    // The reconciliation and the lookup end later than the response to their cause.
    let complete = async || typed(&get(&process, &metrics_url).await) == documented();
    eventually_within(LIMIT, "all metrics", complete).await;
    for url in [&metrics_url, &format!("{}/metrics", process.url)] {
        let metrics = get(&process, url).await;
        assert_eq!(typed(&metrics), documented(), "{metrics}");
        assert_eq!(checked(&promtool, &metrics), (true, String::new()), "{metrics}");
    }
    let metrics = get(&process, &metrics_url).await;
    for line in [
        "image_catalog_requests_total 2",
        "image_catalog_request_duration_seconds_count 2",
        r#"image_catalog_request_errors_total{error="RepositoryNotFoundException"} 1"#,
        "image_catalog_foreign_requests_total 1",
        r#"image_catalog_deliveries_total{source="distribution",status="200"} 2"#,
        r#"image_catalog_deliveries_total{source="unknown",status="404"} 1"#,
        r#"image_catalog_events_total{source="ecr",outcome="applied"} 1"#,
        r#"image_catalog_events_total{source="distribution",outcome="malformed"} 1"#,
        r#"image_catalog_pending_lookups{registry="127.0.0.1:9"} 1"#,
        r#"image_catalog_drift_not_repaired_total{kind="Image"} 1"#,
        r#"image_catalog_reconcile_last_success{registry="http://127.0.0.1:9"} 0"#,
    ] {
        assert!(metrics.lines().any(|each| each == line), "{line} is not in {metrics}");
    }
    // The count may include what the reconciliation adds.
    let name = r#"image_catalog_repository_images{service="ecr",registry_id=""#;
    let name = format!(r#"{name}{REGISTRY}",repository="team/app"}} "#);
    let images = metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
    assert!(images.parse::<u64>().unwrap() >= 3, "{metrics}");
    // Only the metrics are there.
    let other = metrics_url.replace("/metrics", "/status");
    assert_eq!(process.http.get(other).send().await.unwrap().status(), 404);

    let queries = queries();
    assert!(names(&queries.join("\n")).is_subset(&documented()));
    assert!(queries.len() > 25, "{queries:?}");
    for query in queries {
        let url = format!("{prometheus_url}/api/v1/query");
        let answers = async || {
            let url = reqwest::Url::parse_with_params(&url, [("query", &query)]).unwrap();
            let Ok(response) = process.http.get(url).send().await else { return false };
            // It is not ready yet.
            let Ok(response) = response.json::<Value>().await else { return false };
            // One that is not valid is never answered.
            assert!(response["errorType"] != "bad_data", "{query}: {response}");
            response["data"]["result"].as_array().is_some_and(|result| !result.is_empty())
        };
        eventually_within(LIMIT, &format!("an answer to {query}"), answers).await;
    }
}

/// Without an interval, those that commands made are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconciliations_of_commands_are_in_the_metrics() {
    let folder = folder("metrics_of_commands");
    let registry = StandIn::start("team/app", &[("v1", image_manifest(1))]).await;
    let mut reconcile = command(&folder);
    reconcile.args(["reconcile", "--data", "data", "--from", &registry.url]);
    assert!(super::run(&mut reconcile).status.success());
    let mut command = command(&folder);
    command.args(["--data", "data", "--registry-url", &registry.url]);
    let process = Process::start(command);
    let line = format!("image_catalog_reconcile_last_success{{registry=\"{}\"}} 1", registry.url);
    let url = format!("{}/metrics", process.url);
    let is_there = async || get(&process, &url).await.lines().any(|each| each == line);
    eventually_within(LIMIT, "the reconciliation", is_there).await;
}

/// Where callers must sign, the address of the metrics serves them without a signature.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_callers_the_metrics_are_at_their_own_address_only() {
    let folder = folder("metrics_of_callers");
    fs::write(folder.join("work/callers.json"), "[]").unwrap();
    let mut command = command(&folder);
    command.args(["--in-memory", "--callers", "callers.json", "--metrics-listen", "127.0.0.1:0"]);
    let process = Process::start(command);
    let log = process.log();
    let url = log.split_once("the metrics are at ").unwrap().1.split(',').next().unwrap();
    assert!(get(&process, url).await.contains("\nimage_catalog_requests_total 0\n"));
    let status =
        process.http.get(format!("{}/metrics", process.url)).send().await.unwrap().status();
    assert_eq!(status, 400, "it is not signed");
    let errors =
        r#"image_catalog_request_errors_total{error="MissingAuthenticationTokenException"} 1"#;
    assert!(get(&process, url).await.contains(errors), "it is counted");
    let page = process.http.get(url).header("origin", "https://attacker.example");
    assert_eq!(page.send().await.unwrap().status(), 403);
}
