//! The services that a function sends requests to, behind TLS: DynamoDB, AWS Secrets Manager, and
//! one in place of all others, which is to receive nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use image_catalog::aws::dynamodb::Engine;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

/// The name in the certificate.
const HOST: &str = "localhost";

/// The certificate authorities that a function on Amazon Linux parses, too.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What the services received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) handshakes: usize,
    pub(crate) requests: Vec<String>,
}

/// The services. They end with the process.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) dynamodb: String,
    pub(crate) secrets_manager: String,
    /// In place of all others.
    pub(crate) others: String,
    /// The file of the certificate authorities.
    pub(crate) authorities: PathBuf,
    traffic: Arc<Mutex<Traffic>>,
}

/// A service.
#[derive(Clone)]
enum Service {
    DynamoDb(Engine),
    /// With the value of every secret.
    SecretsManager(String),
    Other,
}

impl Services {
    /// Starts the services.
    pub(crate) async fn start(engine: Engine, secret: String, folder: &Path) -> Self {
        let (acceptor, authority) = certificate();
        // The certificate authorities of the system are part of the cost of the first connection.
        let system = fs::read_to_string(SYSTEM_AUTHORITIES).unwrap_or_default();
        let authorities = folder.join("authorities.pem");
        fs::write(&authorities, system + &authority).unwrap();
        let traffic = Arc::<Mutex<Traffic>>::default();
        let start = async |service| serve(service, acceptor.clone(), Arc::clone(&traffic)).await;
        Self {
            dynamodb: start(Service::DynamoDb(engine)).await,
            secrets_manager: start(Service::SecretsManager(secret)).await,
            others: start(Service::Other).await,
            authorities,
            traffic,
        }
    }

    /// What was received since the last call.
    pub(crate) fn take(&self) -> Traffic {
        std::mem::take(&mut *self.traffic.lock().unwrap())
    }
}

/// A server's certificate, and the authority that signed it.
fn certificate() -> (TlsAcceptor, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = authority.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new([HOST.to_owned()]).unwrap();
    let server = server.signed_by(&key, &authority, &authority_key).unwrap();
    let configuration =
        ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![server.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
    (TlsAcceptor::from(Arc::new(configuration)), authority.pem())
}

/// Starts a service. Returns the address.
async fn serve(service: Service, acceptor: TlsAcceptor, traffic: Arc<Mutex<Traffic>>) -> String {
    let listener = TcpListener::bind((HOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let handshakes = Arc::clone(&traffic);
    let router =
        Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let (service, traffic) = (service.clone(), Arc::clone(&traffic));
            async move {
                let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
                let target = target.map_or_else(|| format!("{method} {uri}"), str::to_owned);
                let (request, response) = service.answer(&target, body).await;
                traffic.lock().unwrap().requests.push(request);
                response
            }
        });
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            connection.set_nodelay(true).unwrap();
            let (acceptor, router) = (acceptor.clone(), router.clone());
            let handshakes = Arc::clone(&handshakes);
            tokio::spawn(async move {
                handshakes.lock().unwrap().handshakes += 1;
                let Ok(connection) = acceptor.accept(connection).await else { return };
                serve_connection(connection, router).await;
            });
        }
    });
    format!("https://{HOST}:{port}")
}

/// Serves a connection with HTTP/1.1, as the services do.
pub(crate) async fn serve_connection(
    connection: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
) {
    let service = TowerToHyperService::new(router);
    // The function ends while it is connected.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(connection), service).await;
}

impl Service {
    /// The name of a request, and its response.
    async fn answer(self, target: &str, body: Bytes) -> (String, (StatusCode, String)) {
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        match self {
            Self::DynamoDb(engine) => {
                let mut request = HttpRequest::new(SdkBody::from(body.to_vec()));
                request.headers_mut().insert("x-amz-target", target.to_owned());
                let response = engine.call(request).await.unwrap();
                let status = StatusCode::from_u16(response.status().as_u16()).unwrap();
                let body = response.body().bytes().unwrap_or_default().to_vec();
                (operation, (status, String::from_utf8(body).unwrap()))
            }
            Self::SecretsManager(value) => {
                let request: Value = serde_json::from_slice(&body).unwrap();
                let stage = request["VersionStage"].as_str().unwrap_or("AWSCURRENT");
                let response = json!({
                    "ARN": request["SecretId"],
                    "Name": "secret",
                    "VersionId": "a1b2c3d4-5678-90ab-cdef-EXAMPLE11111",
                    "SecretString": value,
                    "VersionStages": [stage],
                    "CreatedDate": 1_795_305_600,
                });
                (format!("{operation} {stage}"), (StatusCode::OK, response.to_string()))
            }
            Self::Other => {
                (format!("another service: {target}"), (StatusCode::NOT_FOUND, String::new()))
            }
        }
    }
}
