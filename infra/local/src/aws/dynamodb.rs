//! The embedded DynamoDB engine: an HTTP client of the SDK that passes each request to a database
//! in this process, without a socket and without another program.

use std::path::Path;

use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use dynoxide::actions::transact_write_items::TransactWriteItemsRequest;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A DynamoDB in this process, in a SQLite file or in memory.
#[derive(Clone)]
pub struct Engine {
    database: Database,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Engine")
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the embedded database failed")]
pub struct EngineError(#[from] DynoxideError);

impl Engine {
    /// Opens or creates a database in a file.
    pub fn open(file: &Path) -> Result<Self, EngineError> {
        Ok(Self { database: Database::new(&file.to_string_lossy())? })
    }

    /// Creates a database that ends with the process.
    pub fn in_memory() -> Result<Self, EngineError> {
        Ok(Self { database: Database::memory()? })
    }

    /// A client that talks to this database.
    #[must_use]
    pub fn client(&self) -> aws_sdk_dynamodb::Client {
        let configuration = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("local"))
            .endpoint_url("http://embedded")
            .allow_no_auth()
            .http_client(self.clone())
            .build();
        aws_sdk_dynamodb::Client::from_conf(configuration)
    }

    /// Removes expired items, as DynamoDB does by itself. Returns how many.
    pub fn remove_expired(&self) -> Result<usize, EngineError> {
        Ok(self.database.sweep_ttl()?)
    }

    fn answer(&self, operation: &str, body: &[u8]) -> Result<String, DynoxideError> {
        let database = &self.database;
        match operation {
            "CreateTable" => call(body, |request| database.create_table(request)),
            "DescribeTable" => call(body, |request| database.describe_table(request)),
            "DescribeTimeToLive" => call(body, |request| database.describe_time_to_live(request)),
            "UpdateTimeToLive" => call(body, |request| database.update_time_to_live(request)),
            "GetItem" => call(body, |request| database.get_item(request)),
            "BatchGetItem" => call(body, |request| database.batch_get_item(request)),
            "Query" => call(body, |request| database.query(request)),
            "PutItem" => call(body, |request| database.put_item(request)),
            "DeleteItem" => call(body, |request| database.delete_item(request)),
            "Scan" => call(body, |request| database.scan(request)),
            "TransactWriteItems" => call(body, |mut request: TransactWriteItemsRequest| {
                // The token is for requests that are repeated because the response was lost, which
                // cannot happen here. The engine gets slower with each token.
                request.client_request_token = None;
                database.transact_write_items(request)
            }),
            _ => Err(DynoxideError::ValidationException(format!(
                "{operation} is not used by the catalog"
            ))),
        }
    }
}

fn call<Request: DeserializeOwned, Response: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Request) -> Result<Response, DynoxideError>,
) -> Result<String, DynoxideError> {
    let failed =
        |error: serde_json::Error| DynoxideError::SerializationException(error.to_string());
    let request = serde_json::from_slice(body).map_err(failed)?;
    serde_json::to_string(&operation(request)?).map_err(failed)
}

impl HttpConnector for Engine {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let engine = self.clone();
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body = request.body().bytes().map(<[u8]>::to_vec).unwrap_or_default();
        // The database blocks, on its lock and on its file.
        let answer = tokio::task::spawn_blocking(move || engine.answer(&operation, &body));
        HttpConnectorFuture::new(async move {
            let answer = answer.await.map_err(|error| ConnectorError::other(error.into(), None))?;
            let (status, body) = match answer {
                Ok(body) => (200, body),
                Err(error) => (error.status_code(), error.to_json()),
            };
            let status = StatusCode::try_from(status)
                .map_err(|error| ConnectorError::other(error.into(), None))?;
            Ok(HttpResponse::new(status, SdkBody::from(body)))
        })
    }
}

impl HttpClient for Engine {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
