//! The options before the first command: which export, structured replies, TLS (fixed newstyle).

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::wire::{self, info, option, reply, transmission};

/// TLS on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// There is none (a unix socket).
    Absent,
    /// Nothing is told before it stands.
    Demanded,
    /// It stands.
    Stands,
}

/// What is exported, as the options tell it.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its name; the empty name means it too.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// What clients should align to, in bytes.
    pub block: u32,
}

/// How negotiating ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Commands follow.
    Transmit {
        /// Reads are answered in chunks.
        structured: bool,
    },
    /// TLS follows, and then more options.
    StartTls,
    /// The client has ended it.
    Ended,
}

/// The server's first words, and the client's flags: whether it wants no zeroes.
///
/// # Errors
/// When the connection breaks, or the client does not speak this handshake.
pub async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
) -> io::Result<bool> {
    let mut hello = BytesMut::with_capacity(18);
    hello.put_u64(wire::MAGIC);
    hello.put_u64(wire::OPTION_MAGIC);
    hello.put_u16(wire::FIXED_NEWSTYLE | wire::NO_ZEROES);
    stream.write_all(&hello).await?;
    stream.flush().await?;
    fill(stream, buffer, 4).await?;
    let flags = buffer.get_u32();
    let known = u32::from(wire::FIXED_NEWSTYLE | wire::NO_ZEROES);
    if flags & !known != 0 || flags & u32::from(wire::FIXED_NEWSTYLE) == 0 {
        return Err(broken("a client with unknown flags"));
    }
    Ok(flags & u32::from(wire::NO_ZEROES) != 0)
}

/// Answers options until commands follow, or TLS, or nothing. What was read beyond is left in `buffer`.
///
/// # Errors
/// When the connection breaks, or what came cannot be an option.
pub async fn negotiate<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
    told: &Told,
    tls: Tls,
    no_zeroes: bool,
) -> io::Result<Outcome> {
    let mut structured = false;
    loop {
        fill(stream, buffer, 16).await?;
        let magic = buffer.get_u64();
        let which = buffer.get_u32();
        let length = buffer.get_u32();
        if magic != wire::OPTION_MAGIC || length > wire::LONGEST_OPTION {
            return Err(broken("what came is no option"));
        }
        fill(stream, buffer, length as usize).await?;
        let body = buffer.split_to(length as usize).freeze();
        let mut out = BytesMut::new();
        let outcome = answer(which, body, told, tls, no_zeroes, &mut structured, &mut out);
        stream.write_all(&out).await?;
        stream.flush().await?;
        match outcome {
            None => {}
            Some(Outcome::StartTls) if !buffer.is_empty() => {
                // What was sent in the clear must not count as said under TLS.
                return Err(broken("more came in the clear after TLS was asked for"));
            }
            Some(outcome) => return Ok(outcome),
        }
    }
}

/// The answer to one option; the outcome where it ends the options.
pub fn answer(
    which: u32,
    body: Bytes,
    told: &Told,
    tls: Tls,
    no_zeroes: bool,
    structured: &mut bool,
    out: &mut BytesMut,
) -> Option<Outcome> {
    if tls == Tls::Demanded && !matches!(which, option::START_TLS | option::ABORT) {
        // The old way of choosing an export has no answer for errors.
        if which == option::EXPORT_NAME {
            return Some(Outcome::Ended);
        }
        say(out, which, reply::TLS_REQUIRED, b"this export is for TLS only");
        return None;
    }
    match which {
        option::EXPORT_NAME => {
            if !means(told, &body) {
                return Some(Outcome::Ended);
            }
            out.put_u64(told.size);
            out.put_u16(flags(*structured));
            if !no_zeroes {
                out.put_bytes(0, 124);
            }
            return Some(Outcome::Transmit { structured: *structured });
        }
        option::ABORT => {
            say(out, which, reply::ACK, b"");
            return Some(Outcome::Ended);
        }
        option::START_TLS => match tls {
            _ if !body.is_empty() => say(out, which, reply::INVALID, b"TLS is asked for without a body"),
            Tls::Absent => say(out, which, reply::POLICY, b"there is no TLS here"),
            Tls::Stands => say(out, which, reply::INVALID, b"TLS stands already"),
            Tls::Demanded => {
                say(out, which, reply::ACK, b"");
                return Some(Outcome::StartTls);
            }
        },
        option::LIST if body.is_empty() => {
            let mut name = BytesMut::new();
            name.put_u32(told.name.len() as u32);
            name.put_slice(told.name.as_bytes());
            say(out, which, reply::SERVER, &name);
            say(out, which, reply::ACK, b"");
        }
        option::STRUCTURED_REPLY if body.is_empty() => {
            *structured = true;
            say(out, which, reply::ACK, b"");
        }
        option::LIST | option::STRUCTURED_REPLY => {
            say(out, which, reply::INVALID, b"a body was not expected")
        }
        option::INFO | option::GO => return inform(which, body, told, *structured, out),
        _ => say(out, which, reply::UNSUPPORTED, b"this option is not known"),
    }
    None
}

/// `INFO` and `GO`: name, and a list of what is wanted. Size and blocks are always told.
fn inform(which: u32, mut body: Bytes, told: &Told, structured: bool, out: &mut BytesMut) -> Option<Outcome> {
    let name =
        body.try_get_u32().ok().map(|length| length as usize).filter(|length| *length <= body.remaining());
    let Some(name) = name.map(|length| body.split_to(length)) else {
        say(out, which, reply::INVALID, b"the name is longer than the option");
        return None;
    };
    let wanted = body.try_get_u16().map(usize::from);
    if wanted.map(|wanted| wanted * 2) != Ok(body.remaining()) {
        say(out, which, reply::INVALID, b"the list of what is wanted has another length");
        return None;
    }
    if !means(told, &name) {
        say(out, which, reply::UNKNOWN, b"there is no such export");
        return None;
    }
    let mut export = BytesMut::new();
    export.put_u16(info::EXPORT);
    export.put_u64(told.size);
    export.put_u16(flags(structured));
    say(out, which, reply::INFO, &export);
    let mut blocks = BytesMut::new();
    blocks.put_u16(info::BLOCK_SIZE);
    blocks.put_u32(1);
    blocks.put_u32(told.block.max(4096));
    blocks.put_u32(wire::LONGEST);
    say(out, which, reply::INFO, &blocks);
    while body.has_remaining() {
        if body.get_u16() == info::NAME {
            let mut name = BytesMut::new();
            name.put_u16(info::NAME);
            name.put_slice(told.name.as_bytes());
            say(out, which, reply::INFO, &name);
        }
    }
    say(out, which, reply::ACK, b"");
    (which == option::GO).then_some(Outcome::Transmit { structured })
}

fn means(told: &Told, name: &[u8]) -> bool {
    name.is_empty() || name == told.name.as_bytes()
}

fn flags(structured: bool) -> u16 {
    if structured { transmission::OURS | transmission::DONT_FRAGMENT } else { transmission::OURS }
}

fn say(out: &mut BytesMut, which: u32, what: u32, body: &[u8]) {
    out.put_u64(wire::OPTION_REPLY_MAGIC);
    out.put_u32(which);
    out.put_u32(what);
    out.put_u32(body.len() as u32);
    out.put_slice(body);
}

/// Reads until the buffer has so many bytes.
pub(super) async fn fill<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut BytesMut,
    wanted: usize,
) -> io::Result<()> {
    buffer.reserve(wanted.saturating_sub(buffer.len()));
    while buffer.len() < wanted {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

pub(super) fn broken(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
