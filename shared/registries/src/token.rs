//! The token for a registry's list of repositories. `oci_client` requests tokens for single
//! repositories only.
//!
//! <https://distribution.github.io/distribution/spec/auth/token/>
//! <https://distribution.github.io/distribution/spec/auth/scope/>

use oci_client::secrets::RegistryAuth;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use url::Url;

use crate::RegistryUnavailable;
use crate::oci::read_body;

const CATALOG_SCOPE: &str = "registry:catalog:*";

const MAX_BYTES: usize = 64 * 1024;

/// A server may send the token under either name, or under both.
#[derive(Deserialize)]
struct Response {
    token: Option<String>,
    access_token: Option<String>,
}

impl Response {
    fn parse(bytes: &[u8]) -> Result<Option<String>, serde_json::Error> {
        let response: Self = serde_json::from_slice(bytes)?;
        Ok(response.token.or(response.access_token))
    }
}

/// Gets a token to list the repositories of a registry at a URL; `None` if the registry demands none
/// there. Harbor accepts tokens elsewhere, but no token for its list.
pub(crate) async fn for_catalog(
    http: &Client,
    url: &str,
    credential: &RegistryAuth,
) -> Result<Option<String>, RegistryUnavailable> {
    let response = http.get(url).send().await.map_err(RegistryUnavailable::request)?;
    let challenge = response.headers().get("www-authenticate");
    let Some(url) = challenge.and_then(|value| token_url(value.to_str().ok()?)) else {
        return Ok(None);
    };
    let request = match credential {
        RegistryAuth::Basic(username, password) => {
            http.get(url).basic_auth(username, Some(password))
        }
        _ => http.get(url),
    };
    let mut response = request.send().await.map_err(RegistryUnavailable::request)?;
    if response.status() != StatusCode::OK {
        return Err(RegistryUnavailable::Status(response.status().as_u16()));
    }
    let bytes = read_body(&mut response, MAX_BYTES).await?;
    Response::parse(&bytes).map_err(RegistryUnavailable::request)
}

/// The address of the token that a challenge demands: `Bearer realm="…",service="…"`. `None` for
/// other challenges.
fn token_url(challenge: &str) -> Option<Url> {
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
    url.query_pairs_mut().append_pair("scope", CATALOG_SCOPE);
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
        let parse = |text: &str| Response::parse(text.as_bytes()).ok().flatten();
        for text in [
            r#"{"token":"a"}"#,
            r#"{"access_token":"a","expires_in":300}"#,
            r#"{"token":"a","access_token":"b"}"#,
        ] {
            assert_eq!(parse(text).as_deref(), Some("a"), "{text}");
        }
        assert_eq!(parse("{}"), None);
    }

    #[test]
    fn a_bearer_challenge_has_the_address_of_its_token() {
        let url = |challenge: &str| token_url(challenge).map(String::from);
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
