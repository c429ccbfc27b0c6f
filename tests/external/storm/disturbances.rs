//! Disturbances of the catalog and of the network, and their schedule.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use end_to_end::harness::{Random, free_port};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::{CUTS, KILLS, NETWORK, REFUSALS, REFUSED_OPERATIONS};

/// A disturbance after a number of operations.
#[derive(Debug, Clone, Copy)]
pub(super) enum Disturbance {
    /// The catalog is killed, and started again.
    Kill,
    /// A connection is cut.
    Cut(Cut),
    /// From now on connections are refused.
    Refuse,
    /// Connections are accepted again.
    Accept,
}

/// The disturbances, by the number of operations before them.
pub(super) fn schedule(
    random: &mut Random,
    operations: usize,
) -> BTreeMap<usize, Vec<Disturbance>> {
    let mut schedule: BTreeMap<usize, Vec<Disturbance>> = BTreeMap::new();
    let mut add = |at: usize, disturbance| {
        schedule.entry(at.clamp(1, operations)).or_default().push(disturbance);
    };
    let mut spread = |times: usize| -> Vec<usize> {
        let share = operations / times;
        (0..times).map(|time| time * share + random.below(share.max(1) as u64) as usize).collect()
    };
    spread(KILLS).into_iter().for_each(|at| add(at, Disturbance::Kill));
    for (number, at) in spread(CUTS).into_iter().enumerate() {
        add(at, Disturbance::Cut(if number % 2 == 0 { Cut::Request } else { Cut::Response }));
    }
    for at in spread(REFUSALS) {
        add(at, Disturbance::Refuse);
        add(at + REFUSED_OPERATIONS, Disturbance::Accept);
    }
    schedule
}

/// Where a connection is cut.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    /// In the middle of the request.
    Request,
    /// Before the response.
    Response,
}

/// The network between the registry and the catalog.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    pub(super) is_open: watch::Sender<bool>,
    pub(super) cuts: Arc<Mutex<VecDeque<Cut>>>,
    /// The number of cut connections.
    pub(super) dropped: Arc<AtomicUsize>,
    pub(super) running: JoinHandle<()>,
}

impl Proxy {
    pub(super) async fn start(target: SocketAddr) -> Self {
        let address = SocketAddr::from((NETWORK, free_port()));
        let (is_open, mut opened) = watch::channel(true);
        let (cuts, dropped) =
            (Arc::<Mutex<VecDeque<Cut>>>::default(), Arc::<AtomicUsize>::default());
        let (cuts_of_connections, dropped_connections) = (Arc::clone(&cuts), Arc::clone(&dropped));
        let running = tokio::spawn(async move {
            loop {
                opened.wait_for(|is_open| *is_open).await.unwrap();
                let listener = TcpListener::bind(address).await.unwrap();
                let mut connections = JoinSet::new();
                loop {
                    tokio::select! {
                        accepted = listener.accept() => {
                            let (cuts, dropped) =
                                (Arc::clone(&cuts_of_connections), Arc::clone(&dropped_connections));
                            connections.spawn(forward(accepted.unwrap().0, target, cuts, dropped));
                        }
                        Some(_) = connections.join_next() => {}
                        closed = opened.wait_for(|is_open| !*is_open) => {
                            closed.unwrap();
                            break;
                        }
                    }
                }
                // The listener and all open connections are closed.
                dropped_connections.fetch_add(connections.len(), Ordering::Relaxed);
            }
        });
        Self { address, is_open, cuts, dropped, running }
    }

    pub(super) fn cut(&self, cut: Cut) {
        self.cuts.lock().unwrap().push_back(cut);
    }

    /// Ends all disturbances.
    pub(super) fn calm(&mut self) {
        self.cuts.lock().unwrap().clear();
        self.is_open.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Forwards bytes both ways, until one side ends or the connection is to be cut.
pub(super) async fn forward(
    mut client: TcpStream,
    target: SocketAddr,
    cuts: Arc<Mutex<VecDeque<Cut>>>,
    dropped: Arc<AtomicUsize>,
) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let (mut request, mut response) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let Ok(length @ 1..) = read else { return };
                let cut = cuts.lock().unwrap().pop_front();
                let passed = if let Some(Cut::Request) = cut { length / 2 } else { length };
                if server.write_all(&request[..passed]).await.is_err() {
                    return;
                }
                if let Some(cut) = cut {
                    if let Cut::Response = cut {
                        // The response is dropped.
                        let _ = server.read(&mut response).await;
                    }
                    dropped.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
            read = server.read(&mut response) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&response[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
