//! What is kept between starts: the database, and the keys of page tokens beside it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use describe_images::page_token::{InvalidKeyring, Keyring};
use subscriptions::{InvalidSubscriptions, Subscriptions};

use crate::engine::{Engine, EngineError};

const DATABASE_FILE: &str = "catalog.sqlite";
const KEYS_FILE: &str = "page-token-keys";

/// The data cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The database.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The keys.
    #[error("{path}: {error}")]
    Keys {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: InvalidKeyring,
    },
    /// The subscriptions.
    #[error("{path}: {error}")]
    Subscriptions {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: InvalidSubscriptions,
    },
    /// The system has no randomness to give.
    #[error("no random key can be made")]
    Randomness,
}

/// Reads a file of subscriptions.
///
/// # Errors
/// It cannot be read, or is something else.
pub fn read_subscriptions(file: &Path) -> Result<Subscriptions, DataError> {
    let path = file.display().to_string();
    match fs::read_to_string(file) {
        Ok(text) => {
            Subscriptions::parse(&text).map_err(|error| DataError::Subscriptions { path, error })
        }
        Err(error) => Err(DataError::File { path, error }),
    }
}

/// Opens or creates the database in a directory.
///
/// # Errors
/// The directory or the file cannot be used.
pub fn open_engine(directory: &Path) -> Result<Engine, DataError> {
    create_directory(directory)?;
    Ok(Engine::open(&directory.join(DATABASE_FILE))?)
}

/// Reads the keys of page tokens from a directory; makes one the first time. To rotate, put a new
/// line on top, and remove the last line when its tokens may end.
///
/// # Errors
/// The file cannot be used, or holds something else.
pub fn open_keyring(directory: &Path) -> Result<Keyring, DataError> {
    create_directory(directory)?;
    let file = directory.join(KEYS_FILE);
    let failed = |error| DataError::File { path: file.display().to_string(), error };
    if !file.try_exists().map_err(failed)? {
        create_keys(directory, &file)?;
    }
    let text = fs::read_to_string(&file).map_err(failed)?;
    Keyring::parse(&text)
        .map_err(|error| DataError::Keys { path: file.display().to_string(), error })
}

/// Makes the file of keys, unless another process makes it first. It is written under another name,
/// so that it is never there half.
fn create_keys(directory: &Path, file: &Path) -> Result<(), DataError> {
    let key = Keyring::generate_key().ok_or(DataError::Randomness)?;
    let draft = directory.join(format!("{KEYS_FILE}.{}", std::process::id()));
    let write = || {
        let mut writer =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        writer.write_all(key.as_bytes())?;
        writer.sync_all()?;
        match fs::hard_link(&draft, file) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => fs::remove_file(&draft),
        }
    };
    write().map_err(|error| DataError::File { path: file.display().to_string(), error })
}

/// Makes keys that go with the process.
///
/// # Errors
/// The system has no randomness to give.
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
