//! The page for browsers, at `GET /`. Its files are in the folder `page`, and in the program. It
//! sends requests to the API alone.

use std::future::ready;

use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::body::Bytes;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};

/// What the page may load, and who may embed it. No script may write markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// A file that is opened by itself may load nothing.
const FILE_POLICY: &str = "default-src 'none'";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../page/", $name)))),*]
    };
}

/// The files at `/page/…`.
const FILES: [(&str, &str); 16] = files![
    "address.js",
    "catalog.js",
    "commands.js",
    "elements.js",
    "formats.js",
    "icon.svg",
    "image.js",
    "images.js",
    "page.css",
    "page.js",
    "patch.js",
    "repositories.js",
    "search.js",
    "sign-in.js",
    "signature.js",
    "status.js",
];

/// What the page must know to send requests.
#[derive(Debug, Clone)]
pub struct Page {
    /// The region that signatures must be for.
    pub region: String,
    /// The service that signatures must be for, if it is not that of the request.
    pub signing_name: Option<String>,
}

impl Page {
    /// `GET /`. `requires_signature` is whether requests to the API must be signed.
    pub(crate) fn index<S: Clone + Send + Sync + 'static>(
        &self,
        requires_signature: bool,
    ) -> MethodRouter<S> {
        let signing_name = self.signing_name.as_deref().unwrap_or_default();
        let html = include_str!("../page/index.html")
            .replace("{{region}}", &escape(&self.region))
            .replace("{{signing-name}}", &escape(signing_name))
            .replace("{{requires-signature}}", &requires_signature.to_string());
        serve("text/html; charset=utf-8", POLICY, html)
    }

    /// `GET /page/…`.
    pub(crate) fn files<S: Clone + Send + Sync + 'static>() -> Router<S> {
        FILES.into_iter().fold(Router::new(), |router, (name, content)| {
            let media_type = match name.rsplit_once('.') {
                Some((_, "js")) => "text/javascript; charset=utf-8",
                Some((_, "css")) => "text/css; charset=utf-8",
                _ => "image/svg+xml",
            };
            router.route(&format!("/page/{name}"), serve(media_type, FILE_POLICY, content))
        })
    }
}

/// Serves a file, unless the browser has it.
fn serve<S: Clone + Send + Sync + 'static>(
    media_type: &'static str,
    policy: &'static str,
    content: impl Into<Bytes>,
) -> MethodRouter<S> {
    let content = content.into();
    let hash = digest(&SHA256, &content);
    let hash: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{hash}\"");
    get(move |headers: HeaderMap| {
        let response = if has_tag(&headers, &tag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(CONTENT_TYPE, media_type)], content).into_response()
        };
        ready(add_headers(response, policy, &tag))
    })
}

fn add_headers(response: Response, policy: &str, tag: &str) -> Response {
    let headers = [
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        // A browser asks each time whether its copy is current.
        (CACHE_CONTROL, "no-cache"),
        (ETAG, tag),
    ];
    (headers, response).into_response()
}

/// Whether the browser has the file with this tag.
fn has_tag(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// A text as the value of an attribute.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}
