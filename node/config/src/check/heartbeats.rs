//! Heartbeat paths taken together: what carries the votes, and how many servers a cable joins.

use std::collections::BTreeMap;

use crate::{
    draft::{Draft, HeartbeatDraft, HeartbeatKind},
    problem::Code,
    source::Reading,
};

pub(crate) fn check(reading: &Reading, draft: &Draft) {
    no_network(reading, draft);
    for path in draft.heartbeats.iter().filter(|path| path.kind == Some(HeartbeatKind::Com)) {
        line(reading, draft, path);
    }
    twice(reading, draft);
}

/// R21: serial lines and disks carry neither votes nor leases.
fn no_network(reading: &Reading, draft: &Draft) {
    let Some(first) = draft.heartbeats.first() else { return };
    // A path whose kind could not be read has been reported, and may be the one.
    if draft.heartbeats.iter().any(|path| matches!(path.kind, None | Some(HeartbeatKind::Lan))) {
        return;
    }
    let problem = reading
        .problem(
            Code::NoLanHeartbeat,
            &first.span,
            "no heartbeat path is a network: no server would ever hold a lease",
        )
        .found("serial lines and disks, which only say who lives")
        .expected("a [[heartbeat]] with kind = \"lan\" besides them")
        .remedy("add a [[heartbeat]] with kind = \"lan\" for each network");
    reading.add(problem);
}

/// A serial cable has two ends.
fn line(reading: &Reading, draft: &Draft, path: &HeartbeatDraft) {
    let servers = draft.servers.len();
    if servers == 2 {
        return;
    }
    let span = path.device.as_ref().map_or(path.span.clone(), |device| device.span());
    let problem = reading
        .problem(Code::SerialLine, &span, "a serial line joins two servers, and no other number of them")
        .found(format!("{servers} servers"))
        .expected("two servers")
        .remedy("take this [[heartbeat]] out; with more servers use a further network, or kind = \"disk\"");
    reading.add(problem);
}

fn twice(reading: &Reading, draft: &Draft) {
    let mut seen = BTreeMap::new();
    for device in draft.heartbeats.iter().filter_map(|path| path.device.as_ref()) {
        let Some(first) = seen.insert(device.get_ref().clone(), device) else { continue };
        let shown = device.get_ref().display();
        let problem = reading
            .problem(Code::DuplicateName, &device.span(), format!("two heartbeat paths use {shown}"))
            .found(format!("`{shown}`, and again{}", reading.source.in_line(&first.span())))
            .expected("a device of its own for each path")
            .remedy("take one of the two out");
        reading.add(problem);
    }
}
