//! Commands of one connection, and their answers in whatever order they come.
//!
//! One loop reads commands; each becomes a task that waits for the door; one task writes answers, many
//! in one call where many are there. What a connection may have under way is bounded in bytes: a client
//! that sends and does not read is not read from any more.

use std::{
    io::{self, IoSlice},
    sync::Arc,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
};

use super::{
    ask::{Ask, ask},
    negotiate::{broken, fill},
    wire::{self, Header, REQUEST_BYTES, chunk, command, error},
};
use crate::block::Door;

/// What is counted as under way, in units of 4 KiB: 64 MiB. A command without data counts as one unit.
const UNITS: usize = 16 * 1024;
/// Bytes of a unit.
const UNIT: usize = 4096;
/// How much is read in one call, at most, where no data are waited for.
const READ_AHEAD: usize = 64 * 1024;
/// How many answers go out in one call.
const TOGETHER: usize = 64;

/// An answer on its way out.
struct Reply {
    /// Its fixed part.
    head: [u8; 28],
    /// How much of that.
    used: usize,
    /// Its data.
    data: Bytes,
    /// Given back when it is written: memory is bounded also when the client does not read.
    _units: Option<OwnedSemaphorePermit>,
}

/// Answers commands until the client ends, the stream breaks, or `closing` becomes true; then what is
/// under way is answered first. `buffer` is what was read already.
///
/// # Errors
/// When the stream breaks or is out of step.
pub async fn transmit<S>(
    stream: S,
    buffer: BytesMut,
    door: Door,
    structured: bool,
    closing: watch::Receiver<bool>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (read, write) = tokio::io::split(stream);
    let (replies, outgoing) = mpsc::unbounded_channel();
    // Dropping the set ends the tasks: nothing of a connection outlives it.
    let mut tasks = JoinSet::new();
    tasks.spawn(write_replies(write, outgoing));
    let gone = replies.clone();
    tokio::select! {
        ended = read_commands(read, buffer, &door, structured, closing, replies, &mut tasks) => ended,
        // Who cannot write to the client need not read from it.
        () = gone.closed() => Ok(()),
    }?;
    drop(gone);
    // The tasks hold the senders of answers: when the last is done, the writer ends.
    while let Some(done) = tasks.join_next().await {
        if done.is_ok_and(|stays| !stays) {
            break;
        }
    }
    Ok(())
}

/// Returns when the export closes, or is gone.
pub(super) async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error says that the export is gone, which closes it too.
    let _gone = closing.wait_for(|closing| *closing).await;
}

/// Reads commands and begins them. Returns when no more will come.
async fn read_commands<R: AsyncRead + Unpin>(
    mut stream: R,
    mut buffer: BytesMut,
    door: &Door,
    structured: bool,
    mut closing: watch::Receiver<bool>,
    replies: mpsc::UnboundedSender<Reply>,
    tasks: &mut JoinSet<bool>,
) -> io::Result<()> {
    let units = Arc::new(Semaphore::new(UNITS));
    loop {
        while tasks.try_join_next().is_some() {}
        // Data of writes are cut out of this: a new one only when it is used up, so that a short write
        // does not keep a long buffer of its own.
        if buffer.capacity() - buffer.len() < UNIT {
            buffer.reserve(READ_AHEAD);
        }
        let header = tokio::select! {
            biased;
            read = header(&mut stream, &mut buffer) => match read? {
                Some(header) => header,
                None => return Ok(()),
            },
            () = closed(&mut closing) => return Ok(()),
        };
        if header.command == command::DISCONNECT {
            return Ok(());
        }
        let has_data = header.command == command::WRITE;
        if has_data && header.length > wire::LONGEST {
            // Its data would have to be read to find the next command.
            return Err(broken("a write longer than what is allowed"));
        }
        let counted =
            if has_data || header.command == command::READ { header.length.min(wire::LONGEST) } else { 0 };
        let wanted = (counted as usize / UNIT + 1).min(UNITS) as u32;
        let Ok(permit) = units.clone().acquire_many_owned(wanted).await else { return Ok(()) };
        let data = if has_data {
            data(&mut stream, &mut buffer, header.length as usize).await?
        } else {
            Bytes::new()
        };
        match translate(&header, data, door.size, structured) {
            Ok(what) => {
                let (door, replies) = (door.clone(), replies.clone());
                tasks.spawn(async move {
                    let answer = ask(&door, what).await.map_err(wire::error_number);
                    replies.send(reply(&header, structured, answer, permit)).is_ok()
                });
            }
            Err(number) => {
                let answer = if number == 0 { Ok(Bytes::new()) } else { Err(number) };
                if replies.send(reply(&header, structured, answer, permit)).is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// The next command; `None` when the client has gone between two.
async fn header<R: AsyncRead + Unpin>(stream: &mut R, buffer: &mut BytesMut) -> io::Result<Option<Header>> {
    while buffer.len() < REQUEST_BYTES {
        if stream.read_buf(buffer).await? == 0 {
            return if buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
    let mut bytes = [0; REQUEST_BYTES];
    buffer.copy_to_slice(&mut bytes);
    Header::read(&bytes).map(Some).ok_or_else(|| broken("what came is no command"))
}

/// The data of a write. Short ones come out of what was read ahead; of long ones only the beginning is
/// copied, the rest is read into its place.
async fn data<R: AsyncRead + Unpin>(
    stream: &mut R,
    buffer: &mut BytesMut,
    length: usize,
) -> io::Result<Bytes> {
    if length <= READ_AHEAD / 2 {
        fill(stream, buffer, length).await?;
        return Ok(buffer.split_to(length).freeze());
    }
    let mut data = BytesMut::with_capacity(length);
    let there = buffer.len().min(length);
    data.put(buffer.split_to(there));
    while data.len() < length {
        let missing = length - data.len();
        if stream.read_buf(&mut (&mut data).limit(missing)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(data.freeze())
}

/// What a command asks of the volume; else the error to answer, with 0 for what is done already.
fn translate(header: &Header, data: Bytes, size: u64, structured: bool) -> Result<Ask, u32> {
    let Header { flags, offset, length, .. } = *header;
    let durable = flags & command::FLAG_FUA != 0;
    let inside = offset.checked_add(u64::from(length)).is_some_and(|end| end <= size);
    let only = |known: u16| flags & !known == 0;
    match header.command {
        command::READ => {
            let known = command::FLAG_FUA | if structured { command::FLAG_DONT_FRAGMENT } else { 0 };
            if only(known) && inside && (1..=wire::LONGEST).contains(&length) {
                Ok(Ask::Read { offset, length })
            } else {
                Err(error::INVALID)
            }
        }
        command::WRITE if only(command::FLAG_FUA) => match (inside, length) {
            (false, _) => Err(error::NO_SPACE),
            (true, 0) => Err(0),
            (true, _) => Ok(Ask::Write { offset, data, durable }),
        },
        command::FLUSH if only(command::FLAG_FUA) && offset == 0 && length == 0 => Ok(Ask::Flush),
        command::TRIM if only(command::FLAG_FUA) && inside => match length {
            0 => Err(0),
            _ => Ok(Ask::Trim { offset, length: u64::from(length), durable }),
        },
        command::WRITE_ZEROES if only(command::FLAG_FUA | command::FLAG_NO_HOLE) => match (inside, length) {
            (false, _) => Err(error::NO_SPACE),
            (true, 0) => Err(0),
            (true, _) => {
                let may_trim = flags & command::FLAG_NO_HOLE == 0;
                Ok(Ask::Zero { offset, length: u64::from(length), may_trim, durable })
            }
        },
        _ => Err(error::INVALID),
    }
}

/// The answer as it goes out: in chunks only for reads, where the client has asked for that.
fn reply(
    header: &Header,
    structured: bool,
    answer: Result<Bytes, u32>,
    units: OwnedSemaphorePermit,
) -> Reply {
    let mut head = [0; 28];
    let mut put = &mut head[..];
    let data = if structured && header.command == command::READ {
        put.put_u32(wire::CHUNK_MAGIC);
        put.put_u16(chunk::DONE);
        match answer {
            Ok(data) => {
                put.put_u16(chunk::OFFSET_DATA);
                put.put_u64(header.cookie);
                put.put_u32(data.len() as u32 + 8);
                put.put_u64(header.offset);
                data
            }
            Err(number) => {
                put.put_u16(chunk::ERROR);
                put.put_u64(header.cookie);
                put.put_u32(6);
                put.put_u32(number);
                put.put_u16(0);
                Bytes::new()
            }
        }
    } else {
        put.put_u32(wire::SIMPLE_MAGIC);
        put.put_u32(answer.as_ref().err().copied().unwrap_or(0));
        put.put_u64(header.cookie);
        answer.unwrap_or_default()
    };
    let used = 28 - put.len();
    Reply { head, used, data, _units: Some(units) }
}

/// Writes answers until nobody can send any more. `false`: the client is gone.
async fn write_replies<W: AsyncWrite + Unpin>(
    mut stream: W,
    mut outgoing: mpsc::UnboundedReceiver<Reply>,
) -> bool {
    let mut replies = Vec::with_capacity(TOGETHER);
    loop {
        replies.clear();
        if outgoing.recv_many(&mut replies, TOGETHER).await == 0 {
            return stream.shutdown().await.is_ok();
        }
        let mut slices: Vec<IoSlice<'_>> = replies
            .iter()
            .flat_map(|reply| [IoSlice::new(&reply.head[..reply.used]), IoSlice::new(&reply.data)])
            .filter(|slice| !slice.is_empty())
            .collect();
        let mut slices = &mut slices[..];
        while !slices.is_empty() {
            match stream.write_vectored(slices).await {
                Ok(0) | Err(_) => return false,
                Ok(written) => IoSlice::advance_slices(&mut slices, written),
            }
        }
        if stream.flush().await.is_err() {
            return false;
        }
    }
}
