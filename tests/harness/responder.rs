//! An HTTP server whose responses are texts, whole or broken.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Responds to one request of each connection.
#[derive(Debug)]
pub struct Responder {
    pub port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Responder {
    /// `respond` returns the whole response to the head of a request.
    pub async fn start(respond: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let received = Arc::clone(&requests);
        let respond = Arc::new(respond);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (received, respond) = (Arc::clone(&received), Arc::clone(&respond));
                tokio::spawn(async move {
                    let request = read_head(&mut client).await;
                    let response = respond(&request);
                    received.lock().unwrap().push(request);
                    let _ = client.write_all(response.as_bytes()).await;
                });
            }
        });
        Self { port, requests }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The heads of the requests that it received.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Reads the head of a request, which comes in one piece.
pub async fn read_head(client: &mut TcpStream) -> String {
    let mut request = vec![0; 16 * 1024];
    let length = client.read(&mut request).await.unwrap_or_default();
    String::from_utf8_lossy(&request[..length]).into_owned()
}

/// A response, after which the connection ends. `headers` are whole lines.
#[must_use]
pub fn response(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ndate: Sun, 22 Nov 2026 00:00:00 GMT\r\n{headers}\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}
