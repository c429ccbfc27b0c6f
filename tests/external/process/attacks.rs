//! Attacks on the program: how long an honest client waits meanwhile, and how much memory the
//! program takes. Each is printed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use end_to_end::harness::responder::{Responder, response};
use end_to_end::harness::{Process, digest, eventually, print, push_event};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use super::{folder, limited};

/// The peak of the program's resident memory under each attack.
const MAX_KIBIBYTES: u64 = 128 * 1024;

const SILENT_CONNECTIONS: usize = 5000;

/// Of the honest client's responses, while thousands of connections are silent.
const MAX_P99: Duration = Duration::from_millis(100);

const TARGET: &str = "x-amz-target: AmazonEC2ContainerRegistry_V20150921.DescribeImages\r\n";

/// The program, which may open 1,024 files.
fn start(folder: &Path, arguments: &[&str]) -> Process {
    let mut limited = limited(folder, "ulimit -n 1024");
    limited.args(["--data", "data", "--listen", "127.0.0.1:0"]).args(arguments);
    Process::start(limited)
}

/// Prints the peak, and checks it.
fn check_memory(process: &Process, attack: &str) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    print(format!("attack: {attack}: {:.1} MiB at most", peak as f64 / 1024.0));
    assert!(peak <= MAX_KIBIBYTES, "{attack}: {peak} KiB");
}

/// A connection that has sent something, and does not read.
fn begun(process: &Process, request: &[u8]) -> TcpStream {
    let mut client = TcpStream::connect(process.address()).unwrap();
    client.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    // The program may have closed the connection, or may read no more.
    let _ = client.write_all(request);
    client
}

fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A request on a new connection; the time until its response.
fn honest_request(process: &Process) -> Duration {
    let started = Instant::now();
    let mut client = TcpStream::connect(process.address()).unwrap();
    let body = br#"{"repositoryName":"team/app"}"#;
    client.write_all(&post("/", &format!("{TARGET}connection: close\r\n"), body)).unwrap();
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    started.elapsed()
}

#[tokio::test]
async fn silent_connections_keep_nobody_waiting() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let process = start(&folder("attack_silent"), &[]);
    process.push("team/app", 1, "v1").await;
    let mut silent = Vec::new();
    let mut times = Vec::new();
    while silent.len() < SILENT_CONNECTIONS {
        silent.push(TcpStream::connect(process.address()).unwrap());
        if silent.len().is_multiple_of(10) {
            times.push(honest_request(&process));
        }
    }
    times.extend((0..500).map(|_| honest_request(&process)));
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100];
    print(format!(
        "attack: {SILENT_CONNECTIONS} silent connections at 1,024 files: {} requests, p50 {:?}, \
         p99 {p99:?}, at most {:?}",
        times.len(),
        times[times.len() / 2],
        times[times.len() - 1],
    ));
    assert!(p99 < MAX_P99);
    check_memory(&process, "silent connections");
}

#[tokio::test]
async fn large_bodies_take_little_memory() {
    let zeros = format!("[{}0]", "0,".repeat(499_000));
    // As many values as an event may have, and more.
    let lists =
        |number| format!(r#"{{"detail-type":"x","detail":[{}[0]]}}"#, "[0],".repeat(number));
    let members = |number: usize| {
        let members: Vec<String> = (0..number).map(|member| format!(r#""{member}":0"#)).collect();
        format!(r#"{{"type":"x","data":{{{}}}}}"#, members.join(","))
    };
    let tags = |number: usize| {
        json!({ "repository": "team/app", "updated_tags": vec!["v"; number] }).to_string()
    };
    let resources = json!({
        "type": "PUSH_ARTIFACT", "occur_at": 1,
        "event_data": {
            "resources": vec![json!({ "digest": "a:1" }); 24_000],
            "repository": { "repo_full_name": "a".repeat(250) },
        },
    });
    for (name, source, body) in [
        ("numbers", "ecr", zeros),
        ("lists", "ecr", lists(24_000)),
        ("more lists", "ecr", lists(249_000)),
        ("members", "zot", members(49_000)),
        ("more members", "zot", members(90_000)),
        ("tags", "quay", tags(49_000)),
        ("more tags", "quay", tags(240_000)),
        ("resources", "harbor", resources.to_string()),
    ] {
        assert!(body.len() <= 1_000_000, "{name}: {}", body.len());
        let process = start(&folder(&format!("attack_{}", name.replace(' ', "_"))), &[]);
        let request = post(&format!("/events/{source}"), "", body.as_bytes());
        let clients: Vec<_> = (0..40).map(|_| begun(&process, &request)).collect();
        for mut client in clients {
            let mut status = [0; 12];
            let read = client.read_exact(&mut status);
            assert!(read.is_err() || status.starts_with(b"HTTP/1.1 "), "{name}");
        }
        check_memory(&process, &format!("40 bodies of {} bytes at a time: {name}", body.len()));
    }
}

#[tokio::test]
async fn slow_clients_take_little_memory() {
    let process = start(&folder("attack_slow"), &[]);
    process.push("team/app", 0, "v1").await;
    let unfinished = {
        let mut request = post("/events/ecr", "", &vec![b' '; 1_000_000]);
        request.truncate(900_000);
        request
    };
    let senders: Vec<_> = (0..400).map(|_| begun(&process, &unfinished)).collect();
    honest_request(&process);
    check_memory(&process, "400 clients that send 900 kB, and no more");
    drop(senders);

    let tags: Vec<Value> =
        (0..900).map(|tag| push_event("team/app", 1, &format!("{tag:0>250}"))).collect();
    let response =
        process.http.post(format!("{}/events/ecr", process.url)).json(&tags).send().await.unwrap();
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    let by_digest = json!({
        "repositoryName": "team/app", "imageIds": vec![json!({ "imageDigest": digest(1) }); 100],
    });
    let request = post("/", TARGET, by_digest.to_string().as_bytes());
    // They send request after request, and read nothing.
    let requests = request.repeat(20);
    let readers: Vec<_> = (0..400).map(|_| begun(&process, &requests)).collect();
    honest_request(&process);
    check_memory(&process, "400 clients that request 20 large pages, and read none");
    drop(readers);
}

/// Each delivery is thousands of changes, which the engine writes one after the other.
#[tokio::test]
async fn large_deliveries_keep_no_reader_waiting() {
    let process = start(&folder("attack_deliveries"), &[]);
    process.push("team/app", 1, "v1").await;
    let deliveries: Vec<_> = (0..16)
        .map(|delivery| {
            let resource = |number| json!({ "digest": format!("a:{delivery:02}{number:04}") });
            let resources: Vec<Value> = (0..2990).map(resource).collect();
            let event = json!({
                "type": "PUSH_ARTIFACT", "occur_at": 1_767_225_600,
                "event_data": {
                    "resources": resources, "repository": { "repo_full_name": "team/large" },
                },
            });
            begun(&process, &post("/events/harbor", "", event.to_string().as_bytes()))
        })
        .collect();
    let mut times: Vec<_> = (0..50).map(|_| honest_request(&process)).collect();
    times.sort_unstable();
    print(format!(
        "attack: 16 deliveries of 2,990 changes: p50 {:?}, at most {:?} of 50 requests",
        times[25], times[49]
    ));
    assert!(times[49] < Duration::from_secs(2));
    drop(deliveries);
}

#[tokio::test]
async fn lookups_in_progress_take_little_memory() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let folder = folder("attack_lookups");
    let file = folder.join("subscriptions.json");
    std::fs::write(&file, subscription(&url).to_string()).unwrap();
    let process = start(&folder, &["--subscriptions", file.to_str().unwrap()]);
    let name = format!("{}/{}", "a".repeat(100), "b".repeat(100));
    let url = format!("{}/events/quay?token=token", process.url);
    for tags in [vec!["v".to_owned(); 2900], (0..2900).map(|tag| format!("v{tag}")).collect()] {
        let event = json!({ "repository": name, "updated_tags": tags });
        for _ in 0..20 {
            assert_eq!(process.http.post(&url).json(&event).send().await.unwrap().status(), 200);
        }
    }
    check_memory(&process, "2,901 lookups in a silent registry, 40 times");
}

/// A subscription to a registry that attacks the catalog.
fn subscription(url: &str) -> Value {
    json!([{
        "id": "registry", "source": "quay", "registryId": "123456789012",
        "credential": { "bearer": "token" }, "registryUrl": url,
    }])
}

#[tokio::test]
async fn the_responses_of_registries_take_little_memory() {
    let large = "a".repeat(100_000_000);
    // Of the right digest, with as many values as four mebibytes can have.
    let lists = "[0],".repeat(1_040_000);
    let lists = format!(r#"{{"schemaVersion":2,"annotations":[{lists}[0]]}}"#);
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, lists.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = format!("docker-content-digest: sha256:{hash}\r\n");
    for attack in ["token", "manifest", "annotations", "headers"] {
        let (body, lists, digest) = (large.clone(), lists.clone(), digest.clone());
        let registry = Responder::start(move |request| match attack {
            "token" if request.contains("/token") => {
                response("200 OK", "", &format!(r#"{{"token":"{body}"}}"#))
            }
            "token" => {
                let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
                let realm = format!("www-authenticate: Bearer realm=\"http://{host}/token\"\r\n");
                response("401 Unauthorized", &realm, "")
            }
            "manifest" => response("200 OK", "", &body),
            "annotations" => response("200 OK", &digest, &lists),
            _ => response("200 OK", &format!("x: {}\r\n", &body[..10_000_000]), ""),
        })
        .await;
        let folder = folder(&format!("attack_{attack}"));
        let file = folder.join("subscriptions.json");
        std::fs::write(&file, subscription(&registry.url()).to_string()).unwrap();
        let process = start(&folder, &["--subscriptions", file.to_str().unwrap()]);
        let tags: Vec<String> = (0..40).map(|tag| format!("v{tag}")).collect();
        let event = json!({ "repository": "team/app", "updated_tags": tags });
        let url = format!("{}/events/quay?token=token", process.url);
        let sent = process.http.post(url).json(&event).send().await.unwrap();
        assert_eq!(sent.status(), 200);
        let is_requested = async || registry.requests().len() >= 40;
        eventually("the requests", is_requested).await;
        check_memory(&process, &format!("a registry with a {attack} of many megabytes"));
    }
}
