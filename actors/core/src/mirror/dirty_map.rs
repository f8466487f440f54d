//! Which extents of a volume one copy lacks: a bit for each, and what of it is not on the disk yet.

use std::collections::BTreeSet;

use super::geometry::MAP_PAGE_BITS;

const WORD: u64 = 64;

/// The dirty map of one peer. Bits are set before a write is answered without the peer, and cleared
/// when what was copied to it is on its disk (R30).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirtyMap {
    extents: u64,
    words: Vec<u64>,
    count: u64,
    /// Pages in which a bit was set since they were last kept: until then the activity log must name
    /// what they name (R29).
    set: BTreeSet<u32>,
    /// Pages that are being written.
    keeping: BTreeSet<u32>,
    /// Pages in which bits were only cleared: an older page on the disk names too much, which costs
    /// time and nothing else.
    cleared: BTreeSet<u32>,
}

impl DirtyMap {
    /// A map of so many extents, of which none is dirty.
    #[must_use]
    pub fn new(extents: u64) -> Self {
        let words = usize::try_from(extents.div_ceil(WORD)).unwrap_or(usize::MAX);
        Self {
            extents,
            words: vec![0; words],
            count: 0,
            set: BTreeSet::new(),
            keeping: BTreeSet::new(),
            cleared: BTreeSet::new(),
        }
    }

    /// A map as it was kept; bits past the end are ignored.
    #[must_use]
    pub fn from_words(extents: u64, kept: &[u64]) -> Self {
        let mut map = Self::new(extents);
        for (word, kept) in map.words.iter_mut().zip(kept) {
            *word = *kept;
        }
        if let (Some(last), surplus @ 1..) = (map.words.last_mut(), extents % WORD) {
            *last &= (1 << surplus) - 1;
        }
        map.count = map.words.iter().map(|word| u64::from(word.count_ones())).sum();
        map
    }

    /// How many extents there are.
    #[must_use]
    pub fn extents(&self) -> u64 {
        self.extents
    }

    /// How many are dirty.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// None is dirty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether an extent is dirty.
    #[must_use]
    pub fn contains(&self, extent: u64) -> bool {
        extent < self.extents && self.words[(extent / WORD) as usize] & (1 << (extent % WORD)) != 0
    }

    /// The extents from `first` up to, not including, `end` are dirty; how many of them were not.
    pub fn set(&mut self, first: u64, end: u64) -> u64 {
        let mut newly = 0;
        for (at, mask) in masks(first, end.min(self.extents)) {
            let fresh = mask & !self.words[at];
            if fresh != 0 {
                self.words[at] |= mask;
                newly += u64::from(fresh.count_ones());
                self.set.insert(page_of(at));
            }
        }
        self.count += newly;
        newly
    }

    /// They are not any more; how many of them were.
    pub fn clear(&mut self, first: u64, end: u64) -> u64 {
        let mut gone = 0;
        for (at, mask) in masks(first, end.min(self.extents)) {
            let old = mask & self.words[at];
            if old != 0 {
                self.words[at] &= !mask;
                gone += u64::from(old.count_ones());
                self.cleared.insert(page_of(at));
            }
        }
        self.count -= gone;
        gone
    }

    /// All that `other` names is dirty here too.
    pub fn merge(&mut self, other: &Self) {
        let mut from = 0;
        while let Some((first, end)) = other.next_run(from, u64::MAX) {
            self.set(first, end);
            from = end;
        }
    }

    /// The next dirty extents from `from` on that follow each other, at most `most` of them: first,
    /// and one past the last.
    #[must_use]
    pub fn next_run(&self, from: u64, most: u64) -> Option<(u64, u64)> {
        let first = self.next(from, true)?;
        let end = self.next(first, false).unwrap_or(self.extents);
        Some((first, end.min(first.saturating_add(most))))
    }

    /// The first extent from `from` on whose bit is as wanted.
    fn next(&self, from: u64, wanted: bool) -> Option<u64> {
        if from >= self.extents {
            return None;
        }
        let flip = if wanted { 0 } else { u64::MAX };
        let mut at = (from / WORD) as usize;
        let mut word = (self.words[at] ^ flip) & (u64::MAX << (from % WORD));
        while word == 0 {
            at += 1;
            word = self.words.get(at)? ^ flip;
        }
        let found = at as u64 * WORD + u64::from(word.trailing_zeros());
        (found < self.extents).then_some(found)
    }

    /// The pages with bits that are set here and perhaps not on the disk; also those whose writing
    /// nobody saw the end of.
    #[must_use]
    pub fn pages_set(&self) -> Vec<u32> {
        self.set.union(&self.keeping).copied().collect()
    }

    /// All pages that differ from what is on the disk.
    #[must_use]
    pub fn pages_changed(&self) -> Vec<u32> {
        let set: BTreeSet<u32> = self.set.union(&self.keeping).copied().collect();
        set.union(&self.cleared).copied().collect()
    }

    /// Whether every bit of these extents that is set is on the disk too.
    #[must_use]
    pub fn is_kept(&self, first: u64, end: u64) -> bool {
        if first >= end {
            return true;
        }
        let page = |extent: u64| u32::try_from(extent / MAP_PAGE_BITS).unwrap_or(u32::MAX);
        let pages = page(first)..=page(end - 1);
        let none = |of: &BTreeSet<u32>| of.range(pages.clone()).next().is_none();
        none(&self.set) && none(&self.keeping)
    }

    /// The bits of a page.
    #[must_use]
    pub fn page(&self, page: u32) -> &[u64] {
        let words = (MAP_PAGE_BITS / WORD) as usize;
        let first = (page as usize * words).min(self.words.len());
        &self.words[first..(first + words).min(self.words.len())]
    }

    /// A page is about to be written as it is now; [`Self::kept`] or [`Self::not_kept`] follows. A bit
    /// that is set meanwhile is not in it.
    pub fn keep(&mut self, page: u32) {
        self.cleared.remove(&page);
        self.set.remove(&page);
        self.keeping.insert(page);
    }

    /// It is on the disk.
    pub fn kept(&mut self, page: u32) {
        self.keeping.remove(&page);
    }

    /// It could not be written.
    pub fn not_kept(&mut self, page: u32) {
        self.keeping.remove(&page);
        self.set.insert(page);
    }
}

fn page_of(word: usize) -> u32 {
    u32::try_from(word as u64 / (MAP_PAGE_BITS / WORD)).unwrap_or(u32::MAX)
}

/// The words that a span of bits touches, with the bits in each.
fn masks(first: u64, end: u64) -> impl Iterator<Item = (usize, u64)> {
    let words = if first < end { first / WORD..end.div_ceil(WORD) } else { 0..0 };
    words.map(move |word| {
        let low = first.saturating_sub(word * WORD);
        let high = (end - word * WORD).min(WORD);
        let below = |bit: u64| if bit >= WORD { u64::MAX } else { (1 << bit) - 1 };
        (word as usize, below(high) & !below(low))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a plain list of truths.
        #[test]
        fn it_is_what_a_list_of_truths_is(
            extents in 1u64..400,
            steps in prop::collection::vec((any::<bool>(), 0u64..420, 0u64..200), 0..40),
            from in 0u64..420,
            most in 1u64..100,
        ) {
            let mut map = DirtyMap::new(extents);
            let mut truths = vec![false; extents as usize];
            for (set, first, length) in steps {
                let end = first + length;
                let span = truths.iter_mut().skip(first as usize).take(length as usize);
                let changed = span.map(|it| u64::from(std::mem::replace(it, set) != set)).sum::<u64>();
                let told = if set { map.set(first, end) } else { map.clear(first, end) };
                prop_assert_eq!(told, changed);
            }
            prop_assert_eq!(map.count(), truths.iter().filter(|it| **it).count() as u64);
            let run = (from as usize..truths.len()).find(|at| truths[*at]).map(|first| {
                let long = truths[first..].iter().take(most as usize).take_while(|it| **it).count();
                (first as u64, (first + long) as u64)
            });
            prop_assert_eq!(map.next_run(from, most), run);
            let mut merged = DirtyMap::new(extents);
            merged.merge(&map);
            prop_assert_eq!(&merged.words, &map.words);
            let read = DirtyMap::from_words(extents, &map.words);
            prop_assert_eq!((read.count(), &read.words), (map.count(), &map.words));
        }
    }

    #[test]
    fn r29_a_bit_counts_as_kept_only_when_its_page_was_written_after_it_was_set() {
        let mut map = DirtyMap::new(3 * MAP_PAGE_BITS);
        map.set(MAP_PAGE_BITS - 1, MAP_PAGE_BITS + 1);
        assert_eq!(map.pages_set(), [0, 1]);
        assert!(!map.is_kept(0, 1) && !map.is_kept(MAP_PAGE_BITS + 5, MAP_PAGE_BITS + 6));
        assert!(map.is_kept(2 * MAP_PAGE_BITS, 3 * MAP_PAGE_BITS));
        map.keep(0);
        assert!(!map.is_kept(0, 1), "it is being written");
        map.kept(0);
        assert!(map.is_kept(0, MAP_PAGE_BITS) && !map.is_kept(0, MAP_PAGE_BITS + 1));
        assert_eq!(map.page(0)[(MAP_PAGE_BITS / WORD) as usize - 1], 1 << 63);
        map.clear(0, MAP_PAGE_BITS);
        assert!(map.is_kept(0, MAP_PAGE_BITS), "what is cleared need not be kept at once");
        assert_eq!(map.pages_changed(), [0, 1]);
        map.keep(1);
        map.set(MAP_PAGE_BITS + 9, MAP_PAGE_BITS + 10);
        map.kept(1);
        assert!(!map.is_kept(MAP_PAGE_BITS + 9, MAP_PAGE_BITS + 10), "it was set after the page was taken");
    }
}
