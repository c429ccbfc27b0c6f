//! `image-catalog`: the whole catalog in one process.

use std::error::Error;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig};
use catalog::table::causes;
use catalog::{Reader, RegistryId, Table};
use clap::builder::NonEmptyStringValueParser;
use clap::{Parser, Subcommand};
use describe_images::DescribeImages;
use image_catalog::authentication::Authentication;
use image_catalog::engine::Engine;
use image_catalog::reconcile::ReconcileOptions;
use image_catalog::replay::ReplayOptions;
use image_catalog::server::Server;
use image_catalog::{data, demo};
use ingest_events::Ingest;
use registries::Ecr;
use secret::Secret;
use subscriptions::Subscriptions;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};
use tracing_subscriber::EnvFilter;

/// How often items whose time has come are removed.
const EXPIRY_INTERVAL: Duration = Duration::from_hours(1);

/// How often registries are asked again what they did not answer.
const QUESTIONS_INTERVAL: Duration = Duration::from_secs(30);

/// A catalog of container images that answers Amazon ECR's and ECR Public's DescribeImages, kept
/// current by the events of registries.
///
/// AWS_ENDPOINT_URL_DYNAMODB names a DynamoDB to use instead of the embedded one; RUST_LOG sets
/// what is logged.
#[derive(Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:5015")]
    listen: SocketAddr,
    /// Directory for the database and the keys of page tokens
    #[arg(long, default_value = "image-catalog-data", value_name = "DIR", global = true)]
    data: PathBuf,
    /// Keep nothing on disk
    #[arg(long, conflicts_with = "data")]
    in_memory: bool,
    /// Registry id, 12 digits, of requests and notifications that name none
    #[arg(long, default_value = "123456789012", value_name = "ID", global = true)]
    registry: RegistryId,
    /// Region whose ECR events are taken, those of others are ignored, and that signatures are for
    #[arg(
        long, default_value = "us-east-1", value_parser = NonEmptyStringValueParser::new(), value_name = "REGION",
        global = true
    )]
    region: String,
    /// Ask Amazon ECR for what its events do not tell, with the AWS credentials of the environment
    #[arg(long, global = true)]
    ask_ecr: bool,
    /// Table in the DynamoDB that AWS_ENDPOINT_URL_DYNAMODB names
    #[arg(long, default_value = "image-catalog", value_name = "NAME", global = true)]
    table: String,
    /// JSON file of access keys; only requests signed with one of them are answered
    #[arg(long, value_name = "FILE")]
    callers: Option<PathBuf>,
    /// Service that signatures must be for, such as execute-api; else ecr or ecr-public, as asked
    #[arg(long, value_name = "NAME", requires = "callers")]
    signing_name: Option<String>,
    /// JSON file of subscriptions; only events that show the credential of one of them are taken
    #[arg(long, value_name = "FILE", global = true)]
    subscriptions: Option<PathBuf>,
    /// If the catalog is empty, fill it with sample events first
    #[arg(long)]
    demo: bool,
}

/// What to do other than to serve.
#[derive(Subcommand)]
enum Command {
    /// Compare the catalog with what a registry itself says, and repair it; on an empty one, fill
    /// it.
    Reconcile(ReconcileOptions),
    /// Apply events again: those of a file, or those of a queue, which are taken out of it. To
    /// apply an event twice does no harm.
    Replay(ReplayOptions),
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .init();
    let ended = match &options.command {
        Some(Command::Reconcile(reconciling)) => reconcile(&options, reconciling).await,
        Some(Command::Replay(replaying)) => replay(&options, replaying).await,
        None => serve(options).await,
    };
    if let Err(error) = ended {
        tracing::error!("{error}");
        std::process::exit(1);
    }
    Ok(())
}

async fn reconcile(
    options: &Options,
    reconciling: &ReconcileOptions,
) -> Result<(), Box<dyn Error>> {
    let subscriptions =
        options.subscriptions.as_deref().map(data::read_subscriptions).transpose()?;
    let reconciling =
        reconciling.clone().of(subscriptions.unwrap_or_default(), &options.registry)?;
    let ecr = if reconciling.asks_ecr() { Some(Ecr::new(&aws(options).await)) } else { None };
    let (table, _) = open_table(options).await?;
    reconciling.run(table, ecr).await
}

async fn replay(options: &Options, replaying: &ReplayOptions) -> Result<(), Box<dyn Error>> {
    let subscriptions =
        options.subscriptions.as_deref().map(data::read_subscriptions).transpose()?;
    let table = if replaying.empties_a_queue() {
        open_existing_table(options).await?
    } else {
        open_table(options).await?.0
    };
    let ingest = ingest(options, table, subscriptions.unwrap_or_default()).await;
    replaying.run(&ingest, &options.registry, &aws(options).await).await
}

/// What applies events.
async fn ingest(options: &Options, table: Table, subscriptions: Subscriptions) -> Ingest {
    let ecr = if options.ask_ecr { Some(Ecr::new(&aws(options).await)) } else { None };
    Ingest::new(table, options.region.clone(), Secret::known(subscriptions), ecr)
}

/// AWS with the credentials of the environment, in the region that is followed.
async fn aws(options: &Options) -> SdkConfig {
    let region = aws_config::Region::new(options.region.clone());
    aws_config::defaults(BehaviorVersion::latest()).region(region).load().await
}

async fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let authentication = match &options.callers {
        Some(file) => {
            Some(Authentication::load(file, &options.region, options.signing_name.as_deref())?)
        }
        None => None,
    };
    let subscriptions =
        options.subscriptions.as_deref().map(data::read_subscriptions).transpose()?;
    // Before the database is touched: a second process on the same address ends here.
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;

    let (table, data) = open_table(&options).await?;
    let keyring = if options.in_memory {
        data::keyring_in_memory()?
    } else {
        data::open_keyring(&options.data)?
    };
    let ingest =
        Arc::new(ingest(&options, table.clone(), subscriptions.clone().unwrap_or_default()).await);
    if options.demo && !demo::fill(&table, &ingest, &options.registry).await? {
        tracing::info!("the catalog is not empty, so it is not filled with sample events");
    }
    tokio::spawn(settle_questions(Arc::clone(&ingest)));
    print_greeting(&options, listener.local_addr()?, &data);
    let server = Server {
        describe_images: DescribeImages::new(
            Reader::new(table),
            Secret::known(keyring),
            options.registry.clone(),
        ),
        authentication,
        ingest: Arc::clone(&ingest),
        subscriptions,
        default_registry: options.registry,
    };
    let ended = async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        tracing::info!("ending");
    };
    server.run(listener, ended).await?;
    Ok(())
}

/// The table, created if need be, and where its data is, in words.
async fn open_table(options: &Options) -> Result<(Table, String), Box<dyn Error>> {
    let (client, engine, data) = open_store(options).await?;
    let table = Table { client, name: options.table.clone() };
    table.create_if_missing().await?;
    engine.map(|engine| tokio::spawn(remove_expired(engine)));
    Ok((table, data))
}

/// The table that is there. What is taken out of a queue must not go to one that was named by
/// mistake.
async fn open_existing_table(options: &Options) -> Result<Table, Box<dyn Error>> {
    if std::env::var_os("AWS_ENDPOINT_URL_DYNAMODB").is_none() && !options.data.exists() {
        let data = options.data.display();
        return Err(format!(
            "there is no catalog in {data}, and AWS_ENDPOINT_URL_DYNAMODB is not set"
        )
        .into());
    }
    let (client, engine, data) = open_store(options).await?;
    let described = client.describe_table().table_name(&options.table).send().await;
    described.map_err(|error| format!("the table {} {data}: {}", options.table, causes(&error)))?;
    let table = Table { client, name: options.table.clone() };
    table.claim_format().await?;
    engine.map(|engine| tokio::spawn(remove_expired(engine)));
    Ok(table)
}

/// The DynamoDB to use, the engine if it is the embedded one, and where its data is, in words.
/// Nothing may be removed from it before the table's format is known.
async fn open_store(
    options: &Options,
) -> Result<(aws_sdk_dynamodb::Client, Option<Engine>, String), Box<dyn Error>> {
    if let Ok(endpoint) = std::env::var("AWS_ENDPOINT_URL_DYNAMODB") {
        let configuration = aws_config::load_defaults(BehaviorVersion::latest()).await;
        let client = aws_sdk_dynamodb::Client::new(&configuration);
        return Ok((client, None, format!("in the DynamoDB at {endpoint}")));
    }
    let (engine, data) = if options.in_memory {
        (Engine::in_memory()?, "in memory".to_owned())
    } else {
        (data::open_engine(&options.data)?, format!("in {}", options.data.display()))
    };
    Ok((engine.client(), Some(engine), data))
}

/// Does what DynamoDB does by itself.
async fn remove_expired(engine: Engine) {
    let mut interval = tokio::time::interval(EXPIRY_INTERVAL);
    loop {
        interval.tick().await;
        let engine = engine.clone();
        match tokio::task::spawn_blocking(move || engine.remove_expired()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(items)) => {
                tracing::info!(items, "removed what was left of deleted images and tags")
            }
            Ok(Err(error)) => tracing::warn!(%error, "expired items cannot be removed"),
            Err(error) => tracing::warn!(%error, "expired items cannot be removed"),
        }
    }
}

/// Asks registries again what they did not answer before, also before the last start.
async fn settle_questions(ingest: Arc<Ingest>) {
    let mut interval = tokio::time::interval(QUESTIONS_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        match ingest.settle_questions(Instant::now() + QUESTIONS_INTERVAL).await {
            Ok(0) => {}
            Ok(questions) => tracing::info!(questions, "registries have answered what was open"),
            Err(error) => tracing::warn!(%error, "open questions cannot be settled now"),
        }
    }
}

/// On standard output; the log is on standard error.
fn print_greeting(options: &Options, address: SocketAddr, data: &str) {
    let Options { registry, region, .. } = options;
    println!(
        "image-catalog listens on http://{address} for registry {registry}, its data {data}. Ask it:\n"
    );
    let unsigned = if options.callers.is_none() { " --no-sign-request" } else { "" };
    println!(
        "  aws ecr describe-images --repository-name {} --endpoint-url http://{address} --region {region}{unsigned}",
        demo::REPOSITORY
    );
    if options.callers.is_some() {
        println!();
        return;
    }
    println!(
        "  curl http://{address}/DescribeImages -d '{{\"repositoryName\":\"{}\"}}'\n",
        demo::REPOSITORY
    );
}
