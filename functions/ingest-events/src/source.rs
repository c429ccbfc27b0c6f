//! The events of each product, one file for each.
//!
//! A source has a function `interpret`. It decodes an event into the source's own type, and returns
//! what the event means, and a label for the metrics.

pub mod artifactory;
pub mod distribution;
pub mod docker_hub;
pub mod ecr;
pub mod github;
pub mod harbor;
pub mod quay;
pub mod zot;

use std::fmt::Display;
use std::str::FromStr;

use catalog::change::Content;
use catalog::{Change, ChangeKind, Digest, RegistryId, Repository, Service, Tag, Timestamp};
use registries::{Registry, RegistryAddress, Scope, Source, Subscription};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::ingest::MAX_CHANGES;
use crate::lookup::Lookup;

/// Of one event, whose memory they determine. Those of real events have twenty bytes and
/// more.
const MAX_VALUES: usize = 50_000;

/// Where a delivery comes from, and when it was received.
#[derive(Debug, Clone)]
pub struct Origin {
    pub source: Source,
    /// The service of its images in the catalog. Amazon's events contain their own.
    pub service: Service,
    /// The registry id of its images in the catalog. Amazon ECR's events contain their own, except
    /// some CloudTrail records.
    pub registry: RegistryId,
    pub subscription: Option<Subscription>,
    /// The time of events that contain none.
    pub received_at: Timestamp,
}

/// What an event means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// What it does to the catalog.
    Effects(Vec<Effect>),
    /// It is about something that the catalog does not hold; with the reason.
    Ignored(String),
    /// The product sends it to test the webhook; it is about nothing that exists.
    Test,
}

/// One effect of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Change(Change),
    /// A push whose manifest is to be looked up.
    Lookup(Lookup),
}

impl Effect {
    /// The repository in the catalog.
    pub(crate) fn repository(&self) -> &Repository {
        match self {
            Self::Change(change) => &change.repository,
            Self::Lookup(lookup) => &lookup.repository,
        }
    }
}

/// An event that cannot be decoded, or that its sender may not send, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedEvent(pub String);

/// What an event means, and its label.
#[derive(Debug)]
pub struct Interpreted {
    /// One of few values, whatever the event contains; `other` for kinds that are not known.
    pub label: &'static str,
    pub meaning: Result<Meaning, MalformedEvent>,
}

impl Origin {
    /// An origin without a subscription, of Amazon ECR's service.
    #[must_use]
    pub fn new(source: Source, registry: RegistryId, received_at: Timestamp) -> Self {
        Self { source, service: Service::Ecr, registry, subscription: None, received_at }
    }

    #[must_use]
    pub fn from_subscription(subscription: Subscription, received_at: Timestamp) -> Self {
        Self {
            source: subscription.source,
            service: subscription.service.unwrap_or_default(),
            registry: subscription.registry_id.clone(),
            subscription: Some(subscription),
            received_at,
        }
    }

    /// The repository in the catalog of a repository in the registry. `member` is the member of the
    /// event that contains the name.
    fn repository(&self, member: &str, name: &str) -> Result<Repository, MalformedEvent> {
        let name = match &self.subscription {
            Some(subscription) => subscription.repository_name(name),
            None => name.to_owned(),
        };
        let name =
            self.service.parse_repository_name(&name).map_err(|rule| not_valid(member, rule))?;
        Ok(Repository { service: self.service, registry: self.registry.clone(), name })
    }

    /// What `docker pull` takes for a repository of the catalog, if that is known.
    pub(crate) fn repository_uri(&self, repository: &Repository, region: &str) -> Option<String> {
        let Repository { service, registry, name } = repository;
        match (self.source, service) {
            (Source::Ecr, Service::Ecr) => {
                registries::ecr::repository_uri(registry, region, name.as_str())
            }
            // The alias of the registry is in no event of an image.
            (Source::Ecr, Service::EcrPublic) => None,
            _ => {
                let name = match &self.subscription {
                    Some(subscription) => {
                        Scope::from_subscription(subscription).name_of(repository)?.to_owned()
                    }
                    None => name.as_str().to_owned(),
                };
                Some(self.registry_address(self.source.host())?.repository_uri(&name))
            }
        }
    }

    /// Where the registry serves manifests: as its subscription says, or else at the host of the
    /// product.
    fn registry_address(&self, host: Option<&'static str>) -> Option<RegistryAddress> {
        match &self.subscription {
            Some(subscription) => subscription.registry_address(host),
            None => host.map(RegistryAddress::from_host),
        }
    }

    /// A push whose manifest is to be looked up; without an address of the registry, the push
    /// alone; `None` if the event does not contain the digest either.
    fn push(
        &self,
        push: Push,
        host: Option<&'static str>,
    ) -> Result<Option<Effect>, MalformedEvent> {
        let repository = self.repository("repository", &push.name)?;
        if let Some(address) = self.registry_address(host) {
            return Ok(Some(Effect::Lookup(Lookup {
                repository,
                registry: Registry::Oci(address),
                name: push.name,
                digest: push.digest,
                tag: push.tag,
                manifest_media_type: None,
                artifact_media_type: None,
                time: push.time,
            })));
        }
        let Some(digest) = push.digest else { return Ok(None) };
        let kind = ChangeKind::ImagePushed { digest, tag: push.tag, content: Content::default() };
        Ok(Some(Effect::Change(Change { repository, time: push.time, kind })))
    }
}

/// A push as an event contains it.
struct Push {
    /// The name of the repository in the registry.
    name: String,
    digest: Option<Digest>,
    tag: Option<Tag>,
    time: Timestamp,
}

impl Interpreted {
    fn new(label: &'static str, meaning: Result<Meaning, MalformedEvent>) -> Self {
        Self { label, meaning }
    }

    /// Decodes an event, and interprets it. `label` is that of events that cannot be decoded.
    fn decoded<E: DeserializeOwned>(
        event: &Value,
        label: &'static str,
        interpret: impl FnOnce(E) -> Self,
    ) -> Self {
        match decode(event) {
            Ok(event) => interpret(event),
            Err(error) => Self::new(label, Err(error)),
        }
    }
}

/// What an event means to a catalog of one AWS region.
pub fn interpret(event: &RawValue, origin: &Origin, region: &str) -> Interpreted {
    let text = event.get();
    let values = text.bytes().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    if values > MAX_VALUES {
        let error = format!("it has more than {MAX_VALUES} values");
        return Interpreted::new("other", Err(MalformedEvent(error)));
    }
    let event: Value = match serde_json::from_str(text) {
        Ok(event) => event,
        Err(error) => {
            let error = MalformedEvent(format!("the event cannot be decoded: {error}"));
            return Interpreted::new("other", Err(error));
        }
    };
    let interpreted = interpret_value(&event, origin, region);
    match &interpreted.meaning {
        Ok(Meaning::Effects(effects)) if effects.len() > MAX_CHANGES => {
            Interpreted::new(interpreted.label, Err(too_many_changes()))
        }
        _ => interpreted,
    }
}

fn too_many_changes() -> MalformedEvent {
    MalformedEvent(format!("it has more than {MAX_CHANGES} changes"))
}

/// Refuses the items of an event before they are looked at one by one.
fn check_number(items: usize) -> Result<(), MalformedEvent> {
    if items > MAX_CHANGES { Err(too_many_changes()) } else { Ok(()) }
}

fn interpret_value(event: &Value, origin: &Origin, region: &str) -> Interpreted {
    match origin.source {
        Source::Ecr => ecr::interpret(event, origin, region),
        Source::Distribution => distribution::interpret(event, origin),
        Source::Harbor => harbor::interpret(event, origin),
        Source::Quay => quay::interpret(event, origin),
        Source::Github => github::interpret(event, origin),
        Source::DockerHub => docker_hub::interpret(event, origin),
        Source::Artifactory => artifactory::interpret(event, origin),
        Source::Zot => zot::interpret(event, origin),
    }
}

/// Decodes an event, or a part of it.
fn decode<'a, T: Deserialize<'a>>(event: &'a Value) -> Result<T, MalformedEvent> {
    serde_path_to_error::deserialize(event).map_err(|error| {
        let member = error.path().to_string();
        match member.as_str() {
            "." => MalformedEvent(error.into_inner().to_string()),
            member => not_valid(member, error.inner()),
        }
    })
}

/// Parses a member of an event; an error contains the member's name.
fn parse<T: FromStr>(member: &str, text: &str) -> Result<T, MalformedEvent>
where
    T::Err: Display,
{
    text.parse().map_err(|error| not_valid(member, error))
}

fn not_valid(member: &str, reason: impl Display) -> MalformedEvent {
    MalformedEvent(format!("'{member}' is not valid: {reason}"))
}

/// Parses a tag; an empty one is `None`.
fn parse_tag(member: &str, tag: Option<&str>) -> Result<Option<Tag>, MalformedEvent> {
    tag.filter(|tag| !tag.is_empty()).map(|tag| parse(member, tag)).transpose()
}

/// Parses a time in seconds since the beginning of 1970, which may have a fraction.
fn parse_seconds(member: &str, seconds: f64) -> Result<Timestamp, MalformedEvent> {
    Timestamp::from_milliseconds((seconds * 1000.0) as i64)
        .map_err(|error| not_valid(member, error))
}

fn ignored(reason: impl Into<String>) -> Result<Meaning, MalformedEvent> {
    Ok(Meaning::Ignored(reason.into()))
}

fn effects(effects: impl IntoIterator<Item = Effect>) -> Result<Meaning, MalformedEvent> {
    Ok(Meaning::Effects(effects.into_iter().collect()))
}

fn change(change: Change) -> Result<Meaning, MalformedEvent> {
    effects([Effect::Change(change)])
}
