//! Responses to the requests of SDK clients, in this process.

use std::fmt::{self, Debug};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use serde_json::Value;

use super::fixtures::REGION;

/// Responds to the requests of an SDK's client in this process, in place of a service.
#[derive(Clone)]
pub struct InProcess<F>(pub F);

impl<F> Debug for InProcess<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("InProcess")
    }
}

impl<F, A> HttpConnector for InProcess<F>
where
    F: Fn(HttpRequest) -> A + Send + Sync + 'static,
    A: Future<Output = Result<HttpResponse, ConnectorError>> + Send + 'static,
{
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new((self.0)(request))
    }
}

impl<F, A> HttpClient for InProcess<F>
where
    F: Fn(HttpRequest) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<HttpResponse, ConnectorError>> + Send + 'static,
{
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// A client configuration with such an HTTP client.
pub fn configuration(http_client: impl HttpClient + 'static) -> aws_config::SdkConfig {
    aws_config::SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(aws_sdk_dynamodb::config::SharedCredentialsProvider::new(
            Credentials::new("key", "secret", None, None, "tests"),
        ))
        .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(
            aws_smithy_async::rt::sleep::TokioSleep::new(),
        ))
        .time_source(aws_smithy_async::time::SystemTimeSource::new())
        .http_client(http_client)
        .build()
}

/// A DynamoDB client configuration with such an HTTP client, as
/// [`image_catalog::aws::dynamodb::Engine::client`] has it.
pub fn engine_client(http_client: impl HttpClient + 'static) -> aws_sdk_dynamodb::config::Builder {
    aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("local"))
        .endpoint_url("http://embedded")
        .allow_no_auth()
        .http_client(http_client)
}

/// A response in JSON.
pub fn json_response(status: u16, body: &Value) -> HttpResponse {
    HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body.to_string()))
}

/// The operation of a request, and its body.
pub fn operation(request: &HttpRequest) -> (String, Value) {
    let target = request.headers().get("x-amz-target").unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    (operation, serde_json::from_slice(request.body().bytes().unwrap_or_default()).unwrap())
}
