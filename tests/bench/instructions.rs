//! How many instructions the catalog takes, which callgrind counts. The time of a test run says
//! nothing on a busy machine, but these numbers are the same in every run.
//!
//! The requests to the store are answered from a record of what the embedded engine responded, so
//! that the catalog and the SDK are counted, and the engine is not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod images;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use catalog::image::ImageStatus;
use catalog::reader::Filter;
use catalog::{Reader, RegistryId, Service, Table};
use describe_images::Api;
use describe_images::page_token::Keyring;
use describe_images::request::DescribeImagesRequest;
use end_to_end::harness::{
    InProcess, REGION, REGISTRY, Store, engine_client, folder, print, repository, require, time,
};
use http::{Request, StatusCode};
use image_catalog::aws::dynamodb::Engine;
use ingest_events::Ingest;
use ingest_events::source::Origin;
use registries::{Source, Subscriptions};
use secret::Secret;
use serde_json::{Value, json};

use self::images::{digest, push_event, tag};

/// In this folder: the instructions of each name.
const BASELINE: &str = "instructions.json";

/// As many more are always accepted: what takes 10,000 varies by 1,000 with random numbers.
const MIN_MORE: u64 = 2_000;

/// How many instructions more than in the baseline are accepted, in percent.
const MAX_MORE: u64 = 5;

const REPETITIONS: u64 = 100;

/// In the environment of the process that callgrind runs.
const SCENARIO: &str = "SCENARIO";

/// In the environment of that process: the file of the responses.
const RECORDED: &str = "RECORDED";

/// glibc copies more than 2 KB with one instruction, of which callgrind counts each byte. So a
/// future that the compiler moves once more would count as work.
const TUNABLES: (&str, &str) = ("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=100000000");

/// If it is in the environment, the baseline is written anew.
const WRITE_BASELINE: &str = "WRITE_BASELINE";

const TABLE: &str = "image-catalog";
const REPOSITORY: &str = "team/app";
const IMAGES: u64 = 250;
const PAGE_SIZE: usize = 100;

/// What is counted in a scenario.
struct Counted {
    name: &'static str,
    scenario: &'static str,
    function: &'static str,
    calls: u64,
}

const fn repetition(name: &'static str, scenario: &'static str) -> Counted {
    Counted { name, scenario, function: "*instructions::measured*", calls: REPETITIONS }
}

/// A function of the catalog's own, with its calls before the first repetition that is counted.
const fn function(name: &'static str, function: &'static str, calls_before: u64) -> Counted {
    Counted { name, scenario: "page", function, calls: calls_before + REPETITIONS }
}

const COUNTED: [Counted; 7] = [
    repetition("decode a request for 100 images", "decode"),
    function("open a page token", "*page_token::Keyring::open_image*", 1),
    function("seal a page token", "*page_token::Keyring::seal_position*", 2),
    repetition(LIST, "list"),
    repetition(PAGE, "page"),
    repetition("look up a tag", "tag"),
    repetition("ingest a push", "ingest"),
];

const LIST: &str = "list 100 images";
const PAGE: &str = "page of 100 images";

/// The difference of the two.
const ENCODE: &str = "decode the request for a page and encode the response";

/// Statuses and bodies of the store's responses, in the order of the requests.
type Responses = Arc<Mutex<VecDeque<(u16, String)>>>;

/// Records what the engine responds.
fn recording(engine: Engine, responses: Responses) -> aws_sdk_dynamodb::Client {
    let client = InProcess(move |request: HttpRequest| {
        let (engine, responses) = (engine.clone(), Arc::clone(&responses));
        let number = responses.lock().unwrap().len();
        responses.lock().unwrap().push_back(Default::default());
        async move {
            let response = engine.call(request).await?;
            let body = String::from_utf8(response.body().bytes().unwrap().to_vec()).unwrap();
            responses.lock().unwrap()[number] = (response.status().as_u16(), body);
            Ok(response)
        }
    });
    aws_sdk_dynamodb::Client::from_conf(engine_client(client).build())
}

/// Responds what was recorded.
fn replaying(responses: Responses) -> aws_sdk_dynamodb::Client {
    let client = InProcess(move |_: HttpRequest| {
        let (status, body) = responses.lock().unwrap().pop_front().unwrap();
        std::future::ready(Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body))))
    });
    aws_sdk_dynamodb::Client::from_conf(engine_client(client).build())
}

/// A repetition of a scenario, on a repository with images.
fn scenario(name: &str, client: aws_sdk_dynamodb::Client) -> Box<dyn FnMut()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let table = Table { client, name: TABLE.to_owned() };
    let registry = RegistryId::parse(REGISTRY).unwrap();
    let page = json!({ "repositoryName": REPOSITORY, "maxResults": PAGE_SIZE });
    match name {
        "decode" => {
            let images: Vec<Value> = (0..PAGE_SIZE as u64)
                .map(|number| json!({ "imageTag": tag(number), "imageDigest": digest(number) }))
                .collect();
            let body = json!({ "repositoryName": REPOSITORY, "imageIds": images }).to_string();
            Box::new(move || {
                DescribeImagesRequest::parse(Service::Ecr, &registry, body.as_bytes()).unwrap();
            })
        }
        "list" => {
            let (reader, repository) = (Reader::new(table), repository(REPOSITORY));
            Box::new(move || {
                runtime.block_on(async {
                    let filter = Filter::default();
                    let filter = Filter { image_status: Some(ImageStatus::Active), ..filter };
                    let listing = reader.list(&repository, &filter, None, PAGE_SIZE + 1).await;
                    let mut listing = listing.unwrap();
                    for _ in 0..=PAGE_SIZE {
                        assert!(listing.next().await.unwrap().is_some());
                    }
                });
            })
        }
        "page" | "tag" => {
            let keyring = Secret::known(Keyring::parse(&"0123456789abcdef".repeat(4)).unwrap());
            let api = Api::new(Reader::new(table), keyring, registry, REGION.to_owned());
            let answer = move |request: &Request<String>| {
                let response = runtime.block_on(api.handle(request, None));
                assert_eq!(response.status(), StatusCode::OK, "{}", response.body());
                response.into_body()
            };
            let body = if name == "page" {
                let first: Value = serde_json::from_str(&answer(&request(&page))).unwrap();
                let mut next = page;
                next["nextToken"] = first["nextToken"].clone();
                next
            } else {
                json!({ "repositoryName": REPOSITORY, "imageIds": [{ "imageTag": tag(7) }] })
            };
            let request = request(&body);
            Box::new(move || {
                answer(&request);
            })
        }
        "ingest" => {
            let subscriptions = Secret::known(Subscriptions::default());
            let ingest = Ingest::new(table, REGION.to_owned(), subscriptions, None, Vec::new());
            let origin = Origin::new(Source::Ecr, registry, time(0));
            let event = |number| push_event(REPOSITORY, IMAGES + number).to_string();
            let mut events: VecDeque<String> = (0..=REPETITIONS).map(event).collect();
            Box::new(move || {
                let event = events.pop_front().unwrap();
                let ingested = runtime.block_on(ingest.ingest(&origin, event.as_bytes()));
                assert_eq!(ingested.unwrap().report.applied, 1);
            })
        }
        _ => panic!("there is no scenario {name}"),
    }
}

fn request(body: &Value) -> Request<String> {
    let target = "AmazonEC2ContainerRegistry_V20150921.DescribeImages";
    Request::post("/").header("x-amz-target", target).body(body.to_string()).unwrap()
}

/// Counted in the process that runs under callgrind. There is one function of this name.
#[inline(never)]
fn measured(work: &mut dyn FnMut()) {
    for _ in 0..REPETITIONS {
        work();
    }
}

/// What callgrind runs.
#[test]
#[ignore = "the test of the instructions runs it"]
fn replay() {
    let recorded = fs::read_to_string(std::env::var_os(RECORDED).unwrap()).unwrap();
    let responses = Arc::new(Mutex::new(serde_json::from_str(&recorded).unwrap()));
    // What is initialized once is not counted: random numbers here, and the rest by the first
    // repetition.
    Keyring::generate_key().unwrap();
    let mut work = scenario(&std::env::var(SCENARIO).unwrap(), replaying(Arc::clone(&responses)));
    work();
    measured(&mut work);
    assert!(responses.lock().unwrap().is_empty());
}

/// Runs every scenario on the engine. Returns the files of the responses.
async fn record(folder: &Path) -> BTreeMap<&'static str, PathBuf> {
    let mut files = BTreeMap::new();
    for Counted { scenario: name, .. } in COUNTED {
        if files.contains_key(name) {
            continue;
        }
        let engine = Engine::in_memory().unwrap();
        let store = Store::new(engine.client()).await;
        let origin = Origin::new(Source::Ecr, repository(REPOSITORY).registry, time(0));
        for number in 0..IMAGES {
            let event = push_event(REPOSITORY, number).to_string();
            store.ingest().ingest(&origin, event.as_bytes()).await.unwrap();
        }
        let responses = Responses::default();
        let recorder = recording(engine, Arc::clone(&responses));
        tokio::task::spawn_blocking(move || {
            let mut work = scenario(name, recorder);
            (0..=REPETITIONS).for_each(|_| work());
        })
        .await
        .unwrap();
        let file = folder.join(name);
        fs::write(&file, serde_json::to_string(&*responses.lock().unwrap()).unwrap()).unwrap();
        files.insert(name, file);
    }
    files
}

/// The instructions of a call.
fn count(counted: &Counted, valgrind: &Path, recorded: &Path) -> u64 {
    let output = Command::new(valgrind)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect={}", counted.function))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "replay", "--ignored", "--nocapture"])
        .env(SCENARIO, counted.scenario)
        .env(RECORDED, recorded)
        .env(TUNABLES.0, TUNABLES.1)
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}{}", String::from_utf8_lossy(&output.stdout));
    let collected = log.lines().find_map(|line| line.split_once("Collected : ")).unwrap().1;
    let instructions: u64 = collected.trim().parse().unwrap();
    assert!(instructions > 0, "{}: no function is {}", counted.name, counted.function);
    instructions / counted.calls
}

#[test]
fn instructions_are_at_most_5_percent_more_than_in_the_baseline() {
    let test = "instructions";
    let Some(valgrind) = require(test, "valgrind") else { return };
    let folder = folder(test);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let recorded = runtime.block_on(record(&folder));
    let mut counts: BTreeMap<String, u64> = std::thread::scope(|scope| {
        let (valgrind, recorded) = (&valgrind, &recorded);
        let counting = COUNTED
            .each_ref()
            .map(|it| (it, scope.spawn(|| count(it, valgrind, &recorded[it.scenario]))));
        counting.map(|(it, count)| (it.name.to_owned(), count.join().unwrap())).into()
    });
    counts.insert(ENCODE.to_owned(), counts[PAGE] - counts[LIST]);
    let baseline = Path::new(env!("CARGO_MANIFEST_DIR")).join(BASELINE);
    if std::env::var_os(WRITE_BASELINE).is_some() {
        fs::write(&baseline, format!("{}\n", serde_json::to_string_pretty(&counts).unwrap()))
            .unwrap();
    }
    let baseline: BTreeMap<String, u64> =
        serde_json::from_str(&fs::read_to_string(baseline).unwrap()).unwrap();
    assert!(baseline.keys().eq(counts.keys()), "`make instructions` writes the baseline anew");
    let mut more = Vec::new();
    for (name, count) in counts {
        let before = baseline[&name];
        let percent = (count as f64 / before as f64 - 1.0) * 100.0;
        print(format!("{name}: {count} instructions, {percent:+.1} % of the baseline's {before}"));
        if count > before + (before * MAX_MORE / 100).max(MIN_MORE) {
            more.push(name);
        }
    }
    assert!(
        more.is_empty(),
        "more than {MAX_MORE} % more instructions: {more:?}; if there is a reason for them, \
         `make instructions` writes the baseline anew"
    );
}
