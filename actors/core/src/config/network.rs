//! Which addresses belong to which network.

use std::net::IpAddr;

use super::{FloatingIpConfig, GroupConfig, Network, ResourceKind};
use crate::ids::{ResourceName, ServerName};

impl Network {
    /// Whether an address lies in its subnet.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let prefix = u32::from(self.prefix);
        match (self.subnet, address) {
            (IpAddr::V4(subnet), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix)).unwrap_or(0);
                u32::from(subnet) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(subnet), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix)).unwrap_or(0);
                u128::from(subnet) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }
}

impl FloatingIpConfig {
    /// The address that it is on a server.
    #[must_use]
    pub fn on(&self, server: &ServerName) -> IpAddr {
        self.per_server.get(server).copied().unwrap_or(self.address)
    }
}

impl GroupConfig {
    /// Its floating addresses, as they are on a server.
    pub fn addresses_on(&self, server: &ServerName) -> impl Iterator<Item = (&ResourceName, IpAddr)> {
        self.resources.iter().filter_map(move |(name, resource)| match &resource.kind {
            ResourceKind::FloatingIp(floating) => Some((name, floating.on(server))),
            ResourceKind::Exec(_) | ResourceKind::MirrorDisk(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_lies_in_the_subnet_that_has_its_first_bits() {
        let in_it = |subnet: [u8; 4], prefix, address: [u8; 4]| {
            Network { subnet: subnet.into(), prefix, uses: Vec::new() }.contains(address.into())
        };
        assert!(in_it([10, 0, 0, 0], 24, [10, 0, 0, 77]));
        assert!(!in_it([10, 0, 0, 0], 24, [10, 0, 1, 77]));
        assert!(in_it([10, 0, 0, 0], 23, [10, 0, 1, 77]));
        assert!(in_it([10, 0, 0, 4], 32, [10, 0, 0, 4]));
        assert!(!in_it([10, 0, 0, 4], 32, [10, 0, 0, 5]));
        assert!(in_it([0, 0, 0, 0], 0, [255, 1, 2, 3]));
        let six =
            Network { subnet: IpAddr::from([0xfd00, 0, 0, 1, 0, 0, 0, 0]), prefix: 64, uses: Vec::new() };
        assert!(six.contains(IpAddr::from([0xfd00, 0, 0, 1, 0, 0, 0, 9])));
        assert!(!six.contains(IpAddr::from([0xfd00, 0, 0, 2, 0, 0, 0, 9])));
        assert!(!six.contains(IpAddr::from([10, 0, 0, 1])));
    }
}
