//! The responses with the files of the page, and the option that turns it off.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use end_to_end::harness::{Catalog, Process, Store, command, folder};
use reqwest::{Method, StatusCode};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// The paths of all files in the folder of the page.
fn paths() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/local/page");
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let path = |name: &str| match name {
        "index.html" => "/".to_owned(),
        name => format!("/page/{name}"),
    };
    names.map(|name| path(name.to_str().unwrap())).collect()
}

async fn catalog() -> Catalog {
    Catalog::start_with_page(Store::in_memory().await, None, None).await
}

#[tokio::test]
async fn each_file_is_protected_and_cached() {
    let (catalog, http) = (catalog().await, reqwest::Client::new());
    let index = http.get(format!("{}/", catalog.url)).send().await.unwrap().text().await.unwrap();
    for path in paths() {
        let url = format!("{}{path}", catalog.url);
        let response = http.get(&url).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let media_type = match path.rsplit_once('.') {
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        let policy = if path == "/" { POLICY } else { "default-src 'none'" };
        for (name, value) in [
            ("content-type", media_type),
            ("content-security-policy", policy),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(header(name), value, "{path}: {name}");
        }
        // Only some catalogs, and only the view of the status, need these.
        let is_early = !["/", "/page/signature.js", "/page/status.js"].contains(&path.as_str());
        assert_eq!(index.contains(&format!("\"{path}\"")), is_early, "{path}");
        let tag = header("etag");
        for known in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let request = http.get(&url).header("if-none-match", known);
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{path}");
            assert_eq!(response.headers()["etag"], tag.as_str());
            assert_eq!(response.headers()["content-security-policy"], policy);
            assert_eq!(response.bytes().await.unwrap().len(), 0);
        }
        let request = http.get(&url).header("if-none-match", "\"other\"");
        assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
        let head = http.head(&url).send().await.unwrap();
        assert_eq!(
            (head.status(), head.headers()["etag"].to_str().unwrap()),
            (StatusCode::OK, &*tag)
        );
    }
    let missing = http.get(format!("{}/page/none.js", catalog.url)).send().await.unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn other_methods_are_those_of_the_api() {
    let (catalog, http) = (catalog().await, reqwest::Client::new());
    let url = format!("{}/", catalog.url);
    let response = http.post(&url).send().await.unwrap();
    assert_eq!(response.headers()["x-amzn-errortype"], "UnknownOperationException");
    for method in [Method::PUT, Method::OPTIONS, Method::DELETE] {
        let response = http.request(method, &url).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()["x-amzn-errortype"], "MethodNotAllowedException");
    }
    let response = http.post(format!("{url}page/page.js")).send().await.unwrap();
    assert_eq!(response.headers()["x-amzn-errortype"], "NotFoundException");
}

#[tokio::test]
async fn pages_of_other_sites_get_neither_the_page_nor_the_api() {
    let (catalog, http) = (catalog().await, reqwest::Client::new());
    for (name, value) in [("host", "attacker.example"), ("origin", "https://attacker.example")] {
        for path in ["/", "/page/page.js"] {
            let request = http.get(format!("{}{path}", catalog.url)).header(name, value);
            assert_eq!(request.send().await.unwrap().status(), StatusCode::FORBIDDEN, "{path}");
        }
        let request = http.post(format!("{}/", catalog.url)).header(name, value);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    }
    // The page's own.
    let own = http.post(format!("{}/", catalog.url)).header("origin", &catalog.url);
    assert_eq!(own.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_page_contains_how_to_sign() {
    let folder = folder("page/how_to_sign");
    fs::create_dir(folder.join("work")).unwrap();
    fs::write(folder.join("work/callers.json"), "[]").unwrap();
    let mut command = command(&folder);
    command.args(["--in-memory", "--callers", "callers.json", "--region", "a\"<&b"]);
    command.args(["--signing-name", "execute-api"]);
    let process = Process::start(command);
    let html = process.http.get(&process.url).send().await.unwrap().text().await.unwrap();
    for (name, value) in [
        ("region", "a&quot;&lt;&amp;b"),
        ("signing-name", "execute-api"),
        ("requires-signature", "true"),
    ] {
        let element = format!("<meta name=\"{name}\" content=\"{value}\">");
        assert!(html.contains(&element), "{element}: {html}");
    }
    assert!(!html.contains("{{"), "{html}");
}

#[tokio::test]
async fn an_option_turns_the_page_off() {
    let mut command = command(&folder("page/off"));
    command.args(["--in-memory", "--no-page"]);
    let process = Process::start(command);
    for path in paths() {
        let response = process.http.get(format!("{}{path}", process.url)).send().await.unwrap();
        let expected =
            if path == "/" { StatusCode::METHOD_NOT_ALLOWED } else { StatusCode::NOT_FOUND };
        assert_eq!(response.status(), expected, "{path}");
        assert_eq!(response.headers().get("content-security-policy"), None);
    }
}
