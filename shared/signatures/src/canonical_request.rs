//! The canonical form of a request, which is what a signature signs.
//!
//! The text is that of every service but Amazon S3: the path is normalized and encoded once more.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::fmt::Write as _;

use http::request::Parts;
use http::{HeaderMap, HeaderValue};

/// The parameters of a query, decoded.
pub(crate) type Query = Vec<(Vec<u8>, Vec<u8>)>;

/// The parameter that contains the signature of a presigned request.
pub(crate) const SIGNATURE: &str = "X-Amz-Signature";

/// Why a request has no canonical form.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidSignedHeader {
    #[error("The 'SignedHeader' '{0}' is not in the request.")]
    Absent(String),
    #[error("The 'SignedHeader' '{0}' is not UTF-8.")]
    NotText(String),
}

/// The canonical request without its last line, which is the hash of the body. The names of the
/// signed headers are in lower case and sorted.
pub(crate) fn canonical_head(
    head: &Parts,
    query: &Query,
    signed_headers: &[&str],
) -> Result<String, InvalidSignedHeader> {
    let path = canonical_path(head.uri.path());
    let mut text = format!("{}\n{path}\n{}\n", head.method, canonical_query(query));
    for name in signed_headers {
        text += &format!("{name}:{}\n", canonical_values(&head.headers, name)?);
    }
    text += &format!("\n{}\n", signed_headers.join(";"));
    Ok(text)
}

/// The path without empty segments and dot segments, as botocore normalizes it. A client has
/// encoded it already.
fn canonical_path(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(encode(segment.as_bytes())),
        }
    }
    let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

/// Sorted by the encoded names, and then by the encoded values.
fn canonical_query(query: &Query) -> String {
    let mut parameters: Vec<(String, String)> = query
        .iter()
        .filter(|(name, _)| name != SIGNATURE.as_bytes())
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    parameters.sort();
    let parameters: Vec<String> =
        parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    parameters.join("&")
}

/// The values of a header, in the order of the request.
fn canonical_values(headers: &HeaderMap, name: &str) -> Result<String, InvalidSignedHeader> {
    let values: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
    if values.is_empty() {
        return Err(InvalidSignedHeader::Absent(name.to_owned()));
    }
    let values: Option<Vec<String>> = values.into_iter().map(canonical_value).collect();
    Ok(values.ok_or_else(|| InvalidSignedHeader::NotText(name.to_owned()))?.join(","))
}

/// Without spaces and tabs around it, and with one space for several.
fn canonical_value(value: &HeaderValue) -> Option<String> {
    let text = str::from_utf8(value.as_bytes()).ok()?;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    Some(words.join(" "))
}

/// Decodes a query. A `+` is a space, and a `%` without two hexadecimal digits is a `%`, as in the
/// AWS SDKs for Go and Rust.
pub(crate) fn parse_query(query: &str) -> Query {
    query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (decode(name), decode(value))
        })
        .collect()
}

fn decode(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let encoded = if byte == b'%' { hexadecimal(after) } else { None };
        if encoded.is_some() {
            rest = &after[2..];
        }
        decoded.push(encoded.unwrap_or(if byte == b'+' { b' ' } else { byte }));
    }
    decoded
}

/// The byte of the first two digits.
fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let digits = digits.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// Encodes all but the unreserved characters of RFC 3986.
fn encode(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalized_and_encoded_once_more() {
        for (path, canonical) in [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            ("*", "/%2A"),
            ("/DescribeImages", "/DescribeImages"),
            ("/a/./b/../c", "/a/c"),
            ("/../..//a//", "/a/"),
            ("/a%20b", "/a%2520b"),
            ("/%zz%", "/%25zz%25"),
            ("/ü~-._:@!$", "/%C3%BC~-._%3A%40%21%24"),
        ] {
            assert_eq!(canonical_path(path), canonical, "{path}");
        }
    }

    #[test]
    fn queries_are_sorted_and_encoded_anew() {
        for (query, canonical) in [
            ("", ""),
            ("&&", ""),
            ("a", "a="),
            ("=a", "=a"),
            ("b=1&a=2&a=1", "a=1&a=2&b=1"),
            ("a=b=c", "a=b%3Dc"),
            ("a=%2f%7e&b=/~", "a=%2F~&b=%2F~"),
            ("a=x+y%2B&b=%20", "a=x%20y%2B&b=%20"),
            ("a=%&b=%f&c=%zz&d=%+1", "a=%25&b=%25f&c=%25zz&d=%25%201"),
            ("a=%FF&b=ü", "a=%FF&b=%C3%BC"),
            (
                "A=1&a=1&X-Amz-Signature=1&X%2DAmz-Signature=2&x-amz-signature=3",
                "A=1&a=1&x-amz-signature=3",
            ),
            // The `=` is not part of a name: `a-` is after `a`.
            ("a-=1&a=1", "a=1&a-=1"),
        ] {
            assert_eq!(canonical_query(&parse_query(query)), canonical, "{query}");
        }
    }

    #[test]
    fn values_are_trimmed_and_collapsed() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("one", &b" \t a  b \t c "[..]),
            ("two", b"x"),
            ("two", b""),
            ("two", b"y z"),
            ("utf-8", "ü".as_bytes()),
            ("latin-1", b"\xfc"),
        ] {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let values = |name: &str| canonical_values(&headers, name);
        assert_eq!(values("one").unwrap(), "a b c");
        assert_eq!(values("two").unwrap(), "x,,y z");
        assert_eq!(values("utf-8").unwrap(), "ü");
        assert_eq!(values("latin-1"), Err(InvalidSignedHeader::NotText("latin-1".to_owned())));
        assert_eq!(values("three"), Err(InvalidSignedHeader::Absent("three".to_owned())));
        assert_eq!(values("no name"), Err(InvalidSignedHeader::Absent("no name".to_owned())));
    }
}
