//! In which situation a machine is, in words: for the table of what it does in each.

use super::{
    Mirror, OwnDisk,
    opening::{Device, Stored},
    peers::Peer,
};

impl Mirror {
    /// Of the volume first, then of each peer.
    pub fn situation(&self) -> Vec<String> {
        let peers = self.peers.values().map(Peer::situation);
        std::iter::once(self.own_situation().to_owned()).chain(peers).collect()
    }

    fn own_situation(&self) -> &'static str {
        let Some(tenure) = &self.tenure else { return "Closed" };
        if tenure.failing {
            return "Failing";
        }
        if tenure.ends.is_some() {
            return if tenure.device == Device::None { "Closing" } else { "Detaching" };
        }
        match (tenure.epoch, tenure.stored, tenure.promoted, &self.disk) {
            (None, ..) => "Proposing",
            (_, Stored::No | Stored::Asked, ..) => "Storing",
            (_, _, false, _) => "Meeting",
            (.., OwnDisk::Works) => "Open",
            (.., OwnDisk::Failed { .. }) => "Open, disk failed",
            (.., OwnDisk::Through(_)) => "Open, diskless",
        }
    }
}
