//! Where what stands in a voting file, and its header.

use std::fmt;

use serde::{Deserialize, Serialize};
use tasuki_core::{ids::Lineage, time::WallTime};

use super::paxos::SLOTS;

/// Bytes of a block: what disks write at once, or a multiple of it.
pub const BLOCK: usize = 4096;
/// The format that this program writes.
pub const FORMAT: u16 = 1;
/// Blocks: the header, a beat for each slot, and two for each slot's part of the register.
pub const BLOCKS: u64 = 1 + 3 * SLOTS as u64;
/// Bytes of a voting file at least.
pub const LEAST: u64 = 1 << 20;

/// The block of a slot's beat. Slots count from 1.
#[must_use]
pub fn beat(slot: u32) -> u64 {
    u64::from(slot)
}

/// The blocks of a slot's part of the register; written in turn, so that the one before survives a
/// torn write.
#[must_use]
pub fn register(slot: u32, copy: u64) -> u64 {
    1 + u64::from(SLOTS) + 2 * u64::from(slot - 1) + copy % 2
}

/// The slot of a store: Raft ids are given out once, so no two living stores share one as long as
/// fewer than sixty-four later ones have been given out.
#[must_use]
pub fn slot_of(raft_id: u64) -> u32 {
    u32::try_from(raft_id.saturating_sub(1) % u64::from(SLOTS)).unwrap_or_default() + 1
}

/// Names a voting file since it was last initialised: blocks from before are not its own.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct FileId(pub [u8; 16]);

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<FileId> for String {
    fn from(id: FileId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for FileId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut id = [0; 16];
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return Err(format!("`{text}` is no file id"));
        }
        for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            *byte = u8::from_str_radix(pair, 16).map_err(|_| format!("`{text}` is no file id"))?;
        }
        Ok(Self(id))
    }
}

/// The first block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Of which registry: another's is refused (R24).
    pub lineage: Lineage,
    /// Of which cluster, for people.
    pub cluster: String,
    /// Its name.
    pub id: FileId,
    /// Blocks for so many servers.
    pub slots: u32,
    /// When it was initialised.
    pub created: WallTime,
    /// It was taken out of the configuration: it may be initialised again, by any cluster.
    #[serde(default)]
    pub retired: bool,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn r18_no_two_blocks_share_a_place() {
        let mut places = BTreeSet::from([0]);
        for slot in 1..=SLOTS {
            for place in [beat(slot), register(slot, 0), register(slot, 1)] {
                assert!(places.insert(place) && place < BLOCKS, "slot {slot}, block {place}");
            }
        }
        assert!(BLOCKS * BLOCK as u64 <= LEAST);
        assert_eq!((slot_of(1), slot_of(64), slot_of(65)), (1, 64, 1));
    }

    #[test]
    fn file_ids_are_read_as_they_are_written() {
        let id = FileId([0xa5; 16]);
        assert_eq!(FileId::try_from(id.to_string()), Ok(id));
        assert!(FileId::try_from("a5".to_owned()).is_err());
        assert!(FileId::try_from("é".repeat(16)).is_err());
    }
}
