//! Authenticates a webhook.
//!
//! The address may contain the id of the subscription, `?subscription=ID`; otherwise the credential
//! selects it. A refusal does not reveal which subscriptions exist.

use std::borrow::Cow;
use std::collections::BTreeMap;

use http::{HeaderMap, StatusCode};
use registries::credential::Credential;
use registries::{Source, Subscription, Subscriptions};
use serde_json::value::{RawValue, to_raw_value};

/// A message of the queue holds a mebibyte, its attributes included.
pub const MAX_BODY_BYTES: usize = 1_000_000;

/// An authenticated webhook.
#[derive(Debug)]
pub struct Webhook<'a> {
    pub subscription: &'a Subscription,
    pub body: Cow<'a, [u8]>,
}

/// Why a webhook is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no source '{0}'")]
    UnknownSource(String),
    #[error("the body must not be larger than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    #[error("the body is not valid UTF-8")]
    InvalidText,
    #[error("the credential of a subscription must be shown")]
    Unauthorized,
}

impl Refusal {
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::UnknownSource(_) => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::InvalidText => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
        }
    }
}

/// The source of a name in an address.
pub fn source(name: &str) -> Result<Source, Refusal> {
    name.parse().map_err(|_| Refusal::UnknownSource(name.chars().take(64).collect()))
}

/// Checks whether a webhook can be authenticated, whatever its body is.
pub fn check_head(
    subscriptions: &Subscriptions,
    source: Source,
    query: &str,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let (id, token) = (parameter(query, "subscription"), parameter(query, "token"));
    let can_be = subscriptions.can_authenticate(source, id.as_deref(), token.as_deref(), headers);
    if can_be { Ok(()) } else { Err(Refusal::Unauthorized) }
}

/// Authenticates a webhook.
pub fn receive<'a>(
    subscriptions: &'a Subscriptions,
    source: Source,
    query: &str,
    headers: &HeaderMap,
    body: &'a [u8],
) -> Result<Webhook<'a>, Refusal> {
    if body.len() > MAX_BODY_BYTES {
        return Err(Refusal::TooLarge);
    }
    let (id, token) = (parameter(query, "subscription"), parameter(query, "token"));
    let subscription = subscriptions
        .authenticate(source, id.as_deref(), token.as_deref(), headers, body)
        .ok_or(Refusal::Unauthorized)?;
    // A signature is of the body alone, so that no header decides what it means.
    let body = match (source, &subscription.credential) {
        (Source::Artifactory, Credential::Hmac(_)) => Cow::Borrowed(body),
        _ => event(source, headers, body),
    };
    Ok(Webhook { subscription, body })
}

/// The event in a body, in the form that `ingest-events` decodes.
#[must_use]
pub fn event<'a>(source: Source, headers: &HeaderMap, body: &'a [u8]) -> Cow<'a, [u8]> {
    match source {
        Source::Github => without_form(body),
        _ => structured(headers, body),
    }
}

/// Takes the event from the form `payload=…`, which is GitHub's default content type. No JSON begins
/// like it. So a signed body has one meaning, whatever the header `Content-Type` is.
///
/// <https://docs.github.com/en/webhooks/using-webhooks/creating-webhooks>
fn without_form(body: &[u8]) -> Cow<'_, [u8]> {
    if !body.starts_with(b"payload=") {
        return Cow::Borrowed(body);
    }
    let payload = url::form_urlencoded::parse(body).next();
    payload.map_or(Cow::Borrowed(body), |(_, event)| Cow::Owned(event.into_owned().into_bytes()))
}

/// Converts a CloudEvent from the binary form, whose attributes are headers, to the structured
/// form, whose attributes are members. Other bodies stay the same.
///
/// <https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md>
fn structured<'a>(headers: &HeaderMap, body: &'a [u8]) -> Cow<'a, [u8]> {
    if !headers.contains_key("ce-specversion") {
        return Cow::Borrowed(body);
    }
    // `ingest-events` reports a body that is not JSON.
    let Ok(data) = serde_json::from_slice::<&RawValue>(body) else { return Cow::Borrowed(body) };
    let attributes = headers.iter().filter_map(|(name, value)| {
        let attribute = name.as_str().strip_prefix("ce-")?;
        Some((attribute, to_raw_value(value.to_str().ok()?).ok()?))
    });
    let mut event: BTreeMap<&str, Box<RawValue>> = attributes.collect();
    event.insert("data", data.to_owned());
    serde_json::to_vec(&event).map_or(Cow::Borrowed(body), Cow::Owned)
}

/// A parameter of the address.
fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
}
