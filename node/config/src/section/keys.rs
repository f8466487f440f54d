//! Keys of resources that belong to no type, beside those of the built-in types.

use std::time::Duration;

use tasuki_core::config::built_in;
use toml::Spanned;

use crate::{reader::Section, section::resource_type::within_bounds};

/// What follows a failed start, what comes before it in its group, and whether it only reads.
const EXTRA: [&str; 3] = ["on_start_failure", "depends_on", "read_only"];

/// Whether a key is one of every resource.
pub(crate) fn is_extra(key: &str) -> bool {
    EXTRA.contains(&key)
}

/// A duration within the bounds that its built-in attribute has.
pub(crate) fn time(section: &Section<'_>, key: &str) -> Option<Spanned<Duration>> {
    let range = built_in::attribute(key).and_then(|attribute| attribute.range);
    let may_be_zero = range.is_some_and(|(least, _)| least == 0);
    let span = if may_be_zero { section.duration(key) } else { section.positive_duration(key) }?;
    within_bounds(section, key, &span, range).then_some(span)
}
