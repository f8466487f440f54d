//! What must be found on a disk that lost its power.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    sync::Arc,
};

use tasuki_core::{
    ids::ServerName,
    mirror::{DiskState, state::PeerMode},
};
use tasuki_storage::volume::{Active, Area, FileArea, Management, MemoryArea};
use tasuki_volume::path::{Options, Reception, VolumeEvent};

use crate::{
    load::{BLOCK, Line, SECTOR, block_of, geometry, mixed, numbers_of, owner, places},
    recording::Recording,
    watched::{Block, Course},
    write::{begin, open},
};

/// A part of a disk.
#[derive(Debug)]
struct Part {
    disk: Arc<dyn Area>,
    offset: u64,
    size: u64,
}

impl Area for Part {
    fn place(&self) -> &Path {
        self.disk.place()
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn measure(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.read_at(bytes, self.offset + offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.write_at(bytes, self.offset + offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.flush()
    }

    fn trim(&self, offset: u64, length: u64) -> io::Result<()> {
        self.disk.trim(self.offset + offset, length)
    }

    fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        self.disk.zero(self.offset + offset, length)
    }
}

fn part(disk: &Arc<dyn Area>, index: usize) -> Arc<dyn Area> {
    let place = places()[index];
    Arc::new(Part { disk: disk.clone(), offset: place.offset, size: place.size })
}

/// The writes, and which are to which block.
#[derive(Default)]
pub struct Written {
    pub blocks: BTreeMap<u64, Vec<u64>>,
}

impl Written {
    pub fn upto(seed: u64, last: u64) -> Self {
        let mut written = Self::default();
        written.add(seed, 1, last);
        written
    }

    pub fn add(&mut self, seed: u64, first: u64, last: u64) {
        for number in first..=last {
            self.blocks.entry(block_of(seed, number)).or_default().push(number);
        }
    }
}

/// What was found.
#[derive(Default)]
struct Found {
    /// Blocks in which the copies differ.
    differ: BTreeSet<u64>,
    /// Extents that the maps and logs name.
    named: u64,
    /// A resync into the second copy has begun and not ended.
    half: bool,
    /// Regions in the first copy's log.
    active: usize,
}

/// What a copy must have: everything up to the first write, and nothing after the second.
fn due(index: usize, first: &Management, second: &Management, line: &Line) -> Option<(u64, u64)> {
    let (primary, peer) = (first.superblock(), second.superblock());
    if index == 0 || line.both == 1 {
        return Some((line.flushed, u64::MAX));
    }
    // R30: a copy into which a resync has begun says so; before that nothing new is in it, and once it
    // is of the primary's lineage again all is.
    match peer.disk {
        DiskState::Inconsistent => None,
        _ if peer.history == primary.history => Some((line.flushed, u64::MAX)),
        _ => Some((line.both_flushed, line.last_to_both)),
    }
}

/// Looks at both copies.
fn look(disk: &Arc<dyn Area>, written: &Written, line: &Line) -> Result<Found, String> {
    let open = |index: usize, server: &str| {
        Management::open(part(disk, index), &owner(server)).map_err(|error| error.to_string())
    };
    let (first, second) = (open(0, "kiki")?, open(2, "lala")?);
    let extent = geometry().extent;
    let mut named = vec![false; usize::try_from(geometry().extents()).unwrap()];
    for (management, peer) in [(&first, "lala"), (&second, "kiki")] {
        if matches!(management.active(), Active::All { .. }) {
            return Err(format!("the log of the peer of {peer} is damaged"));
        }
        let map = management.read_map(&ServerName::from(peer)).map_err(|error| error.to_string())?;
        if !map.unsure.is_empty() {
            return Err(format!("the map for {peer} lost pages {:?}", map.unsure));
        }
        let bits = map.words.iter().zip(0_u64..).filter(|(word, _)| **word != 0);
        for (word, at) in bits {
            (0..64).filter(|bit| word >> bit & 1 == 1).for_each(|bit| named[(at * 64 + bit) as usize] = true);
        }
        if management.superblock().primary.is_some() {
            for region in management.active().regions() {
                let (from, end) = geometry().extents_in(region);
                named[from as usize..end as usize].fill(true);
            }
        }
    }
    let half = second.superblock().disk == DiskState::Inconsistent;
    let active = first.active().regions().count();
    let count = named.iter().filter(|named| **named).count() as u64;
    let mut found = Found { named: count, half, active, ..Found::default() };
    for (block, numbers) in &written.blocks {
        let mut copies = [vec![0; BLOCK as usize], vec![0; BLOCK as usize]];
        for (index, bytes) in copies.iter_mut().enumerate() {
            part(disk, 1 + 2 * index).read_at(bytes, block * BLOCK).map_err(|error| error.to_string())?;
            let due = due(index, &first, &second, line);
            let (least, most) = due.unwrap_or((0, u64::MAX));
            let required = numbers.iter().copied().filter(|number| *number <= least).max().unwrap_or(0);
            for (sector, number) in numbers_of(bytes, *block).into_iter().enumerate() {
                match number {
                    Some(0) if required == 0 => {}
                    Some(number) if (required..=most).contains(&number) && numbers.contains(&number) => {}
                    other => {
                        return Err(format!(
                            "copy {index}, block {block}, sector {sector}: write {other:?}, but {required} was \
                             flushed, and none after {most} may be there: {line:?}"
                        ));
                    }
                }
            }
        }
        let [one, other] = copies;
        if one != other {
            found.differ.insert(*block);
            if !named[(block * BLOCK / extent) as usize] {
                return Err(format!(
                    "R29: the copies differ in block {block}, which no map and no log names"
                ));
            }
        }
    }
    Ok(found)
}

/// Both servers are back: the first is opened again, and what may differ is copied.
fn resync(disk: &Arc<dyn Area>, written: &Written) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let reception = Arc::new(Reception::default());
        let mut first =
            open((part(disk, 0), part(disk, 1)), ("kiki", "lala"), &reception, Options::default());
        let second = open((part(disk, 2), part(disk, 3)), ("lala", "kiki"), &reception, Options::default());
        reception.add("data".into(), &second.volume);
        begin(&mut first, 2).await;
        let lala = ServerName::from("lala");
        first.volume.set_peer(&lala, PeerMode::Syncing).await;
        first.volume.become_primary(tasuki_core::ids::Epoch(2)).await.map_err(|error| error.to_string())?;
        first.volume.start_resync(&lala, false, false);
        loop {
            match first.events.recv().await.ok_or("it has ended")? {
                VolumeEvent::Synced { .. } => break,
                VolumeEvent::PeerLost { why, .. } => return Err(why),
                _ => {}
            }
        }
        if !first.volume.set_peer(&lala, PeerMode::Required).await {
            return Err("it is not in step after the resync".to_owned());
        }
        first.volume.become_secondary().await.map_err(|error| error.to_string())
    })?;
    for block in written.blocks.keys() {
        let read = |index| {
            let mut bytes = vec![0; BLOCK as usize];
            part(disk, index)
                .read_at(&mut bytes, block * BLOCK)
                .map(|()| bytes)
                .map_err(|error| error.to_string())
        };
        if read(1)? != read(3)? {
            return Err(format!("after the resync the copies differ in block {block}"));
        }
    }
    Ok(())
}

pub fn fail(why: &str) -> ! {
    eprintln!("{why}");
    std::process::exit(1);
}

/// A disk as a reset left it, while the writes up to `flushed` were known to be flushed.
pub fn image(path: &Path, seed: u64, flushed: u64) {
    // The checks open it for writing, the file is the test's own.
    let disk: Arc<dyn Area> = Arc::new(FileArea::data(path, None).unwrap());
    let written = Written::upto(seed, flushed + 4096);
    let line = newest_line(&*disk);
    if line.flushed < flushed {
        fail(&format!("the ledger says {line:?}, but {flushed} was flushed"));
    }
    let found = look(&disk, &written, &line).unwrap_or_else(|why| fail(&why));
    let half = if found.half { "inconsistent" } else { "whole" };
    println!(
        "{} blocks differ, {} extents are named, the log names {} regions, the second copy is {half}",
        found.differ.len(),
        found.named,
        found.active
    );
    resync(&disk, &written).unwrap_or_else(|why| fail(&why));
    println!("equal after the resync");
}

/// Which sectors survive: at odd states in blocks, at even ones each for itself.
fn survives(state: u64, write: usize, sector: u64) -> bool {
    let unit = if state % 2 == 1 { sector / 8 } else { sector };
    mixed(state << 32 ^ unit << 12 ^ write as u64) % 100 < [10, 50, 90][usize::try_from(state % 3).unwrap()]
}

fn newest_line(disk: &dyn Area) -> Line {
    let ledger = places()[4];
    let lines = (0..ledger.size / BLOCK).map(|line| {
        let mut bytes = vec![0; SECTOR as usize];
        disk.read_at(&mut bytes, ledger.offset + line * BLOCK).unwrap();
        Line::read(&bytes)
    });
    lines.max_by_key(|line| line.sequence).unwrap_or_default()
}

/// What is on its way to the first copy's management area when the power goes.
#[derive(Clone, Copy, Debug, Default)]
struct Amid {
    /// A log block that regions have left because there was no room.
    evicting: bool,
    /// A map page, while the log was full.
    mapping: bool,
}

/// A recording, as it is played.
struct Replay {
    seed: u64,
    disk: MemoryArea,
    course: Course,
    amid: Amid,
    /// Entries played.
    entries: u64,
    /// Moments at which the power could be lost, and those at which it was.
    moments: u64,
    losses: u64,
    /// Of these: with the second copy out, amid a resync, amid an eviction, amid the writing of a map.
    out: u64,
    half: u64,
    evicting: u64,
    mapping: u64,
    differ: usize,
    resyncs: u64,
    written: Written,
    upto: u64,
}

/// The power is lost at each such moment, besides those that say more.
const STRIDE: u64 = 6;
/// Writes that may have been begun after the last line of the ledger.
const AHEAD: u64 = 4096;

impl Replay {
    /// The power goes now, with this perhaps on its way: any sectors of what is not durable survive.
    fn lose(&mut self, on_its_way: Option<(&[u8], u64)>) {
        let line = newest_line(&self.disk);
        if line.sequence == 0 {
            return;
        }
        self.moments += 1;
        let Amid { evicting, mapping } = self.amid;
        if !evicting && !mapping && !self.moments.is_multiple_of(STRIDE) {
            return;
        }
        self.losses += 1;
        let state = self.moments;
        let lost = self.disk.snapshot();
        if let Some((bytes, offset)) = on_its_way {
            lost.write_at(bytes, offset).unwrap();
        }
        lost.power_loss(|at| survives(state, at.write, at.sector));
        let lost: Arc<dyn Area> = Arc::new(lost);
        if line.flushed + AHEAD > self.upto {
            self.upto = line.flushed + 2 * AHEAD;
            self.written = Written::upto(self.seed, self.upto);
        }
        let found = look(&lost, &self.written, &line)
            .unwrap_or_else(|why| fail(&format!("power loss {state}, at entry {}: {why}", self.entries)));
        self.out += u64::from(line.both == 0);
        self.differ += found.differ.len();
        // A resync goes through gigabytes, once the log is full.
        let first = (found.half && self.half == 0) || (mapping && self.mapping == 0);
        self.half += u64::from(found.half);
        self.evicting += u64::from(evicting);
        self.mapping += u64::from(mapping);
        if first {
            self.resyncs += 1;
            resync(&lost, &self.written)
                .unwrap_or_else(|why| fail(&format!("power loss {state}, resync: {why}")));
        }
    }

    /// Notes what goes to the first copy's management area.
    fn see(&mut self, bytes: &[u8], offset: u64) {
        let meta = places()[0];
        if !(meta.offset..meta.offset + meta.size).contains(&offset) {
            return;
        }
        for block in bytes.chunks_exact(BLOCK as usize) {
            let full = self.course.is_full();
            match self.course.saw(block) {
                Some(Block::Log { left }) => self.amid.evicting |= left > 0,
                Some(Block::Map) => self.amid.mapping |= full,
                Some(Block::Superblock) | None => {}
            }
        }
    }
}

/// Takes the power before each flush, and while a block that is durable at once is being written: of what was
/// not durable then, any sectors survive.
pub fn replay(log: &Path, seed: u64) {
    let last = places()[4];
    let mut it = Replay {
        seed,
        disk: MemoryArea::new(last.offset + last.size),
        course: Course::default(),
        amid: Amid::default(),
        entries: 0,
        moments: 0,
        losses: 0,
        out: 0,
        half: 0,
        evicting: 0,
        mapping: 0,
        differ: 0,
        resyncs: 0,
        written: Written::upto(seed, 0),
        upto: 0,
    };
    let bytes = fs::metadata(log).unwrap().len();
    for entry in Recording::open(log).unwrap() {
        it.entries += 1;
        if entry.flush {
            it.lose(None);
            it.disk.flush().unwrap();
            it.amid = Amid::default();
        }
        if entry.discards > 0 {
            it.disk.trim(entry.offset, entry.discards).unwrap();
        }
        let before = it.amid;
        it.see(&entry.bytes, entry.offset);
        if entry.durable {
            it.lose(Some((&entry.bytes, entry.offset)));
            it.disk.write_durable(&entry.bytes, entry.offset).unwrap();
            it.amid = before;
        } else if !entry.bytes.is_empty() {
            it.disk.write_at(&entry.bytes, entry.offset).unwrap();
        }
    }
    let Replay { entries, moments, losses, out, half, evicting, mapping, differ, resyncs, course, .. } = it;
    if losses == 0 {
        fail(&format!("{entries} entries in {bytes} bytes, and no flush after the first line of the ledger"));
    }
    println!(
        "{entries} entries, {moments} moments, {losses} power losses: {out} with the second copy out, {half} \
         amid a resync, {evicting} amid an eviction, {mapping} amid a map page beside a full log; {} log \
         blocks, {} evictions, {} map pages; {differ} blocks differed, {resyncs} resyncs",
        course.logs, course.evictions, course.maps
    );
}
