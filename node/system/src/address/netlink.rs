//! The four netlink requests that addresses need, blocking, without a task or a thread behind them:
//! the guard removes addresses when nothing else of Tasuki works any more.
//!
//! Only the fields that are used are read; what a newer kernel adds is skipped, never an error.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use nix::{
    libc,
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, connect, recv,
            send, setsockopt, socket, sockopt,
        },
        time::TimeVal,
    },
};

use super::{error::AddressError, frame::Mac, subnet};

const HEADER: usize = 16;
const FAMILY_HEADER: usize = 8; // of ifaddrmsg
const LINK_HEADER: usize = 16; // of ifinfomsg
const DUMP_INTERRUPTED: u16 = 0x10;

// Attributes (linux/if_link.h, linux/if_addr.h).
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_F_SECONDARY: u32 = 0x01;
const IFA_F_NODAD: u32 = 0x02;
const ARPHRD_ETHER: u16 = 1;

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) up: bool,
    pub(super) carrier: bool,
    pub(super) loopback: bool,
    /// Set when neighbours on this link are found by ARP or neighbour discovery.
    pub(super) mac: Option<Mac>,
}

/// One address on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Configured {
    pub(super) index: u32,
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
    /// IPv4: another address of the same subnet came first, and takes this one with it when it
    /// goes.
    pub(super) secondary: bool,
}

/// A netlink socket for requests.
pub(super) struct Netlink {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    pub(super) fn open() -> Result<Self, AddressError> {
        let open = || -> nix::Result<OwnedFd> {
            let fd = route_socket(SockFlag::SOCK_CLOEXEC)?;
            connect(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
            // The kernel answers within the request; this only bounds the unexpected.
            setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(2, 0))?;
            Ok(fd)
        };
        let fd = open().map_err(|errno| AddressError::kernel("open a netlink socket", errno.into()))?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; 1 << 16] })
    }

    /// All interfaces.
    pub(super) fn links(&mut self) -> Result<Vec<Link>, AddressError> {
        let messages = self.dump(libc::RTM_GETLINK, "list network interfaces")?;
        let links = messages.iter().filter(|(kind, _)| *kind == libc::RTM_NEWLINK);
        Ok(links.filter_map(|(_, body)| read_link(body)).collect())
    }

    /// All addresses of all interfaces.
    pub(super) fn addresses(&mut self) -> Result<Vec<Configured>, AddressError> {
        let messages = self.dump(libc::RTM_GETADDR, "list addresses")?;
        let addresses = messages.iter().filter(|(kind, _)| *kind == libc::RTM_NEWADDR);
        Ok(addresses.filter_map(|(_, body)| read_address(body)).collect())
    }

    /// Adds an address; fails with [`io::ErrorKind::AlreadyExists`] when it is there.
    pub(super) fn add(&mut self, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        let mut body = address_body(index, address, prefix);
        match address {
            IpAddr::V4(v4) => {
                if let Some(broadcast) = subnet::broadcast(v4, prefix) {
                    put_attribute(&mut body, IFA_BROADCAST, &broadcast.octets());
                }
            }
            IpAddr::V6(_) => {
                // The duplicate check has been made already: the kernel's own would cost a second
                // or more, during which the address cannot be used.
                put_attribute(&mut body, IFA_FLAGS, &IFA_F_NODAD.to_ne_bytes());
                // Preferred for zero seconds, valid for ever: the server's own connections must not
                // choose as their source an address that is going to leave.
                let mut lifetime = [0; 16];
                lifetime[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
                put_attribute(&mut body, IFA_CACHEINFO, &lifetime);
            }
        }
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        self.request(libc::RTM_NEWADDR, flags, &body).map(|_| ())
    }

    /// Removes an address; fails with [`io::ErrorKind::AddrNotAvailable`] when it is not there.
    pub(super) fn delete(&mut self, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
        let body = address_body(index, address, prefix);
        self.request(libc::RTM_DELADDR, libc::NLM_F_ACK, &body).map(|_| ())
    }

    /// A dump that was not torn by a change in its middle.
    fn dump(&mut self, kind: u16, what: &'static str) -> Result<Vec<Kinded>, AddressError> {
        let body = [0; LINK_HEADER]; // also long enough for addresses: family "any"
        for _ in 0..16 {
            let answer = self
                .request(kind, libc::NLM_F_DUMP, &body)
                .map_err(|error| AddressError::kernel(what, error))?;
            if !answer.torn {
                return Ok(answer.messages);
            }
        }
        Err(AddressError::kernel(what, io::Error::other("the list kept changing while it was read")))
    }

    /// Sends one request and reads its whole answer.
    fn request(&mut self, kind: u16, flags: i32, body: &[u8]) -> io::Result<Answer> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend_from_slice(&((HEADER + body.len()) as u32).to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&((libc::NLM_F_REQUEST | flags) as u16).to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(body);
        send(self.fd.as_raw_fd(), &message, MsgFlags::empty())?;

        let mut answer = Answer { messages: Vec::new(), torn: false };
        loop {
            let length = loop {
                match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                    Err(nix::errno::Errno::EINTR) => {}
                    other => break other?,
                }
            };
            for message in split_messages(&self.buffer[..length]) {
                if message.sequence != self.sequence {
                    continue;
                }
                answer.torn |= message.flags & DUMP_INTERRUPTED != 0;
                match i32::from(message.kind) {
                    libc::NLMSG_DONE => return Ok(answer),
                    libc::NLMSG_ERROR => {
                        let code = bytes_at(message.body, 0).map_or(-libc::EBADMSG, i32::from_ne_bytes);
                        return if code == 0 { Ok(answer) } else { Err(io::Error::from_raw_os_error(-code)) };
                    }
                    _ => answer.messages.push((message.kind, message.body.to_vec())),
                }
            }
        }
    }
}

/// A message's type and its body.
type Kinded = (u16, Vec<u8>);

struct Answer {
    messages: Vec<Kinded>,
    /// Something changed in the middle of the list.
    torn: bool,
}

/// A netlink socket that becomes readable when an interface or an address changes.
pub(super) struct Changes {
    fd: OwnedFd,
}

impl Changes {
    pub(super) fn open() -> Result<Self, AddressError> {
        let open = || -> nix::Result<OwnedFd> {
            let fd = route_socket(SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)?;
            let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
            bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups as u32))?;
            Ok(fd)
        };
        let fd = open().map_err(|errno| AddressError::kernel("open a netlink socket", errno.into()))?;
        Ok(Self { fd })
    }

    /// Reads all that is waiting. True when something happened to interface `index`, or when
    /// messages were lost: the caller looks for itself, a message is only a hint.
    pub(super) fn drain(&self, index: u32) -> io::Result<bool> {
        let mut concerned = false;
        let mut buffer = vec![0; 1 << 14];
        loop {
            match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                // Both kinds of message have the interface's index at the same place.
                Ok(length) => {
                    concerned |= split_messages(&buffer[..length])
                        .any(|message| bytes_at(message.body, 4).map(u32::from_ne_bytes) == Some(index));
                }
                Err(nix::errno::Errno::EAGAIN) => return Ok(concerned),
                Err(nix::errno::Errno::ENOBUFS) => concerned = true,
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn route_socket(flags: SockFlag) -> nix::Result<OwnedFd> {
    socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

fn split_messages(mut buffer: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(bytes_at(buffer, 0)?) as usize;
        let body = buffer.get(HEADER..length)?;
        let message = Message {
            kind: u16::from_ne_bytes(bytes_at(buffer, 4)?),
            flags: u16::from_ne_bytes(bytes_at(buffer, 6)?),
            sequence: u32::from_ne_bytes(bytes_at(buffer, 8)?),
            body,
        };
        buffer = buffer.get(aligned(length)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes (kind, value) after a message's own header.
fn split_attributes(mut buffer: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const KIND: u16 = 0x3fff; // the two upper bits are flags
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes_at(buffer, 0)?));
        let kind = u16::from_ne_bytes(bytes_at(buffer, 2)?) & KIND;
        let value = buffer.get(4..length)?;
        buffer = buffer.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn put_attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    body.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(aligned(body.len()), 0);
}

fn address_body(index: u32, address: IpAddr, prefix: u8) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(v4) => (libc::AF_INET as u8, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6 as u8, v6.octets().to_vec()),
    };
    let mut body = vec![family, prefix, 0, libc::RT_SCOPE_UNIVERSE];
    body.extend_from_slice(&index.to_ne_bytes());
    put_attribute(&mut body, IFA_LOCAL, &octets);
    put_attribute(&mut body, IFA_ADDRESS, &octets);
    body
}

fn read_link(body: &[u8]) -> Option<Link> {
    let hardware = u16::from_ne_bytes(bytes_at(body, 2)?);
    let index = u32::from_ne_bytes(bytes_at(body, 4)?);
    let flags = i32::from_ne_bytes(bytes_at(body, 8)?);
    let (mut name, mut mac) = (None, None);
    for (kind, value) in split_attributes(body.get(LINK_HEADER..)?) {
        match kind {
            IFLA_IFNAME => {
                let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
                name = Some(String::from_utf8_lossy(text).into_owned());
            }
            IFLA_ADDRESS => mac = value.try_into().ok().map(Mac),
            _ => {}
        }
    }
    let is = |flag: i32| flags & flag != 0;
    Some(Link {
        index,
        name: name?,
        up: is(libc::IFF_UP),
        carrier: is(libc::IFF_LOWER_UP),
        loopback: is(libc::IFF_LOOPBACK),
        mac: mac.filter(|_| hardware == ARPHRD_ETHER && !is(libc::IFF_NOARP)),
    })
}

fn read_address(body: &[u8]) -> Option<Configured> {
    let [family, prefix, flags, _] = bytes_at(body, 0)?;
    let index = u32::from_ne_bytes(bytes_at(body, 4)?);
    let (mut local, mut peer, mut flags) = (None, None, u32::from(flags));
    for (kind, value) in split_attributes(body.get(FAMILY_HEADER..)?) {
        match kind {
            // On point-to-point links ADDRESS is the other end's.
            IFA_LOCAL => local = read_ip(family, value),
            IFA_ADDRESS => peer = read_ip(family, value),
            IFA_FLAGS => flags = bytes_at(value, 0).map_or(flags, u32::from_ne_bytes),
            _ => {}
        }
    }
    let secondary = family == libc::AF_INET as u8 && flags & IFA_F_SECONDARY != 0;
    Some(Configured { index, address: local.or(peer)?, prefix, secondary })
}

fn read_ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => bytes_at::<4>(value, 0).map(|octets| Ipv4Addr::from(octets).into()),
        libc::AF_INET6 => bytes_at::<16>(value, 0).map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn this_machine_has_a_loopback_with_its_address() {
        let mut netlink = Netlink::open().unwrap();
        let links = netlink.links().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").unwrap();
        assert!(lo.loopback && lo.mac.is_none());
        if lo.up {
            let addresses = netlink.addresses().unwrap();
            let own = addresses.iter().find(|one| one.address == IpAddr::from([127, 0, 0, 1])).unwrap();
            assert_eq!((own.index, own.prefix), (lo.index, 8));
        }
    }

    #[test]
    fn malformed_messages_end_the_reading() {
        assert_eq!(split_messages(&[0; 15]).count(), 0);
        assert_eq!(split_messages(&[0; 64]).count(), 0, "length 0 would never end");
        let mut long = vec![0; 32];
        long[..4].copy_from_slice(&99_u32.to_ne_bytes());
        assert_eq!(split_messages(&long).count(), 0);
        assert_eq!(split_attributes(&[0; 8]).count(), 0);
        assert_eq!(read_link(&[0; 12]), None);
        assert_eq!(read_address(&[libc::AF_INET as u8, 24, 0, 0, 1, 0, 0, 0]), None);
    }

    #[test]
    fn attributes_are_padded_and_found_again() {
        let mut body = Vec::new();
        put_attribute(&mut body, 3, b"eth0\0");
        put_attribute(&mut body, 1, &[1, 2, 3, 4, 5, 6]);
        let read: Vec<_> = split_attributes(&body).collect();
        assert_eq!(read, [(3, &b"eth0\0"[..]), (1, &[1, 2, 3, 4, 5, 6][..])]);
    }
}
