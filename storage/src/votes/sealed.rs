//! One block of a voting file: 4096 bytes with a seal, so that a torn, foreign or stale one is
//! recognised.
//!
//! ```text
//!  0  magic      "TASUKIVB"      32  sequence  u64, grows with each writing of this block
//!  8  format     u16             40  length    u32, of the payload
//! 10  kind       u16             44  checksum  u32, CRC-32 over everything else
//! 12  slot       u32             48  payload   JSON
//! 16  file id    16 bytes
//! ```

use super::{
    error::VoteError,
    layout::{BLOCK, FORMAT, FileId},
};

const MAGIC: &[u8; 8] = b"TASUKIVB";
const HEAD: usize = 48;

/// The longest payload of a block.
pub const PAYLOAD: usize = BLOCK - HEAD;

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first block of the file.
    Header,
    /// A server's disk beat.
    Beat,
    /// A server's part of the register.
    Register,
}

impl Kind {
    fn number(self) -> u16 {
        match self {
            Self::Header => 1,
            Self::Beat => 2,
            Self::Register => 3,
        }
    }
}

/// What was found where a block should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Zeros: never written.
    Blank,
    /// As it was written.
    Whole {
        /// Of which file.
        file: FileId,
        /// Which writing.
        seq: u64,
        /// Its content.
        payload: Vec<u8>,
    },
    /// Written half-way, or damaged later.
    Torn,
    /// Written by a newer version of Tasuki.
    Newer(u16),
    /// Something else, or of another slot.
    Strange,
}

/// Makes a block.
///
/// # Errors
/// When the payload does not fit.
pub fn seal(kind: Kind, file: FileId, slot: u32, seq: u64, payload: &[u8]) -> Result<[u8; BLOCK], VoteError> {
    let mut block = [0; BLOCK];
    let too_long = || VoteError::TooLong { length: payload.len(), most: PAYLOAD };
    let length = u32::try_from(payload.len()).map_err(|_| too_long())?;
    let place = block.get_mut(HEAD..HEAD + payload.len()).ok_or_else(too_long)?;
    place.copy_from_slice(payload);
    put(&mut block, 0, MAGIC);
    put(&mut block, 8, &FORMAT.to_le_bytes());
    put(&mut block, 10, &kind.number().to_le_bytes());
    put(&mut block, 12, &slot.to_le_bytes());
    put(&mut block, 16, &file.0);
    put(&mut block, 32, &seq.to_le_bytes());
    put(&mut block, 40, &length.to_le_bytes());
    let sum = checksum(&block);
    put(&mut block, 44, &sum.to_le_bytes());
    Ok(block)
}

/// Looks at a block.
#[must_use]
pub fn open(kind: Kind, slot: u32, block: &[u8]) -> Found {
    if block.iter().all(|byte| *byte == 0) {
        return Found::Blank;
    }
    if block.len() != BLOCK || get::<8>(block, 0) != *MAGIC {
        return Found::Strange;
    }
    let format = u16::from_le_bytes(get(block, 8));
    if format > FORMAT {
        return Found::Newer(format);
    }
    if u32::from_le_bytes(get(block, 44)) != checksum(block) {
        return Found::Torn;
    }
    if u16::from_le_bytes(get(block, 10)) != kind.number() || u32::from_le_bytes(get(block, 12)) != slot {
        return Found::Strange;
    }
    let length = usize::try_from(u32::from_le_bytes(get(block, 40))).unwrap_or(usize::MAX);
    let end = HEAD.saturating_add(length);
    let Some(payload) = block.get(HEAD..end) else { return Found::Torn };
    let (file, seq) = (FileId(get(block, 16)), u64::from_le_bytes(get(block, 32)));
    Found::Whole { file, seq, payload: payload.to_vec() }
}

fn checksum(block: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(block.get(..44).unwrap_or_default());
    sum.update(block.get(HEAD..).unwrap_or_default());
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

    const FILE: FileId = FileId([7; 16]);

    #[test]
    fn r18_what_was_sealed_is_found_again_and_any_change_of_it_is_noticed() {
        let block = seal(Kind::Beat, FILE, 3, 9, b"here").unwrap();
        let whole = Found::Whole { file: FILE, seq: 9, payload: b"here".to_vec() };
        assert_eq!(open(Kind::Beat, 3, &block), whole);
        assert_eq!(open(Kind::Beat, 4, &block), Found::Strange);
        assert_eq!(open(Kind::Register, 3, &block), Found::Strange);
        assert_eq!(open(Kind::Beat, 3, &[0; BLOCK]), Found::Blank);
        for byte in 0..BLOCK {
            let mut damaged = block;
            damaged[byte] ^= 0x10;
            assert!(!matches!(open(Kind::Beat, 3, &damaged), Found::Whole { .. }), "byte {byte}");
        }
    }

    #[test]
    fn r18_a_block_that_was_written_half_way_is_torn() {
        let long = vec![b'x'; PAYLOAD];
        let (old, new) = (seal(Kind::Beat, FILE, 3, 9, &long), seal(Kind::Beat, FILE, 3, 10, b"new"));
        let (old, new) = (old.unwrap(), new.unwrap());
        for sectors in 1..8 {
            let mut torn = old;
            torn[..sectors * 512].copy_from_slice(&new[..sectors * 512]);
            assert_eq!(open(Kind::Beat, 3, &torn), Found::Torn, "{sectors} sectors");
        }
        assert!(seal(Kind::Beat, FILE, 3, 1, &[0; PAYLOAD + 1]).is_err());
    }
}
