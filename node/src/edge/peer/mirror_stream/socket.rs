//! The TCP connection below TLS.
//!
//! TLS asks for 4 KiB at a time, and gives away each HTTP/2 frame by itself: without buffers below it, a
//! write of 1 MiB was read with more than 256 calls to the kernel, and small writes that belong together
//! went out one by one.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, BufStream, ReadBuf},
    net::TcpStream,
};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// What is read from the kernel at a time, in bytes.
const READ: usize = 128 << 10;
/// What waits for a flush at most, in bytes.
const WRITE: usize = 64 << 10;

/// A connection that asks the kernel seldom. What is written goes out with the next flush.
pub struct Socket(BufStream<TcpStream>);

impl Socket {
    /// Calls this place.
    ///
    /// # Errors
    /// When nobody answers there.
    pub async fn connect(at: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect(at).await?)
    }

    /// Over this connection.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self(BufStream::with_capacity(READ, WRITE, stream)))
    }
}

impl Connected for Socket {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.0.get_ref().connect_info()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
