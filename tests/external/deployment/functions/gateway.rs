//! The API of access keys in front of a function, for clients that send HTTP requests.

use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use http::Response;
use http::header::{CONNECTION, HOST};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::MAX_PAYLOAD;
use super::payloads::request_with_keys;
use super::surroundings::Function;

/// It listens on a port of its own until it is dropped.
pub(super) struct Gateway {
    /// `http://127.0.0.1:<port>`
    pub(super) url: String,
    serving: JoinHandle<()>,
}

impl Gateway {
    pub(super) async fn start(function: Arc<Function>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(forward).with_state(function);
        let serving = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(router.clone());
                tokio::spawn(async move {
                    // A client may end its connection at any time.
                    let served = http1::Builder::new();
                    let _ = served.serve_connection(TokioIo::new(client), service).await;
                });
            }
        });
        Self { url, serving }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Invokes the function with the event that API Gateway would send, and responds as it says.
async fn forward(State(function): State<Arc<Function>>, request: Request) -> Response<String> {
    let (mut head, body) = request.into_parts();
    let body = to_bytes(body, MAX_PAYLOAD).await.unwrap();
    head.headers.remove(CONNECTION);
    let url = format!("http://{}{}", head.headers[HOST].to_str().unwrap(), head.uri);
    let headers = head.headers.iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let body = str::from_utf8(&body).unwrap();
    let event = request_with_keys(&url.parse().unwrap(), headers, body);
    let (_, answer) = function.invoke(&event).await;
    let status = u16::try_from(answer["statusCode"].as_u64().unwrap()).unwrap();
    let mut response = Response::builder().status(status);
    for (name, value) in answer["headers"].as_object().unwrap() {
        response = response.header(name, value.as_str().unwrap());
    }
    response.body(answer["body"].as_str().unwrap().to_owned()).unwrap()
}
