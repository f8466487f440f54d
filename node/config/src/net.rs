//! Subnets, and texts that should be addresses.

use std::{fmt, net::IpAddr};

/// A subnet: an address with no host bits, and a prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

impl Subnet {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == self.address
    }

    /// Whether the address means the subnet itself, or all of its hosts (IPv4).
    pub(crate) fn is_reserved(&self, address: IpAddr) -> bool {
        let host_bits = bits(address).saturating_sub(self.prefix);
        if host_bits < 2 {
            return false;
        }
        let broadcast = match (self.address, address) {
            (IpAddr::V4(net), IpAddr::V4(host)) => {
                let hosts = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
                u32::from(host) == u32::from(net) | hosts
            }
            _ => false,
        };
        address == self.address || broadcast
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The longest prefix of the address's family.
pub(crate) fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with everything after the prefix set to zero.
pub(crate) fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(a) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix)).unwrap_or(0);
            IpAddr::V4((u32::from(a) & mask).into())
        }
        IpAddr::V6(a) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix)).unwrap_or(0);
            IpAddr::V6((u128::from(a) & mask).into())
        }
    }
}

/// Reads an address; the error says what to do about it.
pub(crate) fn parse_address(text: &str) -> Result<IpAddr, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return if address.is_unspecified() {
            Err("this means \"any address\"; write a particular one".to_owned())
        } else if address.is_multicast() {
            Err("this is a multicast address; write one that a single machine can have".to_owned())
        } else {
            // One spelling for each address, so that duplicates are found.
            Ok(address.to_canonical())
        };
    }
    let parts: Vec<&str> = text.split('.').collect();
    let digits = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    Err(if let Some((before, _)) = text.split_once('/') {
        format!("leave the prefix out: \"{before}\"; it belongs to the network")
    } else if parts.iter().all(digits) && parts.len() > 1 {
        let large = parts.iter().find(|part| part.parse::<u8>().is_err());
        let zero = parts.iter().find(|part| part.len() > 1 && part.starts_with('0'));
        match (large, zero, parts.len()) {
            (Some(part), ..) => format!("{part} is above 255; each of the four numbers is from 0 to 255"),
            (None, Some(part), _) => format!("write `{part}` without the leading zero"),
            (None, None, count) => format!("it has {count} numbers; an IPv4 address has four"),
        }
    } else {
        "write the address itself; names are not looked up".to_owned()
    })
}

/// Reads `ADDRESS/PREFIX`; the error says what to do about it.
pub(crate) fn parse_subnet(text: &str) -> Result<Subnet, String> {
    let Some((address, prefix)) = text.split_once('/') else {
        return Err(format!("add the prefix, such as \"{text}/24\""));
    };
    let address = address.parse::<IpAddr>().or_else(|_| parse_address(address))?;
    let most = bits(address);
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let range = format!("the prefix of an {family} subnet is a number from 1 to {most}");
    let prefix: u8 = prefix.parse().map_err(|_| range.clone())?;
    if !(1..=most).contains(&prefix) {
        return Err(range);
    }
    let first = masked(address, prefix);
    if first != address {
        return Err(format!("\"{text}\" names a host; the subnet is \"{first}/{prefix}\""));
    }
    Ok(Subnet { address, prefix })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn subnets_contain_their_hosts() {
        let net = parse_subnet("10.1.0.0/24").unwrap();
        assert!(net.contains("10.1.0.85".parse().unwrap()));
        assert!(!net.contains("10.1.1.85".parse().unwrap()));
        assert!(!net.contains("fe80::1".parse().unwrap()));
        assert!(net.is_reserved("10.1.0.0".parse().unwrap()));
        assert!(net.is_reserved("10.1.0.255".parse().unwrap()));
        assert!(!net.is_reserved("10.1.0.254".parse().unwrap()));
        let six = parse_subnet("fd00:1::/64").unwrap();
        assert!(six.contains("fd00:1::5".parse().unwrap()));
        assert!(!six.contains("fd00:2::5".parse().unwrap()));
        assert!(!parse_subnet("10.0.0.1/32").unwrap().is_reserved("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn bad_addresses_say_what_to_do() {
        for (text, hint) in [
            ("10.0.0.300", "above 255"),
            ("10.0.0", "has 3 numbers"),
            ("10.0.0.01", "leading zero"),
            ("10.0.0.1/24", "leave the prefix out"),
            ("kiki.example", "not looked up"),
            ("0.0.0.0", "any address"),
            ("224.0.0.1", "multicast"),
        ] {
            let error = parse_address(text).unwrap_err();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn bad_subnets_say_what_to_do() {
        for (text, hint) in [
            ("10.1.0.0", "add the prefix"),
            ("10.1.0.0/99", "from 1 to 32"),
            ("fd00::/129", "from 1 to 128"),
            ("10.1.0.0/x", "from 1 to 32"),
            ("10.1.0.5/24", "10.1.0.0/24"),
            ("10.1.0.300/24", "above 255"),
        ] {
            let error = parse_subnet(text).unwrap_err();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
