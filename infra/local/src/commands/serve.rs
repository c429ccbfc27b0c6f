//! `image-catalog`: serves the catalog.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use catalog::{Reader, Table, Timestamp, Writer};
use describe_images::Api;
use describe_images::access_keys::{self, AccessKeys, Authentication};
use describe_images::cache::ResponseCache;
use futures_util::FutureExt as _;
use ingest_events::ingest::log_missing_registry_urls;
use reconcile::Reconcile;
use registries::{EcrClient, Registries, Subscriptions};
use secret::Secret;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::aws::api_gateway::Server;
use crate::aws::connections::Limits;
use crate::aws::reconcile_schedule::ReconcileSchedule;
use crate::aws::scheduler;
use crate::commands::greeting;
use crate::data::OpenTable;
use crate::options::{self, Options};
use crate::page::Page;
use crate::status::Status;
use crate::status::deliveries::Deliveries;
use crate::status::metrics::Metrics;
use crate::{data, demo};

/// Of the responses that are kept until the database changes.
const MAX_CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Serves until the process receives SIGTERM or SIGINT.
pub async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let authentication = match &options.callers {
        Some(file) => {
            data::warn_of_permissions(file);
            let keys = Secret::file(file.clone(), |text| Ok(AccessKeys::parse(text)?))
                .read_every(access_keys::LIFETIME)
                .valid_for(access_keys::MAX_AGE);
            let read = keys.value().await;
            read.map_err(|error| format!("the callers in {}: {error}", file.display()))?;
            Some(Authentication::new(keys, options.region.clone(), options.signing_name.clone()))
        }
        None => None,
    };
    let subscriptions = options.read_subscriptions()?;
    let accepted = subscriptions.clone().unwrap_or_default();
    let targets = options.registry_targets(&accepted);
    if options.reconcile_every.is_some() && targets.targets.is_empty() {
        return Err("--reconcile-every needs a registry: --registry-url, --ecr-lookups, or a \
                    subscription with a registryUrl"
            .into());
    }
    let ecr = options.ecr().await?;
    // A second process on the same address ends here, before it opens the database.
    let listener = listen(&options.listen).await?;
    let metrics_listener = match &options.metrics_listen {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let metrics = Metrics::install()?;
    tokio::spawn(metrics.clone().upkeep());

    let OpenTable { table, engine, location } = data::open_table(options).await?;
    let keyring = if options.is_in_memory() {
        data::keyring_in_memory()?
    } else {
        data::open_keyring(&options.data)?
    };
    log_missing_registry_urls(&accepted);
    if options.subscriptions.is_none() && options.registry_urls.is_empty() && !options.demo {
        tracing::info!(
            "without --registry-url there are no lookups in other registries, so that \
             imageSizeInBytes stays absent unless an event contains it"
        );
    }
    if !options.ecr_lookups && !options.demo {
        tracing::info!(
            "without --ecr-lookups there are no lookups in Amazon ECR, so that imageSizeInBytes \
             stays absent unless an event contains it"
        );
    }
    let ingest = Arc::new(options.ingest(table.clone(), accepted.clone(), ecr));
    if options.demo {
        demo::fill(&ingest, &options.registry, &options.region).await?;
    }
    tokio::spawn(scheduler::retry_pending_lookups(Arc::clone(&ingest)));
    let every = options.reconcile_every;
    let prunes = subscriptions.is_some();
    let schedule = Arc::new(ReconcileSchedule::new(table.clone(), targets, every, prunes));
    let deliveries = Deliveries::new(&accepted);
    let status =
        Arc::new(Status::new(table.clone(), deliveries, Arc::clone(&schedule), Some(metrics)));
    // Reads of the embedded engine cost nothing.
    if engine.is_some() {
        tokio::spawn(scheduler::count_images(Reader::new(table.clone()), Arc::clone(&status)));
    }
    warn_of_open_access(options, listener.local_addr()?);
    if let Some(listener) = &metrics_listener {
        let address = listener.local_addr()?;
        tracing::info!("the metrics are at http://{address}/metrics, for everybody who reaches it");
    }
    let reader = Reader::new(table.clone());
    greeting::print(options, listener.local_addr()?, &location, &reader).await?;
    let mut api =
        Api::new(reader, Secret::known(keyring), options.registry.clone(), options.region.clone());
    // Only the embedded engine tells whether anything has changed.
    if let Some(engine) = engine {
        api = api.with_cache(ResponseCache::new(MAX_CACHE_BYTES, move || engine.version()));
    }
    let server = Server {
        api,
        authentication,
        ingest,
        subscriptions,
        default_registry: options.registry.clone(),
        default_service: options.service,
        page: (!options.no_page).then(|| Page {
            region: options.region.clone(),
            signing_name: options.signing_name.clone(),
        }),
        status,
    };
    let ended = async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        tracing::info!("ending");
    };
    let ended = ended.shared();
    if every.is_some() {
        schedule.start(reconcile(table, accepted, options.ecr().await?), ended.clone());
    } else if !schedule.registries().is_empty() {
        tokio::spawn(schedule.keep_refreshed());
    }
    server.run(listener, metrics_listener, Limits::of_process(), ended).await?;
    Ok(())
}

async fn listen(address: &str) -> Result<TcpListener, String> {
    let listener = async { TcpListener::bind(options::resolve(address).await?).await };
    listener.await.map_err(|error| format!("cannot listen on {address}: {error}"))
}

/// What reconciles the catalog with the registries of the options.
fn reconcile(table: Table, subscriptions: Subscriptions, ecr: Option<EcrClient>) -> Reconcile {
    Reconcile {
        reader: Reader::new(table.clone()),
        writer: Writer::new(table, Timestamp::now),
        registries: Registries::new(Arc::new(Secret::known(subscriptions)), ecr),
        max_tags: usize::MAX,
    }
}

/// Logs who can do what without a signature or a credential.
fn warn_of_open_access(options: &Options, address: SocketAddr) {
    let reading = options.callers.is_none();
    let writing = options.subscriptions.is_none();
    let is_loopback = address.ip().is_loopback();
    if writing && (!is_loopback || !reading) {
        tracing::warn!("without --subscriptions everybody who reaches {address} can send events");
    }
    if reading && !is_loopback {
        tracing::warn!("without --callers everybody who reaches {address} can read all images");
    }
}
