//! A catalog in this process.

use std::sync::Arc;

use catalog::{RegistryId, Service};
use describe_images::access_keys::{AccessKeys, Authentication};
use describe_images::page_token::Keyring;
use image_catalog::aws::api_gateway::Server;
use image_catalog::aws::connections::Limits;
use image_catalog::aws::reconcile_schedule::ReconcileSchedule;
use image_catalog::page::Page;
use image_catalog::status::Status;
use image_catalog::status::deliveries::Deliveries;
use registries::{RegistryTargets, Subscriptions};
use secret::Secret;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::fixtures::{REGION, REGISTRY};
use super::store::Store;

/// A catalog that serves on a port of its own until it is dropped.
#[derive(Debug)]
pub struct Catalog {
    /// `http://127.0.0.1:<port>`
    pub url: String,
    pub store: Store,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Catalog {
    /// An empty catalog, in memory.
    pub async fn start() -> Self {
        Self::start_with(Store::in_memory().await, &Keyring::generate_key().unwrap()).await
    }

    /// A catalog on a given table, with given page token keys.
    pub async fn start_with(store: Store, keys: &str) -> Self {
        let registry = RegistryId::parse(REGISTRY).unwrap();
        Self::listen(any_port().await, store, keys, registry)
    }

    /// A catalog on a given port, with a given default registry.
    pub fn listen(listener: TcpListener, store: Store, keys: &str, registry: RegistryId) -> Self {
        let server = Server { default_registry: registry, ..default_server(&store, keys) };
        Self::serve(listener, store, server, Limits::of_process())
    }

    /// Returns when the requests in flight are completed and connections are refused.
    pub async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        (&mut self.serving).await.unwrap();
    }

    /// A catalog with these limits of connections.
    pub async fn start_limited(store: Store, limits: Limits) -> Self {
        let server = default_server(&store, &Keyring::generate_key().unwrap());
        Self::serve(any_port().await, store, server, limits)
    }

    /// A catalog that accepts events of these subscriptions only.
    pub async fn start_subscribed(store: Store, subscriptions: &Value) -> Self {
        Self::start_subscribed_limited(store, subscriptions, Limits::of_process()).await
    }

    /// The same, with these limits of connections.
    pub async fn start_subscribed_limited(
        store: Store,
        subscriptions: &Value,
        limits: Limits,
    ) -> Self {
        let server = subscribed_server(&store, subscriptions);
        Self::serve(any_port().await, store, server, limits)
    }

    /// The same, with callers who must sign.
    pub async fn start_subscribed_for(
        store: Store,
        subscriptions: &Value,
        callers: &Value,
    ) -> Self {
        let server = Server {
            authentication: Some(authentication(callers, None)),
            ..subscribed_server(&store, subscriptions)
        };
        Self::serve(any_port().await, store, server, Limits::of_process())
    }

    /// A catalog that authenticates the callers in `callers`, a list of access keys, if
    /// their signatures are for the signing name.
    pub async fn start_for(store: Store, callers: &Value, signing_name: Option<&str>) -> Self {
        Self::start_authenticated(store, authentication(callers, signing_name)).await
    }

    /// A catalog that authenticates callers.
    pub async fn start_authenticated(store: Store, callers: Authentication) -> Self {
        let server = Server {
            authentication: Some(callers),
            ..default_server(&store, &Keyring::generate_key().unwrap())
        };
        Self::serve(any_port().await, store, server, Limits::of_process())
    }

    /// A catalog with the page for browsers. If there are `callers`, it authenticates them.
    pub async fn start_with_page(
        store: Store,
        callers: Option<&Value>,
        signing_name: Option<&str>,
    ) -> Self {
        let server = Server {
            authentication: callers.map(|callers| authentication(callers, signing_name)),
            page: Some(page(signing_name)),
            ..default_server(&store, &Keyring::generate_key().unwrap())
        };
        Self::serve(any_port().await, store, server, Limits::of_process())
    }

    /// A catalog with the page for browsers that accepts events of these subscriptions only.
    pub async fn start_subscribed_with_page(store: Store, subscriptions: &Value) -> Self {
        let server = Server { page: Some(page(None)), ..subscribed_server(&store, subscriptions) };
        Self::serve(any_port().await, store, server, Limits::of_process())
    }

    fn serve(listener: TcpListener, store: Store, server: Server, limits: Limits) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let serving =
            tokio::spawn(async move { server.run(listener, None, limits, stopped).await.unwrap() });
        Self { url, store, stop: Some(stop), serving }
    }
}

/// A server that requires no signature and no credential, and has no page.
fn default_server(store: &Store, keys: &str) -> Server {
    Server {
        api: store.api(Keyring::parse(keys).unwrap()),
        authentication: None,
        ingest: Arc::new(store.ingest_of(Subscriptions::default())),
        subscriptions: None,
        default_registry: RegistryId::parse(REGISTRY).unwrap(),
        default_service: Service::Ecr,
        page: None,
        status: Arc::new(status(store, &Subscriptions::default())),
    }
}

/// The page for browsers, where signatures are for this name.
fn page(signing_name: Option<&str>) -> Page {
    Page { region: REGION.to_owned(), signing_name: signing_name.map(str::to_owned) }
}

/// A server that accepts events of these subscriptions only.
fn subscribed_server(store: &Store, subscriptions: &Value) -> Server {
    let subscriptions = Subscriptions::parse(&subscriptions.to_string()).unwrap();
    Server {
        ingest: Arc::new(store.ingest_of(subscriptions.clone())),
        status: Arc::new(status(store, &subscriptions)),
        subscriptions: Some(subscriptions),
        ..default_server(store, &Keyring::generate_key().unwrap())
    }
}

/// The status of a server that does not reconcile.
fn status(store: &Store, subscriptions: &Subscriptions) -> Status {
    let table = store.table.clone();
    let targets = RegistryTargets::new(None, subscriptions);
    let schedule = Arc::new(ReconcileSchedule::new(table.clone(), targets, None, false));
    Status::new(table, Deliveries::new(subscriptions), schedule, None)
}

/// The authentication of the callers in `callers`, a list of access keys.
pub fn authentication(callers: &Value, signing_name: Option<&str>) -> Authentication {
    let keys = AccessKeys::parse(&callers.to_string()).unwrap();
    let signing_name = signing_name.map(str::to_owned);
    Authentication::new(Secret::known(keys), REGION.to_owned(), signing_name)
}

async fn any_port() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

impl Drop for Catalog {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
