//! The dirty maps: for each peer, which extents it lacks. Pages are written in turn to two places, so
//! that the page before survives a torn write.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_core::{ids::ServerName, mirror::geometry::Geometry};

use super::{Management, lock, read};
use crate::volume::{
    area::Area,
    block::{AreaId, Found, Kind, PAYLOAD, open, seal},
    error::AreaError,
    layout::{self, PEERS},
    superblock::{PeerPlace, Superblock},
};

const WORDS: usize = PAYLOAD / 8;

/// A page of a dirty map to be written.
#[derive(Clone, Copy, Debug)]
pub struct MapPage<'a> {
    /// Which: it has the extents from `page * MAP_PAGE_BITS`.
    pub page: u32,
    /// Their bits, the first extent in the lowest bit of the first word. Missing words are zero.
    pub words: &'a [u64],
}

/// A dirty map as found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapFound {
    /// The bits of all extents, the first in the lowest bit of the first word; none beyond the last
    /// extent.
    pub words: Vec<u64>,
    /// Pages of which neither place could be read, or that were being written for other extents: all
    /// of their extents are dirty.
    pub unsure: Vec<u32>,
}

/// The newest sequence numbers of one peer's pages.
#[derive(Debug, Default)]
pub struct Pages(Vec<u64>);

impl Management {
    /// The peers that dirty maps are kept for from now on: at most three. The maps of others are
    /// forgotten, new ones are empty. Durable when this returns.
    ///
    /// # Errors
    /// When the area fails, or there are more peers than places.
    pub fn set_peers(&self, peers: &BTreeSet<ServerName>) -> Result<(), AreaError> {
        if peers.len() > PEERS {
            let why = format!("{} peers, of whom at most {PEERS} have a place", peers.len());
            return Err(self.error("write", std::io::Error::new(std::io::ErrorKind::InvalidInput, why)));
        }
        let mut pages = lock(&self.maps);
        let mut fresh = Vec::new();
        self.store(|superblock| {
            for peer in &mut superblock.peers {
                *peer = peer.take().filter(|peer| peers.contains(&peer.server));
            }
            for server in peers {
                if superblock.place_of(server).is_some() {
                    continue;
                }
                let free = superblock.peers.iter().position(Option::is_none);
                if let Some(place) = free
                    && let Some(peer) = superblock.peers.get_mut(place)
                {
                    superblock.tenures += 1;
                    *peer = Some(PeerPlace { server: server.clone(), tenure: superblock.tenures });
                    fresh.push(place);
                }
            }
        })?;
        for place in fresh {
            if let Some(pages) = pages.get_mut(place) {
                pages.0.clear();
            }
        }
        Ok(())
    }

    /// The peers that dirty maps are kept for.
    #[must_use]
    pub fn peers(&self) -> BTreeSet<ServerName> {
        lock(&self.head).superblock.peers.iter().flatten().map(|peer| peer.server.clone()).collect()
    }

    /// Writes pages of a peer's dirty map; all are durable when this returns. When it fails, or the
    /// power goes before, each page is as before or as given.
    ///
    /// # Errors
    /// When the area fails, or this is no peer.
    pub fn write_map_pages(&self, peer: &ServerName, pages: &[MapPage<'_>]) -> Result<(), AreaError> {
        if pages.is_empty() {
            return Ok(());
        }
        let mut known = lock(&self.maps);
        let (superblock, place, tenure, count) = {
            let head = lock(&self.head);
            let place = head.superblock.place_of(peer).ok_or_else(|| self.no_peer(peer))?;
            (head.sequence, place.0, place.1, head.superblock.geometry.map_pages())
        };
        let known = known.get_mut(place).ok_or_else(|| self.no_peer(peer))?;
        // A page is written once, so that of its two places only one is being written.
        let pages: BTreeMap<u32, &[u64]> = pages.iter().map(|page| (page.page, page.words)).collect();
        let mut blocks = Vec::with_capacity(pages.len());
        for (page, words) in &pages {
            let sequence = known.newest(*page) + 1;
            let mut head = self.head_of(Kind::Map, sequence, superblock);
            (head.place, head.number, head.tenure) =
                (u32::try_from(place).unwrap_or_default(), *page, tenure);
            let payload: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let Some(block) = seal(&head, &payload).filter(|_| *page < count) else {
                let why = format!("page {page} of {} words is not one of {count} pages", words.len());
                return Err(self.error("write", std::io::Error::new(std::io::ErrorKind::InvalidInput, why)));
            };
            blocks.push((*page, sequence, block));
        }
        self.writing(|area| {
            if let [(page, sequence, block)] = blocks.as_slice() {
                return area.write_durable(block, layout::map(place, *page, *sequence));
            }
            for (page, sequence, block) in &blocks {
                area.write_at(block, layout::map(place, *page, *sequence))?;
            }
            area.flush()
        })?;
        for (page, sequence, _) in blocks {
            known.set(page, sequence);
        }
        Ok(())
    }

    /// Reads a peer's dirty map.
    ///
    /// # Errors
    /// When the area fails, or this is no peer.
    pub fn read_map(&self, peer: &ServerName) -> Result<MapFound, AreaError> {
        let _nothing_is_written_meanwhile = lock(&self.maps);
        let superblock = self.superblock();
        let (place, tenure) = superblock.place_of(peer).ok_or_else(|| self.no_peer(peer))?;
        let geometry = superblock.geometry;
        let mut found = MapFound::default();
        for page in 0..geometry.map_pages() {
            let newest = match newest(&*self.area, self.id, place, tenure, page)? {
                Newest::Page(_, payload) => payload,
                Newest::Never => Vec::new(),
                Newest::Lost => {
                    found.unsure.push(page);
                    vec![u8::MAX; PAYLOAD]
                }
            };
            let mut words: Vec<u64> = newest
                .chunks_exact(8)
                .filter_map(|word| Some(u64::from_le_bytes(word.try_into().ok()?)))
                .collect();
            words.resize(WORDS, 0);
            found.words.extend(words);
        }
        if superblock.maps_unsure {
            found.unsure = (0..geometry.map_pages()).collect();
            found.words.fill(u64::MAX);
        }
        found.cut(geometry);
        Ok(found)
    }

    /// The volume has another size. Where that makes extents of another size, the maps are written
    /// anew from `maps`, which are those of all peers for the new geometry; until that has ended a
    /// power loss leaves all extents dirty.
    ///
    /// # Errors
    /// When the area fails.
    pub fn resize(&self, geometry: Geometry, maps: &BTreeMap<ServerName, Vec<u64>>) -> Result<(), AreaError> {
        if self.superblock().geometry.extent == geometry.extent {
            return self.store(|superblock| superblock.geometry = geometry);
        }
        {
            let mut pages = lock(&self.maps);
            self.store(|superblock| {
                superblock.geometry = geometry;
                superblock.maps_unsure = true;
                // Pages for the extents from before are nobody's from now on.
                for peer in superblock.peers.iter_mut().flatten() {
                    superblock.tenures += 1;
                    peer.tenure = superblock.tenures;
                }
            })?;
            *pages = Default::default();
        }
        for peer in self.peers() {
            let words = maps.get(&peer).map(Vec::as_slice).unwrap_or_default();
            let pages: Vec<MapPage<'_>> =
                (0..geometry.map_pages()).map(|page| MapPage { page, words: page_of(words, page) }).collect();
            self.write_map_pages(&peer, &pages)?;
        }
        self.store(|superblock| superblock.maps_unsure = false)
    }

    fn no_peer(&self, peer: &ServerName) -> AreaError {
        let why = format!("{peer} has no dirty map here");
        self.error("use", std::io::Error::new(std::io::ErrorKind::NotFound, why))
    }
}

/// The words of a page, out of those of a whole map.
fn page_of(words: &[u64], page: u32) -> &[u64] {
    let start = usize::try_from(page).unwrap_or(usize::MAX).saturating_mul(WORDS).min(words.len());
    words.get(start..words.len().min(start + WORDS)).unwrap_or_default()
}

impl MapFound {
    /// Nothing beyond the last extent.
    fn cut(&mut self, geometry: Geometry) {
        let extents = geometry.extents();
        let words = usize::try_from(extents.div_ceil(64)).unwrap_or(usize::MAX);
        self.words.truncate(words);
        let over = extents % 64;
        if let Some(last) = self.words.last_mut().filter(|_| over > 0) {
            *last &= (1 << over) - 1;
        }
    }

    /// How many extents are dirty.
    #[must_use]
    pub fn dirty(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

impl Pages {
    /// Looks at all pages of a peer.
    pub fn read(
        area: &dyn Area,
        id: AreaId,
        place: usize,
        tenure: u32,
        geometry: Geometry,
    ) -> Result<Self, AreaError> {
        let mut pages = Self::default();
        for page in 0..geometry.map_pages() {
            match newest(area, id, place, tenure, page)? {
                Newest::Page(sequence, _) => pages.set(page, sequence),
                // Both places are overwritten, one after the other.
                Newest::Never | Newest::Lost => pages.set(page, 0),
            }
        }
        Ok(pages)
    }

    fn newest(&self, page: u32) -> u64 {
        let at = usize::try_from(page).unwrap_or(usize::MAX);
        self.0.get(at).copied().unwrap_or_default()
    }

    fn set(&mut self, page: u32, sequence: u64) {
        let at = usize::try_from(page).unwrap_or_default();
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        if let Some(known) = self.0.get_mut(at) {
            *known = sequence;
        }
    }
}

enum Newest {
    Page(u64, Vec<u8>),
    Never,
    Lost,
}

fn newest(area: &dyn Area, id: AreaId, place: usize, tenure: u32, page: u32) -> Result<Newest, AreaError> {
    let (mut newest, mut unreadable) = (Newest::Never, 0);
    for copy in 0..2 {
        match open(Kind::Map, &read(area, layout::map(place, page, copy))?) {
            Found::Whole(head, payload) if head.area == id && head.number == page => {
                let newer = match &newest {
                    Newest::Page(sequence, _) => *sequence < head.sequence,
                    Newest::Never | Newest::Lost => true,
                };
                // An earlier holder's page is as good as blank.
                if head.tenure == tenure && newer {
                    newest = Newest::Page(head.sequence, payload);
                }
            }
            Found::Blank => {}
            Found::Whole(..) | Found::Torn | Found::Newer(_) | Found::Strange => unreadable += 1,
        }
    }
    // One may be torn: that was never durable. Two at once no lost power leaves.
    Ok(if unreadable == 2 { Newest::Lost } else { newest })
}

/// The newest superblock that any page knows of.
pub fn newest_superblock(area: &dyn Area, id: AreaId, superblock: &Superblock) -> Result<u64, AreaError> {
    let mut newest = 0;
    for (place, _) in superblock.peers.iter().enumerate().filter(|(_, peer)| peer.is_some()) {
        for page in 0..superblock.geometry.map_pages() {
            for copy in 0..2 {
                if let Found::Whole(head, _) = open(Kind::Map, &read(area, layout::map(place, page, copy))?)
                    && head.area == id
                {
                    newest = newest.max(head.superblock);
                }
            }
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use tasuki_core::mirror::geometry::MAP_PAGE_BITS;

    use super::*;

    #[test]
    fn a_page_is_whole_words_and_what_a_block_holds() {
        assert_eq!(MAP_PAGE_BITS, WORDS as u64 * 64);
    }
}
