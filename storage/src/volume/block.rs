//! One block of a management area: 4096 bytes with a seal, so that a torn, foreign or misplaced one is
//! recognised.
//!
//! ```text
//!  0  magic     "TASUKIMD"       40  number      u32, of the page
//!  8  format    u16              44  tenure      u32, which holder of the place it is of
//! 10  kind      u16              48  length      u32, of the payload
//! 12  place     u32              52  checksum    u32, CRC-32 over everything else
//! 16  area id   16 bytes         56  superblock  u64, the newest when this was written
//! 32  sequence  u64, grows       64  payload
//! ```

use super::layout::{BLOCK, FORMAT, HEAD};

const MAGIC: &[u8; 8] = b"TASUKIMD";

/// The longest payload.
pub const PAYLOAD: usize = BLOCK - HEAD;

/// Names a management area since it was made: blocks from before are not its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AreaId(pub [u8; 16]);

impl AreaId {
    /// One that nobody else has.
    pub fn fresh() -> std::io::Result<Self> {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        let mut id = [0; 16];
        let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
        for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
            *byte = pair.iter().fold(0, |sum, digit| sum << 4 | u8::try_from(*digit).unwrap_or_default());
        }
        Ok(Self(id))
    }
}

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whose the copy is.
    Superblock = 1,
    /// The activity log's table.
    Log = 2,
    /// A page of a dirty map.
    Map = 3,
}

/// A block's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What it is for.
    pub kind: Kind,
    /// Of which area.
    pub area: AreaId,
    /// Which of several: place in the ring, or peer.
    pub place: u32,
    /// Which page.
    pub number: u32,
    /// Which holder of the place.
    pub tenure: u32,
    /// Which writing.
    pub sequence: u64,
    /// The newest superblock when this was written.
    pub superblock: u64,
}

/// What was found where a block should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Zeroes: never written.
    Blank,
    /// As it was written.
    Whole(Head, Vec<u8>),
    /// Written half-way, or damaged later. A first writing that was torn may have no head yet.
    Torn,
    /// Written by a newer version of Tasuki.
    Newer(u16),
    /// Something else.
    Strange,
}

/// Makes a block. `None`: the payload is too long.
pub fn seal(head: &Head, payload: &[u8]) -> Option<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    block.get_mut(HEAD..HEAD + payload.len())?.copy_from_slice(payload);
    put(&mut block, 0, MAGIC);
    put(&mut block, 8, &FORMAT.to_le_bytes());
    put(&mut block, 10, &(head.kind as u16).to_le_bytes());
    put(&mut block, 12, &head.place.to_le_bytes());
    put(&mut block, 16, &head.area.0);
    put(&mut block, 32, &head.sequence.to_le_bytes());
    put(&mut block, 40, &head.number.to_le_bytes());
    put(&mut block, 44, &head.tenure.to_le_bytes());
    put(&mut block, 48, &u32::try_from(payload.len()).ok()?.to_le_bytes());
    put(&mut block, 56, &head.superblock.to_le_bytes());
    let sum = checksum(&block);
    put(&mut block, 52, &sum.to_le_bytes());
    Some(block)
}

/// Looks at a block that should be of this kind.
pub fn open(kind: Kind, block: &[u8]) -> Found {
    if block.iter().all(|byte| *byte == 0) {
        return Found::Blank;
    }
    if block.len() != BLOCK {
        return Found::Strange;
    }
    if get::<8>(block, 0) != *MAGIC {
        // A disk writes sectors of 512 bytes whole: the first of a torn first writing may still be blank.
        let first = block.get(..512).unwrap_or_default();
        return if first.iter().all(|byte| *byte == 0) { Found::Torn } else { Found::Strange };
    }
    let format = u16::from_le_bytes(get(block, 8));
    if format > FORMAT {
        return Found::Newer(format);
    }
    let length = usize::try_from(u32::from_le_bytes(get(block, 48))).unwrap_or(usize::MAX);
    let Some(payload) = block.get(HEAD..HEAD.saturating_add(length)) else { return Found::Torn };
    if u32::from_le_bytes(get(block, 52)) != checksum(block) {
        return Found::Torn;
    }
    if u16::from_le_bytes(get(block, 10)) != kind as u16 {
        return Found::Strange;
    }
    let head = Head {
        kind,
        area: AreaId(get(block, 16)),
        place: u32::from_le_bytes(get(block, 12)),
        number: u32::from_le_bytes(get(block, 40)),
        tenure: u32::from_le_bytes(get(block, 44)),
        sequence: u64::from_le_bytes(get(block, 32)),
        superblock: u64::from_le_bytes(get(block, 56)),
    };
    Found::Whole(head, payload.to_vec())
}

fn checksum(block: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(block.get(..52).unwrap_or_default());
    sum.update(block.get(56..).unwrap_or_default());
    sum.finalize()
}

fn put(block: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = block.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn get<const N: usize>(block: &[u8], at: usize) -> [u8; N] {
    block.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn head(sequence: u64) -> Head {
        let area = AreaId([7; 16]);
        Head { kind: Kind::Log, area, place: 3, number: 9, tenure: 2, sequence, superblock: 5 }
    }

    #[test]
    fn what_was_sealed_is_found_again_and_any_change_of_it_is_noticed() {
        let block = seal(&head(4), b"regions").unwrap();
        assert_eq!(open(Kind::Log, &block), Found::Whole(head(4), b"regions".to_vec()));
        assert_eq!(open(Kind::Map, &block), Found::Strange);
        assert_eq!(open(Kind::Log, &[0; BLOCK]), Found::Blank);
        for byte in 0..BLOCK {
            let mut damaged = block;
            damaged[byte] ^= 0x10;
            assert!(!matches!(open(Kind::Log, &damaged), Found::Whole(..)), "byte {byte}");
        }
        assert!(seal(&head(4), &[0; PAYLOAD + 1]).is_none());
    }

    /// At every byte, so that it does not matter what the disk writes whole.
    #[test]
    fn a_block_that_was_written_half_way_is_never_whole() {
        let (old, new) = (seal(&head(9), &[b'x'; PAYLOAD]).unwrap(), seal(&head(10), b"new").unwrap());
        for cut in 1..BLOCK {
            for (front, back) in [(&new, &old), (&old, &new)] {
                let mut torn = *back;
                torn[..cut].copy_from_slice(&front[..cut]);
                if torn != *front && torn != *back {
                    assert!(!matches!(open(Kind::Log, &torn), Found::Whole(..)), "{cut} bytes");
                }
            }
        }
    }

    #[test]
    fn a_first_writing_without_its_first_sector_is_torn_and_not_somebody_elses() {
        let mut block = seal(&head(1), &[b'x'; PAYLOAD]).unwrap();
        block[..512].fill(0);
        assert_eq!(open(Kind::Log, &block), Found::Torn);
        block[1] = 1;
        assert_eq!(open(Kind::Log, &block), Found::Strange);
    }
}
