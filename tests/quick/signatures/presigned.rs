//! Presigned requests, whose signature is in the query.

use jiff::SignedDuration;

use super::{
    CANONICAL_PRESIGNED, CANONICAL_PRESIGNED_HEADERS, PRESIGNED, PRESIGNED_HEADERS, Signer, catalog,
};

/// What is replaced in the right request, and by what.
const EDITS: [(&str, &str); 26] = [
    ("X-Amz-Algorithm=AWS4-HMAC-SHA256&", ""),
    ("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256"),
    ("X-Amz-Credential=", "x-amz-credential="),
    ("&X-Amz-Date={time}", ""),
    ("&X-Amz-Expires=600", ""),
    ("&X-Amz-SignedHeaders=host", ""),
    ("&X-Amz-Signature={signature}", ""),
    ("?", "?X-Amz-Algorithm=AWS4-HMAC-SHA256&"),
    ("?", "?X%2DAmz-Signature=&"),
    ("?", "?X-Amz-Security-Token=a&X-Amz-Security-Token=b&"),
    ("?", "?X-Amz-Security-Token=a&"),
    ("?", "?X-Amz-Security-Token=%ff&"),
    ("AKIDREADER%2F", "AKIDREADER%252F"),
    ("AKIDREADER", "%FF"),
    ("Expires=600", "Expires="),
    ("Expires=600", "Expires=0"),
    ("Expires=600", "Expires=604801"),
    ("Expires=600", "Expires=-600"),
    ("Expires=600", "Expires=%2B600"),
    ("Expires=600", "Expires=99999999999999999999"),
    ("X-Amz-Date={time}", "X-Amz-Date="),
    ("SignedHeaders=host", "SignedHeaders="),
    ("SignedHeaders=host", "SignedHeaders=host%3Bx-more"),
    ("Host:", "X-Amz-User-Agent: a\nHost:"),
    ("Host:", "Authorization: AWS4-HMAC-SHA256 Credential=a\nHost:"),
    ("Host:", "Authorization:\nHost:"),
];

/// What the signature does not allow.
const TAMPERED: [(&str, &str); 8] = [
    ("X-Amz-Signature={signature}", "X-Amz-Signature="),
    ("X-Amz-Signature={signature}", "X-Amz-Signature={SIGNATURE}"),
    ("Expires=600", "Expires=601"),
    ("Expires=600", "Expires=0600"),
    ("?", "?a=&"),
    ("POST /", "POST /DescribeImages/.."),
    ("POST /", "PATCH /"),
    ("team/app", "other/app"),
];

#[tokio::test]
async fn r43_presigned_requests_are_accepted() {
    let signer = Signer::start().await;
    assert_eq!(signer.send(&signer.right_presigned()).await, (200, String::new(), String::new()));
    for (more, canonical) in
        [("a=%2f&", "&a=%2F"), ("&&Z=+&", "&Z=%20"), ("x-amz-date=1&", "&x-amz-date=1")]
    {
        let target = PRESIGNED.replace('?', &format!("?{more}"));
        let query = format!("{}{canonical}\n", CANONICAL_PRESIGNED.trim_end());
        let query = format!("{query}{CANONICAL_PRESIGNED_HEADERS}");
        let request = signer.request(&target, PRESIGNED_HEADERS, &query);
        assert_eq!(signer.send(&request).await.0, 200, "{more}");
    }
    for (seconds, expires, is_valid) in [
        (540, "600", true),
        (601, "600", false),
        (604_740, "604800", true),
        (604_801, "604800", false),
        (-890, "1", true),
        (-960, "1", false),
    ] {
        let time = signer.time - SignedDuration::from_secs(seconds);
        let earlier = Signer { time, catalog: catalog(None).await };
        let with_expires = |text: &str| text.replace("Expires=600", &format!("Expires={expires}"));
        let canonical =
            format!("{}{CANONICAL_PRESIGNED_HEADERS}", with_expires(CANONICAL_PRESIGNED));
        let request = earlier.request(&with_expires(PRESIGNED), PRESIGNED_HEADERS, &canonical);
        let (status, _, message) = earlier.send(&request).await;
        assert_eq!(status == 200, is_valid, "{seconds} {expires}: {message}");
    }
}

#[tokio::test]
async fn r43_malformed_presigned_requests_are_refused() {
    let signer = Signer::start().await;
    let responses = signer.responses(&signer.right_presigned(), &EDITS).await;
    insta::assert_snapshot!(responses, @r#"
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&" -> ""
        IncompleteSignatureException: AWS query-string parameters must include 'X-Amz-Algorithm'. Re-examine the query-string parameters.
    "X-Amz-Algorithm=AWS4-HMAC-SHA256" -> "X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256"
        IncompleteSignatureException: X-Amz-Algorithm must be AWS4-HMAC-SHA256.
    "X-Amz-Credential=" -> "x-amz-credential="
        IncompleteSignatureException: AWS query-string parameters must include 'X-Amz-Credential'. Re-examine the query-string parameters.
    "&X-Amz-Date={time}" -> ""
        IncompleteSignatureException: AWS query-string parameters must include 'X-Amz-Date'. Re-examine the query-string parameters.
    "&X-Amz-Expires=600" -> ""
        IncompleteSignatureException: AWS query-string parameters must include 'X-Amz-Expires'. Re-examine the query-string parameters.
    "&X-Amz-SignedHeaders=host" -> ""
        IncompleteSignatureException: AWS query-string parameters must include 'X-Amz-SignedHeaders'. Re-examine the query-string parameters.
    "&X-Amz-Signature={signature}" -> ""
        IncompleteSignatureException: AWS query-string parameters must include 'X-Amz-Signature'. Re-examine the query-string parameters.
    "?" -> "?X-Amz-Algorithm=AWS4-HMAC-SHA256&"
        IncompleteSignatureException: AWS query-string parameters must include 'X-Amz-Algorithm' only once, as UTF-8.
    "?" -> "?X%2DAmz-Signature=&"
        IncompleteSignatureException: AWS query-string parameters must include 'X-Amz-Signature' only once, as UTF-8.
    "?" -> "?X-Amz-Security-Token=a&X-Amz-Security-Token=b&"
        IncompleteSignatureException: AWS query-string parameters must include 'X-Amz-Security-Token' only once, as UTF-8.
    "?" -> "?X-Amz-Security-Token=a&"
        UnrecognizedClientException: The security token included in the request is invalid.
    "?" -> "?X-Amz-Security-Token=%ff&"
        IncompleteSignatureException: AWS query-string parameters must include 'X-Amz-Security-Token' only once, as UTF-8.
    "AKIDREADER%2F" -> "AKIDREADER%252F"
        IncompleteSignatureException: Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKIDREADER%2F{date}/us-east-1/ecr-public/aws4_request'
    "AKIDREADER" -> "%FF"
        IncompleteSignatureException: AWS query-string parameters must include 'X-Amz-Credential' only once, as UTF-8.
    "Expires=600" -> "Expires="
        IncompleteSignatureException: X-Amz-Expires must be a number of seconds from 1 to 604800.
    "Expires=600" -> "Expires=0"
        IncompleteSignatureException: X-Amz-Expires must be a number of seconds from 1 to 604800.
    "Expires=600" -> "Expires=604801"
        IncompleteSignatureException: X-Amz-Expires must be a number of seconds from 1 to 604800.
    "Expires=600" -> "Expires=-600"
        IncompleteSignatureException: X-Amz-Expires must be a number of seconds from 1 to 604800.
    "Expires=600" -> "Expires=%2B600"
        IncompleteSignatureException: X-Amz-Expires must be a number of seconds from 1 to 604800.
    "Expires=600" -> "Expires=99999999999999999999"
        IncompleteSignatureException: X-Amz-Expires must be a number of seconds from 1 to 604800.
    "X-Amz-Date={time}" -> "X-Amz-Date="
        IncompleteSignatureException: Date must be in ISO-8601 'basic format'. Got ''.
    "SignedHeaders=host" -> "SignedHeaders="
        IncompleteSignatureException: 'SignedHeaders' must contain names in lower case and in alphabetical order, each once.
    "SignedHeaders=host" -> "SignedHeaders=host%3Bx-more"
        IncompleteSignatureException: The 'SignedHeader' 'x-more' is not in the request.
    "Host:" -> "X-Amz-User-Agent: a\nHost:"
        IncompleteSignatureException: 'x-amz-user-agent' must be a 'SignedHeader' in the AWS Authorization.
    "Host:" -> "Authorization: AWS4-HMAC-SHA256 Credential=a\nHost:"
        IncompleteSignatureException: The signature must be in the Authorization header or in the query string, not in both.
    "Host:" -> "Authorization:\nHost:"
        IncompleteSignatureException: The signature must be in the Authorization header or in the query string, not in both.
    "#);
}

#[tokio::test]
async fn r43_a_presigned_signature_is_for_one_request() {
    let signer = Signer::start().await;
    signer.assert_mismatches(&signer.right_presigned(), &TAMPERED).await;
}
