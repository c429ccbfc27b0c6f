//! Signals, while requests are in flight.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use end_to_end::harness::{Process, print, push_event, wait_until};
use serde_json::json;

use super::{LIMIT, folder};

#[tokio::test]
async fn requests_in_flight_are_completed_after_sigterm() {
    requests_in_flight_are_completed("TERM").await;
}

#[tokio::test]
async fn requests_in_flight_are_completed_after_sigint() {
    requests_in_flight_are_completed("INT").await;
}

async fn requests_in_flight_are_completed(signal: &str) {
    let folder = folder(&format!("signal_{signal}"));
    let mut process = Process::start_with_data(&folder);
    // None of these connections may keep the process from ending.
    let silent = TcpStream::connect(process.address()).unwrap();
    let mut idle = TcpStream::connect(process.address()).unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert!(read_until(&mut idle, "ok\n").starts_with("HTTP/1.1 200 "));

    let event = push_event("team/app", 1, "v1").to_string();
    let describe = json!({ "repositoryName": "team/app" }).to_string();
    let mut event = HalfSent::start(process.address(), "/events/ecr", &event);
    let mut describe = HalfSent::start(process.address(), "/", &describe);

    let signalled = Instant::now();
    process.signal(signal);
    wait_until("new connections to be refused", LIMIT, || {
        TcpStream::connect(process.address()).is_err()
    });
    assert!(
        process.child.try_wait().unwrap().is_none(),
        "the process waits for requests in flight"
    );

    assert!(event.finish().starts_with("HTTP/1.1 200 "));
    let described = describe.finish();
    assert!(
        described.starts_with("HTTP/1.1 200 ") && described.contains(r#""imageTags":["v1"]"#),
        "{described}"
    );
    let completed_at = Instant::now();
    let status = process.ended();
    assert_eq!(status.code(), Some(0), "{}", process.log());
    print(format!(
        "process: SIG{signal}: ended {:.1} ms after the last request under way was \
         answered, {:.1} ms after the signal",
        completed_at.elapsed().as_secs_f64() * 1000.0,
        signalled.elapsed().as_secs_f64() * 1000.0,
    ));
    drop((silent, idle));

    let process = Process::start_with_data(&folder);
    assert_eq!(process.tags("team/app").await, ["v1"], "the event was applied");
}

#[tokio::test]
async fn clients_that_hang_do_not_keep_the_process_from_ending() {
    let mut process = Process::start_with_data(&folder("signal_hung"));
    let _hung = HalfSent::start(process.address(), "/events/ecr", &"x".repeat(100));
    let mut head = TcpStream::connect(process.address()).unwrap();
    head.write_all(b"POST / HTTP/1.1\r\nHost: ").unwrap();
    let signalled = Instant::now();
    process.signal("TERM");
    assert_eq!(process.ended().code(), Some(0), "{}", process.log());
    let took = signalled.elapsed();
    assert!(took < Duration::from_secs(7), "{took:?}");
    assert!(process.log().contains("requests in progress did not end in time"));
}

/// A request of which the process has the head and half the body.
struct HalfSent {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl HalfSent {
    fn start(address: SocketAddr, path: &str, body: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let (half, rest) = body.as_bytes().split_at(body.len() / 2);
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\
             X-Amz-Target: AmazonEC2ContainerRegistry_V20150921.DescribeImages\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The process requests the body once it handles the request.
        assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 100 "));
        stream.write_all(half).unwrap();
        Self { stream, rest: rest.to_vec() }
    }

    fn finish(&mut self) -> String {
        self.stream.write_all(&self.rest).unwrap();
        let mut response = String::new();
        self.stream.read_to_string(&mut response).unwrap();
        response
    }
}

fn read_until(stream: &mut TcpStream, end: &str) -> String {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut read = String::new();
    while !read.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        read.push(char::from(byte[0]));
    }
    read
}
