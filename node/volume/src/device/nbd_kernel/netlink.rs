//! The kernel's NBD client over generic netlink: connect, give a new connection, disconnect.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const MESSAGE_ERROR: u16 = 2;
const REQUEST_AND_ACKNOWLEDGE: u16 = 1 | 4;
const NESTED: u16 = 0x8000;

/// Commands of the NBD family.
#[derive(Clone, Copy)]
pub(super) enum Command {
    Connect = 1,
    Disconnect = 2,
    Reconfigure = 3,
}

/// What a command says.
#[derive(Clone, Copy)]
pub(super) enum Word<'a> {
    /// Which device.
    Index(u32),
    /// Its size in bytes.
    Size(u64),
    /// Its logical block in bytes.
    Block(u64),
    /// What the server can do.
    ServerFlags(u64),
    /// A connection.
    Socket(BorrowedFd<'a>),
    /// Without a connection, requests wait for one for so many seconds, and then fail.
    WaitForConnection(u64),
    /// The name by which a device is known again.
    Identifier(&'a str),
}

/// A netlink socket, and the number that the kernel has given to the NBD family.
pub(super) struct Netlink {
    socket: OwnedFd,
    family: u16,
}

impl Netlink {
    /// # Errors
    /// Not found, when the driver is not there.
    pub(super) fn open() -> io::Result<Self> {
        let protocol = SockProtocol::NetlinkGeneric;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        let mut netlink = Self { socket, family: CONTROL };
        let mut body = vec![GET_FAMILY, 1, 0, 0];
        attribute(&mut body, FAMILY_NAME, b"nbd\0");
        let answer = netlink.ask(CONTROL, &body)?;
        let number = find(&answer, FAMILY_ID).and_then(|value| value.try_into().ok());
        netlink.family =
            u16::from_ne_bytes(number.ok_or_else(|| io::Error::other("the NBD driver has no number"))?);
        Ok(netlink)
    }

    /// Sends a command; the index of the device, where the kernel tells it.
    pub(super) fn command(&self, command: Command, words: &[Word<'_>]) -> io::Result<Option<u32>> {
        let mut body = vec![command as u8, 1, 0, 0];
        for word in words {
            match *word {
                Word::Index(index) => attribute(&mut body, 1, &index.to_ne_bytes()),
                Word::Size(size) => attribute(&mut body, 2, &size.to_ne_bytes()),
                Word::Block(block) => attribute(&mut body, 3, &block.to_ne_bytes()),
                Word::ServerFlags(flags) => attribute(&mut body, 5, &flags.to_ne_bytes()),
                Word::WaitForConnection(seconds) => attribute(&mut body, 8, &seconds.to_ne_bytes()),
                Word::Identifier(name) => attribute(&mut body, 10, &[name.as_bytes(), b"\0"].concat()),
                Word::Socket(socket) => {
                    let (mut item, mut list) = (Vec::new(), Vec::new());
                    attribute(&mut item, 1, &(socket.as_raw_fd() as u32).to_ne_bytes());
                    attribute(&mut list, 1 | NESTED, &item);
                    attribute(&mut body, 7 | NESTED, &list);
                }
            }
        }
        let answer = self.ask(self.family, &body)?;
        Ok(find(&answer, 1).and_then(|value| value.try_into().ok()).map(u32::from_ne_bytes))
    }

    /// Sends a message and waits for its acknowledgement; what was answered before that, without its
    /// heads.
    fn ask(&self, kind: u16, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut message = Vec::with_capacity(16 + body.len());
        message.extend_from_slice(&(16 + body.len() as u32).to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&REQUEST_AND_ACKNOWLEDGE.to_ne_bytes());
        message.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
        message.extend_from_slice(body);
        sendto(self.socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut answer = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let got = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            for (kind, body) in messages(&buffer[..got]) {
                if kind == MESSAGE_ERROR {
                    let number =
                        body.get(..4).and_then(|number| number.try_into().ok()).map(i32::from_ne_bytes);
                    return match number {
                        Some(0) => Ok(answer),
                        Some(number) => Err(io::Error::from_raw_os_error(-number)),
                        None => Err(io::ErrorKind::UnexpectedEof.into()),
                    };
                }
                answer = body.get(4..).unwrap_or_default().to_vec();
            }
        }
    }
}

/// Kinds and bodies of the messages in a datagram; ends at the first that is shorter than it says.
fn messages(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut all = Vec::new();
    while bytes.len() >= 16 {
        let length = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        let Some(body) = bytes.get(16..length) else { break };
        all.push((u16::from_ne_bytes([bytes[4], bytes[5]]), body));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    to.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
    to.extend_from_slice(&kind.to_ne_bytes());
    to.extend_from_slice(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// An attribute's value.
fn find(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    while bytes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let value = bytes.get(4..length)?;
        if u16::from_ne_bytes([bytes[2], bytes[3]]) & !NESTED == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_behind_others_of_odd_length() {
        let mut body = Vec::new();
        attribute(&mut body, 10, b"abc");
        attribute(&mut body, 7 | NESTED, b"12345");
        attribute(&mut body, 1, &9_u32.to_ne_bytes());
        assert_eq!(find(&body, 10), Some(&b"abc"[..]));
        assert_eq!(find(&body, 7), Some(&b"12345"[..]));
        assert_eq!(find(&body, 1), Some(&9_u32.to_ne_bytes()[..]));
        assert_eq!(find(&body, 2), None);
        assert_eq!(find(&body[..body.len() - 1], 1), None, "cut off");
    }

    #[test]
    fn messages_are_taken_apart_as_far_as_they_are_whole() {
        let mut bytes = Vec::new();
        for kind in [5_u16, 6] {
            bytes.extend_from_slice(&18_u32.to_ne_bytes());
            bytes.extend_from_slice(&kind.to_ne_bytes());
            bytes.resize(bytes.len() + 10, 0);
            bytes.extend_from_slice(&[1, 2, 0, 0]);
        }
        let found: Vec<u16> = messages(&bytes).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(found, [5, 6]);
        assert_eq!(messages(&bytes[..30]).len(), 1);
    }
}
