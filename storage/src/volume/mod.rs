//! What a server keeps of a mirrored volume: the data area, and the management area beside it.
//!
//! | module | what |
//! |---|---|
//! | [`area`] | a place of bytes: what both areas are made of, and what a failure of one means |
//! | [`file_area`] | a block device or a file as an area, opened by one program only |
//! | [`memory`] | an area in memory that fails, tears and loses its power on demand, for tests |
//! | [`occupant`] | who uses a device already, and which devices nobody may give to a volume (C5) |
//! | `start_writing` | one call of the kernel that makes a flush shorter |
//! | [`content`] | what an area holds: a file system, for example |
//! | [`superblock`] | whose the copy is, and what it knows of itself |
//! | [`management`] | the management area: superblock, activity log and dirty maps, each durable when said so |
//! | `layout`, `block` | where what stands, and a block that is recognised when it is torn |
//! | [`error`] | what can be wrong with an area, each with a code for operators |
//!
//! Nothing here decides: which extents are dirty and which regions may leave the activity log is
//! `tasuki_core::mirror`'s. All calls wait for the disk; none may be made where others wait.

pub mod area;
mod block;
pub mod content;
pub mod error;
pub mod file_area;
mod layout;
pub mod management;
pub mod memory;
pub mod occupant;
mod start_writing;
pub mod superblock;

pub use self::{
    area::{Area, Fault},
    content::Content,
    error::AreaError,
    file_area::FileArea,
    layout::{MANAGEMENT_FILE, MANAGEMENT_LEAST},
    management::{Active, Management, MapFound, MapPage},
    memory::MemoryArea,
    superblock::{Owner, Superblock},
};
