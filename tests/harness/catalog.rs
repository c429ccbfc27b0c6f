//! A catalog in this process.

use std::sync::Arc;

use catalog::{RegistryId, Service};
use describe_images::access_keys::{AccessKeys, Authentication};
use describe_images::page_token::Keyring;
use image_catalog::aws::api_gateway::Server;
use image_catalog::aws::connections::Limits;
use registries::Subscriptions;
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
        Self::serve(listener, store, keys, None, None, registry, Limits::of_process())
    }

    /// Returns when the requests in flight are completed and connections are refused.
    pub async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        (&mut self.serving).await.unwrap();
    }

    /// A catalog with these limits of connections.
    pub async fn start_limited(store: Store, limits: Limits) -> Self {
        let (keys, registry) =
            (Keyring::generate_key().unwrap(), RegistryId::parse(REGISTRY).unwrap());
        Self::serve(any_port().await, store, &keys, None, None, registry, limits)
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
        let subscriptions = Subscriptions::parse(&subscriptions.to_string()).unwrap();
        let (keys, registry) =
            (Keyring::generate_key().unwrap(), RegistryId::parse(REGISTRY).unwrap());
        Self::serve(any_port().await, store, &keys, None, Some(subscriptions), registry, limits)
    }

    /// A catalog that authenticates the callers in `callers`, a list of access keys, if
    /// their signatures are for the signing name.
    pub async fn start_for(store: Store, callers: &Value, signing_name: Option<&str>) -> Self {
        Self::start_authenticated(store, authentication(callers, signing_name)).await
    }

    /// A catalog that authenticates callers.
    pub async fn start_authenticated(store: Store, callers: Authentication) -> Self {
        let (keys, registry) =
            (Keyring::generate_key().unwrap(), RegistryId::parse(REGISTRY).unwrap());
        let limits = Limits::of_process();
        Self::serve(any_port().await, store, &keys, Some(callers), None, registry, limits)
    }

    fn serve(
        listener: TcpListener,
        store: Store,
        keys: &str,
        authentication: Option<Authentication>,
        subscriptions: Option<Subscriptions>,
        default_registry: RegistryId,
        limits: Limits,
    ) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server {
            api: store.api(Keyring::parse(keys).unwrap()),
            authentication,
            ingest: Arc::new(store.ingest_of(subscriptions.clone().unwrap_or_default())),
            subscriptions,
            default_registry,
            default_service: Service::Ecr,
            page: None,
        };
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let serving =
            tokio::spawn(async move { server.run(listener, limits, stopped).await.unwrap() });
        Self { url, store, stop: Some(stop), serving }
    }
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
