//! A client of Amazon ECR and Amazon ECR Public. It calls `DescribeImages`, which returns all of an
//! image's members and, other than a request for its manifest, does not count as a pull; and for
//! repositories `DescribeRepositories` and `ListTagsForResource`.
//!
//! Both services throttle an account. The SDK's adaptive retry mode limits the rate of requests to
//! what was not throttled.
//!
//! The registries of other accounts are read with a role of theirs, [`OtherAccounts`].
//!
//! <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html>

mod operations;
mod private;
mod public;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ecr::primitives::DateTime;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use catalog::change::Content;
use catalog::image::Image;
use catalog::{Digest, RegistryId, RepositoryDescription, Service, Tag, Timestamp};
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;

use crate::{
    FoundManifest, Listed, ManifestLookup, ManifestNotFound, PushHints, RegistryUnavailable,
    parse_http_date,
};

/// Images of one request.
const MAX_IMAGE_IDS: usize = 100;

/// Images or repositories of one page; the services' maximum.
const PAGE_SIZE: i32 = 1000;

const MAX_ATTEMPTS: u32 = 8;

/// How old the services' responses may be. AWS documents no limit; this is an assumption.
pub const ECR_DELAY: Duration = Duration::from_secs(60);

const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// For a request for single images, with all its attempts.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The session of an assumed role, as CloudTrail of the other account shows it.
const ROLE_SESSION_NAME: &str = "image-catalog";

/// A client of Amazon ECR in one region, and of Amazon ECR Public.
pub struct EcrClient {
    clients: Clients,
    other_accounts: Option<(OtherAccounts, SdkConfig)>,
    /// By account, with its role.
    assumed: Mutex<HashMap<RegistryId, Clients>>,
    /// By service, registry and repository.
    batches: Mutex<HashMap<(Service, RegistryId, String), Arc<Batch>>>,
}

/// The clients of both services, with the same credentials.
#[derive(Clone)]
struct Clients {
    private: aws_sdk_ecr::Client,
    public: aws_sdk_ecrpublic::Client,
}

/// How the registries of other accounts are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherAccounts {
    /// The account whose registry needs no role.
    pub own: RegistryId,
    /// The ARN of a role that each other account has, with `*` for the account.
    pub reader_role: String,
}

/// Lookups of images of one repository. One request is in flight at a time; the lookups that start
/// meanwhile share the next one.
#[derive(Default)]
struct Batch {
    in_flight: Mutex<()>,
    lookups: Mutex<Vec<Lookup>>,
}

struct Lookup {
    digest: Digest,
    result: oneshot::Sender<Result<ManifestLookup, RegistryUnavailable>>,
}

impl std::fmt::Debug for EcrClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("EcrClient")
    }
}

/// A repository in one of the services.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DescribedRepository {
    pub description: RepositoryDescription,
    /// The resource tags; `None` if the catalog may not list them.
    pub tags: Option<BTreeMap<String, String>>,
}

/// A page of a list of images.
struct Page {
    images: Vec<Image>,
    next_token: Option<String>,
}

/// A request for images that failed.
struct Failure {
    /// What does not exist, if that is the reason.
    missing: Option<Missing>,
    error: RegistryUnavailable,
}

enum Missing {
    Image,
    Repository,
}

impl EcrClient {
    /// Sends requests with the credentials of a configuration, and to Amazon ECR in its region.
    #[must_use]
    pub fn new(configuration: &SdkConfig) -> Self {
        Self {
            clients: Clients::new(configuration),
            other_accounts: None,
            assumed: Mutex::default(),
            batches: Mutex::default(),
        }
    }

    /// Assumes a role for each request to the registry of another account.
    #[must_use]
    pub fn with_other_accounts(configuration: &SdkConfig, other_accounts: OtherAccounts) -> Self {
        let other_accounts = Some((other_accounts, configuration.clone()));
        Self { other_accounts, ..Self::new(configuration) }
    }

    /// The clients for the registry of an account.
    async fn clients(&self, registry: &RegistryId) -> Clients {
        let Some((OtherAccounts { own, reader_role }, configuration)) = &self.other_accounts else {
            return self.clients.clone();
        };
        if registry == own {
            return self.clients.clone();
        }
        let mut assumed = self.assumed.lock().await;
        if let Some(clients) = assumed.get(registry) {
            return clients.clone();
        }
        let role = reader_role.replace('*', registry.as_str());
        let provider = AssumeRoleProvider::builder(role)
            .session_name(ROLE_SESSION_NAME)
            .configure(configuration)
            .build()
            .await;
        let provider = SharedCredentialsProvider::new(provider);
        let configuration = configuration.to_builder().credentials_provider(provider).build();
        let clients = Clients::new(&configuration);
        assumed.insert(registry.clone(), clients.clone());
        clients
    }

    /// Looks up an image. Lookups in the same repository at the same time share a request.
    pub async fn manifest(
        &self,
        service: Service,
        registry: &RegistryId,
        name: &str,
        digest: &Digest,
    ) -> Result<ManifestLookup, RegistryUnavailable> {
        let key = (service, registry.clone(), name.to_owned());
        let batch = Arc::clone(self.batches.lock().await.entry(key.clone()).or_default());
        let (result, mut receiver) = oneshot::channel();
        batch.lookups.lock().await.push(Lookup { digest: digest.clone(), result });
        // Lets lookups that start at this moment join.
        tokio::task::yield_now().await;
        let in_flight = batch.in_flight.lock().await;
        // The request before may have included this lookup.
        let found = loop {
            match receiver.try_recv() {
                Ok(found) => break found,
                Err(oneshot::error::TryRecvError::Empty) => {
                    self.look_up(service, registry, name, &batch).await;
                }
                Err(oneshot::error::TryRecvError::Closed) => {
                    break Err(RegistryUnavailable::Cancelled);
                }
            }
        };
        drop(in_flight);
        let mut batches = self.batches.lock().await;
        // This one's and the map's own.
        if Arc::strong_count(&batch) == 2 {
            batches.remove(&key);
        }
        found
    }

    /// Sends one request for the lookups of a batch that are still awaited.
    async fn look_up(&self, service: Service, registry: &RegistryId, name: &str, batch: &Batch) {
        let mut waiting = batch.lookups.lock().await;
        waiting.retain(|lookup| !lookup.result.is_closed());
        let size = waiting.len().min(MAX_IMAGE_IDS);
        let lookups: Vec<_> = waiting.drain(..size).collect();
        drop(waiting);
        let digests = lookups.iter().map(|lookup| lookup.digest.clone()).collect();
        let manifests = timeout(TIMEOUT, self.manifests(service, registry, name, digests))
            .await
            .unwrap_or(Err(RegistryUnavailable::TimedOut));
        for Lookup { digest, result } in lookups {
            let found = manifests.as_ref().map_err(Clone::clone).map(|manifests| {
                match manifests.get(&digest) {
                    Some(found) => ManifestLookup::Found(Box::new(found.clone())),
                    None => ManifestLookup::NotFound(ManifestNotFound::Unknown),
                }
            });
            // A lookup that is no longer awaited needs no result.
            let _ = result.send(found);
        }
    }

    /// Those of these images that exist.
    async fn manifests(
        &self,
        service: Service,
        registry: &RegistryId,
        name: &str,
        digests: Vec<Digest>,
    ) -> Result<HashMap<Digest, FoundManifest>, RegistryUnavailable> {
        let clients = self.clients(registry).await;
        let mut manifests = HashMap::new();
        let mut groups = vec![digests];
        while let Some(group) = groups.pop() {
            let described = match service {
                Service::Ecr => {
                    private::describe_images(&clients.private, registry, name, &group).await
                }
                Service::EcrPublic => {
                    public::describe_images(&clients.public, registry, name, &group).await
                }
            };
            match described {
                Ok(images) => manifests
                    .extend(images.iter().map(|image| (image.image_digest.clone(), found(image)))),
                // One image that does not exist fails the whole request.
                Err(Failure { missing: Some(Missing::Image), .. }) if group.len() > 1 => {
                    let (left, right) = group.split_at(group.len() / 2);
                    groups.extend([left.to_vec(), right.to_vec()]);
                }
                Err(Failure { missing: Some(_), .. }) => {}
                Err(failure) => return Err(failure.error),
            }
        }
        Ok(manifests)
    }

    /// Lists all images of a repository, in no order.
    pub async fn images(
        &self,
        service: Service,
        registry: &RegistryId,
        name: &str,
    ) -> Result<Listed<Image>, RegistryUnavailable> {
        let clients = self.clients(registry).await;
        let clock = Clock::default();
        let mut images = Vec::new();
        let mut token = None;
        loop {
            let listed = match service {
                Service::Ecr => {
                    private::list_images(&clients.private, registry, name, token, &clock).await
                }
                Service::EcrPublic => {
                    public::list_images(&clients.public, registry, name, token, &clock).await
                }
            };
            match listed {
                Ok(page) => {
                    images.extend(page.images);
                    token = page.next_token;
                }
                Err(Failure { missing: Some(Missing::Repository), .. }) => {
                    return Ok(Listed { items: None, date: clock.time()? });
                }
                Err(failure) => return Err(failure.error),
            }
            if token.is_none() {
                return Ok(Listed { items: Some(images), date: clock.time()? });
            }
        }
    }

    /// Describes a repository; `None` if it does not exist.
    pub async fn repository(
        &self,
        service: Service,
        registry: &RegistryId,
        name: &str,
    ) -> Result<Option<DescribedRepository>, RegistryUnavailable> {
        let clients = self.clients(registry).await;
        let described = match service {
            Service::Ecr => private::describe_repository(&clients.private, registry, name).await?,
            Service::EcrPublic => {
                public::describe_repository(&clients.public, registry, name).await?
            }
        };
        let Some((description, arn)) = described else { return Ok(None) };
        let tags = match (service, arn) {
            (Service::Ecr, Some(arn)) => private::list_tags(&clients.private, &arn).await?,
            (Service::EcrPublic, Some(arn)) => public::list_tags(&clients.public, &arn).await?,
            (_, None) => None,
        };
        Ok(Some(DescribedRepository { description, tags }))
    }

    /// Lists the names of all repositories of a registry.
    pub async fn repositories(
        &self,
        service: Service,
        registry: &RegistryId,
    ) -> Result<Vec<String>, RegistryUnavailable> {
        let clients = self.clients(registry).await;
        match service {
            Service::Ecr => private::list_repositories(&clients.private, registry).await,
            Service::EcrPublic => public::list_repositories(&clients.public, registry).await,
        }
    }
}

impl Clients {
    fn new(configuration: &SdkConfig) -> Self {
        let retries = RetryConfig::adaptive().with_max_attempts(MAX_ATTEMPTS);
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
        let in_region_of_public = configuration.to_builder().region(public::REGION).build();
        Self {
            private: private::client(configuration, retries.clone(), timeouts.clone()),
            public: public::client(&in_region_of_public, retries, timeouts),
        }
    }
}

/// What `docker pull` takes for a repository of Amazon ECR; `None` in regions whose domain is not
/// public.
#[must_use]
pub fn repository_uri(account: &RegistryId, region: &str, name: &str) -> Option<String> {
    let domain = match region {
        region if region.starts_with("cn-") => "amazonaws.com.cn",
        region if region.starts_with("eusc-") => "amazonaws.eu",
        region if region.contains("-iso") => return None,
        _ => "amazonaws.com",
    };
    Some(format!("{account}.dkr.ecr.{region}.{domain}/{name}"))
}

fn found(image: &Image) -> FoundManifest {
    FoundManifest {
        digest: image.image_digest.clone(),
        content: content(image),
        pushed_at: Some(image.image_pushed_at),
        hints: PushHints::default(),
    }
}

/// The members of an image that describe its manifest.
#[must_use]
pub fn content(image: &Image) -> Content {
    Content {
        manifest_media_type: image.image_manifest_media_type.clone(),
        artifact_media_type: image.artifact_media_type.clone(),
        size_in_bytes: image.image_size_in_bytes,
        manifests: None,
        subject: image.subject_manifest_digest.clone(),
    }
}

/// Whether the tags of a resource cannot be had: without the permission, of a service that does not
/// have them, or because the repository was deleted meanwhile.
fn may_not_be_listed(code: Option<&str>) -> bool {
    const CODES: [&str; 4] = [
        "AccessDeniedException",
        "UnsupportedCommandException",
        "UnknownOperationException",
        "RepositoryNotFoundException",
    ];
    code.is_some_and(|code| CODES.contains(&code))
}

/// The tags of an image that the catalog can hold.
fn tags(names: Option<Vec<String>>) -> BTreeSet<Tag> {
    names.iter().flatten().filter_map(|name| Tag::parse(name).ok()).collect()
}

/// The nearest millisecond. The SDK reads decimals as a binary fraction, which may be a bit less.
fn timestamp(time: &DateTime) -> Option<Timestamp> {
    let milliseconds = (time.as_nanos() + 500_000).div_euclid(1_000_000);
    Timestamp::from_milliseconds(i64::try_from(milliseconds).ok()?).ok()
}

/// Keeps the `Date` of the first response.
#[derive(Debug, Clone, Default)]
struct Clock(Arc<OnceLock<Timestamp>>);

impl Clock {
    fn time(&self) -> Result<Timestamp, RegistryUnavailable> {
        self.0.get().copied().ok_or(RegistryUnavailable::NoDate)
    }
}

impl Intercept for Clock {
    fn name(&self) -> &'static str {
        "Clock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date").and_then(parse_http_date) {
            let _ = self.0.set(date);
        }
        Ok(())
    }
}
