//! The own disk fails under a primary: losing it is losing a copy (R27).

use super::{Action, Mirror, NotPromoted, Note, PeerMode};
use crate::{
    ids::ServerName,
    mirror::{
        DiskState,
        lapse::{self, Lapse},
    },
};

/// The own disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OwnDisk {
    Works,
    Failed {
        why: String,
    },
    /// Reads and writes go through this peer, which records what the own copy lacks.
    Through(ServerName),
}

impl OwnDisk {
    pub fn is_failed(&self) -> bool {
        *self != Self::Works
    }
}

impl Mirror {
    pub(super) fn disk_failed(&mut self, why: String, todo: &mut Vec<Action>) {
        if self.disk.is_failed() {
            return;
        }
        if let Some(own) = &mut self.own {
            own.disk = DiskState::Failed;
        }
        self.disk = OwnDisk::Failed { why: why.clone() };
        todo.push(Action::Tell(Note::DiskFailed(why.clone())));
        let volume = self.rules.volume.clone();
        if let Some(tenure) = self.tenure.as_mut().filter(|tenure| !tenure.promoted) {
            tenure.end(NotPromoted::NoDisk(volume, why));
        }
        // What was being stored is only remembered from here on.
        self.copy_stored();
    }

    /// The peer through which it goes on: good, in step, and of the newest generation.
    pub(super) fn stand_in(&self) -> Option<ServerName> {
        let fits = |name: &&ServerName| {
            let peer = self.peers.get(*name);
            self.is_good(name)
                && peer.is_some_and(|peer| peer.is_in_step() && peer.is_set(PeerMode::Required))
        };
        self.peers.keys().find(fits).cloned()
    }

    /// Once the loss of the own disk is committed it goes on through a peer, or it fails.
    pub(super) fn mind_disk(&mut self, todo: &mut Vec<Action>) {
        if !self.disk.is_failed() || self.asked.is_some() || !self.is_stepped() {
            return;
        }
        let others = self
            .facts
            .as_ref()
            .is_some_and(|(facts, _)| facts.good.iter().any(|server| *server != self.rules.me));
        if self.is_good(&self.rules.me) && others && !lapse::is(Lapse::OwnDiskKeptGood) {
            return; // it is committed out first
        }
        let goes_on = |peer: &ServerName| self.peers.get(peer).is_some_and(|peer| !peer.is_lost());
        if let OwnDisk::Through(peer) = &self.disk
            && self.is_good(peer)
            && goes_on(peer)
        {
            return;
        }
        let told =
            |peer: &ServerName| self.peers.get(peer).is_some_and(|peer| peer.generation >= self.generation());
        let ends = self.tenure.as_ref().is_none_or(|tenure| !tenure.promoted);
        match self.stand_in() {
            Some(peer) if self.rules.diskless && !ends => {
                if told(&peer) {
                    todo.push(Action::GoDiskless { through: peer.clone() });
                    self.disk = OwnDisk::Through(peer);
                }
            }
            _ if self.rules.diskless && self.is_about_to_be_told() => {}
            _ => self.fail_io(todo),
        }
    }

    /// A good peer in step is being told of the newest generation.
    fn is_about_to_be_told(&self) -> bool {
        let being = |(name, peer): (&ServerName, &super::Peer)| {
            self.is_good(name) && peer.is_in_step() && peer.setting == Some(PeerMode::Required)
        };
        self.peers.iter().any(being)
    }

    /// There is nothing to read from: what is in flight fails, and the group moves (R34).
    pub(super) fn fail_io(&mut self, todo: &mut Vec<Action>) {
        let volume = self.rules.volume.clone();
        if let Some(tenure) = self.tenure.as_mut().filter(|tenure| !tenure.failing) {
            tenure.failing = true;
            todo.push(Action::FailIo);
            if !tenure.promoted {
                tenure.end(NotPromoted::NoDisk(volume, "it failed while it was opened".to_owned()));
            }
        }
    }
}
