//! Key layout and format version of the sled part.
//!
//! Format 1, the current one:
//!
//! | tree | key | value |
//! |---|---|---|
//! | `meta` | `format` | format version, u32 big endian |
//! | `meta` | `vote`, `committed`, `purged`, `identity` | JSON |
//! | `log` | index (u64 BE), part (u16 BE) | part of one entry, at most [`PART_MAX`] bytes |
//!
//! The parts of an entry, joined, are: length of the JSON (u32 BE), its CRC-32 (u32 BE), the JSON.
//!
//! Format 0 had no `format` key, the trees `raft_meta` (`vote`, `committed`, `purged`) and
//! `raft_log` (index → the whole entry as JSON). It lost large entries with the power, see below.
//!
//! **Why parts.** sled puts a tree node that grows past a quarter of a segment (128 KiB) into a
//! file of its own, which it never syncs. A node holds up to sixteen values before it is split:
//! with values of at most 4 KiB it always stays in the file that we sync.
//!
//! **Why JSON.** Some types of the registry are internally tagged, which formats that do not
//! describe themselves cannot read back.

use std::ops::Range;

/// The format that this version writes.
pub const FORMAT: u32 = 1;
/// Most bytes in one value.
pub const PART_MAX: usize = 4096;
/// Bytes before an entry's JSON.
const HEADER: usize = 8;

pub(crate) const META_TREE: &str = "meta";
pub(crate) const LOG_TREE: &str = "log";
pub(crate) const V0_META_TREE: &str = "raft_meta";
pub(crate) const V0_LOG_TREE: &str = "raft_log";

pub(crate) const FORMAT_KEY: &str = "format";
pub(crate) const VOTE_KEY: &str = "vote";
pub(crate) const COMMITTED_KEY: &str = "committed";
pub(crate) const PURGED_KEY: &str = "purged";
pub(crate) const IDENTITY_KEY: &str = "identity";

/// Key of one part of one entry.
pub(crate) type PartKey = [u8; 10];

pub(crate) fn part_key(index: u64, part: u16) -> PartKey {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&index.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

/// Index and part of a key; `None` when it is not one of ours.
pub(crate) fn read_key(key: &[u8]) -> Option<(u64, u16)> {
    let index = key.get(..8)?.try_into().ok()?;
    let part = key.get(8..)?.try_into().ok()?;
    Some((u64::from_be_bytes(index), u16::from_be_bytes(part)))
}

/// The keys of the entries in `indexes`.
pub(crate) fn key_range(indexes: Range<u64>) -> Range<PartKey> {
    part_key(indexes.start, 0)..part_key(indexes.end, 0)
}

/// The values that keep one entry; `None` when it is too large for the layout (268 MB).
pub(crate) fn split(index: u64, json: &[u8]) -> Option<Vec<(PartKey, Vec<u8>)>> {
    let mut whole = Vec::with_capacity(json.len() + HEADER);
    whole.extend_from_slice(&u32::try_from(json.len()).ok()?.to_be_bytes());
    whole.extend_from_slice(&crc32fast::hash(json).to_be_bytes());
    whole.extend_from_slice(json);
    let part = |(n, bytes): (usize, &[u8])| {
        let n = u16::try_from(n).ok()?;
        Some((part_key(index, n), bytes.to_vec()))
    };
    whole.chunks(PART_MAX).enumerate().map(part).collect()
}

/// The JSON out of an entry's joined parts.
pub(crate) fn join(whole: &[u8]) -> Result<&[u8], &'static str> {
    let (header, json) = whole.split_at_checked(HEADER).ok_or("shorter than its header")?;
    let number = |at: usize| header[at..at + 4].iter().fold(0u32, |n, byte| n << 8 | u32::from(*byte));
    if json.len() != number(0) as usize {
        return Err("some of its parts are missing");
    }
    if crc32fast::hash(json) != number(4) {
        return Err("its checksum does not match");
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn joined(parts: &[(PartKey, Vec<u8>)]) -> Vec<u8> {
        parts.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    #[test]
    fn entries_of_every_size_come_back_from_their_parts() {
        for size in [0, 1, PART_MAX - HEADER - 1, PART_MAX - HEADER, PART_MAX - HEADER + 1, 20_000] {
            let json = vec![b'x'; size];
            let parts = split(7, &json).unwrap();
            assert!(parts.iter().all(|(_, bytes)| bytes.len() <= PART_MAX));
            assert_eq!(parts.len(), (size + HEADER).div_ceil(PART_MAX));
            assert_eq!(read_key(&parts[0].0), Some((7, 0)));
            assert_eq!(join(&joined(&parts)), Ok(&json[..]));
        }
    }

    #[test]
    fn missing_and_changed_parts_are_noticed() {
        let mut parts = split(7, &vec![b'x'; 9000]).unwrap();
        parts[1].1[5] = b'y';
        assert_eq!(join(&joined(&parts)), Err("its checksum does not match"));
        parts.remove(1);
        assert_eq!(join(&joined(&parts)), Err("some of its parts are missing"));
        assert_eq!(join(b"abc"), Err("shorter than its header"));
    }
}
