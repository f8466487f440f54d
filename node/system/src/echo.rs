//! Whether an address answers an ICMP echo.
//!
//! A datagram ICMP socket needs no privilege where `net.ipv4.ping_group_range` permits it; anywhere
//! else a raw socket is taken, which needs CAP_NET_RAW. Both give the same answer.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, connect, ipproto, recv, send,
        socket_with,
    },
};
use tokio::{
    io::unix::AsyncFd,
    time::{Instant, timeout_at},
};

use crate::{clock, readable::readable};

/// So many requests are spread over the time-out: one lost packet is no finding.
const REQUESTS: u16 = 3;
/// Type, code, checksum, identifier, sequence.
const HEADER: usize = 8;
/// What an answer must bring back: nothing else that asks or answers on this server is mistaken
/// for it.
const MARK: usize = 20;

/// Why an address counts as not answering.
#[derive(Debug, thiserror::Error)]
pub enum EchoError {
    /// Nothing came back in time.
    #[error("{address} does not answer an echo within {limit:?}")]
    NoAnswer {
        /// Who was asked.
        address: IpAddr,
        /// How long an answer was waited for.
        limit: Duration,
    },
    /// The kernel says that there is no way there.
    #[error("{address} cannot be reached: {source}")]
    Unreachable {
        /// Who was asked.
        address: IpAddr,
        /// As the kernel says.
        source: io::Error,
    },
    /// No socket could be had: this says nothing about the address.
    #[error(
        "TSK-1420: no ICMP socket could be opened ({source}); run Tasuki with CAP_NET_RAW, or permit its \
         group in net.ipv4.ping_group_range"
    )]
    NotPermitted {
        /// As the kernel says.
        source: io::Error,
    },
}

/// Asks `address` for an echo and waits for the answer, at most `limit`; how long it took. Within a
/// tokio runtime.
///
/// # Errors
/// When it does not answer, cannot be reached, or cannot be asked.
pub async fn echo(address: IpAddr, limit: Duration) -> Result<Duration, EchoError> {
    let began = Instant::now();
    let socket = open(address).map_err(|source| EchoError::NotPermitted { source })?;
    let unreachable = |source| EchoError::Unreachable { address, source };
    connect(&socket, &SocketAddr::new(address, 0)).map_err(|error| unreachable(error.into()))?;
    let socket = readable(socket).map_err(|source| EchoError::NotPermitted { source })?;
    let mark = mark();
    for request in 1..=REQUESTS {
        match send(socket.as_fd(), &message(address, request, &mark), SendFlags::NOSIGNAL) {
            // A full queue loses one of several requests: as on the wire.
            Ok(_) | Err(Errno::NOBUFS | Errno::AGAIN) => {}
            Err(error) => return Err(unreachable(error.into())),
        }
        let until = began + limit * u32::from(request) / u32::from(REQUESTS);
        if let Ok(heard) = timeout_at(until, answer(&socket, address, &mark)).await {
            return heard.map(|()| began.elapsed()).map_err(unreachable);
        }
    }
    Err(EchoError::NoAnswer { address, limit })
}

fn open(address: IpAddr) -> io::Result<OwnedFd> {
    let (family, protocol) = match address {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let open = |kind, protocol: Protocol| {
        socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(protocol))
    };
    match open(SocketType::DGRAM, protocol) {
        Ok(socket) => Ok(socket),
        Err(_) => Ok(open(SocketType::RAW, protocol)?),
    }
}

/// Waits for the answer with this mark.
async fn answer(socket: &AsyncFd<OwnedFd>, address: IpAddr, mark: &[u8; MARK]) -> io::Result<()> {
    let mut buffer = [0; 256];
    loop {
        let mut ready = socket.readable().await?;
        let heard = ready.try_io(|fd| Ok(recv(fd.as_fd(), &mut buffer[..], RecvFlags::DONTWAIT)?.0));
        if let Ok(length) = heard
            && answers(&buffer[..length?], address, mark)
        {
            return Ok(());
        }
    }
}

/// An echo request. The kernel fills the identifier in for a datagram socket, and both checksums
/// except that of a raw IPv4 socket.
fn message(address: IpAddr, sequence: u16, mark: &[u8; MARK]) -> [u8; HEADER + MARK] {
    let mut bytes = [0; HEADER + MARK];
    bytes[0] = if address.is_ipv4() { 8 } else { 128 };
    bytes[4..6].copy_from_slice(&mark[2..4]);
    bytes[6..HEADER].copy_from_slice(&sequence.to_be_bytes());
    bytes[HEADER..].copy_from_slice(mark);
    if address.is_ipv4() {
        let sum = checksum(&bytes);
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}

/// Whether a packet is the answer to the request with this mark. A raw IPv4 socket hears the IP
/// header too, and every raw socket the ICMP messages of others.
fn answers(packet: &[u8], address: IpAddr, mark: &[u8; MARK]) -> bool {
    let reply = if address.is_ipv4() { 0 } else { 129 };
    let is = |message: &[u8]| {
        message.first() == Some(&reply) && message.get(HEADER..HEADER + MARK) == Some(mark.as_slice())
    };
    let header = match packet.first() {
        Some(first) if address.is_ipv4() && first >> 4 == 4 => usize::from(first & 0x0f) * 4,
        _ => 0,
    };
    packet.get(header..).is_some_and(is)
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Different for every request of every process on this server.
fn mark() -> [u8; MARK] {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    let mut mark = [0; MARK];
    mark[..4].copy_from_slice(&std::process::id().to_be_bytes());
    mark[4..12].copy_from_slice(&ASKED.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    mark[12..].copy_from_slice(&clock::now().0.to_be_bytes());
    mark
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0x220d);
        let message = message(V4, 1, &[7; MARK]);
        assert_eq!(checksum(&message), 0, "a message with its checksum adds up to nothing");
    }

    #[test]
    fn only_the_answer_with_the_mark_counts() {
        let mark = [7; MARK];
        let asked = message(V4, 1, &mark);
        assert!(!answers(&asked, V4, &mark), "the request itself, heard on loopback");
        let mut answer = asked;
        answer[0] = 0;
        assert!(answers(&answer, V4, &mark));
        assert!(!answers(&answer, V4, &[8; MARK]), "somebody else's");
        let mut whole = vec![0x45; 20];
        whole.extend(answer);
        assert!(answers(&whole, V4, &mark), "with the IP header before it");
        assert!(!answers(&whole[..30], V4, &mark), "cut off");
        assert!(!answers(&[], V4, &mark));
        let mut answer = message(V6, 1, &mark);
        answer[0] = 129;
        assert!(answers(&answer, V6, &mark));
    }
}
