//! Making a management area, and opening one.

use std::sync::{Arc, Mutex, OnceLock};

use tasuki_core::mirror::geometry::Geometry;

use super::{Management, Numbered, log, maps, read};
use crate::volume::{
    area::Area,
    block::{AreaId, Found, Head, Kind, open},
    content::Content,
    error::AreaError,
    layout::{self, FORMAT, MANAGEMENT_LEAST, PEERS, USED},
    superblock::{Owner, Superblock},
};

impl Management {
    /// Makes a management area where there is none. One that was half made is made again.
    ///
    /// # Errors
    /// When something is there already, the area is too small, or it fails.
    pub fn create(area: Arc<dyn Area>, owner: &Owner, geometry: Geometry) -> Result<Self, AreaError> {
        match look(&*area)? {
            Look::Blank => {}
            Look::Here(_, found) => return Err(not_ours(&*area, found.owner, owner)),
        }
        let error = |what| move |error| (what, error);
        let made = (|| {
            // From here on a torn block can only be one of ours.
            area.write_zeroes(0, USED).map_err(error("write"))?;
            area.flush().map_err(error("flush"))?;
            AreaId::fresh().map_err(error("name"))
        })();
        let id = made.map_err(|(what, source)| AreaError::io(what, area.place(), source))?;
        let management = Self {
            id,
            head: Mutex::new(Numbered { sequence: 2, superblock: Superblock::new(owner.clone(), geometry) }),
            log: Mutex::default(),
            maps: Mutex::default(),
            found: log::Active::default(),
            failed: OnceLock::new(),
            area,
        };
        // Both, so that from now on exactly one can be torn.
        for sequence in 1..=2 {
            management.write_superblock(sequence, &management.superblock())?;
        }
        Ok(management)
    }

    /// Opens the management area of this volume's copy on this server.
    ///
    /// # Errors
    /// [`AreaError::Blank`] when it was never made; otherwise whose it is, or what is wrong with it.
    pub fn open(area: Arc<dyn Area>, owner: &Owner) -> Result<Self, AreaError> {
        let (head, superblock) = match look(&*area)? {
            Look::Blank => return Err(AreaError::Blank(area.place().to_owned())),
            Look::Here(head, superblock) => (head, *superblock),
        };
        if superblock.owner != *owner {
            return Err(not_ours(&*area, superblock.owner, owner));
        }
        let ring = log::Ring::read(&*area, head.area)?;
        let newest = maps::newest_superblock(&*area, head.area, &superblock)?.max(ring.superblock);
        if newest > head.sequence {
            let what =
                format!("superblock {newest} was written, the newest that can be read is {}", head.sequence);
            return Err(AreaError::Damaged { path: area.place().to_owned(), what });
        }
        let found = ring.active(superblock.geometry);
        let mut pages: [maps::Pages; PEERS] = Default::default();
        for (place, peer) in superblock.peers.iter().enumerate() {
            if let (Some(peer), Some(pages)) = (peer, pages.get_mut(place)) {
                *pages = maps::Pages::read(&*area, head.area, place, peer.tenure, superblock.geometry)?;
            }
        }
        Ok(Self {
            id: head.area,
            head: Mutex::new(Numbered { sequence: head.sequence, superblock }),
            log: Mutex::new(ring.sequence),
            maps: Mutex::new(pages),
            found,
            failed: OnceLock::new(),
            area,
        })
    }

    /// Whose management area this is, for messages and for who wants to take it over; `None` when it
    /// is blank.
    ///
    /// # Errors
    /// When it holds something else, is damaged, or fails.
    pub fn owner_of(area: &dyn Area) -> Result<Option<Owner>, AreaError> {
        Ok(match look(area)? {
            Look::Blank => None,
            Look::Here(_, superblock) => Some(superblock.owner),
        })
    }
}

enum Look {
    Blank,
    Here(Head, Box<Superblock>),
}

/// The newest whole superblock.
fn look(area: &dyn Area) -> Result<Look, AreaError> {
    let path = || area.place().to_owned();
    if area.size() < MANAGEMENT_LEAST {
        let expected = format!("a management area has at least {MANAGEMENT_LEAST}");
        return Err(AreaError::Size { path: path(), found: area.size(), expected });
    }
    let mut newest: Option<(Head, Vec<u8>)> = None;
    let (mut blank, mut torn, mut strange) = (0, 0, false);
    for copy in 0..2 {
        match open(Kind::Superblock, &read(area, layout::superblock(copy))?) {
            Found::Blank => blank += 1,
            Found::Torn => torn += 1,
            Found::Strange => strange = true,
            Found::Newer(found) => {
                return Err(AreaError::NewerFormat { path: path(), found, known: FORMAT });
            }
            Found::Whole(head, payload) => {
                if newest.as_ref().is_none_or(|(other, _)| other.sequence < head.sequence) {
                    newest = Some((head, payload));
                }
            }
        }
    }
    let damaged = |what: &str| AreaError::Damaged { path: path(), what: what.to_owned() };
    let Some((head, payload)) = newest else {
        let content = Content::of(area).map_err(|error| AreaError::io("read", path(), error))?;
        // A torn superblock is known by its mark.
        return match content.filter(|content| *content != Content::MANAGEMENT) {
            // The first writing was torn: it was never finished.
            None if blank == 2 || (blank == 1 && torn == 1) => Ok(Look::Blank),
            None if torn > 0 => Err(damaged("neither of its superblocks can be read")),
            None => {
                let what = "bytes that are nothing known, and not zeroes".to_owned();
                Err(AreaError::Foreign { path: path(), what })
            }
            Some(content) => Err(AreaError::Foreign { path: path(), what: content.to_string() }),
        };
    };
    if strange {
        let content = Content::of(area).map_err(|error| AreaError::io("read", path(), error))?;
        let by = content.map_or_else(|| "something else".to_owned(), |content| content.to_string());
        return Err(damaged(&format!("one of its superblocks was overwritten by {by}")));
    }
    // Both are written before anything else is, so a blank one means that only the first is there.
    if blank > 0 && head.sequence > 1 {
        return Err(damaged("one of its superblocks is gone"));
    }
    let superblock = serde_json::from_slice(&payload)
        .map_err(|error| damaged(&format!("its superblock is whole and not understood: {error}")))?;
    Ok(Look::Here(head, Box::new(superblock)))
}

fn not_ours(area: &dyn Area, found: Owner, expected: &Owner) -> AreaError {
    AreaError::NotOurs { path: area.place().to_owned(), found, expected: expected.clone() }
}
