//! Requests of web pages. A browser lets a page of any site send requests to a catalog on the same
//! computer. Where a request needs no signature or credential, one from another site is refused.

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};
use url::{Host, Url};

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ForeignRequest {
    #[error("a web page of another site may send no requests")]
    Origin,
    /// A site may resolve its own name to this computer.
    #[error("the header 'Host' must be an IP address or localhost")]
    Host,
}

/// Checks the headers of a request. `is_loopback` is whether only this computer reaches the server.
pub(super) fn check(headers: &HeaderMap, is_loopback: bool) -> Result<(), ForeignRequest> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(HOST);
    if let Some(origin) = text(ORIGIN) {
        let origin = Url::parse(origin).ok();
        let authority = origin.as_ref().map(Url::authority);
        if authority.is_none_or(str::is_empty) || authority != host {
            return Err(ForeignRequest::Origin);
        }
    }
    match host {
        Some(host) if is_loopback && !is_local(host) => Err(ForeignRequest::Host),
        _ => Ok(()),
    }
}

fn is_local(host: &str) -> bool {
    let url = Url::parse(&format!("http://{host}/"));
    match url.as_ref().ok().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(
        headers: &[(&'static str, &'static str)],
        is_loopback: bool,
    ) -> Option<ForeignRequest> {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        check(&headers.collect(), is_loopback).err()
    }

    #[test]
    fn a_request_of_a_program_has_no_origin() {
        for host in ["127.0.0.1:5015", "localhost:5015", "[::1]:5015", "10.0.0.1", "a.localhost"] {
            assert_eq!(checked(&[("host", host)], true), None, "{host}");
        }
        assert_eq!(checked(&[], true), None);
        assert_eq!(checked(&[("host", "catalog.example:5015")], false), None);
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        for origin in ["https://attacker.example", "null", "http://localhost:3000", ""] {
            for is_loopback in [true, false] {
                let refused =
                    checked(&[("host", "localhost:5015"), ("origin", origin)], is_loopback);
                assert_eq!(refused, Some(ForeignRequest::Origin), "{origin}");
            }
        }
        let own = [("host", "localhost:5015"), ("origin", "http://localhost:5015")];
        assert_eq!(checked(&own, true), None);
    }

    #[test]
    fn a_name_of_another_site_is_refused_on_loopback() {
        let host = ("host", "attacker.example:5015");
        let origin = ("origin", "http://attacker.example:5015");
        assert_eq!(checked(&[host, origin], true), Some(ForeignRequest::Host));
        assert_eq!(
            checked(&[("host", "localhost.attacker.example")], true),
            Some(ForeignRequest::Host)
        );
    }
}
