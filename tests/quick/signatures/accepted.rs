//! Requests that are signed in the right way, in every form. Their canonical requests are written
//! out.

use super::{CANONICAL_HEADERS, HEADERS, Signer};

#[tokio::test]
async fn r43_signatures_of_every_form_of_a_request_are_accepted() {
    let signer = Signer::start().await;
    // The path and the query as they are sent, and in their canonical form.
    for (target, canonical) in [
        ("/", "/\n\n"),
        ("/?", "/\n\n"),
        ("/?&", "/\n\n"),
        ("/?b=1&a=2&a=1&A=3", "/\nA=3&a=1&a=2&b=1\n"),
        ("/?a-=1&a=1&a", "/\na=&a=1&a-=1\n"),
        ("/?a=%2f%7e+%2B%20&b=/~", "/\na=%2F~%20%2B%20&b=%2F~\n"),
        ("/?a=%&b=%zz&c=%e&d=%FF", "/\na=%25&b=%25zz&c=%25e&d=%FF\n"),
        ("/?ü=ü", "/\n%C3%BC=%C3%BC\n"),
        ("/?x-amz-signature=1", "/\nx-amz-signature=1\n"),
        ("http://elsewhere/?a", "/\na=\n"),
        ("/DescribeImages", "/DescribeImages\n\n"),
        ("//", "/\n\n"),
        ("/./a/..//b/", "/b/\n\n"),
        ("/%20ü%zz%/~*", "/%2520%C3%BC%25zz%25/~%2A\n\n"),
    ] {
        let request = signer.request(target, HEADERS, &format!("{canonical}{CANONICAL_HEADERS}"));
        let (status, name, message) = signer.send(&request).await;
        // There is nothing at the other paths, which is known only after the signature.
        let path = canonical.split('\n').next().unwrap();
        let is_served = !target.starts_with("//") && matches!(path, "/" | "/DescribeImages");
        let expected = if is_served { (200, "") } else { (404, "NotFoundException") };
        assert_eq!((status, name.as_str()), expected, "{target}: {message}");
    }
}

#[tokio::test]
async fn r43_headers_are_signed_in_their_canonical_form() {
    let signer = Signer::start().await;
    // Replacements in the request and in its canonical form.
    let signed = ["host;x-amz-date;x-amz-target", "host;x-amz-date;x-amz-target;x-more"];
    for (sent, canonical) in [
        ("X-More: a", "x-more:a"),
        ("x-MORE:a", "x-more:a"),
        ("X-More:  \t a  b \t c  ", "x-more:a b c"),
        ("X-More: \"a  b\"", "x-more:\"a b\""),
        ("X-More: b\nx-more: a  a\nX-More:", "x-more:b,a a,"),
        ("X-More: ü", "x-more:ü"),
        // Headers that are not signed have no influence.
        ("X-More: a\nOther: \u{fffd}\nOther: b\nDate: yesterday", "x-more:a"),
        ("X-More: a\nDate: yesterday\nDate: yesterday", "x-more:a"),
    ] {
        let headers = format!("{sent}\n{}", HEADERS.replace(signed[0], signed[1]));
        let canonical = CANONICAL_HEADERS
            .replace(signed[0], signed[1])
            .replace("DescribeImages\n", &format!("DescribeImages\n{canonical}\n"));
        let request = signer.request("/", &headers, &format!("/\n\n{canonical}"));
        assert_eq!(signer.send(&request).await.0, 200, "{sent}");
    }
}

#[tokio::test]
async fn r43_the_time_may_be_in_the_header_date() {
    let signer = Signer::start().await;
    for form in ["{http}", "{rfc2822}", "{time}"] {
        let edit = |text: &str, header: &str, separator: &str| {
            let time = format!("{header}{separator}{{time}}");
            let date =
                format!("{}{separator}{form}", header.replace("X-Amz-", "").replace("x-amz-", ""));
            text.replace(&time, &date).replace("host;x-amz-date", "date;host")
        };
        let headers = edit(HEADERS, "X-Amz-Date", ": ");
        // `date` is before `host`.
        let canonical = edit(CANONICAL_HEADERS, "x-amz-date", ":");
        let (host, rest) = canonical.split_once('\n').unwrap();
        let (date, rest) = rest.split_once('\n').unwrap();
        let request = signer.request("/", &headers, &format!("/\n\n{date}\n{host}\n{rest}"));
        assert_eq!(signer.send(&request).await.0, 200, "{form}");
    }
}

#[tokio::test]
async fn r43_the_parameters_have_any_order_and_spacing() {
    let signer = Signer::start().await;
    let request = signer.right_request();
    let (before, authorization) = request.split_once("AWS4-HMAC-SHA256 ").unwrap();
    let (authorization, after) = authorization.split_once('\n').unwrap();
    let parameters: Vec<&str> = authorization.split(", ").collect();
    let [credential, headers, signature] = parameters[..] else { panic!("{parameters:?}") };
    for authorization in [
        format!("{credential},{headers},{signature}"),
        format!("{signature} , {headers}\t,   {credential}"),
        format!("  {headers}, {credential}, Other=1, {signature}"),
    ] {
        let request = format!("{before}AWS4-HMAC-SHA256 {authorization}\n{after}");
        assert_eq!(signer.send(&request).await.0, 200, "{authorization}");
    }
}

#[tokio::test]
async fn r43_the_hash_of_the_body_may_be_in_a_header() {
    let signer = Signer::start().await;
    let signed =
        |text: &str| text.replace("host;x-amz-date", "host;x-amz-content-sha256;x-amz-date");
    let headers = format!("X-Amz-Content-Sha256: {{hash}}\n{}", signed(HEADERS));
    let canonical = signed(CANONICAL_HEADERS)
        .replace("x-amz-date:", "x-amz-content-sha256:{hash}\nx-amz-date:");
    let request = signer.request("/", &headers, &format!("/\n\n{canonical}"));
    assert_eq!(signer.send(&request).await, (200, String::new(), String::new()));
}
