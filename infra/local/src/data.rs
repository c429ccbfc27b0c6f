//! The files that the process reads and keeps: the database, the keys of page tokens, and the
//! subscriptions.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use aws_config::BehaviorVersion;
use catalog::Table;
use catalog::table::StoreError;
use describe_images::page_token::{InvalidKeyring, Keyring};
use registries::Subscriptions;
use registries::subscription::InvalidSubscriptions;
use uuid::Uuid;

use crate::aws::dynamodb::{self, Engine, EngineError};
use crate::aws::scheduler;
use crate::endpoints::parse_http_url;
use crate::options::Options;

const DATABASE_FILE: &str = "catalog.sqlite";
const KEYS_FILE: &str = "page-token-keys";

/// In the header of a SQLite file, the versions of the format that are necessary to write and to
/// read it: those of a database with a WAL. Two processes that open a database without one at the
/// same time would both make the change, and one of them fail.
/// <https://www.sqlite.org/fileformat2.html#file_format_version_numbers>
const WAL_VERSIONS: [u8; 2] = [2, 2];
const VERSIONS_OFFSET: u64 = 18;

/// The name of the variable with the address of another DynamoDB.
const ENDPOINT: &str = "AWS_ENDPOINT_URL_DYNAMODB";

/// Why the data cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{path}: {error}")]
    File { path: String, error: io::Error },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{path}: {error}")]
    Keys { path: String, error: InvalidKeyring },
    #[error("{path}: {error}")]
    Subscriptions { path: String, error: Box<InvalidSubscriptions> },
    /// Without the URL: it may contain a password.
    #[error("the endpoint in {ENDPOINT} cannot be used: {0}")]
    Endpoint(String),
    #[error("no random key can be made")]
    Randomness,
    #[error("there is no catalog in {0}, and {ENDPOINT} is not set")]
    NoCatalog(String),
    #[error("{path} is not the database of a catalog with the table {table}")]
    Foreign { path: String, table: String },
    #[error("the path {0} of the data is not UTF-8")]
    NotUtf8(String),
    #[error(
        "the directory {directory} and the files in it must be writable: SQLite keeps files beside \
         the database"
    )]
    NotWritable {
        directory: String,
        #[source]
        error: Box<EngineError>,
    },
    #[error("the table {table} {location}")]
    Table {
        table: String,
        location: String,
        #[source]
        error: StoreError,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A table that is open.
#[derive(Debug)]
pub struct OpenTable {
    pub table: Table,
    /// If it is the embedded one.
    pub engine: Option<Engine>,
    /// For messages.
    pub location: String,
}

/// Opens the table of the options, and creates it if it does not exist.
pub async fn open_table(options: &Options) -> Result<OpenTable, DataError> {
    let (client, engine, location) = open_dynamodb(options).await?;
    let table = Table { client, name: options.table.clone() };
    table.create_if_missing().await.map_err(|error| match engine {
        Some(_) => DataError::Store(error),
        None => DataError::Table { table: table.name.clone(), location: location.clone(), error },
    })?;
    engine.clone().map(|engine| tokio::spawn(scheduler::remove_expired(engine)));
    Ok(OpenTable { table, engine, location })
}

/// Opens the table of the options if it exists. Messages of a queue are deleted there once they are
/// applied, so that they must not go to a table that was named by mistake.
pub async fn open_existing_table(options: &Options) -> Result<Table, DataError> {
    let (table, engine) = find_table(options).await?;
    table.claim_format().await?;
    engine.map(|engine| tokio::spawn(scheduler::remove_expired(engine)));
    Ok(table)
}

/// Opens the table of the options if it exists, for a command that only reads.
pub async fn open_table_to_read(options: &Options) -> Result<Table, DataError> {
    let (table, _) = find_table(options).await?;
    table.check_format().await?;
    Ok(table)
}

/// The table of the options, unless it does not exist, and the engine if it is the embedded one.
async fn find_table(options: &Options) -> Result<(Table, Option<Engine>), DataError> {
    if endpoint().is_none() {
        check_database(&options.data, &options.table)?;
    }
    let (client, engine, location) = open_dynamodb(options).await?;
    let name = options.table.clone();
    let described = client.describe_table().table_name(&name).send().await;
    described.map_err(|error| DataError::Table {
        table: name.clone(),
        location,
        error: error.into(),
    })?;
    Ok((Table { client, name }, engine))
}

/// Fails unless a directory has the database of a catalog. The engine would make one of an empty
/// file, and of another program's database.
fn check_database(directory: &Path, table: &str) -> Result<(), DataError> {
    let file = directory.join(DATABASE_FILE);
    let path = || file.display().to_string();
    if !file.try_exists().map_err(|error| DataError::File { path: path(), error })? {
        return Err(DataError::NoCatalog(absolute(directory)));
    }
    let has_table = dynamodb::has_table(&file, table);
    if !has_table.map_err(|error| engine_error(directory, error))? {
        return Err(DataError::Foreign { path: path(), table: table.to_owned() });
    }
    Ok(())
}

/// The error of the database in a directory.
fn engine_error(directory: &Path, error: EngineError) -> DataError {
    if error.is_of_access() {
        DataError::NotWritable { directory: absolute(directory), error: Box::new(error) }
    } else {
        DataError::Engine(error)
    }
}

/// The address of another DynamoDB. To the AWS CLI, an empty variable is none.
fn endpoint() -> Option<String> {
    std::env::var(ENDPOINT).ok().filter(|endpoint| !endpoint.is_empty())
}

/// A client of the DynamoDB of the options, the engine if it is the embedded one, and where it is.
/// Items are not removed before the format of the table is known.
async fn open_dynamodb(
    options: &Options,
) -> Result<(aws_sdk_dynamodb::Client, Option<Engine>, String), DataError> {
    // What is in memory is in no table that others read.
    if !options.is_in_memory()
        && let Some(endpoint) = endpoint()
    {
        // The endpoint is in messages.
        parse_http_url(&endpoint).map_err(DataError::Endpoint)?;
        let configuration = aws_config::load_defaults(BehaviorVersion::latest()).await;
        let configuration = aws_sdk_dynamodb::Config::from(&configuration).to_builder();
        // Also where AWS_IGNORE_CONFIGURED_ENDPOINT_URLS has the SDK ignore it.
        let configuration = configuration.endpoint_url(&endpoint).build();
        let client = aws_sdk_dynamodb::Client::from_conf(configuration);
        return Ok((client, None, format!("in the DynamoDB at {endpoint}")));
    }
    let (engine, location) = if options.is_in_memory() {
        (Engine::in_memory()?, "in memory".to_owned())
    } else {
        (
            open_engine(&options.data, &options.table).await?,
            format!("in {}", absolute(&options.data)),
        )
    };
    Ok((engine.client(), Some(engine), location))
}

/// Reads a file of subscriptions.
pub fn read_subscriptions(file: &Path) -> Result<Subscriptions, DataError> {
    let path = file.display().to_string();
    warn_of_permissions(file);
    match fs::read_to_string(file) {
        Ok(text) => Subscriptions::parse(&text)
            .map_err(|error| DataError::Subscriptions { path, error: Box::new(error) }),
        Err(error) => Err(DataError::File { path, error }),
    }
}

/// Opens or creates the database in a directory, with a table.
pub async fn open_engine(directory: &Path, table: &str) -> Result<Engine, DataError> {
    // Before anything is created: the engine would use another path.
    if directory.to_str().is_none() {
        return Err(DataError::NotUtf8(directory.display().to_string()));
    }
    create_directory(directory)?;
    let file = directory.join(DATABASE_FILE);
    let failed = |error| DataError::File { path: file.display().to_string(), error };
    if !file.try_exists().map_err(failed)? {
        let draft = draft_of(&file);
        let failed = |error| DataError::File { path: draft.display().to_string(), error };
        let created = create_database(&draft, table).await;
        let published = created.and_then(|()| publish(&draft, &file).map_err(failed));
        if without_draft(&draft, published)? {
            // The process may run in another directory than was meant.
            tracing::info!("created a new, empty catalog in {}", absolute(directory));
        }
    }
    warn_of_permissions(&file);
    Engine::open(&file).map_err(|error| engine_error(directory, error))
}

/// Creates a database with an empty table. It is made in memory: in a file, each of its parts would
/// wait for the disk. SQLite gives the files beside it the same permissions.
async fn create_database(file: &Path, table: &str) -> Result<(), DataError> {
    let failed = |error| DataError::File { path: file.display().to_string(), error };
    let empty = create_private(file).map_err(failed)?;
    let engine = Engine::in_memory()?;
    Table { client: engine.client(), name: table.to_owned() }.create_if_missing().await?;
    engine.copy_to(file).await?;
    empty.write_all_at(&WAL_VERSIONS, VERSIONS_OFFSET).map_err(failed)?;
    empty.sync_all().map_err(failed)
}

/// The name of a file while it is made. No other process has it, also of another container.
fn draft_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}", Uuid::new_v4()));
    name.into()
}

/// Removes a draft that did not become a file: a program that is started again and again would
/// leave one each time.
fn without_draft<T, E>(draft: &Path, made: Result<T, E>) -> Result<T, E> {
    if made.is_err() {
        // The first error is the one to be reported.
        let _ = fs::remove_file(draft);
    }
    made
}

/// Creates a file that only this user may read.
fn create_private(file: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)
}

/// Gives a file its name, unless another process was first. Returns whether it has it.
fn publish(draft: &Path, file: &Path) -> io::Result<bool> {
    let is_first = match fs::hard_link(draft, file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        linked => linked.map(|()| true)?,
    };
    fs::remove_file(draft)?;
    Ok(is_first)
}

/// The whole path of a directory, for its user.
fn absolute(directory: &Path) -> String {
    std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned()).display().to_string()
}

/// Logs that other users of the computer can read a file with secrets, or change it.
pub(crate) fn warn_of_permissions(file: &Path) {
    let Ok(metadata) = fs::metadata(file) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    // Who is not the owner reads it as a member of its group.
    let is_owner = metadata.uid() == rustix::process::geteuid().as_raw();
    if mode & if is_owner { 0o077 } else { 0o037 } != 0 {
        tracing::warn!(
            "other users may read or change {}: its permissions are {mode:o}, not 600",
            file.display()
        );
    }
}

/// Reads the keys of page tokens in a directory, and creates the first one. To rotate the keys, add
/// a new first line, and remove the last line once its tokens need not be valid any longer.
pub fn open_keyring(directory: &Path) -> Result<Keyring, DataError> {
    create_directory(directory)?;
    let file = directory.join(KEYS_FILE);
    let failed = |error| DataError::File { path: file.display().to_string(), error };
    if !file.try_exists().map_err(failed)? {
        create_keys(&file)?;
    }
    warn_of_permissions(&file);
    let text = fs::read_to_string(&file).map_err(failed)?;
    Keyring::parse(&text)
        .map_err(|error| DataError::Keys { path: file.display().to_string(), error })
}

/// Creates the file of keys, unless another process does so first. It is written under another
/// name, so that no process reads a part of it.
fn create_keys(file: &Path) -> Result<(), DataError> {
    let key = Keyring::generate_key().ok_or(DataError::Randomness)?;
    let draft = draft_of(file);
    let write = || {
        let mut writer = create_private(&draft)?;
        writer.write_all(key.as_bytes())?;
        writer.sync_all()?;
        publish(&draft, file)
    };
    without_draft(&draft, write())
        .map(drop)
        .map_err(|error| DataError::File { path: file.display().to_string(), error })
}

/// Creates keys that end with the process.
pub fn keyring_in_memory() -> Result<Keyring, DataError> {
    Keyring::generate_key().and_then(|key| Keyring::parse(&key).ok()).ok_or(DataError::Randomness)
}

fn create_directory(directory: &Path) -> Result<(), DataError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| DataError::File { path: directory.display().to_string(), error })
}
