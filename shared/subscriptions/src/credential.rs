//! What a registry shows with each event, in the form in which its product can show it. All
//! comparisons take the same time whatever is wrong.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde::Deserialize;

use crate::Source;

/// What a registry shows with each event.
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

/// A name and a password.
#[derive(Clone, Deserialize)]
pub struct BasicCredential {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
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
    /// Why a source cannot have such a credential.
    pub(crate) fn problem(&self, source: Source) -> Option<String> {
        let is_empty = match self {
            Self::Bearer(secret) | Self::Hmac(secret) => secret.is_empty(),
            Self::Basic(BasicCredential { username, password }) => {
                username.is_empty() || password.is_empty()
            }
        };
        if is_empty {
            return Some("its credential is empty".to_owned());
        }
        match self {
            Self::Hmac(_) if signature_header(source).is_none() => Some(format!(
                "{source} does not sign its events, so it cannot have an hmac credential"
            )),
            _ => None,
        }
    }

    /// Whether it is shown.
    pub(crate) fn is_shown(
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
                let shown = match source {
                    Source::Artifactory => header(ARTIFACTORY_HEADER),
                    Source::DockerHub | Source::Quay if authorization.is_empty() => {
                        token.unwrap_or_default()
                    }
                    _ => authorization.strip_prefix("Bearer ").unwrap_or(authorization),
                };
                are_equal(shown, expected)
            }
            Self::Basic(BasicCredential { username, password }) => {
                let expected = STANDARD.encode(format!("{username}:{password}"));
                are_equal(authorization.strip_prefix("Basic ").unwrap_or_default(), &expected)
            }
            Self::Hmac(key) => {
                let Some(name) = signature_header(source) else { return false };
                let shown = header(name);
                let shown = decode_hexadecimal(shown.strip_prefix("sha256=").unwrap_or(shown));
                let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
                shown.is_some_and(|shown| hmac::verify(&key, body, &shown).is_ok())
            }
        }
    }
}

const ARTIFACTORY_HEADER: &str = "x-jfrog-event-auth";

/// Where a product puts its signature.
fn signature_header(source: Source) -> Option<&'static str> {
    match source {
        Source::Github => Some("x-hub-signature-256"),
        Source::Artifactory => Some(ARTIFACTORY_HEADER),
        _ => None,
    }
}

fn are_equal(shown: &str, expected: &str) -> bool {
    verify_slices_are_equal(shown.as_bytes(), expected.as_bytes()).is_ok()
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
