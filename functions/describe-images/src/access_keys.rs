//! Authenticates requests that are signed with an access key of the catalog's own.
//!
//! The keys are in a file, or in a secret of AWS Secrets Manager: a JSON list.
//!
//! ```json
//! [{
//!     "accessKeyId": "AKIDEXAMPLE",
//!     "secretAccessKey": "…",
//!     "sessionToken": "…",
//!     "expiration": "2027-01-01T00:00:00Z",
//!     "arn": "arn:aws:iam::123456789012:user/reader",
//!     "repositories": ["123456789012/*"],
//!     "disabled": true
//! }]
//! ```
//!
//! `sessionToken` and `expiration` are those of a session, and optional. `arn` is the caller's, and
//! contains the account. `repositories` are the repositories that the caller may read, where `*`
//! matches any characters: `<registryId>/<repositoryName>` in Amazon ECR, and
//! `ecr-public/<registryId>/<repositoryName>` in Amazon ECR Public. The default is all repositories
//! of the account in both services. A key that is `disabled` is unknown.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use catalog::identifier::Glob;
use catalog::{RegistryId, Service};
use http::request::Parts;
use jiff::Timestamp;
use secret::Secret;
use serde::{Deserialize, Serialize};
use signatures::{Signature, SignatureError, TERMINATOR};

use crate::caller::{Caller, Permissions};
use crate::error::ApiError;
use crate::service;

/// How often the keys are read again: how long a key that was disabled still works.
pub const LIFETIME: Duration = Duration::from_mins(1);

/// How long the keys are used without being read again: a key that was disabled meanwhile works no
/// longer than that, which is as long as a signature is valid. The alarm of failed reads comes ten
/// minutes earlier.
pub const MAX_AGE: Duration = Duration::from_mins(15);

/// The first characters of the ids that the catalog makes. Those of AWS begin with others, so that
/// nobody takes one for the other.
pub const ID_PREFIX: &str = "IMGC";

/// The other characters of an id.
const ID_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// An access key, and its caller.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessKey {
    pub access_key_id: String,
    pub secret_access_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Timestamp>,
    pub arn: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repositories: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

/// Why a list of access keys is not valid. The texts contain no secret access key.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAccessKeys {
    #[error("{0}")]
    Json(String),
    #[error("'{0}' is no ARN with an account")]
    Arn(String),
    #[error("'{0}' is there twice")]
    Duplicate(String),
    #[error("an access key has no accessKeyId")]
    NoId,
    #[error("'{0}' has no secretAccessKey")]
    NoSecret(String),
}

impl AccessKey {
    /// Parses a list of access keys, and checks each of them.
    pub fn parse_list(json: &str) -> Result<Vec<Self>, InvalidAccessKeys> {
        let keys: Vec<Self> = serde_json::from_str(json).map_err(|error| {
            let text = error.to_string();
            // The value that is not valid may be a secret.
            let expected = text.rsplit_once(", expected ").filter(|_| text.starts_with("invalid "));
            let expected = expected.map(|(_, expected)| format!("expected {expected}"));
            InvalidAccessKeys::Json(expected.unwrap_or(text))
        })?;
        let mut ids = HashSet::new();
        for key in &keys {
            key.account()?;
            let id = key.access_key_id.clone();
            if id.is_empty() {
                return Err(InvalidAccessKeys::NoId);
            }
            if key.secret_access_key.is_empty() {
                return Err(InvalidAccessKeys::NoSecret(id));
            }
            if !ids.insert(&key.access_key_id) {
                return Err(InvalidAccessKeys::Duplicate(id));
            }
        }
        Ok(keys)
    }

    /// A new random key of a caller, who may read all repositories of their account; `None` without
    /// a source of randomness. Id and secret are as long as those of AWS.
    #[must_use]
    pub fn generate(arn: String) -> Option<Self> {
        let (mut id, mut secret) = ([0_u8; 16], [0_u8; 30]);
        rand::fill(&mut id).ok()?;
        rand::fill(&mut secret).ok()?;
        let character = |byte: u8| char::from(ID_ALPHABET[usize::from(byte) % ID_ALPHABET.len()]);
        Some(Self {
            access_key_id: ID_PREFIX.chars().chain(id.into_iter().map(character)).collect(),
            secret_access_key: STANDARD.encode(secret),
            session_token: None,
            expiration: None,
            arn,
            repositories: None,
            disabled: false,
        })
    }

    /// The account of the caller.
    pub fn account(&self) -> Result<RegistryId, InvalidAccessKeys> {
        let account = self.arn.split(':').nth(4).map(RegistryId::parse);
        account.and_then(Result::ok).ok_or_else(|| InvalidAccessKeys::Arn(self.arn.clone()))
    }
}

/// The access keys that are not disabled, by their ids.
#[derive(Debug)]
pub struct AccessKeys(HashMap<String, Arc<KnownKey>>);

#[derive(Debug)]
struct KnownKey {
    credentials: Credentials,
    account: RegistryId,
    arn: String,
    repositories: Vec<Glob>,
}

impl AccessKeys {
    /// Parses the content of a file or of a secret.
    pub fn parse(json: &str) -> Result<Self, InvalidAccessKeys> {
        let mut known = HashMap::new();
        for key in AccessKey::parse_list(json)? {
            if !key.disabled {
                known.insert(key.access_key_id.clone(), Arc::new(KnownKey::new(key)?));
            }
        }
        Ok(Self(known))
    }
}

impl KnownKey {
    fn new(key: AccessKey) -> Result<Self, InvalidAccessKeys> {
        let account = key.account()?;
        let repositories = key.repositories.unwrap_or_else(|| {
            vec![format!("{account}/*"), format!("{}/{account}/*", Service::EcrPublic)]
        });
        let credentials = Credentials::new(
            key.access_key_id,
            key.secret_access_key,
            key.session_token,
            key.expiration.map(SystemTime::from),
            "access keys",
        );
        let repositories = repositories.iter().map(|pattern| Glob::parse(pattern)).collect();
        Ok(Self { credentials, account, arn: key.arn, repositories })
    }
}

/// Authenticates requests by the access keys, and the scope of their signatures.
#[derive(Debug)]
pub struct Authentication {
    keys: Secret<AccessKeys>,
    region: String,
    signing_name: Option<String>,
}

impl Authentication {
    /// Signatures must be scoped to this region, and to the signing name, or, without one, to the
    /// service that the request is for.
    #[must_use]
    pub fn new(keys: Secret<AccessKeys>, region: String, signing_name: Option<String>) -> Self {
        Self { keys, region, signing_name }
    }

    /// The caller who signed a request.
    pub async fn authenticate(
        &self,
        head: &Parts,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Caller, ApiError> {
        self.check_head(head, now).await?.check_body(head, body)
    }

    /// Checks what the head of a request contains: all but the signature, which is of the body,
    /// too.
    pub async fn check_head(&self, head: &Parts, now: Timestamp) -> Result<SignedHead, ApiError> {
        let signature = Signature::parse(head)?;
        let keys = self.keys.value().await.map_err(ApiError::Server)?;
        let Some(key) = keys.0.get(&signature.access_key_id).map(Arc::clone) else {
            return Err(ApiError::UnrecognizedClient);
        };
        let token = signature.session_token.as_bytes();
        let expected_token = key.credentials.session_token().unwrap_or_default();
        if verify_slices_are_equal(token, expected_token.as_bytes()).is_err() {
            return Err(ApiError::UnrecognizedClient);
        }
        if key.credentials.expiry().is_some_and(|expiry| expiry < SystemTime::from(now)) {
            return Err(ApiError::ExpiredToken);
        }
        signature.check_time(now)?;
        self.check_scope(&signature, head)?;
        Ok(SignedHead { key, signature, region: self.region.clone() })
    }

    fn check_scope(&self, signature: &Signature, head: &Parts) -> Result<(), ApiError> {
        let invalid = |message| Err(ApiError::InvalidSignature(message));
        if signature.region != self.region {
            return invalid(format!(
                "Credential should be scoped to a valid region, not '{}'.",
                signature.region
            ));
        }
        let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let target = target.and_then(|target| target.split_once('.'));
        let service = match target.and_then(|(service, _)| service::from_target(service)) {
            None if head.uri.path() == "/DescribeImages" => Some(Service::EcrPublic),
            service => service,
        };
        // The target may name no operation, which is another error (rule 40).
        let services = service.map_or(Service::ALL.to_vec(), |service| vec![service]);
        let mut expected: Vec<&str> = services.into_iter().map(Service::as_str).collect();
        if let Some(name) = &self.signing_name {
            expected = vec![name];
        }
        if !expected.contains(&signature.service.as_str()) {
            return invalid(format!(
                "Credential should be scoped to correct service: '{}'.",
                expected[0]
            ));
        }
        if signature.terminator != TERMINATOR {
            return invalid(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'.",
                signature.terminator
            ));
        }
        Ok(())
    }
}

/// The head of a request with a known access key.
pub struct SignedHead {
    key: Arc<KnownKey>,
    signature: Signature,
    region: String,
}

impl SignedHead {
    /// Verifies the signature.
    pub fn check_body(self, head: &Parts, body: &[u8]) -> Result<Caller, ApiError> {
        let Self { key, signature, region } = self;
        signature.verify(key.credentials.secret_access_key(), &head.headers, body)?;
        let permissions = Permissions {
            access_key_id: signature.access_key_id,
            arn: key.arn.clone(),
            region,
            repositories: key.repositories.clone(),
        };
        Ok(Caller { account: key.account.clone(), permissions: Some(permissions) })
    }
}

impl From<SignatureError> for ApiError {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Missing => Self::MissingAuthenticationToken,
            SignatureError::Incomplete(message) => Self::IncompleteSignature(message),
            SignatureError::Invalid(message) => Self::InvalidSignature(message),
        }
    }
}
