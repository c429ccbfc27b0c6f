//! Functions that an HTTP API of Amazon API Gateway invokes.

use std::future::Future;

use lambda_http::lambda_runtime::tower::ServiceExt as _;
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, IntoResponse, Request, Service};

use crate::Error;

/// What a path may contain besides letters and digits. What is encoded already stays so.
const URI_CHARACTERS: &str = "!$%&'()*+,-./:;=@_~";

/// Runs the function, as [`lambda_http::run`] does. That panics if a path or a query cannot be in a
/// URI, and everybody can send one.
pub async fn run<S, R>(handler: S) -> Result<(), Error>
where
    S: Service<Request, Response = R, Error = Error>,
    S::Future: Future<Output = Result<R, Error>> + Send,
    R: IntoResponse,
{
    lambda_runtime::run(Adapter::from(handler).map_request(encode)).await
}

/// Encodes what cannot be in a URI.
fn encode(mut event: LambdaEvent<LambdaRequest>) -> LambdaEvent<LambdaRequest> {
    if let LambdaRequest::ApiGatewayV2(request) = &mut event.payload {
        for (text, delimiter) in [(&mut request.raw_path, ""), (&mut request.raw_query_string, "?")]
        {
            let Some(text) = text else { continue };
            let byte = |byte: u8| {
                let character = char::from(byte);
                let is_plain = character.is_ascii_alphanumeric()
                    || URI_CHARACTERS.contains(character)
                    || delimiter.contains(character);
                if is_plain { character.to_string() } else { format!("%{byte:02X}") }
            };
            *text = text.bytes().map(byte).collect();
        }
    }
    event
}
