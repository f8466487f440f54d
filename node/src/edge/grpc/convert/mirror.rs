//! Mirrored disks.

use serde::{Serialize, de::DeserializeOwned};
use tasuki_core::{
    ids::{Epoch, Generation, ServerName, VolumeName},
    time::WallTime,
};
use tasuki_proto::v1 as wire;

use super::{Malformed, Result};
use crate::app::mirrors::{
    CopyHere, CopyStatus, Counters, Difference, ForcedStatus, Order, OrderDone, PeerStatus, ProgressView,
    Verified, VolumeStatus,
};

/// A word of a fixed set, as JSON has it too.
fn word_out(word: &impl Serialize) -> String {
    match serde_json::to_value(word) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(), // only words come here
    }
}

fn word_in<T: DeserializeOwned>(word: String, what: &'static str) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(word)).map_err(|_| Malformed(what))
}

fn names_out(names: Vec<ServerName>) -> Vec<String> {
    names.iter().map(ServerName::to_string).collect()
}

fn names_in(names: Vec<String>) -> Vec<ServerName> {
    names.into_iter().map(ServerName::new).collect()
}

fn path_out(path: Option<std::path::PathBuf>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

/// To the wire.
#[must_use]
pub fn volume_out(volume: VolumeStatus) -> wire::MirrorVolume {
    wire::MirrorVolume {
        name: volume.name.to_string(),
        group: volume.group.to_string(),
        size: volume.size,
        owner: volume.owner.map(|owner| owner.to_string()).unwrap_or_default(),
        epoch: volume.epoch.0,
        generation: volume.generation.0,
        good: names_out(volume.good),
        forced: volume.forced.map(|forced| wire::MirrorForced {
            server: forced.server.to_string(),
            instead_of: names_out(forced.instead_of),
            at_ms: forced.at.0,
        }),
        copies: volume.copies.into_iter().map(copy_out).collect(),
    }
}

/// From the wire.
///
/// # Errors
/// A word without a meaning here.
pub fn volume_in(volume: wire::MirrorVolume) -> Result<VolumeStatus> {
    Ok(VolumeStatus {
        name: VolumeName::new(volume.name),
        group: volume.group.as_str().into(),
        size: volume.size,
        owner: super::optional(volume.owner).map(ServerName::new),
        epoch: Epoch(volume.epoch),
        generation: Generation(volume.generation),
        good: names_in(volume.good),
        forced: volume.forced.map(|forced| ForcedStatus {
            server: ServerName::new(forced.server),
            instead_of: names_in(forced.instead_of),
            at: WallTime(forced.at_ms),
        }),
        copies: volume.copies.into_iter().map(copy_in).collect::<Result<_>>()?,
    })
}

fn copy_out(copy: CopyStatus) -> wire::MirrorCopy {
    wire::MirrorCopy {
        server: copy.server.to_string(),
        data: path_out(Some(copy.data)),
        metadata: path_out(Some(copy.metadata)),
        here: copy.here.map(here_out),
        silent: copy.silent,
        link: word_out(&copy.link),
        colour: word_out(&copy.colour),
        dirty: copy.dirty,
        progress: copy.progress.map(progress_out),
    }
}

fn copy_in(copy: wire::MirrorCopy) -> Result<CopyStatus> {
    Ok(CopyStatus {
        server: ServerName::new(copy.server),
        data: copy.data.into(),
        metadata: copy.metadata.into(),
        here: copy.here.map(here_in).transpose()?,
        silent: copy.silent,
        link: word_in(copy.link, "link of a copy")?,
        colour: word_in(copy.colour, "colour of a copy")?,
        dirty: copy.dirty,
        progress: copy.progress.map(progress_in),
    })
}

/// To the wire.
#[must_use]
pub fn here_out(here: CopyHere) -> wire::MirrorHere {
    let counters = here.counters;
    wire::MirrorHere {
        volume: here.volume.to_string(),
        role: word_out(&here.role),
        disk: word_out(&here.disk),
        size: here.size,
        epoch: here.epoch.0,
        generation: here.generation.0,
        device: path_out(here.device),
        export: path_out(here.export),
        frozen: here.frozen,
        problem: here.problem,
        peers: here.peers.into_iter().map(peer_out).collect(),
        counters: Some(wire::MirrorCounters {
            reads: counters.reads,
            writes: counters.writes,
            flushes: counters.flushes,
            read_bytes: counters.read_bytes,
            written_bytes: counters.written_bytes,
            in_flight: counters.in_flight,
        }),
        verified: here.verified.map(verified_out),
    }
}

/// From the wire.
///
/// # Errors
/// A word without a meaning here.
pub fn here_in(here: wire::MirrorHere) -> Result<CopyHere> {
    let counters = here.counters.unwrap_or_default();
    Ok(CopyHere {
        volume: VolumeName::new(here.volume),
        role: word_in(here.role, "role of a copy")?,
        disk: word_in(here.disk, "state of a copy")?,
        size: here.size,
        epoch: Epoch(here.epoch),
        generation: Generation(here.generation),
        device: super::optional(here.device).map(Into::into),
        export: super::optional(here.export).map(Into::into),
        frozen: here.frozen,
        problem: here.problem,
        peers: here.peers.into_iter().map(peer_in).collect::<Result<_>>()?,
        counters: Counters {
            reads: counters.reads,
            writes: counters.writes,
            flushes: counters.flushes,
            read_bytes: counters.read_bytes,
            written_bytes: counters.written_bytes,
            in_flight: counters.in_flight,
        },
        verified: here.verified.map(verified_in),
    })
}

fn peer_out(peer: PeerStatus) -> wire::MirrorPeer {
    wire::MirrorPeer {
        server: peer.server.to_string(),
        link: word_out(&peer.link),
        mode: word_out(&peer.mode),
        dirty: peer.dirty,
        progress: peer.progress.map(progress_out),
    }
}

fn peer_in(peer: wire::MirrorPeer) -> Result<PeerStatus> {
    Ok(PeerStatus {
        server: ServerName::new(peer.server),
        link: word_in(peer.link, "link of a copy")?,
        mode: word_in(peer.mode, "mode of a copy")?,
        dirty: peer.dirty,
        progress: peer.progress.map(progress_in),
    })
}

fn progress_out(progress: ProgressView) -> wire::MirrorProgress {
    let ProgressView { total, done, sent, rate, remaining_ms } = progress;
    wire::MirrorProgress { total, done, sent, rate, remaining_ms }
}

fn progress_in(progress: wire::MirrorProgress) -> ProgressView {
    let wire::MirrorProgress { total, done, sent, rate, remaining_ms } = progress;
    ProgressView { total, done, sent, rate, remaining_ms }
}

fn verified_out(verified: Verified) -> wire::MirrorVerified {
    let spans = verified.different.into_iter();
    wire::MirrorVerified {
        server: verified.server.map(|server| server.to_string()).unwrap_or_default(),
        compared: verified.compared,
        different: spans.map(|(offset, length)| wire::MirrorSpan { offset, length }).collect(),
        repaired: verified.repaired,
        problem: verified.problem,
    }
}

fn verified_in(verified: wire::MirrorVerified) -> Verified {
    Verified {
        server: super::optional(verified.server).map(ServerName::new),
        compared: verified.compared,
        different: verified.different.into_iter().map(|span| (span.offset, span.length)).collect(),
        repaired: verified.repaired,
        problem: verified.problem,
    }
}

/// To the wire.
#[must_use]
pub fn difference_out(difference: Difference) -> wire::MirrorDifference {
    let places = difference.places.into_iter();
    wire::MirrorDifference {
        server: difference.server.to_string(),
        lacks: difference.lacks.map(|server| server.to_string()).unwrap_or_default(),
        bytes: difference.bytes,
        places: places.map(|(offset, length)| wire::MirrorSpan { offset, length }).collect(),
        places_in_all: difference.places_in_all,
        filesystem: difference.filesystem,
        files: difference.files,
        note: difference.note,
    }
}

/// From the wire.
#[must_use]
pub fn difference_in(difference: wire::MirrorDifference) -> Difference {
    Difference {
        server: ServerName::new(difference.server),
        lacks: super::optional(difference.lacks).map(ServerName::new),
        bytes: difference.bytes,
        places: difference.places.into_iter().map(|place| (place.offset, place.length)).collect(),
        places_in_all: difference.places_in_all,
        filesystem: difference.filesystem,
        files: difference.files,
        note: difference.note,
    }
}

/// To the wire.
#[must_use]
pub fn order_out(volume: &VolumeName, order: &Order, here: bool) -> wire::MirrorOrderRequest {
    let named = |server: &Option<ServerName>| server.as_ref().map(ServerName::to_string).unwrap_or_default();
    let plain = wire::MirrorOrderRequest { volume: volume.to_string(), here, ..Default::default() };
    match order {
        Order::Rebuild { server, full, discard } => wire::MirrorOrderRequest {
            order: "rebuild".to_owned(),
            server: named(server),
            full: *full,
            discard: *discard,
            ..plain
        },
        Order::Verify { server, repair } => wire::MirrorOrderRequest {
            order: "verify".to_owned(),
            server: named(server),
            repair: *repair,
            ..plain
        },
        Order::Stop => wire::MirrorOrderRequest { order: "stop".to_owned(), ..plain },
        Order::Pause => wire::MirrorOrderRequest { order: "pause".to_owned(), ..plain },
        Order::Resume => wire::MirrorOrderRequest { order: "resume".to_owned(), ..plain },
        Order::Resize => wire::MirrorOrderRequest { order: "resize".to_owned(), ..plain },
        Order::Mend => wire::MirrorOrderRequest { order: "mend".to_owned(), ..plain },
    }
}

/// From the wire.
///
/// # Errors
/// An order that is none.
pub fn order_in(request: wire::MirrorOrderRequest) -> Result<Order> {
    let server = super::optional(request.server).map(ServerName::new);
    Ok(match request.order.as_str() {
        "rebuild" => Order::Rebuild { server, full: request.full, discard: request.discard },
        "verify" => Order::Verify { server, repair: request.repair },
        "stop" => Order::Stop,
        "pause" => Order::Pause,
        "resume" => Order::Resume,
        "resize" => Order::Resize,
        "mend" => Order::Mend,
        _ => return Err(Malformed("order")),
    })
}

/// To the wire.
#[must_use]
pub fn done_out(done: OrderDone) -> wire::MirrorOrderResponse {
    wire::MirrorOrderResponse {
        server: done.server.to_string(),
        copies: names_out(done.copies),
        size: done.size,
    }
}

/// From the wire.
#[must_use]
pub fn done_in(done: wire::MirrorOrderResponse) -> OrderDone {
    OrderDone { server: ServerName::new(done.server), copies: names_in(done.copies), size: done.size }
}

#[cfg(test)]
mod tests {
    use tasuki_core::mirror::{Colour, DiskState, LinkState, Role, state::PeerMode};

    use super::*;

    #[test]
    fn mirrored_disks_survive_the_wire() {
        let progress = ProgressView { total: 9, done: 5, sent: 2, rate: 1, remaining_ms: Some(4000) };
        let peer = PeerStatus {
            server: "lala".into(),
            link: LinkState::SyncSource,
            mode: PeerMode::Syncing,
            dirty: 4096,
            progress: Some(progress),
        };
        let verified = Verified {
            server: Some("lala".into()),
            compared: 7,
            different: vec![(4096, 8192)],
            repaired: true,
            problem: "cut".into(),
        };
        let here = CopyHere {
            volume: "md".into(),
            role: Role::Primary,
            disk: DiskState::UpToDate,
            size: 1 << 30,
            epoch: Epoch(3),
            generation: Generation(2),
            device: Some("/dev/tasuki/md".into()),
            export: None,
            frozen: true,
            problem: "none".into(),
            peers: vec![peer],
            counters: Counters {
                reads: 1,
                writes: 2,
                flushes: 3,
                read_bytes: 4,
                written_bytes: 5,
                in_flight: 6,
            },
            verified: Some(verified),
        };
        let copy = |here: Option<CopyHere>, link, colour| CopyStatus {
            server: "kiki".into(),
            data: "/dev/sdb2".into(),
            metadata: "/dev/sdb1".into(),
            silent: if here.is_some() { String::new() } else { "down".to_owned() },
            here,
            link,
            colour,
            dirty: Some(0),
            progress: None,
        };
        let volume = VolumeStatus {
            name: "md".into(),
            group: "db".into(),
            size: 1 << 30,
            owner: Some("kiki".into()),
            epoch: Epoch(3),
            generation: Generation(2),
            good: vec!["kiki".into()],
            forced: Some(ForcedStatus {
                server: "kiki".into(),
                instead_of: vec!["lala".into()],
                at: WallTime(7),
            }),
            copies: vec![
                copy(Some(here.clone()), LinkState::SyncSource, Colour::Green),
                copy(None, LinkState::Disconnected, Colour::Grey),
            ],
        };
        assert_eq!(volume_in(volume_out(volume.clone())), Ok(volume));
        assert_eq!(here_in(here_out(here.clone())), Ok(here));
        let wrong = wire::MirrorHere { role: "boss".into(), ..Default::default() };
        assert_eq!(here_in(wrong), Err(Malformed("role of a copy")));
    }

    #[test]
    fn orders_survive_the_wire() {
        let (volume, server) = (VolumeName::new("md"), Some(ServerName::new("lala")));
        for order in [
            Order::Rebuild { server: server.clone(), full: true, discard: false },
            Order::Rebuild { server: None, full: false, discard: true },
            Order::Verify { server, repair: true },
            Order::Stop,
            Order::Pause,
            Order::Resume,
            Order::Resize,
            Order::Mend,
        ] {
            assert_eq!(order_in(order_out(&volume, &order, true)), Ok(order));
        }
        let unknown = wire::MirrorOrderRequest { order: "explode".into(), ..Default::default() };
        assert_eq!(order_in(unknown), Err(Malformed("order")));
        let done = OrderDone { server: "kiki".into(), copies: vec!["lala".into()], size: 7 };
        assert_eq!(done_in(done_out(done.clone())), done);
    }
}
