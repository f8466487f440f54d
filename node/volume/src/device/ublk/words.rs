//! The words of ublk. Everything is in the machine's byte order. Source: the kernel's
//! `include/uapi/linux/ublk_cmd.h`.

/// Bytes of a descriptor.
pub(super) const DESCRIPTOR: usize = 24;
/// Requests under way at once.
pub(super) const DEPTH: u16 = 128;
/// The longest request, in bytes.
pub(super) const LONGEST: u32 = 1024 * 1024;
/// Where the data of requests begin in the character device.
const BUFFERS: u64 = 0x8000_0000;
/// Bits of a request's place there.
const BUFFER_BITS: u32 = 25;

const READS: u32 = 2 << 30;
const WRITES: u32 = 1 << 30;

const fn encoded(direction: u32, length: u32, number: u32) -> u32 {
    direction | length << 16 | (b'u' as u32) << 8 | number
}

/// Commands to `/dev/ublk-control`.
pub(super) mod control {
    use super::{READS, WRITES, encoded};

    const LENGTH: u32 = 32;
    pub(crate) const GET_DEVICE_INFO: u32 = encoded(READS, LENGTH, 0x02);
    pub(crate) const ADD_DEVICE: u32 = encoded(READS | WRITES, LENGTH, 0x04);
    pub(crate) const DELETE_DEVICE: u32 = encoded(READS | WRITES, LENGTH, 0x05);
    pub(crate) const START_DEVICE: u32 = encoded(READS | WRITES, LENGTH, 0x06);
    pub(crate) const STOP_DEVICE: u32 = encoded(READS | WRITES, LENGTH, 0x07);
    pub(crate) const SET_PARAMETERS: u32 = encoded(READS | WRITES, LENGTH, 0x08);
    pub(crate) const START_RECOVERY: u32 = encoded(READS | WRITES, LENGTH, 0x10);
    pub(crate) const END_RECOVERY: u32 = encoded(READS | WRITES, LENGTH, 0x11);
    /// Returns at once; the driver deletes when nobody has the device open.
    pub(crate) const DELETE_DEVICE_LATER: u32 = encoded(READS, LENGTH, 0x14);
    pub(crate) const UPDATE_SIZE: u32 = encoded(READS | WRITES, LENGTH, 0x15);
}

/// Give me a request.
pub(super) const FETCH: u32 = encoded(READS | WRITES, 16, 0x20);
/// This one is done; give me the next.
pub(super) const COMMIT_AND_FETCH: u32 = encoded(READS | WRITES, 16, 0x21);

/// The device waits for another server when its own ends, and asks again what was under way; commands
/// are encoded as here; data are copied by reads and writes.
const FLAGS: u64 = 8 | 16 | 64 | 128;

/// `struct ublksrv_ctrl_cmd`.
#[derive(Clone, Copy, Default)]
pub(super) struct Control {
    pub(super) device: u32,
    pub(super) length: u16,
    pub(super) address: u64,
    pub(super) data: u64,
}

impl Control {
    pub(super) fn of(device: u32) -> Self {
        Self { device, ..Self::default() }
    }

    pub(super) fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[0..4].copy_from_slice(&self.device.to_ne_bytes());
        bytes[4..6].copy_from_slice(&u16::MAX.to_ne_bytes());
        bytes[6..8].copy_from_slice(&self.length.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.address.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.data.to_ne_bytes());
        bytes
    }
}

/// What we need of `struct ublksrv_ctrl_dev_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Info {
    /// Its number.
    pub(super) device: u32,
    /// It waits for another server.
    pub(super) waits: bool,
    /// It can all that was wished.
    pub(super) able: bool,
    /// A word of ours, by which the device is known again.
    pub(super) mark: u64,
}

/// Bytes of `struct ublksrv_ctrl_dev_info`.
pub(super) const INFO: usize = 64;

impl Info {
    /// For a new device, under whatever number is free.
    pub(super) fn wished(mark: u64) -> [u8; INFO] {
        let mut bytes = [0; INFO];
        bytes[0..2].copy_from_slice(&1_u16.to_ne_bytes());
        bytes[2..4].copy_from_slice(&DEPTH.to_ne_bytes());
        bytes[8..12].copy_from_slice(&LONGEST.to_ne_bytes());
        bytes[12..16].copy_from_slice(&u32::MAX.to_ne_bytes());
        bytes[24..32].copy_from_slice(&FLAGS.to_ne_bytes());
        bytes[32..40].copy_from_slice(&mark.to_ne_bytes());
        bytes
    }

    pub(super) fn read(bytes: &[u8; INFO]) -> Self {
        let (mut flags, mut mark) = ([0; 8], [0; 8]);
        flags.copy_from_slice(&bytes[24..32]);
        mark.copy_from_slice(&bytes[32..40]);
        Self {
            device: u32::from_ne_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]),
            waits: u16::from_ne_bytes([bytes[4], bytes[5]]) == 2,
            able: u64::from_ne_bytes(flags) & FLAGS == FLAGS,
            mark: u64::from_ne_bytes(mark),
        }
    }
}

/// `struct ublk_params`: a disk with a cache to flush, single flushed writes, discards and zeroes.
pub(super) fn parameters(size: u64, block: u32) -> Vec<u8> {
    const BASIC: u32 = 1;
    const DISCARD: u32 = 2;
    const CACHE: u32 = 4;
    const FUA: u32 = 8;
    let mut bytes = Vec::with_capacity(60);
    for word in [60, BASIC | DISCARD, CACHE | FUA] {
        bytes.extend_from_slice(&u32::to_ne_bytes(word));
    }
    bytes.extend_from_slice(&[block.trailing_zeros() as u8, 12, 12, 12]);
    for word in [LONGEST >> 9, 0] {
        bytes.extend_from_slice(&u32::to_ne_bytes(word));
    }
    for long in [size >> 9, 0] {
        bytes.extend_from_slice(&u64::to_ne_bytes(long));
    }
    for word in [4096, 4096, u32::MAX >> 9, u32::MAX >> 9] {
        bytes.extend_from_slice(&u32::to_ne_bytes(word));
    }
    bytes.extend_from_slice(&[1, 0, 0, 0]);
    bytes
}

/// What a request says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) operation: u8,
    pub(super) durable: bool,
    pub(super) keeps_space: bool,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl Described {
    pub(super) const READ: u8 = 0;
    pub(super) const WRITE: u8 = 1;
    pub(super) const FLUSH: u8 = 2;
    pub(super) const DISCARD: u8 = 3;
    pub(super) const WRITE_ZEROES: u8 = 5;

    pub(super) fn read(bytes: &[u8; DESCRIPTOR]) -> Self {
        let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut sector = [0; 8];
        sector.copy_from_slice(&bytes[8..16]);
        Self {
            operation: word(0) as u8,
            durable: word(0) & 1 << 13 != 0,
            keeps_space: word(0) & 1 << 15 != 0,
            offset: u64::from_ne_bytes(sector) << 9,
            length: u64::from(word(4)) << 9,
        }
    }
}

/// `struct ublksrv_io_cmd` of the one queue.
pub(super) fn command(tag: u16, result: i32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[2..4].copy_from_slice(&tag.to_ne_bytes());
    bytes[4..8].copy_from_slice(&result.to_ne_bytes());
    bytes
}

/// Where the data of a request are in the character device.
pub(super) fn data_at(tag: u16) -> u64 {
    BUFFERS + (u64::from(tag) << BUFFER_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_as_long_as_the_kernel_expects() {
        assert_eq!(parameters(1 << 30, 4096).len(), 60);
        assert_eq!(control::ADD_DEVICE, 0xc020_7504);
        assert_eq!(control::GET_DEVICE_INFO, 0x8020_7502);
        assert_eq!(FETCH, 0xc010_7520);
    }

    #[test]
    fn a_wish_is_read_back_and_waits_for_nobody() {
        let mut wished = Info::wished(0x1234_5678_9abc);
        let info = Info { device: u32::MAX, waits: false, able: true, mark: 0x1234_5678_9abc };
        assert_eq!(Info::read(&wished), info);
        // A driver that cannot copy data by reads and writes takes that flag away.
        wished[24] &= !128;
        assert!(!Info::read(&wished).able);
    }

    #[test]
    fn a_request_tells_what_it_is() {
        let mut bytes = [0; DESCRIPTOR];
        bytes[0..4].copy_from_slice(&(1_u32 | 1 << 13).to_ne_bytes());
        bytes[4..8].copy_from_slice(&8_u32.to_ne_bytes());
        bytes[8..16].copy_from_slice(&16_u64.to_ne_bytes());
        let expected = Described {
            operation: Described::WRITE,
            durable: true,
            keeps_space: false,
            offset: 8192,
            length: 4096,
        };
        assert_eq!(Described::read(&bytes), expected);
    }
}
