//! The authorization of requests to a registry: the token that it demands, or the credential.
//!
//! <https://distribution.github.io/distribution/spec/auth/token/>
//! <https://distribution.github.io/distribution/spec/auth/scope/>

use http::header::WWW_AUTHENTICATE;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use tokio::time::timeout;
use url::Url;

use crate::RegistryUnavailable;
use crate::credential::BasicCredential;
use crate::oci::{Access, RegistryAddress, TIMEOUT, read_body, send};

const CATALOG_SCOPE: &str = "registry:catalog:*";

/// Of a response with a token.
const MAX_BYTES: usize = 64 * 1024;

/// How a request to a registry is authorized.
#[derive(Clone)]
pub(crate) enum Authorization {
    Anonymous,
    Token(String),
    Basic(BasicCredential),
}

impl Authorization {
    /// Adds the header `Authorization`.
    pub(crate) fn add_to(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Anonymous => request,
            Self::Token(token) => request.bearer_auth(token),
            Self::Basic(BasicCredential { username, password }) => {
                request.basic_auth(username, Some(password))
            }
        }
    }
}

/// A server may send the token under either name, or under both.
#[derive(Deserialize)]
struct Response {
    token: Option<String>,
    access_token: Option<String>,
}

impl Response {
    fn parse(bytes: &[u8]) -> Option<String> {
        let response: Self = serde_json::from_slice(bytes).ok()?;
        response.token.or(response.access_token)
    }
}

/// Negotiates the authorization to read a repository, or the list of all if the name is empty.
pub(crate) async fn negotiate(
    http: &Client,
    address: &RegistryAddress,
    name: &str,
    access: &Access,
) -> Result<Authorization, RegistryUnavailable> {
    let (path, scope) = if name.is_empty() {
        // Harbor accepts tokens elsewhere, but no token for its list.
        ("_catalog?n=1", CATALOG_SCOPE.to_owned())
    } else {
        ("", format!("repository:{name}:pull"))
    };
    let response = send(http.get(address.url(path))).await?;
    let challenges = response.headers().get_all(WWW_AUTHENTICATE);
    let mut urls = challenges.iter().filter_map(|value| token_url(value.to_str().ok()?, &scope));
    match (urls.next(), &access.credential) {
        (Some(url), credential) => {
            if !access.allows(address, &url) {
                let origin = url.origin().ascii_serialization();
                return Err(RegistryUnavailable::TokenService(origin));
            }
            let authorization = match credential {
                Some(credential) => Authorization::Basic(credential.clone()),
                None => Authorization::Anonymous,
            };
            request_token(authorization.add_to(http.get(url))).await.map(Authorization::Token)
        }
        (None, Some(credential)) => Ok(Authorization::Basic(credential.clone())),
        (None, None) => Ok(Authorization::Anonymous),
    }
}

async fn request_token(request: RequestBuilder) -> Result<String, RegistryUnavailable> {
    let mut response = send(request).await?;
    if response.status() != StatusCode::OK {
        return Err(RegistryUnavailable::Status(response.status().as_u16()));
    }
    let bytes = timeout(TIMEOUT, read_body(&mut response, MAX_BYTES))
        .await
        .map_err(|_| RegistryUnavailable::TimedOut)??;
    if bytes.len() > MAX_BYTES {
        return Err(RegistryUnavailable::InvalidToken);
    }
    Response::parse(&bytes).ok_or(RegistryUnavailable::InvalidToken)
}

/// The address of the token that a challenge demands: `Bearer realm="…",service="…"`. `None` for
/// other challenges.
fn token_url(challenge: &str, scope: &str) -> Option<Url> {
    let (scheme, mut rest) = challenge.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service) = (None, None);
    while let Some((name, value)) = rest.split_once('=') {
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_once(',').unwrap_or((value, "")),
        };
        match name.trim_matches([' ', ',']) {
            "realm" => realm = Some(value),
            "service" => service = Some(value),
            _ => {}
        }
        rest = after;
    }
    let mut url = Url::parse(realm?).ok()?;
    url.query_pairs_mut().append_pair("scope", scope);
    if let Some(service) = service {
        url.query_pairs_mut().append_pair("service", service);
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_may_have_either_name_or_both() {
        for text in [
            r#"{"token":"a"}"#,
            r#"{"access_token":"a","expires_in":300}"#,
            r#"{"token":"a","access_token":"b"}"#,
        ] {
            assert_eq!(Response::parse(text.as_bytes()).as_deref(), Some("a"), "{text}");
        }
        assert_eq!(Response::parse(b"{}"), None);
    }

    #[test]
    fn a_bearer_challenge_has_the_address_of_its_token() {
        let url = |challenge: &str| token_url(challenge, CATALOG_SCOPE).map(String::from);
        let expected = "https://auth.example/token?scope=registry%3Acatalog%3A*";
        assert_eq!(
            url(r#"Bearer realm="https://auth.example/token",service="a, b",scope="x:pull,push""#),
            Some(format!("{expected}&service=a%2C+b"))
        );
        assert_eq!(url("bearer realm=https://auth.example/token"), Some(expected.to_owned()));
        assert_eq!(
            url(r#"Bearer scope="registry:catalog:*", realm="https://auth.example/token?x=1""#),
            Some("https://auth.example/token?x=1&scope=registry%3Acatalog%3A*".to_owned())
        );
        let others =
            [r#"Basic realm="https://a.example""#, "Bearer", "Bearer x", r#"Bearer realm="/t""#];
        for other in others {
            assert_eq!(url(other), None, "{other}");
        }
    }
}
