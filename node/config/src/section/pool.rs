//! `[[pool]]`: servers that serve some work, at least and at most so many of them.
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `name` | the pool's name | needed |
//! | `comment` | for people | empty |
//! | `min` | filled up to this many servers before less important pools get more | 0 |
//! | `max` | never has more than this; absent: no limit | no limit |
//! | `importance` | 0 to 1000; the more important pool is filled first | 0 |
//! | `servers` | only these may be in it; absent: any | any |
//!
//! Servers in no pool are in `Free`; those that resources keep for themselves by name are in
//! `Generic`. These two exist without being written.

use toml::Spanned;

use crate::{draft::PoolDraft, reader::Section};

/// The greatest importance of a pool.
pub(crate) const MOST_IMPORTANCE: u32 = 1000;
/// More servers than any cluster has.
const MOST: u32 = 1000;

pub(crate) fn read(section: Section<'_>) -> PoolDraft {
    section.need("name", "name = \"…\"");
    let draft = PoolDraft {
        name: section.string("name"),
        comment: section.comment(),
        min: section.integer("min", 0..=MOST),
        max: section.integer("max", 0..=MOST),
        importance: section.integer("importance", 0..=MOST_IMPORTANCE).map_or(0, Spanned::into_inner),
        servers: section
            .names("servers", "a list of server names, such as [\"kiki\", \"lala\"]")
            .unwrap_or_default(),
    };
    section.finish();
    draft
}
