//! The numbers of the NBD protocol, and its fixed parts as values. Everything on the wire is
//! big-endian. Source: the protocol description of the NetworkBlockDevice project.

use crate::block::BlockError;

/// `NBDMAGIC`, the first word of a server.
pub const MAGIC: u64 = 0x4e42_444d_4147_4943;
/// `IHAVEOPT`, before every option.
pub const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// Before every answer to an option.
pub const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// Before every command.
pub const REQUEST_MAGIC: u32 = 0x2560_9513;
/// Before a simple reply.
pub const SIMPLE_MAGIC: u32 = 0x6744_6698;
/// Before a chunk of a structured reply.
pub const CHUNK_MAGIC: u32 = 0x668e_33ef;

/// Bytes of a command without its data.
pub const REQUEST_BYTES: usize = 28;
/// The longest read or write, in bytes; it is advertised, and longer ones are refused.
pub const LONGEST: u32 = 32 * 1024 * 1024;
/// The longest body of an option, in bytes: a name has at most 4096, a list of contexts some of them.
pub const LONGEST_OPTION: u32 = 64 * 1024;

/// The server speaks the fixed newstyle handshake / the client does.
pub const FIXED_NEWSTYLE: u16 = 1;
/// No 124 zeroes after the answer to `EXPORT_NAME`.
pub const NO_ZEROES: u16 = 2;

/// Options.
pub mod option {
    /// Choose an export the old way.
    pub const EXPORT_NAME: u32 = 1;
    /// End.
    pub const ABORT: u32 = 2;
    /// Name the exports.
    pub const LIST: u32 = 3;
    /// Go on under TLS.
    pub const START_TLS: u32 = 5;
    /// Tell about an export.
    pub const INFO: u32 = 6;
    /// Tell, and begin.
    pub const GO: u32 = 7;
    /// Reads are answered in chunks.
    pub const STRUCTURED_REPLY: u32 = 8;
}

/// Answers to options.
pub mod reply {
    /// Done.
    pub const ACK: u32 = 1;
    /// An export's name.
    pub const SERVER: u32 = 2;
    /// Something about an export.
    pub const INFO: u32 = 3;
    /// The option is not known.
    pub const UNSUPPORTED: u32 = (1 << 31) + 1;
    /// The server does not want that.
    pub const POLICY: u32 = (1 << 31) + 2;
    /// The option's body makes no sense.
    pub const INVALID: u32 = (1 << 31) + 3;
    /// Only under TLS.
    pub const TLS_REQUIRED: u32 = (1 << 31) + 5;
    /// There is no such export.
    pub const UNKNOWN: u32 = (1 << 31) + 6;
}

/// Kinds of information about an export.
pub mod info {
    /// Size and flags.
    pub const EXPORT: u16 = 0;
    /// Its name.
    pub const NAME: u16 = 1;
    /// Smallest, preferred and largest request.
    pub const BLOCK_SIZE: u16 = 3;
}

/// What an export can do.
pub mod transmission {
    /// There are flags.
    pub const HAS_FLAGS: u16 = 1;
    /// FLUSH.
    pub const FLUSH: u16 = 1 << 2;
    /// Single writes that are flushed.
    pub const FUA: u16 = 1 << 3;
    /// TRIM.
    pub const TRIM: u16 = 1 << 5;
    /// WRITE_ZEROES.
    pub const WRITE_ZEROES: u16 = 1 << 6;
    /// Reads in one chunk (they always are).
    pub const DONT_FRAGMENT: u16 = 1 << 7;
    /// A flush on one connection covers what was answered on any.
    pub const MULTI_CONNECTION: u16 = 1 << 8;
    /// What every export of ours can do.
    pub const OURS: u16 = HAS_FLAGS | FLUSH | FUA | TRIM | WRITE_ZEROES | MULTI_CONNECTION;
}

/// Commands.
pub mod command {
    /// Read.
    pub const READ: u16 = 0;
    /// Write; the data follow.
    pub const WRITE: u16 = 1;
    /// End, without an answer.
    pub const DISCONNECT: u16 = 2;
    /// Flush.
    pub const FLUSH: u16 = 3;
    /// Trim.
    pub const TRIM: u16 = 4;
    /// Make zeroes.
    pub const WRITE_ZEROES: u16 = 6;
    /// Flag: flushed before it is answered.
    pub const FLAG_FUA: u16 = 1;
    /// Flag: zeroes keep their space.
    pub const FLAG_NO_HOLE: u16 = 1 << 1;
    /// Flag: a read in one chunk.
    pub const FLAG_DONT_FRAGMENT: u16 = 1 << 2;
}

/// Chunks of structured replies.
pub mod chunk {
    /// Flag: the last one of its reply.
    pub const DONE: u16 = 1;
    /// Offset and data.
    pub const OFFSET_DATA: u16 = 1;
    /// An error for the whole command.
    pub const ERROR: u16 = (1 << 15) + 1;
}

/// Errors as the protocol numbers them.
pub mod error {
    /// The disk failed.
    pub const IO: u32 = 5;
    /// A command that makes no sense.
    pub const INVALID: u32 = 22;
    /// A write beyond the end, or no space.
    pub const NO_SPACE: u32 = 28;
    /// The server is ending.
    pub const SHUTDOWN: u32 = 108;
}

/// The number of a failed request.
#[must_use]
pub fn error_number(error: BlockError) -> u32 {
    match error {
        BlockError::Io => error::IO,
        BlockError::NoSpace => error::NO_SPACE,
        BlockError::Invalid => error::INVALID,
        BlockError::Closing => error::SHUTDOWN,
    }
}

/// A command without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Flags.
    pub flags: u16,
    /// Which.
    pub command: u16,
    /// Comes back in the answer.
    pub cookie: u64,
    /// Where, in bytes.
    pub offset: u64,
    /// How much, in bytes.
    pub length: u32,
}

impl Header {
    /// Reads one; `None` when it does not begin as a command does: the stream is out of step.
    #[must_use]
    pub fn read(bytes: &[u8; REQUEST_BYTES]) -> Option<Self> {
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        if word(0) != REQUEST_MAGIC {
            return None;
        }
        Some(Self {
            flags: u16::from_be_bytes([bytes[4], bytes[5]]),
            command: u16::from_be_bytes([bytes[6], bytes[7]]),
            cookie: long(8),
            offset: long(16),
            length: word(24),
        })
    }

    /// As it is on the wire.
    #[must_use]
    pub fn bytes(&self) -> [u8; REQUEST_BYTES] {
        let mut bytes = [0; REQUEST_BYTES];
        bytes[0..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
        bytes[4..6].copy_from_slice(&self.flags.to_be_bytes());
        bytes[6..8].copy_from_slice(&self.command.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.cookie.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_be_bytes());
        bytes[24..28].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }
}
