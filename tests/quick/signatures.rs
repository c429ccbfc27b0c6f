//! Signatures that no SDK makes, and those of which the SDKs make few (R41-R43). Each request is
//! written byte for byte.

mod accepted;
mod arbitrary;
mod presigned;
mod refused;

use aws_lc_rs::digest::{SHA256, digest};
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use catalog::Timestamp;
use end_to_end::harness::Catalog;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::authentication::catalog;

const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";

pub(super) const BODY: &str = r#"{"repositoryName":"team/app"}"#;

/// The headers of a request, and their canonical form.
const HEADERS: &str = "Host: {host}
X-Amz-Date: {time}
X-Amz-Target: AmazonEC2ContainerRegistry_V20150921.DescribeImages
Authorization: AWS4-HMAC-SHA256 Credential=AKIDREADER/{date}/us-east-1/ecr/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature={signature}
";
const CANONICAL_HEADERS: &str = "host:{host}
x-amz-date:{time}
x-amz-target:AmazonEC2ContainerRegistry_V20150921.DescribeImages

host;x-amz-date;x-amz-target
";

/// The path and the query of a presigned request, and their canonical form. It is for the public
/// service, whose requests need no target.
const PRESIGNED: &str = "/DescribeImages?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDREADER%2F{date}%2Fus-east-1%2Fecr-public%2Faws4_request&X-Amz-Date={time}&X-Amz-Expires=600&X-Amz-SignedHeaders=host&X-Amz-Signature={signature}";
const CANONICAL_PRESIGNED: &str = "/DescribeImages
X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDREADER%2F{date}%2Fus-east-1%2Fecr-public%2Faws4_request&X-Amz-Date={time}&X-Amz-Expires=600&X-Amz-SignedHeaders=host
";
const PRESIGNED_HEADERS: &str = "Host: {host}\n";
const CANONICAL_PRESIGNED_HEADERS: &str = "host:{host}\n\nhost\n";

/// A catalog, and the time of the signatures that it is sent.
pub(super) struct Signer {
    catalog: Catalog,
    pub(super) time: jiff::Timestamp,
}

impl Signer {
    pub(super) async fn start() -> Self {
        // The catalog uses the real clock.
        Self { catalog: catalog(None).await, time: Timestamp::now().into() }
    }

    fn host(&self) -> &str {
        self.catalog.url.strip_prefix("http://").unwrap()
    }

    /// A template with the values of this test.
    fn fill(&self, template: &str) -> String {
        template
            .replace("{host}", self.host())
            .replace("{time}", &self.time.strftime(TIME_FORMAT).to_string())
            .replace("{date}", &self.time.strftime("%Y%m%d").to_string())
            .replace("{http}", &self.time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
            .replace("{rfc2822}", &self.time.strftime("%a, %d %b %Y %H:%M:%S -0000").to_string())
            .replace("{hash}", &sha256(BODY))
    }

    /// The signature of a canonical request, with the reader's key.
    fn sign(&self, service: &str, canonical_request: &str) -> String {
        let canonical_request = self.fill(canonical_request);
        let string_to_sign = self.fill(&format!(
            "AWS4-HMAC-SHA256\n{{time}}\n{{date}}/us-east-1/{service}/aws4_request\n{}",
            sha256(&canonical_request)
        ));
        let key = generate_signing_key("reader's", self.time.into(), "us-east-1", service);
        calculate_signature(key, string_to_sign.as_bytes())
    }

    /// The request with the signature of a canonical request without its method and body.
    fn request(&self, target: &str, headers: &str, canonical: &str) -> String {
        let service = if target.contains("ecr-public") { "ecr-public" } else { "ecr" };
        let signature = self.sign(service, &format!("POST\n{canonical}{{hash}}"));
        let length = BODY.len();
        self.fill(&format!(
            "POST {target} HTTP/1.1\n{headers}Connection: close\nContent-Length: {length}\n\n{BODY}"
        ))
        .replace("{signature}", &signature)
    }

    pub(super) fn right_request(&self) -> String {
        self.request("/", HEADERS, &format!("/\n\n{CANONICAL_HEADERS}"))
    }

    pub(super) fn right_presigned(&self) -> String {
        let canonical = format!("{CANONICAL_PRESIGNED}{CANONICAL_PRESIGNED_HEADERS}");
        self.request(PRESIGNED, PRESIGNED_HEADERS, &canonical)
    }

    async fn send(&self, request: &str) -> Reply {
        // The replacement character is for a byte that is not text.
        let mut bytes = Vec::new();
        for part in request.replace('\n', "\r\n").split_inclusive('\u{fffd}') {
            let text = part.trim_end_matches('\u{fffd}');
            bytes.extend(text.as_bytes());
            bytes.extend(std::iter::repeat_n(0xff, usize::from(text.len() < part.len())));
        }
        send(self.host(), &bytes).await
    }

    /// The responses to a right request after each edit, with the values of this test replaced.
    async fn responses(&self, request: &str, edits: &[(&str, &str)]) -> String {
        let (_, signature) = request.split_once("Signature=").unwrap();
        let signature = &signature[..64];
        let mut responses = String::new();
        for (from, to) in edits {
            let fill = |template: &str| {
                let template = template.replace("{signature}", signature);
                self.fill(&template.replace("{SIGNATURE}", &signature.to_uppercase()))
            };
            let edited = request.replacen(&fill(from), &fill(to), 1);
            assert_ne!(edited, request, "{from}");
            let (status, name, message) = self.send(&edited).await;
            assert_eq!(status, 400, "{from} -> {to}: {name}: {message}");
            let time = self.fill("{time}");
            let message = message.replace(&time, "{time}").replace(&time[..8], "{date}");
            let message = message.replace(&self.fill("{http}"), "{http}");
            let message = message.replace(signature, "{signature}");
            responses += &format!("{from:?} -> {to:?}\n    {name}: {message}\n");
        }
        responses
    }

    async fn assert_mismatches(&self, request: &str, edits: &[(&str, &str)]) {
        for edit in edits {
            let response = self.responses(request, &[*edit]).await;
            let (edit, error) = response.split_once('\n').unwrap();
            let expected = "    InvalidSignatureException: The request signature we calculated does not match the \
                signature you provided. Check your AWS Secret Access Key and signing method. Consult the service \
                documentation for details.\n";
            assert_eq!(error, expected, "{edit}");
        }
    }
}

/// The status, the error's name and its message.
type Reply = (u16, String, String);

async fn send(host: &str, request: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    let response = String::from_utf8(response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| {
        panic!("no response {response:?} to {}", request.escape_ascii());
    });
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    // The HTTP server itself refuses some requests, without a body.
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let member = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    (status, member("__type"), member("message"))
}

fn sha256(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
