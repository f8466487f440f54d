//! A stream between two servers, as the data path sees it: packets both ways, in order, none twice.
//! What carries them is given from outside; in memory and over plain TCP they are carried here, for
//! tests and measurements.

use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tasuki_core::ids::{ServerName, VolumeName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp},
    sync::mpsc,
};

use super::frame::FRAME_LIMIT;

/// A frame, written down: see [`super::frame::encode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What it says, with its checksum.
    pub header: Bytes,
    /// The data that belongs to it, at most [`FRAME_LIMIT`].
    pub data: Bytes,
}

/// The stream has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StreamEnded(pub String);

/// One end's way out.
#[async_trait]
pub trait PacketSink: Send {
    /// Sends these in order; returns when more may be given, not when they arrived. `packets` is empty
    /// afterwards.
    async fn send(&mut self, packets: &mut Vec<Packet>) -> Result<(), StreamEnded>;
}

/// One end's way in.
#[async_trait]
pub trait PacketSource: Send {
    /// The next packet. May be dropped while it waits without losing anything.
    async fn next(&mut self) -> Result<Packet, StreamEnded>;
}

/// Both ways.
pub struct Duplex {
    /// Out.
    pub sink: Box<dyn PacketSink>,
    /// In.
    pub source: Box<dyn PacketSource>,
}

/// Opens streams to other servers.
#[async_trait]
pub trait Dialer: Send + Sync + 'static {
    /// A stream to the mirror port of a peer, at the first of these addresses that answers. Returns or
    /// fails within seconds. Dropping the stream ends it.
    async fn dial(
        &self,
        volume: &VolumeName,
        peer: &ServerName,
        at: &[SocketAddr],
    ) -> Result<Duplex, StreamEnded>;
}

/// Two ends of a stream in memory, with room for so many packets each way.
#[must_use]
pub fn memory(room: usize) -> (Duplex, Duplex) {
    let (one_out, other_in) = mpsc::channel(room);
    let (other_out, one_in) = mpsc::channel(room);
    let end =
        |out, incoming| Duplex { sink: Box::new(MemorySink(out)), source: Box::new(MemorySource(incoming)) };
    (end(one_out, one_in), end(other_out, other_in))
}

struct MemorySink(mpsc::Sender<Packet>);
struct MemorySource(mpsc::Receiver<Packet>);

#[async_trait]
impl PacketSink for MemorySink {
    async fn send(&mut self, packets: &mut Vec<Packet>) -> Result<(), StreamEnded> {
        for packet in packets.drain(..) {
            self.0.send(packet).await.map_err(|_| StreamEnded("the other end is gone".to_owned()))?;
        }
        Ok(())
    }
}

#[async_trait]
impl PacketSource for MemorySource {
    async fn next(&mut self) -> Result<Packet, StreamEnded> {
        self.0.recv().await.ok_or_else(|| StreamEnded("the other end is gone".to_owned()))
    }
}

/// A stream over a TCP connection.
///
/// # Errors
/// The connection is gone already.
pub fn tcp(stream: TcpStream) -> std::io::Result<Duplex> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let source = TcpSource { read, buffer: BytesMut::with_capacity(READ) };
    Ok(Duplex { sink: Box::new(TcpSink { write, sizes: Vec::new() }), source: Box::new(source) })
}

/// Opens TCP connections.
pub struct TcpDialer;

#[async_trait]
impl Dialer for TcpDialer {
    async fn dial(&self, _: &VolumeName, _: &ServerName, at: &[SocketAddr]) -> Result<Duplex, StreamEnded> {
        let ended = |why: std::io::Error| StreamEnded(why.to_string());
        let stream = TcpStream::connect(at).await.map_err(ended)?;
        tcp(stream).map_err(ended)
    }
}

const READ: usize = 256 * 1024;
const HEADER_LIMIT: usize = 256 * 1024;

struct TcpSink {
    write: tcp::OwnedWriteHalf,
    sizes: Vec<Bytes>,
}

struct TcpSource {
    read: tcp::OwnedReadHalf,
    buffer: BytesMut,
}

#[async_trait]
impl PacketSink for TcpSink {
    async fn send(&mut self, packets: &mut Vec<Packet>) -> Result<(), StreamEnded> {
        self.sizes.clear();
        for packet in packets.drain(..) {
            let mut sizes = BytesMut::with_capacity(8 + packet.header.len());
            sizes.put_u32_le(u32::try_from(packet.header.len()).unwrap_or(u32::MAX));
            sizes.put_u32_le(u32::try_from(packet.data.len()).unwrap_or(u32::MAX));
            sizes.put_slice(&packet.header);
            self.sizes.push(sizes.freeze());
            if !packet.data.is_empty() {
                self.sizes.push(packet.data);
            }
        }
        let mut left = &mut self.sizes[..];
        while !left.is_empty() {
            let slices: Vec<std::io::IoSlice<'_>> =
                left.iter().take(64).map(|bytes| std::io::IoSlice::new(bytes)).collect();
            let mut sent =
                self.write.write_vectored(&slices).await.map_err(|why| StreamEnded(why.to_string()))?;
            if sent == 0 {
                return Err(StreamEnded("nothing can be written".to_owned()));
            }
            while let Some(first) = left.first_mut() {
                let part = sent.min(first.len());
                first.advance(part);
                sent -= part;
                if !first.is_empty() {
                    break;
                }
                left = &mut left[1..];
            }
        }
        self.sizes.clear();
        Ok(())
    }
}

impl TcpSource {
    fn parse(&mut self) -> Result<Option<Packet>, StreamEnded> {
        let Some((sizes, _)) = self.buffer.split_first_chunk::<8>() else { return Ok(None) };
        let size =
            |at: usize| u32::from_le_bytes([sizes[at], sizes[at + 1], sizes[at + 2], sizes[at + 3]]) as usize;
        let (header, data) = (size(0), size(4));
        if header > HEADER_LIMIT || data > FRAME_LIMIT {
            return Err(StreamEnded(format!("a packet of {header} and {data} bytes")));
        }
        let whole = 8 + header + data;
        if self.buffer.len() < whole {
            self.buffer.reserve(whole - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(8);
        let header = self.buffer.split_to(header).freeze();
        Ok(Some(Packet { header, data: self.buffer.split_to(data).freeze() }))
    }
}

#[async_trait]
impl PacketSource for TcpSource {
    async fn next(&mut self) -> Result<Packet, StreamEnded> {
        loop {
            if let Some(packet) = self.parse()? {
                return Ok(packet);
            }
            if self.buffer.capacity() - self.buffer.len() < 4096 {
                self.buffer.reserve(READ);
            }
            match self.read.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(StreamEnded("the other end closed it".to_owned())),
                Ok(_) => {}
                Err(why) => return Err(StreamEnded(why.to_string())),
            }
        }
    }
}

/// A dialer can be shared.
#[async_trait]
impl<D: Dialer + ?Sized> Dialer for Arc<D> {
    async fn dial(
        &self,
        volume: &VolumeName,
        peer: &ServerName,
        at: &[SocketAddr],
    ) -> Result<Duplex, StreamEnded> {
        (**self).dial(volume, peer, at).await
    }
}
