//! Resolves the names of registries, and refuses addresses at which no registry can be.
//!
//! A registry's owner chooses what its name resolves to. A link-local address, at which clouds serve
//! the credentials of a machine, is no registry's. Products that are services of their own have no
//! private addresses either. The connection goes to an address that was checked here.

use std::error::Error;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

use crate::source::Source;

/// The IPv6 address at which Amazon EC2 serves the credentials of a machine.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// A name has an address to which no requests are sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} has the address {address}, to which no requests are sent")]
struct RefusedAddress {
    name: String,
    address: IpAddr,
}

#[derive(Debug)]
pub(crate) struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = lookup_host((name.as_str(), 0)).await?.collect();
            check(name.as_str(), &addresses)
                .map_err(|error| -> Box<dyn Error + Send + Sync> { Box::new(error) })?;
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

fn check(name: &str, addresses: &[SocketAddr]) -> Result<(), RefusedAddress> {
    let is_of_service = Source::is_host_of_service(name);
    for address in addresses {
        let address = address.ip().to_canonical();
        if is_link_local(address) || (is_of_service && is_private(address)) {
            return Err(RefusedAddress { name: name.to_owned(), address });
        }
    }
    Ok(())
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address == METADATA,
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_private() || address.is_loopback() || address.is_unspecified()
        }
        IpAddr::V6(address) => {
            address.is_unique_local() || address.is_loopback() || address.is_unspecified()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, addresses: &[&str]) -> Option<IpAddr> {
        let parse = |address: &&str| SocketAddr::new(address.parse().unwrap(), 0);
        let addresses: Vec<_> = addresses.iter().map(parse).collect();
        check(name, &addresses).err().map(|error| error.address)
    }

    #[test]
    fn no_registry_is_at_a_link_local_address() {
        for address in ["169.254.169.254", "169.254.170.2", "fe80::1", "fd00:ec2::254"] {
            let expected = Some(address.parse().unwrap());
            assert_eq!(refused("registry.example", &["192.0.2.1", address]), expected);
        }
        let mapped = refused("registry.example", &["::ffff:169.254.169.254"]);
        assert_eq!(mapped, Some("169.254.169.254".parse().unwrap()));
    }

    #[test]
    fn only_services_have_no_private_addresses() {
        for address in ["10.0.0.1", "172.16.0.1", "192.168.0.1", "127.0.0.1", "::1", "fd12::1"] {
            assert_eq!(refused("registry.example", &[address]), None, "{address}");
            for service in ["registry-1.docker.io", "auth.docker.io", "ghcr.io", "cdn01.quay.io"] {
                let expected = Some(address.parse().unwrap());
                assert_eq!(refused(service, &[address]), expected, "{service}");
            }
        }
        assert_eq!(refused("ghcr.io", &["192.0.2.1", "2001:db8::1"]), None);
    }

    #[tokio::test]
    async fn a_name_is_resolved() {
        let addresses = Resolver.resolve("localhost".parse().unwrap()).await.unwrap();
        assert!(addresses.map(|address| address.ip()).all(|address| address.is_loopback()));
    }
}
