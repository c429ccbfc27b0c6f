//! The signature of a request, and its verification.
//!
//! A signature is in the header `Authorization`, or in the query of a presigned request. What AWS
//! does not document is refused where the SDKs send no such request.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>

use std::collections::HashMap;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use jiff::{SignedDuration, Timestamp};

use crate::canonical_request::{Query, SIGNATURE, canonical_head, parse_query};
use crate::time::{TIME_FORMAT, parse_basic_time, parse_date};

/// The last part of a scope.
pub const TERMINATOR: &str = "aws4_request";

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

const DATE_FORMAT: &str = "%Y%m%d";

/// Between the clock of a caller and the clock here.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(15);

/// Seven days, the maximum of `X-Amz-Expires`.
const MAX_EXPIRES_SECONDS: i64 = 604_800;

/// The parameters of a presigned request. Upper and lower case are different.
const QUERY_PARAMETERS: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Security-Token",
    SIGNATURE,
];

/// Why a signature is not accepted. The texts are those of the services.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    #[error("the request has no signature")]
    Missing,
    /// It is not in a form that can be verified.
    #[error("{0}")]
    Incomplete(String),
    /// It is not valid for this request or time.
    #[error("{0}")]
    Invalid(String),
}

/// The signature of a request, and what it signs apart from the body.
pub struct Signature {
    pub access_key_id: String,
    /// Empty if the request contains none.
    pub session_token: String,
    pub region: String,
    pub service: String,
    /// The last part of its scope. It must be [`TERMINATOR`].
    pub terminator: String,
    date: String,
    time: Timestamp,
    /// How long the signature is valid.
    lifetime: SignedDuration,
    canonical_head: String,
    signature: String,
}

/// The parameters of a signature.
struct Parameters<'a> {
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
    session_token: &'a str,
    time: Timestamp,
    lifetime: SignedDuration,
}

impl Signature {
    /// Reads the signature of a request.
    pub fn parse(head: &Parts) -> Result<Self, SignatureError> {
        let query = parse_query(head.uri.query().unwrap_or_default());
        let is_presigned = query
            .iter()
            .any(|(name, _)| QUERY_PARAMETERS.iter().any(|known| known.as_bytes() == name));
        let parameters = match (head.headers.contains_key(AUTHORIZATION), is_presigned) {
            (false, false) => return Err(SignatureError::Missing),
            (true, false) => Parameters::from_headers(&head.headers)?,
            (false, true) => Parameters::from_query(&query)?,
            (true, true) => {
                return Err(incomplete(
                    "The signature must be in the Authorization header or in the query string, not \
                     in both.",
                ));
            }
        };
        let credential: Vec<&str> = parameters.credential.split('/').collect();
        let [access_key_id, date, region, service, terminator] = credential[..] else {
            return Err(invalid_credential(parameters.credential));
        };
        if credential.contains(&"") {
            return Err(invalid_credential(parameters.credential));
        }
        let signed_headers = parse_signed_headers(parameters.signed_headers, &head.headers)?;
        let canonical_head = canonical_head(head, &query, &signed_headers)
            .map_err(|error| incomplete(error.to_string()))?;
        Ok(Self {
            access_key_id: access_key_id.to_owned(),
            session_token: parameters.session_token.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            terminator: terminator.to_owned(),
            date: date.to_owned(),
            time: parameters.time,
            lifetime: parameters.lifetime,
            canonical_head,
            signature: parameters.signature.to_owned(),
        })
    }

    /// Whether the signature is valid now. Times have whole seconds, as the messages have.
    pub fn check_time(&self, now: Timestamp) -> Result<(), SignatureError> {
        let invalid = |message| Err(SignatureError::Invalid(message));
        let basic = |time: Timestamp| time.strftime(TIME_FORMAT);
        let time = basic(self.time);
        let date = self.time.strftime(DATE_FORMAT).to_string();
        if self.date != date {
            return invalid(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date \
                 from HTTP: '{}' != '{date}', from '{time}'.",
                self.date
            ));
        }
        let age = SignedDuration::from_secs(now.as_second() - self.time.as_second());
        if age > self.lifetime {
            let seconds = self.lifetime.as_secs();
            let lifetime = match seconds % 60 {
                0 => format!("{} min.", seconds / 60),
                _ => format!("{seconds} sec."),
            };
            return invalid(format!(
                "Signature expired: {time} is now earlier than {} ({} - {lifetime})",
                basic(now - self.lifetime),
                basic(now)
            ));
        }
        if age < -CLOCK_SKEW {
            return invalid(format!(
                "Signature not yet current: {time} is still later than {} ({} + 15 min.)",
                basic(now + CLOCK_SKEW),
                basic(now)
            ));
        }
        Ok(())
    }

    /// Verifies the signature with the secret of its access key.
    pub fn verify(
        &self,
        secret: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), SignatureError> {
        let Self { date, time, region, service, .. } = self;
        let payload_hash = sha256(body);
        // The payload is signed unless the model of an operation has the trait `unsignedPayload`,
        // which ECR's do not have. So `UNSIGNED-PAYLOAD` is refused, as Lambda refuses it.
        // https://smithy.io/2.0/aws/aws-auth.html#aws-auth-unsignedpayload-trait
        // https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-restricting-access-to-lambda.html
        let hashes = headers.get_all("x-amz-content-sha256");
        if hashes.iter().any(|hash| hash.as_bytes() != payload_hash.as_bytes()) {
            return Err(SignatureError::Invalid(
                "The provided 'x-amz-content-sha256' header does not match what was computed."
                    .to_owned(),
            ));
        }
        let canonical_request = format!("{}{payload_hash}", self.canonical_head);
        let string_to_sign = format!(
            "{ALGORITHM}\n{}\n{date}/{region}/{service}/{TERMINATOR}\n{}",
            time.strftime(TIME_FORMAT),
            sha256(canonical_request.as_bytes())
        );
        let key = generate_signing_key(secret, (*time).into(), region, service);
        let expected = calculate_signature(key, string_to_sign.as_bytes());
        verify_slices_are_equal(expected.as_bytes(), self.signature.as_bytes()).map_err(|_| {
            SignatureError::Invalid(
                "The request signature we calculated does not match the signature you provided. \
                 Check your AWS Secret Access Key and signing method. Consult the service \
                 documentation for details."
                    .to_owned(),
            )
        })
    }
}

impl<'a> Parameters<'a> {
    fn from_headers(headers: &'a HeaderMap) -> Result<Self, SignatureError> {
        let requires = |what: &str| incomplete(format!("Authorization header requires {what}."));
        let authorization = header(headers, "authorization")?.unwrap_or_default();
        let (_, parameters) = authorization
            .split_once(' ')
            .filter(|(algorithm, _)| *algorithm == ALGORITHM)
            .ok_or_else(|| requires(&format!("the algorithm {ALGORITHM}")))?;
        let mut by_name = HashMap::new();
        for parameter in parameters.split(',').map(str::trim) {
            let (name, value) = parameter.split_once('=').ok_or_else(|| {
                incomplete(format!(
                    "'{parameter}' not a valid key=value pair (missing equal-sign) in \
                     Authorization header."
                ))
            })?;
            if by_name.insert(name, value).is_some() {
                return Err(incomplete(format!(
                    "Authorization header contains '{name}' more than once."
                )));
            }
        }
        let parameter = |name: &str| {
            let value = by_name.get(name).copied();
            value.ok_or_else(|| requires(&format!("'{name}' parameter")))
        };
        let time = if let Some(time) = header(headers, "x-amz-date")? {
            parse_basic_time(time).ok_or_else(|| invalid_time(time))?
        } else if let Some(time) = header(headers, "date")? {
            parse_date(time).ok_or_else(|| invalid_time(time))?
        } else {
            return Err(requires("existence of either a 'X-Amz-Date' or a 'Date' header"));
        };
        Ok(Self {
            credential: parameter("Credential")?,
            signed_headers: parameter("SignedHeaders")?,
            signature: parameter("Signature")?,
            session_token: header(headers, "x-amz-security-token")?.unwrap_or_default(),
            time,
            lifetime: CLOCK_SKEW,
        })
    }

    fn from_query(query: &'a Query) -> Result<Self, SignatureError> {
        let optional = |name: &str| {
            let mut values = query.iter().filter(|(known, _)| known == name.as_bytes());
            let value = values.next().map(|(_, value)| str::from_utf8(value)).transpose();
            match value {
                Ok(value) if values.next().is_none() => Ok(value),
                _ => Err(incomplete(format!(
                    "AWS query-string parameters must include '{name}' only once, as UTF-8."
                ))),
            }
        };
        let parameter = |name: &str| {
            optional(name)?.ok_or_else(|| {
                incomplete(format!(
                    "AWS query-string parameters must include '{name}'. Re-examine the \
                     query-string parameters."
                ))
            })
        };
        let algorithm = parameter("X-Amz-Algorithm")?;
        if algorithm != ALGORITHM {
            return Err(incomplete(format!("X-Amz-Algorithm must be {ALGORITHM}.")));
        }
        let time = parameter("X-Amz-Date")?;
        Ok(Self {
            credential: parameter("X-Amz-Credential")?,
            signed_headers: parameter("X-Amz-SignedHeaders")?,
            signature: parameter(SIGNATURE)?,
            session_token: optional("X-Amz-Security-Token")?.unwrap_or_default(),
            time: parse_basic_time(time).ok_or_else(|| invalid_time(time))?,
            lifetime: parse_expires(parameter("X-Amz-Expires")?)?,
        })
    }
}

/// The value of a header that is there once at most.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, SignatureError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(|value| value.to_str()).transpose();
    match value {
        Ok(value) if values.next().is_none() => Ok(value),
        _ => Err(incomplete(format!("The header '{name}' must be there once, as ASCII text."))),
    }
}

/// The names in `SignedHeaders`. AWS documents that `host` and each `x-amz-*` of the request must
/// be signed.
fn parse_signed_headers<'a>(
    list: &'a str,
    headers: &HeaderMap,
) -> Result<Vec<&'a str>, SignatureError> {
    let names: Vec<&str> = list.split(';').collect();
    let is_name = |name: &&str| !name.is_empty() && !name.contains(char::is_uppercase);
    if !names.iter().all(is_name) || !names.is_sorted_by(|name, next| name < next) {
        return Err(incomplete(
            "'SignedHeaders' must contain names in lower case and in alphabetical order, each \
             once.",
        ));
    }
    let required =
        headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with("x-amz-"));
    let unsigned = ["host"].into_iter().chain(required).find(|name| !names.contains(name));
    match unsigned {
        Some(name) => {
            Err(incomplete(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")))
        }
        None => Ok(names),
    }
}

fn parse_expires(text: &str) -> Result<SignedDuration, SignatureError> {
    let is_number = text.bytes().all(|digit| digit.is_ascii_digit());
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| is_number && (1..=MAX_EXPIRES_SECONDS).contains(seconds));
    seconds.map(SignedDuration::from_secs).ok_or_else(|| {
        incomplete(format!(
            "X-Amz-Expires must be a number of seconds from 1 to {MAX_EXPIRES_SECONDS}."
        ))
    })
}

fn incomplete(message: impl Into<String>) -> SignatureError {
    SignatureError::Incomplete(message.into())
}

fn invalid_time(time: &str) -> SignatureError {
    incomplete(format!("Date must be in ISO-8601 'basic format'. Got '{time}'."))
}

fn invalid_credential(credential: &str) -> SignatureError {
    incomplete(format!(
        "Credential must have exactly 5 slash-delimited elements, e.g. \
         keyid/date/region/service/term, got '{credential}'"
    ))
}

/// In lower-case hexadecimal digits.
fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_valid_after(seconds: i64, lifetime: i64) -> bool {
        let time = Timestamp::from_second(1_440_938_160).unwrap();
        let signature = Signature {
            access_key_id: String::new(),
            session_token: String::new(),
            region: String::new(),
            service: String::new(),
            terminator: String::new(),
            date: "20150830".to_owned(),
            time,
            lifetime: SignedDuration::from_secs(lifetime),
            canonical_head: String::new(),
            signature: String::new(),
        };
        let milliseconds = SignedDuration::from_millis(999);
        signature.check_time(time + SignedDuration::from_secs(seconds) + milliseconds).is_ok()
    }

    #[test]
    fn signatures_are_valid_up_to_the_borders() {
        for (seconds, lifetime, is_valid) in [
            (-901, 900, false),
            (-900, 900, true),
            (900, 900, true),
            (901, 900, false),
            (-901, 1, false),
            (-900, 1, true),
            (1, 1, true),
            (2, 1, false),
            (604_800, 604_800, true),
            (604_801, 604_800, false),
        ] {
            assert_eq!(is_valid_after(seconds, lifetime), is_valid, "{seconds} {lifetime}");
        }
    }
}
