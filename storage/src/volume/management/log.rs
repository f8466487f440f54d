//! The activity log (R29): a ring of blocks, each with the whole table of the regions that are being
//! written. The newest whole one counts.

use tasuki_core::mirror::geometry::{Geometry, LOG_SLOTS};

use super::{Management, lock, read};
use crate::volume::{
    area::Area,
    block::{AreaId, Found, Head, Kind, open, seal},
    error::AreaError,
    layout::{self, LOG_BLOCKS},
};

/// The regions that may differ between the copies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Active {
    /// None: nothing was ever being written, or the log was emptied.
    #[default]
    None,
    /// These, in the order in which they were given.
    Regions(Vec<u32>),
    /// The log is damaged beyond what a lost power does: any region may.
    All {
        /// How many regions the volume has.
        regions: u32,
    },
}

impl Active {
    /// Their numbers.
    pub fn regions(&self) -> impl Iterator<Item = u32> + '_ {
        let (some, all) = match self {
            Self::None => (&[][..], 0),
            Self::Regions(regions) => (regions.as_slice(), 0),
            Self::All { regions } => (&[][..], *regions),
        };
        some.iter().copied().chain(0..all)
    }
}

impl Management {
    /// What the log named when the area was opened. It names it until the first [`Management::log`].
    #[must_use]
    pub fn active(&self) -> &Active {
        &self.found
    }

    /// Writes the whole table of regions that may be written from now on; durable when this returns.
    /// It takes the place of the table before: also of the one that was found at opening, whose
    /// regions the caller has put into the dirty maps, or names again.
    ///
    /// # Errors
    /// When the area fails, or there are more regions than a table has slots.
    pub fn log(&self, regions: &[u32]) -> Result<(), AreaError> {
        let superblock = lock(&self.head).sequence;
        let mut newest = lock(&self.log);
        let sequence = *newest + 1;
        let place = layout::log_place(sequence);
        let mut head = self.head_of(Kind::Log, sequence, superblock);
        head.place = u32::try_from(place).unwrap_or_default();
        let payload: Vec<u8> = regions.iter().flat_map(|region| region.to_le_bytes()).collect();
        let fits = regions.len() <= LOG_SLOTS;
        let Some(block) = fits.then(|| seal(&head, &payload)).flatten() else {
            let why = format!("{} regions do not fit in the activity log", regions.len());
            return Err(self.error("write", std::io::Error::new(std::io::ErrorKind::InvalidInput, why)));
        };
        self.writing(|area| area.write_durable(&block, layout::log(place)))?;
        *newest = sequence;
        Ok(())
    }
}

/// The ring, as found.
pub struct Ring {
    /// Of the newest block; zero when there is none.
    pub sequence: u64,
    /// The newest superblock that any block knows of.
    pub superblock: u64,
    table: Vec<u32>,
    whole: bool,
}

impl Ring {
    /// Reads all of it.
    pub fn read(area: &dyn Area, id: AreaId) -> Result<Self, AreaError> {
        let mut blocks: Vec<Option<(Head, Vec<u8>)>> = Vec::new();
        let mut blank = Vec::new();
        for place in 0..LOG_BLOCKS {
            let found = open(Kind::Log, &read(area, layout::log(place))?);
            blank.push(found == Found::Blank);
            blocks.push(match found {
                Found::Whole(head, table) => {
                    let fits = head.area == id && layout::log_place(head.sequence) == place;
                    fits.then_some((head, table))
                }
                _ => None,
            });
        }
        let whole = || blocks.iter().flatten();
        let newest = whole().max_by_key(|(head, _)| head.sequence);
        let sequence = newest.map_or(0, |(head, _)| head.sequence);
        // Before the newest stand the ones before it; only the one after it can have been torn.
        let as_written = (0..LOG_BLOCKS).zip(&blocks).zip(&blank).all(|((place, block), blank)| {
            let expected = (sequence.saturating_sub(LOG_BLOCKS - 1)..=sequence)
                .find(|number| *number > 0 && layout::log_place(*number) == place);
            let next = layout::log_place(sequence + 1) == place;
            match (block, expected) {
                (Some((head, _)), Some(expected)) => head.sequence == expected,
                (Some((head, _)), None) => next && head.sequence + LOG_BLOCKS == sequence + 1,
                (None, Some(expected)) => next && expected + LOG_BLOCKS == sequence + 1,
                (None, None) => *blank || next,
            }
        });
        let table = newest.map(|(_, table)| table.as_slice()).unwrap_or_default();
        Ok(Self {
            sequence,
            superblock: whole().map(|(head, _)| head.superblock).max().unwrap_or_default(),
            table: table
                .chunks_exact(4)
                .filter_map(|region| Some(u32::from_le_bytes(region.try_into().ok()?)))
                .collect(),
            whole: as_written,
        })
    }

    /// What it names.
    pub fn active(&self, geometry: Geometry) -> Active {
        let regions = geometry.regions();
        if !self.whole {
            return Active::All { regions };
        }
        match self.table.is_empty() {
            true => Active::None,
            false => Active::Regions(self.table.iter().copied().filter(|region| *region < regions).collect()),
        }
    }
}
