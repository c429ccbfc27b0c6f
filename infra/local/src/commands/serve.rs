//! `image-catalog`: serves the catalog.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use catalog::Reader;
use describe_images::Api;
use describe_images::access_keys::{self, AccessKeys, Authentication};
use describe_images::cache::ResponseCache;
use ingest_events::ingest::log_missing_registry_urls;
use secret::Secret;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::aws::api_gateway::Server;
use crate::aws::connections::Limits;
use crate::aws::scheduler;
use crate::commands::greeting;
use crate::data::OpenTable;
use crate::options::Options;
use crate::page::Page;
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
    // A second process on the same address ends here, before it opens the database.
    let cannot_listen = |error| format!("cannot listen on {}: {error}", options.listen);
    let address = options.listen_address().await.map_err(cannot_listen)?;
    let listener = TcpListener::bind(address).await.map_err(cannot_listen)?;

    let OpenTable { table, engine, location } = data::open_table(options).await?;
    let keyring = if options.is_in_memory() {
        data::keyring_in_memory()?
    } else {
        data::open_keyring(&options.data)?
    };
    let accepted = subscriptions.clone().unwrap_or_default();
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
    let ingest = Arc::new(options.ingest(table.clone(), accepted).await);
    if options.demo {
        demo::fill(&ingest, &options.registry, &options.region).await?;
    }
    tokio::spawn(scheduler::retry_pending_lookups(Arc::clone(&ingest)));
    warn_of_open_access(options, listener.local_addr()?);
    let reader = Reader::new(table);
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
    };
    let ended = async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        tracing::info!("ending");
    };
    server.run(listener, Limits::of_process(), ended).await?;
    Ok(())
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
