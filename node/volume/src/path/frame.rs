//! What primary and secondary say to each other. Every frame has the epoch of the primary (R31), a
//! number that counts up by one in each direction, and a checksum over all of it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tasuki_core::{
    config::Compression,
    ids::{Epoch, ServerName, VolumeName},
    mirror::{
        geometry::Geometry,
        handshake::{Hello, Unwelcome, Welcome},
        history::History,
        wire,
    },
};

use super::stream::Packet;

/// The most bytes of data in one frame.
pub const FRAME_LIMIT: usize = 1024 * 1024;
/// Data shorter than this is not worth compressing.
const PACK_FROM: usize = 512;

/// How frames are said on one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speech {
    /// The version that both sides understand.
    pub wire: u32,
    /// How data is made smaller.
    pub compression: Compression,
}

impl Speech {
    /// Of greetings, and of the answers to them: every version understands it.
    pub const GREETING: Self = Self { wire: wire::FIRST, compression: Compression::None };
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Under which epoch of the volume.
    pub epoch: Epoch,
    /// Its number in its direction; the first is one.
    pub number: u64,
    /// What it says.
    pub body: Body,
    /// The data that belongs to it.
    pub data: Bytes,
}

/// What a frame says. Offsets and lengths are in bytes, spans of extents are first and one past the
/// last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    // From the primary.
    /// The first frame.
    Hello(Hello),
    /// Write the data there. With `record` the primary has no disk: note what it lacks (R27).
    Write {
        /// Where.
        offset: u64,
        /// Note it in the primary's dirty map.
        record: bool,
    },
    /// Give this up; it reads as zeroes afterwards.
    Trim {
        /// From where.
        offset: u64,
        /// How much.
        length: u64,
        /// Note it in the primary's dirty map.
        record: bool,
    },
    /// Make this zeroes.
    Zero {
        /// From where.
        offset: u64,
        /// How much.
        length: u64,
        /// Its space may be given up.
        may_trim: bool,
        /// Note it in the primary's dirty map.
        record: bool,
    },
    /// What came before this is to be on the disk (R32).
    Flush,
    /// The lineage that the copy has from here on, durably; it is in step with the primary.
    Adopt(History),
    /// The primary lost its disk: it lacks these extents (R27). Durable when answered.
    Record(Vec<(u64, u64)>),
    /// Read this for a primary without a disk, or to compare.
    Read {
        /// From where.
        offset: u64,
        /// How much.
        length: u32,
    },
    /// A resync begins (R30): be `Inconsistent` durably, say which extents the own maps and log name.
    /// The answer's data is a token by which a stream beside this one is known, or nothing.
    SyncBegin {
        /// All will be copied.
        full: bool,
        /// Save what the named extents hold aside first.
        save: bool,
    },
    /// A block of a resync.
    SyncBlock {
        /// Where.
        offset: u64,
    },
    /// The same, but all of it is zeroes.
    SyncZero {
        /// From where.
        offset: u64,
        /// How much.
        length: u64,
    },
    /// The checksums of so many bytes, one for each `chunk`.
    Sums {
        /// From where.
        offset: u64,
        /// How much.
        length: u32,
        /// Bytes for each checksum.
        chunk: u32,
    },
    /// All has been copied: flush, forget maps and log, be of this lineage and whole.
    SyncEnd(History),

    // From the secondary.
    /// Let in.
    Welcome(Welcome),
    /// Not let in.
    Unwelcome(Unwelcome),
    /// Every write, trim and block up to this number has been done.
    Done {
        /// The last one.
        through: u64,
    },
    /// Every flush up to this number, and what came before it, is on the disk.
    Flushed {
        /// The last one.
        through: u64,
    },
    /// Some of the answer to a question: extents that maps and log name.
    Extents {
        /// The number of the question.
        of: u64,
        /// Spans.
        spans: Vec<(u64, u64)>,
    },
    /// The answer to a question, or its end; checksums or bytes are in the data.
    Answer {
        /// The number of the question.
        of: u64,
    },
    /// The disk has failed; the stream ends.
    Failed(String),

    // From the primary again; what is new comes last.
    /// How large the data area is: eight bytes, little-endian.
    Measure,
    /// The volume has this geometry from here on. Durable when answered.
    Resize(Geometry),
    /// The first frame of a stream beside a session's first one: blocks of a resync and what is asked
    /// for it.
    Beside {
        /// The volume.
        volume: VolumeName,
        /// Who calls.
        primary: ServerName,
        /// What the session's peer answered to `SyncBegin`.
        token: Vec<u8>,
    },
}

impl Body {
    /// The version of the frames that brought this. What is new gets a number here that is above
    /// [`Wires::OURS`](tasuki_core::mirror::wire::Wires::OURS)' newest of before, and whoever says it looks
    /// first whether the stream's version has it.
    #[must_use]
    pub fn since(&self) -> u32 {
        match self {
            Self::Hello(_)
            | Self::Write { .. }
            | Self::Trim { .. }
            | Self::Zero { .. }
            | Self::Flush
            | Self::Adopt(_)
            | Self::Record(_)
            | Self::Read { .. }
            | Self::SyncBegin { .. }
            | Self::SyncBlock { .. }
            | Self::SyncZero { .. }
            | Self::Sums { .. }
            | Self::SyncEnd(_)
            | Self::Welcome(_)
            | Self::Unwelcome(_)
            | Self::Done { .. }
            | Self::Flushed { .. }
            | Self::Extents { .. }
            | Self::Answer { .. }
            | Self::Failed(_)
            | Self::Measure
            | Self::Resize(_)
            | Self::Beside { .. } => wire::FIRST,
        }
    }
}

/// How a frame's data was made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Packing {
    Plain,
    Lz4(u32),
    Zstd(u32),
}

#[derive(Serialize, Deserialize)]
struct Header {
    epoch: u64,
    number: u64,
    packing: Packing,
    body: Body,
}

/// Why a packet is no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// Damaged on the way.
    #[error("a frame's checksum is wrong")]
    Checksum,
    /// It cannot be read.
    #[error("a frame cannot be read: {0}")]
    Unreadable(String),
}

/// The packet for a frame.
#[must_use]
pub fn encode(frame: Frame, speech: Speech) -> Packet {
    debug_assert!(frame.body.since() <= speech.wire, "version {} has no {:?}", speech.wire, frame.body);
    let (packing, data) = pack(frame.data, speech.compression);
    let header = Header { epoch: frame.epoch.0, number: frame.number, packing, body: frame.body };
    // A header consists of numbers, words and lists: writing it to memory cannot fail.
    let mut bytes = postcard::to_extend(&header, vec![0; 4]).unwrap_or_default();
    if let Some(body) = bytes.get(4..) {
        let sum = checksum(body, &data).to_le_bytes();
        bytes[..4].copy_from_slice(&sum);
    }
    Packet { header: bytes.into(), data }
}

/// The frame in a packet.
///
/// # Errors
/// It is damaged, or not a frame.
pub fn decode(packet: Packet) -> Result<Frame, BadFrame> {
    let (sum, header) = packet.header.split_first_chunk::<4>().ok_or(BadFrame::Checksum)?;
    if checksum(header, &packet.data) != u32::from_le_bytes(*sum) {
        return Err(BadFrame::Checksum);
    }
    let unreadable = |why: String| BadFrame::Unreadable(why);
    let header: Header = postcard::from_bytes(header).map_err(|why| unreadable(why.to_string()))?;
    let data = unpack(header.packing, packet.data).map_err(unreadable)?;
    Ok(Frame { epoch: Epoch(header.epoch), number: header.number, body: header.body, data })
}

fn checksum(header: &[u8], data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(data);
    hasher.finalize()
}

fn pack(data: Bytes, compression: Compression) -> (Packing, Bytes) {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    if data.len() < PACK_FROM {
        return (Packing::Plain, data);
    }
    let (packing, packed) = match compression {
        Compression::None => return (Packing::Plain, data),
        Compression::Lz4 => (Packing::Lz4(length), lz4_flex::block::compress(&data)),
        Compression::Zstd => match zstd::bulk::compress(&data, 1) {
            Ok(packed) => (Packing::Zstd(length), packed),
            Err(_) => return (Packing::Plain, data),
        },
    };
    if packed.len() < data.len() { (packing, packed.into()) } else { (Packing::Plain, data) }
}

fn unpack(packing: Packing, data: Bytes) -> Result<Bytes, String> {
    let expected = match packing {
        Packing::Plain => return Ok(data),
        Packing::Lz4(length) | Packing::Zstd(length) => length as usize,
    };
    if expected > FRAME_LIMIT {
        return Err(format!("{expected} bytes in one frame"));
    }
    let unpacked = match packing {
        Packing::Lz4(_) => lz4_flex::block::decompress(&data, expected).map_err(|why| why.to_string()),
        _ => zstd::bulk::decompress(&data, expected).map_err(|why| why.to_string()),
    }?;
    if unpacked.len() == expected { Ok(unpacked.into()) } else { Err("cut short".to_owned()) }
}

#[cfg(test)]
mod forms;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(data: Vec<u8>) -> Frame {
        Frame {
            epoch: Epoch(7),
            number: 9,
            body: Body::Write { offset: 4096, record: false },
            data: data.into(),
        }
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_packed() {
        let noise: Vec<u8> = (0u32..9000).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for data in [Vec::new(), vec![1; 100], vec![7; 65536], noise] {
            for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
                let packet = encode(frame(data.clone()), Speech { compression, ..Speech::GREETING });
                assert!(packet.data.len() <= data.len());
                assert_eq!(decode(packet), Ok(frame(data.clone())));
            }
        }
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let packet = encode(frame(vec![3; 64]), Speech::GREETING);
        for bit in 0..(packet.header.len() + packet.data.len()) * 8 {
            let (mut header, mut data) = (packet.header.to_vec(), packet.data.to_vec());
            match header.get_mut(bit / 8) {
                Some(byte) => *byte ^= 1 << (bit % 8),
                None => data[bit / 8 - packet.header.len()] ^= 1 << (bit % 8),
            }
            assert!(decode(Packet { header: header.into(), data: data.into() }).is_err(), "bit {bit}");
        }
        assert!(decode(Packet { header: Bytes::new(), data: Bytes::new() }).is_err());
    }

    #[test]
    fn a_frame_that_claims_to_be_huge_is_refused() {
        let huge = unpack(Packing::Lz4(u32::MAX), Bytes::from_static(&[0; 8]));
        assert!(huge.is_err());
        assert!(unpack(Packing::Zstd(4096), Bytes::from_static(&[0; 8])).is_err());
    }
}
