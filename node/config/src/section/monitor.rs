//! `[[monitor]]`: periodic probes, which this version does not have.

use crate::reader::{Section, unsupported};

pub(crate) fn read(file: &Section<'_>) {
    for monitor in file.tables("monitor", "[[monitor]]") {
        let remedy = "take the section out; programs with wait = false are watched without a monitor";
        unsupported(monitor.reading, &monitor.span, &format!("monitors ({})", monitor.what), remedy);
    }
}
