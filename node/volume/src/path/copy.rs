//! One server's copy of a volume: its data area, and its management area with the journal that is
//! written to it. Used by the primary's data path and by the receiver; from any thread.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tasuki_core::{
    ids::{Epoch, Generation, Lineage, ServerName, VolumeName},
    mirror::{
        DiskState, activity::Entry, dirty_map::DirtyMap, geometry::Geometry, handshake::LocalCopy,
        history::History,
    },
};
use tasuki_storage::volume::{Area, AreaError, Fault, Management, MapPage};
use tokio::{sync::Notify, task::spawn_blocking};

use super::journal::Journal;

mod grow;

/// Writes up to so many bytes are made where they are asked for: to the page cache, which takes less
/// time than to hand them to another thread.
const INLINE: usize = 128 * 1024;
/// A disk whose flushes take less than this may be flushed by the thread that asks, if that has nothing
/// else to do: handing it over and back would take as long. One that took longer counts for many (R34: a
/// disk that hangs there holds the volume's thread).
const QUICK: Duration = Duration::from_micros(1000);
/// Where a flush follows on so few writes, their way to the disk begins with the write.
const SOON: u64 = 64;

/// Why the disk of a copy did not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct DiskError {
    /// How it failed.
    pub why: String,
    /// There was no space.
    pub full: bool,
}

impl From<io::Error> for DiskError {
    fn from(error: io::Error) -> Self {
        Self { full: matches!(Fault::of(&error), Fault::NoSpace), why: error.to_string() }
    }
}

impl From<AreaError> for DiskError {
    fn from(error: AreaError) -> Self {
        Self { full: false, why: error.to_string() }
    }
}

impl From<tokio::task::JoinError> for DiskError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self { full: false, why: error.to_string() }
    }
}

/// What is to be made of a span.
#[derive(Clone, Debug)]
pub enum Change {
    /// These bytes.
    Bytes(Bytes),
    /// Zeroes, whose space may be given up.
    Trim(u64),
    /// Zeroes, whose space stays unless `may_trim`.
    Zero {
        /// How many bytes.
        length: u64,
        /// Its space may be given up.
        may_trim: bool,
    },
}

impl Change {
    /// How many bytes change.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Trim(length) | Self::Zero { length, .. } => *length,
        }
    }
}

/// The copy.
pub struct Copy {
    /// The registry's lineage (R24).
    pub lineage: Lineage,
    /// The volume.
    pub volume: VolumeName,
    /// This server.
    pub server: ServerName,
    data: Arc<dyn Area>,
    management: Arc<Management>,
    journal: Mutex<Journal>,
    /// One log is written at a time; who waits finds his region in the next.
    logging: tokio::sync::Mutex<()>,
    /// One set of map pages too.
    mapping: tokio::sync::Mutex<()>,
    flusher: Mutex<Flusher>,
    flushed: Notify,
    /// Writes since a flush began.
    since_flush: AtomicU64,
}

#[derive(Debug)]
struct Flusher {
    wanted: u64,
    done: u64,
    running: bool,
    /// The one that runs, or the last, covers writes up to this one.
    covers: u64,
    failed: Option<DiskError>,
    /// How long they take, at worst: a slow one is forgotten only after many quick ones.
    took: Duration,
    /// How many writes there are between two.
    writes: u64,
}

impl Default for Flusher {
    fn default() -> Self {
        // A disk has to show that it is quick.
        let took = QUICK * 64;
        Self { wanted: 0, done: 0, running: false, covers: 0, failed: None, took, writes: SOON * 16 }
    }
}

impl Copy {
    /// A copy over its open areas, for these peers. Regions that the activity log of an earlier
    /// incarnation names are in the maps of all peers from here on; the log itself stays as it is until
    /// [`Self::begin_primary`] or [`Self::in_step`].
    ///
    /// # Errors
    /// When the management area fails.
    pub fn open(
        data: Arc<dyn Area>,
        management: Management,
        peers: &BTreeSet<ServerName>,
    ) -> Result<Self, AreaError> {
        let superblock = management.superblock();
        let geometry = superblock.geometry;
        if management.peers() != *peers {
            management.set_peers(peers)?;
        }
        let mut maps = Vec::new();
        for peer in peers {
            let words = management.read_map(peer)?.words;
            maps.push((peer.clone(), DirtyMap::from_words(geometry.extents(), &words)));
        }
        let mut journal = Journal::new(geometry, maps);
        if superblock.primary.is_some() {
            journal.fold(management.active().regions());
        }
        let owner = superblock.owner;
        Ok(Self {
            lineage: owner.lineage,
            volume: owner.volume,
            server: owner.server,
            data,
            management: Arc::new(management),
            journal: Mutex::new(journal),
            logging: tokio::sync::Mutex::default(),
            mapping: tokio::sync::Mutex::default(),
            flusher: Mutex::default(),
            flushed: Notify::new(),
            since_flush: AtomicU64::new(0),
        })
    }

    /// The journal. Held for moments only.
    pub fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the management area says of the copy.
    #[must_use]
    pub fn local(&self) -> LocalCopy {
        self.management.copy()
    }

    /// How the volume is divided.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.journal().geometry
    }

    /// The extents that a peer's dirty map names.
    #[must_use]
    pub fn differing(&self, peer: &ServerName) -> u64 {
        let journal = self.journal();
        journal.slot(peer).and_then(|slot| journal.legs.get(slot)).map_or(0, |leg| leg.map.count())
    }

    async fn manage<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Management) -> Result<T, AreaError> + Send + 'static,
    ) -> Result<T, DiskError> {
        let management = self.management.clone();
        Ok(spawn_blocking(move || what(&management)).await??)
    }

    /// Keeps an epoch (R31); an older one changes nothing.
    ///
    /// # Errors
    /// When the management area fails.
    pub async fn store_epoch(&self, epoch: Epoch) -> Result<(), DiskError> {
        self.manage(move |it| it.store_epoch(epoch)).await
    }

    /// The copy goes on alone with a new generation.
    ///
    /// # Errors
    /// When the management area fails.
    pub async fn store_step(&self, generation: Generation, by: ServerName) -> Result<(), DiskError> {
        let change = move |it: &Management| {
            it.store(|superblock| {
                if superblock.history.generation() < generation {
                    superblock.history.step(generation, &by);
                }
            })
        };
        self.manage(change).await
    }

    /// The copy is in this state, and of this lineage where one is given.
    ///
    /// # Errors
    /// When the management area fails.
    pub async fn store_state(&self, disk: DiskState, history: Option<History>) -> Result<(), DiskError> {
        let change = move |it: &Management| {
            it.store(|superblock| {
                superblock.disk = disk;
                if let Some(history) = history {
                    superblock.history = history;
                }
            })
        };
        self.manage(change).await
    }

    /// Its disk has failed, and nobody counts on it any more: also the next process knows that.
    ///
    /// # Errors
    /// When the management area fails too.
    pub async fn store_failure(&self, why: String) -> Result<(), DiskError> {
        self.manage(move |it| it.store(|superblock| superblock.fail(&why))).await
    }

    /// Why its disk counted as failed when it was opened.
    #[must_use]
    pub fn failed(&self) -> Option<String> {
        self.management.superblock().failed
    }

    /// This copy will be written under `epoch`: what it has is made durable before anybody reads it,
    /// what an earlier log named is durably in the maps, and then the log is its own.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn begin_primary(self: &Arc<Self>, epoch: Epoch) -> Result<(), DiskError> {
        self.flush().await?;
        self.keep_maps(false).await?;
        let _one_at_a_time = self.logging.lock().await;
        let table = self.journal().activity.table();
        let logged = table.clone();
        self.manage(move |it| {
            it.log(&table)?;
            it.store(|superblock| superblock.primary = Some(epoch))
        })
        .await?;
        self.journal().activity.logged(&logged);
        Ok(())
    }

    /// No write is under way, and none comes: all is flushed, maps are kept, the log is emptied of what
    /// has settled. Only when it is empty the copy counts as closed in order.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn end_primary(self: &Arc<Self>) -> Result<(), DiskError> {
        self.flush().await?;
        self.keep_maps(true).await?;
        let _one_at_a_time = self.logging.lock().await;
        let (empty, table) = {
            let mut journal = self.journal();
            (journal.settle(), journal.activity.table())
        };
        self.manage(move |it| {
            it.log(&table)?;
            if empty { it.store(|superblock| superblock.primary = None) } else { Ok(()) }
        })
        .await
    }

    /// Everything that `peer` had more than this copy has been copied to it: the own map for it is
    /// empty, the log too, and the copy is whole and of that lineage. Durable in this order.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn in_step(self: &Arc<Self>, peer: &ServerName, history: History) -> Result<(), DiskError> {
        self.flush().await?;
        {
            let mut journal = self.journal();
            let extents = journal.geometry.extents();
            if let Some(leg) = journal.slot(peer).and_then(|slot| journal.legs.get_mut(slot)) {
                leg.map.clear(0, extents);
            }
        }
        self.manage(move |it| {
            it.store(|superblock| {
                superblock.disk = DiskState::Consistent;
                superblock.history = history;
            })
        })
        .await?;
        self.keep_maps(true).await?;
        let _one_at_a_time = self.logging.lock().await;
        let table = {
            let mut journal = self.journal();
            journal.settle();
            journal.activity.table()
        };
        self.manage(move |it| {
            it.log(&table)?;
            if table.is_empty() { it.store(|superblock| superblock.primary = None) } else { Ok(()) }
        })
        .await
    }

    /// A write may begin in these regions, which are in use from here on: the log that names them is on
    /// the disk (R29). [`Journal::begin`] and `leave` follow.
    ///
    /// # Errors
    /// There is no place, or the disk fails.
    pub async fn enter(&self, first: u32, end: u32) -> Result<(), NotEntered> {
        loop {
            let entry = self.journal().enter(first, end);
            match entry {
                Entry::In => return Ok(()),
                Entry::Log => self.log(first, end).await?,
                Entry::Full => return Err(NotEntered::Full),
            }
        }
    }

    async fn log(&self, first: u32, end: u32) -> Result<(), DiskError> {
        let _one_at_a_time = self.logging.lock().await;
        let table = {
            let mut journal = self.journal();
            match journal.enter(first, end) {
                Entry::In => {
                    // Somebody else's log named them while this one waited; it enters again.
                    journal.activity.leave(first, end);
                    return Ok(());
                }
                Entry::Log | Entry::Full => journal.activity.table(),
            }
        };
        let logged = table.clone();
        self.manage(move |it| it.log(&table)).await?;
        self.journal().activity.logged(&logged);
        Ok(())
    }

    /// Writes the pages of all maps that have bits which are not on the disk; with `all`, also those
    /// that only lost bits.
    ///
    /// # Errors
    /// When the management area fails.
    pub async fn keep_maps(self: &Arc<Self>, all: bool) -> Result<(), DiskError> {
        // In a task of its own: who waits may go away, but a writing that has begun is seen to its end
        // before the next one begins.
        let copy = self.clone();
        tokio::spawn(async move { copy.keep_maps_here(all).await }).await?
    }

    async fn keep_maps_here(&self, all: bool) -> Result<(), DiskError> {
        let _one_at_a_time = self.mapping.lock().await;
        let legs = self.journal().legs.len();
        for slot in 0..legs {
            let (peer, pages) = {
                let mut journal = self.journal();
                let Some(leg) = journal.legs.get_mut(slot) else { break };
                let wanted = if all { leg.map.pages_changed() } else { leg.map.pages_set() };
                let pages: Vec<(u32, Vec<u64>)> =
                    wanted.into_iter().map(|page| (page, leg.map.page(page).to_vec())).collect();
                for (page, _) in &pages {
                    leg.map.keep(*page);
                }
                (leg.server.clone(), pages)
            };
            if pages.is_empty() {
                continue;
            }
            let numbers: Vec<u32> = pages.iter().map(|(page, _)| *page).collect();
            let written = self.write_pages(peer, pages).await;
            let mut journal = self.journal();
            if let Some(leg) = journal.legs.get_mut(slot) {
                for page in numbers {
                    if written.is_ok() { leg.map.kept(page) } else { leg.map.not_kept(page) }
                }
            }
            written?;
        }
        Ok(())
    }

    async fn write_pages(&self, peer: ServerName, pages: Vec<(u32, Vec<u64>)>) -> Result<(), DiskError> {
        self.manage(move |it| {
            let pages: Vec<MapPage<'_>> =
                pages.iter().map(|(page, words)| MapPage { page: *page, words }).collect();
            it.write_map_pages(&peer, &pages)
        })
        .await
    }

    /// Whether a change is made at once where it is asked for, without another thread.
    #[must_use]
    pub fn is_inline(change: &Change) -> bool {
        matches!(change, Change::Bytes(bytes) if bytes.len() <= INLINE)
    }

    /// Makes a change, waiting for the disk. It is durable after the next flush.
    ///
    /// # Errors
    /// When the disk fails or is full.
    pub fn change_now(&self, offset: u64, change: &Change) -> Result<(), DiskError> {
        change_area(&*self.data, offset, change)?;
        let writes = self.since_flush.fetch_add(1, Ordering::Relaxed);
        if writes < SOON && self.flusher().writes < SOON {
            self.data.start_writing(offset, change.length());
        }
        Ok(())
    }

    /// Makes a change on another thread.
    ///
    /// # Errors
    /// When the disk fails or is full.
    pub async fn change(&self, offset: u64, change: Change) -> Result<(), DiskError> {
        let data = self.data.clone();
        spawn_blocking(move || change_area(&*data, offset, &change)).await?
    }

    /// Reads; on another thread what is long, or not in memory.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn read(&self, offset: u64, length: u32) -> Result<Bytes, DiskError> {
        let mut bytes = vec![0; length as usize];
        if bytes.len() <= INLINE && self.data.read_at_nowait(&mut bytes, offset)? {
            return Ok(bytes.into());
        }
        let data = self.data.clone();
        spawn_blocking(move || {
            data.read_at(&mut bytes, offset)?;
            Ok(bytes.into())
        })
        .await?
    }

    /// Reads here, waiting for the disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn read_now(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.data.read_at(bytes, offset)
    }

    /// Everything that was finished before this was asked is on the disk when it returns. Flushes that
    /// wait for one that runs are one.
    ///
    /// # Errors
    /// When the disk fails: then it failed for good.
    pub async fn flush(&self) -> Result<(), DiskError> {
        self.flush_on(false).await
    }

    /// The same for a thread that has nothing else to do: it waits itself for a disk that is quick.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub async fn flush_here(&self) -> Result<(), DiskError> {
        self.flush_on(true).await
    }

    /// Whether [`Self::flush_here`] would make the flush on its thread.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        let flusher = self.flusher();
        flusher.took < QUICK && !flusher.running
    }

    /// Waits for a flush that runs, if it covers everything up to this write.
    pub async fn flush_that_covers(&self, number: u64) {
        loop {
            let done = self.flushed.notified();
            tokio::pin!(done);
            done.as_mut().enable();
            let covers = {
                let flusher = self.flusher();
                flusher.running && flusher.covers >= number
            };
            if !covers {
                return;
            }
            done.await;
        }
    }

    async fn flush_on(&self, this_thread: bool) -> Result<(), DiskError> {
        let ticket = {
            let mut flusher = self.flusher();
            flusher.wanted += 1;
            flusher.wanted
        };
        loop {
            let done = self.flushed.notified();
            tokio::pin!(done);
            done.as_mut().enable();
            let run = {
                let mut flusher = self.flusher();
                if let Some(why) = &flusher.failed {
                    return Err(why.clone());
                }
                if flusher.done >= ticket {
                    return Ok(());
                }
                let quick = flusher.took < QUICK;
                (!std::mem::replace(&mut flusher.running, true)).then_some((flusher.wanted, quick))
            };
            let Some((covers, quick)) = run else {
                done.await;
                continue;
            };
            let through = self.journal().finished();
            self.flusher().covers = through;
            let writes = self.since_flush.swap(0, Ordering::Relaxed);
            let mut running = Running { copy: self, covers: None };
            let flushed = if this_thread && quick {
                timed_flush(&*self.data)
            } else {
                let data = self.data.clone();
                spawn_blocking(move || timed_flush(&*data)).await?
            };
            match flushed {
                Ok(took) => {
                    self.journal().local_flushed(through);
                    let mut flusher = self.flusher();
                    flusher.took = took.max(flusher.took * 7 / 8);
                    flusher.writes = (flusher.writes * 3 + writes) / 4;
                    running.covers = Some(covers);
                }
                Err(why) => self.flusher().failed = Some(why.into()),
            }
        }
    }

    fn flusher(&self) -> MutexGuard<'_, Flusher> {
        self.flusher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How large the data area is now.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn measure(&self) -> Result<u64, DiskError> {
        let data = self.data.clone();
        Ok(spawn_blocking(move || data.measure()).await??)
    }
}

/// Why a write may not begin yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotEntered {
    /// The log has no place: regions have to settle first. Flush both legs, keep the maps, try again.
    Full,
    /// The management area failed.
    Disk(DiskError),
}

impl From<DiskError> for NotEntered {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// A flush that runs. When who runs it goes away, another one takes over.
struct Running<'a> {
    copy: &'a Copy,
    covers: Option<u64>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut flusher = self.copy.flusher();
        flusher.running = false;
        if let Some(covers) = self.covers {
            flusher.done = flusher.done.max(covers);
        }
        drop(flusher);
        self.copy.flushed.notify_waiters();
    }
}

fn timed_flush(area: &dyn Area) -> io::Result<Duration> {
    let began = Instant::now();
    area.flush()?;
    Ok(began.elapsed())
}

fn change_area(area: &dyn Area, offset: u64, change: &Change) -> Result<(), DiskError> {
    match change {
        Change::Bytes(bytes) => area.write_at(bytes, offset)?,
        Change::Trim(length) | Change::Zero { length, may_trim: true } => area.trim(offset, *length)?,
        Change::Zero { length, may_trim: false } => area.zero(offset, *length)?,
    }
    Ok(())
}
