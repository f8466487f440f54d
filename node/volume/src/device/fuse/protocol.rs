//! The few words of the FUSE protocol that one file needs. Everything is in the machine's byte order.
//! Source: the kernel's `include/uapi/linux/fuse.h`, version 7.31 and what later ones kept.

/// Bytes before every request.
pub(super) const IN_HEADER: usize = 40;
/// Bytes between that and the data of a write.
pub(super) const WRITE_HEADER: usize = 40;
/// The longest read or write, in bytes.
pub(super) const LONGEST: usize = 1024 * 1024;
/// Reads and writes that the kernel may have under way at once.
const UNDER_WAY: u16 = 128;

/// What the kernel asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The first word: the kernel's version and what it can do.
    Init { major: u32, minor: u32, flags: u32 },
    /// How large the file is, and so on.
    Attributes,
    /// Open it.
    Open,
    /// Read.
    Read { offset: u64, length: u32 },
    /// Write so much of what follows.
    Write { offset: u64, length: u32 },
    /// Bring it to the disks.
    Sync,
    /// Give space up, or make zeroes.
    Allocate { offset: u64, length: u64, mode: u32 },
    /// How large the file system is.
    FileSystem,
    /// Nobody has it open any more.
    Release,
    /// The file system goes away.
    Destroy,
    /// Nobody waits for an answer.
    Nothing,
    /// Something that one file does not need; the kernel does not ask again.
    Unknown,
}

/// Punch a hole.
pub(super) const PUNCH_HOLE: u32 = 0x02;
/// Make zeroes, and keep the space.
pub(super) const ZERO_RANGE: u32 = 0x10;
/// The size stays.
pub(super) const KEEP_SIZE: u32 = 0x01;

/// A request's number, and what it asks. `None`: it is shorter than it says.
pub(super) fn read(bytes: &[u8]) -> Option<(u64, Asked)> {
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    if word(0)? as usize != bytes.len() {
        return None;
    }
    let body = IN_HEADER;
    let asked = match word(4)? {
        2 | 36 | 42 => Asked::Nothing,
        3 | 4 => Asked::Attributes,
        14 => Asked::Open,
        15 => Asked::Read { offset: long(body + 8)?, length: word(body + 16)? },
        16 => {
            let length = word(body + 16)?;
            if bytes.len() != body + WRITE_HEADER + length as usize {
                return None;
            }
            Asked::Write { offset: long(body + 8)?, length }
        }
        17 => Asked::FileSystem,
        18 => Asked::Release,
        20 => Asked::Sync,
        26 => Asked::Init { major: word(body)?, minor: word(body + 4)?, flags: word(body + 12)? },
        38 => Asked::Destroy,
        43 => Asked::Allocate { offset: long(body + 8)?, length: long(body + 16)?, mode: word(body + 24)? },
        _ => Asked::Unknown,
    };
    Some((long(8)?, asked))
}

/// The head of an answer with so many bytes behind it; `error` is zero or a number of errno.
pub(super) fn head(number: u64, error: i32, behind: usize) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[0..4].copy_from_slice(&(16 + behind as u32).to_ne_bytes());
    bytes[4..8].copy_from_slice(&(-error).to_ne_bytes());
    bytes[8..16].copy_from_slice(&number.to_ne_bytes());
    bytes
}

/// What we say to `Init`: 7.31, and of what the kernel offers the parts that reads and writes of many
/// pages side by side need.
pub(super) fn init(offered: u32) -> Vec<u8> {
    const ASYNC_READ: u32 = 1;
    const BIG_WRITES: u32 = 1 << 5;
    const ASYNC_DIRECT_IO: u32 = 1 << 15;
    const MAX_PAGES: u32 = 1 << 22;
    let flags = offered & (ASYNC_READ | BIG_WRITES | ASYNC_DIRECT_IO | MAX_PAGES);
    let mut out = Vec::with_capacity(64);
    for word in [7, 31, LONGEST as u32, flags] {
        out.extend_from_slice(&u32::to_ne_bytes(word));
    }
    out.extend_from_slice(&UNDER_WAY.to_ne_bytes());
    out.extend_from_slice(&(UNDER_WAY / 4 * 3).to_ne_bytes());
    out.extend_from_slice(&(LONGEST as u32).to_ne_bytes());
    out.extend_from_slice(&1_u32.to_ne_bytes());
    out.extend_from_slice(&((LONGEST / 4096) as u16).to_ne_bytes());
    out.resize(64, 0);
    out
}

/// The file: a regular one of this size, only root's.
pub(super) fn attributes(size: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(104);
    // The size is read again by whoever resizes: nothing of it may be remembered.
    out.extend_from_slice(&[0; 16]);
    for long in [1, size, size / 512, 0, 0, 0] {
        out.extend_from_slice(&u64::to_ne_bytes(long));
    }
    for word in [0, 0, 0, 0o100_600, 1, 0, 0, 0, 4096, 0] {
        out.extend_from_slice(&u32::to_ne_bytes(word));
    }
    out
}

/// An open file: past the page cache, writes side by side, and nothing is asked when it is closed. A
/// process that is killed closes its files before its end of FUSE: it would wait for its own answer.
pub(super) fn opened() -> Vec<u8> {
    const DIRECT_IO: u32 = 1;
    const NO_FLUSH: u32 = 1 << 5;
    const PARALLEL_DIRECT_WRITES: u32 = 1 << 6;
    let mut out = vec![0; 16];
    out[8..12].copy_from_slice(&(DIRECT_IO | NO_FLUSH | PARALLEL_DIRECT_WRITES).to_ne_bytes());
    out
}

/// How much was written.
pub(super) fn written(length: u32) -> Vec<u8> {
    let mut out = vec![0; 8];
    out[0..4].copy_from_slice(&length.to_ne_bytes());
    out
}

/// The file system: its block size is the loop device's granularity of discards.
pub(super) fn file_system(size: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(80);
    for long in [size / 4096, 0, 0, 1, 0] {
        out.extend_from_slice(&u64::to_ne_bytes(long));
    }
    for word in [4096, 255, 4096] {
        out.extend_from_slice(&u32::to_ne_bytes(word));
    }
    out.resize(80, 0);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(opcode: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; IN_HEADER];
        bytes[0..4].copy_from_slice(&((IN_HEADER + body.len()) as u32).to_ne_bytes());
        bytes[4..8].copy_from_slice(&opcode.to_ne_bytes());
        bytes[8..16].copy_from_slice(&77_u64.to_ne_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn a_write_names_its_place_and_carries_its_data() {
        let mut body = vec![0; WRITE_HEADER];
        body[8..16].copy_from_slice(&8192_u64.to_ne_bytes());
        body[16..20].copy_from_slice(&3_u32.to_ne_bytes());
        body.extend_from_slice(b"abc");
        assert_eq!(read(&request(16, &body)), Some((77, Asked::Write { offset: 8192, length: 3 })));
        body.pop();
        assert_eq!(read(&request(16, &body)), None, "data are missing");
    }

    #[test]
    fn answers_are_as_long_as_the_kernel_expects() {
        assert_eq!(init(u32::MAX).len(), 64);
        assert_eq!(attributes(1).len(), 104);
        assert_eq!(opened().len(), 16);
        assert_eq!(written(1).len(), 8);
        assert_eq!(file_system(1).len(), 80);
    }

    proptest! {
        #[test]
        fn garbage_is_no_reason_to_fall(bytes in proptest::collection::vec(any::<u8>(), 0..200), opcode in 0_u32..60) {
            let _whatever = read(&bytes);
            let request = request(opcode, &bytes);
            if let Some((number, _)) = read(&request) {
                prop_assert_eq!(number, 77);
            }
        }
    }
}
