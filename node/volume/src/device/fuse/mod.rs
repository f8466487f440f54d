//! A file over FUSE under a loop device: a block device on every kernel since 5.8.
//!
//! The file is a mount of its own that is attached nowhere, the loop device does direct I/O on it, and
//! lets go of it by itself when nobody has it open any more. So nothing is left of it after a kill, but
//! where a file system on it is still mounted: then reads and writes there fail until it is unmounted.

mod mount;
mod protocol;
mod server;

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
};

pub(super) use mount::open_kernel;

use self::server::{OneFile, Stage, serve};
use super::loop_device::{self, LoopDevice};
use crate::block::Door;

/// How long the kernel may take to let go of a device that nobody uses.
const LETTING_GO: Duration = Duration::from_secs(10);

/// A loop device over a file over FUSE.
#[derive(Debug)]
pub(super) struct FileDevice {
    /// The file keeps its size readable; the loop device has it open too.
    device: Option<Arc<LoopDevice>>,
    node: PathBuf,
    server: JoinHandle<()>,
    stage: watch::Receiver<Stage>,
    file: Arc<OneFile>,
}

impl FileDevice {
    /// Makes both. `record` is called with the node before it is taken.
    pub(super) async fn attach(
        door: Door,
        name: &str,
        record: impl Fn(&Path) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let kernel = open_kernel()?;
        let mount = mount::mount(kernel.as_fd())?;
        let file = Arc::new(OneFile::of(door.size));
        // A device has the blocks of what is below: a file system that was made there finds them again.
        let block = door.block.clamp(512, 4096).next_power_of_two();
        let (told, stage) = watch::channel(Stage::Serving);
        let server = tokio::spawn(serve(kernel, door, file.clone(), told));
        let name = loop_device::name_of(name);
        let made = spawn_blocking(move || {
            let opened = mount::open_file(mount.as_fd())?;
            drop(mount);
            LoopDevice::bind(&opened, &name, block, record)
        });
        match made.await.map_err(io::Error::other).and_then(|made| made) {
            Ok(device) => {
                let node = device.node().to_owned();
                Ok(Self { device: Some(Arc::new(device)), node, server, stage, file })
            }
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
        let mut stage = self.stage.clone();
        match stage.wait_for(|stage| *stage != Stage::Serving).await.as_deref() {
            Ok(Stage::Ended(why)) => why.clone(),
            Ok(_) => format!("{} was detached by somebody else", self.node.display()),
            Err(_) => "its server was ended".to_owned(),
        }
    }

    /// The file has another size, and so the device.
    pub(super) async fn resize(&self, size: u64) -> io::Result<()> {
        self.file.size.store(size, Ordering::Relaxed);
        let Some(device) = self.device.clone() else { return Ok(()) };
        spawn_blocking(move || device.read_size()).await.map_err(io::Error::other)?
    }

    /// Writes out what the kernel keeps, and lets go. `Ok(false)`: somebody has it open again meanwhile;
    /// it goes with its last user, and this may be called again to wait for that.
    pub(super) async fn detach(&mut self) -> io::Result<bool> {
        if let Some(device) = self.device.take() {
            spawn_blocking(move || device.let_go()).await.map_err(io::Error::other)??;
        }
        let mut stage = self.stage.clone();
        let released = stage.wait_for(|stage| *stage != Stage::Serving);
        Ok(tokio::time::timeout(LETTING_GO, released).await.is_ok())
    }

    /// Ends the file first: whatever waits for it fails.
    pub(super) async fn cut(&mut self) -> io::Result<()> {
        self.server.abort();
        // It was aborted: how it ended is no news.
        let _ended = (&mut self.server).await;
        let Some(device) = self.device.take() else { return Ok(()) };
        spawn_blocking(move || device.clear()).await.map_err(io::Error::other)?
    }
}

impl Drop for FileDevice {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// For the loop device: it takes the file by its descriptor.
pub(super) fn descriptor(file: &File) -> u32 {
    u32::try_from(file.as_raw_fd()).unwrap_or(u32::MAX)
}
