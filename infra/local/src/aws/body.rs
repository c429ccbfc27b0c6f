//! The bodies of requests.

use std::time::Duration;

use axum::body::Body;
use futures_util::{Stream, StreamExt as _};
use tokio::time::timeout;

use super::connections::{Connection, TooManyBytes};

/// Bytes beyond a limit that are read and discarded.
const MAX_DISCARDED_BYTES: usize = 32 * 1024 * 1024;

/// How long bytes beyond a limit are read and discarded.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a body cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the request body ended early")]
    Incomplete(#[source] axum::Error),
    #[error(transparent)]
    TooManyBytes(#[from] TooManyBytes),
}

/// Reads a body. Of one that passes the limit it returns the beginning, which passes the limit too.
pub(super) async fn read(
    connection: &Connection,
    body: Body,
    limit: usize,
) -> Result<Vec<u8>, BodyError> {
    let receiving = connection.receives();
    let mut chunks = body.into_data_stream();
    let mut read = Vec::new();
    while let Some(chunk) = chunks.next().await {
        read.extend_from_slice(&chunk.map_err(BodyError::Incomplete)?);
        let held = receiving.hold(read.len());
        if held.is_err() || read.len() > limit {
            discard_chunks(chunks).await;
            held?;
            break;
        }
    }
    Ok(read)
}

/// Reads a body that is not needed.
pub(super) async fn discard(connection: &Connection, body: Body) {
    let _receiving = connection.receives();
    discard_chunks(body.into_data_stream()).await;
}

/// Many clients write a whole request before they read. A connection that is closed while they write
/// is reset, and they never see the response. A client that sends more than is read here, or is
/// slower, may see a reset.
async fn discard_chunks<T: AsRef<[u8]>, E>(mut chunks: impl Stream<Item = Result<T, E>> + Unpin) {
    let discarding = async {
        let mut left = MAX_DISCARDED_BYTES;
        while let Some(Ok(chunk)) = chunks.next().await
            && chunk.as_ref().len() <= left
        {
            left -= chunk.as_ref().len();
        }
    };
    let _ = timeout(DISCARD_TIMEOUT, discarding).await;
}
