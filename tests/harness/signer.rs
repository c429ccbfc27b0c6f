//! Requests that are signed as the SDKs sign them.

use std::time::SystemTime;

use aws_sdk_ecr::config::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::identity::Identity;
use catalog::Timestamp;

use super::REGION;

/// The headers that sign a `POST` request with these headers now.
pub fn signature_headers(
    credentials: &Credentials,
    signing_name: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Vec<(String, String)> {
    method_signature_headers("POST", credentials, signing_name, url, headers, body)
}

/// The headers that sign a `GET` request now.
pub fn get_signature_headers(
    credentials: &Credentials,
    signing_name: &str,
    url: &str,
) -> Vec<(String, String)> {
    method_signature_headers("GET", credentials, signing_name, url, &[], "")
}

fn method_signature_headers(
    method: &str,
    credentials: &Credentials,
    signing_name: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Vec<(String, String)> {
    let identity = Identity::from(credentials.clone());
    // The catalog uses the real clock.
    let now = jiff::Timestamp::from(Timestamp::now());
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name(signing_name)
        .time(SystemTime::from(now))
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let body = SignableBody::Bytes(body.as_bytes());
    let request = SignableRequest::new(method, url, headers.iter().copied(), body).unwrap();
    let (instructions, _) = sign(request, &parameters).unwrap().into_parts();
    let headers = instructions.headers();
    headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
