//! The dependencies of the functions, and the functions themselves, as processes under an emulator
//! of Lambda.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use catalog::{Change, ChangeKind, Timestamp};
use end_to_end::harness::{
    DynamoDbLocal, KilledOnDrop, Moto, REGION, REGISTRY, START_LIMIT, Store, api_gateway_event,
    digest, free_port, proxy, repository, tag, temporary_folder, time, wait_until,
};
use serde_json::{Value, json};

use super::{MAX_PAYLOAD, TIMEOUT};
use crate::deployment::{built, root, tool};

/// The dependencies of the functions: a table, a queue and secrets, until it is dropped.
pub(super) struct Surroundings {
    pub(super) _turn: tokio::sync::MutexGuard<'static, ()>,
    pub(super) _dynamodb: DynamoDbLocal,
    pub(super) store: Store,
    pub(super) wire: Wire,
    pub(super) moto: Moto,
    pub(super) secret: String,
    pub(super) subscriptions: String,
    pub(super) queue_url: String,
    pub(super) dead_letter_queue_url: String,
}

impl Surroundings {
    pub(super) async fn start(test: &str) -> Option<Self> {
        // One function at a time, so that the figures are not disturbed.
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

    /// Starts a process of a function, under an emulator of its own: a shared emulator would pass
    /// the next invocation to a process that has ended, and wait.
    pub(super) fn function(&self, name: &'static str) -> Function {
        self.function_with(name, &[])
    }

    /// The same with other variables of its environment.
    pub(super) fn function_with(&self, name: &'static str, variables: &[(&str, &str)]) -> Function {
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
        let log =
            temporary_folder().join(format!("{name}-{}.log", LOGS.fetch_add(1, Ordering::Relaxed)));
        let folder = match name {
            "describe-images" => "DescribeImages",
            "receive-webhook" => "ReceiveWebhook",
            "reconcile" => "Reconcile",
            _ => "IngestEvents",
        };
        let started = Instant::now();
        let has_started = Arc::<AtomicBool>::default();
        let runtime_api = runtime_api(&url, Arc::clone(&has_started));
        let process = Command::new(root().join("target/sam").join(folder).join("bootstrap"))
            .env_clear()
            .envs([
                ("AWS_LAMBDA_RUNTIME_API", format!("{runtime_api}/.rt/{name}").as_str()),
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
                ("MAX_RECEIVE_COUNT", "3"),
                // moto has no Amazon ECR Public.
                ("ECR_PUBLIC", "false"),
                ("OTHER_REGISTRIES", ""),
                ("READER_ROLE", "arn:aws:iam::*:role/image-catalog-reader-us-east-1"),
                ("AWS_ENDPOINT_URL_STS", &self.moto.url),
                ("AWS_ENDPOINT_URL_ECR", &self.moto.url),
                ("AWS_ENDPOINT_URL_SQS", &self.moto.url),
                ("AWS_ENDPOINT_URL_DYNAMODB", &self.wire.url),
                ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &self.moto.url),
            ])
            .envs(variables.iter().copied())
            .stdout(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let url = format!("{url}/2015-03-31/functions/{name}/invocations");
        Function {
            _process: KilledOnDrop(process),
            _emulator: KilledOnDrop(emulator),
            log,
            started,
            has_started,
            url,
        }
    }

    /// Receives and deletes up to ten messages of a queue.
    pub(super) fn received(&self, queue_url: &str) -> Vec<Value> {
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

    pub(super) async fn push(&self, number: u64) {
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
pub(super) struct Function {
    pub(super) _process: KilledOnDrop,
    /// Dropped after the process that polls it.
    pub(super) _emulator: KilledOnDrop,
    pub(super) log: PathBuf,
    pub(super) started: Instant,
    /// The init phase has ended: it has requested an event.
    has_started: Arc<AtomicBool>,
    pub(super) url: String,
}

impl Function {
    /// Waits until its init phase has ended.
    pub(super) fn wait_until_started(&self) {
        wait_until("the function", START_LIMIT, || self.has_started.load(Ordering::Relaxed));
    }

    /// Invokes it, and waits for its response: a status and a payload.
    pub(super) async fn invoke(&self, event: &Value) -> (u16, Value) {
        let request = reqwest::Client::new().post(&self.url).body(event.to_string());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.bytes().await.unwrap();
        assert!(bytes.len() < MAX_PAYLOAD, "{} bytes", bytes.len());
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    /// The response of API Gateway: the status, and the body.
    pub(super) async fn request(&self, body: &str) -> (u64, Value) {
        let (status, response) = self.invoke(&api_gateway_event(body)).await;
        assert_eq!(status, 200, "{response}");
        assert_eq!(response["isBase64Encoded"], false);
        assert_eq!(response["headers"]["content-type"], "application/x-amz-json-1.1");
        let body = response["body"].as_str().unwrap();
        (response["statusCode"].as_u64().unwrap(), serde_json::from_str(body).unwrap())
    }

    /// Every line of its log, parsed as JSON.
    pub(super) fn lines(&self) -> Vec<Value> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        log.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
            .collect()
    }

    /// The first metrics in the log with these dimensions besides the stack.
    pub(super) fn metrics(&self, dimensions: &[&str]) -> Value {
        let lines = self.lines();
        let expected: Vec<&str> = [&["Stack"], dimensions].concat();
        lines
            .iter()
            .find(|line| line["_aws"]["CloudWatchMetrics"][0]["Dimensions"][0] == json!(expected))
            .unwrap_or_else(|| panic!("no metrics of {dimensions:?} in {lines:#?}"))
            .clone()
    }
}

/// A proxy to DynamoDB that records the operations, and can hold responses back.
pub(super) struct Wire {
    pub(super) url: String,
    pub(super) operations: Arc<Mutex<BTreeSet<String>>>,
    pub(super) is_stalled: Arc<AtomicBool>,
}

impl Wire {
    pub(super) fn to(upstream: &str) -> Self {
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

/// The requests that a function sends, of all services.
#[derive(Default, Clone)]
pub(super) struct Requests(Arc<Mutex<Vec<String>>>);

impl Requests {
    /// A proxy to a service that records the operations.
    pub(super) fn to(&self, upstream: &str) -> String {
        let requests = Arc::clone(&self.0);
        let record = move |bytes: Vec<u8>| {
            let text = String::from_utf8_lossy(&bytes).to_lowercase();
            // A request without an operation is one of another protocol.
            for head in text.split("\r\n\r\n").filter(|part| part.contains(" http/1.1\r\n")) {
                let target = head.split("x-amz-target: ").nth(1);
                let target = target.and_then(|target| target.lines().next()).unwrap_or(head);
                requests.lock().unwrap().push(target.rsplit('.').next().unwrap().to_owned());
            }
            bytes
        };
        proxy(TcpListener::bind("127.0.0.1:0").unwrap(), upstream, record, |bytes| bytes)
    }

    /// Those since the last call, sorted.
    pub(super) fn take(&self) -> Vec<String> {
        let mut requests = std::mem::take(&mut *self.0.lock().unwrap());
        requests.sort();
        requests
    }
}

/// The emulator sends every invocation the deadline 600000, ten minutes after the beginning of
/// 1970. Lambda sends the real time. This is a proxy to the emulator that sends the real time. It
/// also notes that the function requests an event.
fn runtime_api(emulator: &str, has_started: Arc<AtomicBool>) -> String {
    let note = move |bytes: Vec<u8>| {
        if String::from_utf8_lossy(&bytes).contains("/runtime/invocation/next ") {
            has_started.store(true, Ordering::Relaxed);
        }
        bytes
    };
    let set_deadline = |bytes: Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes);
        let deadline =
            Timestamp::now().as_milliseconds() + i64::try_from(TIMEOUT.as_millis()).unwrap();
        text.replace(
            "lambda-runtime-deadline-ms: 600000",
            &format!("lambda-runtime-deadline-ms: {deadline}"),
        )
        .into_bytes()
    };
    proxy(TcpListener::bind("127.0.0.1:0").unwrap(), emulator, note, set_deadline)
}
