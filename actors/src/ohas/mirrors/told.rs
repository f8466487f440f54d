//! What people are told of a volume.

use tasuki_core::mirror::{handshake::Unwelcome, state::Note};

/// A stable word, and the sentence.
pub(super) fn words(note: &Note) -> (&'static str, String) {
    match note {
        Note::Frozen(peer) => ("mirror-frozen", format!("writes wait: the copy on {peer} does not answer")),
        Note::Alone(peer) => {
            ("mirror-alone", format!("goes on without the copy on {peer}, which is outdated from here on"))
        }
        Note::InStep(peer) => ("mirror-in-step", format!("the copy on {peer} is up to date")),
        Note::Resync { peer, full: false } => {
            ("mirror-resync", format!("what the copy on {peer} lacks is copied to it"))
        }
        Note::Resync { peer, full: true } => ("mirror-resync", format!("everything is copied to {peer}")),
        Note::Diverged(peer) => (
            "mirror-diverged",
            format!(
                "TSK-1805: the copies here and on {peer} each have data that the other lacks; `tasuki mirror \
                 rebuild --discard {peer}` copies over those on {peer}"
            ),
        ),
        Note::Refused(peer, Unwelcome::OtherWire(apart)) => {
            let older = if apart.is_secondary_older() { peer.as_str() } else { "this server" };
            let said = format!(
                "TSK-1830: this server speaks {} of the mirror's frames, {peer} {}: upgrade {older}",
                apart.theirs, apart.own
            );
            ("mirror-refused", said)
        }
        Note::Refused(peer, why) => ("mirror-refused", format!("TSK-1806: {peer} refuses: {why}")),
        Note::DiskFailed(why) => ("mirror-disk-failed", format!("TSK-1807: the disk here has failed: {why}")),
        Note::PeerDiskFailed(peer, why) => {
            ("mirror-disk-failed", format!("TSK-1807: the disk on {peer} has failed: {why}"))
        }
        Note::TooSlow(peer) => {
            ("mirror-too-slow", format!("the copy on {peer} was put out: it was too slow"))
        }
    }
}
