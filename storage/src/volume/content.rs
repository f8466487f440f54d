//! What an area holds, as far as its first bytes tell.

use std::{fmt, io};

use super::area::Area;

/// Something that would be lost if the area were written over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file system, by its name for `mount -t`.
    FileSystem(&'static str),
    /// Something else that is in use as such.
    Other(&'static str),
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileSystem(name) => write!(f, "a file system ({name})"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// Where what stands, and what it means. The more certain come first.
const MARKS: [(u64, &[u8], Content); 14] = [
    (0, b"XFSB", Content::FileSystem("xfs")),
    (0x1_0040, b"_BHRfS_M", Content::FileSystem("btrfs")),
    (0x1_0034, b"ReIsErFs", Content::FileSystem("reiserfs")),
    (0x1_0034, b"ReIsEr2Fs", Content::FileSystem("reiserfs")),
    (4086, b"SWAPSPACE2", Content::Other("swap space")),
    (0, b"LUKS\xba\xbe", Content::Other("an encrypted device (LUKS)")),
    (512, b"LABELONE", Content::Other("a physical volume of LVM")),
    (0, b"LABELONE", Content::Other("a physical volume of LVM")),
    (4096, b"\xfc\x4e\x2b\xa9", Content::Other("a member of a RAID (md)")),
    (0, b"\xfc\x4e\x2b\xa9", Content::Other("a member of a RAID (md)")),
    (0, b"TASUKIVB", Content::Other("a voting file")),
    (0, b"TASUKIMD", Content::MANAGEMENT),
    (512, b"EFI PART", Content::Other("a partition table (GPT)")),
    (3, b"NTFS    ", Content::FileSystem("ntfs")),
];
const EXT_MAGIC: u64 = 1080;
const EXT_FEATURES: u64 = 1116;
const FAT: [u64; 2] = [54, 82];

impl Content {
    pub(super) const MANAGEMENT: Self = Self::Other("a management area of a volume");

    /// What is there; `None` when it is nothing known.
    ///
    /// # Errors
    /// When the area fails.
    pub fn of(area: &dyn Area) -> io::Result<Option<Self>> {
        if holds(area, EXT_MAGIC, b"\x53\xef")? {
            return Ok(Some(Self::FileSystem(ext(area)?)));
        }
        for (at, mark, content) in &MARKS {
            if holds(area, *at, mark)? {
                return Ok(Some(content.clone()));
            }
        }
        for at in FAT {
            if holds(area, at, b"FAT")? {
                return Ok(Some(Self::FileSystem("vfat")));
            }
        }
        Ok(holds(area, 510, b"\x55\xaa")?.then_some(Self::Other("a partition table")))
    }

    /// The file system, where it is one.
    #[must_use]
    pub fn file_system(&self) -> Option<&'static str> {
        match self {
            Self::FileSystem(name) => Some(name),
            Self::Other(_) => None,
        }
    }
}

fn holds(area: &dyn Area, at: u64, mark: &[u8]) -> io::Result<bool> {
    if area.size() < at + mark.len() as u64 {
        return Ok(false);
    }
    let mut found = vec![0; mark.len()];
    area.read_at(&mut found, at)?;
    Ok(found == mark)
}

/// Which of the three: with a journal it is ext3 at least, with extents or 64-bit numbers ext4.
fn ext(area: &dyn Area) -> io::Result<&'static str> {
    let mut features = [0; 8];
    area.read_at(&mut features, EXT_FEATURES)?;
    let [journal, _, _, _, newer, ..] = features;
    let (has_journal, ext4) = (journal & 0x4 != 0, newer & 0xc0 != 0);
    Ok(if ext4 {
        "ext4"
    } else if has_journal {
        "ext3"
    } else {
        "ext2"
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::volume::MemoryArea;

    #[test]
    fn each_mark_is_known_at_its_place() {
        for (at, mark, content) in &MARKS {
            let area = MemoryArea::new(1 << 20);
            assert_eq!(Content::of(&area).unwrap(), None);
            area.write_at(mark, *at).unwrap();
            assert_eq!(Content::of(&area).unwrap().as_ref(), Some(content));
        }
        assert_eq!(
            Content::of(&MemoryArea::new(600)).unwrap(),
            None,
            "a small one is not read beyond its end"
        );
    }

    #[test]
    fn the_three_ext_file_systems_are_told_apart() {
        for (journal, newer, name) in [(0, 2, "ext2"), (4, 2, "ext3"), (4, 0xc2, "ext4"), (0, 0x40, "ext4")] {
            let area = MemoryArea::new(1 << 20);
            area.write_at(b"\x53\xef", EXT_MAGIC).unwrap();
            area.write_at(&[journal, 0, 0, 0, newer, 2, 0, 0], EXT_FEATURES).unwrap();
            assert_eq!(Content::of(&area).unwrap(), Some(Content::FileSystem(name)));
        }
    }
}
