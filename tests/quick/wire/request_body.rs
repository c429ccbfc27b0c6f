//! Unknown members, the size of a body, and bodies that end incorrectly.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use end_to_end::harness::{Catalog, time};
use serde_json::json;

use super::{
    CLIENT_TIMEOUT, ECR, ECR_PUBLIC, MEBIBYTE, NEITHER_TAG_NOR_DIGEST, Reply, Wire, digests, parse,
};

#[tokio::test]
async fn r8_unknown_members_are_ignored() {
    let wire = Wire::start().await;
    wire.push("app", time(0), 1, Some("v1")).await;
    // Member names are case-sensitive: these are unknown members.
    let body = json!({
        "repositoryName": "app", "RepositoryName": 5, "repositoryname": [], "maxresults": "x", "limit": {},
        "": { "a": [null, true, 1.5] }, "é": "é", "imageIDs": [],
        "filter": { "tagStatus": "TAGGED", "TagStatus": "no such", "unknown": 1 },
    });
    assert_eq!(wire.ecr(body.clone()).await.digests(), digests([1]));
    assert_eq!(wire.ecr_public(body).await.digests(), digests([1]));
    let body = json!({ "repositoryName": "app", "imageIds": [{ "imageTag": "v1", "unknown": [1], "tag": 5 }] });
    assert_eq!(wire.ecr(body).await.digests(), digests([1]));
    let body = json!({ "RepositoryName": "app" });
    wire.ecr(body).await.assert_violates("repositoryName", "'must not be null'");
    let body = json!({ "repositoryName": "app", "imageIds": [{ "tag": "v1" }] });
    wire.ecr(body).await.assert_invalid(NEITHER_TAG_NOR_DIGEST);
}

#[tokio::test]
async fn r8_what_an_unknown_member_holds_does_not_matter() {
    let wire = Wire::start().await;
    wire.create("app").await;
    // JSON's grammar limits neither the size of a number nor which escapes follow each other.
    for value in
        ["1e400", "-0.1E-400", "123456789012345678901234567890", r#""\ud800""#, r#""\ud800\ud800""#]
    {
        for body in [
            format!(r#"{{"repositoryName":"app","unknown":{value}}}"#),
            format!(r#"{{"repositoryName":"app","unknown":[{{"unknown":{value}}}]}}"#),
            format!(r#"{{"repositoryName":"app","filter":{{"unknown":{value}}}}}"#),
        ] {
            assert_eq!(wire.post(ECR, body.clone()).await.body, r#"{"imageDetails":[]}"#, "{body}");
            assert_eq!(
                wire.post(ECR_PUBLIC, body.clone()).await.body,
                r#"{"imageDetails":[]}"#,
                "{body}"
            );
        }
        let body = format!(
            r#"{{"repositoryName":"app","imageIds":[{{"imageTag":"x","unknown":{value}}}]}}"#
        );
        wire.post(ECR, body).await.assert_no_image("null", "x");
    }
}

#[tokio::test]
async fn r8_deep_nesting_does_no_harm() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"repositoryName":"app","unknown":{open}{close}}}"#)
    };
    assert_eq!(wire.post(ECR, nested(100)).await.body, r#"{"imageDetails":[]}"#);
    // A recursive parser would exhaust the stack. Either result is allowed.
    let reply = wire.post(ECR, nested(MEBIBYTE / 2 - 100)).await;
    assert!([200, 400].contains(&reply.status), "{reply:?}");
    assert_eq!(wire.post(ECR, nested(1)).await.status, 200, "the catalog still responds");
}

#[tokio::test]
async fn r8_a_body_may_have_one_mebibyte() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let body = |length: usize| {
        let start = r#"{"repositoryName":"app","unknown":""#;
        format!(r#"{start}{}"}}"#, "x".repeat(length - start.len() - 2))
    };
    assert_eq!(wire.post(ECR, body(MEBIBYTE)).await.body, r#"{"imageDetails":[]}"#);
    let too_large = "The request body must not be larger than 1048576 bytes.";
    for length in [MEBIBYTE + 1, 5 * MEBIBYTE] {
        let reply = wire.post(ECR, body(length)).await;
        reply.assert_error(413, "RequestEntityTooLargeException", too_large);
    }
    // Spaces count, too.
    let padded = format!("{}{}", r#"{"repositoryName":"app"}"#, " ".repeat(MEBIBYTE));
    let reply = wire.post(ECR, padded).await;
    reply.assert_error(413, "RequestEntityTooLargeException", too_large);

    // A body without a declared length; one of its parts ends at the limit.
    for (length, status) in [(MEBIBYTE, 200), (MEBIBYTE + 1, 413)] {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: {ECR}\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        );
        let chunks: String = body(length)
            .as_bytes()
            .chunks(MEBIBYTE / 16)
            .map(|chunk| {
                format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap())
            })
            .collect();
        let reply = wire.raw(format!("{head}{chunks}0\r\n\r\n").as_bytes()).await;
        assert_eq!(reply.status, status, "{reply:?}");
    }
}

#[tokio::test]
async fn r4_r8_a_much_larger_body_gets_the_same_response() {
    let wire = Wire::start().await;
    wire.create("app").await;
    // Some servers have a lower limit of their own.
    let body = format!("{}{}", r#"{"repositoryName":"app"}"#, " ".repeat(10 * MEBIBYTE));
    let request = wire.http.post(&wire.catalog.url).header("x-amz-target", ECR).body(body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 413);
    let (headers, body) = (response.headers().clone(), response.text().await.unwrap());
    Reply::new(413, headers, body).assert_error(
        413,
        "RequestEntityTooLargeException",
        "The request body must not be larger than 1048576 bytes.",
    );
}

/// Endpoints with a body: the path, the size limit, and the response to larger bodies.
const LIMITED: [(&str, usize, &str); 2] = [
    (
        "/",
        MEBIBYTE,
        r#"{"__type":"RequestEntityTooLargeException","message":"The request body must not be larger than 1048576 bytes."}"#,
    ),
    ("/events/ecr", 1_000_000, r#"{"message":"the body must not be larger than 1000000 bytes"}"#),
];

/// A client that reads nothing before it has written everything, as many do.
struct Writing(std::net::TcpStream);

impl Writing {
    /// Sends the head of a request with a body of this length, or in chunks.
    fn start(address: &str, path: &str, length: Option<usize>) -> std::io::Result<Self> {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(CLIENT_TIMEOUT))?;
        stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
        let body = match length {
            Some(length) => format!("Content-Length: {length}"),
            None => "Transfer-Encoding: chunked".to_owned(),
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: {ECR}\r\nConnection: close\r\n{body}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        Ok(Self(stream))
    }

    /// Reads until the server closes.
    fn response(mut self) -> std::io::Result<(u16, String)> {
        let mut response = Vec::new();
        self.0.read_to_end(&mut response)?;
        let (status, headers, body) = parse(response);
        assert_eq!(headers["content-length"], body.len().to_string(), "the body is complete");
        Ok((status, body))
    }
}

/// A body of spaces in chunks, with its end.
fn in_chunks(length: usize) -> Vec<u8> {
    let chunk = format!("{:x}\r\n{}\r\n", MEBIBYTE, " ".repeat(MEBIBYTE));
    [chunk.repeat(length / MEBIBYTE).as_bytes(), b"0\r\n\r\n"].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_a_client_that_reads_last_gets_its_413() {
    let catalog = Catalog::start().await;
    let address = catalog.url.strip_prefix("http://").unwrap().to_owned();
    let [requests, events] = LIMITED;
    let send = move || {
        // The sockets may buffer what 12 MiB exceed the limit by; for 18 MiB they do not.
        for ((path, _, expected), length) in
            [(requests, 8 * MEBIBYTE), (events, 12 * MEBIBYTE), (events, 18 * MEBIBYTE)]
        {
            let (whole, chunks) = (vec![b' '; length], in_chunks(length));
            for attempt in 1..=10 {
                for (declared, body) in [(Some(length), &whole), (None, &chunks)] {
                    let response =
                        Writing::start(&address, path, declared).and_then(|mut client| {
                            client.0.write_all(body)?;
                            client.response()
                        });
                    let response = response.unwrap_or_else(|error| {
                        panic!("{path}, length {declared:?}, attempt {attempt}: {error}")
                    });
                    assert_eq!(response, (413, expected.to_owned()), "attempt {attempt}");
                }
            }
        }
    };
    tokio::task::spawn_blocking(send).await.unwrap();
}

/// Bytes beyond the limit are read for some seconds, and no longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_a_client_that_stops_or_is_slow_beyond_the_limit_is_not_waited_for() {
    let catalog = Catalog::start().await;
    let address = catalog.url.strip_prefix("http://").unwrap();
    let mut clients = Vec::new();
    for (path, limit, expected) in LIMITED {
        let client = |length| {
            let mut client = Writing::start(address, path, Some(length)).unwrap();
            client.0.write_all(&vec![b' '; limit + MEBIBYTE]).unwrap();
            client
        };
        let (stopped, mut slow) = (client(limit + 7 * MEBIBYTE), client(limit + 7 * MEBIBYTE));
        clients.push(tokio::task::spawn_blocking(move || {
            assert_eq!(stopped.response().unwrap(), (413, expected.to_owned()));
        }));
        clients.push(tokio::task::spawn_blocking(move || {
            while slow.0.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }));
    }
    let started = Instant::now();
    for client in clients {
        client.await.unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
}

/// Some of the bytes beyond the limit are read, and no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_a_body_without_end_is_cut_off() {
    const MAX_DISCARDED: usize = 32 * MEBIBYTE;
    // More than the two sockets can buffer.
    const UNDER_WAY: usize = 32 * MEBIBYTE;
    let catalog = Catalog::start().await;
    let address = catalog.url.strip_prefix("http://").unwrap().to_owned();
    let send = move || {
        let chunk = format!("{:x}\r\n{}\r\n", MEBIBYTE, " ".repeat(MEBIBYTE));
        for (path, limit, _) in LIMITED {
            let mut client = Writing::start(&address, path, None).unwrap();
            let mut sent = 0;
            while client.0.write_all(chunk.as_bytes()).is_ok() {
                sent += MEBIBYTE;
                assert!(sent < limit + MAX_DISCARDED + UNDER_WAY, "{path} reads on and on");
            }
            assert!(
                sent + MEBIBYTE >= limit + MAX_DISCARDED,
                "{path} was closed after {sent} bytes"
            );
        }
    };
    tokio::task::spawn_blocking(send).await.unwrap();
}

#[tokio::test]
async fn r4_r10_a_body_that_breaks_off_gets_an_orderly_response() {
    let wire = Wire::start().await;
    wire.create("app").await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: {ECR}\r\nConnection: close\r\n"
    );
    for rest in [
        // The length of the second chunk is not valid.
        "Transfer-Encoding: chunked\r\n\r\n18\r\n{\"repositoryName\":\"app\"}\r\nx\r\n",
        "Transfer-Encoding: chunked\r\n\r\nx\r\n",
    ] {
        let reply = wire.raw(format!("{head}{rest}").as_bytes()).await;
        assert_eq!(reply.json["__type"], "SerializationException", "{reply:?}");
    }
}

#[tokio::test]
async fn r8_an_empty_body_counts_as_an_empty_object() {
    let wire = Wire::start().await;
    for body in ["", "{}", " {\r\n}\t"] {
        wire.post(ECR, body).await.assert_violates("repositoryName", "'must not be null'");
        wire.post(ECR_PUBLIC, body).await.assert_violates("repositoryName", "'must not be null'");
    }
    // Neither a length nor a body.
    let request = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: {ECR}\r\nConnection: close\r\n\r\n"
    );
    wire.raw(request.as_bytes()).await.assert_violates("repositoryName", "'must not be null'");
}
