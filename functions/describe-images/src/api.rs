//! An HTTP request to an HTTP response. The checks have the order of the services' own: path,
//! method, size, target, body.

use std::sync::Arc;
use std::time::Instant;

use catalog::table::causes;
use catalog::{Reader, RegistryId, Repository, Service};
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use metrics::{Unit, counter, histogram};
use secret::Secret;
use serde::Serialize;
use uuid::Uuid;

use crate::cache::{Found, ResponseCache};
use crate::caller::{Caller, Permissions};
use crate::describe_image_tags::{self, describe_image_tags};
use crate::describe_images::{Described, describe_images};
use crate::describe_registries::describe_registries;
use crate::describe_repositories::{DescribeRepositoriesRequest, Selection, describe_repositories};
use crate::error::ApiError;
use crate::list_images::{self, list_images};
use crate::list_tags_for_resource::{self, list_tags_for_resource};
use crate::page_token::Keyring;
use crate::request::DescribeImagesRequest;
use crate::service::{self, Operation};

pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The units of the histograms that are not counts.
pub const METRIC_UNITS: [(&str, Unit); 1] = [("Latency", Unit::Milliseconds)];

const AMZ_JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

/// The read API of both services.
#[derive(Debug)]
pub struct Api {
    reader: Reader,
    keyring: Secret<Keyring>,
    default_registry: RegistryId,
    region: String,
    cache: Option<ResponseCache>,
}

/// What the log contains about a request, as far as it was decoded.
#[derive(Default)]
struct Decoded {
    /// With an access key of the catalog's own.
    caller: Option<Permissions>,
    service: Option<Service>,
    operation: Option<Operation>,
    repository: Option<Repository>,
}

#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) body: String,
    /// The images, the pairs of digest and tag, the tags, the repositories, or the registries.
    pub(crate) items: usize,
    pub(crate) consumed_capacity: f64,
}

impl Api {
    /// A request without `registryId` is about the registry of the caller's account or, if it is not
    /// signed, about the default registry. `region` is the AWS region that the catalog follows.
    #[must_use]
    pub fn new(
        reader: Reader,
        keyring: Secret<Keyring>,
        default_registry: RegistryId,
        region: String,
    ) -> Self {
        Self { reader, keyring, default_registry, region, cache: None }
    }

    /// The same, with a cache of responses.
    #[must_use]
    pub fn with_cache(self, cache: ResponseCache) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// Answers a request. Errors are responses, too. `caller` is who signed the request.
    pub async fn handle<B: AsRef<[u8]>>(
        &self,
        request: &Request<B>,
        caller: Option<&Caller>,
    ) -> Response<String> {
        let started = Instant::now();
        let request_id = Uuid::new_v4();
        let permissions = caller.and_then(|caller| caller.permissions.clone());
        let mut decoded = Decoded { caller: permissions, ..Decoded::default() };
        let result = self.answer(request, caller, &mut decoded).await;
        record(request_id, started, &decoded, &result);
        respond(request_id, result)
    }

    /// Answers a request with an error before it is decoded.
    #[must_use]
    pub fn refuse(error: ApiError) -> Response<String> {
        let request_id = Uuid::new_v4();
        let result = Err(error);
        record(request_id, Instant::now(), &Decoded::default(), &result);
        respond(request_id, result)
    }

    async fn answer<B: AsRef<[u8]>>(
        &self,
        request: &Request<B>,
        caller: Option<&Caller>,
        decoded: &mut Decoded,
    ) -> Result<Answer, ApiError> {
        let path = request.uri().path();
        if path != "/" && path != "/DescribeImages" {
            return Err(ApiError::NotFound);
        }
        if request.method() != Method::POST {
            return Err(ApiError::MethodNotAllowed);
        }
        let body = request.body().as_ref();
        if body.len() > MAX_BODY_BYTES {
            return Err(ApiError::RequestTooLarge);
        }
        let (service, operation) = find_operation(path, request.headers().get("x-amz-target"))?;
        decoded.service = Some(service);
        decoded.operation = Some(operation);
        let registry = caller.map_or(&self.default_registry, |caller| &caller.account);
        let mut authorize = |repository: &Repository| {
            decoded.repository = Some(repository.clone());
            caller.map_or(Ok(()), |caller| caller.authorize(operation, repository))
        };
        match operation {
            Operation::DescribeImages => {
                let request = DescribeImagesRequest::parse(service, registry, body)?;
                authorize(&request.repository)?;
                let cache = self.cache.as_ref();
                let kept = cache.and_then(|it| it.get((service, registry.clone(), body.to_vec())));
                let vacant = match kept {
                    Some(Found::Answer(answer)) => return Ok(answer),
                    Some(Found::Vacant(vacant)) => Some(vacant),
                    None => None,
                };
                let keyring = self.keyring().await?;
                let described = describe_images(&self.reader, &keyring, &request).await?;
                let Described { json, images, consumed_capacity } = described;
                let answer = Answer { body: json, items: images, consumed_capacity };
                if let Some(vacant) = vacant {
                    vacant.keep(&answer);
                }
                Ok(answer)
            }
            Operation::ListImages => {
                let request = list_images::parse(registry, body)?;
                authorize(&request.repository)?;
                let keyring = self.keyring().await?;
                let (response, capacity) = list_images(&self.reader, &keyring, &request).await?;
                Answer::new(&response, response.image_ids.len(), capacity)
            }
            Operation::DescribeImageTags => {
                let request = describe_image_tags::parse(registry, body)?;
                authorize(&request.repository)?;
                let keyring = self.keyring().await?;
                let (response, capacity) =
                    describe_image_tags(&self.reader, &keyring, &request).await?;
                Answer::new(&response, response.image_tag_details.len(), capacity)
            }
            Operation::DescribeRepositories => {
                let request = DescribeRepositoriesRequest::parse(service, registry, body)?;
                let DescribeRepositoriesRequest { registry, selection, .. } = &request;
                match selection {
                    Selection::Names(names) => {
                        for name in names {
                            let (registry, name) = (registry.clone(), name.clone());
                            authorize(&Repository { service, registry, name })?;
                        }
                    }
                    Selection::Page { .. } => caller.map_or(Ok(()), |caller| {
                        caller.authorize_all(operation, service, registry)
                    })?,
                }
                let keyring = self.keyring().await?;
                let (response, capacity) =
                    describe_repositories(&self.reader, &keyring, &self.region, &request).await?;
                Answer::new(&response, response.repositories.len(), capacity)
            }
            Operation::ListTagsForResource => {
                let arn = list_tags_for_resource::parse(service, body)?;
                authorize(&arn.repository)?;
                let (response, capacity) =
                    list_tags_for_resource(&self.reader, &self.region, &arn).await?;
                Answer::new(&response, response.tags.len(), capacity)
            }
            // Each caller has its own registry.
            Operation::DescribeRegistries => {
                Answer::new(&describe_registries(registry, body)?, 1, 0.0)
            }
        }
    }

    async fn keyring(&self) -> Result<Arc<Keyring>, ApiError> {
        self.keyring.value().await.map_err(ApiError::Server)
    }
}

impl Answer {
    fn new(
        response: &impl Serialize,
        items: usize,
        consumed_capacity: f64,
    ) -> Result<Self, ApiError> {
        let body =
            serde_json::to_string(response).map_err(|error| ApiError::Server(Box::new(error)))?;
        Ok(Self { body, items, consumed_capacity })
    }
}

fn respond(request_id: Uuid, result: Result<Answer, ApiError>) -> Response<String> {
    let (status, error_type, body) = match result {
        Ok(answer) => (StatusCode::OK, None, answer.body),
        Err(error) => (error.status(), Some(error.name()), error.body()),
    };
    let mut response = Response::new(body);
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

/// The operation that is requested, and its service.
fn find_operation(
    path: &str,
    target: Option<&HeaderValue>,
) -> Result<(Service, Operation), ApiError> {
    let Some(target) = target else {
        return if path == "/DescribeImages" {
            Ok((Service::EcrPublic, Operation::DescribeImages))
        } else {
            Err(ApiError::UnknownOperation)
        };
    };
    let (service, name) = target
        .to_str()
        .ok()
        .and_then(|target| target.split_once('.'))
        .and_then(|(service, operation)| Some((service::from_target(service)?, operation)))
        .ok_or(ApiError::UnknownOperation)?;
    match Operation::from_name(service, name) {
        Some(operation) => Ok((service, operation)),
        None if service::has_operation(service, name) => {
            Err(ApiError::UnsupportedCommand(name.to_owned()))
        }
        None => Err(ApiError::UnknownOperation),
    }
}

/// Counts the request, and logs one line without body and token.
fn record(
    request_id: Uuid,
    started: Instant,
    decoded: &Decoded,
    result: &Result<Answer, ApiError>,
) {
    let caller = decoded.caller.as_ref();
    let access_key_id = caller.map(|caller| caller.access_key_id.as_str());
    let caller = caller.map(|caller| caller.arn.as_str());
    let service = decoded.service.map(Service::as_str);
    let operation = decoded.operation.map(Operation::as_str);
    let repository = decoded.repository.as_ref();
    let registry = repository.map(|repository| repository.registry.as_str());
    let repository = repository.map(|repository| repository.name.as_str());
    let latency = started.elapsed().as_secs_f64() * 1000.0;
    counter!("Requests").increment(1);
    histogram!("Latency").record(latency);
    macro_rules! log {
        ($level:ident, $result:expr, $($fields:tt)*) => {
            tracing::$level!(
                %request_id, caller, access_key_id, operation, service, registry, repository, latency,
                result = $result, $($fields)*
            )
        };
    }
    match result {
        Ok(Answer { items, consumed_capacity, .. }) => {
            histogram!("Items").record(*items as f64);
            histogram!("ConsumedReadCapacity").record(*consumed_capacity);
            log!(info, "Success", items, consumed_capacity, "answered a request");
        }
        Err(error) => {
            counter!("Errors", "Error" => error.name()).increment(1);
            match error {
                ApiError::Server(cause) => {
                    let cause = causes(&**cause);
                    log!(error, error.name(), cause, "a request failed");
                }
                _ => log!(info, error.name(), "refused a request"),
            }
        }
    }
}
