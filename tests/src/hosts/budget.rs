//! Where the time of a failover goes, from the events of the servers that live on. Their boot clock
//! is one clock in a laboratory.

use tasuki_proto::v1::EventRecord;

use super::{GROUP, round::Round};

/// The parts, in order.
pub const PARTS: [&str; 6] = [
    "detection: first path called lost",
    "decision: the lost server's lease has certainly ended",
    "commit: the server is gone",
    "commit: the new owner",
    "start: resources, until the group is online",
    "announcement: until the client's first answer",
];

/// How long each of [`PARTS`] took, in milliseconds; negative when the client was served before the
/// servers said so. `None` when an event is missing.
#[must_use]
pub fn split(round: &Round, events: &[EventRecord]) -> Option<[f64; PARTS.len()]> {
    let lost = round.before.server.as_str();
    let group = format!("group/{GROUP}");
    let about_lost = |event: &EventRecord| event.object.split('/').nth(1) == Some(lost);
    let first = |from: u64, is: &dyn Fn(&EventRecord) -> bool| {
        let fits = |event: &&EventRecord| event.boot_ns >= from && event.server != lost && is(event);
        events.iter().filter(fits).map(|event| event.boot_ns).min()
    };
    let detected = first(round.struck, &|event| event.kind == "path-lost" && about_lost(event))?;
    let judged = first(detected, &|event| event.kind == "server-judged" && about_lost(event))?;
    let gone = first(judged, &|event| {
        event.revision.is_some() && event.text.contains(lost) && event.text.contains("gone")
    })?;
    let owned =
        first(gone, &|event| event.revision.is_some() && event.text.contains(&format!("owns {GROUP}")))?;
    let online = first(owned, &|event| event.kind == "group-online" && event.object == group)?;
    let marks = [round.struck, detected, judged, gone, owned, online, round.back];
    let mut parts = [0.0; PARTS.len()];
    for (part, pair) in parts.iter_mut().zip(marks.windows(2)) {
        *part = milliseconds(pair[1]) - milliseconds(pair[0]);
    }
    Some(parts)
}

#[allow(clippy::cast_precision_loss)] // a boot of weeks still leaves microseconds
fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}
