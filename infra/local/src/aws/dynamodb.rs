//! The embedded DynamoDB engine: an HTTP client of the SDK that passes each request to a database
//! in this process, without a socket and without another program.

mod pool;

use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use aws_sdk_dynamodb::config::{BehaviorVersion, Region, StalledStreamProtectionConfig};
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
use rusqlite::{Connection, ErrorCode, OpenFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use self::pool::Pool;

/// Connections that read. Each has a cache of 2 MB.
const MAX_READERS: usize = 4;

/// A DynamoDB in this process, in a SQLite file or in memory.
#[derive(Clone)]
pub struct Engine {
    connections: Arc<Connections>,
}

/// The connections to one database.
struct Connections {
    /// Closed first: the last connection to be closed moves the WAL into the file, which one that
    /// only reads cannot do.
    version: Version,
    writer: Arc<Pool>,
    /// They see every committed change, and do not wait for the writer. `None` if the database is in
    /// memory, where it has only one connection.
    readers: Option<Arc<Pool>>,
    /// The writer's connection, too. It is shared between the items that expire.
    sweeper: Arc<Pool>,
}

/// What tells that the database has changed.
enum Version {
    /// SQLite knows of the changes of all connections and processes.
    OfFile(Mutex<Connection>),
    /// The number of requests that change a database in memory.
    InMemory(AtomicU64),
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Engine")
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the embedded database failed")]
pub enum EngineError {
    Database(#[from] DynoxideError),
    /// Its work could not be begun or completed.
    Work(#[from] ConnectorError),
}

impl EngineError {
    /// Whether SQLite cannot open the database, or cannot write it or the files beside it.
    #[must_use]
    pub fn is_of_access(&self) -> bool {
        let Self::Database(DynoxideError::SqliteError(error)) = self else { return false };
        matches!(error.sqlite_error_code(), Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen))
    }
}

/// Whether a file is a database of the engine with this table. Nothing is changed, also if it is of
/// another program.
pub fn has_table(file: &Path, name: &str) -> Result<bool, EngineError> {
    let found = open_to_read(file).and_then(|connection| {
        let exists = |query, name: &str| connection.prepare(query)?.exists([name]);
        Ok(exists("SELECT 1 FROM sqlite_master WHERE name = ?1", "_tables")?
            && exists("SELECT 1 FROM _tables WHERE table_name = ?1", name)?)
    });
    match found {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => Ok(false),
        found => Ok(found.map_err(DynoxideError::from)?),
    }
}

/// SQLite creates files beside a database also for a connection that only reads, unless it is told
/// that the database is immutable. Without a WAL that is so: no process has it open.
fn open_to_read(file: &Path) -> rusqlite::Result<Connection> {
    let mut wal = file.as_os_str().to_owned();
    wal.push("-wal");
    if !Path::new(&wal).exists()
        && let Ok(file) = std::path::absolute(file)
        && let Ok(mut url) = Url::from_file_path(file)
    {
        url.set_query(Some("immutable=1"));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        return Connection::open_with_flags(url.as_str(), flags);
    }
    Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

impl Engine {
    /// Opens or creates a database in a file, whose path must be UTF-8: the engine takes a text.
    pub fn open(file: &Path) -> Result<Self, EngineError> {
        let open = || Database::new(&file.to_string_lossy());
        let writer = open()?;
        let readers = available_parallelism().map_or(1, NonZero::get).min(MAX_READERS);
        let readers = (0..readers).map(|_| open()).collect::<Result<_, _>>()?;
        let version = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let version = version.map_err(DynoxideError::from)?;
        // No request waits for another process: without the version, it reads.
        version.busy_timeout(Duration::ZERO).map_err(DynoxideError::from)?;
        Ok(Self::new(writer, Some(Pool::new(readers)), Version::OfFile(Mutex::new(version))))
    }

    /// Creates a database that ends with the process.
    pub fn in_memory() -> Result<Self, EngineError> {
        Ok(Self::new(Database::memory()?, None, Version::InMemory(AtomicU64::new(0))))
    }

    fn new(writer: Database, readers: Option<Arc<Pool>>, version: Version) -> Self {
        let sweeper = Pool::new(vec![writer.clone()]);
        let writer = Pool::new(vec![writer]);
        Self { connections: Arc::new(Connections { version, writer, readers, sweeper }) }
    }

    /// Writes a copy of this database to an empty file.
    pub async fn copy_to(&self, file: &Path) -> Result<(), EngineError> {
        let file = file.to_string_lossy().into_owned();
        let copied = self.connections.writer.run(move |database| database.vacuum_into(&file));
        Ok(copied.await??)
    }

    /// A number that is another one after each change of the database, at the latest once the change
    /// is answered. `None` if it cannot be read.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        match &self.connections.version {
            Version::OfFile(connection) => {
                let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                let mut statement = connection.prepare_cached("PRAGMA data_version").ok()?;
                statement.query_row([], |row| row.get(0)).ok()
            }
            Version::InMemory(changes) => Some(changes.load(Ordering::SeqCst)),
        }
    }

    /// A client that talks to this database.
    #[must_use]
    pub fn client(&self) -> aws_sdk_dynamodb::Client {
        let configuration = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("local"))
            .endpoint_url("http://embedded")
            .allow_no_auth()
            // There is no network that could fail. A large request may take seconds.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(self.clone())
            .build();
        aws_sdk_dynamodb::Client::from_conf(configuration)
    }

    /// Removes expired items, as DynamoDB does by itself. Returns how many.
    pub async fn remove_expired(&self) -> Result<usize, EngineError> {
        let Connections { sweeper, .. } = &*self.connections;
        Ok(self.change_by(sweeper, Database::sweep_ttl).await??)
    }

    /// Answers a request of the SDK.
    async fn answer(
        &self,
        operation: String,
        body: Vec<u8>,
    ) -> Result<Result<String, DynoxideError>, ConnectorError> {
        match operation.as_str() {
            "GetItem" => {
                self.read(move |database| call(&body, |request| database.get_item(request))).await
            }
            "BatchGetItem" => {
                self.read(move |database| call(&body, |request| database.batch_get_item(request)))
                    .await
            }
            "Query" => {
                self.read(move |database| call(&body, |request| database.query(request))).await
            }
            "Scan" => {
                self.read(move |database| call(&body, |request| database.scan(request))).await
            }
            _ => {
                let change = move |database: &Database| change(database, &operation, &body);
                self.change_by(&self.connections.writer, change).await
            }
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> T + Send + 'static,
    ) -> Result<T, ConnectorError> {
        let Connections { readers, writer, .. } = &*self.connections;
        readers.as_ref().unwrap_or(writer).run(read).await
    }

    async fn change_by<T: Send + 'static>(
        &self,
        pool: &Arc<Pool>,
        change: impl FnOnce(&Database) -> T + Send + 'static,
    ) -> Result<T, ConnectorError> {
        let connections = Arc::clone(&self.connections);
        let work = move |database: &Database| {
            let result = change(database);
            // Also of a change that failed: a part of it may have been made.
            if let Version::InMemory(changes) = &connections.version {
                changes.fetch_add(1, Ordering::SeqCst);
            }
            result
        };
        pool.run(work).await
    }
}

/// Requests about the table itself, and those that change items.
fn change(database: &Database, operation: &str, body: &[u8]) -> Result<String, DynoxideError> {
    match operation {
        "CreateTable" => call(body, |request| database.create_table(request)),
        "DescribeTable" => call(body, |request| database.describe_table(request)),
        "DescribeTimeToLive" => call(body, |request| database.describe_time_to_live(request)),
        "UpdateTimeToLive" => call(body, |request| database.update_time_to_live(request)),
        "PutItem" => call(body, |request| database.put_item(request)),
        "DeleteItem" => call(body, |request| database.delete_item(request)),
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
        HttpConnectorFuture::new(async move {
            let answer = engine.answer(operation, body).await?;
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
