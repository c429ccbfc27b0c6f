//! The credential of a webhook, in the form that its product can send. Every comparison takes
//! constant time.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde::Deserialize;

use crate::source::Source;

/// Authenticates the webhooks of a registry.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Credential {
    /// A token: in `Authorization`, with or without the word `Bearer`; of Artifactory, in
    /// `X-JFrog-Event-Auth`; of Docker Hub and Quay, which can send no header, in the address as
    /// `token`.
    Bearer(String),
    /// A name and a password in `Authorization`.
    Basic(BasicCredential),
    /// The key of an HMAC-SHA256 over the body: of GitHub in `X-Hub-Signature-256`, of Artifactory
    /// in `X-JFrog-Event-Auth`.
    Hmac(String),
}

#[derive(Clone, Deserialize)]
pub struct BasicCredential {
    pub username: String,
    pub password: String,
}

/// Why a source cannot have a credential.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCredential {
    #[error("its credential is empty")]
    Empty,
    #[error("{0} does not sign its events, so it cannot have an hmac credential")]
    Unsigned(Source),
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credential")
    }
}

impl fmt::Debug for BasicCredential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BasicCredential")
    }
}

impl Credential {
    pub(crate) fn check(&self, source: Source) -> Result<(), InvalidCredential> {
        let is_empty = match self {
            Self::Bearer(secret) | Self::Hmac(secret) => secret.is_empty(),
            Self::Basic(BasicCredential { username, password }) => {
                username.is_empty() || password.is_empty()
            }
        };
        if is_empty {
            return Err(InvalidCredential::Empty);
        }
        if matches!(self, Self::Hmac(_)) && signature_header(source).is_none() {
            return Err(InvalidCredential::Unsigned(source));
        }
        Ok(())
    }

    /// Whether a webhook has a signature, whatever it is.
    pub(crate) fn has_signature(source: Source, headers: &HeaderMap) -> bool {
        signature_header(source).is_some_and(|name| headers.contains_key(name))
    }

    /// Whether a webhook contains this credential.
    pub(crate) fn authenticates(
        &self,
        source: Source,
        token: Option<&str>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> bool {
        let header = |name: &str| {
            headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
        };
        let authorization = header(AUTHORIZATION.as_str());
        match self {
            Self::Bearer(expected) => {
                let received = match source {
                    Source::Artifactory => header(ARTIFACTORY_HEADER),
                    Source::DockerHub | Source::Quay if authorization.is_empty() => {
                        token.unwrap_or_default()
                    }
                    _ => authorization.strip_prefix("Bearer ").unwrap_or(authorization),
                };
                are_equal(received, expected)
            }
            Self::Basic(BasicCredential { username, password }) => {
                let expected = STANDARD.encode(format!("{username}:{password}"));
                are_equal(authorization.strip_prefix("Basic ").unwrap_or_default(), &expected)
            }
            Self::Hmac(key) => {
                let Some(name) = signature_header(source) else { return false };
                let received = header(name);
                let signature =
                    decode_hexadecimal(received.strip_prefix("sha256=").unwrap_or(received));
                let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
                signature.is_some_and(|signature| hmac::verify(&key, body, &signature).is_ok())
            }
        }
    }
}

const ARTIFACTORY_HEADER: &str = "x-jfrog-event-auth";

/// The header that contains the product's signature.
fn signature_header(source: Source) -> Option<&'static str> {
    match source {
        Source::Github => Some("x-hub-signature-256"),
        Source::Artifactory => Some(ARTIFACTORY_HEADER),
        _ => None,
    }
}

fn are_equal(received: &str, expected: &str) -> bool {
    verify_slices_are_equal(received.as_bytes(), expected.as_bytes()).is_ok()
}

pub(crate) fn encode_hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode_hexadecimal(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}
