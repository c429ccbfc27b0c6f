//! Requests from, and responses to, an HTTP API of Amazon API Gateway.

use std::future::ready;
use std::pin::Pin;

use catalog::{RegistryId, Timestamp};
use describe_images::Api;
use describe_images::access_keys::Authentication;
use describe_images::caller::Caller;
use describe_images::error::ApiError;
use lambda_http::http::Uri;
use lambda_http::request::RequestContext;
use lambda_http::{Body, IntoResponse, Request, RequestExt as _, Response};

/// Answers a request. API Gateway tells whom IAM has authorized. It tells nobody on the API of
/// access keys: there, the request must be signed with one of the keys. Nothing that a client sends
/// decides which of the two holds.
pub(crate) async fn answer(
    api: &Api,
    access_keys: Option<&Authentication>,
    request: Request,
) -> Response<String> {
    if let Some(caller) = authorized_caller(&request) {
        return api.handle(&request, Some(&caller)).await;
    }
    let (mut head, body) = request.into_parts();
    let authenticated = match access_keys {
        Some(keys) => keys.authenticate(&head, body.as_ref(), Timestamp::now().into()).await,
        None => Err(ApiError::MissingAuthenticationToken),
    };
    match authenticated {
        Ok(caller) => {
            // The API's only route is `POST /`. Before it, the path of a domain name has the name
            // of the API mapping.
            head.uri = Uri::from_static("/");
            api.handle(&Request::from_parts(head, body), Some(&caller)).await
        }
        Err(error) => Api::refuse(error),
    }
}

/// The caller of a request that IAM has authorized.
fn authorized_caller(request: &Request) -> Option<Caller> {
    let RequestContext::ApiGatewayV2(context) = request.request_context_ref()? else {
        return None;
    };
    let account = context.authorizer.as_ref()?.iam.as_ref()?.account_id.as_deref()?;
    Some(Caller { account: RegistryId::parse(account).ok()?, permissions: None })
}

/// A response that Lambda receives as text. `lambda_http` encodes media types that it does not know
/// in Base64, which is a third longer, and Lambda limits a response to 6 MB.
pub(crate) struct Text(pub(crate) Response<String>);

impl IntoResponse for Text {
    fn into_response(self) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(ready(self.0.map(Body::Text)))
    }
}
