//! The connections of the server: how many there are, how long each may keep the server waiting,
//! and how many bytes of bodies they hold together.
//!
//! A connection *waits* while the server waits for its client: for a request, for the rest of a
//! body, or for the client to read a response. Only connections that wait are closed for others.
//! So silent and slow clients keep nobody waiting, however many they are.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// At most, however many files the process may open.
const MAX_CONNECTIONS: usize = 1000;

/// Of the bodies of all requests and responses.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// What each connection may hold without being closed for the bytes of others.
const SHARE: usize = MAX_BYTES / MAX_CONNECTIONS;

/// For a request after the one before it, for a body, and for a response to be read.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// The bytes of a request's line and headers.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// For requests that are in progress when the process is to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// After an error of the listener, such as a lack of memory.
const ACCEPT_DELAY: Duration = Duration::from_millis(100);

/// The limits of a server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connections: usize,
    /// Of the bodies of all requests and responses.
    pub bytes: usize,
    /// How long a connection may wait for its client.
    pub wait: Duration,
}

impl Limits {
    /// Half of the files that this process may open are for connections.
    #[must_use]
    pub fn of_process() -> Self {
        let files = getrlimit(Resource::Nofile).current;
        let files = files.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
        let connections = (files / 2).clamp(1, MAX_CONNECTIONS);
        Self { connections, bytes: MAX_BYTES, wait: WAIT_TIMEOUT }
    }
}

/// The connections of a server.
#[derive(Debug)]
struct Connections {
    limits: Limits,
    table: Mutex<Table>,
    /// One of them has ended, or begins to wait.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    last_id: u64,
    bytes: usize,
    entries: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    peer: IpAddr,
    /// `None` while the server works on a request.
    waiting_since: Option<Instant>,
    /// Of the body that it holds.
    bytes: usize,
    /// Notified when the connection is to be closed.
    close: Arc<Notify>,
}

/// The bodies in progress hold as much as all may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server is receiving more than it can hold; send the request again")]
pub(super) struct TooManyBytes;

/// A connection, as the handler of its request sees it.
#[derive(Debug)]
pub(super) struct Connection {
    id: u64,
    close: Arc<Notify>,
    connections: Arc<Connections>,
}

/// Serves HTTP/1.1 until `ended`, and then completes the requests that are in progress.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    ended: impl Future<Output = ()>,
) {
    let connections =
        Arc::new(Connections { limits, table: Mutex::default(), changed: Notify::new() });
    let router = TowerToHyperService::new(router);
    let shutdown = GracefulShutdown::new();
    let accept = async {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    log_accept_error(&error);
                    sleep(ACCEPT_DELAY).await;
                    continue;
                }
            };
            // A response is written at once. Without this, the system may hold it back.
            let _ = stream.set_nodelay(true);
            let connection = Arc::new(connections.admit(peer.ip()).await);
            let requests = http1::Builder::new()
                .max_buf_size(MAX_HEAD_BYTES)
                .serve_connection(TokioIo::new(stream), service(router.clone(), &connection));
            let requests = shutdown.watch(requests);
            tokio::spawn(async move {
                tokio::select! {
                    result = requests => {
                        if let Err(error) = result {
                            tracing::debug!(%peer, %error, "a connection failed");
                        }
                    }
                    () = connection.closed() => tracing::debug!(%peer, "closed a connection"),
                }
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = ended => {}
    }
    drop(listener);
    if timeout(SHUTDOWN_TIMEOUT, shutdown.shutdown()).await.is_err() {
        tracing::warn!("requests in progress did not end in time");
    }
}

fn log_accept_error(error: &io::Error) {
    // The client has gone.
    if error.kind() != io::ErrorKind::ConnectionAborted {
        tracing::error!(%error, "a connection cannot be accepted");
    }
}

/// Responds to the requests of a connection. Handlers find it among the request's extensions.
fn service(
    router: TowerToHyperService<Router>,
    connection: &Arc<Connection>,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = Response,
    Error = Infallible,
    Future: Send + 'static,
> + use<> {
    let connection = Arc::clone(connection);
    service_fn(move |mut request: Request<Incoming>| {
        connection.works();
        request.extensions_mut().insert(Arc::clone(&connection));
        let (response, connection) = (router.call(request), Arc::clone(&connection));
        async move {
            let response = response.await?;
            let bytes = usize::try_from(response.body().size_hint().lower()).unwrap_or(usize::MAX);
            connection.responds(bytes);
            Ok(response)
        }
    })
}

impl Connections {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a connection, and closes another one if there are too many. If the server works on
    /// requests of all of them, waits for one.
    async fn admit(self: &Arc<Self>, peer: IpAddr) -> Connection {
        loop {
            {
                let mut table = self.table();
                if table.entries.len() < self.limits.connections || table.close_for_another() {
                    return Connection {
                        close: Arc::clone(&table.insert(peer).close),
                        id: table.last_id,
                        connections: Arc::clone(self),
                    };
                }
            }
            self.changed.notified().await;
        }
    }
}

impl Table {
    fn insert(&mut self, peer: IpAddr) -> &Entry {
        self.last_id += 1;
        let (waiting_since, close) = (Some(Instant::now()), Arc::new(Notify::new()));
        self.entries.entry(self.last_id).or_insert(Entry { peer, waiting_since, bytes: 0, close })
    }

    /// Closes the connection that waits the longest, of the address with the most connections that
    /// wait.
    fn close_for_another(&mut self) -> bool {
        let mut waiting: HashMap<IpAddr, usize> = HashMap::new();
        for entry in self.entries.values().filter(|entry| entry.waiting_since.is_some()) {
            *waiting.entry(entry.peer).or_default() += 1;
        }
        let most = waiting.values().max().copied().unwrap_or_default();
        self.close_longest_waiting(|entry| waiting.get(&entry.peer) == Some(&most))
    }

    /// Closes one of the connections that wait.
    fn close_longest_waiting(&mut self, is_candidate: impl Fn(&Entry) -> bool) -> bool {
        let candidates = self.entries.iter().filter(|(_, entry)| is_candidate(entry));
        let longest = candidates
            .filter_map(|(id, entry)| Some((entry.waiting_since?, *id)))
            .min()
            .map(|(_, id)| id);
        longest.is_some_and(|id| self.remove(id))
    }

    fn remove(&mut self, id: u64) -> bool {
        let Some(entry) = self.entries.remove(&id) else { return false };
        self.bytes -= entry.bytes;
        entry.close.notify_one();
        true
    }

    fn hold(&mut self, id: u64, bytes: usize) {
        if let Some(entry) = self.entries.get_mut(&id) {
            self.bytes = self.bytes - entry.bytes + bytes;
            entry.bytes = bytes;
        }
    }

    /// Holds bytes. If all connections together hold too many, those that wait and hold more than
    /// their share are closed, the one that waits the longest first.
    fn hold_within(&mut self, limit: usize, id: u64, bytes: usize) -> Result<(), TooManyBytes> {
        self.hold(id, bytes);
        while self.bytes > limit {
            if !self.close_longest_waiting(|entry| entry.bytes > SHARE) {
                return Err(TooManyBytes);
            }
        }
        Ok(())
    }

    fn set_waiting(&mut self, id: u64, waiting_since: Option<Instant>) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.waiting_since = waiting_since;
        }
    }
}

impl Connection {
    /// The server works on a request, and holds no body yet.
    fn works(&self) {
        let mut table = self.connections.table();
        table.set_waiting(self.id, None);
        table.hold(self.id, 0);
    }

    /// The client is to read a response.
    fn responds(&self, bytes: usize) {
        let mut table = self.connections.table();
        table.set_waiting(self.id, Some(Instant::now()));
        // If that is too much, others are closed, or this one.
        let _ = table.hold_within(self.connections.limits.bytes, self.id, bytes);
        drop(table);
        self.connections.changed.notify_one();
    }

    /// The client is to send a body, until the returned value is dropped.
    pub(super) fn receives(&self) -> Receiving<'_> {
        self.connections.table().set_waiting(self.id, Some(Instant::now()));
        self.connections.changed.notify_one();
        Receiving(self)
    }

    /// Ends when the connection is closed for others, or because it waits for too long.
    async fn closed(&self) {
        let Limits { wait, .. } = self.connections.limits;
        let overdue = async {
            let mut deadline = Instant::now() + wait;
            loop {
                sleep_until(deadline).await;
                let table = self.connections.table();
                let Some(entry) = table.entries.get(&self.id) else { break };
                let now = Instant::now();
                deadline = entry.waiting_since.unwrap_or(now) + wait;
                if deadline <= now {
                    break;
                }
            }
        };
        tokio::select! {
            () = self.close.notified() => {}
            () = overdue => {}
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.table().remove(self.id);
        self.connections.changed.notify_one();
    }
}

/// A body that a client is sending.
#[derive(Debug)]
pub(super) struct Receiving<'a>(&'a Connection);

impl Receiving<'_> {
    /// Holds so many bytes of the body.
    pub(super) fn hold(&self, bytes: usize) -> Result<(), TooManyBytes> {
        let Connection { id, connections, .. } = self.0;
        connections.table().hold_within(connections.limits.bytes, *id, bytes)
    }
}

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        self.0.connections.table().set_waiting(self.0.id, None);
    }
}
