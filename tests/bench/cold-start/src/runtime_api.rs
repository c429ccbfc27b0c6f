//! A stand-in of the Lambda Runtime API for one function at a time.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use catalog::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::services::serve_connection;

/// How long a function may take for anything.
const TIMEOUT: Duration = Duration::from_secs(30);

const VERSION: &str = "2018-06-01";

/// The Runtime API, for a function that has not started yet.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    /// Its host and port.
    pub(crate) address: String,
    events: UnboundedSender<Value>,
    /// When the function requested an event.
    requested: UnboundedReceiver<Instant>,
    /// When it sent a response, and the response.
    responses: UnboundedReceiver<(Instant, Value)>,
}

impl RuntimeApi {
    /// Starts it.
    pub(crate) async fn start() -> Self {
        let (events, waiting) = unbounded_channel::<Value>();
        let (request, requested) = unbounded_channel();
        let (respond, responses) = unbounded_channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let next = move || {
            let (waiting, request) = (Arc::clone(&waiting), request.clone());
            async move {
                let _ = request.send(Instant::now());
                let event = waiting.lock().await.recv().await;
                event.map_or_else(|| StatusCode::GONE.into_response(), |event| {
                    let timeout = i64::try_from(TIMEOUT.as_millis()).unwrap();
let deadline = (Timestamp::now().as_milliseconds() + timeout).to_string();
let headers = [
                        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
                        ("lambda-runtime-deadline-ms", &deadline),
                        (
                            "lambda-runtime-invoked-function-arn",
                            "arn:aws:lambda:us-east-1:123456789012:function:cold-start",
                        ),
                        (
                            "lambda-runtime-trace-id",
                            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
                        ),
                    ];
                    (headers, event.to_string()).into_response()
                })
            }
        };
        let response = move |body: String| {
            let now = Instant::now();
            let _ = respond.send((now, serde_json::from_str(&body).unwrap_or(Value::String(body))));
            async { StatusCode::ACCEPTED }
        };
        let router = Router::new()
            .route(&format!("/{VERSION}/runtime/invocation/next"), get(next))
            .route(&format!("/{VERSION}/runtime/invocation/{{id}}/{{kind}}"), post(response));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                connection.set_nodelay(true).unwrap();
                tokio::spawn(serve_connection(connection, router.clone()));
            }
        });
        Self { address, events, requested, responses }
    }

    /// Waits until the function requests an event.
    pub(crate) async fn ready(&mut self) -> Instant {
        let requested = tokio::time::timeout(TIMEOUT, self.requested.recv()).await;
        requested.expect("the function requests no event").unwrap()
    }

    /// Invokes the function, and waits for its response.
    pub(crate) async fn invoke(&mut self, event: &Value) -> (Duration, Value) {
        let invoked = Instant::now();
        self.events.send(event.clone()).unwrap();
        let response = tokio::time::timeout(TIMEOUT, self.responses.recv()).await;
        let (responded, response) = response.expect("the function does not respond").unwrap();
        (responded - invoked, response)
    }
}
