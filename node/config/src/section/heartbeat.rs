//! `[[heartbeat]]`: a heartbeat path between all servers; the first has the highest priority.

use crate::{
    draft::HeartbeatDraft,
    reader::{Section, unsupported},
};

#[derive(Clone, Copy)]
enum Kind {
    Lan,
    Com,
    Disk,
}

const KINDS: [(&str, Kind); 3] = [("lan", Kind::Lan), ("com", Kind::Com), ("disk", Kind::Disk)];

/// `None` for a kind that this version cannot do: it has been reported.
pub(crate) fn read(section: Section<'_>) -> HeartbeatDraft {
    section.need("kind", "kind = \"lan\"");
    let span = section.span.clone();
    let kind = section.choice("kind", &KINDS);
    if let Some(other) = &kind {
        let what = match other.get_ref() {
            Kind::Lan => None,
            Kind::Com => Some("heartbeats over a serial line (kind = \"com\")"),
            Kind::Disk => Some("heartbeats over a shared disk (kind = \"disk\")"),
        };
        if let Some(what) = what {
            // The other keys of this kind are not judged: one error is enough.
            let remedy = "take this [[heartbeat]] out, and add one with kind = \"lan\" for each network";
            unsupported(section.reading, &other.span(), what, remedy);
            return HeartbeatDraft { network: None, span };
        }
    }
    section.need("network", "network = \"…\": the name of a [[network]]");
    let network = section.string("network");
    section.finish();
    HeartbeatDraft { network, span }
}
