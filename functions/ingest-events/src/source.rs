//! What the events of each product mean. One file for each.
//!
//! A source has a function `interpret`, which says what an event means, and a function
//! `event_type`, which says what kind it is, in a few words that the metrics can have as a
//! dimension.

pub mod artifactory;
pub mod distribution;
pub mod docker_hub;
pub mod ecr;
pub mod github;
pub mod harbor;
pub mod quay;
pub mod zot;

use std::str::FromStr;

use catalog::change::Content;
use catalog::{Change, ChangeKind, Digest, RegistryId, Repository, Tag, Timestamp};
use registries::{Registry, RegistryAddress};
use serde::de::DeserializeOwned;
use serde_json::Value;
use subscriptions::{Source, Subscription};

use crate::question::Question;

/// Where a delivery comes from, and when it came.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The product.
    pub source: Source,
    /// The registry id that it stands for. Amazon ECR's events name their own, but for a few of
    /// CloudTrail's records.
    pub registry: RegistryId,
    /// The subscription that it belongs to, if it has one.
    pub subscription: Option<Subscription>,
    /// The time of events that tell none.
    pub received_at: Timestamp,
}

/// What an event means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// It says something about images or repositories.
    Statements(Vec<Statement>),
    /// It is fine, but of no concern here, for this reason.
    Ignored(String),
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// All there is to know of it.
    Change(Change),
    /// A push, and the question that it leaves open.
    Push(Question),
}

/// An event that cannot be understood, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedEvent(pub String);

impl Origin {
    /// An origin without a subscription.
    #[must_use]
    pub fn new(source: Source, registry: RegistryId, received_at: Timestamp) -> Self {
        Self { source, registry, subscription: None, received_at }
    }

    /// The origin that a subscription stands for.
    #[must_use]
    pub fn of(subscription: Subscription, received_at: Timestamp) -> Self {
        Self {
            source: subscription.source,
            registry: subscription.registry_id.clone(),
            subscription: Some(subscription),
            received_at,
        }
    }

    /// A repository of the registry, by the registry's own name for it.
    pub(crate) fn repository(
        &self,
        member: &str,
        name: &str,
    ) -> Result<Repository, MalformedEvent> {
        let name = match &self.subscription {
            Some(subscription) => subscription.repository_name(name),
            None => name.to_owned(),
        };
        Ok(Repository { registry: self.registry.clone(), name: parse(member, &name)? })
    }

    /// Where the registry can be asked: where its subscription says, or else at the host of the
    /// product. It is shown the credential of the subscription there.
    pub(crate) fn registry_address(&self, host: Option<&'static str>) -> Option<RegistryAddress> {
        let subscription = self.subscription.as_ref();
        let told = subscription
            .and_then(|subscription| subscription.registry_url.as_ref())
            .and_then(|url| RegistryAddress::of_url(url.as_str()));
        let of_product = || {
            Some(RegistryAddress { host: host?.to_owned(), encrypted: true, subscription: None })
        };
        let address = told.or_else(of_product)?;
        let id = subscription.map(|subscription| subscription.id.clone());
        Some(RegistryAddress { subscription: id, ..address })
    }

    /// A push that leaves open what was pushed, or a change where nobody can be asked.
    pub(crate) fn push(
        &self,
        push: Push,
        host: Option<&'static str>,
    ) -> Result<Option<Statement>, MalformedEvent> {
        let repository = self.repository("repository", &push.name)?;
        if let Some(address) = self.registry_address(host) {
            return Ok(Some(Statement::Push(Question {
                repository,
                registry: Registry::Distribution(address),
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
        Ok(Some(Statement::Change(Change { repository, time: push.time, kind })))
    }
}

/// A push as far as an event tells of it.
pub(crate) struct Push {
    /// The repository, by the registry's own name.
    pub(crate) name: String,
    pub(crate) digest: Option<Digest>,
    pub(crate) tag: Option<Tag>,
    pub(crate) time: Timestamp,
}

/// What an event of a delivery means to a catalog of one AWS region.
///
/// # Errors
/// It is not of a known form, or lacks what its form demands.
pub fn interpret(event: &Value, origin: &Origin, region: &str) -> Result<Meaning, MalformedEvent> {
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

/// What kind of event it is: one of a few, whatever the event says.
pub(crate) fn event_type(source: Source, event: &Value) -> &'static str {
    match source {
        Source::Ecr => ecr::event_type(event),
        Source::Distribution => distribution::event_type(event),
        Source::Harbor => harbor::event_type(event),
        Source::Quay => "quay push",
        Source::Github => "github package",
        Source::DockerHub => "docker-hub push",
        Source::Artifactory => artifactory::event_type(event),
        Source::Zot => zot::event_type(event),
    }
}

/// Reads an event, or a part of it.
pub(crate) fn decode<T: DeserializeOwned>(event: &Value) -> Result<T, MalformedEvent> {
    T::deserialize(event).map_err(|error| MalformedEvent(error.to_string()))
}

/// Reads one part of an event; an error names it.
pub(crate) fn parse<T: FromStr>(name: &str, text: &str) -> Result<T, MalformedEvent>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| MalformedEvent(format!("'{name}' is not valid: {error}")))
}

/// An empty tag is none.
pub(crate) fn parse_tag(name: &str, tag: Option<&str>) -> Result<Option<Tag>, MalformedEvent> {
    tag.filter(|tag| !tag.is_empty()).map(|tag| parse(name, tag)).transpose()
}

/// A time in seconds since the beginning of 1970, which may have a fraction.
pub(crate) fn parse_seconds(name: &str, seconds: f64) -> Result<Timestamp, MalformedEvent> {
    Timestamp::from_milliseconds((seconds * 1000.0) as i64)
        .map_err(|error| MalformedEvent(format!("'{name}' is not valid: {error}")))
}

pub(crate) fn ignored(reason: impl Into<String>) -> Result<Meaning, MalformedEvent> {
    Ok(Meaning::Ignored(reason.into()))
}
