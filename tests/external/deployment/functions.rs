//! The functions' binaries as they are deployed, under the Lambda runtime emulator: events in,
//! answers, logs and metrics out. Their table is in DynamoDB Local, their secret on a server of
//! moto.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use catalog::{Change, ChangeKind, Timestamp};
use end_to_end::harness::{
    DynamoDbLocal, KilledOnDrop, Moto, REGION, REGISTRY, START_LIMIT, Store, binary, digest,
    free_port, print, proxy, repository, sample, tag, time, wait_until,
};
use ingest_events::source::Origin;
use serde_json::{Value, json};
use subscriptions::Source;

use crate::deployment::{built, root, tool};

/// What Lambda takes for a reply.
const LARGEST_PAYLOAD: usize = 6 * 1024 * 1024;

/// How long a function may run.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the functions need: a table, a queue and secrets, until it is dropped.
struct Surroundings {
    _turn: tokio::sync::MutexGuard<'static, ()>,
    _dynamodb: DynamoDbLocal,
    store: Store,
    wire: Wire,
    moto: Moto,
    secret: String,
    subscriptions: String,
    queue_url: String,
    dead_letter_queue_url: String,
}

impl Surroundings {
    async fn start(test: &str) -> Option<Self> {
        // The figures are those of a function that has the machine for itself, almost.
        static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        built(test)?;
        let turn = TURN.lock().await;
        tool(test, "cargo-lambda")?;
        let dynamodb = DynamoDbLocal::start(test).await?;
        let moto = Moto::start(test)?;
        let store = Store::new(dynamodb.client()).await;
        let wire = Wire::to(&dynamodb.url);
        let key = moto.aws(&[
            "secretsmanager",
            "get-random-password",
            "--password-length",
            "64",
            "--exclude-uppercase",
            "--exclude-punctuation",
            "--exclude-characters",
            "ghijklmnopqrstuvwxyz",
            "--no-require-each-included-type",
        ]);
        let key = key["RandomPassword"].as_str().unwrap();
        let secret = moto.aws(&[
            "secretsmanager",
            "create-secret",
            "--name",
            "page-tokens",
            "--secret-string",
            key,
        ]);
        let list = json!([{
            "id": "harbor-1",
            "source": "harbor",
            "registryId": "210987654321",
            "credential": { "bearer": "token of harbor" },
        }, {
            "id": "registry-1",
            "source": "distribution",
            "registryId": REGISTRY,
            "credential": { "bearer": "token of registry" },
        }]);
        let subscriptions = moto.aws(&[
            "secretsmanager",
            "create-secret",
            "--name",
            "subscriptions",
            "--secret-string",
            &list.to_string(),
        ]);
        let queue = |name: &str| {
            let queue = moto.aws(&["sqs", "create-queue", "--queue-name", name]);
            queue["QueueUrl"].as_str().unwrap().to_owned()
        };
        let (queue_url, dead_letter_queue_url) = (queue("messages"), queue("dead-letters"));
        Some(Self {
            _turn: turn,
            _dynamodb: dynamodb,
            store,
            wire,
            moto,
            secret: secret["ARN"].as_str().unwrap().to_owned(),
            subscriptions: subscriptions["ARN"].as_str().unwrap().to_owned(),
            queue_url,
            dead_letter_queue_url,
        })
    }

    /// Starts a process of a function, under an emulator of its own: one that outlived the process
    /// would hand the next invocation to it, and wait.
    fn function(&self, name: &'static str) -> Function {
        let port = free_port();
        let emulator = tool("functions", "cargo-lambda")
            .unwrap()
            .args(["lambda", "watch", "--only-lambda-apis", "--invoke-address", "127.0.0.1"])
            .args(["--invoke-port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the emulator", START_LIMIT, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        let url = format!("http://127.0.0.1:{port}");
        static LOGS: AtomicUsize = AtomicUsize::new(0);
        let log = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{name}-{}.log", LOGS.fetch_add(1, Ordering::Relaxed)));
        let folder = match name {
            "describe-images" => "DescribeImages",
            "receive-webhook" => "ReceiveWebhook",
            "reconcile" => "Reconcile",
            _ => "IngestEvents",
        };
        let started = Instant::now();
        let process = Command::new(root().join("target/sam").join(folder).join("bootstrap"))
            .env_clear()
            .envs([
                ("AWS_LAMBDA_RUNTIME_API", format!("{}/.rt/{name}", with_deadlines(&url)).as_str()),
                ("AWS_LAMBDA_FUNCTION_NAME", name),
                ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
                ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
                ("AWS_REGION", REGION),
                ("AWS_ACCESS_KEY_ID", "key"),
                ("AWS_SECRET_ACCESS_KEY", "secret of the function"),
                ("TABLE_NAME", &self.store.table.name),
                ("REGISTRY_ID", REGISTRY),
                ("STACK_NAME", "catalog"),
                ("PAGE_TOKEN_SECRET_ARN", &self.secret),
                ("SUBSCRIPTIONS_SECRET_ARN", &self.subscriptions),
                ("QUEUE_URL", &self.queue_url),
                ("DEAD_LETTER_QUEUE_URL", &self.dead_letter_queue_url),
                ("MAXIMUM_TRIES", "3"),
                ("AWS_ENDPOINT_URL_ECR", &self.moto.url),
                ("AWS_ENDPOINT_URL_SQS", &self.moto.url),
                ("AWS_ENDPOINT_URL_DYNAMODB", &self.wire.url),
                ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &self.moto.url),
            ])
            .stdout(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let url = format!("{url}/2015-03-31/functions/{name}/invocations");
        Function {
            _process: KilledOnDrop(process),
            _emulator: KilledOnDrop(emulator),
            log,
            started,
            url,
        }
    }

    /// Takes the messages out of a queue, ten at most.
    fn received(&self, queue_url: &str) -> Vec<Value> {
        let mut received = self.moto.aws(&[
            "sqs",
            "receive-message",
            "--queue-url",
            queue_url,
            "--max-number-of-messages",
            "10",
            "--message-attribute-names",
            "All",
        ]);
        let messages: Vec<Value> =
            serde_json::from_value(received["Messages"].take()).unwrap_or_default();
        for message in &messages {
            let handle = message["ReceiptHandle"].as_str().unwrap();
            self.moto.aws(&[
                "sqs",
                "delete-message",
                "--queue-url",
                queue_url,
                "--receipt-handle",
                handle,
            ]);
        }
        messages
    }

    async fn push(&self, number: u64) {
        let change = Change {
            repository: repository("my-repository-name"),
            time: time(i64::try_from(number).unwrap()),
            kind: ChangeKind::ImagePushed {
                digest: digest(number),
                tag: Some(tag(&format!("v{number}"))),
                content: catalog::change::Content::default(),
            },
        };
        self.store.writer.apply(&change).await.unwrap();
    }
}

/// A process of a function, until it is dropped.
struct Function {
    _process: KilledOnDrop,
    /// Ends after the process that asks it.
    _emulator: KilledOnDrop,
    log: PathBuf,
    started: Instant,
    url: String,
}

impl Function {
    /// Invokes it, and waits for its answer: a status and what it says.
    async fn invoke(&self, event: &Value) -> (u16, Value) {
        let request = reqwest::Client::new().post(&self.url).body(event.to_string());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.bytes().await.unwrap();
        assert!(bytes.len() < LARGEST_PAYLOAD, "{} bytes", bytes.len());
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    /// What API Gateway answers with: the status, and the body.
    async fn request(&self, body: &str) -> (u64, Value) {
        let (status, answer) = self.invoke(&request(body)).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["isBase64Encoded"], false);
        assert_eq!(answer["headers"]["content-type"], "application/x-amz-json-1.1");
        let body = answer["body"].as_str().unwrap();
        (answer["statusCode"].as_u64().unwrap(), serde_json::from_str(body).unwrap())
    }

    /// Each line that it wrote, all of which are JSON.
    fn lines(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        log.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
            .collect()
    }

    /// The first metrics that it wrote with these dimensions besides the stack.
    fn metrics(&self, dimensions: &[&str]) -> Value {
        let lines = self.lines();
        let expected: Vec<&str> = [&["Stack"], dimensions].concat();
        lines
            .iter()
            .find(|line| line["_aws"]["CloudWatchMetrics"][0]["Dimensions"][0] == json!(expected))
            .unwrap_or_else(|| panic!("no metrics of {dimensions:?} in {lines:#?}"))
            .clone()
    }
}

/// A way to DynamoDB that notes which operations are asked for, and can keep the answers back.
struct Wire {
    url: String,
    operations: Arc<Mutex<BTreeSet<String>>>,
    is_stalled: Arc<AtomicBool>,
}

impl Wire {
    fn to(upstream: &str) -> Self {
        let operations = Arc::new(Mutex::new(BTreeSet::new()));
        let is_stalled = Arc::new(AtomicBool::new(false));
        let (noted, stalled) = (Arc::clone(&operations), Arc::clone(&is_stalled));
        let note = move |bytes: Vec<u8>| {
            let text = String::from_utf8_lossy(&bytes).to_lowercase();
            for after in text.split("x-amz-target: dynamodb_20120810.").skip(1) {
                noted.lock().unwrap().insert(after.split('\r').next().unwrap().to_owned());
            }
            bytes
        };
        let keep_back = move |bytes: Vec<u8>| {
            while stalled.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(10));
            }
            bytes
        };
        Self {
            url: proxy(TcpListener::bind("127.0.0.1:0").unwrap(), upstream, note, keep_back),
            operations,
            is_stalled,
        }
    }
}

/// The emulator tells every invocation the deadline 600000, ten minutes after the beginning of
/// 1970, where Lambda tells the time. This is a way to it that does as Lambda does.
fn with_deadlines(emulator: &str) -> String {
    let tell_time = |bytes: Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes);
        let deadline =
            Timestamp::now().as_milliseconds() + i64::try_from(TIMEOUT.as_millis()).unwrap();
        text.replace(
            "lambda-runtime-deadline-ms: 600000",
            &format!("lambda-runtime-deadline-ms: {deadline}"),
        )
        .into_bytes()
    };
    proxy(TcpListener::bind("127.0.0.1:0").unwrap(), emulator, |bytes| bytes, tell_time)
}

/// A request as an HTTP API of API Gateway hands it over, with a body of a media type that it does
/// not know, signed by a caller of the account 123456789012.
fn request(body: &str) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "POST /",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {
            "accept-encoding": "identity",
            "authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/us-east-1/execute-api/aws4_request, \
                              SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=f0e8bdb8",
            "content-length": body.len().to_string(),
            "content-type": "application/x-amz-json-1.1",
            "host": "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
            "user-agent": "aws-cli/2.9.19",
            "x-amz-date": "20261122T000000Z",
            "x-amz-target": "AmazonEC2ContainerRegistry_V20150921.DescribeImages",
            "x-amzn-trace-id": "Root=1-6b027aa6-c79ebf6436c562e47069506c",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https"
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "a1b2c3d4e5",
            "authorizer": {
                "iam": {
                    "accessKey": "AKIDEXAMPLE",
                    "accountId": "123456789012",
                    "callerId": "AIDAEXAMPLE",
                    "cognitoIdentity": null,
                    "principalOrgId": "o-example",
                    "userArn": "arn:aws:iam::123456789012:user/reader",
                    "userId": "AIDAEXAMPLE"
                }
            },
            "domainName": "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "a1b2c3d4e5",
            "http": {
                "method": "POST",
                "path": "/",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "aws-cli/2.9.19"
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "POST /",
            "stage": "$default",
            "time": "22/Nov/2026:00:00:00 +0000",
            "timeEpoch": 1_795_305_600_000_u64
        },
        "body": base64(body),
        "isBase64Encoded": true
    })
}

fn base64(text: &str) -> String {
    aws_smithy_types::base64::encode(text)
}

/// The attributes of a message: those of notifications name the subscription.
fn attributes(id: &str) -> Value {
    if matches!(id, "too large" | "index") {
        let attribute = json!({
            "stringValue": "registry-1",
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": "String"
        });
        json!({ "subscription": attribute })
    } else {
        json!({})
    }
}

/// A batch as SQS hands it over, of messages by their ids.
fn batch(messages: &[(&str, String)]) -> Value {
    let records: Vec<Value> = messages
        .iter()
        .map(|(id, body)| {
            json!({
                "messageId": id,
                "receiptHandle": format!("handle of {id}"),
                "body": body,
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": "1795305600000",
                    "SenderId": "AROAEXAMPLE",
                    "ApproximateFirstReceiveTimestamp": "1795305600001"
                },
                "messageAttributes": attributes(id),
                "md5OfBody": "00000000000000000000000000000000",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:EventsQueue",
                "awsRegion": "us-east-1"
            })
        })
        .collect();
    json!({ "Records": records })
}

/// A sample, as if it had happened in the functions' region.
fn here(file: &str) -> Value {
    let mut event: Value = serde_json::from_str(&sample(&format!("aws-ecr/{file}"))).unwrap();
    for place in ["/region", "/awsRegion", "/detail/awsRegion"] {
        if let Some(region) = event.pointer_mut(place) {
            *region = json!(REGION);
        }
    }
    event
}

/// A push of an image, in the form of the sample.
fn pushed(number: u64) -> String {
    let mut event = here("image-action-push.json");
    event["detail"]["image-digest"] = json!(digest(number));
    event["detail"]["image-tag"] = json!(format!("v{number}"));
    event.to_string()
}

/// A notification of an index of this many images.
fn pushed_index(images: u64) -> Value {
    let file = sample("cncf-distribution/v2.8-push-index-tagged.json");
    let mut notification: Value = serde_json::from_str(&file).unwrap();
    let references: Vec<Value> = (0..images)
        .map(|number| {
            json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "size": 1,
                "digest": digest(number)
            })
        })
        .collect();
    notification["events"][0]["target"]["references"] = json!(references);
    notification
}

fn failed(answer: &Value) -> BTreeSet<&str> {
    let failures = answer["batchItemFailures"].as_array().unwrap();
    failures.iter().map(|failure| failure["itemIdentifier"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn describe_images_answers_api_gateway() {
    let Some(surroundings) = Surroundings::start("describe_images_answers_api_gateway").await
    else {
        return;
    };
    for number in 1..=3 {
        surroundings.push(number).await;
    }
    let page = r#"{"repositoryName":"my-repository-name","maxResults":2}"#;
    let mut function = surroundings.function("describe-images");
    let (status, first) = function.request(page).await;
    let cold = function.started.elapsed();
    assert_eq!(status, 200);
    let digests = |page: &Value| -> Vec<Value> {
        page["imageDetails"]
            .as_array()
            .unwrap()
            .iter()
            .map(|image| image["imageDigest"].clone())
            .collect()
    };
    assert_eq!(digests(&first), [json!(digest(3)), json!(digest(2))]);
    let warm_started = Instant::now();
    assert_eq!(digests(&function.request(page).await.1), [json!(digest(3)), json!(digest(2))]);
    let warm = warm_started.elapsed();
    print(format!(
        "describe-images answers {cold:.1?} after its start, and {warm:.1?} once it runs"
    ));

    // Another key seals from now on; tokens of the one before still open, in any process.
    let key = "0123456789abcdef".repeat(4);
    surroundings.moto.aws(&[
        "secretsmanager",
        "put-secret-value",
        "--secret-id",
        &surroundings.secret,
        "--secret-string",
        &key,
    ]);
    let written = (function.lines(), function.metrics(&[]));
    drop(function);
    function = surroundings.function("describe-images");
    let token = first["nextToken"].as_str().unwrap();
    let next = json!({ "repositoryName": "my-repository-name", "nextToken": token });
    assert_eq!(digests(&function.request(&next.to_string()).await.1), [json!(digest(1))]);

    let (status, refused) = function.request(r#"{"repositoryName":"none"}"#).await;
    assert_eq!((status, &refused["__type"]), (400, &json!("RepositoryNotFoundException")));
    let message = refused["message"].as_str().unwrap();
    assert!(message.ends_with("in the registry with id '123456789012'"), "{message}");
    let errors = function.metrics(&["Error"]);
    assert_eq!(
        (&errors["Errors"], &errors["Error"]),
        (&json!(1), &json!("RepositoryNotFoundException"))
    );

    let large = format!(
        r#"{{"repositoryName":"my-repository-name","nextToken":"{}"}}"#,
        "a".repeat(1024 * 1024)
    );
    let (status, refused) = function.request(&large).await;
    assert_eq!((status, &refused["__type"]), (413, &json!("RequestEntityTooLargeException")));

    let (lines, metrics) = written;
    let line = lines.iter().find(|line| line["message"] == "described images").unwrap();
    for (name, value) in [
        ("level", "INFO"),
        ("operation", "DescribeImages"),
        ("service", "ecr"),
        ("registry", "123456789012"),
        ("repository", "my-repository-name"),
        ("result", "Success"),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    assert_eq!(line["images"], 2);
    assert!(line["timestamp"].is_string() && line["request_id"].is_string(), "{line}");
    assert!(line["span"]["requestId"].is_string(), "Lambda's own: {line}");
    assert!(
        line["latency"].as_f64() > Some(0.0) && line["consumed_capacity"].as_f64() > Some(0.0),
        "{line}"
    );

    assert_eq!(metrics["_aws"]["CloudWatchMetrics"][0]["Namespace"], "ImageCatalog");
    assert_eq!(metrics["Stack"], "catalog");
    assert_eq!(metrics["Requests"], 1);
    assert_eq!(metrics["Items"], json!([2.0]));
    assert!(metrics["Latency"][0].as_f64() > Some(0.0), "{metrics}");
    assert!(metrics["ConsumedReadCapacity"][0].as_f64() > Some(0.0), "{metrics}");
    let names = metrics["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
    assert!(names.contains(&json!({ "Name": "Latency", "Unit": "Milliseconds" })), "{metrics}");

    let said = format!("{lines:?} {:?}", function.lines());
    for secret in [token, "AKIDEXAMPLE", "Signature", "secret of the function", &key, "nextToken"] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_events_applies_batches() {
    let Some(surroundings) = Surroundings::start("ingest_events_applies_batches").await else {
        return;
    };
    let function = surroundings.function("ingest-events");
    let (status, answer) = function.invoke(&batch(&[("first", pushed(1))])).await;
    let cold = function.started.elapsed();
    assert_eq!((status, failed(&answer)), (200, BTreeSet::new()));

    // More images than DynamoDB has room for in an item.
    let too_large = pushed_index(6000);
    let mut malformed: Value = serde_json::from_str(&pushed(2)).unwrap();
    malformed["time"] = json!("yesterday");
    let messages = batch(&[
        ("pushed", pushed(3)),
        ("malformed", malformed.to_string()),
        ("too large", too_large.to_string()),
        ("no JSON", "{".to_owned()),
        ("again", pushed(1)),
        ("ignored", here("scan-resource-change.json").to_string()),
    ]);
    let warm_started = Instant::now();
    let (status, answer) = function.invoke(&messages).await;
    let warm = warm_started.elapsed();
    print(format!(
        "ingest-events applies an event {cold:.1?} after its start; a batch of six, once it runs, takes {warm:.1?}"
    ));
    assert_eq!(
        (status, failed(&answer)),
        (200, BTreeSet::from(["malformed", "no JSON", "too large"]))
    );
    assert_eq!(listed(&surroundings).await, [digest(1).to_string(), digest(3).to_string()]);

    let applied = function.metrics(&["Type", "Outcome"]);
    assert_eq!(applied["Events"], 1);
    let outcomes: BTreeSet<(String, String)> = function
        .lines()
        .iter()
        .filter(|line| line.get("Outcome").is_some())
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            (text("Type"), text("Outcome"))
        })
        .collect();
    let outcome = |event_type: &str, outcome: &str| (event_type.to_owned(), outcome.to_owned());
    for expected in [
        outcome("ECR Image Action", "Applied"),
        outcome("ECR Image Action", "Malformed"),
        outcome("distribution push", "Malformed"),
        outcome("other", "Ignored"),
    ] {
        assert!(outcomes.contains(&expected), "{expected:?} is not in {outcomes:?}");
    }
    let metrics = function.metrics(&[]);
    // The sample is of 2019.
    assert!(metrics["EventAge"][0].as_f64() > Some(7.0 * 365.0 * 86_400_000.0), "{metrics}");
    assert!(metrics["ConsumedWriteCapacity"][0].as_f64() > Some(0.0), "{metrics}");
    let line = function
        .lines()
        .into_iter()
        .find(|line| line["message"] == "a message was not applied")
        .unwrap();
    assert!(
        line["message_id"].is_string()
            && line["reason"].is_string()
            && line["span"]["requestId"].is_string()
    );
}

/// The digests of the images that the tests push, in their order.
async fn listed(surroundings: &Surroundings) -> Vec<String> {
    let filter = catalog::reader::Filter { tag_status: None, image_status: None };
    let listed = surroundings
        .store
        .reader
        .list(&repository("my-repository-name"), &filter, None, 100, |_| false)
        .await
        .unwrap();
    let mut digests: Vec<String> =
        listed.images.iter().map(|image| image.image_digest.to_string()).collect();
    digests.sort();
    digests
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_done_in_time_is_given_back_and_nothing_is_half_done() {
    let test = "what_is_not_done_in_time_is_given_back_and_nothing_is_half_done";
    let Some(surroundings) = Surroundings::start(test).await else { return };
    let function = surroundings.function("ingest-events");
    let (_, answer) = function.invoke(&batch(&[("first", pushed(1))])).await;
    assert_eq!(failed(&answer), BTreeSet::new());

    let messages = batch(&[("second", pushed(2)), ("third", pushed(3))]);
    surroundings.wire.is_stalled.store(true, Ordering::Relaxed);
    let started = Instant::now();
    let (status, answer) = function.invoke(&messages).await;
    assert_eq!((status, failed(&answer)), (200, BTreeSet::from(["second", "third"])));
    assert!(started.elapsed() < TIMEOUT, "{:?}", started.elapsed());
    surroundings.wire.is_stalled.store(false, Ordering::Relaxed);

    // Lambda ends a process whose time is up. What it was about to do is wholly done, or not at
    // all.
    drop(function);
    let again = surroundings.function("ingest-events");
    let (_, answer) = again.invoke(&messages).await;
    assert_eq!(failed(&answer), BTreeSet::new());
    let calm = Store::in_memory().await;
    let ingest = calm.ingest();
    let origin = Origin::new(Source::Ecr, repository("any").registry, Timestamp::now());
    for number in 1..=3 {
        ingest.ingest(&origin, pushed(number).as_bytes()).await.unwrap();
    }
    assert_eq!(items(&surroundings.store).await, items(&calm).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn receive_webhook_puts_webhooks_into_the_queue() {
    let test = "receive_webhook_puts_webhooks_into_the_queue";
    let Some(surroundings) = Surroundings::start(test).await else { return };
    let function = surroundings.function("receive-webhook");
    let body = sample("harbor/push-artifact.json");
    let webhook = |authorization: &str| {
        let mut event = request(&body);
        for place in ["/rawPath", "/requestContext/http/path"] {
            *event.pointer_mut(place).unwrap() = json!("/events/harbor");
        }
        event["routeKey"] = json!("POST /events/{source}");
        event["requestContext"]["authorizer"].take();
        event["headers"] =
            json!({ "authorization": authorization, "content-type": "application/json" });
        event["body"] = json!(body);
        event["isBase64Encoded"] = json!(false);
        event
    };
    let received = || surroundings.received(&surroundings.queue_url);

    let (_, refused) = function.invoke(&webhook("token of nobody")).await;
    let cold = function.started.elapsed();
    assert_eq!(refused["statusCode"], 401);
    assert_eq!(received().len(), 0, "nothing is queued");
    let warm_started = Instant::now();
    let (_, taken) = function.invoke(&webhook("Bearer token of harbor")).await;
    let warm = warm_started.elapsed();
    print(format!(
        "receive-webhook answers {cold:.1?} after its start, and {warm:.1?} once it runs"
    ));
    assert_eq!(taken["statusCode"], 202, "{taken}");
    let [message] = &received()[..] else { panic!("one message") };
    assert_eq!(message["Body"], json!(body));
    let received_at = message["MessageAttributes"]["receivedAt"]["StringValue"].as_str().unwrap();
    let age = Timestamp::now().as_milliseconds()
        - received_at.parse::<Timestamp>().unwrap().as_milliseconds();
    assert!((0..60_000).contains(&age), "{received_at}");
    assert_eq!(message["MessageAttributes"]["subscription"]["StringValue"], "harbor-1");

    // What it put there, the other function applies.
    let ingest = surroundings.function("ingest-events");
    let mut delivered = batch(&[("webhook", body.clone())]);
    delivered["Records"][0]["messageAttributes"] =
        json!({ "subscription": { "stringValue": "harbor-1", "dataType": "String" } });
    let (_, answer) = ingest.invoke(&delivered).await;
    assert_eq!(failed(&answer), BTreeSet::new());
    let registry = catalog::RegistryId::parse("210987654321").unwrap();
    let alpine = catalog::Repository { registry, ..repository("harbor/alpine") };
    let filter = catalog::reader::Filter { tag_status: None, image_status: None };
    let listed =
        surroundings.store.reader.list(&alpine, &filter, None, 10, |_| false).await.unwrap();
    assert_eq!(listed.images.len(), 1);

    // The queue is away: the registry is told to send it again.
    surroundings.moto.aws(&["sqs", "delete-queue", "--queue-url", &surroundings.queue_url]);
    let (_, failed) = function.invoke(&webhook("Bearer token of harbor")).await;
    assert_eq!(failed["statusCode"], 503, "{failed}");
    let said = format!("{:?}", function.lines());
    assert!(
        !said.contains("token of") && !said.contains("alpine"),
        "neither credentials nor bodies: {said}"
    );
    assert_eq!(function.metrics(&["Status"])["Webhooks"], 1);
}

/// A message that has been tried often enough goes to a queue of its own, with the reason, and with
/// all that it takes to apply it later.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_applied_becomes_a_dead_letter_with_its_reason() {
    let test = "what_cannot_be_applied_becomes_a_dead_letter_with_its_reason";
    let Some(surroundings) = Surroundings::start(test).await else { return };
    let function = surroundings.function("ingest-events");
    let mut malformed: Value = serde_json::from_str(&pushed(2)).unwrap();
    malformed["time"] = json!("yesterday");
    let tried = |times: u32| {
        let mut messages = batch(&[
            ("pushed", pushed(1)),
            ("malformed", malformed.to_string()),
            ("too large", pushed_index(6000).to_string()),
        ]);
        for message in messages["Records"].as_array_mut().unwrap() {
            message["attributes"]["ApproximateReceiveCount"] = json!(times.to_string());
        }
        messages
    };
    let (_, answer) = function.invoke(&tried(2)).await;
    assert_eq!(failed(&answer), BTreeSet::from(["malformed", "too large"]));
    assert_eq!(surroundings.received(&surroundings.dead_letter_queue_url).len(), 0);

    let (_, answer) = function.invoke(&tried(3)).await;
    assert_eq!(failed(&answer), BTreeSet::new(), "they are dealt with");
    let mut letters = surroundings.received(&surroundings.dead_letter_queue_url);
    letters.sort_by_key(|letter| letter["Body"].as_str().unwrap().len());
    let [small, large] = &letters[..] else { panic!("two dead letters: {letters:#?}") };
    assert_eq!(small["Body"], json!(malformed.to_string()));
    let attribute =
        |letter: &Value, name: &str| letter["MessageAttributes"][name]["StringValue"].clone();
    let reason = attribute(small, "reason");
    assert!(reason.as_str().unwrap().starts_with("'time' is not valid"), "{reason}");
    assert_eq!(attribute(small, "receivedAt"), "2026-11-22T00:00:00.000000000Z");
    assert_eq!(attribute(large, "subscription"), "registry-1");
    let reason = attribute(large, "reason");
    assert!(reason.as_str().unwrap().ends_with("than one DynamoDB item can hold"), "{reason}");

    // The subscription that a dead letter is of is made later; then it can be applied, to this very
    // table.
    let mut unknown = batch(&[("unknown", sample("harbor/push-artifact.json"))]);
    let message = &mut unknown["Records"][0];
    message["attributes"]["ApproximateReceiveCount"] = json!("3");
    message["messageAttributes"] = json!({
        "subscription": { "stringValue": "harbor-2", "dataType": "String" },
        "receivedAt": { "stringValue": "2026-11-21T00:00:00Z", "dataType": "String" },
    });
    let (_, answer) = function.invoke(&unknown).await;
    assert_eq!(failed(&answer), BTreeSet::new());
    surroundings.moto.aws(&[
        "sqs",
        "send-message",
        "--queue-url",
        &surroundings.dead_letter_queue_url,
        "--message-body",
        "nonsense",
    ]);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("subscriptions.json");
    let list = json!([{
        "id": "harbor-2", "source": "harbor", "registryId": REGISTRY, "credential": { "bearer": "token" },
    }]);
    std::fs::write(&file, list.to_string()).unwrap();
    let replay = || {
        let mut command = Command::new(binary());
        command
            .args(["replay", "--queue", &surroundings.dead_letter_queue_url])
            .args(["--table", &surroundings.store.table.name, "--subscriptions"])
            .arg(&file)
            .env("AWS_ENDPOINT_URL_DYNAMODB", &surroundings.wire.url)
            .env("AWS_ENDPOINT_URL_SQS", &surroundings.moto.url)
            .envs([
                ("AWS_ACCESS_KEY_ID", "key"),
                ("AWS_SECRET_ACCESS_KEY", "secret"),
                ("AWS_REGION", REGION),
            ]);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, said) = replay();
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(": the body is not valid JSON: "), "{said}");
    assert!(said.ends_with("\n1 deliveries applied, 1 not applied\n"), "{said}");
    let known = surroundings.store.reader.repositories(&repository("any").registry).await.unwrap();
    assert!(known.contains(&repository("harbor/alpine")), "{known:?}");

    // Where the queue is away, the one that they came from moves them.
    surroundings.moto.aws(&[
        "sqs",
        "delete-queue",
        "--queue-url",
        &surroundings.dead_letter_queue_url,
    ]);
    let (_, answer) = function.invoke(&tried(3)).await;
    assert_eq!(failed(&answer), BTreeSet::from(["malformed", "too large"]));
}

/// From the message of the schedule on, message by message, until the queue is empty.
#[tokio::test(flavor = "multi_thread")]
async fn reconcile_follows_its_queue() {
    let Some(surroundings) = Surroundings::start("reconcile_follows_its_queue").await else {
        return;
    };
    let aws = |arguments: &[&str]| surroundings.moto.aws(arguments);
    let manifest = |name: &str| {
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "size": 5 },
            "annotations": { "name": name },
            "layers": [],
        })
        .to_string()
    };
    for name in ["team/app", "team/tool"] {
        aws(&["ecr", "create-repository", "--repository-name", name]);
        for tag in ["v1", "v2"] {
            let manifest = manifest(&format!("{name}:{tag}"));
            let digest = digest(if tag == "v1" { 1 } else { 2 }).to_string();
            let put = ["ecr", "put-image", "--repository-name", name, "--image-tag", tag];
            aws(&[&put[..], &["--image-digest", &digest, "--image-manifest", &manifest]].concat());
        }
    }
    // Both registries that the subscriptions have cannot be asked, and lose nothing for that.
    let harbor = catalog::Repository {
        registry: catalog::RegistryId::parse("210987654321").unwrap(),
        ..repository("harbor/alpine")
    };
    let apply = async |repository: &catalog::Repository, kind| {
        let change = Change { repository: repository.clone(), time: time(0), kind };
        surroundings.store.writer.apply(&change).await.unwrap();
    };
    apply(&harbor, ChangeKind::RepositoryCreated).await;
    // So does a repository of the account, which a subscription without an address may have, too.
    apply(&repository("gone"), ChangeKind::RepositoryCreated).await;

    let function = surroundings.function("reconcile");
    let mut waiting = vec![r#"{"compare": "registries"}"#.to_owned()];
    let mut followed = Vec::new();
    while let Some(body) = waiting.pop() {
        let (status, answer) = function.invoke(&batch(&[("message", body.clone())])).await;
        assert_eq!((status, failed(&answer)), (200, BTreeSet::new()), "{body}");
        followed.push(body);
        let received = surroundings.received(&surroundings.queue_url);
        waiting.extend(received.iter().map(|message| message["Body"].as_str().unwrap().to_owned()));
    }
    followed.sort();
    assert_eq!(
        followed,
        [
            r#"{"compare": "registries"}"#,
            r#"{"compare":"registry","from":"ecr"}"#,
            r#"{"compare":"repository","from":"ecr","name":"team/app","prune":false}"#,
            r#"{"compare":"repository","from":"ecr","name":"team/tool","prune":false}"#,
        ]
    );
    let filter = catalog::reader::Filter { tag_status: None, image_status: None };
    for name in ["team/app", "team/tool"] {
        let listed = surroundings
            .store
            .reader
            .list(&repository(name), &filter, None, 10, |_| false)
            .await
            .unwrap();
        let mut tags: Vec<String> = listed
            .images
            .iter()
            .flat_map(|image| &image.image_tags)
            .map(ToString::to_string)
            .collect();
        tags.sort();
        assert_eq!(tags, ["v1", "v2"], "{name}");
        assert!(listed.images.iter().all(|image| image.image_size_in_bytes == Some(5)));
    }
    let mut known =
        surroundings.store.reader.repositories(&repository("any").registry).await.unwrap();
    known.sort_by_key(ToString::to_string);
    assert_eq!(known, [repository("gone"), repository("team/app"), repository("team/tool")]);
    assert_eq!(function.metrics(&[])["RepositoriesCompared"], 1);
    let drift = function.metrics(&["Kind"]);
    assert!(drift["Drift"].as_u64() > Some(0), "{drift}");
    let line = function
        .lines()
        .into_iter()
        .find(|line| line["message"] == "compared a repository")
        .unwrap();
    assert_eq!(line["drift"], 5, "the repository, two images, two tags: {line}");

    // What cannot be followed is given back.
    let strange = batch(&[
        ("no such registry", r#"{"compare":"registry","from":"harbor-1"}"#.to_owned()),
        ("no message", "{}".to_owned()),
    ]);
    let (_, answer) = function.invoke(&strange).await;
    assert_eq!(failed(&answer), BTreeSet::from(["no such registry", "no message"]));
}

/// All items of a table, but for what tells how often they were written and when they expire.
async fn items(store: &Store) -> BTreeSet<String> {
    let scan = store.table.client.scan().table_name(&store.table.name).send().await.unwrap();
    scan.items()
        .iter()
        .map(|item| {
            let mut item = item.clone();
            item.retain(|name, _| name != "version" && name != "expiresAt");
            let mut attributes: Vec<String> =
                item.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
            attributes.sort();
            attributes.join(", ")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_other_triggers_get_a_clear_error() {
    let Some(surroundings) =
        Surroundings::start("events_of_other_triggers_get_a_clear_error").await
    else {
        return;
    };
    for (name, event, says) in [
        (
            "describe-images",
            batch(&[("message", pushed(1))]),
            "expects a JSON payload from Amazon API Gateway",
        ),
        ("ingest-events", request("{}"), "missing field `Records`"),
        ("reconcile", request("{}"), "missing field `Records`"),
    ] {
        let function = surroundings.function(name);
        let (status, answer) = function.invoke(&event).await;
        assert_eq!(status, 500, "{name}: {answer}");
        let message = answer["errorMessage"].as_str().unwrap();
        assert!(message.contains(says), "{name}: {message}");
        // It goes on.
        assert_eq!(function.invoke(&event).await.0, 500, "{name}");
    }
}

/// Each function's role allows just the operations that it asks for, which `template.rs` knows.
#[tokio::test(flavor = "multi_thread")]
async fn the_functions_ask_for_what_their_roles_allow() {
    let Some(surroundings) =
        Surroundings::start("the_functions_ask_for_what_their_roles_allow").await
    else {
        return;
    };
    let take = || std::mem::take(&mut *surroundings.wire.operations.lock().unwrap());
    let ingest = surroundings.function("ingest-events");
    let untagged = here("image-action-delete.json").to_string();
    let created = here("eventbridge-cloudtrail-create-repository.json").to_string();
    let index = pushed_index(2).to_string();
    let mut gone = here("eventbridge-cloudtrail-create-repository.json");
    gone["detail"]["eventName"] = json!("DeleteRepository");
    let messages = batch(&[
        ("pushed", pushed(1)),
        ("deleted", untagged),
        ("created", created),
        ("index", index),
        ("gone", gone.to_string()),
        ("reminder", r#"{"source": "image-catalog", "detail-type": "Ask Again"}"#.to_owned()),
    ]);
    let (_, answer) = ingest.invoke(&messages).await;
    assert_eq!(failed(&answer), BTreeSet::new());
    let operations = BTreeSet::from(
        ["batchgetitem", "getitem", "query", "transactwriteitems"].map(str::to_owned),
    );
    assert_eq!(take(), operations);
    drop(ingest);

    surroundings.moto.aws(&["ecr", "create-repository", "--repository-name", "team/app"]);
    let reconcile = surroundings.function("reconcile");
    for body in [
        r#"{"compare":"registry","from":"ecr"}"#,
        r#"{"compare":"repository","from":"ecr","name":"team/app","prune":true}"#,
    ] {
        let (_, answer) = reconcile.invoke(&batch(&[("message", body.to_owned())])).await;
        assert_eq!(failed(&answer), BTreeSet::new());
    }
    assert_eq!(take(), operations);
    drop(reconcile);

    let describe = surroundings.function("describe-images");
    for body in [
        r#"{"repositoryName":"my-repository-name"}"#.to_owned(),
        r#"{"repositoryName":"my-repository-name","filter":{"tagStatus":"TAGGED"}}"#.to_owned(),
        r#"{"repositoryName":"my-repository-name","filter":{"tagStatus":"UNTAGGED","imageStatus":"ARCHIVED"}}"#.to_owned(),
        json!({ "repositoryName": "my-repository-name", "imageIds": [{ "imageTag": "v1" }] }).to_string(),
    ] {
        assert_eq!(describe.request(&body).await.0, 200, "{body}");
    }
    assert_eq!(take(), BTreeSet::from(["batchgetitem", "getitem", "query"].map(str::to_owned)));
}

/// provided.al2023 has glibc 2.34.
#[test]
fn the_binaries_run_on_amazon_linux_2023() {
    let Some(built) = built("the_binaries_run_on_amazon_linux_2023") else { return };
    for function in crate::deployment::template::FUNCTIONS {
        let binary = std::fs::read(built.join(function).join("bootstrap")).unwrap();
        let versions: BTreeSet<(u32, u32)> = binary
            .windows(6)
            .enumerate()
            .filter(|(_, window)| window == b"GLIBC_")
            .filter_map(|(at, _)| {
                let version: String = binary[at + 6..]
                    .iter()
                    .map(|byte| char::from(*byte))
                    .take_while(|c| c.is_ascii_digit() || *c == '.')
                    .collect();
                let mut numbers = version.split('.').map(str::parse);
                Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
            })
            .collect();
        let newest = versions.last().unwrap();
        print(format!("{function} needs glibc {}.{}", newest.0, newest.1));
        assert!(*newest <= (2, 34), "{function}: {versions:?}");
    }
}
