//! Access keys in a secret that cannot be read any longer. A stand-in for AWS Secrets Manager
//! begins to refuse.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_secretsmanager::{Client, Config};
use aws_smithy_async::rt::sleep::{AsyncSleep, SharedAsyncSleep, Sleep};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use describe_images::access_keys::{self, AccessKeys, Authentication};
use end_to_end::harness::{Catalog, InProcess, Store, configuration, json_response, operation};
use secret::Secret;
use serde_json::{Value, json};

use super::{Sender, callers, reader};

/// How a stand-in for AWS Secrets Manager responds.
#[derive(Clone)]
enum Response {
    /// The current version of the secret.
    Version(String),
    /// The code of an error.
    Error(u16, &'static str),
    Silence,
}

/// A stand-in for AWS Secrets Manager.
#[derive(Clone)]
struct SecretsManager {
    response: Arc<Mutex<Response>>,
    /// The versions that were requested.
    requested: Arc<Mutex<Vec<String>>>,
}

/// The time that a client waits, for a response or before a retry, is over at once.
#[derive(Debug)]
struct NoTime;

impl AsyncSleep for NoTime {
    fn sleep(&self, _: Duration) -> Sleep {
        // What is there already comes first.
        Sleep::new(async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        })
    }
}

impl SecretsManager {
    fn new(response: Response) -> Self {
        Self { response: Arc::new(Mutex::new(response)), requested: Arc::default() }
    }

    fn respond_with(&self, response: Response) {
        *self.response.lock().unwrap() = response;
    }

    fn client(&self) -> Client {
        let this = self.clone();
        let configuration = configuration(InProcess(move |request: HttpRequest| {
            let (name, body) = operation(&request);
            assert_eq!((name.as_str(), &body["SecretId"]), ("GetSecretValue", &json!("callers")));
            let version = body["VersionStage"].as_str().unwrap().to_owned();
            this.requested.lock().unwrap().push(version.clone());
            let response = this.response.lock().unwrap().clone();
            async move {
                let previous = || json!({ "__type": "ResourceNotFoundException" });
                match response {
                    Response::Version(_) if version != "AWSCURRENT" => {
                        Ok(json_response(400, &previous()))
                    }
                    Response::Version(text) => {
                        Ok(json_response(200, &json!({ "SecretString": text })))
                    }
                    Response::Error(status, code) => {
                        Ok(json_response(status, &json!({ "__type": code })))
                    }
                    Response::Silence => std::future::pending().await,
                }
            }
        }));
        let no_time = SharedAsyncSleep::new(NoTime);
        Client::from_conf(Config::from(&configuration).to_builder().sleep_impl(no_time).build())
    }
}

/// The list of keys, in which the reader is disabled or not.
fn keys(reader_is_disabled: bool) -> Response {
    let mut list = callers();
    list[0]["disabled"] = json!(reader_is_disabled);
    Response::Version(list.to_string())
}

static SECONDS: AtomicU64 = AtomicU64::new(0);

fn clock() -> Instant {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    *START + Duration::from_secs(SECONDS.load(Ordering::Relaxed))
}

#[tokio::test]
async fn r42_keys_that_cannot_be_read_are_valid_for_fifteen_minutes() {
    let manager = SecretsManager::new(keys(false));
    let parse = |text: &str| Ok(AccessKeys::parse(text)?);
    let secret = Secret::stored(&manager.client(), "callers".to_owned(), "Callers", parse)
        .read_every(access_keys::LIFETIME)
        .valid_for(access_keys::MAX_AGE)
        .with_clock(clock);
    let authentication = Authentication::new(secret, "us-east-1".to_owned(), None);
    let store = Store::in_memory().await;
    let catalog = Catalog::start_authenticated(store, authentication).await;
    // What a request with a key is answered, that many seconds after the keys were read.
    let read_at = async |seconds: u64| {
        SECONDS.store(seconds, Ordering::Relaxed);
        Sender::with(&catalog, reader()).ecr(None, "team/app").await.unwrap_err()
    };
    let known = |code: &str| assert_eq!(code, "RepositoryNotFoundException");
    let mut now = 0;
    for failure in [
        Response::Error(400, "AccessDeniedException"),
        Response::Error(400, "ResourceNotFoundException"),
        Response::Error(400, "ThrottlingException"),
        Response::Error(500, "InternalServiceError"),
        Response::Silence,
        Response::Version("[".to_owned()),
        Response::Version(String::new()),
    ] {
        manager.respond_with(keys(false));
        now += 3600;
        known(&read_at(now).await.0);
        manager.respond_with(failure);
        for seconds in [59, 60, 119, 120, 600, 899] {
            known(&read_at(now + seconds).await.0);
        }
        for seconds in [900, 901, 3600] {
            let (code, message) = read_at(now + seconds).await;
            assert_eq!(code, "ServerException");
            assert_eq!(message, "The catalog could not answer the request. Try again later.");
        }
        // The next request after it can be read again has the keys of then.
        manager.respond_with(keys(true));
        assert_eq!(read_at(now + 3601).await.0, "UnrecognizedClientException");
        now += 3601;
    }
    // Only the current version is of use, and it is read once a minute.
    let requested = std::mem::take(&mut *manager.requested.lock().unwrap());
    assert!(requested.iter().all(|version| version == "AWSCURRENT"), "{requested:?}");
    manager.respond_with(keys(false));
    now += 3600;
    for seconds in 0..=60 {
        known(&read_at(now + seconds).await.0);
    }
    assert_eq!(*manager.requested.lock().unwrap(), ["AWSCURRENT", "AWSCURRENT"]);
}

/// As the keys of page tokens are read.
#[tokio::test]
async fn the_previous_version_of_a_secret_may_be_missing() {
    let manager = SecretsManager::new(Response::Version("current".to_owned()));
    let parse = |text: &str| Ok(Value::from(text));
    let secret = Secret::stored(&manager.client(), "callers".to_owned(), "PageTokens", parse)
        .with_previous_version();
    assert_eq!(*secret.value().await.unwrap(), "current");
    assert_eq!(*manager.requested.lock().unwrap(), ["AWSCURRENT", "AWSPREVIOUS"]);
}
