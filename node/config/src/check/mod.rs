//! Relations between sections: names that must be known and unique, addresses that must fit.
//!
//! Each check looks at what could be read; a value that was reported as wrong is absent here and
//! causes no second report.

mod addresses;
mod dependencies;
pub(crate) mod fences;
mod heartbeats;
pub(crate) mod mirrors;
mod monitors;
mod names;
mod references;
pub(crate) mod votes;
pub(crate) mod whole;
pub(crate) mod witnesses;

use crate::{draft::Draft, source::Reading};

/// More is not tested and would make the heartbeats alone a load.
pub const MOST_SERVERS: usize = 32;

pub(crate) fn check(reading: &Reading, draft: &Draft) {
    names::check(reading, draft);
    references::check(reading, draft);
    addresses::check(reading, draft);
    heartbeats::check(reading, draft);
    monitors::check(reading, draft);
    witnesses::check(reading, draft);
    votes::check(reading, draft);
    mirrors::check(reading, draft);
    fences::check(reading, draft);
    for group in &draft.groups {
        dependencies::check(reading, group);
    }
}
