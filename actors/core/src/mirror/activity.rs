//! The activity log's table: which regions of a volume are being written, so that after a crash only
//! these may differ between the copies (R29).
//!
//! ```text
//!            enter                 logged                  settled: flushed everywhere, or recorded
//!  (out) ────────────► Wanted ────────────► In, used ──► In, idle ───────────────────────► (out)
//! ```
//!
//! A region is written only while it is `In`: the log that names it is on the disk. It leaves the table
//! only when what was written in it is on every disk, or its dirty bits are; who leaves is named for
//! the last time by the log before the one that is written next, which does no harm.

use std::collections::BTreeMap;

/// The number of a write: they count up from one.
pub type WriteNumber = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Region {
    /// A log that names it is on the disk.
    logged: bool,
    /// Writes that are in it now.
    users: u32,
    /// The last write in it.
    last: WriteNumber,
    /// When it was used last, in uses.
    used: u64,
}

/// The table.
#[derive(Clone, Debug)]
pub struct Activity {
    limit: usize,
    regions: BTreeMap<u32, Region>,
    uses: u64,
}

/// May a write begin?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Yes: all its regions are in the log. They are in use now.
    In,
    /// The log has to be written first; its regions have their places.
    Log,
    /// There is no place: regions have to settle first.
    Full,
}

impl Activity {
    /// A table of at most so many regions.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(2), regions: BTreeMap::new(), uses: 0 }
    }

    /// How many regions are in the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.regions.len()
    }

    /// None is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.regions.is_empty()
    }

    /// A write wants to begin in the regions from `first` up to, not including, `end`. With
    /// [`Entry::In`] they are in use until [`Self::leave`]. Otherwise it asks again later.
    /// `settled` says whether a region that nobody uses may leave for it: everything in it up to that
    /// write is flushed everywhere, or recorded durably.
    pub fn enter(
        &mut self,
        first: u32,
        end: u32,
        mut settled: impl FnMut(u32, WriteNumber) -> bool,
    ) -> Entry {
        self.uses += 1;
        let uses = self.uses;
        let missing: Vec<u32> = (first..end).filter(|region| !self.regions.contains_key(region)).collect();
        let surplus = (self.regions.len() + missing.len()).saturating_sub(self.limit);
        if surplus > 0 {
            let mut idle: Vec<(u64, u32, WriteNumber)> = self
                .regions
                .iter()
                .filter(|(at, it)| it.users == 0 && it.logged && !(first..end).contains(at))
                .map(|(at, it)| (it.used, *at, it.last))
                .collect();
            idle.sort_unstable();
            let leaving: Vec<u32> = idle
                .into_iter()
                .filter(|(_, region, last)| settled(*region, *last))
                .map(|(_, region, _)| region)
                .take(surplus.max(self.limit / 16))
                .collect();
            if leaving.len() < surplus {
                return Entry::Full;
            }
            for region in leaving {
                self.regions.remove(&region);
            }
        }
        for region in missing {
            self.regions.insert(region, Region { logged: false, users: 0, last: 0, used: uses });
        }
        let mut entry = Entry::In;
        for (_, it) in self.regions.range_mut(first..end) {
            it.used = uses;
            if !it.logged {
                entry = Entry::Log;
            }
        }
        if entry == Entry::In {
            for (_, it) in self.regions.range_mut(first..end) {
                it.users += 1;
            }
        }
        entry
    }

    /// A write that is in these regions has its number.
    pub fn write(&mut self, first: u32, end: u32, number: WriteNumber) {
        for (_, it) in self.regions.range_mut(first..end) {
            it.last = it.last.max(number);
        }
    }

    /// It has ended.
    pub fn leave(&mut self, first: u32, end: u32) {
        for (_, it) in self.regions.range_mut(first..end) {
            it.users = it.users.saturating_sub(1);
        }
    }

    /// What the log has to name now: write it, then say [`Self::logged`] with the same list.
    #[must_use]
    pub fn table(&self) -> Vec<u32> {
        self.regions.keys().copied().collect()
    }

    /// A log with these regions is on the disk.
    pub fn logged(&mut self, table: &[u32]) {
        for region in table {
            if let Some(it) = self.regions.get_mut(region) {
                it.logged = true;
            }
        }
    }

    /// Lets every settled region go that nobody uses; whether the table is empty then.
    pub fn settle(&mut self, mut settled: impl FnMut(u32, WriteNumber) -> bool) -> bool {
        self.regions.retain(|region, it| it.users > 0 || !it.logged || !settled(*region, it.last));
        self.regions.is_empty()
    }

    /// Regions that nobody uses but that have not settled: what to flush or record when it is full.
    #[must_use]
    pub fn idle(&self) -> Vec<u32> {
        self.regions.iter().filter(|(_, it)| it.users == 0).map(|(at, _)| *at).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(activity: &mut Activity) {
        let table = activity.table();
        activity.logged(&table);
    }

    #[test]
    fn r29_a_write_begins_only_when_the_log_names_its_regions() {
        let mut it = Activity::new(4);
        assert_eq!(it.enter(0, 2, |_, _| true), Entry::Log);
        let before = it.table();
        assert_eq!(it.enter(2, 3, |_, _| true), Entry::Log);
        it.logged(&before);
        assert_eq!(it.enter(0, 2, |_, _| true), Entry::In);
        assert_eq!(it.enter(1, 3, |_, _| true), Entry::Log, "2 came after that table");
        log(&mut it);
        assert_eq!(it.enter(1, 3, |_, _| true), Entry::In);
    }

    #[test]
    fn r29_what_is_used_or_not_settled_stays_and_the_longest_unused_goes() {
        let mut it = Activity::new(3);
        for region in 0..3 {
            it.enter(region, region + 1, |_, _| true);
            log(&mut it);
            assert_eq!(it.enter(region, region + 1, |_, _| true), Entry::In);
            it.write(region, region + 1, u64::from(region) + 1);
        }
        assert_eq!(it.enter(9, 10, |_, _| true), Entry::Full, "all are used");
        it.leave(0, 1);
        it.leave(1, 2);
        assert_eq!(it.enter(9, 10, |_, last| last > 2), Entry::Full, "neither has settled");
        assert_eq!(it.enter(9, 10, |_, _| true), Entry::Log);
        assert_eq!(it.table(), [1, 2, 9]);
        log(&mut it);
        assert!(!it.settle(|_, _| true), "2 is used");
        assert_eq!(it.table(), [2]);
    }

    #[test]
    fn nobody_leaves_before_a_log_has_named_it() {
        let mut it = Activity::new(2);
        it.enter(0, 2, |_, _| true);
        assert_eq!(it.enter(5, 6, |_, _| true), Entry::Full);
    }
}
