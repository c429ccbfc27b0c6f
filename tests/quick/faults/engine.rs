//! A DynamoDB that fails: the embedded engine behind a connector that, instead of passing a request
//! on, responds as the service does when it is overloaded, or not at all.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use end_to_end::harness::{InProcess, Random, engine_client, json_response};
use image_catalog::aws::dynamodb::Engine;
use serde_json::{Value, json};

/// A fault of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The throughput of the partition is exceeded.
    ThroughputExceeded,
    /// The throughput of the table, or of the account, is exceeded.
    Throttled,
    /// The credentials do not allow the request.
    AccessDenied,
    /// The service fails.
    ServerError,
    /// Another transaction has locked the item; for a write of one item.
    Conflict,
    /// The transaction of an earlier request with the same token is still in progress.
    InProgress,
    /// A transaction is cancelled, for this reason.
    Cancelled(&'static str),
    /// The connection breaks before the request is complete.
    NotConnected,
    /// The request times out without effect.
    TimedOut,
    /// The request takes effect, and its response is lost.
    ResponseLost,
    /// Half of several keys are read, and the others are returned as unprocessed.
    KeysLeft,
    /// A page ends after its first item.
    ShortPage,
}

impl Fault {
    /// All that pass.
    pub(crate) const ALL: [Self; 14] = [
        Self::ThroughputExceeded,
        Self::Throttled,
        Self::ServerError,
        Self::Conflict,
        Self::InProgress,
        Self::Cancelled("ConditionalCheckFailed"),
        Self::Cancelled("TransactionConflict"),
        Self::Cancelled("ThrottlingError"),
        Self::Cancelled("ProvisionedThroughputExceeded"),
        Self::NotConnected,
        Self::TimedOut,
        Self::ResponseLost,
        Self::KeysLeft,
        Self::ShortPage,
    ];

    /// Whether it can happen to a request.
    pub(crate) fn fits(self, request: &Request) -> bool {
        match self {
            Self::ThroughputExceeded
            | Self::Throttled
            | Self::AccessDenied
            | Self::ServerError
            | Self::NotConnected
            | Self::TimedOut
            | Self::ResponseLost => true,
            Self::Conflict => ["PutItem", "DeleteItem"].contains(&request.operation.as_str()),
            Self::InProgress | Self::Cancelled(_) => request.operation == "TransactWriteItems",
            Self::KeysLeft => request.operation == "BatchGetItem" && request.keys().len() > 1,
            Self::ShortPage => request.operation == "Query",
        }
    }

    /// Whether it can happen to reads.
    pub(crate) fn is_of_reads(self) -> bool {
        !matches!(self, Self::Conflict | Self::InProgress | Self::Cancelled(_))
    }

    /// Whether the response is a success, but not complete.
    pub(crate) fn is_partial_success(self) -> bool {
        matches!(self, Self::KeysLeft | Self::ShortPage)
    }
}

/// A request of the client.
#[derive(Debug)]
pub(crate) struct Request {
    /// Such as `BatchGetItem`.
    pub(crate) operation: String,
    /// The body.
    pub(crate) text: String,
}

impl Request {
    fn of(request: &HttpRequest) -> Self {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        Self {
            operation: target.rsplit('.').next().unwrap_or_default().to_owned(),
            text: String::from_utf8(request.body().bytes().unwrap_or_default().to_vec()).unwrap(),
        }
    }

    fn body(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The keys of a BatchGetItem.
    fn keys(&self) -> Vec<Value> {
        let body = self.body();
        let tables = body["RequestItems"].as_object().unwrap().values();
        tables.flat_map(|table| table["Keys"].as_array().unwrap().clone()).collect()
    }
}

/// Returns the fault of each request, in the order of requests.
type Plan = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;

/// The embedded engine, which fails as planned.
#[derive(Clone)]
pub(crate) struct FaultyEngine {
    engine: Engine,
    plan: Arc<Mutex<Plan>>,
    faults: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    /// The tokens of completed transactions, none of which is applied twice, as in DynamoDB.
    /// Without them, a transaction that is sent again conflicts with its own writes.
    done: Option<Arc<Mutex<HashMap<String, String>>>>,
}

impl FaultyEngine {
    /// An engine that does not fail yet.
    pub(crate) fn new(remembers_tokens: bool) -> Self {
        Self {
            engine: Engine::in_memory().unwrap(),
            plan: Arc::new(Mutex::new(Box::new(|_| None))),
            faults: Arc::default(),
            requests: Arc::default(),
            done: remembers_tokens.then(Arc::default),
        }
    }

    /// A client that hardly waits before it retries. It has a retry budget of its own, so that
    /// concurrent tests do not use it up.
    pub(crate) fn client(&self) -> aws_sdk_dynamodb::Client {
        let partition =
            RetryPartition::custom("faults").token_bucket(TokenBucket::default()).build();
        let retries = RetryConfig::standard()
            .with_initial_backoff(Duration::from_millis(1))
            .with_max_backoff(Duration::from_millis(4));
        let engine = self.clone();
        let configuration = engine_client(InProcess(move |request| engine.call(request)))
            .retry_config(retries)
            .retry_partition(partition)
            .build();
        aws_sdk_dynamodb::Client::from_conf(configuration)
    }

    /// Fails from now on as planned. A fault that does not fit its request is ignored.
    pub(crate) fn fail(&self, plan: impl FnMut(&Request) -> Option<Fault> + Send + 'static) {
        *self.plan.lock().unwrap() = Box::new(plan);
    }

    /// Fails a percentage of the requests.
    pub(crate) fn fail_at_random(&self, mut random: Random, percent: u64) {
        self.fail(move |request| {
            let fitting: Vec<Fault> =
                Fault::ALL.into_iter().filter(|fault| fault.fits(request)).collect();
            (random.below(100) < percent).then(|| *random.one_of(&fitting))
        });
    }

    /// Does not fail any longer.
    pub(crate) fn heal(&self) {
        self.fail(|_| None);
    }

    pub(crate) fn faults(&self) -> usize {
        self.faults.load(Ordering::Relaxed)
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    async fn respond(
        self,
        mut http: HttpRequest,
        request: Request,
        fault: Option<Fault>,
    ) -> Result<HttpResponse, ConnectorError> {
        let throughput = "The level of configured provisioned throughput for the table was exceeded. Consider \
                          increasing your provisioning level with the UpdateTable API.";
        match fault {
            None => self.pass_on(http, &request).await,
            Some(Fault::ThroughputExceeded) => {
                Ok(error(400, "ProvisionedThroughputExceededException", throughput))
            }
            Some(Fault::Throttled) => Ok(error(
                400,
                "ThrottlingException",
                "Throughput exceeds the current capacity of your table or index.",
            )),
            Some(Fault::AccessDenied) => Ok(error(
                400,
                "AccessDeniedException",
                &format!(
                    "User: reader is not authorized to perform: dynamodb:{}",
                    request.operation
                ),
            )),
            Some(Fault::ServerError) => {
                Ok(error(500, "InternalServerError", "Internal server error"))
            }
            Some(Fault::Conflict) => Ok(error(
                400,
                "TransactionConflictException",
                "Transaction is ongoing for the item",
            )),
            Some(Fault::InProgress) => Ok(error(
                400,
                "TransactionInProgressException",
                "The transaction with the given request token is already in progress.",
            )),
            Some(Fault::Cancelled(code)) => Ok(cancelled(&request, code)),
            Some(Fault::NotConnected) => Err(ConnectorError::io(
                io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer").into(),
            )),
            Some(Fault::TimedOut) => Err(timeout()),
            Some(Fault::ResponseLost) => {
                self.pass_on(http, &request).await?;
                Err(timeout())
            }
            Some(Fault::KeysLeft) => {
                let mut requested = request.body();
                let mut left = requested["RequestItems"].clone();
                for (table, keys) in requested["RequestItems"].as_object_mut().unwrap() {
                    let keys = keys["Keys"].as_array_mut().unwrap();
                    left[table]["Keys"] = keys.split_off(keys.len().div_ceil(2)).into();
                }
                *http.body_mut() = SdkBody::from(requested.to_string());
                let response = self.pass_on(http, &request).await?;
                let mut body: Value =
                    serde_json::from_slice(response.body().bytes().unwrap()).unwrap();
                body["UnprocessedKeys"] = left;
                Ok(json_response(200, &body))
            }
            Some(Fault::ShortPage) => {
                let mut requested = request.body();
                requested["Limit"] = json!(1);
                *http.body_mut() = SdkBody::from(requested.to_string());
                self.pass_on(http, &request).await
            }
        }
    }

    async fn pass_on(
        &self,
        http: HttpRequest,
        request: &Request,
    ) -> Result<HttpResponse, ConnectorError> {
        let Some(done) = self.done.as_ref().filter(|_| request.operation == "TransactWriteItems")
        else {
            return self.engine.call(http).await;
        };
        let token = request.body()["ClientRequestToken"].as_str().unwrap().to_owned();
        if let Some(response) = done.lock().unwrap().get(&token) {
            return Ok(HttpResponse::new(
                StatusCode::try_from(200).unwrap(),
                SdkBody::from(response.as_str()),
            ));
        }
        let response = self.engine.call(http).await?;
        if response.status().is_success() {
            let text = String::from_utf8(response.body().bytes().unwrap().to_vec()).unwrap();
            done.lock().unwrap().insert(token, text);
        }
        Ok(response)
    }
}

impl FaultyEngine {
    fn call(&self, http: HttpRequest) -> HttpConnectorFuture {
        let request = Request::of(&http);
        let fault = (self.plan.lock().unwrap())(&request).filter(|fault| fault.fits(&request));
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.faults.fetch_add(usize::from(fault.is_some()), Ordering::Relaxed);
        HttpConnectorFuture::new(self.clone().respond(http, request, fault))
    }
}

fn timeout() -> ConnectorError {
    ConnectorError::timeout(io::Error::new(io::ErrorKind::TimedOut, "no response in time").into())
}

fn error(status: u16, name: &str, message: &str) -> HttpResponse {
    let kind = format!("com.amazonaws.dynamodb.v20120810#{name}");
    json_response(status, &json!({ "__type": kind, "message": message }))
}

/// One of a transaction's items is the reason; which one differs from request to request.
fn cancelled(request: &Request, code: &str) -> HttpResponse {
    let message = match code {
        "ConditionalCheckFailed" => "The conditional request failed",
        "TransactionConflict" => "Transaction is ongoing for the item",
        "ThrottlingError" => {
            "Throughput exceeds the current capacity of your table or index. DynamoDB is automatically scaling your \
             table or index so please try again shortly."
        }
        _ => "The level of configured provisioned throughput for the table was exceeded.",
    };
    let items = request.body()["TransactItems"].as_array().unwrap().len();
    let mut reasons = vec![json!({ "Code": "None" }); items];
    reasons[request.text.len() % items] = json!({ "Code": code, "Message": message });
    let codes: Vec<&str> = reasons.iter().map(|reason| reason["Code"].as_str().unwrap()).collect();
    let body = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": format!(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
            codes.join(", ")
        ),
        "CancellationReasons": reasons,
    });
    json_response(400, &body)
}
