//! The endpoints of AWS services in the AWS configuration, as the AWS CLI finds them: in
//! `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_SERVICE`, and in the profile.
//!
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>

use aws_config::SdkConfig;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use url::Url;

/// The services that this program calls, with the names that the AWS configuration has for them.
const SERVICES: [&str; 4] = ["ecr", "ecr_public", "secrets_manager", "sqs"];

/// An endpoint that cannot be used. The error does not repeat it: it may contain a password.
#[derive(Debug, thiserror::Error)]
#[error("the endpoint of the service {service} in the AWS configuration cannot be used: {reason}")]
pub struct InvalidEndpoint {
    service: &'static str,
    reason: String,
}

/// The endpoint of a service, if there is one. To the AWS CLI, an empty one is none.
pub(crate) fn endpoint(aws: &SdkConfig, service: &'static str) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id(service)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    let configured = aws.service_config()?.load_config(key).filter(|url| !url.is_empty());
    configured.or_else(|| of_all_services(aws))
}

/// The endpoint of all services that have none of their own.
fn of_all_services(aws: &SdkConfig) -> Option<String> {
    aws.endpoint_url().filter(|url| !url.is_empty()).map(str::to_owned)
}

/// The same configuration for clients of the SDK, which panic at an endpoint that is no URL.
pub(crate) fn checked(aws: SdkConfig) -> Result<SdkConfig, InvalidEndpoint> {
    for service in SERVICES {
        let url = endpoint(&aws, service);
        url.map(|url| parse_http_url(&url))
            .transpose()
            .map_err(|reason| InvalidEndpoint { service, reason })?;
    }
    let mut builder = aws.to_builder();
    builder.set_endpoint_url(of_all_services(&aws));
    Ok(builder.service_config(WithoutEmpty(aws)).build())
}

/// A configuration in which an empty value is none.
#[derive(Debug)]
struct WithoutEmpty(SdkConfig);

impl LoadServiceConfig for WithoutEmpty {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        self.0.service_config()?.load_config(key).filter(|value| !value.is_empty())
    }
}

/// Parses the URL of an endpoint. The error does not repeat it.
pub(crate) fn parse_http_url(text: &str) -> Result<Url, String> {
    let url =
        Url::parse(text).map_err(|error| format!("it is not an http or https URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it is not an http or https URL".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must not contain a user".to_owned());
    }
    // Clients do not parse the URL then.
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it must not contain a query or a fragment".to_owned());
    }
    Ok(url)
}
