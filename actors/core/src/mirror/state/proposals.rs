//! What is committed, one proposal at a time, and what counts until its outcome is known.

use std::collections::BTreeSet;

use super::{Action, Mirror, Outcome, OwnDisk, Wake, opening::Device, peers::Stream};
use crate::{
    ids::{Revision, ServerName},
    mirror::lapse::{self, Lapse},
    registry::mirror::VolumeCommand,
};

/// A proposal under way.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub command: VolumeCommand,
    /// The revision of the facts that it was decided on.
    read: Revision,
    pub answer: Answer,
}

/// What was said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing, or that it was accepted: the registry will show it here.
    None,
    /// It was refused, or nobody knows. It is thought over in a moment.
    Again,
}

impl Mirror {
    pub(super) fn propose(&mut self, command: VolumeCommand, todo: &mut Vec<Action>) {
        let read = self.revision();
        self.asked = Some(Asked { command: command.clone(), read, answer: Answer::None });
        todo.push(Action::Propose { command, read: self.facts.as_ref().map(|(_, revision)| *revision) });
    }

    pub(super) fn outcome(&mut self, command: &VolumeCommand, outcome: Outcome, todo: &mut Vec<Action>) {
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.command == *command) else { return };
        if matches!(command, VolumeCommand::Close { .. })
            && let Some(ends) = self.tenure.as_mut().and_then(|tenure| tenure.ends.as_mut())
        {
            ends.closed = true; // or not: whoever opens it next takes it for a crash
            self.asked = None;
            return;
        }
        if !matches!(outcome, Outcome::Accepted(_)) {
            asked.answer = Answer::Again;
            todo.push(Action::Wake(Wake::Again));
        }
    }

    /// Facts that are newer than those that a proposal was decided on have it in them, or it is refused
    /// whenever it comes (R25).
    pub(super) fn settle(&mut self) {
        let known = self.revision();
        let _settled = self.asked.take_if(|asked| asked.read < known);
        self.claimed.retain(|_, read| *read >= known);
        if lapse::is(Lapse::NotAsIfCommitted) {
            self.claimed.clear();
        }
    }

    /// Commits out what is lost, has to be copied to, or has failed: before anything is answered
    /// without it, and before the first block is copied (R26, R27, R28, R30).
    pub(super) fn put_out(&mut self, todo: &mut Vec<Action>) {
        let ready = self.asked.is_none() && self.is_stepped();
        let Some((facts, _)) = self.facts.as_ref().filter(|_| ready) else { return };
        let Some(epoch) = self.epoch() else { return };
        let me = self.rules.me.clone();
        let may_be_good = facts.good.iter().chain(self.claimed.keys()).filter(|server| **server != me);
        let mut going: BTreeSet<ServerName> = may_be_good.filter(|peer| self.goes(peer)).cloned().collect();
        if self.disk.is_failed() && facts.good.contains(&me) && !lapse::is(Lapse::OwnDiskKeptGood) {
            going.insert(me.clone());
        }
        let leaves = |going: &BTreeSet<ServerName>| facts.good.difference(going).next().is_some();
        if !leaves(&going) && going.contains(&me) {
            going = BTreeSet::from([me.clone()]); // what cannot be reached now has it all
        }
        if going.is_empty() || !leaves(&going) && !lapse::is(Lapse::NoneGood) {
            return; // `mind_disk` sees to what then cannot go on
        }
        self.propose(VolumeCommand::Outdate { server: me, epoch, copies: going }, todo);
    }

    /// Whether a peer that may be good must be committed out.
    fn goes(&self, name: &ServerName) -> bool {
        let waited = self.tenure.as_ref().is_some_and(|tenure| tenure.waited || tenure.promoted);
        let Some(peer) = self.peers.get(name) else { return true }; // it is configured no more
        if self.is_left_good(name, peer) {
            return false;
        }
        match &peer.stream {
            Stream::Calling => waited,
            Stream::Resting | Stream::Apart => true,
            // It was away in between, and nobody knows whether it was taken back.
            Stream::Met(..) => self.claimed.contains_key(name),
            Stream::InStep => false,
            Stream::Behind { .. } => peer.is_behind() && !lapse::is(Lapse::TargetStaysGood),
        }
    }

    /// Takes a copy back that has been brought up to date. From here on it counts as good (R26).
    pub(super) fn take_back(&mut self, todo: &mut Vec<Action>) {
        let ends = self.tenure.as_ref().is_some_and(|tenure| tenure.ends.is_some());
        if self.asked.is_some() || !self.is_stepped() || ends || self.disk.is_failed() {
            return;
        }
        let back = self.peers.iter().find(|(name, peer)| peer.is_back() && !self.is_good(name));
        let (Some((copy, _)), Some(epoch)) = (back, self.epoch()) else { return };
        let copy = copy.clone();
        self.claimed.insert(copy.clone(), self.revision());
        let server = self.rules.me.clone();
        self.propose(VolumeCommand::UpToDate { server, epoch, copy }, todo);
    }

    /// The volume has grown.
    pub(super) fn grow(&mut self, todo: &mut Vec<Action>) {
        let is_there = self.tenure.as_ref().is_some_and(|tenure| tenure.device == Device::There);
        let (Some(own), Some((facts, _)), Some(epoch)) = (&self.own, &self.facts, self.epoch()) else {
            return;
        };
        let size = own.geometry.size;
        if is_there && self.asked.is_none() && self.disk == OwnDisk::Works && size > facts.size {
            let server = self.rules.me.clone();
            self.propose(VolumeCommand::Resize { server, epoch, size }, todo);
        }
    }
}
