//! The kernel's NBD client on a connection of its own to our export.
//!
//! The device waits for a new connection when our process dies, and the next process gives it one: what
//! was under way is asked again (R34). It carries our name in its `backend` attribute; by that it is
//! found.

mod netlink;

use std::{
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::net::UnixStream as StdStream},
    path::{Path, PathBuf},
};

use bytes::BytesMut;
use tokio::{
    net::UnixStream,
    sync::watch,
    task::{JoinHandle, spawn_blocking},
};

use self::netlink::{Command, Netlink, Word};
use super::{apart::apart, flusher, loop_device::name_of};
use crate::{
    block::Door,
    export::{transmit::transmit, wire::transmission},
};

/// How long requests wait for the next process of ours, in seconds. Not longer than it takes to start
/// again: at stand-down, who waits here cannot be killed before this is over.
const WAIT_FOR_NEXT: u64 = 30;

/// What was sent to a process that died is asked again after so many milliseconds (by itself, the kernel
/// takes 30 s). Who only takes longer to answer is waited for: the kernel writes that into its log.
const ASK_AGAIN: &str = "5000";

/// A device of the kernel's NBD client.
#[derive(Debug)]
pub(super) struct NbdDevice {
    index: u32,
    node: PathBuf,
    server: JoinHandle<()>,
    ended: watch::Receiver<bool>,
}

impl NbdDevice {
    /// Connects a device, or gives the one that an earlier process has left its new connection.
    pub(super) async fn attach(
        door: Door,
        name: &str,
        record: impl Fn(&Path) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        // Until the kernel has said which one it is, it is known by its name.
        record(Path::new(""))?;
        let (ours, kernels) = StdStream::pair()?;
        ours.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        let (size, block) = (door.size, u64::from(door.block.clamp(512, 4096).next_power_of_two()));
        let (told, ended) = watch::channel(false);
        let server = tokio::spawn(serve(ours, door, told));
        let name = name_of(name);
        let made = spawn_blocking(move || {
            let index = connect(&name, &kernels, size, block)?;
            let node = PathBuf::from(format!("/dev/nbd{index}"));
            record(&node)?;
            if let Err(error) = fs::write(format!("/sys/block/nbd{index}/queue/io_timeout"), ASK_AGAIN) {
                tracing::debug!(%error, "what a killed process had under way will wait for longer");
            }
            Ok::<_, io::Error>((index, node))
        });
        match made.await.map_err(io::Error::other).and_then(|made| made) {
            Ok((index, node)) => Ok(Self { index, node, server, ended }),
            Err(error) => {
                server.abort();
                Err(error)
            }
        }
    }

    pub(super) fn node(&self) -> &Path {
        &self.node
    }

    /// Why it is not there any more; waits for that.
    pub(super) async fn gone(&self) -> String {
        let mut ended = self.ended.clone();
        // A sender that is gone has ended too.
        let _ended = ended.wait_for(|ended| *ended).await;
        format!("{} was disconnected by somebody else", self.node.display())
    }

    pub(super) async fn resize(&self, size: u64) -> io::Result<()> {
        let index = self.index;
        let words = move || {
            Netlink::open()?.command(Command::Reconfigure, &[Word::Index(index), Word::Size(size)]).map(drop)
        };
        spawn_blocking(words).await.map_err(io::Error::other)?
    }

    /// Writes out what the kernel keeps, and disconnects.
    pub(super) async fn detach(&mut self) -> io::Result<bool> {
        let (index, node) = (self.index, self.node.clone());
        let done = spawn_blocking(move || {
            let device = node.clone();
            let written = apart(&[], move || File::open(device).and_then(|device| device.sync_all()));
            if let Err(error) = written.and_then(|written| written) {
                tracing::warn!(device = %node.display(), %error, "what was cached of the device is lost");
            }
            disconnect(index)
        });
        done.await.map_err(io::Error::other)??;
        Ok(true)
    }

    /// Ends the connection first: whatever waits for it fails.
    pub(super) async fn cut(&mut self) -> io::Result<()> {
        self.server.abort();
        let index = self.index;
        spawn_blocking(move || disconnect(index)).await.map_err(io::Error::other)?
    }
}

impl Drop for NbdDevice {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(ours: UnixStream, door: Door, told: watch::Sender<bool>) {
    flusher::this_thread_writes_back();
    let (_never, closing) = watch::channel(false);
    if let Err(error) = transmit(ours, BytesMut::new(), door, false, closing).await {
        tracing::debug!(%error, "the kernel's NBD client was cut off");
    }
    told.send_replace(true);
}

fn connect(name: &str, socket: &StdStream, size: u64, block: u64) -> io::Result<u32> {
    let netlink = Netlink::open()?;
    let socket = Word::Socket(socket.as_fd());
    if let Some(index) = find(name) {
        match netlink.command(Command::Reconfigure, &[Word::Index(index), Word::Identifier(name), socket]) {
            Ok(_) => return Ok(index),
            Err(error) => {
                tracing::warn!(index, %error, "an NBD device that was left takes no connection; a new one is made");
                disconnect(index)?;
            }
        }
    }
    let words = [
        Word::Size(size),
        Word::Block(block),
        Word::ServerFlags(u64::from(transmission::OURS)),
        Word::WaitForConnection(WAIT_FOR_NEXT),
        Word::Identifier(name),
        socket,
    ];
    netlink.command(Command::Connect, &words)?.ok_or_else(|| io::Error::other("the kernel named no device"))
}

fn disconnect(index: u32) -> io::Result<()> {
    match Netlink::open()?.command(Command::Disconnect, &[Word::Index(index)]) {
        // It is not connected any more.
        Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => Ok(()),
        done => done.map(drop),
    }
}

/// The device that carries this name.
fn find(name: &str) -> Option<u32> {
    fs::read_dir("/sys/block").into_iter().flatten().flatten().find_map(|device| {
        let index = device.file_name().to_str()?.strip_prefix("nbd")?.parse().ok()?;
        let backend = fs::read_to_string(device.path().join("backend")).ok()?;
        (backend.trim_end() == name).then_some(index)
    })
}

/// Disconnects the device that an earlier process has left. Whether there was one.
pub(super) fn disconnect_left(volume: &str) -> io::Result<bool> {
    match find(&name_of(volume)) {
        Some(index) => disconnect(index).map(|()| true),
        None => Ok(false),
    }
}
