//! `image-catalog health`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use end_to_end::harness::{Ended, Process, command, free_port};

use super::folder;

fn health(listen: &str) -> Ended {
    let mut command = command(&folder("health-check"));
    // A proxy of the environment is not for it.
    command.envs([("IMAGE_CATALOG_LISTEN", listen), ("http_proxy", "http://127.0.0.1:1")]);
    command.arg("health");
    command.stderr(std::process::Stdio::piped());
    Ended::run(&mut command)
}

#[test]
fn it_succeeds_while_a_catalog_serves() {
    let listen = format!("0.0.0.0:{}", free_port());
    let mut served = command(&folder("health"));
    served.args(["--in-memory", "--listen", &listen]);
    let mut process = Process::start(served);
    let healthy = Ended { code: Some(0), stdout: String::new(), stderr: String::new() };
    assert_eq!(health(&listen), healthy);
    process.stop();
    let ended = health(&listen);
    assert_eq!(ended.code, Some(1));
    let port = listen.rsplit(':').next().unwrap();
    let url = format!("http://127.0.0.1:{port}/healthz");
    for part in [url.as_str(), "refused"] {
        assert!(ended.stderr.contains(part), "{part} is not in: {}", ended.stderr);
    }
}

#[test]
fn the_variable_is_the_address_to_listen_on() {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = command(&folder("listen"));
    command.env("IMAGE_CATALOG_LISTEN", address.to_string()).arg("--in-memory");
    let process = Process::start(command);
    assert_eq!(process.address(), address);
}

/// Answers one request. Returns what the check makes of it.
fn health_of_server(response: &'static str) -> Ended {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let read = connection.read(&mut [0; 1024]).unwrap();
        assert_ne!(read, 0);
        connection.write_all(response.as_bytes()).unwrap();
    });
    let ended = health(&address);
    server.join().unwrap();
    ended
}

#[test]
fn it_fails_if_the_server_does() {
    let response = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let ended = health_of_server(response);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("503"), "{}", ended.stderr);
}

#[test]
fn it_fails_if_another_program_answers() {
    let ended = health_of_server("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nwelcome");
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("is not that of a catalog"), "{}", ended.stderr);
}
