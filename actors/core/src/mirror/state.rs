//! The mirror-state decision: what a server does with its copy of a volume at each event.
//!
//! ```text
//!            promote                 stored, met or given up              committed
//!  Closed ───────────► Opening ───────────────────────────► (without) ───────────────► Open
//!    ▲                                                                                  │
//!    └──────────────────────── demote: device away, peers flushed, Close ◄──────────────┘
//! ```
//!
//! One such machine runs on each server that has a copy. A secondary needs no decision of its own but
//! [`super::handshake::answer`]; its machine is closed and only follows the registry. The data path never
//! waits for the machine: a write whose peer is [`PeerMode::Required`] and away is simply not answered
//! until the machine has changed the mode (R26, R32).
//!
//! The machine compares, after each event, what is with what should be, and asks for the next step:
//!
//! | file | what |
//! |---|---|
//! | `opening` | the facts, the epoch, and when the device may come up (R28) |
//! | `peers` | each peer: met, in step, to be copied to, lost |
//! | `proposals` | what to commit, and what counts while nobody knows whether it is (R25, R26) |
//! | `disk` | the own disk fails (R27) |
//! | `closing` | the way back |
//!
//! Registry events are the truth: a proposal is settled once facts newer than those it was decided on
//! are known here, whatever was said of its outcome. By then it is in them, or is refused (R25).

mod closing;
mod disk;
mod opening;
mod peers;
mod proposals;
#[cfg(test)]
mod situation;
mod view;
mod words;

use std::collections::{BTreeMap, BTreeSet};

pub use self::words::{Action, Event, NotPromoted, Note, Outcome, PeerMode, Rules, Wake, Wish};
use self::{
    disk::OwnDisk,
    opening::Tenure,
    peers::Peer,
    proposals::{Answer, Asked},
};
use super::{DiskState, geometry::Geometry, handshake::LocalCopy};
use crate::{
    ids::{Epoch, Generation, Revision, ServerName},
    registry::mirror::Volume,
};

/// The machine.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// The settings.
    pub rules: Rules,
    /// The own copy, as its management area describes it. Given anew before each `Promote`: as a
    /// secondary it may have become another one.
    pub own: Option<LocalCopy>,
    /// Peers that are known to be down: an opening puts them out with its own entry, and does not wait
    /// for them. Given anew before each `Promote`; nothing unsafe follows if it is wrong.
    pub away: BTreeSet<ServerName>,
    facts: Option<(Volume, Revision)>,
    /// Who owns the group, under which epoch.
    owner: Option<(ServerName, Epoch)>,
    /// From `Promote` until everything is put away again.
    tenure: Option<Tenure>,
    peers: BTreeMap<ServerName, Peer>,
    /// The proposal that waits for its outcome (R26): there is never a second one.
    asked: Option<Asked>,
    /// Copies for which "UpToDate" was proposed, on facts of which revision: until newer facts are
    /// known they count as good (R26).
    claimed: BTreeMap<ServerName, Revision>,
    /// The generation that is being stored.
    storing: Option<Generation>,
    disk: OwnDisk,
    /// Resyncs rest, by an operator's word.
    resting: bool,
}

impl Mirror {
    /// For a copy that is open as a secondary.
    #[must_use]
    pub fn new(rules: Rules, own: Option<LocalCopy>) -> Self {
        Self {
            rules,
            own,
            away: BTreeSet::new(),
            facts: None,
            owner: None,
            tenure: None,
            peers: BTreeMap::new(),
            asked: None,
            claimed: BTreeMap::new(),
            storing: None,
            disk: OwnDisk::Works,
            resting: false,
        }
    }

    /// How writes treat a peer, as far as is known.
    #[must_use]
    pub fn mode(&self, peer: &ServerName) -> PeerMode {
        self.peers.get(peer).and_then(|peer| peer.mode).unwrap_or_default()
    }

    /// The epoch under which the volume is open here, or being opened.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.tenure.as_ref().and_then(|tenure| tenure.epoch)
    }

    /// What follows from an event.
    pub fn on(&mut self, event: Event) -> Vec<Action> {
        let mut todo = Vec::new();
        self.note(event, &mut todo);
        self.settle();
        if self.tenure.is_some() {
            self.check_ownership(&mut todo);
            self.open(&mut todo);
            if self.is_serving() {
                self.follow_rules(&mut todo);
                self.keep_step(&mut todo);
                self.mind_disk(&mut todo);
                for peer in self.peers.keys().cloned().collect::<Vec<_>>() {
                    self.attend(&peer, &mut todo);
                }
                self.put_out(&mut todo);
                self.take_back(&mut todo);
                self.grow(&mut todo);
                self.attach(&mut todo);
            }
            self.close(&mut todo);
        }
        todo
    }

    /// What an event says by itself.
    fn note(&mut self, event: Event, todo: &mut Vec<Action>) {
        match event {
            Event::Registry { volume, owner } => {
                // Never back: an event that was under way for long says nothing new.
                if volume.as_ref().map(|(_, at)| *at) >= self.facts.as_ref().map(|(_, at)| *at)
                    || volume.is_none()
                {
                    self.facts = volume;
                }
                self.owner = owner;
            }
            Event::Promote { group_epoch } => self.promote(group_epoch, todo),
            Event::Demote => self.demote(todo),
            Event::EpochStored => self.epoch_stored(todo),
            Event::PeerMet { welcome, differing } => self.met(welcome, differing),
            Event::PeerRefused { peer, why } => self.refused(&peer, why, todo),
            Event::PeerLost { peer, .. } => self.lost(&peer, todo),
            Event::Outcome { command, outcome } => self.outcome(&command, outcome, todo),
            Event::PeerSet { peer, mode } => self.peer_set(&peer, mode),
            Event::CopyStored => self.copy_stored(),
            Event::Synced { peer } => self.synced(&peer),
            Event::DiskFailed { why } => self.disk_failed(why, todo),
            Event::PeerDiskFailed { peer, why } => {
                todo.push(Action::Tell(Note::PeerDiskFailed(peer.clone(), why)));
                self.lost(&peer, todo);
            }
            Event::PeerSlow { peer } => self.slow(&peer, todo),
            Event::Attached => self.attached(todo),
            Event::AttachFailed { why } => self.attach_failed(why),
            Event::Detached => self.detached(),
            Event::Resized { size } => {
                if let Some(own) = &mut self.own {
                    own.geometry = Geometry::of(size);
                }
            }
            Event::Wish(wish) => self.wish(wish, todo),
            Event::Woken(wake) => self.woken(wake, todo),
        }
    }

    fn woken(&mut self, wake: Wake, todo: &mut Vec<Action>) {
        match wake {
            Wake::Meet => {
                if let Some(tenure) = &mut self.tenure {
                    tenure.waited = true;
                }
            }
            Wake::Again => {
                let again = |asked: &mut Asked| asked.answer != Answer::None;
                let _over = self.asked.take_if(again);
            }
            Wake::Patience => self.call_again(todo),
        }
    }

    /// The revision of the facts that are known; zero where there are none.
    fn revision(&self) -> Revision {
        self.facts.as_ref().map_or(Revision(0), |(_, revision)| *revision)
    }

    fn is_good(&self, server: &ServerName) -> bool {
        self.facts.as_ref().is_some_and(|(facts, _)| facts.good.contains(server))
    }

    /// Good, or perhaps so: "UpToDate" was proposed, and nobody knows yet what came of it (R26).
    fn may_be_good(&self, server: &ServerName) -> bool {
        self.is_good(server) || self.claimed.contains_key(server)
    }

    fn generation(&self) -> Generation {
        self.own.as_ref().map(|own| own.history.generation()).unwrap_or_default()
    }

    /// The own copy has kept the last generation that the registry knows.
    fn is_stepped(&self) -> bool {
        let known = self.facts.as_ref().map(|(facts, _)| facts.generation).unwrap_or_default();
        self.storing.is_none() && self.generation() >= known
    }

    /// Keeps a new generation on the own copy: before it all that follows from the commit waits.
    fn keep_step(&mut self, todo: &mut Vec<Action>) {
        let Some((facts, _)) = &self.facts else { return };
        if self.storing.is_some() || self.generation() >= facts.generation {
            return;
        }
        let by = match (&self.disk, self.stand_in()) {
            (OwnDisk::Works, _) | (_, None) => self.rules.me.clone(),
            (_, Some(peer)) => peer,
        };
        let generation = facts.generation;
        self.storing = Some(generation);
        todo.push(Action::StoreStep { generation, by });
    }

    fn copy_stored(&mut self) {
        if let (Some(generation), Some(own)) = (self.storing.take(), &mut self.own) {
            own.history.step(generation, &self.rules.me);
            if own.disk == DiskState::Inconsistent {
                own.disk = DiskState::Consistent; // an operator's word made it whole
            }
        }
    }
}
