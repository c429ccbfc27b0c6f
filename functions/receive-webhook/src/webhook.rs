//! Whose a webhook is, and what it carries.
//!
//! The address may name the subscription, `?subscription=ID`; else the credential tells which it
//! is. Whoever shows none that fits learns nothing of what there is.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};
use subscriptions::{Source, Subscription, Subscriptions};

/// The most bytes of a webhook: what a message of the queue can hold, which is a mebibyte with its
/// attributes.
pub const LARGEST_BODY: usize = 1_000_000;

/// A webhook of a subscription.
#[derive(Debug)]
pub struct Webhook<'a> {
    /// Who sent it.
    pub subscription: &'a Subscription,
    /// What it carries.
    pub body: Cow<'a, [u8]>,
}

/// A webhook that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such source.
    #[error("there is no source '{0}'")]
    UnknownSource(String),
    /// Too large.
    #[error("the body must not be larger than {LARGEST_BODY} bytes")]
    TooLarge,
    /// Not text.
    #[error("the body is not valid UTF-8")]
    NoText,
    /// No credential, or not that of a subscription.
    #[error("the credential of a subscription must be shown")]
    Unauthorized,
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::UnknownSource(_) => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NoText => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
        }
    }
}

/// The source of this name.
///
/// # Errors
/// There is none.
pub fn source(name: &str) -> Result<Source, Refusal> {
    Source::of_name(name).ok_or_else(|| Refusal::UnknownSource(name.chars().take(64).collect()))
}

/// Finds out whose a webhook is.
///
/// # Errors
/// It is nobody's, or too large.
pub fn receive<'a>(
    subscriptions: &'a Subscriptions,
    source: Source,
    query: &str,
    headers: &HeaderMap,
    body: &'a [u8],
) -> Result<Webhook<'a>, Refusal> {
    if body.len() > LARGEST_BODY {
        return Err(Refusal::TooLarge);
    }
    let parameter = |name: &str| {
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    };
    let (id, token) = (parameter("subscription"), parameter("token"));
    let subscription = subscriptions
        .authenticate(source, id.as_deref(), token.as_deref(), headers, body)
        .ok_or(Refusal::Unauthorized)?;
    Ok(Webhook { subscription, body: structured(headers, body) })
}

/// A CloudEvent in its binary form, whose attributes are headers, becomes one in the structured
/// form, whose attributes are beside its data. Anything else stays as it is.
///
/// <https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md>
#[must_use]
pub fn structured<'a>(headers: &HeaderMap, body: &'a [u8]) -> Cow<'a, [u8]> {
    if !headers.contains_key("ce-specversion") {
        return Cow::Borrowed(body);
    }
    // What is no JSON is reported as such by whoever reads it.
    let Ok(data) = serde_json::from_slice::<Value>(body) else { return Cow::Borrowed(body) };
    let mut event: Map<String, Value> = headers
        .iter()
        .filter_map(|(name, value)| {
            let attribute = name.as_str().strip_prefix("ce-")?;
            Some((attribute.to_owned(), value.to_str().ok()?.into()))
        })
        .collect();
    event.insert("data".to_owned(), data);
    Cow::Owned(Value::Object(event).to_string().into_bytes())
}
