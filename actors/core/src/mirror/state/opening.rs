//! Opening a volume: its facts, its epoch, and when its device may come up.

use std::collections::BTreeSet;

use super::{Action, Mirror, NotPromoted, OwnDisk, Peer, PeerMode, Wake, closing::Ends};
use crate::{
    ids::{Epoch, ServerName},
    mirror::{
        DiskState,
        lapse::{self, Lapse},
    },
    registry::mirror::{Volume, VolumeCommand},
};

/// From `Promote` until everything is put away again.
#[derive(Clone, Debug)]
pub(super) struct Tenure {
    pub group_epoch: Epoch,
    /// The registry, as applied here, has shown this ownership.
    pub owned: bool,
    /// The epoch of the volume that was proposed last.
    pub wants: Option<Epoch>,
    /// The epoch under which it is open.
    pub epoch: Option<Epoch>,
    pub stored: Stored,
    /// The peers have had their time to answer.
    pub waited: bool,
    pub device: Device,
    /// `Promoted` was said.
    pub promoted: bool,
    /// Its I/O fails: nothing more is decided but the way back.
    pub failing: bool,
    pub ends: Option<Ends>,
}

/// Whether the epoch is kept durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    No,
    Asked,
    Yes,
}

/// How the device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Device {
    None,
    Asked,
    There,
    Leaving,
}

impl Tenure {
    fn of(group_epoch: Epoch) -> Self {
        Self {
            group_epoch,
            owned: false,
            wants: None,
            epoch: None,
            stored: Stored::No,
            waited: false,
            device: Device::None,
            promoted: false,
            failing: false,
            ends: None,
        }
    }

    /// It ends, for this reason unless there is one already.
    pub fn end(&mut self, why: NotPromoted) {
        self.ends.get_or_insert_with(Ends::default).why.get_or_insert(why);
    }
}

impl Mirror {
    pub(super) fn promote(&mut self, group_epoch: Epoch, todo: &mut Vec<Action>) {
        let Some(tenure) = &self.tenure else {
            (self.disk, self.storing) = (OwnDisk::Works, None);
            self.tenure = Some(Tenure::of(group_epoch));
            return;
        };
        if tenure.ends.is_some() || tenure.failing {
            todo.push(Action::Promoted(Err(NotPromoted::Stopped)));
        } else if tenure.group_epoch != group_epoch {
            todo.push(Action::Promoted(Err(NotPromoted::NotOwner(self.rules.group.clone()))));
        } else if tenure.promoted {
            todo.push(Action::Promoted(Ok(())));
        }
    }

    /// The group's ownership, or the volume's epoch, may have gone on without this server.
    pub(super) fn check_ownership(&mut self, todo: &mut Vec<Action>) {
        let Some(tenure) = &mut self.tenure else { return };
        let me = &self.rules.me;
        let owned = match &self.owner {
            Some((owner, epoch)) if owner == me && *epoch == tenure.group_epoch => {
                tenure.owned = true;
                true
            }
            // This server may be told to open before the registry shows here that it may.
            Some((_, epoch)) => *epoch < tenure.group_epoch && !tenure.owned,
            None => !tenure.owned,
        };
        let is_mine = |facts: &Volume| Some(facts.epoch) == tenure.epoch && facts.owner.as_ref() == Some(me);
        let open = tenure.epoch.is_none() || self.facts.as_ref().is_some_and(|(facts, _)| is_mine(facts));
        let closing = tenure.ends.as_ref().is_some_and(|ends| ends.closing);
        if tenure.failing || closing || owned && open {
            return;
        }
        tenure.failing = true;
        if matches!(tenure.device, Device::Asked | Device::There | Device::Leaving) {
            todo.push(Action::FailIo);
        }
        if !tenure.promoted {
            tenure.end(NotPromoted::NotOwner(self.rules.group.clone()));
        }
    }

    /// Takes the next step until the epoch is committed and kept.
    pub(super) fn open(&mut self, todo: &mut Vec<Action>) {
        let Some(tenure) = &mut self.tenure else { return };
        if tenure.epoch.is_none()
            && let Some((facts, _)) = &self.facts
            && Some(facts.epoch) == tenure.wants
            && facts.owner.as_ref() == Some(&self.rules.me)
        {
            tenure.epoch = tenure.wants;
        }
        if tenure.ends.is_some() || tenure.failing {
            return;
        }
        if let Some(epoch) = tenure.epoch {
            if tenure.stored == Stored::No {
                tenure.stored = Stored::Asked;
                todo.push(Action::StoreEpoch(epoch));
            }
            return;
        }
        if !tenure.owned || self.asked.is_some() || self.storing.is_some() {
            return;
        }
        match self.first_step() {
            Ok(None) => self.keep_step(todo),
            Ok(Some(command)) => {
                if let (VolumeCommand::Open { epoch, .. }, Some(tenure)) = (&command, &mut self.tenure) {
                    tenure.wants = Some(*epoch);
                }
                self.propose(command, todo);
            }
            Err(why) => {
                if let Some(tenure) = &mut self.tenure {
                    tenure.end(why);
                }
            }
        }
    }

    /// The next command towards the epoch; `None`: the own copy takes its generation first.
    fn first_step(&self) -> Result<Option<VolumeCommand>, NotPromoted> {
        let name = || self.rules.volume.clone();
        let me = &self.rules.me;
        let Some(own) = &self.own else {
            return Err(NotPromoted::NoDisk(name(), "it is not open".to_owned()));
        };
        if let OwnDisk::Failed { why } = &self.disk {
            return Err(NotPromoted::NoDisk(name(), why.clone()));
        }
        if matches!(own.disk, DiskState::Failed | DiskState::Diskless) {
            return Err(NotPromoted::NoDisk(name(), own.disk.to_string()));
        }
        let group_epoch = self.tenure.as_ref().map(|tenure| tenure.group_epoch).unwrap_or_default();
        let Some((facts, _)) = &self.facts else {
            let mut good = BTreeSet::from([me.clone()]);
            if self.rules.known_equal {
                good.extend(self.rules.peers.iter().cloned());
            }
            let (group, server) = (self.rules.group.clone(), me.clone());
            return Ok(Some(VolumeCommand::Form {
                group,
                server,
                group_epoch,
                size: own.geometry.size,
                good,
            }));
        };
        self.may_open(facts)?;
        if !self.is_stepped() {
            return Ok(None);
        }
        let without = self.away.intersection(&facts.good).filter(|peer| *peer != me).cloned().collect();
        Ok(Some(VolumeCommand::Open { server: me.clone(), group_epoch, epoch: facts.epoch.next(), without }))
    }

    /// T2, C20: whether the own copy may be the one.
    fn may_open(&self, facts: &Volume) -> Result<(), NotPromoted> {
        let name = || self.rules.volume.clone();
        let (Some(own), me) = (&self.own, &self.rules.me) else { return Ok(()) };
        if !facts.good.contains(me) && !lapse::is(Lapse::AnyCopy) {
            return Err(NotPromoted::NotGood { volume: name(), good: facts.good.clone() });
        }
        if own.geometry.size < facts.size {
            return Err(NotPromoted::OtherSize {
                volume: name(),
                found: own.geometry.size,
                size: facts.size,
            });
        }
        let forced = facts.forced.as_ref();
        if forced.is_some_and(|forced| forced.server == *me && forced.generation == facts.generation) {
            return Ok(()); // an operator's word
        }
        if own.disk == DiskState::Inconsistent && !lapse::is(Lapse::AnyCopy) {
            return Err(NotPromoted::Inconsistent(name()));
        }
        // A good copy hears of each generation before the next one begins.
        let own = own.history.generation();
        if own.next() < facts.generation && !lapse::is(Lapse::AnyCopy) {
            return Err(NotPromoted::Older { volume: name(), own, known: facts.generation });
        }
        Ok(())
    }

    /// R31: nothing of an older epoch is accepted here any more; now the peers are called.
    pub(super) fn epoch_stored(&mut self, todo: &mut Vec<Action>) {
        let Some(tenure) = self.tenure.as_mut().filter(|tenure| tenure.stored == Stored::Asked) else {
            return;
        };
        tenure.stored = Stored::Yes;
        let Some(epoch) = tenure.epoch else { return };
        if let Some(own) = &mut self.own {
            own.epoch = epoch;
        }
        self.peers.clear();
        if tenure.ends.is_some() {
            return;
        }
        self.follow_rules(todo);
        todo.push(Action::Wake(Wake::Meet));
    }

    /// The epoch is kept, and there is or may soon be a device.
    pub(super) fn is_serving(&self) -> bool {
        self.tenure.as_ref().is_some_and(|tenure| {
            let goes_on = tenure.ends.is_none() || tenure.device != Device::None;
            tenure.stored == Stored::Yes && !tenure.failing && goes_on
        })
    }

    /// The device comes up when every copy that may be good is in step, or was committed out (R28).
    pub(super) fn attach(&mut self, todo: &mut Vec<Action>) {
        let ready = self.asked.is_none() && self.is_stepped() && self.disk == OwnDisk::Works;
        let known: BTreeSet<&ServerName> = self.peers.keys().collect();
        let Some((facts, _)) = self.facts.as_ref().filter(|_| ready) else { return };
        let strangers = facts.good.iter().any(|server| *server != self.rules.me && !known.contains(server));
        let settled = |(name, peer): (&ServerName, &Peer)| {
            if self.may_be_good(name) && !self.is_left_good(name, peer) {
                peer.is_in_step() && peer.is_set(PeerMode::Required) && peer.generation >= self.generation()
            } else {
                peer.setting.is_none() && peer.mode.is_some_and(|mode| mode != PeerMode::Required)
            }
        };
        if strangers || !self.peers.iter().all(settled) {
            return;
        }
        let Some(tenure) = &mut self.tenure else { return };
        if tenure.device == Device::None && tenure.ends.is_none() {
            tenure.device = Device::Asked;
            todo.push(Action::Attach);
        }
    }

    pub(super) fn attached(&mut self, todo: &mut Vec<Action>) {
        let Some(tenure) = self.tenure.as_mut().filter(|tenure| tenure.device == Device::Asked) else {
            return;
        };
        tenure.device = Device::There;
        if tenure.ends.is_none() {
            tenure.promoted = true;
            todo.push(Action::Promoted(Ok(())));
        }
    }

    pub(super) fn attach_failed(&mut self, why: String) {
        let Some(tenure) = self.tenure.as_mut().filter(|tenure| tenure.device == Device::Asked) else {
            return;
        };
        tenure.device = Device::None;
        tenure.end(NotPromoted::NoDevice(self.rules.volume.clone(), why));
    }
}
