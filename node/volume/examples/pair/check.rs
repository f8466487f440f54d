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
use tasuki_volume::path::{Reception, VolumeEvent};

use crate::{
    load::{BLOCK, Line, SECTOR, block_of, geometry, mixed, number_of, owner, places},
    recording::Recording,
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
struct Written {
    blocks: BTreeMap<u64, Vec<u64>>,
}

impl Written {
    fn upto(seed: u64, last: u64) -> Self {
        let mut blocks: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for number in 1..=last {
            blocks.entry(block_of(seed, number)).or_default().push(number);
        }
        Self { blocks }
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
    let mut named = BTreeSet::new();
    for (management, peer) in [(&first, "lala"), (&second, "kiki")] {
        if matches!(management.active(), Active::All { .. }) {
            return Err(format!("the log of the peer of {peer} is damaged"));
        }
        let map = management.read_map(&ServerName::from(peer)).map_err(|error| error.to_string())?;
        if !map.unsure.is_empty() {
            return Err(format!("the map for {peer} lost pages {:?}", map.unsure));
        }
        let bits = map.words.iter().zip(0_u64..).filter(|(word, _)| **word != 0);
        named.extend(bits.flat_map(|(word, at)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit)
        }));
        if management.superblock().primary.is_some() {
            for region in management.active().regions() {
                let (from, end) = geometry().extents_in(region);
                named.extend(from..end);
            }
        }
    }
    let half = second.superblock().disk == DiskState::Inconsistent;
    let mut found = Found { named: named.len() as u64, half, ..Found::default() };
    for (block, numbers) in &written.blocks {
        let mut copies = [vec![0; BLOCK as usize], vec![0; BLOCK as usize]];
        for (index, bytes) in copies.iter_mut().enumerate() {
            part(disk, 1 + 2 * index).read_at(bytes, block * BLOCK).map_err(|error| error.to_string())?;
            let due = due(index, &first, &second, line);
            let (least, most) = due.unwrap_or((0, u64::MAX));
            let required = numbers.iter().copied().filter(|number| *number <= least).max().unwrap_or(0);
            for (sector, bytes) in (0_u64..).zip(bytes.chunks(SECTOR as usize)) {
                match number_of(bytes, *block, sector) {
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
            if !named.contains(&(block * BLOCK / extent)) {
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
        let mut first = open((part(disk, 0), part(disk, 1)), ("kiki", "lala"), &reception, None);
        let second = open((part(disk, 2), part(disk, 3)), ("lala", "kiki"), &reception, None);
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

fn fail(why: &str) -> ! {
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
    println!("{} blocks differ, {} extents are named", found.differ.len(), found.named);
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

/// Takes the power before each flush: of what was not durable then, any sectors survive.
pub fn replay(log: &Path, seed: u64) {
    let last = places()[4];
    let disk = MemoryArea::new(last.offset + last.size);
    let bytes = fs::metadata(log).unwrap().len();
    let (mut entries, mut states, mut out, mut half) = (0_u64, 0_u64, 0, 0);
    let (mut differ, mut named, mut resyncs) = (0, 0, 0);
    for entry in Recording::open(log).unwrap() {
        entries += 1;
        let line = if entry.flush { newest_line(&disk) } else { Line::default() };
        if line.sequence > 0 {
            states += 1;
            let lost = disk.snapshot();
            lost.power_loss(|at| survives(states, at.write, at.sector));
            let lost: Arc<dyn Area> = Arc::new(lost);
            let written = Written::upto(seed, line.flushed + 4096);
            out += u64::from(line.both == 0);
            let found = look(&lost, &written, &line)
                .unwrap_or_else(|why| fail(&format!("power loss {states}, at entry {entries}: {why}")));
            half += u64::from(found.half);
            differ += found.differ.len();
            named += found.named;
            if states % 50 == 0 {
                resyncs += 1;
                resync(&lost, &written)
                    .unwrap_or_else(|why| fail(&format!("power loss {states}, resync: {why}")));
            }
        }
        if entry.flush {
            disk.flush().unwrap();
        }
        if entry.discards > 0 {
            disk.trim(entry.offset, entry.discards).unwrap();
        }
        if entry.durable {
            disk.write_durable(&entry.bytes, entry.offset).unwrap();
        } else if !entry.bytes.is_empty() {
            disk.write_at(&entry.bytes, entry.offset).unwrap();
        }
    }
    if states == 0 {
        fail(&format!("{entries} entries in {bytes} bytes, and no flush after the first line of the ledger"));
    }
    println!(
        "{entries} entries, {states} power losses, {out} of them with the second copy out, {half} amid a resync, {differ} blocks differed, {} extents named each time, {resyncs} resyncs",
        named / states
    );
}
