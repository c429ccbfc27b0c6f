//! Silent, slow and greedy clients: their connections are closed for others.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use end_to_end::harness::{Catalog, Store, sample};
use image_catalog::aws::connections::Limits;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

const LIMITS: Limits =
    Limits { connections: 1000, bytes: 32 * 1024 * 1024, wait: Duration::from_mins(1) };

const REQUEST: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

async fn catalog(limits: Limits) -> Catalog {
    Catalog::start_limited(Store::in_memory().await, limits).await
}

/// A connection from an address of this computer, `127.0.0.<last>`.
async fn connect_from(last: u8, catalog: &Catalog) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0)).unwrap();
    socket.connect(catalog.url["http://".len()..].parse().unwrap()).await.unwrap()
}

/// Sends a request, and returns the status line of the response.
async fn request(client: &mut TcpStream, request: &str) -> String {
    client.write_all(request.as_bytes()).await.unwrap();
    let mut response = vec![0; 4096];
    let length = client.read(&mut response).await.unwrap();
    String::from_utf8_lossy(&response[..length]).lines().next().unwrap_or_default().to_owned()
}

/// Waits until the server has closed a connection.
async fn closed(client: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is an error.
    let _ = client.read_to_end(&mut rest).await;
}

/// The head of a delivery of so many bytes, and its beginning.
fn begun_delivery(length: usize, sent: usize) -> String {
    format!(
        "POST /events/ecr HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{}",
        " ".repeat(sent)
    )
}

#[tokio::test]
async fn silent_connections_are_closed_for_others_and_the_oldest_first() {
    let catalog = catalog(Limits { connections: 4, ..LIMITS }).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(connect_from(1, &catalog).await);
    }
    let mut client = connect_from(1, &catalog).await;
    assert_eq!(request(&mut client, REQUEST).await, "HTTP/1.1 200 OK");
    for connection in &mut silent[..17] {
        closed(connection).await;
    }
    for connection in &mut silent[17..] {
        assert_eq!(request(connection, REQUEST).await, "HTTP/1.1 200 OK");
    }
}

#[tokio::test]
async fn an_address_with_many_silent_connections_loses_them_to_the_others() {
    let catalog = catalog(Limits { connections: 4, ..LIMITS }).await;
    let mut idle = connect_from(1, &catalog).await;
    assert_eq!(request(&mut idle, REQUEST).await, "HTTP/1.1 200 OK");
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(connect_from(2, &catalog).await);
    }
    closed(&mut silent[0]).await;
    assert_eq!(request(&mut idle, REQUEST).await, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_connection_that_keeps_the_server_waiting_is_closed() {
    let catalog = catalog(Limits { wait: Duration::from_millis(300), ..LIMITS }).await;
    let delivery = begun_delivery(1000, 500);
    for begun in ["", "POST / HT", delivery.as_str(), REQUEST] {
        let mut client = connect_from(1, &catalog).await;
        client.write_all(begun.as_bytes()).await.unwrap();
        let started = Instant::now();
        closed(&mut client).await;
        assert!(started.elapsed() >= Duration::from_millis(290), "{begun}");
    }
}

#[tokio::test]
async fn the_bodies_of_slow_clients_are_dropped_for_others() {
    let catalog = catalog(Limits { bytes: 512 * 1024, ..LIMITS }).await;
    let mut slow = Vec::new();
    for _ in 0..10 {
        let mut client = connect_from(1, &catalog).await;
        client.write_all(begun_delivery(400_000, 200_000).as_bytes()).await.unwrap();
        slow.push(client);
    }
    let push = sample("aws-ecr/image-action-push.json");
    let event = format!("{push}{}", " ".repeat(300_000));
    let response = reqwest::Client::new().post(format!("{}/events/ecr", catalog.url)).body(event);
    assert_eq!(response.send().await.unwrap().status(), 200);
    closed(&mut slow[0]).await;
}

#[tokio::test]
async fn a_wrong_credential_is_refused_without_the_body() {
    let subscriptions = json!([
        { "id": "harbor", "source": "harbor", "registryId": "210987654321",
          "credential": { "bearer": "secret" } },
        { "id": "github", "source": "github", "registryId": "210987654321",
          "credential": { "hmac": "secret" } },
    ]);
    let catalog = Catalog::start_subscribed(Store::in_memory().await, &subscriptions).await;
    for (source, header) in [("harbor", "authorization: Bearer guess"), ("github", "x-other: 1")] {
        let mut client = connect_from(1, &catalog).await;
        let head = format!(
            "POST /events/{source} HTTP/1.1\r\nhost: localhost\r\n{header}\r\n\
             content-length: 900000\r\n\r\n"
        );
        assert_eq!(request(&mut client, &head).await, "HTTP/1.1 401 Unauthorized", "{source}");
    }
}

#[tokio::test]
async fn only_http_1_is_served() {
    let catalog = catalog(LIMITS).await;
    let mut client = connect_from(1, &catalog).await;
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut response = Vec::new();
    let _ = client.read_to_end(&mut response).await;
    let response = String::from_utf8_lossy(&response);
    assert!(response.is_empty() || response.starts_with("HTTP/1.1 4"), "{response}");
}
