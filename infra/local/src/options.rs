//! The command line.

use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use catalog::{RegistryId, Service, Table};
use clap::builder::{NonEmptyStringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use ingest_events::Ingest;
use jiff::{Span, SpanRelativeTo};
use registries::{
    EcrClient, Registry, RegistryAddress, RegistryTarget, RegistryTargets, Scope, Subscriptions,
};
use secret::Secret;
use url::Url;

use crate::commands::aws_config::AwsConfigOptions;
use crate::commands::completions::CompletionsOptions;
use crate::commands::keys::KeysOptions;
use crate::commands::ls::LsOptions;
use crate::commands::man::ManOptions;
use crate::commands::reconcile::ReconcileOptions;
use crate::commands::replay::ReplayOptions;
use crate::commands::status::StatusOptions;
use crate::data::{self, DataError};
use crate::endpoints::{self, InvalidEndpoint};

/// Where the catalog listens by default.
pub const LISTEN: &str = "127.0.0.1:5015";

/// Of reconciliations.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// A catalog of container images that answers Amazon ECR's and ECR Public's DescribeImages, kept
/// current by the events of registries.
///
/// AWS_ENDPOINT_URL_DYNAMODB names a DynamoDB to use instead of the embedded one; RUST_LOG sets
/// what is logged.
#[derive(Debug, Parser)]
#[command(name = "image-catalog", version = env!("IMAGE_CATALOG_VERSION"))]
pub struct Options {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Address to listen on, such as 127.0.0.1:5015 or localhost:5015; of a name, the first IPv4
    /// address, or else the first one
    #[arg(
        long, env = "IMAGE_CATALOG_LISTEN", default_value = LISTEN, value_name = "HOST:PORT",
        value_parser = parse_listen
    )]
    pub listen: String,
    /// Directory for the database and the keys of page tokens
    #[arg(long, default_value = "image-catalog-data", value_name = "DIR", global = true)]
    pub data: PathBuf,
    /// Keep nothing on disk
    #[arg(long, conflicts_with = "data")]
    pub in_memory: bool,
    /// Registry id, 12 digits, of requests and events that contain none
    #[arg(long, default_value = "123456789012", value_name = "ID", global = true)]
    pub registry: RegistryId,
    /// Service, ecr or ecr-public, of the repositories of events and registries that name none
    #[arg(long, default_value_t, value_name = "SERVICE", global = true)]
    pub service: Service,
    /// Region whose Amazon ECR events are accepted, and that signatures must be for; without it, ls
    /// and status sign for the region of the AWS CLI, if that has one
    #[arg(
        long, default_value = "us-east-1", value_name = "REGION", global = true,
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub region: String,
    /// Look up in Amazon ECR and Amazon ECR Public what their events do not contain, with the AWS
    /// credentials of the environment
    #[arg(long, global = true)]
    pub ecr_lookups: bool,
    /// Address, such as http://registry.example:5000, of a registry that may be asked for what its
    /// events do not contain, and that no subscription names; may be repeated
    #[arg(
        long = "registry-url", value_name = "URL", global = true,
        value_parser = WithoutUser(parse_registry_url)
    )]
    pub registry_urls: Vec<RegistryAddress>,
    /// Table in the DynamoDB that AWS_ENDPOINT_URL_DYNAMODB names
    #[arg(
        long, default_value = "image-catalog", value_name = "NAME", global = true,
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub table: String,
    /// JSON file of access keys; other requests than those signed with one of them are refused
    #[arg(long, value_name = "FILE")]
    pub callers: Option<PathBuf>,
    /// Service that signatures must be for, such as execute-api [default: the service of the
    /// request, ecr or ecr-public]
    #[arg(
        long, value_name = "NAME", requires = "callers",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub signing_name: Option<String>,
    /// JSON file of subscriptions; other events than those with a credential of one of them are
    /// refused
    #[arg(long, value_name = "FILE", global = true)]
    pub subscriptions: Option<PathBuf>,
    /// Reconcile with the registries of --subscriptions and --registry-url, and with --ecr-lookups
    /// also with Amazon's services, at this interval, such as 1d, 12h or 30m
    #[arg(long, value_name = "INTERVAL", value_parser = parse_interval)]
    pub reconcile_every: Option<Duration>,
    /// Address that serves only GET /metrics, without a signature
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_listen)]
    pub metrics_listen: Option<String>,
    /// Serve sample images, and keep nothing on disk
    #[arg(long, conflicts_with = "data")]
    pub demo: bool,
    /// Serve no page for browsers
    #[arg(long)]
    pub no_page: bool,
    /// Whether --data was given.
    #[arg(skip)]
    pub(crate) is_data_given: bool,
    /// Whether --registry was given.
    #[arg(skip)]
    pub(crate) is_registry_given: bool,
    /// Whether --region was given.
    #[arg(skip)]
    pub(crate) is_region_given: bool,
}

/// Without a command, the catalog is served.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the repositories, or the images of a repository.
    ///
    /// Without --endpoint and without an endpoint of the AWS CLI, or with --data, the data is read,
    /// also while a catalog serves it. Nothing is changed there.
    Ls(LsOptions),
    /// Print what a running catalog received, looks up and reconciles.
    ///
    /// Without --endpoint and without an endpoint of the AWS CLI, it is the one on the address of
    /// --listen.
    Status(StatusOptions),
    /// Reconcile the catalog with a registry; an empty catalog is filled.
    ///
    /// The exit code is 0 if no difference remains; 1 if one remains, if a repository failed, or if
    /// one is kept that the registry does not have; 2 if a dry run found drift, and if an option is
    /// not valid.
    Reconcile(ReconcileOptions),
    /// Apply events again: those of a file, or those of a queue, which are deleted there. An event
    /// can be applied more than once.
    Replay(ReplayOptions),
    /// Have the AWS CLI and boto3 sign requests to a catalog on AWS for API Gateway.
    ///
    /// This writes endpoint rule sets for `aws ecr` and `aws ecr-public`. Files of others are left
    /// as they are; the exit code is 1 then.
    AwsConfig(AwsConfigOptions),
    /// Manage the access keys of callers, in the file of --callers or in a secret of AWS Secrets
    /// Manager
    Keys(KeysOptions),
    /// Check that a catalog serves on the address of --listen; the exit code is 0 if it does
    Health,
    /// Print the completions of a shell, to be read by it
    Completions(CompletionsOptions),
    /// Print a manual page, to be read with man -l -
    Man(ManOptions),
}

impl Options {
    /// Parses the command line of the process. Where it is not valid, the process ends.
    #[must_use]
    pub fn from_command_line() -> Self {
        let matches = Self::command().get_matches();
        let is_given = |option| matches.value_source(option) == Some(ValueSource::CommandLine);
        let options = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        let (is_data_given, is_registry_given) = (is_given("data"), is_given("registry"));
        if is_data_given && let Some(other) = other_catalog(&matches) {
            let error = format!("the argument '--data <DIR>' cannot be used with {other}");
            Self::command().error(ErrorKind::ArgumentConflict, error).exit();
        }
        let is_region_given = is_given("region");
        Self { is_data_given, is_registry_given, is_region_given, ..options }
    }

    /// Whether the process keeps nothing on disk.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.in_memory || self.demo
    }

    /// The subscriptions, if there is a file of them.
    pub(crate) fn read_subscriptions(&self) -> Result<Option<Subscriptions>, DataError> {
        self.subscriptions.as_deref().map(data::read_subscriptions).transpose()
    }

    /// AWS with the credentials of the environment, in the region of the options.
    pub(crate) async fn aws(&self) -> Result<SdkConfig, InvalidEndpoint> {
        let region = Region::new(self.region.clone());
        let aws = aws_config::defaults(BehaviorVersion::latest()).region(region).load().await;
        endpoints::checked(aws)
    }

    /// What looks up images in Amazon's registries, if that is wanted.
    pub(crate) async fn ecr(&self) -> Result<Option<EcrClient>, InvalidEndpoint> {
        Ok(if self.ecr_lookups { Some(EcrClient::new(&self.aws().await?)) } else { None })
    }

    /// AWS as the AWS CLI has it. Its region is that of the options only if one was given, or if
    /// there is no other. Instance metadata are not asked: without them, that takes seconds.
    pub(crate) async fn aws_of_cli(&self) -> SdkConfig {
        let region = || Region::new(self.region.clone());
        let region = RegionProviderChain::first_try(self.is_region_given.then(region))
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new())
            .or_else(region());
        aws_config::defaults(BehaviorVersion::latest()).region(region).load().await
    }

    /// The registries that the options name, and those of subscriptions.
    pub(crate) fn registry_targets(&self, subscriptions: &Subscriptions) -> RegistryTargets {
        let account = self.ecr_lookups.then_some(&self.registry);
        let mut targets = RegistryTargets::new(account, subscriptions);
        for address in &self.registry_urls {
            let target = self.registry_target(address.clone());
            if targets.get(&target.id).is_none() {
                targets.targets.push(target);
            }
        }
        targets
    }

    /// The registry at an address that no subscription has.
    pub(crate) fn registry_target(&self, address: RegistryAddress) -> RegistryTarget {
        RegistryTarget {
            id: address.to_string(),
            registry: Registry::Oci(address),
            source: None,
            scope: Scope {
                service: self.service,
                registry_id: self.registry.clone(),
                repository_prefix: None,
            },
        }
    }

    /// What applies events to a table.
    pub(crate) fn ingest(
        &self,
        table: Table,
        subscriptions: Subscriptions,
        ecr: Option<EcrClient>,
    ) -> Ingest {
        let subscriptions = Secret::known(subscriptions);
        Ingest::new(table, self.region.clone(), subscriptions, ecr, self.registry_urls.clone())
    }
}

/// What else names a catalog, so that `--data` would be ignored. clap itself finds no conflict with
/// an option before the command.
fn other_catalog(matches: &ArgMatches) -> Option<&'static str> {
    match matches.subcommand()? {
        ("status", _) => Some("'status', which asks a running catalog"),
        ("ls", command) if command.contains_id("endpoint") => Some("'--endpoint <URL>'"),
        _ => None,
    }
}

/// Parses URLs, and refuses one with a user. The error does not repeat it as those of clap do: it
/// may contain a password.
#[derive(Clone)]
pub(crate) struct WithoutUser<T>(pub(crate) fn(&str) -> Result<T, String>);

impl<T: Clone + Send + Sync + 'static> TypedValueParser for WithoutUser<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        if has_user(&value.to_string_lossy()) {
            let argument = argument.map(ToString::to_string).unwrap_or_default();
            let error = format!("invalid value for '{argument}': it must not contain a user\n");
            return Err(clap::Error::raw(ErrorKind::ValueValidation, error).with_cmd(command));
        }
        self.0.parse_ref(command, argument, value)
    }
}

/// Whether a URL contains a user. What has no host, as in `user:password@host`, may contain one
/// wherever there is an `@`.
fn has_user(text: &str) -> bool {
    match Url::parse(text).ok().filter(Url::has_host) {
        Some(url) => !url.username().is_empty() || url.password().is_some(),
        None => text.contains('@'),
    }
}

/// Checks the form of an address. A name is resolved when the catalog starts.
fn parse_listen(text: &str) -> Result<String, String> {
    let has_port = |(host, port): (&str, &str)| {
        let is_host = !host.is_empty() && (host.starts_with('[') || !host.contains(':'));
        is_host && port.parse::<u16>().is_ok()
    };
    if text.rsplit_once(':').is_some_and(has_port) {
        Ok(text.to_owned())
    } else {
        Err("it is not an address with a port, such as 127.0.0.1:5015 or localhost:5015".to_owned())
    }
}

/// One address of a name to listen on: where the others are in use, another program is.
pub(crate) async fn resolve(address: &str) -> io::Result<SocketAddr> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host(address).await?.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| io::Error::other("the name has no address"))
}

/// The address to connect to: a server that listens on every address is reached on the loopback
/// address.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

fn parse_registry_url(text: &str) -> Result<RegistryAddress, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    RegistryAddress::from_whole_url(&url).map_err(|error| error.to_string())
}

/// An interval in the format of jiff, whose days have 24 hours.
fn parse_interval(text: &str) -> Result<Duration, String> {
    let span: Span = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours());
    let duration = duration.map_err(|error| error.to_string())?;
    let duration = Duration::try_from(duration).ok().filter(|duration| *duration >= MIN_INTERVAL);
    duration.ok_or_else(|| "it must be at least a second, such as 1d, 12h or 30m".to_owned())
}
