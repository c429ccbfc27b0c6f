//! The catalog that a command reads: one that runs, or the table of the options in this process.
//! Both get the same requests.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use catalog::table::causes;
use catalog::{Reader, RegistryId, Service, Timestamp};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use describe_images::{Api, access_keys, service};
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use reqwest::redirect::Policy;
use secret::Secret;
use serde::Deserialize;
use serde_json::{Value, json};
use url::{Host, Url};

use crate::commands::aws_config::is_of_api_gateway;
use crate::commands::printable;
use crate::data::{self, DataError};
use crate::endpoints::{self, parse_http_url};
use crate::options::{self, Options, WithoutUser};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// For one request and its response.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A page of a catalog has up to 6 MB.
const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

/// How often a request is sent again that was throttled, or that failed at the server.
const RETRIES: u32 = 2;

const RETRY_DELAY: Duration = Duration::from_millis(500);

/// The options of commands that read a catalog.
#[derive(Debug, Clone, Args)]
pub struct ClientOptions {
    /// URL of a running catalog [default: that of the AWS CLI, from AWS_ENDPOINT_URL_ECR or
    /// AWS_ENDPOINT_URL_ECR_PUBLIC, from AWS_ENDPOINT_URL, or from its profile]
    #[arg(long, value_name = "URL", value_parser = WithoutUser(parse_http_url))]
    endpoint: Option<Url>,
    /// Do not sign requests [default: they are signed if the environment has AWS credentials]
    #[arg(long)]
    no_sign_request: bool,
    /// Service that signatures are for [default: execute-api for API Gateway, unless the access
    /// key is one of the catalog's own; otherwise ecr or ecr-public]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    signing_name: Option<String>,
}

/// Why a catalog cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{0}; --data names another directory, and --endpoint a running catalog")]
    NoCatalog(DataError),
    #[error(transparent)]
    Data(DataError),
    /// Without the URL: it may contain a password.
    #[error("the endpoint URL of the AWS configuration is not valid: {0}")]
    Endpoint(String),
    #[error("the address {address} cannot be resolved")]
    Listen { address: String, source: io::Error },
    #[error("a request cannot be sent")]
    Request(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no response from {url}")]
    Unavailable { url: String, source: reqwest::Error },
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{refusal}; no AWS credentials to sign the request with: {reason}")]
    Unsigned { refusal: Refusal, reason: String },
    #[error("the response of {0} is longer than those of a catalog")]
    TooLong(String),
    #[error("the response is not that of a catalog: {0}")]
    Response(String),
}

impl From<serde_json::Error> for ClientError {
    /// The text can contain some of the response.
    fn from(error: serde_json::Error) -> Self {
        Self::Response(printable(&error.to_string()))
    }
}

/// A response that is an error.
#[derive(Debug, thiserror::Error)]
pub struct Refusal {
    pub status: StatusCode,
    /// The name of an error of the API.
    name: Option<String>,
    message: Option<String>,
}

/// A catalog to be read.
#[derive(Debug)]
pub struct Client {
    service: Service,
    /// The registry of requests; without it, that of the caller's account, or the default one of
    /// the catalog.
    registry: Option<RegistryId>,
    catalog: Catalog,
}

#[derive(Debug)]
enum Catalog {
    Running(Box<Endpoint>),
    InProcess(Box<Api>),
}

/// A running catalog.
#[derive(Debug)]
pub struct Endpoint {
    /// Without a slash at its end.
    url: String,
    http: reqwest::Client,
    /// Or why there is none. `None` if requests are not to be signed.
    signer: Option<Result<Signer, String>>,
}

#[derive(Debug)]
struct Signer {
    identity: Identity,
    region: String,
    name: String,
}

impl Client {
    /// The catalog of the options. Nothing is created.
    pub async fn open(options: &Options, client: &ClientOptions) -> Result<Self, ClientError> {
        let aws = options.aws_of_cli().await;
        let catalog = match client.endpoint(options, &aws)? {
            Some(url) => {
                Catalog::Running(Box::new(Endpoint::new(url, options, client, &aws).await?))
            }
            None => Catalog::InProcess(Box::new(open_api(options).await?)),
        };
        let registry = options.is_registry_given.then(|| options.registry.clone());
        Ok(Self { service: options.service, registry, catalog })
    }

    /// Sends a request of an operation. Returns the response's JSON.
    pub async fn call(&self, operation: &str, input: &Value) -> Result<String, ClientError> {
        let mut input = input.clone();
        if let Some(registry) = &self.registry {
            input["registryId"] = json!(registry);
        }
        let target = format!("{}.{operation}", service::target(self.service));
        let headers =
            [(CONTENT_TYPE.as_str(), "application/x-amz-json-1.1"), ("x-amz-target", &target)];
        match &self.catalog {
            Catalog::Running(endpoint) => {
                endpoint.send(Method::POST, "/", &headers, &input.to_string()).await
            }
            Catalog::InProcess(api) => {
                let request = request(Method::POST, "/", &headers, &input.to_string())?;
                let (head, body) = api.handle(&request, None).await.into_parts();
                Ok(accept(head.status, body)?)
            }
        }
    }
}

/// The API on the table of the options. Its page tokens end with the process.
async fn open_api(options: &Options) -> Result<Api, ClientError> {
    let table = data::open_table_to_read(options).await.map_err(|error| match error {
        DataError::NoCatalog(_) => ClientError::NoCatalog(error),
        error => ClientError::Data(error),
    })?;
    let keyring = data::keyring_in_memory().map_err(ClientError::Data)?;
    let (reader, keyring) = (Reader::new(table), Secret::known(keyring));
    Ok(Api::new(reader, keyring, options.registry.clone(), options.region.clone()))
}

impl ClientOptions {
    /// The endpoint of the options, or else of the AWS configuration.
    fn endpoint(&self, options: &Options, aws: &SdkConfig) -> Result<Option<Url>, ClientError> {
        match &self.endpoint {
            Some(url) => Ok(Some(url.clone())),
            None if options.is_data_given => Ok(None),
            None => configured_endpoint(aws, options.service),
        }
    }
}

impl Endpoint {
    /// The catalog of the options, or else the one that listens on the address of `--listen`.
    pub async fn open(options: &Options, client: &ClientOptions) -> Result<Self, ClientError> {
        let aws = options.aws_of_cli().await;
        let url = match client.endpoint(options, &aws)? {
            Some(url) => url,
            None => listening_on(&options.listen).await.map_err(|source| ClientError::Listen {
                address: options.listen.clone(),
                source,
            })?,
        };
        Self::new(url, options, client, &aws).await
    }

    async fn new(
        url: Url,
        options: &Options,
        client: &ClientOptions,
        aws: &SdkConfig,
    ) -> Result<Self, ClientError> {
        let signer = if client.no_sign_request {
            None
        } else {
            // Only a catalog that requires signatures makes an error of it.
            let credentials = credentials(aws, &url).await.map_err(|error| causes(&error));
            Some(credentials.map(|credentials| {
                let region = aws.region().map_or(options.region.as_str(), |region| region.as_ref());
                Signer::new(credentials, &url, region, options.service, client)
            }))
        };
        let mut http = reqwest::Client::builder();
        // A proxy would look for the catalog on its own computer.
        if is_loopback(&url) {
            http = http.no_proxy();
        }
        let http = http
            .user_agent(concat!("image-catalog/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| ClientError::Request(error.into()))?;
        Ok(Self { url: url.as_str().trim_end_matches('/').to_owned(), http, signer })
    }

    /// Gets what is at a path.
    pub async fn get(&self, path: &str) -> Result<String, ClientError> {
        self.send(Method::GET, path, &[], "").await
    }

    /// Sends a request, again if it may succeed then. Returns the body of the response.
    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<String, ClientError> {
        let request = request(method, &format!("{}{path}", self.url), headers, body)?;
        let mut retries = 0;
        loop {
            match self.send_once(request.clone()).await {
                Err(error) if retries < RETRIES && error.is_transient() => {
                    tracing::info!(%error, "sending a request again");
                    tokio::time::sleep(RETRY_DELAY * 3_u32.pow(retries)).await;
                    retries += 1;
                }
                result => return result,
            }
        }
    }

    async fn send_once(&self, mut request: Request<String>) -> Result<String, ClientError> {
        if let Some(Ok(signer)) = &self.signer {
            signer.sign(&mut request).map_err(ClientError::Request)?;
        }
        let request = request
            .try_into()
            .map_err(|error: reqwest::Error| ClientError::Request(error.into()))?;
        let unavailable = |source: reqwest::Error| ClientError::Unavailable {
            url: self.url.clone(),
            source: source.without_url(),
        };
        let mut response = self.http.execute(request).await.map_err(unavailable)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
            bytes.extend(chunk);
            if bytes.len() > MAX_RESPONSE_BYTES {
                return Err(ClientError::TooLong(self.url.clone()));
            }
        }
        let body = String::from_utf8_lossy(&bytes).into_owned();
        accept(response.status(), body).map_err(|refusal| match &self.signer {
            Some(Err(reason)) if refusal.requires_signature() => {
                ClientError::Unsigned { refusal, reason: reason.clone() }
            }
            _ => ClientError::Refused(refusal),
        })
    }
}

impl Signer {
    fn new(
        credentials: Credentials,
        url: &Url,
        region: &str,
        service: Service,
        client: &ClientOptions,
    ) -> Self {
        let gateway_region = api_gateway_region(url)
            .filter(|_| !credentials.access_key_id().starts_with(access_keys::ID_PREFIX));
        let name = match &client.signing_name {
            Some(name) => name,
            None if gateway_region.is_some() => "execute-api",
            None => service.as_str(),
        };
        Self {
            name: name.to_owned(),
            region: gateway_region.unwrap_or(region).to_owned(),
            identity: Identity::from(credentials),
        }
    }

    /// Adds the headers of a signature.
    fn sign(
        &self,
        request: &mut Request<String>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let parameters = SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name(&self.name)
            .time(SystemTime::from(jiff::Timestamp::from(Timestamp::now())))
            .settings(SigningSettings::default())
            .build()?
            .into();
        let headers = request.headers().iter();
        let headers =
            headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable = SignableRequest::new(
            request.method().as_str(),
            request.uri().to_string(),
            headers,
            SignableBody::Bytes(request.body().as_bytes()),
        )?;
        let (instructions, _) = sign(signable, &parameters)?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}

/// The endpoint of the AWS configuration.
fn configured_endpoint(aws: &SdkConfig, service: Service) -> Result<Option<Url>, ClientError> {
    let url = endpoints::endpoint(
        aws,
        match service {
            Service::Ecr => "ecr",
            Service::EcrPublic => "ecr_public",
        },
    );
    url.map(|url| parse_http_url(&url).map_err(ClientError::Endpoint)).transpose()
}

/// The URL of the catalog that listens on an address.
async fn listening_on(address: &str) -> io::Result<Url> {
    let address = options::reachable(options::resolve(address).await?);
    Url::parse(&format!("http://{address}")).map_err(io::Error::other)
}

/// Whether a URL is one of this computer.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The credentials that the AWS CLI has.
async fn credentials(aws: &SdkConfig, url: &Url) -> Result<Credentials, CredentialsError> {
    if is_loopback(url) {
        // Such a catalog knows access keys of its own, and no roles. To find out that the computer
        // has none may take seconds.
        let environment = EnvironmentVariableCredentialsProvider::new();
        let profile = ProfileFileCredentialsProvider::builder().build();
        let chain = CredentialsProviderChain::first_try("Environment", environment);
        return chain.or_else("Profile", profile).provide_credentials().await;
    }
    match aws.credentials_provider() {
        Some(provider) => provider.provide_credentials().await,
        None => Err(CredentialsError::not_loaded_no_source()),
    }
}

/// The region in a host name of API Gateway.
fn api_gateway_region(url: &Url) -> Option<&str> {
    let host = url.host_str().filter(|host| is_of_api_gateway(host))?;
    host.split('.').nth(2)
}

fn request(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Request<String>, ClientError> {
    let builder = Request::builder().method(method).uri(url);
    let builder =
        headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    builder.body(body.to_owned()).map_err(|error| ClientError::Request(error.into()))
}

/// The body of a response, unless it is an error.
fn accept(status: StatusCode, body: String) -> Result<String, Refusal> {
    if status == StatusCode::OK {
        return Ok(body);
    }
    /// An error of the API, of API Gateway, or of the catalog elsewhere.
    #[derive(Default, Deserialize)]
    struct Body {
        #[serde(rename = "__type")]
        name: Option<String>,
        #[serde(alias = "Message")]
        message: Option<String>,
    }
    let Body { name, message } = serde_json::from_str(&body).unwrap_or_default();
    Err(Refusal { status, name, message })
}

impl Refusal {
    /// API Gateway has no name for it, and these messages.
    fn requires_signature(&self) -> bool {
        let message = self.message.as_deref();
        match self.name.as_deref() {
            Some(name) => name == "MissingAuthenticationTokenException",
            None => {
                self.status == StatusCode::FORBIDDEN
                    && matches!(message, Some("Forbidden" | "Missing Authentication Token"))
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, name, message } = self;
        let text = match (name, message) {
            (Some(name), Some(message)) => format!("{message} ({name})"),
            (Some(text), None) => format!("{text} ({status})"),
            (None, Some(text)) => format!("the status {status}: {text}"),
            (None, None) => format!("the status {status}"),
        };
        formatter.write_str(&printable(&text))
    }
}

impl ClientError {
    /// Whether the same request may succeed soon.
    fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { source, .. } => !source.is_connect(),
            Self::Refused(Refusal { status, name, .. }) => {
                status.is_server_error()
                    || *status == StatusCode::TOO_MANY_REQUESTS
                    || name.as_ref().is_some_and(|name| name.contains("Throttling"))
            }
            _ => false,
        }
    }
}
