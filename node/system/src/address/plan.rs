//! Which interface a floating address belongs on. Pure: it looks at lists, not at the machine.

use std::net::IpAddr;

use super::{
    AddressSpec, HeldAddress,
    error::{AddressError, DeviceState},
    netlink::{Configured, Link},
    subnet,
};

/// The interface that loopback addresses live on.
const LOOPBACK: &str = "lo";

/// Chooses the interface for `spec`, or says why none will do.
pub(super) fn choose(
    spec: &AddressSpec,
    links: &[Link],
    addresses: &[Configured],
) -> Result<HeldAddress, AddressError> {
    let AddressSpec { address, prefix, ref device } = *spec;
    subnet::check(address, prefix)?;
    if subnet::is_loopback(address) {
        return Ok(HeldAddress { address, prefix, device: LOOPBACK.to_owned(), loopback: true });
    }
    if let Some(own) = addresses.iter().find(|one| one.address == address) {
        return Err(AddressError::AlreadyConfigured { address, device: name_of(own.index, links) });
    }
    let link = match device {
        Some(device) => links.iter().find(|link| link.name == *device).ok_or_else(|| {
            AddressError::DeviceUnusable { device: device.clone(), state: DeviceState::Missing }
        })?,
        None => carrying(address, prefix, links, addresses).ok_or_else(|| AddressError::NoInterface {
            address,
            prefix,
            present: describe(address, links, addresses),
        })?,
    };
    usable(link)?;
    Ok(HeldAddress { address, prefix, device: link.name.clone(), loopback: false })
}

/// Fails when `link` cannot carry traffic now.
pub(super) fn usable(link: &Link) -> Result<(), AddressError> {
    let state = match link {
        Link { up: false, .. } => DeviceState::Down,
        Link { carrier: false, .. } => DeviceState::NoCarrier,
        _ => return Ok(()),
    };
    Err(AddressError::DeviceUnusable { device: link.name.clone(), state })
}

/// The interface with an address in the subnet: the best usable one first, then the lowest number.
fn carrying<'a>(
    address: IpAddr,
    prefix: u8,
    links: &'a [Link],
    addresses: &[Configured],
) -> Option<&'a Link> {
    links
        .iter()
        .filter(|link| {
            !link.loopback
                && addresses
                    .iter()
                    .any(|one| one.index == link.index && subnet::same_subnet(one.address, address, prefix))
        })
        .min_by_key(|link| (!link.up, !link.carrier, link.index))
}

fn name_of(index: u32, links: &[Link]) -> String {
    links
        .iter()
        .find(|link| link.index == index)
        .map_or_else(|| format!("interface {index}"), |link| link.name.clone())
}

/// The addresses there are, of the family in question, for an error's text.
fn describe(address: IpAddr, links: &[Link], addresses: &[Configured]) -> String {
    let there: Vec<String> = addresses
        .iter()
        .filter(|one| one.address.is_ipv4() == address.is_ipv4() && !one.address.is_loopback())
        .map(|one| format!("{}/{} on {}", one.address, one.prefix, name_of(one.index, links)))
        .collect();
    match there.is_empty() {
        true if address.is_ipv4() => "no IPv4 address on any interface".to_owned(),
        true => "no IPv6 address on any interface".to_owned(),
        false => there.join(", "),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::address::frame::Mac;

    fn link(index: u32, name: &str) -> Link {
        Link {
            index,
            name: name.to_owned(),
            up: true,
            carrier: true,
            loopback: name == "lo",
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        }
    }

    fn on(index: u32, text: &str) -> Configured {
        let (address, prefix) = text.split_once('/').unwrap();
        Configured {
            index,
            address: address.parse().unwrap(),
            prefix: prefix.parse().unwrap(),
            secondary: false,
        }
    }

    fn spec(text: &str) -> AddressSpec {
        let (address, device) = match text.split_once('%') {
            Some((address, device)) => (address, Some(device.to_owned())),
            None => (text, None),
        };
        let (address, prefix) = address.split_once('/').unwrap();
        AddressSpec { address: address.parse().unwrap(), prefix: prefix.parse().unwrap(), device }
    }

    fn machine() -> (Vec<Link>, Vec<Configured>) {
        (
            vec![link(1, "lo"), link(2, "eth0"), link(3, "eth1"), link(4, "bond0")],
            vec![on(1, "127.0.0.1/8"), on(2, "192.168.0.1/24"), on(3, "10.1.0.85/24"), on(3, "fd00::85/64")],
        )
    }

    #[test]
    fn the_interface_that_carries_the_subnet_is_chosen() {
        let (links, addresses) = machine();
        assert_eq!(choose(&spec("10.1.0.88/24"), &links, &addresses).unwrap().device, "eth1");
        assert_eq!(choose(&spec("fd00::88/64"), &links, &addresses).unwrap().device, "eth1");
        assert_eq!(choose(&spec("192.168.0.88/24"), &links, &addresses).unwrap().device, "eth0");
    }

    #[test]
    fn the_named_interface_is_chosen_even_without_the_subnet() {
        let (links, addresses) = machine();
        assert_eq!(choose(&spec("10.1.0.88/24%bond0"), &links, &addresses).unwrap().device, "bond0");
    }

    #[test]
    fn an_interface_that_is_up_wins_over_one_that_is_down() {
        let (mut links, mut addresses) = machine();
        addresses.push(on(4, "10.1.0.86/24"));
        links[2].carrier = false;
        assert_eq!(choose(&spec("10.1.0.88/24"), &links, &addresses).unwrap().device, "bond0");
    }

    #[test]
    fn no_interface_names_what_there_is() {
        let (links, addresses) = machine();
        let error = choose(&spec("10.9.0.88/24"), &links, &addresses).unwrap_err();
        assert_eq!(error.code(), "TSK-1401");
        let text = error.to_string();
        assert!(text.contains("192.168.0.1/24 on eth0, 10.1.0.85/24 on eth1"), "{text}");
        assert!(!text.contains("127.0.0.1") && !text.contains("fd00"), "{text}");
    }

    #[test]
    fn the_servers_own_address_is_never_taken_over() {
        let (links, addresses) = machine();
        for own in ["10.1.0.85/24", "10.1.0.85/32", "10.1.0.85/24%bond0", "fd00::85/64"] {
            let error = choose(&spec(own), &links, &addresses).unwrap_err();
            assert_eq!(error.code(), "TSK-1402", "{own}");
        }
    }

    #[test]
    fn an_unusable_interface_is_refused_with_its_state() {
        let (mut links, addresses) = machine();
        let state = |links: &[Link], text: &str| match choose(&spec(text), links, &addresses).unwrap_err() {
            AddressError::DeviceUnusable { state, .. } => state,
            other => panic!("{other}"),
        };
        assert_eq!(state(&links, "10.1.0.88/24%eth9"), DeviceState::Missing);
        links[2].carrier = false;
        assert_eq!(state(&links, "10.1.0.88/24"), DeviceState::NoCarrier);
        links[2].up = false;
        assert_eq!(state(&links, "10.1.0.88/24"), DeviceState::Down);
    }

    #[test]
    fn loopback_addresses_need_nothing() {
        for text in ["127.0.0.1/8", "127.88.0.1/32", "::1/128"] {
            let held = choose(&spec(text), &[], &[]).unwrap();
            assert!(held.loopback && held.device == "lo");
        }
    }
}
