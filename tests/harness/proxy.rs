//! A proxy between a server and its clients.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};

/// Starts a proxy on a listener. The functions may change the bytes of requests and of responses.
/// Returns its address.
pub fn proxy(
    listener: TcpListener,
    upstream: &str,
    there: impl Fn(Vec<u8>) -> Vec<u8> + Clone + Send + 'static,
    back: impl Fn(Vec<u8>) -> Vec<u8> + Clone + Send + 'static,
) -> String {
    let upstream = upstream.strip_prefix("http://").unwrap().to_owned();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            // The server may have been stopped with its test.
            let Ok(server) = TcpStream::connect(&upstream) else { continue };
            let (client_too, server_too) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            let (there, back) = (there.clone(), back.clone());
            std::thread::spawn(move || forward(client_too, server_too, there));
            std::thread::spawn(move || forward(server, client, back));
        }
    });
    url
}

fn forward(mut from: TcpStream, mut to: TcpStream, change: impl Fn(Vec<u8>) -> Vec<u8>) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if to.write_all(&change(bytes[..length].to_vec())).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
