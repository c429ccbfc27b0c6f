//! A proxy between a server and its clients.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

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

/// Holds whoever waits until it is opened.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Debug, Default)]
struct GateState {
    is_open: bool,
    waiting: usize,
}

impl Gate {
    pub fn wait(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.waiting += 1;
        drop(changed.wait_while(state, |state| !state.is_open).unwrap());
    }

    pub fn open(&self) {
        let (state, changed) = &*self.0;
        state.lock().unwrap().is_open = true;
        changed.notify_all();
    }

    /// How many have waited, or wait.
    pub fn waiting(&self) -> usize {
        self.0.0.lock().unwrap().waiting
    }
}
