//! The kernel's user-space block driver (Linux 6.5 and later).
//!
//! The device waits for another server when our process dies, and asks the next one again what was under
//! way (R34). It carries a mark of its volume; by that it is known again.

mod queue;
mod ring;
mod words;

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Handle, RuntimeFlavor},
    sync::watch,
    task::{JoinHandle, spawn_blocking},
};

use self::words::{Control, INFO, Info, control, parameters};
use super::apart::apart;
use crate::block::Door;

/// How long the kernel may take to notice that a server is gone, and to show or hide a node.
const NOTICING: Duration = Duration::from_secs(15);
/// How often that is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A ublk device.
#[derive(Debug)]
pub(super) struct UblkDevice {
    number: u32,
    node: PathBuf,
    server: JoinHandle<()>,
    ended: watch::Receiver<Option<String>>,
}

impl UblkDevice {
    /// Makes a device, or takes over `left`, the node that an earlier process has recorded.
    pub(super) async fn attach(
        door: Door,
        name: &str,
        left: Option<PathBuf>,
        record: impl Fn(&Path) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let mark = mark_of(name);
        let (size, block) = (door.size, door.block.clamp(512, 4096).next_power_of_two());
        let prepared = spawn_blocking(move || prepare(mark, left.as_deref(), size, block, record));
        let Prepared { number, recovers, node, device } = prepared.await.map_err(io::Error::other)??;
        let (told_ready, mut ready) = watch::channel(false);
        let (told_ended, ended) = watch::channel(None);
        let server = start(queue::serve(Arc::new(device), door, told_ready, told_ended));
        let mut device = Self { number, node, server, ended };
        if ready.wait_for(|ready| *ready).await.is_err() {
            let why = device.gone().await;
            return Err(io::Error::other(why));
        }
        // Reads the device's first blocks, so it must not run on the thread that answers.
        let begun = spawn_blocking(move || {
            let command = if recovers { control::END_RECOVERY } else { control::START_DEVICE };
            order_apart(command, Control { data: u64::from(std::process::id()), ..Control::of(number) })
        });
        match begun.await.map_err(io::Error::other).and_then(|begun| begun) {
            Ok(()) => Ok(device),
            Err(error) => {
                device.cut().await?;
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
        match ended.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(why)) => why.clone(),
            _ => "its server was ended".to_owned(),
        }
    }

    /// Another size: drivers since Linux 6.16 know how.
    pub(super) async fn resize(&self, size: u64) -> io::Result<()> {
        let words = Control { data: size >> 9, ..Control::of(self.number) };
        let done = spawn_blocking(move || order(control::UPDATE_SIZE, words, &mut []));
        done.await.map_err(io::Error::other)?
    }

    /// Writes out what the kernel keeps, and stops it.
    pub(super) async fn detach(&mut self) -> io::Result<bool> {
        let number = self.number;
        spawn_blocking(move || stop(number)).await.map_err(io::Error::other)??;
        self.delete().await?;
        Ok(true)
    }

    /// Ends the server first: then what waits fails when the device is stopped.
    pub(super) async fn cut(&mut self) -> io::Result<()> {
        self.server.abort();
        let number = self.number;
        spawn_blocking(move || stop(number)).await.map_err(io::Error::other)??;
        self.delete().await
    }

    /// When the server has ended too.
    async fn delete(&mut self) -> io::Result<()> {
        self.gone().await;
        let number = self.number;
        spawn_blocking(move || delete(number)).await.map_err(io::Error::other)?
    }
}

impl Drop for UblkDevice {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// On this thread, if the runtime has no other; else on one of its own: a queue may not move.
fn start(server: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return tokio::spawn(server);
    }
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    thread::spawn(move || match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(async {
            tokio::select! {
                () = server => {}
                // The task below was ended.
                _ = ended => {}
            }
        }),
        Err(error) => tracing::error!(%error, "a device has no thread"),
    });
    tokio::spawn(async move {
        let mut end = end;
        end.closed().await;
    })
}

struct Prepared {
    number: u32,
    recovers: bool,
    node: PathBuf,
    device: File,
}

/// A device that waits for its server: the one that was left, or a new one.
fn prepare(
    mark: u64,
    left: Option<&Path>,
    size: u64,
    block: u32,
    record: impl Fn(&Path) -> io::Result<()>,
) -> io::Result<Prepared> {
    let left = left.and_then(number_of);
    let recovers = left.is_some_and(|number| match recover(number, mark) {
        Ok(recovers) => recovers,
        Err(error) => {
            tracing::warn!(number, %error, "a ublk device that was left cannot be taken over; a new one is made");
            false
        }
    });
    let number = match left.filter(|_| recovers) {
        Some(number) => number,
        None => {
            if let Some(number) = left {
                remove_left(number, mark)?;
            }
            let mut info = Info::wished(mark);
            order(control::ADD_DEVICE, Control::of(u32::MAX), &mut info)?;
            let Info { device, able, .. } = Info::read(&info);
            if !able {
                delete(device)?;
                return Err(io::Error::new(io::ErrorKind::Unsupported, "this kernel's driver is too old"));
            }
            device
        }
    };
    let node = PathBuf::from(format!("/dev/ublkb{number}"));
    let prepared = (|| {
        record(&node)?;
        if !recovers {
            order(control::SET_PARAMETERS, Control::of(number), &mut parameters(size, block))?;
        }
        // The node of a new device comes a moment later, and the old server's end takes one too.
        patiently(|| OpenOptions::new().read(true).write(true).open(format!("/dev/ublkc{number}")))
    })();
    match prepared {
        Ok(device) => Ok(Prepared { number, recovers, node, device }),
        Err(error) => {
            if let Err(error) = delete(number) {
                tracing::warn!(number, %error, "a ublk device stays");
            }
            Err(error)
        }
    }
}

/// Whether the device is ours and waits for a server from now on.
fn recover(number: u32, mark: u64) -> io::Result<bool> {
    if info(number)?.is_none_or(|info| info.mark != mark) {
        return Ok(false);
    }
    patiently(|| order(control::START_RECOVERY, Control::of(number), &mut [])).map(|()| true)
}

fn info(number: u32) -> io::Result<Option<Info>> {
    let mut bytes = [0; INFO];
    match order(control::GET_DEVICE_INFO, Control::of(number), &mut bytes) {
        Ok(()) => Ok(Some(Info::read(&bytes))),
        Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes a stopped device; where a file system on it is still mounted, when that is gone. Does not wait
/// for it.
fn delete(number: u32) -> io::Result<()> {
    match order(control::DELETE_DEVICE_LATER, Control::of(number), &mut []) {
        // Drivers before Linux 6.9 can only wait: nobody waits with them.
        Err(error) if matches!(error.raw_os_error(), Some(nix::libc::EOPNOTSUPP | nix::libc::EINVAL)) => {
            thread::spawn(move || {
                if let Err(error) = order(control::DELETE_DEVICE, Control::of(number), &mut []) {
                    tracing::warn!(number, %error, "a ublk device stays");
                }
            });
            Ok(())
        }
        done => done,
    }
}

fn stop(number: u32) -> io::Result<()> {
    order_apart(control::STOP_DEVICE, Control::of(number))
}

fn remove_left(number: u32, mark: u64) -> io::Result<bool> {
    if info(number)?.is_none_or(|info| info.mark != mark) {
        return Ok(false);
    }
    stop(number)?;
    delete(number).map(|()| true)
}

/// Removes the device that an earlier process has left, if it is ours. Whether it was there.
pub(super) fn remove_recorded(node: &Path, volume: &str) -> io::Result<bool> {
    match number_of(node) {
        Some(number) => remove_left(number, mark_of(volume)),
        None => Ok(false),
    }
}

fn order(command: u32, words: Control, buffer: &mut [u8]) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/ublk-control")?;
    ring::control(&file, command, words, buffer)
}

/// For a command that reads from the device, or writes to it: who answers is this process.
fn order_apart(command: u32, words: Control) -> io::Result<()> {
    apart(&[], move || order(command, words, &mut [])).and_then(|done| done)
}

fn number_of(node: &Path) -> Option<u32> {
    node.to_str()?.strip_prefix("/dev/ublkb")?.parse().ok()
}

/// What the driver keeps for us: known by its first half.
fn mark_of(volume: &str) -> u64 {
    u64::from(u32::from_be_bytes(*b"TSUK")) << 32 | u64::from(crc32fast::hash(volume.as_bytes()))
}

fn patiently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let end = Instant::now() + NOTICING;
    loop {
        match attempt() {
            Err(error) if Instant::now() < end && is_early(&error) => thread::sleep(LOOK_AGAIN),
            done => return done,
        }
    }
}

fn is_early(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::EBUSY | nix::libc::ENOENT | nix::libc::ENODEV))
}
