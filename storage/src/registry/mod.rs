//! The store of the cluster registry: Raft log and vote in sled, snapshots in plain files.
//!
//! ```text
//! DIR/lock           held while the store is open
//! DIR/registry.sled  log, vote, identity (see `keys` for the layout)
//! DIR/snapshots/     the last two snapshots (see `snapshot`)
//! ```
//!
//! **After a storage error** (full disk, I/O error) nothing more is acknowledged by this opener:
//! Raft goes `Fatal` on the first failed write and stays so, and the flusher refuses all that
//! follows, because after a failed sync nobody knows what the disk has. Nothing that was
//! acknowledged is lost. The way on is: shut Raft down, drop the [`RegistryStore`], await
//! [`RegistryStore::closing`], and [`open`] again, repeatedly until there is space.

mod check;
mod engine;
mod flusher;
mod identity;
pub mod keys;
mod log_store;
mod migrate;
mod snapshot;
mod state_machine;

use std::{path::Path, sync::Arc, time::Duration};

use tasuki_core::registry::State;
use tokio::sync::watch;

use self::{engine::Engine, flusher::Flusher};
pub use self::{
    identity::{Expected, Identity},
    log_store::LogStore,
    state_machine::{SnapshotBuilder, StateMachine},
};
pub(crate) use self::{log_store::indexes, snapshot::Shelf};
use crate::StoreError;

/// How writes get to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flush {
    /// By one thread that completes all waiting writes with one sync (group commit).
    #[default]
    Grouped,
    /// By the writer itself, before it goes on: for simulations, which must not depend on
    /// threads.
    Inline,
}

/// How to open a store.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// How writes get to the disk.
    pub flush: Flush,
    /// Whose store it should be. Checked only where the store knows.
    pub expected: Option<Expected>,
    /// Refuse an empty folder: this server has voted before (R23).
    pub must_exist: bool,
    /// Writes are refused as "disk full" while less than this is free, in bytes, so that there is
    /// always room to open the store and to write a snapshot.
    pub reserve: u64,
    /// Memory for sled's cache, in bytes.
    pub cache: u64,
    /// How long to wait for another opener that may be just closing. Opening blocks: call it
    /// where that is allowed.
    pub patience: Duration,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            flush: Flush::Grouped,
            expected: None,
            must_exist: false,
            reserve: 4 * 1024 * 1024,
            cache: 16 * 1024 * 1024,
            patience: Duration::from_secs(1),
        }
    }
}

/// An open store. Give `log` and `machine` to Raft; keep the rest.
pub struct RegistryStore {
    /// Log and vote. Cheap to clone.
    pub log: LogStore,
    /// What applies the log, and its snapshots. Cheap to clone.
    pub machine: StateMachine,
    /// The registry as this server has applied it. At first as the last snapshot has it: Raft
    /// applies the rest of the committed log when it starts.
    pub state: watch::Receiver<Arc<State>>,
    /// Index of the last applied entry; zero before the first.
    pub applied: watch::Receiver<u64>,
    engine: Arc<Engine>,
}

/// Opens the store in `dir`, makes it when there is none, upgrades an older format.
///
/// What the store reads is on the disk when this returns: entries that a killed process had
/// written but not synced are synced before Raft counts them as its own.
///
/// # Errors
/// See [`StoreError`].
pub fn open(dir: &Path, options: &OpenOptions) -> Result<RegistryStore, StoreError> {
    let engine = Arc::new(Engine::open(dir, options)?);
    migrate::to_current_format(&engine)?;
    identity::check(&engine, options)?;
    let shelf = Shelf::on_disk(&dir.join("snapshots"))?;
    let snapshot = shelf.newest()?;
    let purged = check::log(&engine, snapshot.as_ref())?;
    engine.sync()?;

    let flusher = Flusher::start(&engine, options.flush)?;
    let log = LogStore::new(Arc::clone(&engine), flusher, shelf.clone(), purged);
    let machine = StateMachine::new(shelf, snapshot, Some(Arc::clone(&engine)), options.flush)?;
    Ok(RegistryStore { log, state: machine.watch(), applied: machine.applied(), machine, engine })
}

impl RegistryStore {
    /// Records whose store this is, durably; the same identity may be bound again.
    ///
    /// # Errors
    /// [`StoreError::OtherServer`] when another identity is bound; an I/O error.
    pub fn bind_identity(&self, identity: &Identity) -> Result<(), StoreError> {
        identity::bind(&self.engine, identity)
    }

    /// Whose store this is, if it has been recorded.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn identity(&self) -> Result<Option<Identity>, StoreError> {
        identity::read(&self.engine)
    }

    /// Resolves when the last user of this store (Raft's tasks included) has let go of it, so
    /// that it can be opened again. Take it first, then drop the store.
    pub fn closing(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut held = self.engine.held();
        async move { while held.changed().await.is_ok() {} }
    }
}
