//! Requests from, and responses to, an HTTP API of Amazon API Gateway.

use std::future::ready;
use std::pin::Pin;

use catalog::RegistryId;
use describe_images::caller::Caller;
use lambda_http::request::RequestContext;
use lambda_http::{Body, IntoResponse, Request, RequestExt as _, Response};

/// The caller of a request that IAM has authorized.
pub(crate) fn caller(request: &Request) -> Option<Caller> {
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
