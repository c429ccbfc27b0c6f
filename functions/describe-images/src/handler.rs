//! From an HTTP request to an HTTP response, in the order of the services' own checks: path, method,
//! size, target, body.

use std::time::Instant;

use catalog::{Reader, RegistryId};
use lambda_http::http::header::{ALLOW, CONTENT_TYPE};
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Request, Response};
use uuid::Uuid;

use crate::error::DescribeImagesError;
use crate::operation::{Described, describe_images};
use crate::page_token_keys::PageTokenKeys;
use crate::request::DescribeImagesRequest;
use crate::service::Service;

/// The most bytes of a request body.
pub const LARGEST_BODY: usize = 1024 * 1024;

const AMZ_JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

/// Answers DescribeImages requests.
#[derive(Debug)]
pub struct DescribeImages {
    reader: Reader,
    page_token_keys: PageTokenKeys,
    default_registry: RegistryId,
}

/// What the log says of a request besides its outcome.
#[derive(Default)]
struct Asked {
    service: Option<Service>,
    request: Option<DescribeImagesRequest>,
}

impl DescribeImages {
    /// Answers from this reader; a request without `registryId` is about the default registry.
    #[must_use]
    pub fn new(reader: Reader, page_token_keys: PageTokenKeys, default_registry: RegistryId) -> Self {
        Self { reader, page_token_keys, default_registry }
    }

    /// Answers one request. Every failure is a reply, too.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        let started = Instant::now();
        let request_id = Uuid::new_v4();
        let mut asked = Asked::default();
        let result = self.answer(&request, &mut asked).await;
        log(request_id, started, &asked, &result);
        respond(request_id, result)
    }

    /// The reply to a request that could not be read to its end.
    #[must_use]
    pub fn refuse_incomplete() -> Response<Body> {
        let request_id = Uuid::new_v4();
        let result = Err(DescribeImagesError::Serialization("The request body ended early.".to_owned()));
        log(request_id, Instant::now(), &Asked::default(), &result);
        respond(request_id, result)
    }

    /// The body of a reply, and the capacity that it took.
    async fn answer(
        &self,
        request: &Request,
        asked: &mut Asked,
    ) -> Result<(String, f64), DescribeImagesError> {
        let path = request.uri().path();
        if path != "/" && path != "/DescribeImages" {
            return Err(DescribeImagesError::NotFound);
        }
        if request.method() != Method::POST {
            return Err(DescribeImagesError::MethodNotAllowed);
        }
        let body: &[u8] = request.body();
        if body.len() > LARGEST_BODY {
            return Err(DescribeImagesError::RequestTooLarge);
        }
        let service = find_service(path, request.headers().get("x-amz-target"))?;
        asked.service = Some(service);
        let request =
            asked.request.insert(DescribeImagesRequest::parse(service, &self.default_registry, body)?);
        let keyring = self.page_token_keys.keyring().await.map_err(DescribeImagesError::Server)?;
        let Described { response, consumed_capacity } =
            describe_images(&self.reader, &keyring, service, request).await?;
        let body =
            serde_json::to_string(&response).map_err(|error| DescribeImagesError::Server(Box::new(error)))?;
        Ok((body, consumed_capacity))
    }
}

fn respond(request_id: Uuid, result: Result<(String, f64), DescribeImagesError>) -> Response<Body> {
    let (status, error_type, body) = match result {
        Ok((body, _)) => (StatusCode::OK, None, body),
        Err(error) => (error.status(), Some(error.name()), error.body()),
    };
    let mut response = Response::new(Body::Text(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, AMZ_JSON);
    if let Ok(request_id) = HeaderValue::from_str(&request_id.to_string()) {
        headers.insert("x-amzn-requestid", request_id);
    }
    if let Some(error_type) = error_type {
        headers.insert("x-amzn-errortype", HeaderValue::from_static(error_type));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// Whose DescribeImages is asked for.
fn find_service(path: &str, target: Option<&HeaderValue>) -> Result<Service, DescribeImagesError> {
    let Some(target) = target else {
        return if path == "/DescribeImages" {
            Ok(Service::EcrPublic)
        } else {
            Err(DescribeImagesError::UnknownOperation)
        };
    };
    let (service, operation) = target
        .to_str()
        .ok()
        .and_then(|target| target.split_once('.'))
        .and_then(|(service, operation)| Some((Service::of_target(service)?, operation)))
        .ok_or(DescribeImagesError::UnknownOperation)?;
    match operation {
        "DescribeImages" => Ok(service),
        operation if service.has_operation(operation) => {
            Err(DescribeImagesError::UnsupportedCommand(operation.to_owned()))
        }
        _ => Err(DescribeImagesError::UnknownOperation),
    }
}

/// One line a request: no body, no token.
fn log(
    request_id: Uuid,
    started: Instant,
    asked: &Asked,
    result: &Result<(String, f64), DescribeImagesError>,
) {
    let service = asked.service.map(Service::as_str);
    let repository = asked.request.as_ref().map(|request| request.repository.to_string());
    let latency_milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match result {
        Ok((_, consumed_capacity)) => {
            tracing::info!(%request_id, service, repository, latency_milliseconds, consumed_capacity, "described images");
        }
        Err(error @ DescribeImagesError::Server(cause)) => {
            let error_name = error.name();
            tracing::error!(%request_id, service, repository, latency_milliseconds, error_name, %cause, "failed to describe images");
        }
        Err(error) => {
            let error_name = error.name();
            tracing::info!(%request_id, service, repository, latency_milliseconds, error_name, "refused to describe images");
        }
    }
}
