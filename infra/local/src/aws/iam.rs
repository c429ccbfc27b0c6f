//! Authenticates requests by AWS Signature Version 4, as the services and API Gateway do.
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
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use catalog::{RegistryId, Service};
use describe_images::caller::{Caller, Permissions, RepositoryPattern};
use describe_images::error::DescribeImagesError;
use describe_images::service;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// Between the clock of a caller and the clock here.
const CLOCK_SKEW: Duration = Duration::from_mins(15);

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

    /// Checks what the head of a request contains: all but the signature, which is of the body, too.
    pub fn check_head(
        &self,
        head: &Parts,
        now: Timestamp,
    ) -> Result<SignedHead<'_>, DescribeImagesError> {
        let authorization = Authorization::parse(&head.headers)?;
        let Some(known) = self.callers.get(authorization.access_key_id) else {
            return Err(DescribeImagesError::UnrecognizedClient);
        };
        let token = text(&head.headers, "x-amz-security-token").unwrap_or_default();
        let expected_token = known.credentials.session_token().unwrap_or_default();
        if verify_slices_are_equal(token.as_bytes(), expected_token.as_bytes()).is_err() {
            return Err(DescribeImagesError::UnrecognizedClient);
        }
        if known.credentials.expiry().is_some_and(|expiry| expiry < SystemTime::from(now)) {
            return Err(DescribeImagesError::ExpiredToken);
        }
        let time = authorization.check_time(now)?;
        self.check_scope(&authorization, head)?;
        Ok(SignedHead { known, time })
    }

    fn check_scope(
        &self,
        authorization: &Authorization<'_>,
        head: &Parts,
    ) -> Result<(), DescribeImagesError> {
        if authorization.region != self.region {
            return Err(DescribeImagesError::InvalidSignature(format!(
                "Credential should be scoped to a valid region, not '{}'.",
                authorization.region
            )));
        }
        let target = text(&head.headers, "x-amz-target").and_then(|target| target.split_once('.'));
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
        if !expected.contains(&authorization.service) {
            return Err(DescribeImagesError::InvalidSignature(format!(
                "Credential should be scoped to correct service: '{}'.",
                expected[0]
            )));
        }
        Ok(())
    }
}

/// The head of a request of a known caller.
#[derive(Debug)]
pub struct SignedHead<'a> {
    known: &'a KnownCaller,
    time: Timestamp,
}

impl SignedHead<'_> {
    /// Verifies the signature.
    pub fn check_body(&self, head: &Parts, body: &[u8]) -> Result<Caller, DescribeImagesError> {
        let authorization = Authorization::parse(&head.headers)?;
        let Self { known, time } = self;
        let signature =
            authorization.expected_signature(head, body, known.credentials.clone(), *time)?;
        verify_slices_are_equal(signature.as_bytes(), authorization.signature.as_bytes()).map_err(|_| {
            DescribeImagesError::InvalidSignature(
                "The request signature we calculated does not match the signature you provided. Check your AWS \
                 Secret Access Key and signing method. Consult the service documentation for details."
                    .to_owned(),
            )
        })?;
        Ok(known.caller.clone())
    }
}

/// The `Authorization` and `X-Amz-Date` headers of a request.
struct Authorization<'a> {
    access_key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
    time: &'a str,
}

impl<'a> Authorization<'a> {
    fn parse(headers: &'a HeaderMap) -> Result<Self, DescribeImagesError> {
        let incomplete = |what: &str| {
            DescribeImagesError::IncompleteSignature(format!(
                "Authorization header requires {what}."
            ))
        };
        let authorization = text(headers, "authorization")
            .ok_or(DescribeImagesError::MissingAuthenticationToken)?;
        let parameters = authorization
            .strip_prefix(ALGORITHM)
            .ok_or_else(|| incomplete(&format!("the algorithm {ALGORITHM}")))?;
        let parameters: HashMap<&str, &str> = parameters
            .split(',')
            .filter_map(|parameter| parameter.trim().split_once('='))
            .collect();
        let parameter = |name: &str| {
            parameters.get(name).copied().ok_or_else(|| incomplete(&format!("'{name}' parameter")))
        };
        let credential: Vec<&str> = parameter("Credential")?.split('/').collect();
        let [access_key_id, date, region, service, "aws4_request"] = credential[..] else {
            return Err(incomplete(
                "a 'Credential' of access key, date, region, service and 'aws4_request'",
            ));
        };
        let signed_headers: Vec<&str> = parameter("SignedHeaders")?.split(';').collect();
        let is_signed = |name: &str| signed_headers.contains(&name);
        let unsigned = headers
            .keys()
            .map(|name| name.as_str())
            .find(|name| (name.starts_with("x-amz-") || *name == "host") && !is_signed(name));
        if let Some(name) = unsigned {
            return Err(incomplete(&format!("'{name}' among the 'SignedHeaders'")));
        }
        let time = text(headers, "x-amz-date")
            .ok_or_else(|| incomplete("existence of an 'X-Amz-Date' header"))?;
        let signature = parameter("Signature")?;
        Ok(Self { access_key_id, date, region, service, signed_headers, signature, time })
    }

    /// The time of the signature, if it is valid now.
    fn check_time(&self, now: Timestamp) -> Result<Timestamp, DescribeImagesError> {
        let time = DateTime::strptime(TIME_FORMAT, self.time)
            .and_then(|time| TimeZone::UTC.to_timestamp(time))
            .map_err(|_| {
                DescribeImagesError::IncompleteSignature(format!(
                    "Date must be in ISO-8601 'basic format'. Got '{}'.",
                    self.time
                ))
            })?;
        let invalid = |message| Err(DescribeImagesError::InvalidSignature(message));
        if !self.time.starts_with(self.date) {
            return invalid(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{}'.",
                self.date, self.time
            ));
        }
        let basic = |time: Timestamp| time.strftime(TIME_FORMAT);
        let (earliest, latest) = (now - CLOCK_SKEW, now + CLOCK_SKEW);
        if time < earliest {
            return invalid(format!(
                "Signature expired: {} is now earlier than {} ({} - 15 min.)",
                self.time,
                basic(earliest),
                basic(now)
            ));
        }
        if time > latest {
            return invalid(format!(
                "Signature not yet current: {} is still later than {} ({} + 15 min.)",
                self.time,
                basic(latest),
                basic(now)
            ));
        }
        Ok(time)
    }

    /// The signature that the request must have.
    fn expected_signature(
        &self,
        head: &Parts,
        body: &[u8],
        credentials: Credentials,
        time: Timestamp,
    ) -> Result<String, DescribeImagesError> {
        let failed =
            |error: Box<dyn std::error::Error + Send + Sync>| DescribeImagesError::Server(error);
        let mut settings = SigningSettings::default();
        // The request contains the list of signed headers.
        settings.excluded_headers = None;
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(time.into())
            .settings(settings)
            .build()
            .map_err(|error| failed(error.into()))?
            .into();
        let headers = self.signed_headers.iter().flat_map(|name| {
            head.headers
                .get_all(*name)
                .iter()
                .filter_map(|value| Some((*name, value.to_str().ok()?)))
        });
        let host = text(&head.headers, "host").unwrap_or_default();
        let uri = format!("http://{host}{}", head.uri);
        let request =
            SignableRequest::new(head.method.as_str(), uri, headers, SignableBody::Bytes(body))
                .map_err(|error| failed(error.into()))?;
        let (_, signature) =
            sign(request, &parameters).map_err(|error| failed(error.into()))?.into_parts();
        Ok(signature)
    }
}

/// The value of a header that is present once and is text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}
