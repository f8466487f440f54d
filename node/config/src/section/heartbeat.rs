//! `[[heartbeat]]`: a heartbeat path between all servers; the first has the highest priority.

use crate::{draft::HeartbeatDraft, reader::Section};

const KINDS: [(&str, ()); 1] = [("lan", ())];

const PLANNED: [(&str, &str); 2] = [
    ("com", "heartbeats over a serial line (kind = \"com\")"),
    ("disk", "heartbeats over a shared disk (kind = \"disk\")"),
];

pub(crate) fn read(section: Section<'_>) -> HeartbeatDraft {
    let span = section.span.clone();
    let remedy = "take this [[heartbeat]] out, and add one with kind = \"lan\" for each network";
    if section.unsupported_word("kind", &PLANNED, remedy) {
        // The other keys of such a path are not judged: one error is enough.
        return HeartbeatDraft { network: None, span };
    }
    section.need("kind", "kind = \"lan\"");
    section.need("network", "network = \"…\": the name of a [[network]]");
    section.choice("kind", &KINDS);
    let network = section.string("network");
    section.finish();
    HeartbeatDraft { network, span }
}
