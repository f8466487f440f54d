//! Arithmetic on addresses and prefixes.

use std::net::{IpAddr, Ipv4Addr};

use super::error::AddressError;

/// Whether both addresses are of one family and in the same subnet of length `prefix`.
pub(super) fn same_subnet(one: IpAddr, other: IpAddr, prefix: u8) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u32::from(one) ^ u32::from(other)) & mask_v4(prefix) == 0,
        (IpAddr::V6(one), IpAddr::V6(other)) => (u128::from(one) ^ u128::from(other)) & mask_v6(prefix) == 0,
        _ => false,
    }
}

/// The address that reaches every host of the subnet, where the subnet is wide enough to have one.
pub(super) fn broadcast(address: Ipv4Addr, prefix: u8) -> Option<Ipv4Addr> {
    (prefix < 31).then(|| Ipv4Addr::from(u32::from(address) | !mask_v4(prefix)))
}

/// Whether nothing leaves the machine for this address, so that there is nothing to add or announce.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.is_loopback()
}

/// Refuses what can never be one host's address.
pub(super) fn check(address: IpAddr, prefix: u8) -> Result<(), AddressError> {
    let reason = match address {
        IpAddr::V4(_) if prefix > 32 => Some("an IPv4 prefix is at most 32"),
        IpAddr::V6(_) if prefix > 128 => Some("an IPv6 prefix is at most 128"),
        _ if prefix == 0 => Some("a prefix of 0 is no subnet"),
        _ if address.is_unspecified() => Some("it is the unspecified address"),
        _ if address.is_multicast() => Some("it is a multicast address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("it is the broadcast address"),
        IpAddr::V4(v4) if !v4.is_loopback() && broadcast(v4, prefix) == Some(v4) => {
            Some("it is the broadcast address of its subnet")
        }
        IpAddr::V4(v4) if !v4.is_loopback() && prefix < 31 && u32::from(v4) & !mask_v4(prefix) == 0 => {
            Some("it is the subnet's own address")
        }
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("it is an IPv4 address written as IPv6"),
        IpAddr::V6(v6) if prefix < 127 && u128::from(v6) & !mask_v6(prefix) == 0 => {
            Some("it is the subnet's router anycast address")
        }
        _ => None,
    };
    match reason {
        Some(reason) => Err(AddressError::Unsuitable { address, prefix, reason }),
        None => Ok(()),
    }
}

fn mask_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_are_compared_by_their_prefix() {
        assert!(same_subnet(ip("10.1.0.88"), ip("10.1.0.85"), 24));
        assert!(!same_subnet(ip("10.1.0.88"), ip("10.1.1.85"), 24));
        assert!(same_subnet(ip("10.1.0.88"), ip("10.1.1.85"), 23));
        assert!(same_subnet(ip("10.1.0.88"), ip("192.168.0.1"), 0));
        assert!(!same_subnet(ip("10.1.0.88"), ip("10.1.0.89"), 32));
        assert!(same_subnet(ip("fd00::1"), ip("fd00::ffff"), 64));
        assert!(!same_subnet(ip("fd00::1"), ip("fd00:0:0:1::1"), 64));
        assert!(!same_subnet(ip("::ffff:10.1.0.88"), ip("10.1.0.88"), 8));
    }

    #[test]
    fn what_is_no_host_address_is_refused() {
        let refused = [
            ("10.1.0.255", 24),
            ("10.1.0.0", 24),
            ("10.1.0.1", 33),
            ("10.1.0.1", 99),
            ("10.1.0.1", 0),
            ("0.0.0.0", 24),
            ("255.255.255.255", 32),
            ("224.0.0.18", 24),
            ("::", 64),
            ("ff02::1", 64),
            ("fd00::", 64),
            ("fd00::1", 129),
            ("::ffff:10.1.0.1", 120),
        ];
        for (address, prefix) in refused {
            let error = check(ip(address), prefix).unwrap_err();
            assert_eq!(error.code(), "TSK-1405", "{address}/{prefix}");
        }
        let fine = [
            ("10.1.0.88", 24),
            ("10.1.0.0", 31),
            ("10.1.0.255", 32),
            ("fd00::1", 64),
            ("fd00::", 128),
            ("127.0.0.1", 8),
            ("::1", 128),
        ];
        for (address, prefix) in fine {
            check(ip(address), prefix).unwrap();
        }
    }
}
