//! Authenticates requests that are signed with an access key of the catalog's own.
//!
//! The callers are in a file, a JSON list of access keys.
//!
//! ```json
//! [{
//!     "accessKeyId": "AKIDEXAMPLE",
//!     "secretAccessKey": "…",
//!     "sessionToken": "…",
//!     "expiration": "2027-01-01T00:00:00Z",
//!     "arn": "arn:aws:iam::123456789012:user/reader",
//!     "repositories": ["123456789012/*"]
//! }]
//! ```
//!
//! `sessionToken` and `expiration` are those of a session, and optional. `arn` is the caller's, and
//! contains the account. `repositories` are the repositories that the caller may read, where `*`
//! matches any characters: `<registryId>/<repositoryName>` in Amazon ECR, and
//! `ecr-public/<registryId>/<repositoryName>` in Amazon ECR Public. The default is all repositories
//! of the account in both services.

use std::collections::HashMap;
use std::path::Path;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use catalog::{RegistryId, Service};
use http::request::Parts;
use jiff::Timestamp;
use serde::Deserialize;
use signatures::{Signature, SignatureError, TERMINATOR};

use crate::caller::{Caller, Permissions, RepositoryPattern};
use crate::error::DescribeImagesError;
use crate::service;

/// The callers, and the scope of their signatures.
#[derive(Debug)]
pub struct Authentication {
    callers: HashMap<String, KnownCaller>,
    region: String,
    signing_name: Option<String>,
}

#[derive(Debug)]
struct KnownCaller {
    credentials: Credentials,
    caller: Caller,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CallerEntry {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<Timestamp>,
    arn: String,
    repositories: Option<Vec<String>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the callers in {path}: {reason}")]
pub struct InvalidCallers {
    path: String,
    reason: String,
}

impl Authentication {
    /// Reads the file of callers. Their signatures must be scoped to this region, and to the
    /// signing name, or, without one, to the service that the request is for.
    pub fn load(
        path: &Path,
        region: &str,
        signing_name: Option<&str>,
    ) -> Result<Self, InvalidCallers> {
        let invalid = |reason: String| InvalidCallers { path: path.display().to_string(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| invalid(error.to_string()))?;
        let entries: Vec<CallerEntry> =
            serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        let mut callers = HashMap::new();
        for entry in entries {
            let account = entry.arn.split(':').nth(4).map(RegistryId::parse);
            let Some(Ok(account)) = account else {
                return Err(invalid(format!("'{}' is no ARN with an account", entry.arn)));
            };
            let repositories = entry.repositories.unwrap_or_else(|| {
                vec![format!("{account}/*"), format!("{}/{account}/*", Service::EcrPublic)]
            });
            let permissions = Permissions {
                arn: entry.arn,
                region: region.to_owned(),
                repositories: repositories
                    .iter()
                    .map(|pattern| RepositoryPattern::parse(pattern))
                    .collect(),
            };
            let known = KnownCaller {
                credentials: Credentials::new(
                    &entry.access_key_id,
                    entry.secret_access_key,
                    entry.session_token,
                    entry.expiration.map(SystemTime::from),
                    "callers",
                ),
                caller: Caller { account, permissions: Some(permissions) },
            };
            if callers.insert(entry.access_key_id.clone(), known).is_some() {
                return Err(invalid(format!("'{}' is there twice", entry.access_key_id)));
            }
        }
        Ok(Self {
            callers,
            region: region.to_owned(),
            signing_name: signing_name.map(str::to_owned),
        })
    }

    /// Checks what the head of a request contains: all but the signature, which is of the body,
    /// too.
    pub fn check_head(
        &self,
        head: &Parts,
        now: Timestamp,
    ) -> Result<SignedHead<'_>, DescribeImagesError> {
        let signature = Signature::parse(head)?;
        let Some(known) = self.callers.get(&signature.access_key_id) else {
            return Err(DescribeImagesError::UnrecognizedClient);
        };
        let token = signature.session_token.as_bytes();
        let expected_token = known.credentials.session_token().unwrap_or_default();
        if verify_slices_are_equal(token, expected_token.as_bytes()).is_err() {
            return Err(DescribeImagesError::UnrecognizedClient);
        }
        if known.credentials.expiry().is_some_and(|expiry| expiry < SystemTime::from(now)) {
            return Err(DescribeImagesError::ExpiredToken);
        }
        signature.check_time(now)?;
        self.check_scope(&signature, head)?;
        Ok(SignedHead { known, signature })
    }

    fn check_scope(&self, signature: &Signature, head: &Parts) -> Result<(), DescribeImagesError> {
        let invalid = |message| Err(DescribeImagesError::InvalidSignature(message));
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

/// The head of a request of a known caller.
pub struct SignedHead<'a> {
    known: &'a KnownCaller,
    signature: Signature,
}

impl SignedHead<'_> {
    /// Verifies the signature.
    pub fn check_body(&self, head: &Parts, body: &[u8]) -> Result<Caller, DescribeImagesError> {
        self.signature.verify(self.known.credentials.secret_access_key(), &head.headers, body)?;
        Ok(self.known.caller.clone())
    }
}

impl From<SignatureError> for DescribeImagesError {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::Missing => Self::MissingAuthenticationToken,
            SignatureError::Incomplete(message) => Self::IncompleteSignature(message),
            SignatureError::Invalid(message) => Self::InvalidSignature(message),
        }
    }
}
