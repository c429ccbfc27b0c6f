//! Amazon ECR, which the catalog asks for what events do not tell, and compares itself with:
//! moto's, with 20,000 images in 50 repositories, and an account that may ask only so often in a
//! second.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use aws_sdk_ecr::types::{ImageDetail, ImageIdentifier};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use catalog::reader::Filter;
use catalog::{Change, RegistryId, Timestamp};
use end_to_end::harness::{
    InProcess, Moto, Process, REGION, REGISTRY, Store, binary, command, configuration, digest,
    folder, json_response, operation, print, require,
};
use futures_util::{StreamExt as _, stream};
use ingest_events::Ingest;
use ingest_events::question::OpenQuestions;
use reconcile::difference::Described;
use reconcile::{Followed, FollowedRegistries, Reconcile};
use registries::{Ecr, Registries};
use secret::Secret;
use serde_json::{Value, json};
use subscriptions::Subscriptions;

const REPOSITORIES: usize = 50;
const IMAGES: usize = 400;

/// Of so many requests one is refused, whether or not the account may send it; the third is the
/// first.
const EVERY: usize = 500;

/// What an image of the registry, and of the catalog, must have in common.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    tags: BTreeSet<String>,
    size: Option<i64>,
    pushed_at: i64,
    media_type: Option<String>,
}

type Everything = BTreeMap<String, BTreeMap<String, Seen>>;

/// A server of moto, until it is dropped.
struct Server {
    moto: Moto,
    limit: Arc<Limit>,
}

/// What lets through as many requests as the account may send.
struct Limit {
    http: reqwest::Client,
    url: String,
    /// How many requests a second the account may send, and how many at once.
    rate: f64,
    tokens: Mutex<(f64, Instant)>,
    /// Whether it does not answer at all.
    is_down: AtomicBool,
    requests: AtomicUsize,
    throttled: AtomicUsize,
}

impl Server {
    fn start(test: &str, rate: f64) -> Option<Self> {
        let moto = Moto::start_with_images(test, REPOSITORIES, IMAGES)?;
        let limit = Limit {
            http: reqwest::Client::new(),
            url: moto.url.clone(),
            rate,
            tokens: Mutex::new((rate, Instant::now())),
            is_down: AtomicBool::default(),
            requests: AtomicUsize::default(),
            throttled: AtomicUsize::default(),
        };
        Some(Self { moto, limit: Arc::new(limit) })
    }

    /// What the catalog asks through.
    fn ecr(&self) -> Ecr {
        let limit = Arc::clone(&self.limit);
        let answer = move |request: HttpRequest| {
            let limit = Arc::clone(&limit);
            async move { limit.answer(request).await }
        };
        Ecr::new(&configuration(InProcess(answer)))
    }

    /// A client that is not limited.
    fn client(&self) -> aws_sdk_ecr::Client {
        let limit = Arc::clone(&self.limit);
        let answer = move |request: HttpRequest| {
            let limit = Arc::clone(&limit);
            async move { Ok(limit.pass_on(request).await) }
        };
        aws_sdk_ecr::Client::new(&configuration(InProcess(answer)))
    }

    /// All that is there, repository by repository.
    async fn everything(&self) -> Everything {
        let client = self.client();
        let listed = client.describe_repositories().send().await.unwrap();
        let mut everything = Everything::new();
        for repository in listed.repositories() {
            let name = repository.repository_name().unwrap();
            let pages =
                client.describe_images().repository_name(name).into_paginator().items().send();
            let details: Vec<ImageDetail> = pages.collect::<Result<_, _>>().await.unwrap();
            let seen = |detail: ImageDetail| {
                let seen = Seen {
                    tags: detail.image_tags().iter().cloned().collect(),
                    size: detail.image_size_in_bytes,
                    pushed_at: detail.image_pushed_at.unwrap().to_millis().unwrap(),
                    media_type: detail.image_manifest_media_type,
                };
                (detail.image_digest.unwrap(), seen)
            };
            everything.insert(name.to_owned(), details.into_iter().map(seen).collect());
        }
        everything
    }

    /// Prints how many requests there were since the last time, and how many were throttled.
    fn print(&self, what: &str, since: Instant) -> (usize, usize) {
        let requests = self.limit.requests.swap(0, Ordering::Relaxed);
        let throttled = self.limit.throttled.swap(0, Ordering::Relaxed);
        print(format!(
            "{what}: {:.1?}, {requests} requests to ECR, {throttled} of them throttled",
            since.elapsed()
        ));
        (requests, throttled)
    }
}

impl Limit {
    async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        if self.is_down.load(Ordering::Relaxed) {
            return Err(ConnectorError::io("the network is down".into()));
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let is_let_through = {
            let mut tokens = self.tokens.lock().unwrap();
            let (left, since) = *tokens;
            let left = self.rate.min(left + since.elapsed().as_secs_f64() * self.rate);
            *tokens = (if left >= 1.0 { left - 1.0 } else { left }, Instant::now());
            left >= 1.0
        };
        // However slow everything is, some are refused.
        if is_let_through && number % EVERY != 3 {
            return Ok(self.pass_on(request).await);
        }
        self.throttled.fetch_add(1, Ordering::Relaxed);
        Ok(json_response(
            400,
            &json!({ "__type": "ThrottlingException", "message": "Rate exceeded" }),
        ))
    }

    /// moto's answer; it answers with everything at once, so it is cut into pages here.
    async fn pass_on(&self, request: HttpRequest) -> HttpResponse {
        const PAGE: usize = 200;
        let (name, body) = operation(&request);
        let mut passed_on = self.http.post(&self.url).body(body.to_string());
        for header in ["x-amz-target", "content-type", "authorization"] {
            passed_on = passed_on.header(header, request.headers().get(header).unwrap());
        }
        let answer = passed_on.send().await.unwrap();
        let status = answer.status().as_u16();
        let date = answer.headers()["date"].to_str().unwrap().to_owned();
        let mut answer: Value = answer.json().await.unwrap();
        if name == "DescribeImages" && body["imageIds"].is_null() && status == 200 {
            let first: usize = body["nextToken"].as_str().map_or(0, |token| token.parse().unwrap());
            let images = answer["imageDetails"].as_array_mut().unwrap();
            let last = images.len().min(first + PAGE);
            if last < images.len() {
                *images = images[first..last].to_vec();
                answer["nextToken"] = json!(last.to_string());
            } else {
                *images = images[first..].to_vec();
            }
        }
        let mut response = json_response(status, &answer);
        response.headers_mut().insert("date", date);
        response
    }
}

/// Pushes an image of five bytes.
async fn put(client: &aws_sdk_ecr::Client, repository: &str, tag: &str, number: u64) {
    let manifest = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "size": 5 },
        "layers": [],
        "annotations": { "number": number.to_string() },
    });
    let put = client.put_image().repository_name(repository).image_tag(tag);
    let put = put.image_digest(digest(number).as_str()).image_manifest(manifest.to_string());
    put.send().await.unwrap();
}

/// All that the catalog has of the registry.
async fn catalogued(store: &Store) -> Everything {
    let filter = Filter { tag_status: None, image_status: None };
    let mut everything = Everything::new();
    for repository in
        store.reader.repositories(&RegistryId::parse(REGISTRY).unwrap()).await.unwrap()
    {
        let page =
            store.reader.list(&repository, &filter, None, 10 * IMAGES, |_| false).await.unwrap();
        let images = page.images.into_iter().map(|image| {
            let seen = Seen {
                tags: image.image_tags.iter().map(|tag| tag.as_str().to_owned()).collect(),
                size: image.image_size_in_bytes,
                pushed_at: image.image_pushed_at.as_milliseconds(),
                media_type: image.image_manifest_media_type,
            };
            (image.image_digest.as_str().to_owned(), seen)
        });
        everything.insert(repository.name.as_str().to_owned(), images.collect());
    }
    everything
}

fn account() -> RegistryId {
    RegistryId::parse(REGISTRY).unwrap()
}

/// Compares all repositories, and repairs them. Tells what differed.
async fn reconcile(store: &Store, ecr: Ecr) -> Vec<Change> {
    let subscriptions = Arc::new(Secret::known(Subscriptions::default()));
    let reconcile = Reconcile {
        reader: store.reader.clone(),
        writer: store.writer.clone(),
        registries: Registries::new(subscriptions, Some(ecr)),
        tags_at_once: usize::MAX,
    };
    let all = FollowedRegistries::new(Some(account()), &Subscriptions::default());
    let followed = Followed::ecr(account());
    let listed = reconcile.repositories(&all, &followed).await.unwrap();
    let compared = stream::iter(&listed).map(async |listed| {
        let compared = reconcile.compare(&followed, listed).await.unwrap();
        let repaired = reconcile.repair(&compared, None).await.unwrap();
        assert_eq!(repaired.repaired + repaired.superseded, compared.differences.len());
        compared.differences
    });
    compared.buffered(4).collect::<Vec<_>>().await.concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_catalog_is_filled_and_what_events_did_not_tell_is_repaired() {
    let Some(server) = Server::start("an_empty_catalog_is_filled", 4.0) else { return };
    let store = Store::in_memory().await;
    let ecr = || server.ecr();
    let started = Instant::now();
    let differences = reconcile(&store, ecr()).await;
    let (_, throttled) =
        server.print(&format!("filled with {} images", REPOSITORIES * IMAGES), started);
    assert!(throttled > 0);
    let there = server.everything().await;
    assert_eq!(there.values().map(BTreeMap::len).sum::<usize>(), REPOSITORIES * IMAGES);
    assert!(catalogued(&store).await == there, "the catalog is what the registry is");
    let tags: usize =
        there.values().flat_map(|images| images.values()).map(|image| image.tags.len()).sum();
    assert_eq!(differences.len(), REPOSITORIES + REPOSITORIES * IMAGES + tags);

    let started = Instant::now();
    assert_eq!(reconcile(&store, ecr()).await, []);
    server.print("compared again", started);

    // A tag that moves, one that is removed, an image that is deleted, one that is new, a
    // repository that is deleted, and one that is new; nobody tells the catalog.
    let client = server.client();
    let id = |tag: &str| ImageIdentifier::builder().image_tag(tag).build();
    put(&client, "team/app-00", "release-0", 1).await;
    let untag =
        client.batch_delete_image().repository_name("team/app-01").image_ids(id("release-100"));
    untag.send().await.unwrap();
    let delete = client.batch_delete_image().repository_name("team/app-02").image_ids(id("v7"));
    delete.send().await.unwrap();
    client.delete_repository().repository_name("team/app-03").force(true).send().await.unwrap();
    client.create_repository().repository_name("team/new").send().await.unwrap();
    put(&client, "team/new", "v1", 2).await;
    let there = server.everything().await;
    let mut differences: Vec<String> =
        reconcile(&store, ecr()).await.iter().map(|change| Described(change).to_string()).collect();
    differences.sort();
    assert!(
        catalogued(&store).await == there,
        "the catalog is what the registry is: {differences:#?}"
    );
    let gone = |repository: &str| format!("{REGISTRY}/{repository}: the repository is gone");
    assert!(differences.contains(&gone("team/app-03")), "{differences:#?}");
    assert_eq!(differences.len(), 8, "{differences:#?}");
    assert_eq!(reconcile(&store, ecr()).await, []);
}

/// An event of a push, as EventBridge has it.
fn pushed(repository: &str, digest: &str, tag: Option<&str>) -> String {
    json!({
        "version": "0",
        "detail-type": "ECR Image Action",
        "source": "aws.ecr",
        "account": REGISTRY,
        "time": "2026-01-01T00:00:00Z",
        "region": REGION,
        "resources": [],
        "detail": {
            "result": "SUCCESS", "repository-name": repository, "image-digest": digest, "action-type": "PUSH",
            "image-tag": tag.unwrap_or_default(),
        },
    })
    .to_string()
}

async fn deliver(ingest: &Ingest, bodies: &[String]) {
    let mut batch = SqsEvent::default();
    batch.records = bodies
        .iter()
        .enumerate()
        .map(|(number, body)| {
            let mut message = SqsMessage::default();
            message.message_id = Some(number.to_string());
            message.body = Some(body.clone());
            message
        })
        .collect();
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    let response = ingest_events::handler::handle(ingest, &account(), None, batch, deadline).await;
    assert_eq!(response.batch_item_failures.len(), 0);
}

/// Asks again, round after round as the schedule does, until every question of a store is settled,
/// and tells how many there were. A slow answer leaves its repository's questions to the next
/// round.
async fn settle_all(ingest: &Ingest, store: &Store) -> usize {
    let deadline = Instant::now() + Duration::from_mins(10);
    let questions = OpenQuestions::new(store.table.clone());
    let mut settled = 0;
    while !questions.list(None).await.unwrap().is_empty() {
        assert!(Instant::now() < deadline, "questions are left open");
        settled += ingest
            .settle_questions(tokio::time::Instant::now() + Duration::from_mins(1))
            .await
            .unwrap();
    }
    settled
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_are_completed_with_what_amazon_ecr_tells() {
    let Some(server) = Server::start("pushes_are_completed", 35.0) else { return };
    let store = Store::in_memory().await;
    let subscriptions = Secret::known(Subscriptions::default());
    let ingest =
        Ingest::new(store.table.clone(), REGION.to_owned(), subscriptions, Some(server.ecr()));
    let there = server.everything().await;
    let mut events = Vec::new();
    for (repository, images) in &there {
        for (digest, image) in images {
            let tags: Vec<Option<&str>> = image.tags.iter().map(|tag| Some(tag.as_str())).collect();
            let tags = if tags.is_empty() { vec![None] } else { tags };
            events.extend(tags.into_iter().map(|tag| pushed(repository, digest, tag)));
        }
    }
    // An image that is gone already is there as far as its events tell, and spoils no answer for
    // the others.
    events.insert(15, pushed("team/app-00", digest(1).as_str(), Some("gone")));

    let in_a_minute = || tokio::time::Instant::now() + Duration::from_mins(1);
    server.limit.is_down.store(true, Ordering::Relaxed);
    deliver(&ingest, &events[..10]).await;
    assert_eq!(
        ingest.settle_questions(in_a_minute()).await.unwrap(),
        0,
        "Amazon ECR does not answer"
    );
    let known = catalogued(&store).await;
    assert_eq!(
        known["team/app-00"].len(),
        10,
        "what is known is applied while Amazon ECR does not answer"
    );
    assert!(known["team/app-00"].values().all(|image| image.size.is_none()));
    server.limit.is_down.store(false, Ordering::Relaxed);
    assert_eq!(settle_all(&ingest, &store).await, 10);

    let started = Instant::now();
    for batch in events[10..].chunks(10) {
        deliver(&ingest, batch).await;
    }
    let left = settle_all(&ingest, &store).await;
    let pushes = events.len() - 10;
    let (requests, throttled) =
        server.print(&format!("{pushes} pushes, {left} of them completed later"), started);
    assert!(
        throttled > 0 && requests < pushes / 8,
        "images of one repository are asked for together"
    );
    let mut known = catalogued(&store).await;
    let gone = known.get_mut("team/app-00").unwrap().remove(digest(1).as_str()).unwrap();
    assert_eq!((gone.size, gone.tags), (None, BTreeSet::from(["gone".to_owned()])));
    let without_times = |everything: Everything| -> BTreeMap<String, BTreeMap<String, Seen>> {
        let images = |images: BTreeMap<String, Seen>| {
            images
                .into_iter()
                .map(|(digest, seen)| (digest, Seen { pushed_at: 0, ..seen }))
                .collect()
        };
        everything.into_iter().map(|(repository, all)| (repository, images(all))).collect()
    };
    assert!(without_times(known) == without_times(there), "the catalog is what the registry is");

    // What was pushed just now may not show yet, so it is asked for again.
    let just_now = pushed("team/app-00", digest(2).as_str(), Some("early"));
    let mut just_now: Value = serde_json::from_str(&just_now).unwrap();
    just_now["time"] = json!(Timestamp::now());
    deliver(&ingest, &[just_now.to_string()]).await;
    assert_eq!(ingest.settle_questions(in_a_minute()).await.unwrap(), 0);
    put(&server.client(), "team/app-00", "early", 2).await;
    assert_eq!(settle_all(&ingest, &store).await, 1);
    assert_eq!(catalogued(&store).await["team/app-00"][digest(2).as_str()].size, Some(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_compares_with_amazon_ecr() {
    let Some(server) = Server::start("the_command_line", 1000.0) else { return };
    let folder = folder("ecr");
    let data = folder.join("data").display().to_string();
    let run = |program: &str, arguments: &[&str]| -> Output {
        let mut command = Command::new(program);
        command.args(arguments).env("AWS_ENDPOINT_URL_ECR", &server.moto.url).envs([
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("RUST_LOG", "warn"),
        ]);
        command.output().unwrap()
    };
    let binary = binary().display().to_string();
    let reconcile = |more: &[&str]| {
        let arguments = [&["reconcile", "--from", "ecr", "--data", &data], more].concat();
        let output = run(&binary, &arguments);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "no bar where nobody looks");
        String::from_utf8(output.stdout).unwrap()
    };
    let two = ["--repository", "team/app-00", "--repository", "team/app-01"];
    let filled = reconcile(&two);
    assert!(filled.ends_with("\n2 repositories compared, 1530 differences repaired\n"), "{filled}");
    assert_eq!(reconcile(&two), "2 repositories compared, 0 differences repaired\n");

    // A repository that is gone is removed only if that is wanted.
    server
        .client()
        .delete_repository()
        .repository_name("team/app-01")
        .force(true)
        .send()
        .await
        .unwrap();
    assert_eq!(reconcile(&two), "2 repositories compared, 0 differences repaired\n");
    let gone = format!("{REGISTRY}/team/app-01: the repository is gone\n");
    let pruned = reconcile(&[&two[..], &["--prune", "--dry-run"]].concat());
    assert_eq!(pruned, format!("{gone}2 repositories compared, 1 differences found\n"));
    let pruned = reconcile(&[&two[..], &["--prune"]].concat());
    assert_eq!(pruned, format!("{gone}2 repositories compared, 1 differences repaired\n"));
    assert_eq!(
        reconcile(&[&two[..], &["--prune"]].concat()),
        "2 repositories compared, 0 differences repaired\n"
    );

    // The process that serves asks, too, if it is told to.
    let mut serving = command(&folder);
    serving.args(["--in-memory", "--ask-ecr"]).env("AWS_ENDPOINT_URL_ECR", &server.moto.url);
    serving.envs([("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
    let serving = Process::start(serving);
    let url = serving.url.clone();
    let there = server.everything().await;
    let (digest, image) = there["team/app-00"].first_key_value().unwrap();
    let post = async |path: &str, body: String| -> Value {
        let posted =
            reqwest::Client::new().post(format!("{url}{path}")).body(body).send().await.unwrap();
        posted.error_for_status().unwrap().json().await.unwrap()
    };
    post("/events/ecr", pushed("team/app-00", digest, None)).await;
    let described =
        post("/DescribeImages", json!({ "repositoryName": "team/app-00" }).to_string()).await;
    drop(serving);
    assert_eq!(described["imageDetails"][0]["imageSizeInBytes"], json!(image.size.unwrap()));

    // A person sees how far it is.
    let command = format!("{binary} reconcile --from ecr --dry-run --data {data}");
    let Some(script) = require("the_command_line", "script") else { return };
    let seen = run(
        &script.display().to_string(),
        &["--quiet", "--return", "--command", &command, "/dev/null"],
    );
    let seen = String::from_utf8(seen.stdout).unwrap();
    assert!(
        seen.contains(&format!("/{REPOSITORIES} ")) || seen.contains(" of 49 repositories"),
        "{seen}"
    );
}
