//! The frames with which machines of one link say who has an address: ARP (RFC 826, RFC 5227) and
//! IPv6 neighbour discovery (RFC 4861). Bytes in, bytes out; nothing is sent here.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

/// An Ethernet hardware address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

const EVERYONE: Mac = Mac([0xff; 6]);
const NOBODY: Mac = Mac([0; 6]);

pub(super) const ETHERTYPE_ARP: u16 = 0x0806;
pub(super) const ETHERTYPE_IPV6: u16 = 0x86dd;
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
pub(super) const ICMPV6: u8 = 58;
pub(super) const NEIGHBOUR_SOLICITATION: u8 = 135;
pub(super) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const OPTION_SOURCE: u8 = 1;
const OPTION_TARGET: u8 = 2;

const ETHERNET: usize = 14;
const IPV6: usize = 40;
const ND_BODY: usize = ETHERNET + IPV6;
const ND_OPTIONS: usize = ND_BODY + 24;

/// The question "does anybody have this address?", asked without claiming it.
pub(super) fn probe(mac: Mac, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(ARP_REQUEST, mac, Ipv4Addr::UNSPECIFIED, NOBODY, address),
        IpAddr::V6(address) => solicitation(mac, address),
    }
}

/// The statement "I have this address", in every form that makes some neighbour believe it: some
/// update their cache on ARP requests only, others on replies only.
pub(super) fn announcements(mac: Mac, address: IpAddr) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(address) => vec![
            arp(ARP_REQUEST, mac, address, NOBODY, address),
            arp(ARP_REPLY, mac, address, EVERYONE, address),
        ],
        IpAddr::V6(address) => vec![advertisement(mac, address)],
    }
}

fn arp(operation: u16, sender: Mac, sender_ip: Ipv4Addr, target: Mac, target_ip: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(EVERYONE, sender, ETHERTYPE_ARP);
    frame.extend_from_slice(&[0, 1, 0x08, 0x00, 6, 4]); // Ethernet, IPv4, lengths of their addresses
    frame.extend_from_slice(&operation.to_be_bytes());
    frame.extend_from_slice(&sender.0);
    frame.extend_from_slice(&sender_ip.octets());
    frame.extend_from_slice(&target.0);
    frame.extend_from_slice(&target_ip.octets());
    frame
}

fn solicitation(mac: Mac, target: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let mut body = vec![NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    body.extend_from_slice(&target.octets());
    ipv6(mac, Mac([0x33, 0x33, 0xff, a, b, c]), Ipv6Addr::UNSPECIFIED, group, body)
}

fn advertisement(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    const OVERRIDE: u8 = 0x20;
    let mut body = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
    body.extend_from_slice(&address.octets());
    body.extend_from_slice(&[OPTION_TARGET, 1]);
    body.extend_from_slice(&mac.0);
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    ipv6(mac, Mac([0x33, 0x33, 0, 0, 0, 1]), address, all_nodes, body)
}

fn ethernet(to: Mac, from: Mac, ethertype: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(96);
    frame.extend_from_slice(&to.0);
    frame.extend_from_slice(&from.0);
    frame.extend_from_slice(&ethertype.to_be_bytes());
    frame
}

fn ipv6(mac: Mac, to_mac: Mac, from: Ipv6Addr, to: Ipv6Addr, mut body: Vec<u8>) -> Vec<u8> {
    let sum = checksum(from, to, &body).to_be_bytes();
    body[2..4].copy_from_slice(&sum);
    let mut frame = ethernet(to_mac, mac, ETHERTYPE_IPV6);
    frame.extend_from_slice(&[0x60, 0, 0, 0]);
    frame.extend_from_slice(&(body.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[ICMPV6, 255]); // neighbours discard any other hop limit
    frame.extend_from_slice(&from.octets());
    frame.extend_from_slice(&to.octets());
    frame.extend_from_slice(&body);
    frame
}

/// ICMPv6 checksum over pseudo-header and body (RFC 4443, 2.3).
fn checksum(from: Ipv6Addr, to: Ipv6Addr, body: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u32 {
        bytes
            .chunks(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
            .sum()
    };
    let mut sum =
        words(&from.octets()) + words(&to.octets()) + body.len() as u32 + u32::from(ICMPV6) + words(body);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

/// What a frame says about one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sighting {
    /// This machine has the address, or behaves as if.
    Claimed(Mac),
    /// This machine is about to take the address and asks whether it may.
    Probed(Mac),
}

/// Reads what `frame` says about `address`; `None` when nothing, or when it is malformed.
pub(super) fn sighting(frame: &[u8], address: IpAddr) -> Option<Sighting> {
    let seen = match address {
        IpAddr::V4(address) => sighting_arp(frame, address),
        IpAddr::V6(address) => sighting_nd(frame, address),
    }?;
    let (Sighting::Claimed(mac) | Sighting::Probed(mac)) = seen;
    let is_one_machine = mac != NOBODY && mac.0[0] & 1 == 0;
    is_one_machine.then_some(seen)
}

fn sighting_arp(frame: &[u8], address: Ipv4Addr) -> Option<Sighting> {
    if u16_at(frame, 12)? != ETHERTYPE_ARP || frame.get(14..20)? != [0, 1, 0x08, 0x00, 6, 4] {
        return None;
    }
    let mac = mac_at(frame, 22)?;
    let sender: [u8; 4] = array_at(frame, 28)?;
    let target: [u8; 4] = array_at(frame, 38)?;
    if Ipv4Addr::from(sender) == address {
        Some(Sighting::Claimed(mac))
    } else if sender == [0; 4] && Ipv4Addr::from(target) == address && u16_at(frame, 20)? == ARP_REQUEST {
        Some(Sighting::Probed(mac))
    } else {
        None
    }
}

fn sighting_nd(frame: &[u8], address: Ipv6Addr) -> Option<Sighting> {
    let [next_header, hops] = array_at(frame, 20)?;
    if u16_at(frame, 12)? != ETHERTYPE_IPV6 || next_header != ICMPV6 || hops != 255 {
        return None;
    }
    let source = Ipv6Addr::from(array_at::<16>(frame, 22)?);
    let target = Ipv6Addr::from(array_at::<16>(frame, ND_BODY + 8)?);
    let sender = mac_at(frame, 6)?;
    let [kind] = array_at(frame, ND_BODY)?;
    match kind {
        NEIGHBOUR_ADVERTISEMENT if target == address => {
            Some(Sighting::Claimed(nd_option(frame, OPTION_TARGET).unwrap_or(sender)))
        }
        NEIGHBOUR_SOLICITATION if source == address => {
            Some(Sighting::Claimed(nd_option(frame, OPTION_SOURCE).unwrap_or(sender)))
        }
        NEIGHBOUR_SOLICITATION if source.is_unspecified() && target == address => {
            Some(Sighting::Probed(sender))
        }
        _ => None,
    }
}

/// The hardware address in a neighbour discovery option.
fn nd_option(frame: &[u8], wanted: u8) -> Option<Mac> {
    let mut at = ND_OPTIONS;
    loop {
        let [kind, eights] = array_at(frame, at)?;
        if eights == 0 {
            return None;
        }
        if kind == wanted {
            return mac_at(frame, at + 2);
        }
        at += usize::from(eights) * 8;
    }
}

fn array_at<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..at + N)?.try_into().ok()
}

fn u16_at(frame: &[u8], at: usize) -> Option<u16> {
    array_at(frame, at).map(u16::from_be_bytes)
}

fn mac_at(frame: &[u8], at: usize) -> Option<Mac> {
    array_at(frame, at).map(Mac)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ME: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn announcements_claim_and_probes_do_not() {
        for address in [ip("10.1.0.88"), ip("fd00::1:58")] {
            for frame in announcements(ME, address) {
                assert_eq!(sighting(&frame, address), Some(Sighting::Claimed(ME)));
            }
            assert_eq!(sighting(&probe(ME, address), address), Some(Sighting::Probed(ME)));
        }
    }

    #[test]
    fn frames_about_other_addresses_say_nothing() {
        for (one, other) in [(ip("10.1.0.88"), ip("10.1.0.89")), (ip("fd00::1"), ip("fd00::2"))] {
            for frame in announcements(ME, one) {
                assert_eq!(sighting(&frame, other), None);
            }
            assert_eq!(sighting(&probe(ME, one), other), None);
        }
    }

    #[test]
    fn truncated_frames_say_nothing() {
        for address in [ip("10.1.0.88"), ip("fd00::1")] {
            let frame = announcements(ME, address).remove(0);
            let needed = if address.is_ipv4() { frame.len() } else { ND_OPTIONS };
            for length in 0..needed {
                assert_eq!(sighting(&frame[..length], address), None, "{length} bytes");
            }
        }
    }

    #[test]
    fn an_option_of_length_zero_ends_the_search() {
        let address = ip("fd00::1");
        let mut frame = announcements(ME, address).remove(0);
        frame[ND_OPTIONS] = 14;
        frame[ND_OPTIONS + 1] = 0;
        assert_eq!(sighting(&frame, address), Some(Sighting::Claimed(ME)));
    }

    #[test]
    fn multicast_senders_are_nobody() {
        let address = ip("10.1.0.88");
        let frame = announcements(Mac([0x33, 0x33, 0, 0, 0, 1]), address).remove(0);
        assert_eq!(sighting(&frame, address), None);
    }

    #[test]
    fn checksum_verifies_to_zero() {
        let IpAddr::V6(address) = ip("fd00::1:58") else { unreachable!() };
        let frame = advertisement(ME, address);
        let to = Ipv6Addr::from(array_at::<16>(&frame, 38).unwrap());
        assert_eq!(checksum(address, to, &frame[ND_BODY..]), 0);
    }

    #[test]
    fn solicitations_go_to_the_solicited_node_group() {
        let frame = probe(ME, ip("fd00::12:3456"));
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(
            Ipv6Addr::from(array_at::<16>(&frame, 38).unwrap()),
            "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap()
        );
    }
}
