//! Requests that are signed in a wrong way. Each differs from a right one in one respect.

use super::{CANONICAL_HEADERS, HEADERS, Signer};

/// What is replaced in the right request, and by what. `\u{fffd}` is a byte that is not text.
const EDITS: [(&str, &str); 57] = [
    // The header Authorization.
    ("Authorization", "Other"),
    ("Authorization:", "Authorization: AWS4-HMAC-SHA256\nAuthorization:"),
    ("AKIDREADER", "AKIDREADER\u{fffd}"),
    ("AWS4-HMAC-SHA256 ", ""),
    ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256"),
    ("AWS4-HMAC-SHA256 ", "aws4-hmac-sha256 "),
    ("AWS4-HMAC-SHA256 ", "AWS4-ECDSA-P256-SHA256 "),
    ("AWS4-HMAC-SHA256 ", "Bearer "),
    ("Credential=", "Other="),
    ("SignedHeaders=", "signedheaders="),
    (", Signature=", ", Signature ="),
    (", Signature=", "; Signature="),
    (", Signature=", ", "),
    (", Signature=", ", , Signature="),
    ("Credential=", "Credential=AKIDTEAM, Credential="),
    ("SignedHeaders=", "SignedHeaders=host, SignedHeaders="),
    (", Signature=", ", Signature=, Signature="),
    // Its scope.
    ("AKIDREADER/", ""),
    ("AKIDREADER/", "/"),
    ("AKIDREADER/", "AKIDREADER//"),
    ("/us-east-1/", "//"),
    ("/ecr/", "//"),
    ("/aws4_request", ""),
    ("/aws4_request", "/"),
    ("/aws4_request", "/aws4_request/"),
    ("/aws4_request", "/aws4_request/more"),
    ("/aws4_request", "/AWS4_REQUEST"),
    ("/{date}/", "/20200101/"),
    ("/{date}/", "/2020/"),
    ("/us-east-1/", "/us-west-2/"),
    ("/us-east-1/", "/US-EAST-1/"),
    ("/ecr/", "/ecr-public/"),
    ("/ecr/", "/execute-api/"),
    ("AKIDREADER", "AKIDNOBODY"),
    // Its signed headers.
    ("=host;", "="),
    ("=host;", "=;host;"),
    ("=host;", "=host;;"),
    ("=host;", "=host;host;"),
    ("=host;", "=Host;"),
    ("=host;x-amz-date", "=x-amz-date;host"),
    (";x-amz-target", ""),
    (";x-amz-target", ";x-amz-target;x-more"),
    ("=host;", "=connection;content-length;host;"),
    ("=host;", "=a name;host;"),
    // Other headers.
    ("X-Amz-Date: {time}\n", ""),
    ("X-Amz-Date:", "X-Amz-Date: {time}\nX-Amz-Date:"),
    ("X-Amz-Date: ", "X-Amz-Date: \u{fffd}"),
    ("X-Amz-Date: {time}", "X-Amz-Date: {http}"),
    ("X-Amz-Date: ", "Date: {time}\nX-Amz-Date: x"),
    ("X-Amz-Date: {time}", "Date: yesterday"),
    ("X-Amz-Date: {time}", "Date: {time}\nDate: {time}"),
    ("X-Amz-Target:", "X-Amz-Security-Token: a\nX-Amz-Security-Token: b\nX-Amz-Target:"),
    ("X-Amz-Target:", "X-Amz-Security-Token: \u{fffd}\nX-Amz-Target:"),
    ("X-Amz-Target:", "X-Amz-Security-Token: a\nX-Amz-Target:"),
    ("DescribeImages\n", "DescribeImages\u{fffd}\n"),
    ("Host: {host}\n", ""),
    // The query has parameters of presigned requests, too.
    ("POST /", "POST /?X-Amz-Date={time}"),
];

/// What the signature does not allow.
const TAMPERED: [(&str, &str); 15] = [
    ("Signature=", "Signature=0"),
    ("Signature={signature}", "Signature="),
    ("Signature={signature}", "Signature={SIGNATURE}"),
    ("Signature={signature}", "Signature=\"{signature}\""),
    ("POST /", "PUT /"),
    ("POST /", "POST /DescribeImages"),
    ("POST /", "POST /%2F"),
    ("POST /", "POST /?a"),
    ("POST /", "POST /?x-amz-date={time}"),
    ("Host: ", "Host: elsewhere."),
    ("Host: {host}\n", "Host: {host}\nHost: {host}\n"),
    (".DescribeImages", ".ListImages"),
    ("team/app", "team/apq"),
    ("team/app", "team\\/app"),
    ("X-Amz-Target:", "X-Amz-Target: a\nX-Amz-Target:"),
];

#[tokio::test]
async fn r41_r42_r43_malformed_signatures_are_refused() {
    let signer = Signer::start().await;
    let responses = signer.responses(&signer.right_request(), &EDITS).await;
    insta::assert_snapshot!(responses, @r#"
    "Authorization" -> "Other"
        MissingAuthenticationTokenException: Missing Authentication Token
    "Authorization:" -> "Authorization: AWS4-HMAC-SHA256\nAuthorization:"
        IncompleteSignatureException: The header 'authorization' must be there once, as ASCII text.
    "AKIDREADER" -> "AKIDREADER�"
        IncompleteSignatureException: The header 'authorization' must be there once, as ASCII text.
    "AWS4-HMAC-SHA256 " -> ""
        IncompleteSignatureException: Authorization header requires the algorithm AWS4-HMAC-SHA256.
    "AWS4-HMAC-SHA256 " -> "AWS4-HMAC-SHA256"
        IncompleteSignatureException: Authorization header requires the algorithm AWS4-HMAC-SHA256.
    "AWS4-HMAC-SHA256 " -> "aws4-hmac-sha256 "
        IncompleteSignatureException: Authorization header requires the algorithm AWS4-HMAC-SHA256.
    "AWS4-HMAC-SHA256 " -> "AWS4-ECDSA-P256-SHA256 "
        IncompleteSignatureException: Authorization header requires the algorithm AWS4-HMAC-SHA256.
    "AWS4-HMAC-SHA256 " -> "Bearer "
        IncompleteSignatureException: Authorization header requires the algorithm AWS4-HMAC-SHA256.
    "Credential=" -> "Other="
        IncompleteSignatureException: Authorization header requires 'Credential' parameter.
    "SignedHeaders=" -> "signedheaders="
        IncompleteSignatureException: Authorization header requires 'SignedHeaders' parameter.
    ", Signature=" -> ", Signature ="
        IncompleteSignatureException: Authorization header requires 'Signature' parameter.
    ", Signature=" -> "; Signature="
        IncompleteSignatureException: Authorization header requires 'Signature' parameter.
    ", Signature=" -> ", "
        IncompleteSignatureException: '{signature}' not a valid key=value pair (missing equal-sign) in Authorization header.
    ", Signature=" -> ", , Signature="
        IncompleteSignatureException: '' not a valid key=value pair (missing equal-sign) in Authorization header.
    "Credential=" -> "Credential=AKIDTEAM, Credential="
        IncompleteSignatureException: Authorization header contains 'Credential' more than once.
    "SignedHeaders=" -> "SignedHeaders=host, SignedHeaders="
        IncompleteSignatureException: Authorization header contains 'SignedHeaders' more than once.
    ", Signature=" -> ", Signature=, Signature="
        IncompleteSignatureException: Authorization header contains 'Signature' more than once.
    "AKIDREADER/" -> ""
        IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{date}/us-east-1/ecr/aws4_request'
    "AKIDREADER/" -> "/"
        IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '/{date}/us-east-1/ecr/aws4_request'
    "AKIDREADER/" -> "AKIDREADER//"
        IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKIDREADER//{date}/us-east-1/ecr/aws4_request'
    "/us-east-1/" -> "//"
        IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKIDREADER/{date}//ecr/aws4_request'
    "/ecr/" -> "//"
        IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKIDREADER/{date}/us-east-1//aws4_request'
    "/aws4_request" -> ""
        IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKIDREADER/{date}/us-east-1/ecr'
    "/aws4_request" -> "/"
        IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKIDREADER/{date}/us-east-1/ecr/'
    "/aws4_request" -> "/aws4_request/"
        IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKIDREADER/{date}/us-east-1/ecr/aws4_request/'
    "/aws4_request" -> "/aws4_request/more"
        IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKIDREADER/{date}/us-east-1/ecr/aws4_request/more'
    "/aws4_request" -> "/AWS4_REQUEST"
        InvalidSignatureException: Credential should be scoped with a valid terminator: 'aws4_request', not 'AWS4_REQUEST'.
    "/{date}/" -> "/20200101/"
        InvalidSignatureException: Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20200101' != '{date}', from '{time}'.
    "/{date}/" -> "/2020/"
        InvalidSignatureException: Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '2020' != '{date}', from '{time}'.
    "/us-east-1/" -> "/us-west-2/"
        InvalidSignatureException: Credential should be scoped to a valid region, not 'us-west-2'.
    "/us-east-1/" -> "/US-EAST-1/"
        InvalidSignatureException: Credential should be scoped to a valid region, not 'US-EAST-1'.
    "/ecr/" -> "/ecr-public/"
        InvalidSignatureException: Credential should be scoped to correct service: 'ecr'.
    "/ecr/" -> "/execute-api/"
        InvalidSignatureException: Credential should be scoped to correct service: 'ecr'.
    "AKIDREADER" -> "AKIDNOBODY"
        UnrecognizedClientException: The security token included in the request is invalid.
    "=host;" -> "="
        IncompleteSignatureException: 'host' must be a 'SignedHeader' in the AWS Authorization.
    "=host;" -> "=;host;"
        IncompleteSignatureException: 'SignedHeaders' must contain names in lower case and in alphabetical order, each once.
    "=host;" -> "=host;;"
        IncompleteSignatureException: 'SignedHeaders' must contain names in lower case and in alphabetical order, each once.
    "=host;" -> "=host;host;"
        IncompleteSignatureException: 'SignedHeaders' must contain names in lower case and in alphabetical order, each once.
    "=host;" -> "=Host;"
        IncompleteSignatureException: 'SignedHeaders' must contain names in lower case and in alphabetical order, each once.
    "=host;x-amz-date" -> "=x-amz-date;host"
        IncompleteSignatureException: 'SignedHeaders' must contain names in lower case and in alphabetical order, each once.
    ";x-amz-target" -> ""
        IncompleteSignatureException: 'x-amz-target' must be a 'SignedHeader' in the AWS Authorization.
    ";x-amz-target" -> ";x-amz-target;x-more"
        IncompleteSignatureException: The 'SignedHeader' 'x-more' is not in the request.
    "=host;" -> "=connection;content-length;host;"
        InvalidSignatureException: The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.
    "=host;" -> "=a name;host;"
        IncompleteSignatureException: The 'SignedHeader' 'a name' is not in the request.
    "X-Amz-Date: {time}\n" -> ""
        IncompleteSignatureException: Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.
    "X-Amz-Date:" -> "X-Amz-Date: {time}\nX-Amz-Date:"
        IncompleteSignatureException: The header 'x-amz-date' must be there once, as ASCII text.
    "X-Amz-Date: " -> "X-Amz-Date: �"
        IncompleteSignatureException: The header 'x-amz-date' must be there once, as ASCII text.
    "X-Amz-Date: {time}" -> "X-Amz-Date: {http}"
        IncompleteSignatureException: Date must be in ISO-8601 'basic format'. Got '{http}'.
    "X-Amz-Date: " -> "Date: {time}\nX-Amz-Date: x"
        IncompleteSignatureException: Date must be in ISO-8601 'basic format'. Got 'x{time}'.
    "X-Amz-Date: {time}" -> "Date: yesterday"
        IncompleteSignatureException: Date must be in ISO-8601 'basic format'. Got 'yesterday'.
    "X-Amz-Date: {time}" -> "Date: {time}\nDate: {time}"
        IncompleteSignatureException: The header 'date' must be there once, as ASCII text.
    "X-Amz-Target:" -> "X-Amz-Security-Token: a\nX-Amz-Security-Token: b\nX-Amz-Target:"
        IncompleteSignatureException: The header 'x-amz-security-token' must be there once, as ASCII text.
    "X-Amz-Target:" -> "X-Amz-Security-Token: �\nX-Amz-Target:"
        IncompleteSignatureException: The header 'x-amz-security-token' must be there once, as ASCII text.
    "X-Amz-Target:" -> "X-Amz-Security-Token: a\nX-Amz-Target:"
        IncompleteSignatureException: 'x-amz-security-token' must be a 'SignedHeader' in the AWS Authorization.
    "DescribeImages\n" -> "DescribeImages�\n"
        IncompleteSignatureException: The 'SignedHeader' 'x-amz-target' is not UTF-8.
    "Host: {host}\n" -> ""
        IncompleteSignatureException: The 'SignedHeader' 'host' is not in the request.
    "POST /" -> "POST /?X-Amz-Date={time}"
        IncompleteSignatureException: The signature must be in the Authorization header or in the query string, not in both.
    "#);
}

#[tokio::test]
async fn r43_a_signature_is_for_one_request() {
    let signer = Signer::start().await;
    signer.assert_mismatches(&signer.right_request(), &TAMPERED).await;
}

#[tokio::test]
async fn r43_the_hash_in_a_header_must_be_that_of_the_body() {
    let signer = Signer::start().await;
    for hash in ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "", "{hash}0"] {
        for payload in ["{hash}", hash] {
            let signed = "host;x-amz-content-sha256;x-amz-date;x-amz-target";
            let canonical = CANONICAL_HEADERS
                .replace("x-amz-date:", &format!("x-amz-content-sha256:{hash}\nx-amz-date:"))
                .replace("host;x-amz-date;x-amz-target", signed);
            let signature = signer.sign("ecr", &format!("POST\n/\n\n{canonical}{payload}"));
            let headers = HEADERS.replace("host;x-amz-date;x-amz-target", signed);
            let headers = headers.replace("{signature}", &signature);
            let headers = format!("X-Amz-Content-Sha256: {hash}\n{headers}");
            let (_, name, message) = signer.send(&signer.request("/", &headers, "")).await;
            assert_eq!(
                (name.as_str(), message.as_str()),
                (
                    "InvalidSignatureException",
                    "The provided 'x-amz-content-sha256' header does not match what was computed."
                )
            );
        }
    }
}

/// A request that is wrong in every respect. The first correction leads to the second error, and
/// so on.
#[tokio::test]
async fn r41_r42_r43_the_checks_have_an_order() {
    let signer = Signer::start().await;
    let request = signer
        .right_request()
        .replace("Authorization", "Other")
        .replace("host;", "host;;")
        .replace("AKIDREADER", "AKIDNOBODY")
        .replace("x-amz-target,", "x-amz-security-token;x-amz-target,")
        .replace("X-Amz-Target", "X-Amz-Security-Token: token\nX-Amz-Target")
        .replace(&signer.fill("/{date}/"), "/20200101/")
        .replace("us-east-1/ecr/", "us-west-2/execute-api/");
    let mut names = Vec::new();
    let mut corrected = request;
    for (from, to) in [
        ("", ""),
        ("Other", "Authorization"),
        ("host;;", "host;"),
        ("AKIDNOBODY", "ASIAEXPIRED"),
        ("ASIAEXPIRED", "ASIASESSION"),
        ("/20200101/", "/{date}/"),
        ("us-west-2", "us-east-1"),
        ("execute-api", "ecr"),
    ] {
        corrected = corrected.replacen(from, &signer.fill(to), 1);
        let (_, name, message) = signer.send(&corrected).await;
        names.push(format!("{name}: {}", message.split(' ').take(4).collect::<Vec<_>>().join(" ")));
    }
    insta::assert_debug_snapshot!(names, @r#"
    [
        "MissingAuthenticationTokenException: Missing Authentication Token",
        "IncompleteSignatureException: 'SignedHeaders' must contain names",
        "UnrecognizedClientException: The security token included",
        "ExpiredTokenException: The security token included",
        "InvalidSignatureException: Date in Credential scope",
        "InvalidSignatureException: Credential should be scoped",
        "InvalidSignatureException: Credential should be scoped",
        "InvalidSignatureException: The request signature we",
    ]
    "#);
}
