//! Each peer of a primary: met, in step, copied to, lost.

use super::{Action, Mirror, Note, OwnDisk, PeerMode, Wake, Wish, opening::Tenure};
use crate::{
    ids::{Generation, ServerName},
    mirror::{
        handshake::{Course, Meeting, Unwelcome, Welcome, course},
        lapse::{self, Lapse},
    },
};

/// One peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    pub stream: Stream,
    /// How writes treat it; `None`: not known, as after the loss of a stream in the middle of a change.
    pub mode: Option<PeerMode>,
    /// How they are asked to.
    pub setting: Option<PeerMode>,
    /// `SetPeer` has taken effect since the stream was met.
    carries: bool,
    /// The last generation that it keeps.
    pub generation: Generation,
    resync: Resync,
    /// An operator asked for a resync: all of it, and also over data that this copy lacks.
    rebuild: Option<Rebuild>,
    /// An operator ended its resync: it begins again only by a word.
    cancelled: bool,
    /// What it refused with last.
    refused: Option<Unwelcome>,
}

#[derive(Clone, Copy, Debug)]
struct Rebuild {
    full: bool,
    discard: bool,
}

/// The stream to a peer.
#[derive(Clone, Debug, Default)]
pub(super) enum Stream {
    /// It is being called.
    #[default]
    Calling,
    /// It is not called, because it was too slow.
    Resting,
    /// It is not called: its data and this copy's went apart. An operator decides.
    Apart,
    /// It has answered; what follows is not decided yet.
    Met(Box<Welcome>, u64),
    /// It is equal.
    InStep,
    /// It lacks something.
    Behind { full: bool, save: bool },
}

/// How far a resync is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Resync {
    #[default]
    No,
    Running,
    Done,
}

impl Peer {
    /// Writes are treated so, on the stream that stands.
    pub fn is_set(&self, mode: PeerMode) -> bool {
        self.setting.is_none() && self.mode == Some(mode) && self.carries
    }

    pub fn is_in_step(&self) -> bool {
        matches!(self.stream, Stream::InStep)
    }

    pub fn is_lost(&self) -> bool {
        matches!(self.stream, Stream::Calling | Stream::Resting | Stream::Apart)
    }

    /// It is to be copied to, and that is not done.
    pub fn is_behind(&self) -> bool {
        matches!(self.stream, Stream::Behind { .. }) && self.resync != Resync::Done
    }

    /// A resync is done, and every write waits for it.
    pub fn is_back(&self) -> bool {
        let done = matches!(self.stream, Stream::Behind { .. }) && self.resync == Resync::Done;
        done && (self.is_set(PeerMode::Required) || lapse::is(Lapse::NotYetRequired))
    }

    /// For the table of what is done in each situation.
    #[cfg(test)]
    pub fn situation(&self) -> String {
        let stream = match (&self.stream, self.resync) {
            (Stream::Calling, _) => "Calling",
            (Stream::Resting, _) => "Resting",
            (Stream::Apart, _) => "Apart",
            (Stream::Met(..), _) => "Met",
            (Stream::InStep, _) => "InStep",
            (Stream::Behind { .. }, Resync::No) => "Behind",
            (Stream::Behind { .. }, Resync::Running) => "Copying",
            (Stream::Behind { .. }, Resync::Done) => "Copied",
        };
        stream.to_owned()
    }

    fn set(&mut self, name: &ServerName, mode: PeerMode, own: Generation, todo: &mut Vec<Action>) {
        self.setting = Some(mode);
        if mode == PeerMode::Required {
            self.generation = own; // it counts once the setting is confirmed
        }
        todo.push(Action::SetPeer { peer: name.clone(), mode });
    }

    /// The stream is gone.
    fn lose(&mut self) {
        (self.carries, self.resync) = (false, Resync::No);
        if self.setting.take().is_some() {
            self.mode = None;
        }
    }
}

impl Mirror {
    pub(super) fn met(&mut self, welcome: Welcome, differing: u64) {
        if let Some(peer) = self.peers.get_mut(&welcome.server)
            && !matches!(peer.stream, Stream::Resting | Stream::Apart)
        {
            peer.lose();
            peer.refused = None;
            peer.generation = welcome.copy.history.generation();
            peer.stream = Stream::Met(Box::new(welcome), differing);
        }
    }

    pub(super) fn refused(&mut self, name: &ServerName, why: Unwelcome, todo: &mut Vec<Action>) {
        let Some(peer) = self.peers.get_mut(name) else { return };
        if peer.refused.as_ref() != Some(&why) {
            peer.refused = Some(why.clone());
            todo.push(Action::Tell(Note::Refused(name.clone(), why)));
        }
    }

    pub(super) fn lost(&mut self, name: &ServerName, todo: &mut Vec<Action>) {
        let let_go = |tenure: &Tenure| tenure.ends.as_ref().is_some_and(|ends| ends.closing);
        let promoted = self.tenure.as_ref().is_some_and(|tenure| tenure.promoted && !let_go(tenure));
        let Some(peer) = self.peers.get_mut(name).filter(|peer| !peer.is_lost()) else { return };
        let held = peer.mode == Some(PeerMode::Required) || peer.setting == Some(PeerMode::Required);
        peer.lose();
        peer.stream = Stream::Calling;
        if held && promoted {
            todo.push(Action::Tell(Note::Frozen(name.clone())));
        }
    }

    pub(super) fn peer_set(&mut self, name: &ServerName, mode: PeerMode) {
        if let Some(peer) = self.peers.get_mut(name)
            && peer.setting == Some(mode)
        {
            peer.setting = None;
            peer.mode = Some(mode);
            peer.carries = !peer.is_lost();
        }
    }

    pub(super) fn synced(&mut self, name: &ServerName) {
        if let Some(peer) = self.peers.get_mut(name)
            && peer.resync == Resync::Running
        {
            peer.resync = Resync::Done;
        }
    }

    /// It does not answer for longer than the policy allows: it is let go, and called again later.
    pub(super) fn slow(&mut self, name: &ServerName, todo: &mut Vec<Action>) {
        self.lost(name, todo);
        let Some(peer) = self.peers.get_mut(name).filter(|peer| matches!(peer.stream, Stream::Calling))
        else {
            return;
        };
        peer.stream = Stream::Resting;
        todo.push(Action::Tell(Note::TooSlow(name.clone())));
        todo.push(Action::Disconnect { peer: name.clone() });
        todo.push(Action::Wake(Wake::Patience));
    }

    pub(super) fn call_again(&mut self, todo: &mut Vec<Action>) {
        let Some(epoch) = self.epoch().filter(|_| self.is_serving()) else { return };
        for (name, peer) in &mut self.peers {
            if matches!(peer.stream, Stream::Resting) {
                peer.stream = Stream::Calling;
                todo.push(Action::Connect { peer: name.clone(), epoch });
            }
        }
    }

    /// The servers with copies may be others than before.
    pub(super) fn follow_rules(&mut self, todo: &mut Vec<Action>) {
        let Some(epoch) = self.epoch() else { return };
        let rules = &self.rules;
        self.peers.retain(|name, _| {
            let stays = rules.peers.contains(name);
            if !stays {
                todo.push(Action::SetPeer { peer: name.clone(), mode: PeerMode::Absent });
                todo.push(Action::Disconnect { peer: name.clone() });
            }
            stays
        });
        for name in &rules.peers {
            if !self.peers.contains_key(name) {
                self.peers.insert(name.clone(), Peer::default());
                todo.push(Action::Connect { peer: name.clone(), epoch });
            }
        }
    }

    /// A peer that was not met, and that stays good all the same. Only when the rule is taken out.
    pub(super) fn is_left_good(&self, name: &ServerName, peer: &Peer) -> bool {
        let waited = self.tenure.as_ref().is_some_and(|tenure| tenure.waited);
        let never_met = peer.is_lost() && peer.generation == Generation(0);
        lapse::is(Lapse::PeerStaysGood) && waited && never_met && !self.claimed.contains_key(name)
    }

    /// Takes the next step with one peer.
    pub(super) fn attend(&mut self, name: &ServerName, todo: &mut Vec<Action>) {
        let Some(mut peer) = self.peers.remove(name) else { return };
        self.look_at(name, &mut peer, todo);
        if peer.setting.is_none() {
            self.step_with(name, &mut peer, todo);
        }
        self.peers.insert(name.clone(), peer);
    }

    /// What a meeting leads to is decided when no proposal is under way and the own copy is of the
    /// newest generation: both may change it.
    fn look_at(&mut self, name: &ServerName, peer: &mut Peer, todo: &mut Vec<Action>) {
        let Stream::Met(welcome, differing) = &peer.stream else { return };
        let ready = self.asked.is_none() && self.is_stepped() && !self.claimed.contains_key(name);
        let (Some(own), Some((facts, _))) = (&self.own, &self.facts) else { return };
        if !ready {
            return;
        }
        let good = facts.good.contains(name);
        let compare = facts.compare.contains(name) && !lapse::is(Lapse::NotCompared);
        let course = course(&Meeting { own, differing: *differing, good, compare, welcome });
        let discard = peer.rebuild.is_some_and(|rebuild| rebuild.discard);
        let all = peer.rebuild.is_some_and(|rebuild| rebuild.full);
        peer.stream = match course {
            Course::InStep if all => Stream::Behind { full: true, save: false },
            Course::InStep => Stream::InStep,
            Course::Resync { full } => Stream::Behind { full: full || all, save: false },
            Course::Diverged if discard => Stream::Behind { full: compare || all, save: true },
            Course::PeerIsNewer if discard => Stream::Behind { full: true, save: true },
            Course::Diverged | Course::PeerIsNewer => {
                todo.push(Action::Tell(Note::Diverged(name.clone())));
                todo.push(Action::Disconnect { peer: name.clone() });
                if good && let Some(tenure) = self.tenure.as_mut().filter(|tenure| !tenure.promoted) {
                    let (volume, peer) = (self.rules.volume.clone(), name.clone());
                    tenure.end(super::NotPromoted::PeerIsNewer { volume, peer });
                }
                peer.lose();
                Stream::Apart
            }
        };
    }

    fn step_with(&mut self, name: &ServerName, peer: &mut Peer, todo: &mut Vec<Action>) {
        let (own, stepped) = (self.generation(), self.is_stepped());
        let left = self.is_left_good(name, peer);
        let out = !self.may_be_good(name) || left;
        match peer.stream {
            Stream::Met(..) => {}
            Stream::InStep if !out => {
                let told = peer.generation >= own;
                if stepped && !(peer.is_set(PeerMode::Required) && told) {
                    peer.set(name, PeerMode::Required, own, todo);
                }
            }
            // It was put out by an entry that nobody waited for any more.
            Stream::InStep => peer.stream = Stream::Behind { full: false, save: false },
            Stream::Behind { .. } if self.is_good(name) && peer.resync == Resync::Done => {
                peer.stream = Stream::InStep;
                (peer.resync, peer.rebuild) = (Resync::No, None);
                todo.push(Action::Tell(Note::InStep(name.clone())));
            }
            Stream::Behind { full, save } => {
                let out = out || lapse::is(Lapse::TargetStaysGood);
                if out && self.is_told(name) {
                    self.copy_to(name, peer, full, save, todo);
                }
            }
            Stream::Calling | Stream::Resting | Stream::Apart => {
                let out = out || lapse::is(Lapse::AloneAtOnce);
                if out && self.is_told(name) && peer.mode != Some(PeerMode::Absent) {
                    let was = peer.mode.replace(PeerMode::Absent);
                    let promoted = self.tenure.as_ref().is_some_and(|tenure| tenure.promoted);
                    peer.set(name, PeerMode::Absent, own, todo);
                    if promoted && was != Some(PeerMode::Syncing) {
                        todo.push(Action::Tell(Note::Alone(name.clone())));
                    }
                }
            }
        }
    }

    /// The own copy and every other one in step keep the newest generation: writes that `except` lacks
    /// may be answered.
    fn is_told(&self, except: &ServerName) -> bool {
        let told = |(name, peer): (&ServerName, &Peer)| {
            name == except
                || !peer.is_in_step()
                || peer.setting.is_none() && peer.generation >= self.generation()
        };
        self.is_stepped() && self.peers.iter().all(told)
    }

    fn copy_to(
        &mut self,
        name: &ServerName,
        peer: &mut Peer,
        full: bool,
        save: bool,
        todo: &mut Vec<Action>,
    ) {
        let (own, ends) =
            (self.generation(), self.tenure.as_ref().is_some_and(|tenure| tenure.ends.is_some()));
        let wanted = (self.rules.automatic || peer.rebuild.is_some()) && !peer.cancelled && !ends;
        if !wanted || self.disk != OwnDisk::Works {
            if peer.resync == Resync::Running {
                todo.push(Action::StopResync { peer: name.clone() });
            }
            peer.resync = Resync::No;
            if peer.mode != Some(PeerMode::Absent) {
                peer.set(name, PeerMode::Absent, own, todo);
            }
            return;
        }
        match peer.resync {
            Resync::No if peer.is_set(PeerMode::Syncing) => {
                peer.resync = Resync::Running;
                todo.push(Action::Tell(Note::Resync { peer: name.clone(), full }));
                todo.push(Action::StartResync { peer: name.clone(), full, save });
                if self.resting {
                    todo.push(Action::PauseResync { peer: name.clone(), rest: true });
                }
            }
            Resync::No => peer.set(name, PeerMode::Syncing, own, todo),
            Resync::Running => {}
            Resync::Done => {
                if !peer.is_set(PeerMode::Required) && !lapse::is(Lapse::NotYetRequired) {
                    peer.set(name, PeerMode::Required, own, todo);
                }
            }
        }
    }

    pub(super) fn wish(&mut self, wish: Wish, todo: &mut Vec<Action>) {
        match wish {
            Wish::Rebuild { peer, full, discard } => self.rebuild(&peer, full, discard, todo),
            Wish::Pause | Wish::Resume => {
                self.resting = wish == Wish::Pause;
                for (name, _) in self.peers.iter().filter(|(_, peer)| peer.resync == Resync::Running) {
                    todo.push(Action::PauseResync { peer: name.clone(), rest: self.resting });
                }
            }
            Wish::Cancel => {
                for (_, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.resync == Resync::Running) {
                    (peer.cancelled, peer.rebuild) = (true, None);
                }
            }
        }
    }

    fn rebuild(&mut self, name: &ServerName, full: bool, discard: bool, todo: &mut Vec<Action>) {
        let Some(epoch) = self.epoch().filter(|_| self.is_serving()) else { return };
        let Some(peer) = self.peers.get_mut(name) else { return };
        if peer.is_in_step() && !full {
            return; // there is nothing to copy
        }
        peer.rebuild = Some(Rebuild { full, discard });
        peer.cancelled = false;
        match &mut peer.stream {
            Stream::InStep => peer.stream = Stream::Behind { full: true, save: false },
            Stream::Behind { full: known, .. } if full && !*known => {
                *known = true;
                if peer.resync == Resync::Running {
                    todo.push(Action::StopResync { peer: name.clone() });
                    peer.resync = Resync::No;
                }
            }
            Stream::Apart if discard => {
                peer.stream = Stream::Calling;
                todo.push(Action::Connect { peer: name.clone(), epoch });
            }
            _ => {}
        }
    }
}
