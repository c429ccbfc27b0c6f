//! From an HTTP request to an HTTP response, in the order of the services' own checks: path,
//! method, size, target, body.

use std::time::Instant;

use catalog::{Reader, RegistryId};
use lambda_http::http::header::{ALLOW, CONTENT_TYPE};
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Request, Response};
use metrics::{Unit, counter, histogram};
use secret::Secret;
use uuid::Uuid;

use crate::caller::Caller;
use crate::error::DescribeImagesError;
use crate::operation::{Described, describe_images};
use crate::page_token::Keyring;
use crate::request::DescribeImagesRequest;
use crate::service::Service;

/// The most bytes of a request body.
pub const LARGEST_BODY: usize = 1024 * 1024;

/// The units of what is recorded of each request; the rest are counts.
pub const METRIC_UNITS: [(&str, Unit); 1] = [("Latency", Unit::Milliseconds)];

const AMZ_JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

/// Answers DescribeImages requests.
#[derive(Debug)]
pub struct DescribeImages {
    reader: Reader,
    keyring: Secret<Keyring>,
    default_registry: RegistryId,
}

/// What the log says of a request besides its outcome.
#[derive(Default)]
struct Asked {
    service: Option<Service>,
    request: Option<DescribeImagesRequest>,
}

/// A reply, and what it took.
struct Answer {
    body: String,
    images: usize,
    consumed_capacity: f64,
}

impl DescribeImages {
    /// Answers from this reader; a request without `registryId` is about the registry of the
    /// caller's account, or, if nobody signed it, about the default registry.
    #[must_use]
    pub fn new(reader: Reader, keyring: Secret<Keyring>, default_registry: RegistryId) -> Self {
        Self { reader, keyring, default_registry }
    }

    /// Answers one request. Every failure is a reply, too.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        let started = Instant::now();
        let request_id = Uuid::new_v4();
        let mut asked = Asked::default();
        let result = self.answer(&request, &mut asked).await;
        record(request_id, started, &asked, &result);
        respond(request_id, result)
    }

    /// Refuses a request before it is looked into.
    #[must_use]
    pub fn refuse(error: DescribeImagesError) -> Response<Body> {
        let request_id = Uuid::new_v4();
        let result = Err(error);
        record(request_id, Instant::now(), &Asked::default(), &result);
        respond(request_id, result)
    }

    async fn answer(
        &self,
        request: &Request,
        asked: &mut Asked,
    ) -> Result<Answer, DescribeImagesError> {
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
        let caller = Caller::of(request);
        let registry = caller.as_ref().map_or(&self.default_registry, |caller| &caller.account);
        let request = asked.request.insert(DescribeImagesRequest::parse(service, registry, body)?);
        if let Some(caller) = caller {
            caller.authorize(service, &request.repository)?;
        }
        let keyring = self.keyring.value().await.map_err(DescribeImagesError::Server)?;
        let Described { response, consumed_capacity } =
            describe_images(&self.reader, &keyring, service, request).await?;
        let body = serde_json::to_string(&response)
            .map_err(|error| DescribeImagesError::Server(Box::new(error)))?;
        Ok(Answer { body, images: response.image_details.len(), consumed_capacity })
    }
}

fn respond(request_id: Uuid, result: Result<Answer, DescribeImagesError>) -> Response<Body> {
    let (status, error_type, body) = match result {
        Ok(answer) => (StatusCode::OK, None, answer.body),
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

/// Counts the request, and writes one line about it to the log: no body, no token.
fn record(
    request_id: Uuid,
    started: Instant,
    asked: &Asked,
    result: &Result<Answer, DescribeImagesError>,
) {
    let service = asked.service.map(Service::as_str);
    let repository = asked.request.as_ref().map(|request| &request.repository);
    let registry = repository.map(|repository| repository.registry.as_str());
    let repository = repository.map(|repository| repository.name.as_str());
    let latency = started.elapsed().as_secs_f64() * 1000.0;
    counter!("Requests").increment(1);
    histogram!("Latency").record(latency);
    macro_rules! log {
        ($level:ident, $result:expr, $($fields:tt)*) => {
            tracing::$level!(
                %request_id, operation = "DescribeImages", service, registry, repository, latency,
                result = $result, $($fields)*
            )
        };
    }
    match result {
        Ok(Answer { images, consumed_capacity, .. }) => {
            histogram!("Items").record(*images as f64);
            histogram!("ConsumedReadCapacity").record(*consumed_capacity);
            log!(info, "Success", images, consumed_capacity, "described images");
        }
        Err(error) => {
            counter!("Errors", "Error" => error.name()).increment(1);
            match error {
                DescribeImagesError::Server(cause) => {
                    log!(error, error.name(), %cause, "failed to describe images");
                }
                _ => log!(info, error.name(), "refused to describe images"),
            }
        }
    }
}
