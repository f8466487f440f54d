//! A socket on one interface that sends and receives whole frames about one address, and no
//! others: a filter in the kernel keeps the rest away from this process.

use std::{
    io::{self, Read, Write},
    net::IpAddr,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use nix::{
    libc,
    sys::socket::{LinkAddr, SockaddrLike, bind},
};
use socket2::{Domain, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::readable::readable;

use super::{
    error::AddressError,
    frame::{self, Mac, Sighting},
    netlink::Link,
};

/// See the module.
pub(super) struct PacketSocket {
    socket: Socket,
    address: IpAddr,
    mac: Mac,
}

impl PacketSocket {
    /// Opens it on `link`; `None` when the link has no neighbours that could be asked or told.
    pub(super) fn open(link: &Link, address: IpAddr) -> Result<Option<Self>, AddressError> {
        let Some(mac) = link.mac else { return Ok(None) };
        let open = || -> io::Result<Socket> {
            // Protocol 0 receives nothing until the filter is in place and the socket is bound.
            let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
            socket.set_nonblocking(true)?;
            socket.attach_filter(&filter(address))?;
            bind(socket.as_raw_fd(), &link_address(link.index, address)?)?;
            Ok(socket)
        };
        let socket = open().map_err(|error| AddressError::kernel("open a packet socket", error))?;
        Ok(Some(Self { socket, address, mac }))
    }

    /// Asks whether anybody has the address.
    pub(super) fn probe(&self) -> io::Result<()> {
        self.send(&frame::probe(self.mac, self.address))
    }

    /// Says that this machine has the address.
    pub(super) fn announce(&self) -> io::Result<()> {
        frame::announcements(self.mac, self.address).iter().try_for_each(|frame| self.send(frame))
    }

    /// The next thing heard about the address, own frames included; `WouldBlock` when there is
    /// none.
    pub(super) fn hear(&self) -> io::Result<Sighting> {
        let mut buffer = [0; 256];
        loop {
            let length = (&self.socket).read(&mut buffer)?;
            if let Some(seen) = frame::sighting(&buffer[..length], self.address) {
                return Ok(seen);
            }
        }
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        match (&self.socket).write(frame) {
            Ok(_) => Ok(()),
            // A full queue loses one of several frames: as on the wire.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A packet socket that can be waited on.
pub(super) struct Listener {
    pub(super) socket: PacketSocket,
    ready: AsyncFd<OwnedFd>,
}

impl Listener {
    /// Needs a tokio runtime.
    pub(super) fn new(socket: PacketSocket) -> Result<Self, AddressError> {
        let ready = socket
            .socket
            .as_fd()
            .try_clone_to_owned()
            .and_then(readable)
            .map_err(|error| AddressError::kernel("listen on a packet socket", error))?;
        Ok(Self { socket, ready })
    }

    /// Waits for the next thing heard about the address, own frames included.
    pub(super) async fn hear(&self) -> io::Result<Sighting> {
        loop {
            let mut ready = self.ready.readable().await?;
            if let Ok(heard) = ready.try_io(|_| self.socket.hear()) {
                return heard;
            }
        }
    }
}

/// Drops a packet socket on another thread: the kernel makes whoever closes one wait for several
/// milliseconds, which would be time without service.
pub(super) fn close_elsewhere<T: Send + 'static>(socket: T) {
    // Where no thread can be had, it is dropped here.
    let _ = std::thread::Builder::new().name("close".to_owned()).spawn(move || drop(socket));
}

/// Keeps frames that can say something about `address` (offsets: see `frame`).
fn filter(address: IpAddr) -> Vec<SockFilter> {
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = SockFilter::new;
    match address {
        // The ARP sender's or the target's address is it.
        IpAddr::V4(v4) => vec![
            step(LOAD_WORD, 0, 0, 28),
            step(EQUAL, 2, 0, u32::from(v4)),
            step(LOAD_WORD, 0, 0, 38),
            step(EQUAL, 0, 1, u32::from(v4)),
            step(RETURN, 0, 0, u32::MAX),
            step(RETURN, 0, 0, 0),
        ],
        // Neighbour solicitations and advertisements.
        IpAddr::V6(_) => vec![
            step(LOAD_BYTE, 0, 0, 20),
            step(EQUAL, 0, 4, u32::from(frame::ICMPV6)),
            step(LOAD_BYTE, 0, 0, 54),
            step(EQUAL, 1, 0, u32::from(frame::NEIGHBOUR_SOLICITATION)),
            step(EQUAL, 0, 1, u32::from(frame::NEIGHBOUR_ADVERTISEMENT)),
            step(RETURN, 0, 0, u32::MAX),
            step(RETURN, 0, 0, 0),
        ],
    }
}

/// The address of an interface for one protocol.
#[allow(unsafe_code)] // no safe constructor exists for this kind of socket address
fn link_address(index: u32, address: IpAddr) -> io::Result<LinkAddr> {
    let protocol = if address.is_ipv4() { frame::ETHERTYPE_ARP } else { frame::ETHERTYPE_IPV6 };
    let raw = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: i32::try_from(index).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: `raw` is a whole, initialised sockaddr_ll that outlives the call, and `length` is its size;
    // the call copies it.
    let address = unsafe { LinkAddr::from_raw((&raw const raw).cast(), Some(length)) };
    address.ok_or_else(|| io::Error::other("the packet address was not accepted"))
}
