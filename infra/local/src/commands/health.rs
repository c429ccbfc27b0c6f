//! `image-catalog health`: whether a catalog serves on the address of `--listen`. Container images
//! without a shell have no other program for their health check.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::options::{self, Options};

/// Less than the timeout of the image's health check, so that the error is in its log.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Fails unless the catalog answers.
pub async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let url = format!("http://{}/healthz", reachable(options::resolve(&options.listen).await?));
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
    client.get(url).send().await?.error_for_status()?;
    Ok(())
}

/// The address to connect to: a server that listens on every address is reached on the loopback
/// address.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
