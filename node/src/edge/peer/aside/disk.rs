//! A heartbeat path over a shared disk (`kind = "disk"`): a partition or a file, read and written past
//! the cache.
//!
//! ```text
//! block 0       "Tasuki heartbeats": nothing else may be on this disk
//! block N       of the server with number N; written by that one only
//!
//! "TSKHBEA" 1 | sum 4 | writes 8 | number 4 | count 2 | { receiver 4 | length 2 | datagram } …
//! ```
//!
//! Integers are big-endian; the sum is a CRC-32 of the whole block with zeros in its place. A block
//! that was read while it was being written has a wrong one, and is read again the next time.
//!
//! A disk may hang for minutes: one thread a path waits for it, and for nothing else.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tasuki_core::ids::NetworkName;
use tasuki_storage::votes::{direct::Direct, layout::BLOCK};

use super::Aside;
use crate::edge::peer::link_socket::add;

const LABEL: &[u8] = b"Tasuki heartbeats, format 1. One block of 4096 bytes for each server.\n";
const MAGIC: [u8; 8] = *b"TSKHBEA\x01";
/// Magic, sum, writes, number, count.
const HEAD: usize = 8 + 4 + 8 + 4 + 2;
const ENTRY: usize = 4 + 2;
/// The blocks that a heartbeat disk has: the label, and one for each server there can be.
const BLOCKS: u32 = 1 + 64;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Between two attempts to open it.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// One disk. Forgotten when dropped; its thread ends as soon as the disk lets it.
pub(in crate::edge::peer) struct DiskLink {
    room: Arc<Room>,
}

#[derive(Default)]
struct Room {
    /// The last datagram for each receiver, by number.
    outgoing: Mutex<BTreeMap<u32, Vec<u8>>>,
    ended: AtomicBool,
    wake: Condvar,
}

impl DiskLink {
    pub(in crate::edge::peer) fn start(
        device: PathBuf,
        path: NetworkName,
        aside: Arc<Aside>,
    ) -> io::Result<Self> {
        let room = Arc::new(Room::default());
        let its = room.clone();
        thread::Builder::new()
            .name("disk-heartbeat".into())
            .stack_size(512 * 1024)
            .spawn(move || run(&device, &path, &aside, &its))?;
        Ok(Self { room })
    }

    pub(super) fn send(&self, number: u32, datagram: Vec<u8>) {
        self.room.outgoing.lock().unwrap_or_else(PoisonError::into_inner).insert(number, datagram);
    }
}

impl Drop for DiskLink {
    fn drop(&mut self) {
        self.room.ended.store(true, Ordering::Relaxed);
        self.room.wake.notify_all();
    }
}

impl Room {
    /// Whether to go on after this pause.
    fn pause(&self, pause: Duration) -> bool {
        let outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = |_: &mut _| !self.ended.load(Ordering::Relaxed);
        drop(self.wake.wait_timeout_while(outgoing, pause, ended));
        !self.ended.load(Ordering::Relaxed)
    }
}

/// Why a disk is not used.
#[derive(Debug, thiserror::Error)]
enum DiskError {
    #[error("{0}")]
    Open(String),
    #[error("it is too small: it needs {} bytes", BLOCKS as usize * BLOCK)]
    TooSmall,
    #[error("it holds something else: the first {} bytes must be zeros", BLOCKS as usize * BLOCK)]
    SomethingElse,
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn run(device: &Path, path: &NetworkName, aside: &Aside, room: &Room) {
    let mut told = false;
    loop {
        let error = match open(device) {
            Ok(disk) => {
                tracing::info!(%path, "heartbeats on this disk");
                told = false;
                match carry(&disk, path, aside, room) {
                    Ok(()) => return,
                    Err(error) => error.into(),
                }
            }
            Err(error) => error,
        };
        if !room.outgoing.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            add(&aside.counters.not_sent);
        }
        if told {
            tracing::debug!(%path, %error, "the disk still cannot be used");
        } else {
            tracing::warn!(%path, %error, "the heartbeat disk cannot be used now; trying until it can (TSK-1118)");
            told = true;
        }
        if !room.pause(OPEN_AGAIN) {
            return;
        }
    }
}

/// Opens it, if it is a heartbeat disk, or empty and can become one.
fn open(device: &Path) -> Result<Direct, DiskError> {
    let disk = Direct::open(device).map_err(|error| DiskError::Open(error.to_string()))?;
    if disk.size()? < u64::from(BLOCKS) * BLOCK as u64 {
        return Err(DiskError::TooSmall);
    }
    let all = disk.read(0, BLOCKS as usize)?;
    if all.starts_with(LABEL) {
        return Ok(disk);
    }
    // Whose data that is nobody knows: it is not overwritten.
    if all.iter().any(|byte| *byte != 0) {
        return Err(DiskError::SomethingElse);
    }
    let mut label = vec![0; BLOCK];
    label.iter_mut().zip(LABEL).for_each(|(to, from)| *to = *from);
    disk.write(0, &label)?;
    Ok(disk)
}

/// Writes and reads until there is no more to do, or the disk fails.
fn carry(disk: &Direct, path: &NetworkName, aside: &Aside, room: &Room) -> io::Result<()> {
    let mut written = BTreeMap::new();
    let mut writes = 0;
    while room.pause(LOOK) {
        let outgoing = room.outgoing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(own) = aside.own_number().filter(|number| *number > 0 && *number < BLOCKS)
            && outgoing != written
        {
            writes += 1;
            disk.write(own.into(), &encode(own, writes, &outgoing))?;
            written = outgoing;
        }
        let highest = aside.highest_number().min(BLOCKS - 1);
        let blocks = disk.read(1, highest as usize)?;
        for (number, block) in (1..).zip(blocks.chunks_exact(BLOCK)) {
            let Some(own) = aside.own_number().filter(|own| *own != number) else { continue };
            match decode(block, number) {
                Ok(datagrams) => {
                    let mine = datagrams.into_iter().filter(|(receiver, _)| *receiver == own);
                    for (_, datagram) in mine {
                        aside.take(path, datagram);
                    }
                }
                Err(Empty::Unwritten) => {}
                Err(Empty::Torn) => add(&aside.counters.malformed),
            }
        }
    }
    Ok(())
}

/// A server's block. What does not fit is left out: first those that come last.
fn encode(number: u32, writes: u64, outgoing: &BTreeMap<u32, Vec<u8>>) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut count: u16 = 0;
    for (receiver, datagram) in outgoing {
        let Ok(length) = u16::try_from(datagram.len()) else { continue };
        if HEAD + entries.len() + ENTRY + datagram.len() > BLOCK {
            break;
        }
        entries.extend(receiver.to_be_bytes());
        entries.extend(length.to_be_bytes());
        entries.extend(datagram);
        count += 1;
    }
    let mut block = Vec::with_capacity(BLOCK);
    block.extend(MAGIC);
    block.extend([0; 4]);
    block.extend(writes.to_be_bytes());
    block.extend(number.to_be_bytes());
    block.extend(count.to_be_bytes());
    block.extend(entries);
    block.resize(BLOCK, 0);
    let sum = crc32fast::hash(&block).to_be_bytes();
    block.iter_mut().skip(MAGIC.len()).zip(sum).for_each(|(to, from)| *to = from);
    block
}

/// Why a block says nothing.
#[derive(Debug, PartialEq, Eq)]
enum Empty {
    /// Nobody has ever written it.
    Unwritten,
    /// It was read while it was being written, or is damaged.
    Torn,
}

/// The datagrams in a block, with their receivers' numbers.
fn decode(block: &[u8], number: u32) -> Result<Vec<(u32, &[u8])>, Empty> {
    if block.iter().all(|byte| *byte == 0) {
        return Err(Empty::Unwritten);
    }
    let mut rest = block.strip_prefix(&MAGIC).ok_or(Empty::Torn)?;
    let sum = u32::from_be_bytes(chunk(&mut rest)?);
    let mut zeroed = block.to_vec();
    zeroed.iter_mut().skip(MAGIC.len()).take(4).for_each(|byte| *byte = 0);
    if crc32fast::hash(&zeroed) != sum {
        return Err(Empty::Torn);
    }
    let _writes: [u8; 8] = chunk(&mut rest)?;
    if u32::from_be_bytes(chunk(&mut rest)?) != number {
        return Err(Empty::Torn);
    }
    let count = u16::from_be_bytes(chunk(&mut rest)?);
    let mut datagrams = Vec::new();
    for _ in 0..count {
        let receiver = u32::from_be_bytes(chunk(&mut rest)?);
        let length = usize::from(u16::from_be_bytes(chunk(&mut rest)?));
        let (datagram, more) = rest.split_at_checked(length).ok_or(Empty::Torn)?;
        datagrams.push((receiver, datagram));
        rest = more;
    }
    Ok(datagrams)
}

fn chunk<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Empty> {
    let (first, more) = rest.split_first_chunk().ok_or(Empty::Torn)?;
    *rest = more;
    Ok(*first)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let outgoing = BTreeMap::from([(2, b"to lala".to_vec()), (3, b"to mimi".to_vec())]);
        let block = encode(1, 9, &outgoing);
        assert_eq!(block.len(), BLOCK);
        assert_eq!(decode(&block, 1).unwrap(), [(2, &b"to lala"[..]), (3, b"to mimi")]);
        assert_eq!(decode(&block, 2), Err(Empty::Torn), "in another server's place");
        assert_eq!(decode(&[0; BLOCK], 1), Err(Empty::Unwritten));
    }

    #[test]
    fn a_full_block_holds_what_fits() {
        let outgoing: BTreeMap<u32, Vec<u8>> = (1..64).map(|n| (n, vec![9; 200])).collect();
        let block = encode(1, 1, &outgoing);
        assert_eq!(decode(&block, 1).unwrap().len(), (BLOCK - HEAD) / (ENTRY + 200));
    }

    proptest! {
        #[test]
        fn a_block_of_two_writes_is_torn(sector in 1usize..8) {
            let block = |text: &str, writes| {
                encode(1, writes, &(2..20).map(|n| (n, format!("{text}{n}").repeat(50).into_bytes())).collect())
            };
            let (old, new) = (block("old", 1), block("new", 2));
            let torn = [&new[..sector * 512], &old[sector * 512..]].concat();
            if torn != new {
                prop_assert_eq!(decode(&torn, 1), Err(Empty::Torn));
            }
        }

        #[test]
        fn nothing_that_stands_there_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), BLOCK), sealed in any::<bool>()) {
            let mut block = bytes;
            if sealed {
                block[..8].copy_from_slice(&MAGIC);
                block[8..12].fill(0);
                let sum = crc32fast::hash(&block).to_be_bytes();
                block[8..12].copy_from_slice(&sum);
                block[20..24].copy_from_slice(&1u32.to_be_bytes());
            }
            let _ = decode(&block, 1);
        }
    }
}
