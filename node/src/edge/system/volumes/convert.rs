//! The data path's words as the actors have them: the same, since neither knows of the other.

use tasuki_actors::ports::volumes as port;
use tasuki_volume::path as own;

pub(super) fn event(event: own::VolumeEvent) -> port::VolumeEvent {
    use own::VolumeEvent as From;
    use port::VolumeEvent as To;
    match event {
        From::PeerMet { welcome, differing } => To::PeerMet { welcome, differing },
        From::PeerRefused { peer, why } => To::PeerRefused { peer, why },
        From::PeerLost { peer, why } => To::PeerLost { peer, why },
        From::PeerSlow { peer } => To::PeerSlow { peer },
        From::PeerAwaited { peer, over } => To::PeerAwaited { peer, over },
        From::Synced { peer } => To::Synced { peer },
        From::DiskFailed { why } => To::DiskFailed { why },
        From::PeerDiskFailed { peer, why } => To::PeerDiskFailed { peer, why },
        From::Primary { server, epoch } => To::Primary { server, epoch },
        From::Ended { why } => To::Ended { why },
        From::Saved(saved) => To::Saved(saved),
        From::Verified(report) => To::Verified(port::VerifyReport {
            peer: report.peer,
            compared: report.compared,
            different: report.different,
            repaired: report.repaired,
            problem: report.problem,
        }),
    }
}

pub(super) fn view(view: own::VolumeView) -> port::VolumeView {
    port::VolumeView {
        role: view.role,
        disk: view.disk,
        failed: view.failed,
        size: view.size,
        epoch: view.epoch,
        generation: view.generation,
        device: None,
        export: None,
        frozen: view.frozen,
        peers: view.peers.into_iter().map(peer).collect(),
        counters: port::VolumeCounters {
            reads: view.counters.reads,
            writes: view.counters.writes,
            flushes: view.counters.flushes,
            read_bytes: view.counters.read_bytes,
            written_bytes: view.counters.written_bytes,
            in_flight: view.counters.in_flight,
        },
    }
}

fn peer(peer: own::PeerView) -> port::PeerView {
    port::PeerView {
        server: peer.server,
        link: peer.link,
        mode: peer.mode,
        dirty: peer.dirty,
        progress: peer.progress.map(|progress| port::Progress {
            total: progress.total,
            done: progress.done,
            sent: progress.sent,
            rate: progress.rate,
            remaining: progress.remaining,
        }),
    }
}
